//! The write fence of a restore: raised after it is written down, and lifted at every known end, by this process or by the next.
//!
//! Locking and unlocking are tasks of the cloud: that a call was taken is not yet that writes are refused.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Unfinished};
use crate::provider::jobs::Recoverable as _;
use crate::provider::tair::Inner;
use crate::provider::tair::poller::{LOOKS, Poller, Steady};
use crate::provider::tair::restore::record::Record;
use crate::state::jobs::Orphan;
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::Second;
use crate::tair::wire::instances::InstanceState;
use crate::tair::wire::restore::{LockDBInstanceWrite, UnlockDBInstanceWrite};
use crate::tair::wire::settings::{DescribeHistoryTasks, TaskState};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

/// Times the lock is asked for while it is not known whether an earlier call arrived. Locking twice does no harm.
const LOCK_CALLS: u32 = 3;
/// Tasks are looked for from so long ago on.
const TASKS_SINCE: SignedDuration = SignedDuration::from_hours(1);

/// What was seen of the task that locks writes.
pub(super) enum Fence {
    /// The cloud says that the task is done.
    Up,
    /// The cloud took the call and lists no task of it.
    Taken,
}

fn broken(why: &str) -> Fault {
    let message = format!("{why}; nothing was overwritten");
    Fault::new(Kind::Provider, "restore.fence_broken", message)
        .hint("Make a new plan; or one without write_fence, with the writers stopped by hand.")
}

impl Inner {
    /// Locks writes to the instance, and waits until they are locked. The record says afterwards whether there is anything to lift.
    pub(super) async fn raise_fence(&self, job: &Job, record: &mut Record) -> Result<Fence, Unfinished> {
        // Written down before the fence is raised: a crash right after the call would leave an instance that nobody can write.
        self.jobs.save_recovery(job, record).await?;
        self.jobs.progress(job, "locking writes", 0, 0).await?;
        let lock = LockDBInstanceWrite {
            db_instance_id: job.instance_id.clone(),
            lock_reason: Some(format!("restore {} by tair-backup-mcp", job.id)),
        };
        let mut poller = Poller::new(&self.polling, self.polling.ready_timeout, &CancellationToken::new());
        let mut calls = 0;
        let task = loop {
            calls += 1;
            match self.client.call(&lock).await {
                Ok(reply) => break reply.task_id,
                Err(e) if e.is_uncertain() => tracing::warn!(job = %job.id, "{e}"),
                // The lock of a call whose reply was lost.
                Err(e) if calls > 1 && e.is_cloud(CloudError::says_locked) => break None,
                Err(e) if calls > 1 => {
                    return Err(broken("it is not known whether writes were locked").because(e).into());
                }
                Err(e) => {
                    // Nothing was locked, and a lock that is there is somebody else's.
                    record.fence = false;
                    return Err(Fault::from(e)
                        .hint("Nothing was changed. Call without write_fence, with the writers stopped by hand.")
                        .into());
                }
            }
            if calls >= LOCK_CALLS {
                return Err(broken("it is not known whether writes were locked").into());
            }
            poller.wait("locking writes").await?;
        };
        self.wait_until_locked(job, task).await
    }

    /// Waits for the task that locks writes. One that is not listed is taken for done once the instance is steadily `Normal`.
    async fn wait_until_locked(&self, job: &Job, task: Option<i64>) -> Result<Fence, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.ready_timeout, &CancellationToken::new());
        let mut steady = Steady::default();
        loop {
            match self.task(&job.instance_id, task).await.unwrap_or_default() {
                Some(TaskState::Done) => return Ok(Fence::Up),
                Some(TaskState::Failed) => return Err(broken("the cloud could not lock writes").into()),
                Some(TaskState::Running) => {}
                None => {
                    let state = poller.look(self.attribute_raw(&job.instance_id).await).flatten().map(|a| a.state());
                    if state.is_some_and(|state| steady.saw(state) >= LOOKS && state == InstanceState::Normal) {
                        return Ok(Fence::Taken);
                    }
                }
            }
            if poller.elapsed() >= self.polling.ready_timeout {
                return Err(broken("the cloud does not say that writes are locked").into());
            }
            poller.wait("locking writes").await?;
        }
    }

    /// How far a task of the instance is; `None` where the cloud lists no such task.
    async fn task(&self, instance_id: &str, task: Option<i64>) -> Result<Option<TaskState>, TairError> {
        let Some(task) = task else { return Ok(None) };
        let now = self.client.now();
        let ask = DescribeHistoryTasks {
            region_id: None,
            from_start_time: Second(now.saturating_sub(TASKS_SINCE).unwrap_or(now)),
            to_start_time: Second(now.saturating_add(TASKS_SINCE).unwrap_or(now)),
            instance_id: Some(instance_id.into()),
            status: None,
            page_number: None,
            page_size: None,
        };
        let listed = self.client.list(&ask).await.inspect_err(|e| tracing::debug!("tasks cannot be listed: {e}"))?;
        Ok(listed.iter().find(|row| row.is(task)).map(|row| row.state()))
    }

    /// Lets the instance be written again, if writes were locked by us.
    pub(super) async fn lift_fence(&self, job: &Job, record: &Record) -> Result<(), Fault> {
        if !record.fence {
            return Ok(());
        }
        self.report_progress(job, "unlocking writes").await;
        self.unlock(&job.instance_id).await.map_err(|e| {
            let message = format!("writes on {} are still locked: {}", job.instance_id, e.message());
            Fault::new(Kind::Provider, "restore.still_locked", message)
                .hint("describe_jobs tries again to unlock writes; or unlock the instance in the console.")
        })
    }

    /// Unlocking twice does no harm, so the call is repeated until an answer comes, and its task awaited where it is listed.
    async fn unlock(&self, instance_id: &str) -> Result<(), Unfinished> {
        let call = UnlockDBInstanceWrite { db_instance_id: instance_id.into() };
        let mut poller = Poller::new(&self.polling, self.polling.outage_timeout, &CancellationToken::new());
        let task = loop {
            match self.client.call(&call).await {
                Ok(reply) => break reply.task_id,
                Err(e) if e.is_uncertain() || e.may_pass() => {
                    tracing::warn!("the write lock cannot be lifted just now: {e}");
                }
                Err(e) => return Err(e.into()),
            }
            poller.wait("unlocking").await?;
        };
        loop {
            match self.task(instance_id, task).await.unwrap_or_default() {
                Some(TaskState::Failed) => {
                    return Err(Fault::new(Kind::Provider, "restore.still_locked", "the cloud's task failed").into());
                }
                Some(TaskState::Running) => poller.wait("unlocking").await?,
                Some(TaskState::Done) | None => return Ok(()),
            }
        }
    }

    /// Tries once more to lift the fence of a restore whose job is over, and returns the message and the hint that the job has then. An
    /// error: the fence cannot be lifted now either.
    pub async fn roll_back_fence(&self, orphan: &Orphan) -> Result<(String, String), Fault> {
        let id = &orphan.job.instance_id;
        let (before, hint) = (&orphan.job.message, &orphan.job.hint);
        let next = match Record::read(orphan.recovery.as_ref()) {
            Ok(Some(record)) if record.fence => record.next,
            Ok(_) => return Ok((before.clone(), hint.clone())),
            Err(damaged) => return Ok((format!("{before}; {}. {}", damaged.message, damaged.hint), hint.clone())),
        };
        // Nobody follows the restore any more: while the cloud may still restore, the fence is needed.
        if !self.is_at_rest(id).await? {
            return Err(Fault::new(Kind::Provider, "instance.busy", format!("{id} may still be being restored")));
        }
        self.unlock(id).await.map_err(Unfinished::into_fault)?;
        let hint = if next.is_empty() { hint.clone() } else { next };
        Ok((format!("{before}; reconciled since: writes are unlocked"), hint))
    }
}
