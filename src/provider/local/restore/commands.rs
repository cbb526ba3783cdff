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
use crate::redis::moment::Moment;
use crate::redis::rdb;
use crate::redis::replay::encoder::RestoreEncoder;
use crate::redis::replay::{ReplayMode, drive};
use crate::vault::frames::FrameReader;
use jiff::Timestamp;
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
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let reader = {
            let (vault, set, spool) = (self.vault.clone(), set.clone(), self.state.home().join("run"));
            tokio::task::spawn_blocking(move || {
                let walked = rdb::walk(data, (), RestoreEncoder::new(tx, set.rdb_version, spool))
                    .map_err(|e| vault.damaged(&set, e))?;
                let expired = walked.visitor.expired();
                walked.visitor.finish().map(|()| expired).map_err(|e| {
                    Fault::new(Kind::Provider, "restore.interrupted", "the target stopped taking commands").because(e)
                })
            })
        };
        let done = std::sync::atomic::AtomicU64::new(0);
        let keys = total_keys(&set.counts);
        let mut look = last_look(plan);
        let run = drive(grant, &mut conn, rx, ReplayMode::ReplaceIf(&mut look), |report| {
            done.store(report.keys, std::sync::atomic::Ordering::Relaxed)
        });
        // Progress is in bytes, as that of all jobs: the share of the keys that are written.
        let how_far = || {
            let n = u128::from(done.load(std::sync::atomic::Ordering::Relaxed));
            let share = n * u128::from(set.rdb_bytes) / u128::from(keys.max(1));
            ("writing keys", u64::try_from(share).unwrap_or(u64::MAX).min(set.rdb_bytes))
        };
        let driven = self.reporting(job, set, how_far, run).await;
        let read = reader.await;
        driven.map_err(Fault::from)?;
        read.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the reading thread died").because(e))?
    }
}

/// The last look, on the connection that acts.
fn last_look(plan: &Plan) -> impl FnMut(&Moment) -> Result<(), Fault> + Send + '_ {
    |moment| {
        let slots = plan.direct_restore()?.slots.clone();
        let (run_id, replication_id) = (moment.run_id.clone(), moment.replid.clone());
        let writes = Writes { calls: moment.writes, read_at: Timestamp::now() };
        plan.last_look(&LastLook { run_id, replication_id, slots, writes })
    }
}
