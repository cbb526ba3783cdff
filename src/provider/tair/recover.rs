//! Recovery: jobs of processes that died are gone on with, because the cloud went on as well.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{JobKind, JobStatus};
use crate::provider::jobs::Reconciled;
use crate::provider::tair::Inner;
use crate::provider::tair::clone::record::{is_unanswered, reconciled_hint};
use crate::provider::verification::interrupted;
use crate::state::jobs::Orphan;
use std::sync::Arc;

impl Inner {
    /// Adopts the jobs that nobody follows any more. An adopted job is followed to its end, whoever asked for jobs and goes away.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        if self.jobs.stop.is_cancelled() {
            return Ok(());
        }
        // Whoever cannot tell whom it calls as goes on with nobody's jobs, and shows them as they are.
        let inner = match self.bound().await {
            Ok(inner) => inner,
            Err(fault) => {
                tracing::warn!("jobs that nobody follows are left alone: {fault}");
                return Ok(());
            }
        };
        let jobs = inner.jobs.clone();
        jobs.adopt(move |orphan| {
            let inner = Arc::clone(&inner);
            async move { inner.reconcile(orphan).await }
        })
        .await
    }

    /// Reconciles one job. An error: not now.
    async fn reconcile(self: Arc<Self>, orphan: Orphan) -> Result<Reconciled, Fault> {
        if orphan.job.status != JobStatus::Running {
            return self.roll_back(&orphan).await;
        }
        // What a dead process was permitted to order is ordered by one that may: following and unlocking are no orders.
        if self.read_only && orphan.job.kind == JobKind::Clone && is_unanswered(orphan.recovery.as_ref()) {
            let message = "left alone: its order may have to be sent again, and this process runs with --read-only";
            return Err(Fault::new(Kind::Refused, "mode.read_only", message));
        }
        let Orphan { job, recovery } = orphan;
        if let Err(fault) = self.jobs.progress(&job, "found again", job.done, job.total).await {
            tracing::error!(job = %job.id, "how far the job is could not be written down: {fault}");
        }
        let inner = Arc::clone(&self);
        self.jobs.run(job.clone(), async move {
            match job.kind {
                JobKind::Backup => inner.resume_backup(&job, recovery.as_ref()).await,
                JobKind::Restore => inner.resume_restore(&job, recovery.as_ref()).await,
                JobKind::Clone => inner.resume_clone(&job, recovery.as_ref()).await,
                JobKind::Deletion => inner.resume_deletion(&job, recovery.as_ref()).await,
                JobKind::Policy => inner.resume_policy(&job, recovery.as_ref()).await,
                // What it had read was kept nowhere.
                JobKind::Verification => Err(interrupted().into()),
            }
        });
        Ok(Reconciled::Resumed)
    }

    /// Rolls back what a job that has failed left behind. An error: not now.
    async fn roll_back(&self, orphan: &Orphan) -> Result<Reconciled, Fault> {
        let job = &orphan.job;
        let (message, hint) = match job.kind {
            JobKind::Restore => match self.roll_back_fence(orphan).await {
                Ok(unlocked) => unlocked,
                Err(fault) => {
                    let stage = format!("writes are still locked ({})", fault.message);
                    return Err(Fault::new(fault.kind, fault.code, stage).because(fault));
                }
            },
            JobKind::Clone => (job.message.clone(), reconciled_hint(orphan.recovery.as_ref(), &job.hint)),
            JobKind::Backup | JobKind::Deletion | JobKind::Policy | JobKind::Verification => {
                (job.message.clone(), job.hint.clone())
            }
        };
        Ok(Reconciled::RolledBack { message, hint })
    }
}
