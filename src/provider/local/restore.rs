//! Restore: the one place that overwrites data. It cannot begin without the guard's permit.

use crate::config::instance::Announce;
use crate::guard::facts::restore::LastLook;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::permit::Permit;
use crate::guard::plan::{Plan, changed};
use crate::guard::writes::Writes;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Counts, total_keys};
use crate::model::job::{Job, JobEnd, JobKind, Unfinished};
use crate::model::restore::Method;
use crate::provider::local::capture::TICK;
use crate::provider::local::facts::slots_served;
use crate::provider::local::recover::RecoveryRecord;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::provider::with_way_back;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, key_counts, write_calls};
use crate::redis::master::session::Session;
use crate::redis::master::types::{MasterOptions, Step, Supply};
use crate::redis::rdb;
use crate::redis::replay::encoder::RestoreEncoder;
use crate::redis::replay::{ReplayMode, drive};
use crate::vault::frames::FrameReader;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

/// Frames of 1 MiB on their way to the target.
const IN_FLIGHT: usize = 4;
/// A target of many gigabytes loads for minutes, but shows signs of life all along.
const STALL: Duration = Duration::from_secs(60);

impl Inner {
    /// Starts what is permitted.
    pub async fn start_restore(self: &Arc<Self>, permit: Permit, backup_id: &str) -> Result<Job, Fault> {
        let inner = Arc::clone(self);
        self.jobs
            .begin_permitted(permit, JobKind::Restore, backup_id, |job, plan, permit| async move {
                let done = inner.restore(permit.overwrite()?, &job, &plan).await;
                done.map_err(|end| end.map(|fault| with_way_back(fault, &plan.impact.way_back)))
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
        match planned.method {
            Method::Replication => self.by_replication(grant, job, plan, recovery, &set, data).await?,
            Method::Commands => self.by_commands(grant, job, plan, recovery, &set, data).await?,
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

    async fn count(&self, instance_id: &str) -> Result<Counts, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        Ok(key_counts(&mut conn).await?)
    }

    /// Looks at the target for the last time: nothing may have been written to it since the plan, or taken its place.
    async fn still_as_planned(&self, conn: &mut Conn, plan: &Plan) -> Result<(), Fault> {
        let calls = write_calls(conn).await?;
        let read_at = Timestamp::now();
        let facts = ServerFacts::read(conn).await?;
        let slots = slots_served(&facts, conn).await?;
        let (run_id, replication_id) = (facts.run_id, facts.replid);
        plan.last_look(&LastLook { run_id, replication_id, slots, writes: Writes { calls, read_at } })
    }

    async fn by_replication(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        recovery: RecoveryRecord,
        set: &BackupSet,
        data: FrameReader,
    ) -> Result<(), Unfinished> {
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let announce = self.config(&plan.instance_id).and_then(|c| c.announce.clone());
        let options = MasterOptions {
            bind: announce.as_ref().map(Announce::any),
            // An announced port is one that somebody forwards to us: it must be the one we listen on.
            port: announce.as_ref().and_then(|a| a.port).unwrap_or(0),
            announce: announce.map(|a| (a.host, a.port)),
            stall: STALL,
            total: Some(set.rdb_bytes),
            ..MasterOptions::default()
        };
        let session = Session::prepare(&endpoint, options).await.map_err(Fault::from)?;
        self.still_as_planned(&mut Conn::open(&endpoint, COMMAND_TIMEOUT).await.map_err(Fault::from)?, plan).await?;
        // From here on a crash is rolled back at the next start.
        self.jobs.save_recovery(job, &recovery.switching(session.rollback_record())).await?;
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let supplier = {
            let bytes = set.rdb_bytes;
            tokio::task::spawn_blocking(move || supply(data, bytes, &tx))
        };
        let shown = Mutex::new(("preparing the target", 0));
        let run = session.run(grant, rx, |step| {
            let now = match step {
                Step::SettingsSaved => ("preparing the target", 0),
                Step::Switched => ("waiting for the target to connect", 0),
                Step::Connected => ("the target is connected", 0),
                Step::Streaming { sent, .. } => ("sending; the target loads", sent),
                Step::Loaded => ("loaded; promoting", set.rdb_bytes),
                Step::Promoted | Step::Restored => ("promoted; settings put back", set.rdb_bytes),
            };
            *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        });
        tokio::pin!(run);
        let done = loop {
            tokio::select! {
                done = &mut run => break done,
                () = tokio::time::sleep(TICK) => {
                    let (stage, bytes) = *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    // Progress that cannot be written down is no reason to drop a restore half way.
                    let _ = self.jobs.progress(job, stage, bytes, set.rdb_bytes).await;
                }
            }
        };
        // The thread ends by itself: its channel is closed.
        let _ = supplier.await;
        done.map(|_| ()).map_err(ended_by)
    }

    async fn by_commands(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        recovery: RecoveryRecord,
        set: &BackupSet,
        data: FrameReader,
    ) -> Result<(), Fault> {
        let mut conn = Conn::open(&self.endpoint(&plan.instance_id).await?, COMMAND_TIMEOUT).await?;
        self.still_as_planned(&mut conn, plan).await?;
        self.jobs.save_recovery(job, &recovery).await?;
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let reader = {
            let (vault, set, spool) = (self.vault.clone(), set.clone(), self.state.home().join("run"));
            tokio::task::spawn_blocking(move || {
                let walked = rdb::walk(data, (), RestoreEncoder::new(tx, set.rdb_version, spool))
                    .map_err(|e| vault.damaged(&set, e))?;
                walked.visitor.finish().map_err(|e| {
                    Fault::new(Kind::Provider, "restore.interrupted", "the target stopped taking commands").because(e)
                })
            })
        };
        let done = std::sync::atomic::AtomicU64::new(0);
        let keys = total_keys(&set.counts);
        let run = drive(grant, &mut conn, rx, ReplayMode::ReplaceEverything, |report| {
            done.store(report.keys, std::sync::atomic::Ordering::Relaxed)
        });
        tokio::pin!(run);
        let driven = loop {
            tokio::select! {
                driven = &mut run => break driven,
                () = tokio::time::sleep(TICK) => {
                    // Told in bytes, as all jobs are: its share of the keys.
                    let n = u128::from(done.load(std::sync::atomic::Ordering::Relaxed));
                    let share = n * u128::from(set.rdb_bytes) / u128::from(keys.max(1));
                    let bytes = u64::try_from(share).unwrap_or(u64::MAX).min(set.rdb_bytes);
                    let _ = self.jobs.progress(job, "writing keys", bytes, set.rdb_bytes).await;
                }
            }
        };
        let read = reader.await;
        driven.map_err(Fault::from)?;
        read.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the reading thread died").because(e))?
    }
}

/// How a restore by replication ended. Where the target is not off us with its own settings, the recovery record is still needed.
fn ended_by(e: RedisError) -> Unfinished {
    if matches!(e, RedisError::Restore { not_rolled_back: Some(_), .. }) {
        Unfinished::RollbackPending(e.into())
    } else {
        Unfinished::Failed(e.into())
    }
}

/// Reads data whose file was just shown to be the one that was verified. Each frame's own checksum is right before it goes
/// out, and the end goes out only behind all of them.
fn supply(mut data: FrameReader, bytes: u64, to: &mpsc::Sender<Supply>) {
    let mut all = || -> Result<(), String> {
        let mut sent = 0;
        while let Some(frame) = data.next_frame().map_err(|e| e.to_string())? {
            sent += frame.len() as u64;
            if to.blocking_send(Supply::Chunk(frame)).is_err() {
                return Ok(());
            }
        }
        if sent == bytes { Ok(()) } else { Err(format!("the set gave {sent} bytes, its manifest says {bytes}")) }
    };
    let last = all().map_or_else(Supply::Failed, |()| Supply::Done);
    // The other side may have given up; it says why.
    let _ = to.blocking_send(last);
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
