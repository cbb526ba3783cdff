//! The one thread on which this process talks to buckets, begun when one is first needed. Whoever calls a store blocks, and waits here.
//!
//! Nothing that blocks may run on it: all buckets share it.

use std::future::Future;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::{Builder, Handle};

/// The thread's runtime, once it has begun. It ends with the process.
static RUNNING: Mutex<Option<Handle>> = Mutex::new(None);

fn handle() -> io::Result<Handle> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*running {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name("bucket".into()).spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    *running = Some(handle.clone());
    Ok(handle)
}

/// Does work on that thread, and waits for it. Never called on that thread.
///
/// # Errors
/// Those of the work; where there is no thread, or the work died of a bug.
pub(super) fn wait<T: Send + 'static>(work: impl Future<Output = io::Result<T>> + Send + 'static) -> io::Result<T> {
    let (done, result) = sync_channel(1);
    handle()?.spawn(async move {
        // Whoever asked waits for it.
        let _ = done.send(work.await);
    });
    result.recv().map_err(|_| io::Error::other("the work on a bucket died"))?
}

/// Begins work on that thread that nobody waits for.
///
/// # Errors
/// Where there is no thread.
pub(super) fn start(work: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    handle()?.spawn(work);
    Ok(())
}
