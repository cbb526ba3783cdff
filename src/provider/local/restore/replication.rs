//! Restore by replication: this process acts as the target's master, and the target swaps the set in whole.

use crate::config::announce::Announce;
use crate::guard::act::Act;
use crate::guard::facts::look::CutoverLook;
use crate::guard::grant::{Grant, Overwrite};
use crate::guard::plan::Plan;
use crate::guard::writes::ServerCounters;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Unfinished};
use crate::model::restore::Cutover;
use crate::provider::jobs::Jobs;
use crate::provider::local::restore::IN_FLIGHT;
use crate::provider::local::restore::cutover::{WayBack, behind};
use crate::provider::local::restore::recovery::RecoveryRecord;
use crate::provider::local::restore::replay::Behind;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::master::cutover::{BeforeStream, RollbackStore};
use crate::redis::master::session::Session;
use crate::redis::master::types::{MasterOptions, Restored, RollbackRecord, Step, Supply, Switched};
use crate::redis::pause::{BRIEF, Pause};
use crate::redis::rdb;
use crate::redis::target::TargetState;
use crate::state::jobs::{cut_off, taken_over};
use crate::vault::frames::FrameReader;
use jiff::Timestamp;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A target of many gigabytes loads for minutes, but shows signs of life all along.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the store is waited for while the target refuses writes.
const ASKING: Duration = Duration::from_secs(2);

impl Inner {
    #[expect(clippy::too_many_arguments, reason = "what to restore, with what, and under which record")]
    pub(super) async fn by_replication(
        &self,
        grant: Grant<Overwrite>,
        job: &Job,
        plan: &Plan,
        mut recovery: RecoveryRecord,
        set: &BackupSet,
        data: FrameReader,
        log: Option<Behind>,
    ) -> Result<Replicated, Unfinished> {
        let endpoint = self.endpoint(&plan.instance_id).await?;
        let config = self.config(&plan.instance_id);
        let announce = config.and_then(|c| c.announce.as_ref());
        let options = MasterOptions {
            bind: announce.map(Announce::any),
            // An announced port is one that somebody forwards to us: it must be the one we listen on.
            port: announce.and_then(|a| a.port).unwrap_or(0),
            allow_plain: config.is_some_and(|c| c.allow_plain_replication),
            announce: announce.map(|a| (a.host.clone(), a.port)),
            stall: STALL_TIMEOUT,
            free_stall: self.free_stall(&plan.instance_id),
            total: Some(set.rdb_bytes),
            ..MasterOptions::default()
        };
        let mut session = Session::prepare(&endpoint, options).await.map_err(Fault::from)?;
        // On the connection that will act: a wrong server is not even told to follow us.
        plan.same_process(&session.rollback_record().run_id)?;
        let mut conn = Conn::open(&endpoint, COMMAND_TIMEOUT).await.map_err(Fault::from)?;
        // Writers wait from here on, so that nothing is written behind the last safety backup.
        let pause = match fenced(plan) {
            true => Some(Pause::begin(&endpoint, COMMAND_TIMEOUT).await.map_err(no_pause)?),
            false => None,
        };
        let looked = self.still_as_planned(&mut conn, plan, &endpoint).await?;
        if let Some(log) = &log {
            log.still_known(&mut conn).await?;
        }
        // Measured: 6.2 does, 7.0 and later send what is left.
        let drops_replicas = looked.facts.version_number < (7, 0, 0);
        let safety = self.last_safety(job, plan, &endpoint, looked, &[]).await?;
        // From here on a crash is rolled back at the next start.
        recovery.switching(session.rollback_record());
        // Whoever takes this process for dead ends that connection first: what it would still say is not said any more.
        let recovery = recovery.written_on(session.connection()).await?;
        self.jobs.save_recovery(job, &recovery).await?;
        let record = Record { jobs: &self.jobs, job, recovery };
        let way_back = WayBack::new(self, job, plan, safety, 0);
        let (shown, total) = (Mutex::new(("preparing the target", 0)), set.rdb_bytes);
        let mut watch =
            Watch { plan, endpoint, drops_replicas, way_back, pause, record, shown: &shown, total, waited: None };
        let refusing = Mutex::new((None, None));
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let supplier = {
            let bytes = set.rdb_bytes;
            tokio::task::spawn_blocking(move || supply(data, bytes, log, &tx))
        };
        let run = session.run(grant, rx, &mut watch, |step| {
            {
                let mut refusing = refusing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match step {
                    Step::Switched => refusing.0 = Some(Instant::now()),
                    Step::Promoted => refusing.1 = Some((Instant::now(), Timestamp::now())),
                    _ => {}
                }
            }
            let now = match step {
                Step::SettingsSaved => ("preparing the target", 0),
                Step::Switched => ("making the target follow us", 0),
                Step::Refusing => ("waiting for the target to connect", 0),
                Step::Connected => ("the target is connected", 0),
                Step::Streaming { sent, .. } => ("sending; the target loads", sent),
                Step::Loaded => ("loaded; the old data is freed, then the target is promoted", set.rdb_bytes),
                Step::Replaying { .. } => ("loaded; the target applies the log behind the set", set.rdb_bytes),
                Step::Promoted => ("promoted; its settings are put back", set.rdb_bytes),
                Step::Restored => ("promoted; settings put back", set.rdb_bytes),
            };
            *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        });
        let how_far = || *shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = self.reporting(job, total, how_far, run).await;
        // The thread ends by itself: its channel is closed.
        let _ = supplier.await;
        let (from, to) = refusing.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let refused = from.map(|from: Instant| to.map_or_else(Instant::now, |(to, _)| to) - from);
        // Whatever became of the restore, writers go on.
        watch.lift().await;
        // It may have been allowed and come to nothing: then nothing was overwritten that could be got back.
        watch.way_back.cut &= !matches!(&done, Err(RedisError::Restore { state: TargetState::Untouched, .. }));
        let cutover = watch.way_back.conclude(watch.waited, refused).await;
        let restored = done.map_err(|e| ended_by(e).map(|fault| behind(fault, cutover.as_ref())))?;
        Ok(Replicated { restored, cutover, serving_at: to.map(|(_, at)| at) })
    }

    /// How long an instance may free none of its old data before it is promoted all the same.
    pub(super) fn free_stall(&self, id: &str) -> Duration {
        self.config(id).map_or(MasterOptions::default().free_stall, |config| config.free_stall)
    }
}

/// A restore by replication that went well.
#[derive(Debug)]
pub(super) struct Replicated {
    pub(super) restored: Restored,
    /// `None` where the plan promised no way back.
    pub(super) cutover: Option<Cutover>,
    /// When the target was promoted: from then on it serves, whatever is still written down here.
    pub(super) serving_at: Option<Timestamp>,
}

/// The recovery record of the job, stored again where more of the target is about to be changed.
pub(super) struct Record<'a> {
    pub(super) jobs: &'a Jobs,
    pub(super) job: &'a Job,
    pub(super) recovery: RecoveryRecord,
}

impl RollbackStore for Record<'_> {
    async fn store(&mut self, record: &RollbackRecord) -> Result<(), Fault> {
        self.recovery.switching(record);
        self.jobs.save_recovery(self.job, &self.recovery).await
    }
}

/// Looks at the target once it refuses writes, for the guard to judge, and lets the writers go before anything is sent.
struct Watch<'a> {
    plan: &'a Plan,
    endpoint: Endpoint,
    /// Whether the target lets go of its own replicas at once when it is made to follow somebody.
    drops_replicas: bool,
    way_back: WayBack<'a>,
    /// Writers that wait: all along behind a write fence, else for a moment before the target follows us.
    pause: Option<Pause>,
    record: Record<'a>,
    /// The stage that is shown of the job, with its bytes, and of how many.
    shown: &'a Mutex<(&'static str, u64)>,
    total: u64,
    waited: Option<Duration>,
}

impl<'a> Watch<'a> {
    /// What is said of the job where it is asked whose it is.
    fn told(&self) -> (&'a Jobs, &'a Job, &'static str, u64) {
        let (stage, bytes) = *self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (self.record.jobs, self.record.job, stage, bytes)
    }

    /// Whether the job is this process's still. A store that does not say so is no yes: nothing is lost yet.
    async fn is_ours(&mut self) -> Result<(), Fault> {
        let (jobs, job, stage, bytes) = self.told();
        if jobs.progress(job, stage, bytes, self.total).await? { Ok(()) } else { Err(taken_over(&job.id)) }
    }

    async fn lift(&mut self) {
        let Some(pause) = self.pause.take() else { return };
        match pause.lift().await {
            Ok(waited) => self.waited = Some(waited),
            // A pause ends by itself in seconds.
            Err(error) => tracing::warn!("the writers' pause could not be lifted: {error}"),
        }
    }
}

impl BeforeStream for Watch<'_> {
    /// A target that is made to follow somebody may drop what it has not sent its own replicas yet: under writes the stream behind the last
    /// safety backup would lose its end. So writers wait for a moment, until it has been read.
    async fn switching(&mut self) -> Result<(), Fault> {
        // First, for writers that wait for a moment must not wait for the store.
        self.is_ours().await?;
        if self.pause.is_some() || !self.drops_replicas || !self.plan.tells_of_traffic() {
            return Ok(());
        }
        match Pause::briefly(&self.endpoint, BRIEF).await {
            Ok((pause, offset)) => {
                self.pause = Some(pause);
                if !self.way_back.catches_up(offset, BRIEF).await {
                    tracing::warn!("the stream behind the last safety backup lags, right before the target follows us");
                }
            }
            // Not asked for in the plan: the look at the stream finds what is lost.
            Err(error) => tracing::debug!("writers cannot be held up for a moment: {error}"),
        }
        Ok(())
    }

    async fn allow(&mut self, seen: &Switched) -> Result<(), Fault> {
        if fenced(self.plan) && !self.pause.as_ref().is_some_and(Pause::holds) {
            return Err(fence_broken());
        }
        let now = CutoverLook {
            run_id: seen.run_id.clone(),
            replication_id: seen.replication_id.clone(),
            offset: seen.offset,
            tail: None,
        };
        let counters = ServerCounters { calls: seen.write_calls, removed: seen.removed };
        self.way_back.judge(now, counters, seen.evicted_keys, 0).await?;
        // A pause that this process was too slow to renew has let writers through, and the stream shows it.
        if fenced(self.plan) && self.way_back.accepted.is_some_and(|writes| writes > 0) {
            return Err(fence_broken());
        }
        // The target refuses writes meanwhile: a store that is away must not keep it waiting.
        let ours = timeout(ASKING, self.is_ours()).await;
        ours.map_err(|_| not_told(&self.record.job.id))??;
        self.way_back.cut = true;
        self.record.recovery.evicted = Some(seen.evicted_keys);
        // A target that is paused does not apply what its master sends.
        self.lift().await;
        Ok(())
    }

    async fn loaded(&mut self) {
        self.record.recovery.loaded();
        // Not written down, the target's own history tells, for an hour at least.
        match timeout(ASKING, self.record.jobs.save_recovery(self.record.job, &self.record.recovery)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!("that the target has loaded the data could not be written down: {fault}"),
            Err(_) => tracing::warn!("that the target has loaded the data could not be written down in time"),
        }
    }

    async fn rolling_back(&mut self) -> Result<(), Fault> {
        let (jobs, job, stage, bytes) = self.told();
        match timeout(ASKING, jobs.still_ours(job, stage, bytes, self.total)).await {
            Ok(ours) => ours,
            Err(_) if jobs.state.may_be_taken_for_dead() => Err(cut_off(&job.id)),
            Err(_) => Ok(()),
        }
    }
}

impl RollbackStore for Watch<'_> {
    async fn store(&mut self, record: &RollbackRecord) -> Result<(), Fault> {
        self.record.store(record).await
    }
}

/// Whether the plan's person was told that writers will wait.
fn fenced(plan: &Plan) -> bool {
    matches!(plan.act, Act::RestoreInstance { write_fence: true, .. })
}

fn fence_broken() -> Fault {
    let message = "writers could not be held up all along, as write_fence promises; the target was not touched";
    Fault::new(Kind::Provider, "restore.fence_broken", message).hint("Make a new plan.")
}

/// The fault of a restore of which the store does not say in time whose it is.
fn not_told(id: &str) -> Fault {
    let message = format!(
        "job {id} was stopped: the state store did not say in time that it is still this process's, and the target refused writes meanwhile; its old data was kept"
    );
    Fault::new(Kind::Provider, "job.cut_off", message).hint("Make a new plan once the state store is back.")
}

fn no_pause(error: RedisError) -> Fault {
    let message = format!("writers cannot be held up, and the target was not touched: {error}");
    Fault::new(Kind::Usage, "restore.no_fence", message).hint("Leave write_fence out.").because(error)
}

/// Reads data whose file was just shown to be the one that was verified. Each frame's own checksum is right before it goes
/// out, and the end goes out only behind all of them.
pub(super) fn supply(mut data: FrameReader, bytes: u64, behind: Option<Behind>, to: &mpsc::Sender<Supply>) {
    let all = || -> Result<(), String> {
        let mut sent = 0;
        match behind.as_ref().map_or(0, |behind| behind.shift_ms) {
            0 => {
                while let Some(frame) = data.next_frame().map_err(|e| e.to_string())? {
                    sent += frame.len() as u64;
                    if to.blocking_send(Supply::Chunk(frame)).is_err() {
                        return Ok(());
                    }
                }
            }
            by_ms => {
                let chunk =
                    |chunk| to.blocking_send(Supply::Chunk(chunk)).map_err(|_| io::Error::other("nobody listens"));
                sent = rdb::shift::shift(data, by_ms, chunk).map_err(|e| e.to_string())?.bytes;
            }
        }
        match behind {
            _ if sent != bytes => Err(format!("the set gave {sent} bytes, its manifest says {bytes}")),
            Some(behind) if to.blocking_send(Supply::StreamFollows).is_ok() => behind.supply(to),
            _ => Ok(()),
        }
    };
    let last = all().map_or_else(Supply::Failed, |()| Supply::Done);
    // The other side may have given up; it says why.
    let _ = to.blocking_send(last);
}

/// How a restore by replication ended. Where the target is not off us with its own settings, the recovery record is still needed.
pub(super) fn ended_by(e: RedisError) -> Unfinished {
    match e {
        RedisError::Restore { not_rolled_back: Some(_), .. } => Unfinished::RollbackPending(e.into()),
        // Whoever goes on with the job puts the target back: another process by now, or this one once it is back.
        RedisError::Stopped { fault } => Unfinished::RollbackPending(fault),
        // The guard's own word, with its next step: the target is as it was.
        RedisError::Restore { source, .. } if matches!(*source, RedisError::Withheld { .. }) => match *source {
            RedisError::Withheld { fault } => Unfinished::Failed(fault),
            other => Unfinished::Failed(other.into()),
        },
        e => Unfinished::Failed(e.into()),
    }
}
