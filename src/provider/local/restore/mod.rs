//! Restore: the one place that overwrites data. It cannot begin without the guard's permit.

mod commands;
pub(super) mod facts;
pub(super) mod last_safety;
mod loadable;
mod outcome;
mod reconcile;
mod recovery;
mod replication;
mod tail;

use crate::guard::facts::restore::LastLook;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::writes::Writes;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Counts, total_keys};
use crate::model::job::{Job, JobEnd, JobKind};
use crate::model::restore::Method;
use crate::provider::local::backup::capture::TICK;
use crate::provider::local::restore::facts::{position, slots_served};
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::provider::with_way_back;
use crate::redis::conn::Conn;
use crate::redis::facts::{ServerFacts, key_counts, write_calls};
use jiff::Timestamp;
use std::sync::Arc;

/// Frames of 1 MiB on their way to the target.
const IN_FLIGHT: usize = 4;

impl Inner {
    /// Starts the restore that is permitted.
    pub async fn start_restore(self: &Arc<Self>, permit: Permit, backup_id: &str) -> Result<Job, Fault> {
        let inner = Arc::clone(self);
        self.jobs
            .begin_permitted(permit, JobKind::Restore, backup_id, |job, plan, permit| async move {
                let done = inner.restore(permit.overwrite()?, &job, &plan).await;
                match done {
                    Ok(message) => Ok(message),
                    Err(end) => {
                        let back = inner.way_back_of(&job.id, &plan.instance_id, &plan.impact.way_back).await;
                        Err(end.map(|fault| with_way_back(fault, &back)))
                    }
                }
            })
            .await
    }

    async fn restore(&self, grant: Grant<Overwrite>, job: &Job, plan: &Plan) -> JobEnd {
        self.jobs.progress(job, "verifying the backup", 0, 0).await?;
        let planned = plan.direct_restore()?;
        let set = self.vault.find(plan.act.set_of(&plan.instance_id), &job.backup_id, self).await?;
        // A bad RDB makes its target exit. The set was verified whole for the plan; before the first byte leaves us, every
        // byte of its file is shown to be the one that was verified then.
        let known = if set.sha256 == planned.sha256 {
            self.vault.open_known(&set, &planned.stored_sha256).await?
        } else {
            None
        };
        let another = "the backup is not the one that was planned; the target was not touched";
        let data = known.ok_or_else(|| changed(another))?;
        let recovery = RecoveryRecord::of(plan, &set);
        self.sweep_tails().await;
        let switched = match planned.method {
            Method::Replication => Some(self.by_replication(grant, job, plan, recovery, &set, data).await?),
            Method::Commands => {
                self.by_commands(grant, job, plan, recovery, &set, data).await?;
                None
            }
        };
        if let Some(ended) = switched {
            return Ok(self.replicated(job, plan, &set, ended).await?);
        }
        // Data that is in must not be called lost because of what comes after it.
        let _ = self.jobs.progress(job, "counting keys", set.rdb_bytes, set.rdb_bytes).await;
        let found = match self.count(&plan.instance_id).await {
            Ok(found) => found,
            Err(fault) => {
                return Ok(format!("restored: the target took the whole set; its keys could not be counted ({fault})"));
            }
        };
        Ok(compare_key_counts(&set.counts, &found).map_err(|why| {
            Fault::new(Kind::Provider, "restore.census_differs", format!("the target took the whole set, but {why}"))
                .hint("A client may have written meanwhile; compare before you go on.")
        })?)
    }

    /// Runs a transfer to its end and writes down, at every tick, the stage and the bytes that `how_far` gives. The disk must not
    /// hold the transfer up, so the two go on beside each other.
    async fn reporting<T>(
        &self,
        job: &Job,
        set: &BackupSet,
        how_far: impl Fn() -> (&'static str, u64),
        run: impl Future<Output = T>,
    ) -> T {
        let ticks = async {
            loop {
                tokio::time::sleep(TICK).await;
                let (stage, bytes) = how_far();
                // Progress that cannot be written down is no reason to drop a restore half way.
                let _ = self.jobs.progress(job, stage, bytes, set.rdb_bytes).await;
            }
        };
        tokio::select! {
            done = run => done,
            never = ticks => never,
        }
    }

    async fn count(&self, instance_id: &str) -> Result<Counts, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        Ok(key_counts(&mut conn).await?)
    }

    /// Looks at the target right before it is acted on: nothing may have been written to it since the plan that the plan does not
    /// tell of, and nobody may have taken its place. The facts read, and the counter of write commands.
    pub(super) async fn still_as_planned(&self, conn: &mut Conn, plan: &Plan) -> Result<(ServerFacts, u64), Fault> {
        let calls = write_calls(conn).await?;
        let read_at = Timestamp::now();
        let facts = ServerFacts::read(conn).await?;
        let slots = slots_served(&facts, conn).await?;
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let mut writes = Writes { offset: position(&facts), ..Writes::counted(calls, read_at) };
        if let Some(set) = self.planned_safety(plan).await {
            writes.streamed = self.stream_behind(&endpoint, &facts, &set).await.map(|(_, seen)| seen);
        }
        let (run_id, replication_id) = (facts.run_id.clone(), facts.replid.clone());
        plan.last_look(&LastLook { run_id, replication_id, slots, writes })?;
        Ok((facts, calls))
    }
}

/// Whether the target holds what the set does. Keys whose expiry has passed since the backup may be gone.
fn compare_key_counts(set: &Counts, found: &Counts) -> Result<String, String> {
    let mut gone = 0;
    for db in set.keys().chain(found.keys()) {
        let (want, expires) = set.get(db).copied().unwrap_or_default();
        let (have, _) = found.get(db).copied().unwrap_or_default();
        if have > want || want - have > expires {
            return Err(format!("db{db} has {have} keys where the set has {want}"));
        }
        gone += want - have;
    }
    // Databases of the set were seen twice above where both have them.
    let gone = gone.min(total_keys(set).saturating_sub(total_keys(found)));
    let keys = total_keys(found);
    Ok(if gone == 0 {
        format!("restored: {keys} keys, as many as in the backup in every database")
    } else {
        format!("restored: {keys} keys; {gone} others of the backup had an expiry that has passed since, and are gone")
    })
}
