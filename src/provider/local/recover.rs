//! Recovery: what a process that died left behind is found, reconciled, and said, at the next start of any process.

use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus};
use crate::provider::jobs::Reconciled;
use crate::provider::local::Inner;
use crate::state::jobs::Orphan;
use std::sync::Arc;

impl Inner {
    /// Reconciles every job whose process is dead. An adopted job is reconciled whoever asked for jobs and goes away.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        for id in &self.ids {
            if let Err(fault) = self.vault.sweep(id, &**self).await {
                tracing::warn!("what is left of deleted sets could not be removed: {fault}");
            }
        }
        let inner = Arc::clone(self);
        self.jobs
            .adopt(move |orphan| {
                let inner = Arc::clone(&inner);
                async move { inner.reconcile(&orphan).await }
            })
            .await
    }

    /// Reconciles one job. An error: not now.
    async fn reconcile(&self, orphan: &Orphan) -> Result<Reconciled, Fault> {
        let outcome = match orphan.job.kind {
            JobKind::Backup | JobKind::Clone => self.reconcile_backup(&orphan.job).await,
            JobKind::Restore => self.reconcile_restore(orphan).await.map_err(|away| {
                let stage = format!("its target cannot be asked yet ({})", away.message);
                Fault::new(away.kind, away.code, stage).because(away)
            })?,
        };
        if orphan.job.status != JobStatus::Failed {
            return Ok(Reconciled::Ended(outcome));
        }
        Ok(match outcome {
            // The job had ended before, with a code of its own.
            Err(fault) => Reconciled::RolledBack { message: fault.message, hint: fault.hint },
            Ok(message) => Reconciled::RolledBack { message, hint: orphan.job.hint.clone() },
        })
    }
}
