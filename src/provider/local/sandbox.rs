//! The sandbox: a real server of our own under the home directory, with sample data, for those who have configured nothing.
//!
//! Started on first use, shared by all processes of one home, stopped by the last of them to end. What it holds is saved
//! and there again at the next start.

use crate::config::blocking::blocking;
use crate::config::durable::replace;
use crate::config::home::{file_fault, private_dir};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::model::secret::Secret;
use crate::redis::conn::Conn;
use crate::redis::endpoint::{Address, Endpoint};
use crate::redis::scratch::program::programs;
use crate::state::owner::{lock_exclusive, try_lock_exclusive};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A server of this size starts in well under a second.
const START_WITHIN: Duration = Duration::from_secs(15);

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
        let text = tokio::fs::read_to_string(self.dir.join("server")).await.ok()?;
        let (port, password) = text.trim().split_once(' ')?;
        let endpoint = local(port.parse().ok()?, password);
        // The password is random, so whoever lets us in is our server.
        Conn::open(&endpoint, Duration::from_secs(2)).await.ok()?.cmd_str(&["PING"]).await.ok()?;
        Some(endpoint)
    }

    async fn start(&self) -> Result<Endpoint, Fault> {
        let program = blocking(find_server).await?;
        let fresh = !tokio::fs::try_exists(self.dir.join("dump.rdb")).await.unwrap_or(false);
        let failed = |why: String| {
            Fault::new(Kind::Provider, "sandbox.failed", format!("the sandbox's server did not start: {why}"))
                .hint(format!("Its log is {}.", self.dir.join("server.log").display()))
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .map_err(|e| failed(e.to_string()))?
            .port();
        let password = hex(&random::<16>()?);
        self.write("server.conf", configuration(port, &password)).await?;
        self.write("server", format!("{port} {password}")).await?;
        let dir = self.dir.clone();
        // Starting a program reads it from its disk.
        let spawned = blocking(move || {
            let mut command = Command::new(&program);
            command.arg("server.conf").current_dir(dir);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // Ctrl-C in our terminal must not end the server before we have saved its data.
            command.process_group(0);
            Ok(command.spawn().map_err(|e| format!("{}: {e}", program.display())))
        });
        let mut child = spawned.await?.map_err(failed)?;
        let endpoint = local(port, &password);
        let begun = Instant::now();
        let mut conn = loop {
            if let Ok(mut conn) = Conn::open(&endpoint, Duration::from_secs(2)).await
                && conn.cmd_str(&["PING"]).await.is_ok()
            {
                break conn;
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(failed(format!("it ended with {status}")));
            }
            if begun.elapsed() > START_WITHIN {
                let _ = child.kill();
                return Err(failed(format!("no answer within {} s", START_WITHIN.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // Reaped by a thread, since the server may end before us, by `stop` of another process or by a person.
        std::thread::spawn(move || child.wait());
        if fresh {
            fill(&mut conn).await?;
        }
        Ok(endpoint)
    }

    async fn write(&self, name: &str, text: String) -> Result<(), Fault> {
        let path = self.dir.join(name);
        blocking(move || replace(&path, text.as_bytes()).map_err(|e| file_fault("write", &path, e))).await
    }
}

fn local(port: u16, password: &str) -> Endpoint {
    Endpoint {
        address: Address::Tcp { host: "127.0.0.1".into(), port },
        username: None,
        password: Some(Secret::new(password)),
        tls: None,
    }
}

fn configuration(port: u16, password: &str) -> String {
    format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\nlogfile server.log\ndbfilename dump.rdb\nsave 60 1\n\
         appendonly no\nmaxmemory 256mb\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n"
    )
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
