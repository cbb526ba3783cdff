//! The sandbox: a real server of our own under the home directory, with sample data, for those who have configured nothing.
//!
//! Started on first use, shared by all processes of one home, stopped by the last of them to end. What it holds is saved
//! and there again at the next start.

use crate::config::blocking::blocking;
use crate::config::home::{file_fault, private_dir};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::model::secret::Secret;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::own_server::{OwnServer, endpoint, port_of, setting_of};
use crate::redis::scratch::program::programs;
use crate::state::owner::{lock_exclusive, try_lock_exclusive};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A server of this size starts in well under a second.
const START_WITHIN: Duration = Duration::from_secs(15);
/// The setting that has the password.
const PASSWORD_SETTING: &str = "requirepass";
/// The file that says that the sample data was put in.
const FILLED: &str = "filled";
/// What the sandbox holds is kept, unlike a clone's.
const SETTINGS: &str = "dbfilename dump.rdb\nsave 60 1\nappendonly no\nmaxmemory 256mb\nmaxmemory-policy noeviction\n\
                        repl-diskless-sync-delay 0\n";

/// The sandbox of one home directory.
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    endpoint: Endpoint,
    /// Held shared as long as this process uses the server.
    use_lock: File,
}

impl Sandbox {
    /// The sandbox in a directory. Starts nothing yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { inner: Arc::new(Inner { dir, running: Mutex::new(None) }) }
    }

    /// The server's endpoint; the server is started if it does not run.
    ///
    /// # Errors
    /// `sandbox.no_server`, `sandbox.failed`.
    pub async fn endpoint(&self) -> Result<Endpoint, Fault> {
        // In a task of its own: a caller that gives up half way must not leave a server that nobody will stop.
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move { inner.endpoint().await }).await.map_err(|e| {
            Fault::new(Kind::Unexpected, "sandbox.failed", "starting the sandbox failed by a bug").because(e)
        })?
    }

    /// Whether this process uses the server.
    pub async fn is_used(&self) -> bool {
        self.inner.running.lock().await.is_some()
    }

    /// Lets go of the server; the last process to do so saves and stops it.
    pub async fn stop(&self) {
        let Some(Running { endpoint, use_lock }) = self.inner.running.lock().await.take() else { return };
        let dir = self.inner.dir.clone();
        let locks = blocking(move || {
            let start_lock = lock_exclusive(&dir.join("start.lock"))?;
            drop(use_lock);
            Ok((start_lock, try_lock_exclusive(&dir.join("use.lock"))?))
        });
        let Ok((start_lock, last)) = locks.await else { return };
        if last.is_some()
            && let Ok(mut conn) = Conn::open(&endpoint, Duration::from_secs(2)).await
        {
            // The server answers by closing the connection.
            let _ = conn.cmd_str(&["SHUTDOWN", "SAVE"]).await;
        }
        drop(start_lock);
    }
}

impl Inner {
    async fn endpoint(&self) -> Result<Endpoint, Fault> {
        let mut running = self.running.lock().await;
        if let Some(running) = &*running {
            return Ok(running.endpoint.clone());
        }
        // One process at a time starts or stops the server.
        let dir = self.dir.clone();
        let start_lock = blocking(move || {
            private_dir(&dir)?;
            lock_exclusive(&dir.join("start.lock"))
        })
        .await?;
        let endpoint = match self.left_running().await {
            Some(endpoint) => endpoint,
            None => self.start().await?,
        };
        self.fill_once(&endpoint).await?;
        let use_path = self.dir.join("use.lock");
        let use_lock = blocking(move || {
            let lock = File::create(&use_path).and_then(|f| f.lock_shared().map(|()| f));
            lock.map_err(|e| file_fault("lock", &use_path, e))
        })
        .await?;
        drop(start_lock);
        *running = Some(Running { endpoint: endpoint.clone(), use_lock });
        Ok(endpoint)
    }

    /// The server of another process, or of one that was killed.
    async fn left_running(&self) -> Option<Endpoint> {
        let dir = self.dir.clone();
        let endpoint = blocking(move || Ok(endpoint_in(&dir))).await.ok()??;
        // The password is random, so whoever lets us in is our server.
        Conn::open(&endpoint, Duration::from_secs(2)).await.ok()?.cmd_str(&["PING"]).await.ok()?;
        Some(endpoint)
    }

    async fn start(&self) -> Result<Endpoint, Fault> {
        let program = blocking(find_server).await?;
        let password = hex(&random::<16>()?);
        let server = OwnServer {
            program,
            started_by: Vec::new(),
            dir: self.dir.clone(),
            settings: format!("{PASSWORD_SETTING} {password}\n{SETTINGS}"),
            username: None,
            password: Secret::new(password),
        };
        let endpoint = server.start(None, START_WITHIN).await.map_err(|e| {
            Fault::new(Kind::Provider, "sandbox.failed", format!("the sandbox's server did not start: {e}"))
                .hint(format!("Its log is {}.", server.log_file().display()))
                .because(e)
        })?;
        Ok(endpoint)
    }

    /// Puts the sample data in, where nobody has yet: also where a process died between the server's start and that.
    async fn fill_once(&self, endpoint: &Endpoint) -> Result<(), Fault> {
        let filled = self.dir.join(FILLED);
        if tokio::fs::try_exists(&filled).await.unwrap_or(false) {
            return Ok(());
        }
        let mut conn = Conn::open(endpoint, Duration::from_secs(2)).await?;
        if conn.cmd_str(&["DBSIZE"]).await?.as_int() == Some(0) {
            fill(&mut conn).await?;
        }
        blocking(move || File::create(&filled).map(drop).map_err(|e| file_fault("write", &filled, e))).await
    }
}

/// Where the server of a sandbox's directory listens, or listened last; `None` where it was never started. Blocking.
#[must_use]
pub fn endpoint_in(dir: &Path) -> Option<Endpoint> {
    Some(endpoint(port_of(dir)?, None, Secret::new(setting_of(dir, PASSWORD_SETTING)?)))
}

/// The server program: the one named by the environment, else the first of the known ones in PATH.
///
/// # Errors
/// `sandbox.no_server` with the line to type.
pub fn find_server() -> Result<PathBuf, Fault> {
    programs().into_iter().next().ok_or_else(|| {
        Fault::new(Kind::Provider, "sandbox.no_server", "the sandbox needs a Redis or Valkey server, and there is none in PATH")
            .hint("Install one (Debian, Ubuntu: apt-get install redis-server; Fedora: dnf install valkey; macOS: brew install redis), or name your instances in a configuration file.")
    })
}

/// Sample data: a small shop, with every type a newcomer knows.
async fn fill(conn: &mut Conn) -> Result<(), Fault> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut add = |command: &[&str]| commands.push(command.iter().map(|arg| (*arg).to_owned()).collect());
    for n in 1..=400 {
        let id = n.to_string();
        add(&[
            "HSET",
            &format!("customer:{n}"),
            "name",
            &format!("Customer {n}"),
            "city",
            ["Hangzhou", "Berlin", "Lagos"].get(n % 3).copied().unwrap_or_default(),
            "orders",
            &id,
        ]);
        add(&["SET", &format!("session:{n:04x}"), &format!("token-{n}"), "EX", "2592000"]);
        add(&["ZADD", "leaderboard", &(n * 37 % 1000).to_string(), &format!("customer:{n}")]);
        add(&["XADD", "orders", "*", "customer", &id, "cents", &(n * 99).to_string()]);
    }
    for n in 1..=100 {
        let sku = format!("sku-{n:03}");
        add(&["SADD", "catalogue", &sku]);
        add(&["RPUSH", "queue:shipping", &sku]);
        add(&["SET", &format!("stock:{sku}"), &(n * 3).to_string()]);
    }
    add(&["XGROUP", "CREATE", "orders", "billing", "0"]);
    add(&["PFADD", "visitors", "ada", "grace", "edsger"]);
    add(&["SELECT", "1"]);
    for n in 1..=50 {
        add(&["SET", &format!("feature:{n}"), if n % 2 == 0 { "on" } else { "off" }]);
    }
    add(&["SELECT", "0"]);
    for command in &commands {
        let args: Vec<&[u8]> = command.iter().map(String::as_bytes).collect();
        conn.send(&args).await?;
    }
    for _ in &commands {
        conn.recv().await?;
    }
    conn.cmd_str(&["SAVE"]).await?;
    Ok(())
}
