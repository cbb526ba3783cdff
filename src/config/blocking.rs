//! Blocking work beside the one thread that serves: files, locks, certificates. The one way onto a thread that may block, for every
//! room above.
//!
//! It must not be called with work that waits for the serving thread: that thread waits for nobody, but its task does.

use crate::model::fault::{Fault, Kind};

/// Runs blocking work on a thread that may block: the one thread that serves must not wait for a disk, and least of all for a lock,
/// whose holder may need that very thread in order to go on.
///
/// # Errors
/// Those of the work; `job.crashed` where the work died of a bug.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))?
}
