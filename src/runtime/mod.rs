//! One process: its threads, its log, the wiring of rooms, the faces that run, signals, and draining.
//!
//! Nothing is parsed or printed here: the command line does both.
//!
//! One thread serves. It only moves bytes between sockets and waits; work that can block (hashing, compressing, disks, the state
//! store, certificates) runs on tokio's blocking threads, which come and go with the work. So the process has as many threads as
//! its work needs, and an idle server has one.

mod advice;
pub mod background;
mod buckets;
pub mod drain;
pub mod log;
pub mod metrics;
pub mod serve;
pub mod service;
pub mod signals;
pub mod systemd;
pub mod wiring;

use crate::model::fault::{Fault, Kind};

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
