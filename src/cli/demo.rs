//! `demo`: a guarded restore from end to end, on a real server with sample data.
//!
//! Our own binary serves MCP over a pipe; the demo plays the agent, its client and its person, prints each step, and proves
//! the outcome on the data itself. A step that fails ends the demo with an error, so the demo is a smoke test too. It must not
//! touch the user's own home directory or configuration, and leaves nothing behind.

mod client;
mod data;
mod keys;
mod moment;
mod protection;
mod stage;
mod story;
mod talk;
mod writer;

use crate::config::home::Home;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use crate::provider::local::sandbox::{Sandbox, endpoint_in, find_server};
use crate::runtime::signals::Signals;
use client::Client;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Lines of the server's log that are printed when a step fails.
const LOG_LINES: usize = 12;

/// Attempts, 50 ms apart, to reach a server that may just be starting.
const LISTEN_TRIES: u32 = 10;

/// The fault of a step that went wrong.
fn failed(what: impl Into<String>) -> Fault {
    Fault::new(Kind::Unexpected, "demo.failed", what)
        .hint("Run `tair-backup-mcp doctor`; with TAIR_BACKUP_MCP_LOG=debug the demo's server says more.")
}

/// Plays the demo. `home` is its home directory where one was named on the command line, else a temporary one.
///
/// # Errors
/// `sandbox.no_server` where there is no server to play on, `demo.failed` where a step goes wrong.
pub async fn run(home: Option<PathBuf>) -> Result<u8, Fault> {
    // Before anything else: without a server only the hint how to get one can be shown.
    let program = find_server()?;
    let begun = Instant::now();
    // A home that comes from the environment is the user's everyday one, not one meant for the demo.
    let everyday = std::env::var_os("TAIR_BACKUP_MCP_HOME");
    let home = home.filter(|home| everyday.as_deref() != Some(home.as_os_str()));
    let mut scene = Scene::new(home)?;
    let mut interrupted = Signals::new()?;
    let played = tokio::select! {
        played = story::play(&mut scene, &program) => Some(played),
        () = interrupted.asked_to_end() => None,
    };
    if let Some(Err(_)) = &played {
        scene.show_log();
    }
    if played.is_none() {
        let _ = writeln!(std::io::stderr(), "stopping: a restore that has begun is seen to its end");
    }
    let temporary = scene.temporary;
    let cleaned = scene.clean_up(played.is_none()).await;
    let Some(played) = played else { return Ok(130) };
    played.and(cleaned)?;
    story::closing(begun.elapsed(), temporary);
    Ok(0)
}

/// The demo's directories and server, which have to be removed afterwards.
struct Scene {
    /// A directory of the demo alone, removed at the end: the servers' log, an empty configuration directory, and the home
    /// unless one was named.
    dir: PathBuf,
    home: Home,
    /// Whether the home is under `dir`.
    temporary: bool,
    /// The MCP client of the running server, while there is one.
    client: Option<Client>,
    /// The id of the clone, from before it is made until it has ended.
    clone: Option<String>,
}

impl Scene {
    fn new(named: Option<PathBuf>) -> Result<Self, Fault> {
        let dir = std::env::temp_dir().join(format!("tair-backup-mcp-demo-{}", hex(&random::<6>()?)));
        // Not `private_dir`: a directory that is already there would be somebody else's.
        std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|e| {
            failed(format!("cannot make {}: {e}", dir.display()))
                .hint("Name a directory for temporary files in TMPDIR.")
        })?;
        let temporary = named.is_none();
        let home = Home::new(Some(named.unwrap_or_else(|| dir.join("home"))));
        home.map(|home| Self { dir, home, temporary, client: None, clone: None })
    }

    /// Our own binary on this home, without the user's configuration.
    fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Command, Fault> {
        let exe = std::env::current_exe().map_err(|e| failed(format!("this program cannot find its own file: {e}")))?;
        let mut command = Command::new(exe);
        command
            .arg("--home")
            .arg(self.home.dir())
            .args(args)
            // A configuration file of the user's would switch the sandbox off.
            .env("XDG_CONFIG_HOME", self.dir.join("config"))
            .env_remove("TAIR_BACKUP_MCP_CONFIG")
            .env_remove("TAIR_BACKUP_MCP_URL")
            // Ctrl-C at the terminal is for the demo: it would end the server during a step, and look like a failure.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// The id that the clone will have; a home that was named may have others.
    fn begin_clone(&mut self) -> Result<String, Fault> {
        Ok(self.clone.insert(format!("clone-demo-{}", hex(&random::<3>()?))).clone())
    }

    /// Ends the clone as a person does at a terminal. Nobody is asked: the configuration is the demo's, and so is the clone.
    async fn end_clone(&mut self) -> Result<String, Fault> {
        let Some(id) = &self.clone else { return Ok(String::new()) };
        let config = self.dir.join("end.toml");
        std::fs::write(&config, "[guard]\nconfirmation = \"token\"\n")
            .map_err(|e| failed(format!("cannot write {}: {e}", config.display())))?;
        let arguments =
            [OsStr::new("--config"), config.as_os_str(), "delete-instance".as_ref(), "--instance-id".as_ref()];
        let output = self.command(arguments)?.arg(id).output().await;
        let output = output.map_err(|e| failed(format!("{id} cannot be ended: {e}")))?;
        // Where it was not made yet, there is none to be ended.
        let gone = output.status.success() || output.status.code() == Some(i32::from(Kind::NotFound.exit_code()));
        if !gone {
            return Err(failed(format!("{id} cannot be ended: {}", String::from_utf8_lossy(&output.stderr))));
        }
        self.clone = None;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("serve.log")
    }

    /// Prints the end of the server's log, to find out why a step failed.
    fn show_log(&self) {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
            let _ = writeln!(std::io::stderr(), "log: {line}");
        }
    }

    /// Ends the server, then the clone and the sandbox, then removes the demo's directory: in this order, for each writes into the next.
    async fn clean_up(mut self, interrupted: bool) -> Result<(), Fault> {
        let ended = match self.client.take() {
            Some(client) => client.close().await,
            None => Ok(()),
        };
        // Where the demo was cut short.
        let ended = ended.and(self.end_clone().await.map(drop));
        // A plan that still waits for its person keeps the sandbox's server alive; here nobody will answer. And a server that was
        // just being started when the demo was interrupted may need a moment until it answers.
        let mut tries = if interrupted && endpoint_in(&self.home.sandbox()).is_some() { LISTEN_TRIES } else { 1 };
        while tries > 0 {
            tries -= 1;
            if data::connect(&self.home).await.is_ok() {
                let sandbox = Sandbox::new(self.home.sandbox());
                if sandbox.endpoint().await.is_ok() {
                    sandbox.stop().await;
                }
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let removed = remove(&self.dir).await;
        ended.and(removed)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Only where `clean_up` did not run.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Removes a directory; a server that is just ending may still write into it.
async fn remove(dir: &Path) -> Result<(), Fault> {
    let mut tries = 0;
    loop {
        match std::fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) if tries >= 20 => return Err(failed(format!("cannot remove {}: {e}", dir.display()))),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        tries += 1;
    }
}
