//! Restore by commands: the target is emptied and the set's keys are written one by one. Not atomic, and the plan says so.

use crate::guard::facts::restore::LastLook;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::Plan;
use crate::guard::writes::Writes;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::total_keys;
use crate::model::job::Job;
use crate::provider::local::restore::IN_FLIGHT;
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::moment::Moment;
use crate::redis::rdb;
use crate::redis::replay::encoder::RestoreEncoder;
use crate::redis::replay::frame::Frame;
use crate::redis::replay::{ReplayMode, drive};
use crate::vault::frames::FrameReader;
use jiff::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

impl Inner {
    /// Keys that the target may have taken as expired without counting them.
    pub(super) async fn by_commands(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        recovery: RecoveryRecord,
        set: &BackupSet,
        data: FrameReader,
    ) -> Result<u64, Fault> {
        let mut conn = Conn::open(&self.endpoint(&plan.instance_id).await?, COMMAND_TIMEOUT).await?;
        self.still_as_planned(&mut conn, plan).await?;
        self.jobs.save_recovery(job, &recovery).await?;
        let (frames, reader) = self.encode(set, data, |encoder| encoder);
        let (done, mut look) = (AtomicU64::new(0), last_look(plan));
        let run = drive(grant, &mut conn, frames, ReplayMode::ReplaceIf(&mut look), |report| {
            done.store(report.keys, Ordering::Relaxed);
        });
        self.show_keys(job, set, &done, run).await?;
        read_to_its_end(reader).await
    }

    /// Begins to read a set as frames, on a thread of its own; its end is the number of keys that had expired.
    pub(super) fn encode(
        &self,
        set: &BackupSet,
        data: FrameReader,
        place: impl FnOnce(RestoreEncoder) -> RestoreEncoder,
    ) -> (mpsc::Receiver<Frame>, Reader) {
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let (vault, set, spool) = (self.vault.clone(), set.clone(), self.state.home().join("run"));
        let encoder = place(RestoreEncoder::new(tx, set.rdb_version, spool));
        let reader = tokio::task::spawn_blocking(move || {
            let walked = rdb::walk(data, (), encoder).map_err(|e| vault.damaged(&set, e))?;
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
        self.reporting(job, set, how_far, run).await
    }
}

/// The thread that reads a set as frames.
pub(super) type Reader = tokio::task::JoinHandle<Result<u64, Fault>>;

/// How the reading ended: keys that the target may have taken as expired.
pub(super) async fn read_to_its_end(reader: Reader) -> Result<u64, Fault> {
    reader.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the reading thread died").because(e))?
}

/// The last look, on the connection that acts.
pub(super) fn last_look(plan: &Plan) -> impl FnMut(&Moment) -> Result<(), Fault> + Send + '_ {
    |moment| {
        let slots = plan.direct_restore()?.slots.clone();
        let (run_id, replication_id) = (moment.run_id.clone(), moment.replid.clone());
        let writes = Writes::counted(moment.writes, Timestamp::now());
        plan.last_look(&LastLook { run_id, replication_id, slots, writes })
    }
}
