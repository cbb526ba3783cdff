//! The last safety backup: the set that the way back restores, and the stream behind it up to the cutover.
//!
//! It is the plan's own where the stream shows that nothing was written since; else it is taken here, after the yes and before
//! the target is touched. A crash leaves its data without a manifest, which is found by the job's id.

use crate::guard::plan::{Plan, Safety, way_back};
use crate::guard::writes::{ServerCounters, Streamed};
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::job::{Job, last_safety_id};
use crate::model::key_filter::SomeKeys;
use crate::model::restore::{Cutover, Method};
use crate::provider::local::Inner;
use crate::provider::local::backup::capture::Taken;
use crate::provider::local::restore::tail::{Follower, read_to};
use crate::redis::endpoint::Endpoint;
use crate::redis::facts::ServerFacts;
use crate::redis::replica::handshake::{CaptureOptions, Extent};
use crate::redis::replica::tail::Tail;
use jiff::Timestamp;
use std::time::Duration;

/// How long a look at what was written since a set may take. The backlog, of a megabyte by default, comes at once.
const READING: Duration = Duration::from_secs(5);

/// The set that the way back restores, and the stream behind it.
#[derive(Debug)]
pub(super) struct LastSafety {
    /// What is known of the cutover, and written down: a crash then still tells of it.
    pub(super) cutover: Cutover,
    /// When the set was begun.
    pub(super) since: Timestamp,
    /// The replication id of the history that the stream belongs to, and the set's offset in it.
    pub(super) replication_id: String,
    pub(super) offset: u64,
    /// The server's counters before the set was captured.
    pub(super) counters: ServerCounters,
    /// Keys that the server had evicted when the job first looked at it.
    pub(super) evicted: u64,
    pub(super) tail: Follower,
}

/// A target as it was looked at right before it is acted on.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) facts: ServerFacts,
    /// The counter of write commands.
    pub(super) calls: u64,
    /// The plan's safety backup, and what was written behind it.
    pub(super) planned: Option<Planned>,
}

/// The plan's safety backup, and what the stream behind it holds.
#[derive(Debug)]
pub(super) struct Planned {
    set: BackupSet,
    /// `None` where the stream cannot be read.
    pub(super) streamed: Option<Streamed>,
}

impl Inner {
    /// The plan's safety backup as it lies in the vault; `None` where there is none, or where it was found damaged.
    pub(super) async fn planned_safety(&self, plan: &Plan) -> Option<BackupSet> {
        let id = plan.safety.as_ref().map(|s| s.backup_id.as_str()).filter(|id| !id.is_empty())?;
        self.set(&plan.instance_id, id).await.ok()
    }

    /// The plan's safety backup and the stream behind it; `None` where there is no such set.
    pub(super) async fn behind_planned(
        &self,
        plan: &Plan,
        endpoint: &Endpoint,
        facts: &ServerFacts,
    ) -> Option<Planned> {
        let set = self.planned_safety(plan).await?;
        let streamed = self.stream_behind(endpoint, facts, &set).await;
        Some(Planned { set, streamed })
    }

    /// The stream behind a set, read up to where its server is now; `None` where the server's backlog does not reach back to the
    /// set, or its history is another one. What the server does not let us read is no failure: then a new set is taken.
    async fn stream_behind(&self, endpoint: &Endpoint, facts: &ServerFacts, set: &BackupSet) -> Option<Streamed> {
        let (from, behind) = (facts.backlog_from?, set.replication_offset);
        let same = set.run_id == facts.run_id && set.replication_id == facts.replid;
        // Another answer than "go on" would make the server fork for a snapshot that nobody wants.
        if !same || behind.saturating_add(1) < from || behind > facts.offset {
            return None;
        }
        let mut tail = self.resume(endpoint, set).await?;
        let seen = read_to(&mut tail, facts.offset, READING).await.ok()??;
        Some(Streamed { writes: seen.writes, removals: seen.removals })
    }

    async fn resume(&self, endpoint: &Endpoint, set: &BackupSet) -> Option<Tail> {
        let options = CaptureOptions::default();
        match Tail::resume(endpoint, &set.replication_id, set.replication_offset, options).await {
            Ok(tail) => tail,
            Err(error) => {
                tracing::debug!("the stream behind {} cannot be read: {error}", set.id);
                None
            }
        }
    }

    /// The last safety backup of a job and its tail, which leaves out the databases `ours`; `None` where the plan has no safety backup,
    /// and so promises none.
    pub(super) async fn last_safety(
        &self,
        job: &Job,
        plan: &Plan,
        endpoint: &Endpoint,
        looked: Looked,
        ours: &[u64],
    ) -> Result<Option<LastSafety>, Fault> {
        if plan.safety.is_none() {
            return Ok(None);
        }
        let _ = self.jobs.progress(job, "making sure of the way back", 0, 0).await;
        let evicted = looked.facts.evicted_keys;
        let server = looked.facts.server();
        let now = ServerCounters { calls: Some(looked.calls), removed: looked.facts.removed };
        let mut removed = plan.writes.map_or(u64::MAX, |writes| writes.removed);
        let (set, mut tail, taken) = match self.nothing_behind(endpoint, looked.planned, now, removed).await {
            Some((set, tail)) => (set, tail, false),
            None => {
                removed = now.removed;
                let (set, tail) = self.take_last_safety(job, plan).await?;
                (set, tail, true)
            }
        };
        tail.leave_out(ours.iter().copied());
        let tail = self.follow_tail(&job.id, tail).await?;
        let by_replication = plan.direct_restore()?.method == Method::Replication;
        let can_follow = by_replication || self.builder(&set, server).await?.is_some();
        let BackupSet { id: safety_backup_id, started_at: since, write_calls: calls, .. } = set;
        let (replication_id, offset) = (set.replication_id, set.replication_offset);
        let counters = ServerCounters { calls, removed };
        let mut cutover = Cutover {
            instance_id: job.instance_id.clone(),
            safety_backup_id,
            taken_after_yes: taken,
            writes_after: None,
            removed_after: 0,
            evicted_after: 0,
            called_after: 0,
            tail: None,
            tail_whole: false,
            in_log: None,
            job_id: job.id.clone(),
            can_follow,
            filter_key: plan.act.keys().and_then(SomeKeys::in_target),
            meanwhile: None,
            waited_seconds: None,
            refused_seconds: None,
        };
        self.write_cutover(&job.id, &mut cutover).await;
        Ok(Some(LastSafety { cutover, since, replication_id, offset, counters, evicted, tail }))
    }

    /// The plan's own set, where not a single write is behind it, whatever else moved the position: signs of life, messages, expiries,
    /// evictions. `now`: the server's counters; `removed`: the one of removals before the set was taken.
    async fn nothing_behind(
        &self,
        endpoint: &Endpoint,
        planned: Option<Planned>,
        now: ServerCounters,
        removed: u64,
    ) -> Option<(BackupSet, Tail)> {
        let Planned { set, streamed } = planned?;
        let own = now.own_removals_since(ServerCounters { calls: set.write_calls, removed });
        // A script may keep what it writes out of the stream, and moves the counter all the same.
        if streamed?.written(own) > 0 || now.calls > set.write_calls {
            return None;
        }
        let tail = self.resume(endpoint, &set).await?;
        Some((set, tail))
    }

    async fn take_last_safety(&self, job: &Job, plan: &Plan) -> Result<(BackupSet, Tail), Fault> {
        let capture = Job { backup_id: last_safety_id(&job.id), ..job.clone() };
        let note = "taken after the yes, before the restore";
        let Taken { set, snapshot, .. } = self
            .take_set(&capture, Mode::Safety, note.to_owned(), None, Extent::SnapshotAndStream)
            .await
            .map_err(|fault| {
                let message = format!(
                    "the last safety backup could not be taken, and the target was not touched: {}",
                    fault.message
                );
                let hint = fault.hint.clone();
                Fault::new(fault.kind, fault.code, message).hint(hint).because(fault)
            })?;
        self.replace_oldest_safety_backup(&plan.instance_id, &set.id).await;
        Ok((set, snapshot.into_tail()?))
    }

    /// The call that restores what was there before a job: up to the last write where that was kept, else its last safety backup where
    /// it took one, else the plan's. `keys`: those that the job is about alone.
    pub(in crate::provider::local) async fn way_back_of(
        &self,
        job_id: &str,
        instance_id: &str,
        planned: &str,
        keys: Option<&SomeKeys>,
    ) -> String {
        let cutover = self.read_cutover(job_id).await;
        if let Some((call, set)) = cutover.and_then(|c| c.last_write().map(|call| (call, c.safety_backup_id))) {
            return format!("{call} (or backup_id {set} without what was written behind that set)");
        }
        let last = last_safety_id(job_id);
        match self.set(instance_id, &last).await {
            Ok(set) => way_back(
                instance_id,
                &Safety { job_id: String::new(), backup_id: set.id, stored_digest: String::new() },
                keys,
            ),
            Err(_) => planned.to_owned(),
        }
    }
}
