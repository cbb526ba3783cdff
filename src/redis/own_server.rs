//! Servers of this program's own that outlive it, a clone's and the sandbox's: started in a private directory, on a loopback port that was free, and
//! waited for until they have loaded what lies there.
//!
//! It must not decide when such a server ends, nor be used for one that somebody else started.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::config::blocking::blocking;
use crate::config::durable;
use crate::config::home::file_fault;
use crate::model::fault::Fault;
use crate::model::secret::Secret;
use crate::redis::conn::Conn;
use crate::redis::endpoint::{Address, Endpoint};
use crate::redis::server_log::end_of;
use tokio::process::{Child, Command};

/// Name of the server's settings, which have its port.
const SETTINGS: &str = "server.conf";
/// Name of the server's log.
const LOG: &str = "server.log";
/// Ports that are tried: between the look for one that is free and the server's own binding somebody else may take it.
const PORTS_TRIED: u32 = 8;
/// How fast a server loads at least, in bytes a second.
const LOADED_A_SECOND: u64 = 10 << 20;
/// Between two looks at a server that loads.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What a server of our own has of our environment: what programs and their libraries are found by.
const KEPT: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

/// Why a server of our own did not come to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server ended before it served.
    #[error("it ended with {status}: {log}")]
    Ended {
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// The server did not serve in time.
    #[error("it did not serve within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// The directory or the program cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The settings cannot be written.
    #[error("{0}")]
    Home(Fault),
}

/// A server that is to be started.
#[derive(Debug)]
pub struct OwnServer {
    /// The server's program.
    pub program: PathBuf,
    /// What the program is started by, with its arguments; empty where this program starts it itself.
    pub started_by: Vec<OsString>,
    /// The server's directory, which is there.
    pub dir: PathBuf,
    /// The server's settings, a line each, without `port`, `bind` and `logfile`.
    pub settings: String,
    /// ACL user that this program logs in as; `None` for the default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Secret,
}

impl OwnServer {
    /// Starts the server and waits until it has loaded its data. Its standard input is `stdin`, which it never reads but has open as long
    /// as it lives. A server that does not come to serve is ended here where this program started it itself; else that is the caller's.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self, stdin: Option<&File>, within: Duration) -> Result<Endpoint, StartError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            self.write_settings(port).await.map_err(StartError::Home)?;
            let stdin = stdin.map_or_else(|| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from))?;
            let mut child = self.spawn(stdin).await?;
            let endpoint = endpoint(port, self.username.clone(), self.password.clone());
            match self.serves(&mut child, &endpoint, within).await {
                Ok(()) => return Ok(endpoint),
                Err(StartError::Ended { .. }) if tried < PORTS_TRIED && is_taken(port) => {}
                Err(error) => {
                    let _ = child.kill().await;
                    return Err(error);
                }
            }
        }
    }

    async fn write_settings(&self, port: u16) -> Result<(), Fault> {
        let text = format!("bind 127.0.0.1\nport {port}\nlogfile {LOG}\n{}", self.settings);
        let path = self.dir.join(SETTINGS);
        blocking(move || durable::replace(&path, text.as_bytes()).map_err(|e| file_fault("write", &path, e))).await
    }

    async fn spawn(&self, stdin: Stdio) -> io::Result<Child> {
        let mut words = self.started_by.iter().cloned().chain([self.program.clone().into_os_string(), SETTINGS.into()]);
        let first = words.next().unwrap_or_default();
        let named = PathBuf::from(&first);
        let mut command = Command::new(first);
        command.args(words).current_dir(&self.dir);
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null());
        // Passwords and keys of the cloud that are in our environment are none of its.
        command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        // Ctrl-C in our terminal is not meant for it.
        command.process_group(0);
        // Starting a program reads it from its disk. One that ends later is reaped by the runtime.
        let spawned = tokio::task::spawn_blocking(move || command.spawn()).await.map_err(io::Error::other)?;
        spawned.map_err(|e| io::Error::new(e.kind(), format!("{} cannot be started: {e}", named.display())))
    }

    async fn serves(&self, child: &mut Child, endpoint: &Endpoint, within: Duration) -> Result<(), StartError> {
        let begun = Instant::now();
        loop {
            // While it loads it answers that it does, which is an error. The password is random: whoever lets us in is our server.
            if let Ok(mut conn) = Conn::open(endpoint, ANSWER_WITHIN).await
                && conn.cmd_str(&["PING"]).await.is_ok()
            {
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                return Err(StartError::Ended { status: status.to_string(), log: self.log().await });
            }
            if begun.elapsed() > within {
                return Err(StartError::TooSlow(within));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The server's log.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    /// The end of the server's log, cleaned.
    async fn log(&self) -> String {
        end_of(&self.log_file()).await
    }
}

/// How long a server of our own may take until it serves an RDB of so many bytes. One without data starts in a moment, also on a machine that is busy.
#[must_use]
pub const fn starts_within(rdb_bytes: u64) -> Duration {
    Duration::from_secs(60 + rdb_bytes / LOADED_A_SECOND)
}

/// Where a server of our own listens.
#[must_use]
pub fn endpoint(port: u16, username: Option<String>, password: Secret) -> Endpoint {
    let address = Address::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port };
    Endpoint { address, username, password: Some(password), tls: None }
}

/// A setting of the server of a directory, as it was last started; `None` where there is none. Blocking.
#[must_use]
pub fn setting_of(dir: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(dir.join(SETTINGS)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}

/// The port of the server of a directory; `None` where it was never started. Blocking.
#[must_use]
pub fn port_of(dir: &Path) -> Option<u16> {
    setting_of(dir, "port")?.parse().ok()
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}
