//! Threads of the vault's own: one for long work, at low priority, and several for what is many requests. Other blocking work has the threads of
//! `config::blocking`.

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

/// Does the same for several, some at once, and goes on with none behind a fault; what came of each, in their order.
///
/// # Errors
/// Those of `each`; `job.crashed`.
pub(super) fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    at_once: usize,
    each: impl Fn(&T) -> Result<R, Fault> + Sync,
) -> Result<Vec<R>, Fault> {
    let share = |part: &[T]| part.iter().map(&each).collect::<Result<Vec<R>, Fault>>();
    let at_once = at_once.min(all.len());
    if at_once <= 1 {
        return share(all);
    }
    let share = &share;
    std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(at_once));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || share(part))).collect();
        let died = |_| Err(Fault::new(Kind::Unexpected, "job.crashed", "a thread that read sets died"));
        let done = threads.into_iter().map(|thread| thread.join().unwrap_or_else(died));
        Ok(done.collect::<Result<Vec<_>, Fault>>()?.into_iter().flatten().collect())
    })
}
