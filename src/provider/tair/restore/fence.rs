//! The write fence of a restore: raised after it is written down, and lifted at every known end, by this process or by the next.
//!
//! Locking and unlocking are tasks of the cloud: that a call was taken is not yet that writes are refused, or let in again. A look at the
//! tasks that fails shows nothing, whatever its code.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Unfinished};
use crate::model::time::written_up;
use crate::provider::jobs::Recoverable as _;
use crate::provider::tair::Inner;
use crate::provider::tair::poller::{LOOKS, Poller, StatusLook, Steady};
use crate::provider::tair::restore::record::Record;
use crate::state::jobs::Orphan;
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::Second;
use crate::tair::wire::instances::{InstanceState, is_released};
use crate::tair::wire::restore::{LockDBInstanceWrite, UnlockDBInstanceWrite};
use crate::tair::wire::settings::{DescribeHistoryTasks, TaskState};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Times the lock is asked for while it is not known whether an earlier call arrived. Locking twice does no harm.
const LOCK_CALLS: u32 = 3;
/// A restore that was sent, and whose effect nobody has seen, may begin for so many times as long as anything may take to be listed.
const QUEUED: u32 = 2;
/// Tasks are looked for from so long ago on.
const TASKS_SINCE: SignedDuration = SignedDuration::from_hours(1);

/// What was seen of a task that locks or unlocks writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The cloud says that the task is done.
    Done,
    /// The cloud says that the task is over and has not done it.
    Failed,
    /// The cloud took the call and shows no task of it.
    Nothing,
}

/// What a reader has to know where `Nothing` was seen of the task that locks writes.
pub(super) const LOCKED_UNSEEN: &str =
    "; the cloud took the call that locks writes, and shows no task of it: when writes were refused was not seen";
/// What a reader has to know where `Nothing` was seen of the task that unlocks writes.
pub(super) const UNLOCKED_UNSEEN: &str =
    "; the cloud took the call that unlocks writes, and shows no task of it: when writes were let in was not seen";

fn broken(why: &str) -> Fault {
    let message = format!("{why}; nothing was overwritten");
    Fault::new(Kind::Provider, "restore.fence_broken", message)
        .hint("Make a new plan; or one without write_fence, with the writers stopped by hand.")
}

impl Inner {
    /// Locks writes to the instance, and waits until they are locked. The record says afterwards whether there is anything to lift.
    pub(super) async fn raise_fence(&self, job: &Job, record: &mut Record) -> Result<Seen, Unfinished> {
        // Written down before the fence is raised: a crash right after the call would leave an instance that nobody can write.
        record.lock_lost = true;
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
                Ok(reply) => {
                    // Of an earlier call that was lost this reply says nothing.
                    record.lock_lost = calls > 1;
                    break reply.task_id;
                }
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
        record.locking = task;
        self.keep_recovery(job, record).await;
        let budget = self.polling.ready_timeout;
        let seen = self.follow_task(&job.instance_id, task, "locking writes", budget).await;
        let seen = seen.map_err(|late| late.map(|fault| broken(&fault.message)))?;
        record.locking = None;
        if seen == Seen::Failed { Err(broken("the cloud could not lock writes").into()) } else { Ok(seen) }
    }

    /// Follows a task until the cloud says that it is over. One that was not shown for as long as anything may take to be seen has `Nothing`
    /// to be seen of it, once the instance is steadily `Normal`: the cloud may list none of the kind, or show this account no tasks at all.
    /// Once tasks were shown a look that fails does not stand for one without the task.
    async fn follow_task(
        &self,
        instance_id: &str,
        task: Option<i64>,
        what: &str,
        budget: Duration,
    ) -> Result<Seen, Unfinished> {
        let mut poller = Poller::new(&self.polling, budget, &CancellationToken::new());
        let (mut shown, mut listed, mut steady) = (false, false, Steady::default());
        loop {
            let look = poller.look(self.task(instance_id, task).await);
            match look {
                Some(Some(TaskState::Done)) => return Ok(Seen::Done),
                Some(Some(TaskState::Failed)) => return Ok(Seen::Failed),
                Some(Some(TaskState::Running)) => listed = true,
                Some(None) => shown = true,
                None => {}
            }
            let StatusLook { state, looks, .. } = self.look_at(instance_id, &mut poller, &mut steady).await;
            let is_late = poller.elapsed() >= self.polling.visibility_delay;
            if !listed && (look.is_some() || !shown) && is_late && state == InstanceState::Normal && looks >= LOOKS {
                return Ok(Seen::Nothing);
            }
            poller.wait(what).await?;
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
            task_id: None,
            task_type: None,
            status: None,
            page_number: None,
            page_size: None,
        };
        let listed = self.client.list(&ask).await.inspect_err(|e| tracing::debug!("tasks cannot be listed: {e}"))?;
        Ok(listed.iter().find(|row| row.is(task)).map(|row| row.state()))
    }

    /// Lets the instance be written again, if writes were locked by us, and if the job is ours still: the lock may be another restore's by now.
    pub(super) async fn lift_fence(&self, job: &Job, record: &Record) -> Result<Seen, Fault> {
        if !record.fence {
            return Ok(Seen::Done);
        }
        self.report_progress(job, "unlocking writes").await?;
        self.unlock(&job.instance_id, record).await.map_err(|e| {
            let message = format!("writes on {} are still locked: {}", job.instance_id, e.message());
            Fault::new(Kind::Provider, "restore.still_locked", message)
                .hint("describe_jobs tries again to unlock writes; or unlock the instance in the console.")
        })
    }

    /// A lock that is still being made is waited for: it would come behind the unlocking, and stay. So might one whose call was lost:
    /// writes are let in, and once more when it has had the time that anything may take to be seen.
    async fn unlock(&self, instance_id: &str, record: &Record) -> Result<Seen, Unfinished> {
        let budget = self.polling.outage_timeout;
        if record.locking.is_some() {
            self.follow_task(instance_id, record.locking, "locking writes", budget).await?;
        }
        let seen = self.unlock_now(instance_id, budget).await?;
        // Since a restore was sent behind them, calls that lock have had that time.
        let since = |at| Duration::try_from(self.client.now().duration_since(at)).unwrap_or_default();
        let is_old = record.sent_at.is_some_and(|at| since(at) >= self.polling.visibility_delay);
        if !record.lock_lost || is_old {
            return Ok(seen);
        }
        let mut poller = Poller::new(&self.polling, self.polling.visibility_delay, &CancellationToken::new());
        while poller.wait("a lock that was lost").await.is_ok() {}
        self.unlock_now(instance_id, budget).await
    }

    /// Unlocking twice does no harm, so the call is repeated until an answer comes; its task is awaited.
    async fn unlock_now(&self, instance_id: &str, budget: Duration) -> Result<Seen, Unfinished> {
        let call = UnlockDBInstanceWrite { db_instance_id: instance_id.into() };
        let mut poller = Poller::new(&self.polling, budget, &CancellationToken::new());
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
        match self.follow_task(instance_id, task, "unlocking writes", budget).await? {
            Seen::Failed => Err(Fault::new(Kind::Provider, "restore.still_locked", "the cloud's task failed").into()),
            seen => Ok(seen),
        }
    }

    /// Until when a restore that was sent may still begin; `None` where none was, or where it was seen to have begun.
    pub(super) fn may_begin_until(&self, record: &Record) -> Option<Timestamp> {
        let queued = SignedDuration::try_from(self.polling.listed_by().saturating_mul(QUEUED));
        let queued = queued.unwrap_or(SignedDuration::MAX);
        record.sent_at.filter(|_| !record.seen).map(|at| at.saturating_add(queued).unwrap_or(Timestamp::MAX))
    }

    /// Whether all looks, for as long as a machine of the cloud may lag, say that there is no such instance any more, or that it was released.
    /// That is known only of the account and region in which its job was begun: anywhere else there never was one.
    async fn is_released(&self, job: &Job) -> Result<bool, Fault> {
        let mut poller = Poller::new(&self.polling, self.polling.outage_timeout, &self.jobs.stop);
        let mut looks = 0;
        loop {
            match self.attribute_raw(&job.instance_id).await {
                Ok(Some(a)) if !is_released(a.instance_status.as_deref().unwrap_or_default()) => return Ok(false),
                Err(e) if !e.is_cloud(CloudError::says_no_such_instance) => return Err(e.into()),
                Ok(_) | Err(_) => looks += 1,
            }
            if looks >= LOOKS && poller.elapsed() >= self.polling.visibility_delay {
                break;
            }
            poller.wait("the instance").await.map_err(Unfinished::into_fault)?;
        }
        let now = self.client.access().await?;
        Ok(job.access.as_ref().is_some_and(|begun_by| now.reaches_same(begun_by)))
    }

    /// Tries once more to lift the fence of a restore whose job is over, and returns the message and the hint that the job has then. An
    /// error: the fence cannot be lifted now either.
    pub async fn roll_back_fence(&self, orphan: &Orphan) -> Result<(String, String), Fault> {
        let id = &orphan.job.instance_id;
        let (before, hint) = (&orphan.job.message, &orphan.job.hint);
        let record = match Record::read(orphan.recovery.as_ref()) {
            Ok(Some(record)) if record.fence => record,
            Ok(_) => return Ok((before.clone(), hint.clone())),
            Err(damaged) => return Ok((format!("{before}; {}. {}", damaged.message, damaged.hint), hint.clone())),
        };
        if self.is_released(&orphan.job).await? {
            let hint = "There is nothing to unlock. The console tells what became of the instance.";
            return Ok((
                format!("{before}; reconciled since: there is no {id} any more, so no write lock is left"),
                hint.into(),
            ));
        }
        // Nobody follows the restore any more: while the cloud may still restore, or begin to, the fence is needed. The call was dated by the
        // cloud's clock, which a process that has just begun knows by a reply alone.
        if let Some(until) = self.may_begin_until(&record).filter(|until| self.client.now() < *until) {
            let until = written_up(until);
            let message = format!("{id} may still begin to be restored, which nobody saw; look again after {until}");
            return Err(Fault::new(Kind::Provider, "instance.busy", message));
        }
        if !self.is_at_rest(id).await? {
            return Err(Fault::new(Kind::Provider, "instance.busy", format!("{id} may still be being restored")));
        }
        let seen = self.unlock(id, &record).await.map_err(Unfinished::into_fault)?;
        let caveat = if seen == Seen::Nothing { UNLOCKED_UNSEEN } else { "" };
        let hint = if record.next.is_empty() { hint.clone() } else { record.next };
        Ok((format!("{before}; reconciled since: writes are unlocked{caveat}"), hint))
    }
}
