//! Recovery: what a process that died left behind is found, reconciled, and said, at the next start of any process.

use crate::config::SANDBOX;
use crate::config::blocking::blocking;
use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus, Unfinished};
use crate::provider::jobs::Reconciled;
use crate::provider::local::Inner;
use crate::provider::local::clones::PREFIX;
use crate::provider::verification::interrupted;
use crate::state::jobs::Orphan;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Held by whoever tidies a vault that is far away.
static TIDYING: Mutex<()> = Mutex::const_new(());

impl Inner {
    /// Ids under which there may be sets: of the configured instances, and of clones, also of those that have ended.
    pub(super) async fn ids_with_sets(&self) -> Vec<String> {
        let store = self.vault.store();
        let folders = blocking(move || Ok(store.folders("").unwrap_or_default())).await.unwrap_or_default();
        let of_clones = folders.into_iter().filter(|id| id.starts_with(PREFIX) && !self.ids.contains(id));
        self.ids.iter().cloned().chain(of_clones).collect()
    }

    /// Reconciles every job whose process is dead. An adopted job is reconciled whoever asked for jobs and goes away. Then what else is left is
    /// removed, which may take long on a slow vault.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        self.end_old_clones().await;
        let inner = Arc::clone(self);
        let adopted = self
            .jobs
            .adopt(move |orphan| {
                let inner = Arc::clone(&inner);
                async move { inner.reconcile(&orphan).await }
            })
            .await;
        if self.vault.is_far() {
            // One that cannot be reached takes minutes to say so, and logs do not wait for that.
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                if let Ok(_alone) = TIDYING.try_lock() {
                    inner.tidy_vault().await;
                }
            });
        } else {
            self.tidy_vault().await;
        }
        adopted
    }

    /// Removes what is left of deleted sets, and what has expired.
    async fn tidy_vault(&self) {
        for id in self.ids_with_sets().await {
            if let Err(fault) = self.vault.sweep(&id, self).await {
                tracing::warn!("what is left of deleted sets could not be removed: {fault}");
            }
        }
        self.delete_expired().await;
    }

    /// Stops the sandbox's server at this process's end. A plan is for the server process it was made for: while one waits for its person, that
    /// process stays, and the next command to end without a plan waiting stops it.
    pub async fn stop_sandbox(&self) {
        let Some(sandbox) = &self.sandbox else { return };
        let waits = self.state.redeemable().await.is_ok_and(|w| w.iter().any(|c| c.plan.instance_id == SANDBOX));
        if !(waits && sandbox.is_used().await) {
            sandbox.stop().await;
        }
    }

    /// Reconciles one job. An error: not now.
    async fn reconcile(&self, orphan: &Orphan) -> Result<Reconciled, Fault> {
        let outcome = match orphan.job.kind {
            // Deletions and policies of this program's own are no jobs.
            JobKind::Clone => self.reconcile_clone(&orphan.job).await.map_err(Unfinished::Failed),
            JobKind::Backup | JobKind::Deletion | JobKind::Policy => {
                self.reconcile_backup(&orphan.job).await.map_err(|away| {
                    let stage = format!("its vault cannot be asked yet ({})", away.message);
                    Fault::new(away.kind, away.code, stage).because(away)
                })?
            }
            JobKind::Verification => Err(Unfinished::Failed(interrupted())),
            JobKind::Restore => self.reconcile_restore(orphan).await.map_err(|away| {
                let stage = format!("its target cannot be asked yet ({})", away.message);
                Fault::new(away.kind, away.code, stage).because(away)
            })?,
        };
        let had_failed = orphan.job.status == JobStatus::Failed;
        Ok(match outcome {
            // It had ended before, with a code of its own.
            Ok(message) if had_failed => Reconciled::RolledBack { message, hint: orphan.job.hint.clone() },
            Err(Unfinished::Failed(fault)) if had_failed => {
                Reconciled::RolledBack { message: fault.message, hint: fault.hint }
            }
            Ok(message) => Reconciled::Ended(Ok(message)),
            Err(Unfinished::Failed(fault)) => Reconciled::Ended(Err(fault)),
            Err(Unfinished::RollbackPending(fault)) if had_failed => return Err(fault),
            Err(Unfinished::RollbackPending(fault)) => Reconciled::RollbackPending(fault),
            Err(detached @ Unfinished::Detached(_)) => return Err(detached.into_fault()),
        })
    }
}
