//! Restore in place: the one call of this provider that overwrites data. It cannot begin without the guard's permit.
//!
//! The cloud shows no progress but the instance's status. A write fence is lifted whatever happens, by this process or by
//! the next one: that the fence is up is written down before it is raised.

mod facts;
mod fence;
mod follow;
mod record;

use crate::guard::act::Source;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::preconditions::{Preconditions, SetIdentity};
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, JobKind, StoredRecovery, Unfinished};
use crate::model::key_filter::{self, SomeKeys};
use crate::model::text::{clean_to, quoted};
use crate::model::time::{written, written_up};
use crate::provider::jobs::Recoverable as _;
use crate::provider::tair::restore::fence::{LOCKED_UNSEEN, Seen, UNLOCKED_UNSEEN};
use crate::provider::tair::restore::follow::{Followed, outcome};
use crate::provider::tair::restore::record::Record;
use crate::provider::tair::{Inner, traffic};
use crate::provider::way_back::hint_with_way_back;
use crate::tair::wire::Second;
use crate::tair::wire::restore::RestoreInstance;
use std::sync::Arc;

impl Inner {
    /// Starts the restore that is permitted.
    pub async fn start_restore(
        self: &Arc<Self>,
        permit: Permit,
        source: &Source,
        keys: Option<&SomeKeys>,
        fence: bool,
    ) -> Result<Job, Fault> {
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
            Source::Before { .. } => return Err(permit.plan().unsupported()),
            Source::Moment { restore_time, time_shift } => {
                call.restore_type = Some("1".into());
                call.restore_time = Some(Second(*restore_time));
                call.time_shift = time_shift.map(Second);
                // The list that was read and shown, not the text that it was read from.
                let filter = keys.map(|keys| key_filter::for_cloud(&keys.filter_key)).transpose()?;
                call.filter_key = filter.map(|filter| filter.items.join(","));
            }
        }
        let bound = self.bound().await?;
        let inner = Arc::clone(&bound);
        let backup_id = call.backup_id.clone().unwrap_or_default();
        bound
            .jobs
            .begin_permitted(permit, JobKind::Restore, &backup_id, move |job, plan, permit| async move {
                inner.restore(&job, call, &plan, permit.overwrite()?, fence).await
            })
            .await
    }

    async fn restore(
        &self,
        job: &Job,
        call: RestoreInstance,
        plan: &Plan,
        grant: Grant<Overwrite>,
        fence: bool,
    ) -> JobEnd {
        let id = &job.instance_id;
        let shape = self.shape(id).await;
        let before = traffic::keys(&self.client, id, shape).await.ok().flatten();
        let keys_before = before.map(|c| c.keys);
        let (back, what) = (plan.impact.way_back.clone(), what_is_restored(&call));
        let mut record = Record {
            fence,
            locking: None,
            lock_lost: false,
            sent_at: None,
            taken: false,
            seen: false,
            keys_before,
            back,
            what,
            next: String::new(),
        };
        let followed = self.fence_send_and_follow(job, call, plan, grant, &mut record).await;
        self.conclude(job, &mut record, followed).await
    }

    async fn fence_send_and_follow(
        &self,
        job: &Job,
        call: RestoreInstance,
        plan: &Plan,
        grant: Grant<Overwrite>,
        record: &mut Record,
    ) -> Result<Followed, Unfinished> {
        let locked = if record.fence { self.raise_fence(job, record).await? } else { Seen::Done };
        self.prove_way_back(plan).await?;
        let mut followed = self.send_and_follow(job, call, grant, record).await?;
        if locked == Seen::Nothing {
            followed.caveat += LOCKED_UNSEEN;
        }
        Ok(followed)
    }

    /// Reads the safety backup again, right before the act: it may have gone while the person thought, or while writes were locked.
    async fn prove_way_back(&self, plan: &Plan) -> Result<(), Fault> {
        let Some(safety) = &plan.safety else { return Ok(()) };
        plan.way_back_holds(&self.safety_status(&plan.instance_id, &safety.job_id).await?)
    }

    /// Lifts the fence at every known end: nobody may be left unable to write, and nobody may write into a restore. Keys are counted
    /// after that.
    async fn conclude(&self, job: &Job, record: &mut Record, followed: Result<Followed, Unfinished>) -> JobEnd {
        if let Err(Unfinished::Failed(unknown)) = &followed
            && unknown.kind == Kind::Uncertain
            && record.fence
        {
            let message = format!("{}; writes stay locked until it is", unknown.message);
            record.next.clone_from(&unknown.hint);
            self.keep_recovery(job, record).await;
            let from = self.may_begin_until(record).map(|at| format!(", after {}", written_up(at))).unwrap_or_default();
            let hint = format!(
                "{} describe_jobs unlocks writes once the instance is steadily Normal{from}; or unlock them in the console.",
                record.next
            );
            return Err(Unfinished::RollbackPending(Fault::new(unknown.kind, unknown.code, message).hint(&hint)));
        }
        let caveat = match self.lift_fence(job, record).await {
            Ok(Seen::Nothing) => UNLOCKED_UNSEEN,
            Ok(_) => "",
            Err(locked) => {
                let so_far = match &followed {
                    Ok(done) => format!("the restore worked: {}", outcome(record, None, done)),
                    Err(end) => format!("the restore: {}", end.message()),
                };
                record.next = match followed {
                    Ok(_) => hint_with_way_back("Nothing has to be restored again.", &record.back),
                    Err(end) => end.into_fault().hint,
                };
                self.keep_recovery(job, record).await;
                let message = format!("{so_far}; {}", locked.message);
                let hint = format!("{} {}", locked.hint, record.next);
                let locked = Fault::new(locked.kind, locked.code, message).hint(hint.trim());
                return Err(Unfinished::RollbackPending(locked));
            }
        };
        let told = |mut fault: Fault| {
            fault.message += caveat;
            fault
        };
        let mut done = followed.map_err(|end| end.map(told))?;
        done.caveat += caveat;
        if record.fence {
            record.fence = false;
            self.keep_recovery(job, record).await;
        }
        let after = self.count_after(job).await;
        Ok(outcome(record, Some(after), &done))
    }

    async fn send_and_follow(
        &self,
        job: &Job,
        call: RestoreInstance,
        grant: Grant<Overwrite>,
        record: &mut Record,
    ) -> Result<Followed, Unfinished> {
        record.sent_at = Some(self.client.now());
        self.jobs.save_recovery(job, record).await?;
        self.jobs.progress(job, "asking for the restore", 0, 0).await?;
        match self.client.granted(grant).call(&call).await {
            Ok(_) => {
                record.taken = true;
                self.keep_recovery(job, record).await;
            }
            // Never sent again: the status shows whether the call arrived.
            Err(e) if e.is_uncertain() => tracing::warn!(job = %job.id, "{e}; looking at the status"),
            Err(e) => {
                // No restore was begun, and none is waited for.
                record.sent_at = None;
                let fault = Fault::from(e);
                let hint = format!("Nothing was overwritten. {}", fault.hint);
                return Err(fault.hint(hint.trim()).into());
            }
        }
        self.follow_restore(job, record, false).await
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
}

/// What a call restores, as part of a sentence.
fn what_is_restored(call: &RestoreInstance) -> String {
    match (&call.backup_id, &call.restore_time, &call.filter_key) {
        (Some(id), ..) => format!("backup {}", clean_to(id, 40)),
        (None, Some(Second(at)), None) => format!("the data of {}", written(*at)),
        (None, Some(Second(at)), Some(keys)) => format!("the keys {} as of {}", quoted(keys), written(*at)),
        (None, None, _) => "the data".into(),
    }
}
