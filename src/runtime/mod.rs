//! One process: its threads, the wiring of rooms, the faces that run, signals, and draining.
//!
//! Nothing is parsed or printed here: the command line does both.
//!
//! One thread serves. It only moves bytes between sockets and waits; work that can block (hashing, compressing, disks, the state
//! store, certificates) runs on tokio's blocking threads, which come and go with the work. So the process has as many threads as
//! its work needs, and an idle server has one.

mod advice;
pub mod background;
pub mod drain;
pub mod metrics;
pub mod serve;
pub mod service;
pub mod signals;
pub mod systemd;
pub mod wiring;

use crate::model::fault::{Fault, Kind};
use std::io::IsTerminal as _;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Runs the process's work to its end.
///
/// # Errors
/// `system.runtime` where the system gives no threads or sockets.
pub fn run<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        Fault::new(Kind::Unexpected, "system.runtime", format!("the runtime did not start: {e}")).because(e)
    })?;
    let done = runtime.block_on(work);
    // Jobs have been waited for. A thread that still reads or writes for a cancelled call must not keep the process: a download
    // resumes, and verifying leaves nothing behind.
    runtime.shutdown_background();
    Ok(done)
}

/// Whether a message may be in the log whatever the filter asks for: ours, which hold no secret, and of libraries only what went
/// wrong. Below that they log what they carry: the MCP SDK whole requests and replies, with confirmation tokens and signed URLs.
fn may_be_logged(message: &Metadata<'_>) -> bool {
    message.target().starts_with(env!("CARGO_CRATE_NAME")) || *message.level() <= Level::WARN
}

/// Sends the log to standard error, because standard output is data. The filter is `TAIR_BACKUP_MCP_LOG`, else `default`.
pub fn log(default: &str) {
    let given = std::env::var("TAIR_BACKUP_MCP_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let filter = given.or_else(|| default.parse().ok()).unwrap_or_default();
    // Colours are for a terminal, and for people who want them.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(may_be_logged)).init();
}
