//! A thread of its own for the vault's long work, at low priority. Short blocking work has the threads of `config::blocking`.

use crate::model::fault::{Fault, Kind};
use tokio::sync::oneshot;

/// Nice value of a thread at low priority.
#[cfg(target_os = "linux")]
const LOW_PRIORITY: i32 = 10;

/// Runs work of minutes on a thread of its own, and at a lower priority: where the server that sends the data is on this
/// machine, the server comes first.
///
/// # Errors
/// `system.thread`, `job.crashed`.
pub(super) async fn at_low_priority<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let (tx, rx) = oneshot::channel();
    let run = move || {
        // On Linux this is the thread's own priority; elsewhere it is the process's, which would slow a restore too.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(LOW_PRIORITY);
        // The caller may have gone.
        let _ = tx.send(work());
    };
    let started = std::thread::Builder::new().name(name.into()).spawn(run);
    started.map_err(|e| Fault::new(Kind::Unexpected, "system.thread", "no thread for the capture").because(e))?;
    rx.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the capturing thread died").because(e))
}
