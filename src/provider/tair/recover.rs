//! Recovery: jobs of processes that died are gone on with, because the cloud went on as well.

use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus};
use crate::provider::tair::{Inner, PROVIDER, clone};
use crate::state::jobs::Orphan;
use std::sync::Arc;

impl Inner {
    /// Adopts what nobody follows any more. What is adopted is seen to its end, whoever asked for it and goes away.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        if self.jobs.stop.is_cancelled() {
            return Ok(());
        }
        let inner = Arc::clone(self);
        self.jobs
            .adopt(PROVIDER, move |orphan| {
                let inner = Arc::clone(&inner);
                async move { inner.take_up(orphan).await }
            })
            .await
    }

    async fn take_up(self: Arc<Self>, orphan: Orphan) -> Result<(), Fault> {
        let job = orphan.job.clone();
        if job.status == JobStatus::Failed {
            return self.settle_failed(&orphan).await;
        }
        if let Err(fault) = self.jobs.state.progress(&job.id, "found again", job.done, job.total).await {
            tracing::error!(job = %job.id, "how far the job is could not be written down: {fault}");
        }
        let inner = Arc::clone(&self);
        self.jobs.run(job.id.clone(), async move {
            match job.kind {
                JobKind::Backup => inner.resume_backup(&job, &orphan.undo).await,
                JobKind::Restore => inner.resume_restore(&job, &orphan.undo).await,
                JobKind::Clone => inner.resume_clone(&job, &orphan.undo).await,
            }
        });
        Ok(())
    }

    /// Settles what a job that has failed left behind. An error: not now.
    async fn settle_failed(&self, orphan: &Orphan) -> Result<(), Fault> {
        let job = &orphan.job;
        let (message, hint) = match job.kind {
            JobKind::Restore => match self.settle_fence(orphan).await {
                Ok(message) => (message, job.hint.clone()),
                Err(fault) => {
                    let stage = format!("writes are still locked ({})", fault.message);
                    return Err(Fault::new(fault.kind, fault.code, stage).because(fault));
                }
            },
            JobKind::Clone => (job.message.clone(), clone::settled_hint(&orphan.undo, &job.hint)),
            JobKind::Backup => (job.message.clone(), job.hint.clone()),
        };
        self.jobs.state.settled(&job.id, &message, &hint).await
    }
}
