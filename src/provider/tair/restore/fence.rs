//! The write fence of a restore: raised after it is written down, and lifted whatever happens, by this process or by the next.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Unfinished};
use crate::provider::jobs::Recoverable as _;
use crate::provider::tair::Inner;
use crate::provider::tair::poller::Poller;
use crate::provider::tair::restore::record::Record;
use crate::provider::with_way_back;
use crate::state::jobs::Orphan;
use crate::tair::wire::instances::InstanceState;
use crate::tair::wire::restore::{LockDBInstanceWrite, UnlockDBInstanceWrite};
use tokio_util::sync::CancellationToken;

impl Inner {
    /// Locks writes to the instance. Whoever calls has the fence in the recovery record.
    pub(super) async fn raise_fence(&self, job: &Job, record: &Record) -> Result<(), Unfinished> {
        // Written down before the fence is raised: a crash right after the call would leave an instance that nobody can write.
        self.jobs.save_recovery(job, record).await?;
        self.jobs.progress(job, "locking writes", 0, 0).await?;
        let lock = LockDBInstanceWrite {
            db_instance_id: job.instance_id.clone(),
            lock_reason: Some(format!("restore {} by tair-backup-mcp", job.id)),
        };
        match self.client.call(&lock).await {
            Ok(_) => Ok(()),
            // The fence may be up; it is lifted in the end either way.
            Err(e) if e.is_uncertain() => {
                tracing::warn!(job = %job.id, "{e}");
                Ok(())
            }
            Err(e) => Err(Fault::from(e)
                .hint("Nothing was changed. Call without write_fence, with the writers stopped by hand.")
                .into()),
        }
    }

    /// Lets the instance be written again, if writes were locked by us.
    pub(super) async fn lift_fence(&self, job: &Job, record: &Record) -> Result<(), Fault> {
        if !record.fence {
            return Ok(());
        }
        self.report_progress(job, "unlocking writes").await;
        self.unlock(&job.instance_id).await.map_err(|e| {
            let message = format!("writes on {} are still locked: {}", job.instance_id, e.message());
            with_way_back(
                Fault::new(Kind::Provider, "restore.still_locked", message)
                    .hint("describe_jobs tries again to unlock them; or unlock the instance in the console."),
                &record.back,
            )
        })
    }

    /// Unlocking twice does no harm, so the call is repeated until an answer comes.
    async fn unlock(&self, instance_id: &str) -> Result<(), Unfinished> {
        let call = UnlockDBInstanceWrite { db_instance_id: instance_id.into() };
        let mut poller = Poller::new(&self.polling, self.polling.outage_timeout, &CancellationToken::new());
        loop {
            match self.client.call(&call).await {
                Ok(_) => return Ok(()),
                Err(e) if e.is_uncertain() || e.may_pass() => {
                    tracing::warn!("the write lock cannot be lifted just now: {e}");
                }
                Err(e) => return Err(e.into()),
            }
            poller.wait("unlocking").await?;
        }
    }

    /// Tries once more to lift the fence of a restore that has failed, and returns the message that the job has then. An error:
    /// the fence cannot be lifted now either.
    pub async fn roll_back_fence(&self, orphan: &Orphan) -> Result<String, Fault> {
        let id = &orphan.job.instance_id;
        let before = &orphan.job.message;
        match Record::read(orphan.recovery.as_ref()) {
            Ok(Some(record)) if record.fence => {}
            Ok(_) => return Ok(before.clone()),
            Err(damaged) => return Ok(format!("{before}; {}. {}", damaged.message, damaged.hint)),
        }
        // Nobody follows the restore any more: while the cloud still restores, the fence is needed.
        if self.attribute_raw(id).await?.is_some_and(|a| a.state() == InstanceState::Recovering) {
            return Err(Fault::new(Kind::Provider, "instance.busy", format!("{id} is still being restored")));
        }
        let call = UnlockDBInstanceWrite { db_instance_id: id.clone() };
        self.client.call(&call).await?;
        Ok(format!("{before}; reconciled since: writes are unlocked"))
    }
}
