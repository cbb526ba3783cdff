//! Restore: the one place that overwrites data. It cannot begin without the guard's permit.

pub(super) mod at_rest;
mod beside;
pub(super) mod built;
pub(super) mod cloned;
mod commands;
mod contents;
mod counted;
mod cutover;
mod expired;
pub(super) mod facts;
mod fits;
mod held;
pub(super) mod keys;
mod keys_outcome;
mod last_safety;
mod loadable;
mod outcome;
mod packing;
mod proven;
mod reconcile;
mod recovery;
mod replay;
mod replication;
mod steps;
mod tail;
mod tail_file;
pub(super) mod tail_replay;

use crate::guard::grant::{Grant, Overwrite};
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobEnd, JobKind};
use crate::model::restore::{Method, RestoredTo};
use crate::provider::local::backup::capture::TICK;
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::counted::{AsLoaded, Counted};
use crate::provider::local::restore::cutover::after;
use crate::provider::local::restore::expired::expired_in;
use crate::provider::local::restore::outcome::{outcome_as_loaded, outcome_of_moment};
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::restore::replay::Behind;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::provider::way_back::with_way_back;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::persistence::{self, Kept};
use crate::state::jobs::{cut_off, taken_over};
use crate::vault::frames::FrameReader;
use jiff::Timestamp;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Frames of 1 MiB on their way to the target.
const IN_FLIGHT: usize = 4;
/// What a target has taken that holds all that was restored.
const WHOLE_SET: &str = "the whole set";

impl Inner {
    /// Starts the restore that is permitted.
    pub async fn start_restore(self: &Arc<Self>, permit: Permit, backup_id: &str) -> Result<Job, Fault> {
        let inner = Arc::clone(self);
        self.jobs
            .begin_permitted(permit, JobKind::Restore, backup_id, |job, plan, permit| async move {
                // Each reads a file whole; neither needs the other.
                let (way_back, opened) =
                    tokio::join!(inner.prove_way_back(&job, &plan), inner.open_planned(&job, &plan));
                // A fault up to here says nothing of a way back: that there is none may be what it says.
                way_back?;
                let done = match opened {
                    Ok(opened) => inner.restore(permit.overwrite()?, &job, &plan, opened).await,
                    Err(fault) => Err(fault.into()),
                };
                match done {
                    Ok(message) => Ok(message),
                    Err(end) => {
                        let planned = &plan.impact.way_back;
                        let back = inner.way_back_of(&job.id, &plan.instance_id, planned, plan.act.keys()).await;
                        Err(end.map(|fault| with_way_back(fault, &back)))
                    }
                }
            })
            .await
    }

    /// Opens the planned set, and shows that it is the one that was planned.
    async fn open_planned(&self, job: &Job, plan: &Plan) -> Result<Opened, Fault> {
        self.jobs.progress(job, "verifying the backup", 0, 0).await?;
        let planned = plan.direct_restore()?;
        let set = self.set_to_restore(plan.act.set_of(&plan.instance_id), &job.backup_id).await?;
        // A bad RDB makes its target exit. The set was verified whole for the plan; before the first byte leaves us, every
        // byte of its file is shown to be the one that was verified then.
        let known = if set.sha256 == planned.sha256 {
            self.vault.open_known(&set, &planned.stored_digest).await?
        } else {
            None
        };
        let another = "the backup is not the one that was planned; the target was not touched";
        let data = known.ok_or_else(|| changed(another))?;
        let behind = self.planned_behind(plan).await?.map(|behind| behind.of(&set));
        Ok(Opened { set, data, behind })
    }

    async fn restore(&self, grant: Grant<Overwrite>, job: &Job, plan: &Plan, opened: Opened) -> JobEnd {
        let planned = plan.direct_restore()?;
        let Opened { set, data, behind } = opened;
        let moment = behind.as_ref().map(Behind::moment);
        let restored = behind.as_ref().map(|behind| behind.restored.clone());
        let commands = behind.as_ref().map_or(0, |behind| behind.commands);
        let alone = RestoredTo { backup_id: set.id.clone(), position: None, moment: set.finished_at, ended: None };
        let mut restored = restored.unwrap_or(alone);
        if plan.act.set_of(&plan.instance_id) != plan.instance_id {
            // A position in the log of another instance is none in that of this one.
            restored.position = None;
        }
        self.state.set_restored(&job.id, &restored).await?;
        // A moment that goes by commands is built first: the target is looked at behind that.
        let (mut set, mut data, mut behind, mut built) = (set, Some(data), behind, None);
        if planned.method != Method::Replication
            && let (Some(from), Some(behind)) = (data.take_if(|_| behind.is_some()), behind.take())
        {
            let made = self.build(job, plan, &set, from, behind).await?;
            set = made.set.clone();
            built = Some(made);
        }
        let recovery = RecoveryRecord::of(plan, &set, moment.clone())?;
        let before = self.counted(&plan.instance_id).await.ok();
        let contents = |data: Option<FrameReader>| match (&built, data) {
            (Some(built), _) => Ok(built.contents()),
            (None, Some(data)) => Ok(Contents::of_set(&self.vault, &set, data)),
            (None, None) => Err(plan.unsupported()),
        };
        if planned.method == Method::Keys {
            return self.some_keys(grant, job, plan, &set, contents(data)?, moment).await;
        }
        let (loaded, cutover, serving_at) = match planned.method {
            Method::Replication => {
                let data = data.ok_or_else(|| plan.unsupported())?;
                let done = self.by_replication(grant, job, plan, recovery, &set, data, behind).await?;
                let switched = &done.restored.switched;
                restored.ended = Some((switched.replication_id.clone(), switched.offset));
                // Where that is not written down, the log has a gap that may be none.
                let _ = self.state.set_restored(&job.id, &restored).await;
                (AsLoaded::from(done.restored), done.cutover, done.serving_at)
            }
            Method::Beside => {
                let done = self.beside_the_old(grant, job, plan, recovery, &set, contents(data)?).await?;
                (AsLoaded::by_commands(before, done.swapped_in, done.unseen, false), done.cutover, None)
            }
            Method::Keys => return Err(plan.unsupported().into()),
            Method::Commands => {
                let done = self.by_commands(grant, job, plan, recovery, &set, contents(data)?).await?;
                (AsLoaded::by_commands(before, None, done.unseen, plan.tells_of_traffic()), done.cutover, None)
            }
        };
        let behind = after(cutover.as_ref());
        // Data that is in must not be called lost because of what comes after it.
        let _ = self.state.serving(&job.id, serving_at.unwrap_or_else(Timestamp::now)).await;
        let _ = self.jobs.progress(job, "counting keys", set.rdb_bytes, set.rdb_bytes).await;
        // Counted at once, for clients may write again; and kept on disk whatever the counts are.
        let counted = self.counted(&plan.instance_id).await;
        let _ = self.jobs.progress(job, "the target serves; writing to its disk", set.rdb_bytes, set.rdb_bytes).await;
        let more = |mut fault: Fault, what: &str| {
            fault.message = format!("{}{what}", fault.message);
            fault
        };
        // Of a moment that the target itself came to the set is only the beginning, and says nothing of what should be there.
        let of_set = counted.as_ref().ok().filter(|_| moment.is_none() || built.is_some());
        if let Ok(after) = &counted {
            let keys = loaded.compared(of_set.map(|_| set.counts.clone()), after);
            // Data that is in must not be called lost because it cannot be told how much of it there is.
            let _ = self.state.set_restored_keys(&job.id, &keys).await;
        }
        let at = of_set.and_then(|after| after.may_have_expired(&set));
        let expired = async {
            match (&built, at) {
                (Some(built), Some(at)) => expired_in(built.contents().data, at).await,
                _ => self.expired_by(&set, at).await,
            }
        };
        // The set is read once more for that while the target writes to its disk.
        let (kept, passed) = tokio::join!(self.keep(&plan.instance_id, &planned.run_id, WHOLE_SET), expired);
        let found = match counted {
            Ok(after) => match (&moment, &built) {
                (Some(moment), Some(built)) => outcome_as_loaded(&set, &loaded, &after, passed.as_ref())
                    .map(|_| built.describe(moment, commands, total_keys(&after.counts))),
                (None, _) => outcome_as_loaded(&set, &loaded, &after, passed.as_ref()),
                (Some(moment), None) => outcome_of_moment(&set.id, moment, commands, &loaded, &after),
            },
            Err(fault) => {
                Ok(format!("restored: the target took the whole set; its keys could not be counted ({fault})"))
            }
        };
        let kept = kept.map_err(|fault| more(fault, &behind))?;
        match found {
            Ok(restored) => Ok(format!("{restored}{behind}; {}", kept.describe())),
            Err(differs) => Err(more(differs, &format!("{behind}; the data is {}", kept.describe())).into()),
        }
    }

    /// Sees to it that what the target holds is on its disk, where it keeps data on disk at all. `run_id`: the process that holds the
    /// restored data; another one has read what the disk had before. `taken`: what it has taken.
    async fn keep(&self, instance_id: &str, run_id: &str, taken: &str) -> Result<Kept, Fault> {
        let kept = async {
            let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
            let now = ServerFacts::read(&mut conn).await?.run_id;
            Ok(if now == run_id { Some(persistence::keep(&mut conn).await?) } else { None })
        };
        let fault = match kept.await {
            Ok(Some(kept)) => return Ok(kept),
            Ok(None) => not_on_disk(taken, "its process has been started anew since, from what the disk held"),
            Err(fault) => not_on_disk(taken, &Fault::to_string(&fault)).because(fault),
        };
        Err(fault)
    }

    /// Runs a transfer to its end and writes down, at every tick, the stage and the bytes that `how_far` gives, of `total`, which is 0 for work
    /// that the job's own transfer follows: a job's share does not begin anew. The disk must not
    /// hold the transfer up, so the two go on beside each other. Where another process has taken this one for dead, or may have, the transfer is
    /// stopped: before each of its steps, for this process may have stood still since the last one.
    async fn reporting<T, E: From<RedisError>>(
        &self,
        job: &Job,
        total: u64,
        how_far: impl Fn() -> (&'static str, u64),
        run: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut look = tokio::time::interval(TICK);
        let cut_off = poll_fn(|context| {
            if self.state.may_be_taken_for_dead() {
                return Poll::Ready(cut_off(&job.id));
            }
            // It is looked also while nothing else moves.
            while look.poll_tick(context).is_ready() {}
            Poll::Pending
        });
        let taken = async {
            loop {
                tokio::time::sleep(TICK).await;
                let (stage, bytes) = how_far();
                // Progress that cannot be written down is no reason to drop a restore half way; that another process has taken this
                // one for dead is: it has said what there is, and the next restore may have begun.
                if let Ok(false) = self.jobs.progress(job, stage, bytes, total).await {
                    return taken_over(&job.id);
                }
            }
        };
        tokio::select! {
            biased;
            fault = cut_off => Err(RedisError::Stopped { fault }.into()),
            fault = taken => Err(RedisError::Stopped { fault }.into()),
            done = run => done,
        }
    }

    async fn counted(&self, instance_id: &str) -> Result<Counted, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        Ok(Counted::from(&ServerFacts::read(&mut conn).await?))
    }
}

/// What a restore opened: the very data that was planned.
struct Opened {
    set: BackupSet,
    data: FrameReader,
    /// The commands behind the set; `None` where it alone is restored.
    behind: Option<Behind>,
}

/// What was restored is in, and a crash of the target may lose it again.
fn not_on_disk(taken: &str, why: &str) -> Fault {
    let message = format!("the target took {taken}, but that is not known to be on its disk: {why}");
    Fault::new(Kind::Provider, "restore.not_on_disk", message).hint(
        "A crash may bring back what the disk held before. See why it does not save, then send it BGSAVE (BGREWRITEAOF where it \
         keeps an append-only file), or restore again.",
    )
}
