//! Restore by commands: the target is emptied and the set's keys are written one by one. Not atomic, and the plan says so.

use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::Plan;
use crate::guard::room::need;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Counts, total_keys};
use crate::model::job::{Job, Unfinished};
use crate::model::restore::Cutover;
use crate::provider::local::restore::IN_FLIGHT;
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::cutover::{WayBack, behind};
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::rdb;
use crate::redis::replay::encoder::RestoreEncoder;
use crate::redis::replay::frame::Frame;
use crate::redis::replay::{Coming, ReplayMode, drive};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

impl Inner {
    /// Empties the target and writes key by key. The cutover is when it is empty.
    pub(super) async fn by_commands(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        recovery: RecoveryRecord,
        set: &BackupSet,
        contents: Contents,
    ) -> Result<Loaded, Unfinished> {
        let dir = self.run_dir().await?;
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let mut conn = Conn::open(&endpoint, COMMAND_TIMEOUT).await.map_err(Fault::from)?;
        let looked = self.still_as_planned(&mut conn, plan, &endpoint).await?;
        let evicted = looked.facts.evicted_keys;
        let safety = self.last_safety(job, plan, &endpoint, looked, &[]).await?;
        let mut recovery = recovery.written_on(&mut conn).await?;
        recovery.evicted = Some(evicted);
        self.jobs.save_recovery(job, &recovery).await?;
        let mut way_back = WayBack::new(self, job, plan, safety, 0);
        let (frames, reader) = self.encode(set, contents, dir, |encoder| encoder);
        let done = AtomicU64::new(0);
        // The plan has judged both; what the server allows may have changed since.
        let coming = Coming { functions: set.functions, memory: need(set.used_memory, set.rdb_bytes, 0) };
        let run = drive(grant, &mut conn, frames, ReplayMode::ReplaceIf(&mut way_back, coming), |report| {
            done.store(report.keys, Ordering::Relaxed);
        });
        let written = self.show_keys(job, set, &done, run).await;
        if written.is_ok() {
            self.evicted_before(job, &mut recovery, way_back.evicted_then).await;
        }
        let cutover = way_back.conclude(None, None).await;
        let unseen = match written {
            Ok(_) => read_to_its_end(reader).await,
            Err(error) => Err(error.into()),
        };
        // What was there before went at the cutover, whatever came after it.
        let unseen = unseen.map_err(|fault| behind(fault, cutover.as_ref()))?;
        Ok(Loaded { cutover, unseen, swapped_in: None })
    }

    /// Writes down how many keys the target had evicted at the cutover: those were of the old data.
    pub(super) async fn evicted_before(&self, job: &Job, recovery: &mut RecoveryRecord, evicted: Option<u64>) {
        recovery.evicted = evicted.or(recovery.evicted);
        if let Err(fault) = self.jobs.save_recovery(job, recovery).await {
            tracing::warn!("what the target had evicted at the cutover could not be written down: {fault}");
        }
    }

    /// Begins to read a set as frames, on a thread of its own; its end is the number of keys that had expired. Large values pass through files
    /// in `dir`.
    pub(super) fn encode(
        &self,
        set: &BackupSet,
        contents: Contents,
        dir: PathBuf,
        place: impl FnOnce(RestoreEncoder) -> RestoreEncoder,
    ) -> (mpsc::Receiver<Frame>, Reader) {
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let encoder = place(RestoreEncoder::new(tx, set.rdb_version, dir));
        let Contents { data, whose } = contents;
        let reader = tokio::task::spawn_blocking(move || {
            let walked = rdb::walk(data, (), encoder).map_err(|e| whose.unreadable(e))?;
            let expired = walked.visitor.expired();
            walked.visitor.finish().map(|()| expired).map_err(|e| {
                Fault::new(Kind::Provider, "restore.interrupted", "the target stopped taking commands").because(e)
            })
        });
        (rx, reader)
    }

    /// Shows how far a restore by commands is while it runs. Progress is in bytes, as that of all jobs: the share of the keys that
    /// are written.
    pub(super) async fn show_keys<T>(
        &self,
        job: &Job,
        set: &BackupSet,
        done: &AtomicU64,
        run: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let keys = total_keys(&set.counts);
        let how_far = || {
            let share = u128::from(done.load(Ordering::Relaxed)) * u128::from(set.rdb_bytes) / u128::from(keys.max(1));
            ("writing keys", u64::try_from(share).unwrap_or(u64::MAX).min(set.rdb_bytes))
        };
        self.reporting(job, set.rdb_bytes, how_far, run).await
    }
}

/// The thread that reads a set as frames.
pub(super) type Reader = tokio::task::JoinHandle<Result<u64, Fault>>;

/// How the reading ended: keys that the target may have taken as expired.
pub(super) async fn read_to_its_end(reader: Reader) -> Result<u64, Fault> {
    reader.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the reading thread died").because(e))?
}

/// What a restore by commands came to.
#[derive(Debug)]
pub(super) struct Loaded {
    /// `None` where the plan promised no way back.
    pub(super) cutover: Option<Cutover>,
    /// Keys that the target may have taken as expired without counting them.
    pub(super) unseen: u64,
    /// The keys of each database as they were swapped in, and the server's count of evictions then; `None` where keys were written
    /// one by one.
    pub(super) swapped_in: Option<(Counts, u64)>,
}
