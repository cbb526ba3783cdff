//! The logs of this program's own instances: for each that has its log on, one archiver on this home, whichever process it is in.
//!
//! A lease says which; where a second one runs all the same, the names on the vault, which are put once, are the last fence.

mod attach;
mod base;
mod breaks;
mod destructive;
mod ended;
mod heads;
mod known;
mod prune;
mod reach;
mod session;
mod status;

use crate::archive::SHARD;
use crate::config::SANDBOX;
use crate::config::backup_log::BackupLogConfig;
use crate::config::kept_up::kept_up;
use crate::model::fault::Fault;
use crate::provider::LogScope;
use crate::provider::local::Inner;
use crate::state::leases::Held;
use known::Known;
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often it is looked whether a log is on, and whether another process keeps it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two attempts of an archiver whose attempt has failed, at first and at most.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(10);
/// How long a process that is to end waits for its archivers. Each gives the vault less; whatever else hangs is left behind.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// The archivers of this process.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) config: BackupLogConfig,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Logs {
    pub(super) fn new(config: BackupLogConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Ends every archiver, each behind the last whole command on the disk. A vault or a disk that hangs is not waited for.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.running.close();
        if tokio::time::timeout(ENDS_WITHIN, self.running.wait()).await.is_err() {
            tracing::warn!("a log could not be ended in time: what its spool has goes to the vault at the next start");
        }
    }
}

/// The lease under which the log of an instance's shard is kept.
pub(super) fn lease_of(instance_id: &str, shard: u16) -> String {
    format!("log/{instance_id}/{shard}")
}

impl Inner {
    /// Keeps the logs of a scope in the background, until they are stopped.
    pub(super) fn keep_logs(self: &Arc<Self>, scope: LogScope) {
        for id in &self.ids {
            if scope == LogScope::All || id == SANDBOX {
                let (inner, id, stop) = (Arc::clone(self), id.clone(), self.logs.stop.clone());
                let archiver = move || {
                    let (inner, id) = (Arc::clone(&inner), id.clone());
                    async move { inner.keep_log(&id).await }
                };
                self.logs.running.spawn(kept_up("an archiver", stop, archiver));
            }
        }
    }

    /// Keeps the log of an instance where it is on and nobody else does.
    async fn keep_log(self: Arc<Self>, id: &str) {
        let (stop, mut wait) = (self.logs.stop.clone(), LOOK_EVERY);
        let (mut failing, mut known) = (AGAIN_AFTER, Known::default());
        while stop.run_until_cancelled(tokio::time::sleep(std::mem::replace(&mut wait, LOOK_EVERY))).await.is_some() {
            let kept = match self.lease(id).await {
                Ok(Some(held)) => {
                    let session = Session::new(Arc::clone(&self), id, held.lease(), &mut known, stop.clone());
                    let kept = session.keep().await;
                    held.give_back().await;
                    kept
                }
                Ok(None) => Ok(()),
                Err(fault) => Err(fault),
            };
            match kept {
                Ok(()) => failing = AGAIN_AFTER,
                Err(fault) => {
                    tracing::warn!(instance = %id, cause = fault.cause(), "the log is not kept: {fault}");
                    wait = failing;
                    failing = (failing * 2).min(AGAIN_AFTER_MAX);
                }
            }
        }
    }

    /// The lease, where the log is on and nobody keeps it.
    async fn lease(&self, id: &str) -> Result<Option<Held>, Fault> {
        if !self.log_is_on(id).await? {
            return Ok(None);
        }
        Held::acquire(self.state.clone(), &lease_of(id, SHARD)).await
    }
}
