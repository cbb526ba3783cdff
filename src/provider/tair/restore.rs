//! Restore in place: the one call of this provider that overwrites data. It cannot begin without the guard's permit.
//!
//! The cloud tells no progress but the instance's status. A write fence is lifted whatever happens, by this process or by
//! the next one: that it is up is written down before it is raised.

use crate::guard::act::Source;
use crate::guard::facts::restore::CountedKeys;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::{Preconditions, SetIdentity};
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, JobKind, RecoveryKind, StoredRecovery, Unfinished};
use crate::model::text::clean;
use crate::model::time::written;
use crate::provider::jobs::Recoverable;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::{Architecture, Shape};
use crate::provider::tair::filter_key;
use crate::provider::tair::poller::{Poller, passes};
use crate::provider::tair::traffic;
use crate::provider::with_way_back;
use crate::state::jobs::Orphan;
use crate::tair::wire::Second;
use crate::tair::wire::restore::{LockDBInstanceWrite, RestoreInstance, UnlockDBInstanceWrite};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// So many times the time in which effects are seen is waited for that of a call which was taken.
const LATE: u32 = 3;

/// What a later process needs to go on, and to lift the fence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Whether writes are, or may be, locked by us.
    fence: bool,
    /// When the call was made; `None` before it.
    sent_at: Option<Timestamp>,
    /// Whether its reply said that it was taken.
    taken: bool,
    /// Whether its effect was seen: the instance was BackupRecovering.
    #[serde(default)]
    seen: bool,
    /// Keys before, as far as the cloud tells.
    keys_before: Option<u64>,
    /// The call that brings back what was there.
    back: String,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudRestore;
}

/// How the following of a restore ended well.
struct Followed {
    /// Seconds it took.
    took: u64,
    /// What there is to say of how sure it is; empty where its effect was seen.
    sure: &'static str,
}

impl Inner {
    /// Starts what is permitted.
    pub async fn start_restore(self: &Arc<Self>, permit: Permit, source: &Source, fence: bool) -> Result<Job, Fault> {
        let id = permit.plan().instance_id.clone();
        let mut call = RestoreInstance {
            instance_id: id.clone(),
            backup_id: None,
            restore_type: None,
            restore_time: None,
            filter_key: None,
            time_shift: None,
        };
        match source {
            Source::Backup { backup_id } => {
                let set = self.cloud_set(&id, backup_id).await?;
                let planned = match &permit.plan().preconditions {
                    Preconditions::CloudRestore { set, .. } => set.as_ref(),
                    _ => return Err(permit.plan().unsupported()),
                };
                if planned != Some(&SetIdentity::from(&set.facts())) {
                    let message = "the backup is not the one that was planned; the instance was not touched";
                    return Err(changed(message));
                }
                call.backup_id = Some(set.set.id);
            }
            Source::Moment { restore_time, time_shift, filter_key } => {
                call.restore_type = Some("1".into());
                call.restore_time = Some(Second(*restore_time));
                call.time_shift = time_shift.map(Second);
                // What was looked at and shown, not the text that it was read from.
                call.filter_key = filter_key.as_deref().map(filter_key::lint).transpose()?.map(|f| f.items.join(","));
            }
        }
        let inner = Arc::clone(self);
        let backup_id = call.backup_id.clone().unwrap_or_default();
        self.jobs
            .begin_permitted(permit, JobKind::Restore, &backup_id, move |job, plan, permit| async move {
                inner.restore(&job, call, permit.overwrite()?, fence, &plan.impact.way_back).await
            })
            .await
    }

    async fn shape(&self, instance_id: &str) -> Shape {
        // Only for counting keys: the restore does not depend on it.
        self.attribute(instance_id).await.map_or(Shape::Standard, |a| Architecture::of(&a).shape)
    }

    async fn restore(
        &self,
        job: &Job,
        call: RestoreInstance,
        grant: Grant<Overwrite>,
        fence: bool,
        back: &str,
    ) -> JobEnd {
        let id = &job.instance_id;
        let shape = self.shape(id).await;
        let before = traffic::keys(&self.client, id, shape).await.ok().flatten();
        let keys_before = before.map(|c| c.keys);
        let mut record = Record { fence, sent_at: None, taken: false, seen: false, keys_before, back: back.to_owned() };
        if fence {
            // Before it is raised: a crash right after the call would leave an instance that nobody can write.
            self.jobs.save_recovery(job, &record).await?;
            self.jobs.progress(job, "locking writes", 0, 0).await?;
            let lock = LockDBInstanceWrite {
                db_instance_id: id.clone(),
                lock_reason: Some(format!("restore {} by tair-backup-mcp", job.id)),
            };
            match self.client.call(&lock).await {
                Ok(_) => {}
                // It may be up; it is lifted in the end either way.
                Err(e) if e.is_uncertain() => tracing::warn!(job = %job.id, "{e}"),
                Err(e) => {
                    return Err(Fault::from(e)
                        .hint("Nothing was changed. Call without write_fence, with the writers stopped by hand.")
                        .into());
                }
            }
        }
        let followed = self.send_and_follow(job, call, grant, &mut record).await;
        self.conclude(job, &mut record, followed).await
    }

    /// Lifts the fence, whatever went wrong: nobody may be left unable to write. Keys are counted after that.
    async fn conclude(&self, job: &Job, record: &mut Record, followed: Result<Followed, Unfinished>) -> JobEnd {
        if let Err(locked) = self.lift_fence(job, record).await {
            let outcome = match &followed {
                Ok(done) => format!("the restore worked ({})", told(record, None, done)),
                Err(end) => format!("the restore: {}", end.message()),
            };
            let message = format!("{outcome}; {}", locked.message);
            let locked = Fault::new(locked.kind, locked.code, message).hint(&locked.hint);
            return Err(Unfinished::RollbackPending(locked));
        }
        let done = followed?;
        if record.fence {
            record.fence = false;
            self.keep(job, record).await;
        }
        let after = self.count_after(job).await;
        Ok(told(record, Some(after), &done))
    }

    async fn send_and_follow(
        &self,
        job: &Job,
        call: RestoreInstance,
        grant: Grant<Overwrite>,
        record: &mut Record,
    ) -> Result<Followed, Unfinished> {
        record.sent_at = Some(Timestamp::now());
        self.jobs.save_recovery(job, record).await?;
        self.jobs.progress(job, "asking for the restore", 0, 0).await?;
        match self.client.granted(grant).call(&call).await {
            Ok(_) => {
                record.taken = true;
                self.keep(job, record).await;
            }
            // Never sent again: the status tells whether it arrived.
            Err(e) if e.is_uncertain() => tracing::warn!(job = %job.id, "{e}; looking at the status"),
            Err(e) => {
                let fault = Fault::from(e);
                let hint = format!("Nothing was overwritten. {}", fault.hint);
                return Err(fault.hint(hint.trim()).into());
            }
        }
        self.follow_restore(job, record, false).await
    }

    /// Follows the status until the instance serves again.
    async fn follow_restore(&self, job: &Job, record: &mut Record, resumed: bool) -> Result<Followed, Unfinished> {
        let id = &job.instance_id;
        // With the fence up this process stays until it can be lifted.
        let stop = if record.fence { CancellationToken::new() } else { self.jobs.stop.clone() };
        let mut poller = Poller::new(&self.polling, self.polling.restore, &stop);
        let sent_at = record.sent_at.unwrap_or(job.created_at);
        let since_sent = || Duration::try_from(Timestamp::now().duration_since(sent_at)).unwrap_or_default();
        let sure = loop {
            let read = poller.tolerate(self.attribute_raw(id).await).map_err(|f| with_way_back(f, &record.back))?;
            let status = read.flatten().and_then(|a| a.facts.instance_status).unwrap_or_default();
            match status.as_str() {
                "Normal" if record.seen && record.taken => break "",
                "Normal" if record.seen => break "; the reply to the call was lost, its effect was seen",
                // It was taken, so its effect may come late; or it was over between two looks.
                "Normal" if record.taken && since_sent() >= self.polling.visible.saturating_mul(LATE) => {
                    break if resumed {
                        "; the cloud took the call, and nobody looked while the process was dead: that the instance recovered was not seen"
                    } else {
                        "; the cloud took the call, but that the instance was BackupRecovering was not seen: look at the data"
                    };
                }
                "Normal" if !record.taken && poller.elapsed() >= self.polling.visible => {
                    let at = written(sent_at);
                    let message = if resumed {
                        format!(
                            "the process died around the restore of {at}, before it had a reply, and the instance is Normal now: it is not known whether the restore took place meanwhile"
                        )
                    } else {
                        format!(
                            "the reply to the restore of {at} was lost, and the instance was not seen BackupRecovering since: most likely it never arrived"
                        )
                    };
                    return Err(with_way_back(
                        Fault::new(Kind::Provider, "cloud.uncertain", message)
                            .hint("Look at the data. If it is the old data, make a new plan."),
                        &record.back,
                    )
                    .into());
                }
                "Normal" | "" => {}
                "Error" | "Unavailable" | "Released" | "Inactive" => {
                    let message = format!("the instance became {} during the restore", clean(&status));
                    let failed = Fault::new(Kind::Provider, "restore.failed", message);
                    return Err(with_way_back(failed, &record.back).into());
                }
                "BackupRecovering" if !record.seen => {
                    record.seen = true;
                    self.keep(job, record).await;
                }
                // Any other status may be somebody else's doing.
                _ => {}
            }
            let stage = if status.is_empty() { "status unknown".into() } else { clean(&status) };
            self.tell(job, &format!("{stage}, {} s", poller.seconds())).await;
            let waited = poller.wait("the restore").await;
            waited.map_err(|end| end.map(|fault| with_way_back(fault, &record.back)))?;
        };
        Ok(Followed { took: if resumed { since_sent().as_secs() } else { poller.seconds() }, sure })
    }

    /// The key count measured after the restore; the last one there is, where the cloud measures too late.
    async fn count_after(&self, job: &Job) -> Option<(CountedKeys, bool)> {
        let done_at = Timestamp::now();
        let shape = self.shape(&job.instance_id).await;
        let mut poller = Poller::new(&self.polling, self.polling.restore, &self.jobs.stop);
        let mut last = None;
        loop {
            if let Ok(Some(counted)) = traffic::keys(&self.client, &job.instance_id, shape).await {
                if counted.at.is_some_and(|at| at >= done_at) {
                    return Some((counted, true));
                }
                last = Some((counted, false));
            }
            if poller.elapsed() >= self.polling.measure {
                return last;
            }
            self.tell(job, "restored; waiting for the key count").await;
            if poller.wait("the key count").await.is_err() {
                return last;
            }
        }
    }

    /// Lets the instance be written again, if it was us who locked it.
    async fn lift_fence(&self, job: &Job, record: &Record) -> Result<(), Fault> {
        if !record.fence {
            return Ok(());
        }
        self.tell(job, "unlocking writes").await;
        self.unlock(&job.instance_id).await.map_err(|e| {
            let message = format!("writes on {} are still locked: {}", job.instance_id, e.message());
            with_way_back(
                Fault::new(Kind::Provider, "restore.still_locked", message)
                    .hint("describe_jobs tries again to unlock them; or unlock the instance in the console."),
                &record.back,
            )
        })
    }

    /// Unlocking twice does no harm, so it is repeated until an answer comes.
    async fn unlock(&self, instance_id: &str) -> Result<(), Unfinished> {
        let call = UnlockDBInstanceWrite { db_instance_id: instance_id.into() };
        let mut poller = Poller::new(&self.polling, self.polling.away, &CancellationToken::new());
        loop {
            match self.client.call(&call).await {
                Ok(_) => return Ok(()),
                Err(e) if e.is_uncertain() || passes(&e) => {
                    tracing::warn!("the write lock cannot be lifted just now: {e}");
                }
                Err(e) => return Err(e.into()),
            }
            poller.wait("unlocking").await?;
        }
    }

    /// Goes on with a job whose process died: follows what was sent, and lifts the fence once it is over.
    pub async fn resume_restore(&self, job: &Job, record: Option<&StoredRecovery>) -> JobEnd {
        let before_anything = || {
            Fault::new(
                Kind::Unexpected,
                "job.interrupted",
                "the process died before it asked the cloud for this restore",
            )
            .hint("The instance's data is as it was. Make a new plan with restore_instance.")
        };
        let mut record = Record::read(record)?.ok_or_else(before_anything)?;
        let followed = match record.sent_at {
            Some(_) => self.follow_restore(job, &mut record, true).await,
            None => Err(before_anything().into()),
        };
        self.conclude(job, &mut record, followed).await
    }

    /// Tries once more to lift the fence of a restore that has failed; what there is to say of the job then. The error: not now
    /// either.
    pub async fn roll_back_fence(&self, orphan: &Orphan) -> Result<String, Fault> {
        let id = &orphan.job.instance_id;
        let before = &orphan.job.message;
        match Record::read(orphan.recovery.as_ref()) {
            Ok(Some(record)) if record.fence => {}
            Ok(_) => return Ok(before.clone()),
            Err(damaged) => return Ok(format!("{before}; {}. {}", damaged.message, damaged.hint)),
        }
        // Nobody follows it any more: while the cloud still restores, the fence is needed.
        let status = self.attribute_raw(id).await?.and_then(|a| a.facts.instance_status).unwrap_or_default();
        if status == "BackupRecovering" {
            return Err(Fault::new(Kind::Provider, "instance.busy", format!("{id} is still being restored")));
        }
        let call = UnlockDBInstanceWrite { db_instance_id: id.clone() };
        self.client.call(&call).await?;
        Ok(format!("{before}; reconciled since: writes are unlocked"))
    }
}

/// What came of it. `after`: what the cloud counts now; `None` where that was not asked.
fn told(record: &Record, after: Option<Option<(CountedKeys, bool)>>, done: &Followed) -> String {
    let before = record.keys_before.map_or("an unknown number of".into(), |n| n.to_string());
    let Followed { took, sure } = done;
    let Some(after) = after else { return format!("in {took} s: {before} keys before{sure}") };
    let after = match after {
        Some((CountedKeys { keys, .. }, true)) => format!("{keys} keys after it"),
        Some((CountedKeys { keys, at }, false)) => {
            let at = at.map(|at| format!(" of {}", written(at))).unwrap_or_default();
            format!("{keys} keys in the cloud's last figure{at}, which lags")
        }
        None => "the cloud has not counted its keys yet".into(),
    };
    format!("restored in {took} s: {before} keys before, {after}{sure}")
}
