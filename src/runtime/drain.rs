//! Draining a process: its jobs are finished, or cancelled on a signal; a second signal ends it at once.

use crate::model::fault::Fault;
use crate::runtime::signals::Signals;
use crate::state::sqlite::Sqlite;
use crate::tools::App;
use std::time::Duration;

/// How often a process that goes on looks for what dead ones left behind. On a store that others share this and the time after which a silent
/// one is dead are less than a minute, also where the look takes a while; on this machine there is seldom anything.
#[must_use]
pub const fn reconcile_every(is_shared: bool) -> Duration {
    Duration::from_secs(if is_shared { 15 } else { 60 })
}

/// How the process's work came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All jobs are finished.
    Done,
    /// By a signal; captures were cancelled, and a restore that had begun was finished.
    Interrupted,
    /// By a second signal, at once. The next start reconciles the jobs that ran.
    Abandoned,
}

/// Reconciles the jobs of dead processes. Does nothing where no state was ever stored.
///
/// # Errors
/// `state.failed`, `home.failed`; `state.unreachable` and its like where the state is on a PostgreSQL.
pub async fn recover(app: &App) -> Result<(), Fault> {
    let may_hold_jobs = app.state.is_shared() || Sqlite::exists(app.config.home.dir()).await;
    if may_hold_jobs { app.provider.recover().await } else { Ok(()) }
}

/// Runs work unless a signal comes first: then `None`, and the jobs that the work began are still to be stopped.
pub async fn unless_asked_to_end<T>(signals: &mut Signals, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = signals.asked_to_end() => None,
    }
}

/// Waits for the jobs of this process; on a signal stops them, after `stopping` has told the person who waits.
pub async fn finish(app: &App, signals: &mut Signals, stopping: impl FnOnce()) -> Ended {
    match unless_asked_to_end(signals, app.provider.shut_down(false)).await {
        Some(()) => Ended::Done,
        None => {
            stopping();
            stop(app, signals).await
        }
    }
}

/// Cancels captures, which leave nothing behind, and waits for a restore that has begun.
pub async fn stop(app: &App, signals: &mut Signals) -> Ended {
    match unless_asked_to_end(signals, app.provider.shut_down(true)).await {
        Some(()) => Ended::Interrupted,
        None => Ended::Abandoned,
    }
}
