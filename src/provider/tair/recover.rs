//! Recovery: jobs of processes that died are gone on with, because the cloud went on as well.

use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus};
use crate::provider::tair::{Inner, PROVIDER};
use std::sync::Arc;

impl Inner {
    /// Adopts what nobody follows any more.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Fault> {
        if self.jobs.stop.is_cancelled() {
            return Ok(());
        }
        for orphan in self.jobs.state.adopt_orphans(PROVIDER).await? {
            let (inner, job) = (Arc::clone(self), orphan.job.clone());
            if job.status == JobStatus::Failed {
                match self.settle_fence(&orphan).await {
                    Ok(message) => self.jobs.state.settled(&job.id, &message, &job.hint).await?,
                    Err(fault) => {
                        // Nobody may forget it: it stays an orphan, and is tried again at the next look.
                        tracing::warn!(job = %job.id, "writes cannot be unlocked yet: {fault}");
                        let stage = format!("failed; unsettled; writes are still locked ({})", fault.message);
                        self.jobs.state.release(&job.id, &stage).await?;
                    }
                }
                continue;
            }
            self.jobs.state.progress(&job.id, "found again", job.done, job.total).await?;
            self.jobs.run(job.id.clone(), async move {
                match job.kind {
                    JobKind::Backup => inner.resume_backup(&job, &orphan.undo).await,
                    JobKind::Restore => inner.resume_restore(&job, &orphan.undo).await,
                    JobKind::Clone => inner.resume_clone(&job, &orphan.undo).await,
                }
            });
        }
        Ok(())
    }
}
