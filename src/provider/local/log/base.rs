//! Bases: backup sets that lie on the log. One is taken with the stream behind it where a log begins, and others while it goes on.
//!
//! It must not take one where another backup has done so, nor two within the time that the operator set between them.

use crate::archive::Timeline;
use crate::archive::collector::spooling::Spooling;
use crate::config::backup_log::BackupLogConfig;
use crate::config::blocking::blocking;
use crate::model::backup::{BackupSet, Mode, Origin};
use crate::model::caller::BY_LOG;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::job::{Job, JobKind, JobStatus, Unfinished};
use crate::model::restore::replay_time;
use crate::model::sets::newest_at;
use crate::provider::local::Inner;
use crate::provider::local::backup::capture::Taken;
use crate::redis::replica::follow::Follow;
use crate::redis::replica::handshake::Extent;
use crate::state::jobs::{Begun, JobsOf};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The note of a base.
const NOTE: &str = "taken as a base of the log";

/// A base, and the source that goes on behind it.
pub(super) struct Base {
    pub set: BackupSet,
    pub follow: Follow,
    /// The database selected in the stream behind the set.
    pub database: Option<u64>,
}

/// How far a log is from its newest base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distance {
    pub age: Duration,
    pub bytes: u64,
    pub commands: u64,
}

/// Commands of the log behind a base that are on the vault, or were when they were last counted there.
#[derive(Debug)]
pub(super) struct Counted {
    /// Position of the base.
    behind: u64,
    commands: u64,
    /// What the log had sealed by then.
    sealed: u64,
}

impl Distance {
    /// Whether another base is due.
    pub(super) fn is_due(&self, config: &BackupLogConfig) -> bool {
        let replay = replay_time(self.bytes, self.commands);
        self.age >= config.base_apart() && (self.age >= config.base_after() || replay > config.base_replay())
    }
}

impl Inner {
    /// Captures a base, with the stream behind it. `None`: another backup runs, which may become the base.
    pub(super) async fn take_base(self: &Arc<Self>, id: &str) -> Result<Option<Base>, Fault> {
        self.recover().await?;
        let (backup_id, (hand_over, handed)) = (new_id("b", Timestamp::now())?, oneshot::channel());
        let inner = Arc::clone(self);
        let begun = self
            .jobs
            .begin(JobKind::Backup, id, &backup_id, BY_LOG, None, |job| async move {
                let extent = Extent::SnapshotAndStream;
                let taken = inner.take_set(&job, Mode::Automated, NOTE.to_owned(), None, extent).await;
                let taken = taken.map_err(Unfinished::Failed)?;
                let message = taken.message();
                let Taken { set, database, snapshot, .. } = taken;
                // Whoever waited is gone where the log was ended meanwhile; the set stays.
                if let Ok(follow) = snapshot.into_follow() {
                    let _ = hand_over.send(Base { set, follow, database });
                }
                Ok(message)
            })
            .await?;
        let job = match begun {
            Begun::Started(job) => job,
            Begun::Joined(_) => return Ok(None),
        };
        match handed.await {
            Ok(base) => Ok(Some(base)),
            Err(_) => Err(self.end_of(&job.id).await),
        }
    }

    /// Why a job came to nothing.
    async fn end_of(&self, job_id: &str) -> Fault {
        // Its end is written down right after its work ended.
        for _ in 0..50 {
            match self.state.job(job_id).await {
                Ok(job) if job.status == JobStatus::Running => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(job) => {
                    let message = format!("a base of the log could not be taken: {}", job.message);
                    return Fault::new(job.failure.unwrap_or(Kind::Provider), "log.no_base", message).hint(job.hint);
                }
                Err(fault) => return fault,
            }
        }
        Fault::new(Kind::Provider, "log.no_base", "a base of the log could not be taken").hint("Look at describe_jobs.")
    }

    /// Starts the capture of another base where one is due; `true` where it was tried.
    pub(super) async fn renew_base(
        self: &Arc<Self>,
        id: &str,
        log: &Spooling,
        counted: &mut Option<Counted>,
    ) -> Result<bool, Fault> {
        let (timeline, progress) = (&log.timeline, log.progress());
        let sets = self.sets(id).await?;
        let led: Vec<&BackupSet> = sets.iter().flatten().filter(|set| leads(set, timeline)).collect();
        // Whoever deleted the last one has left a log that leads nowhere.
        if !led.is_empty() {
            let now = Timestamp::now();
            // One that expires stays only for as long as there is no other.
            let newest = newest_at(led.iter().copied().filter(|set| set.expires_at.is_none()), now);
            let (behind, since) = newest.map_or((timeline.offset, timeline.opened_at), |set| {
                (set.replication_offset.max(timeline.offset), set.started_at)
            });
            let reached = progress.spooled.map_or(timeline.offset, |reached| reached.offset);
            // The vault is listed once for a base.
            let known = match counted.take().filter(|counted| counted.behind == behind) {
                Some(counted) => counted,
                None => {
                    let (archive, timeline) = (self.archive.clone(), timeline.clone());
                    let commands = blocking(move || archive.commands_behind(&timeline, behind)).await?;
                    Counted { behind, commands, sealed: progress.sealed }
                }
            };
            let commands = known.commands + progress.sealed.saturating_sub(known.sealed);
            *counted = Some(known);
            let distance = Distance { age: age(since, now), bytes: reached.saturating_sub(behind), commands };
            if !distance.is_due(&self.logs.config) {
                return Ok(false);
            }
        }
        let backups = self.state.latest(JobsOf::kind(id, JobKind::Backup)).await?;
        if failed_lately(&backups, Timestamp::now(), self.logs.config.base_apart()) {
            return Ok(false);
        }
        // A bucket may list the last one late.
        if !self.not_yet_listed(id, &sets).await?.is_empty() {
            return Ok(false);
        }
        self.start_capture(id, (Mode::Automated, None), NOTE, BY_LOG, None).await?;
        Ok(true)
    }
}

/// Whether a timeline leads on from a set: it came from the instance itself, and is of this history.
fn leads(set: &BackupSet, timeline: &Timeline) -> bool {
    let behind = set.replication_id.eq_ignore_ascii_case(&timeline.replid) && set.replication_offset >= timeline.offset;
    // A failover that was followed has given the history another id since.
    matches!(set.origin, Origin::Capture { .. }) && (behind || set.started_at >= timeline.opened_at)
}

/// How old a base is. One that is dated ahead was taken by a clock that was ahead, and counts as being as old as it is ahead: were it new, none would
/// be due until the clock comes there.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).unsigned_abs()
}

/// Whether a backup of these jobs came to nothing within a time: each attempt makes the source fork.
fn failed_lately(jobs: &[Job], now: Timestamp, within: Duration) -> bool {
    let is_lately = |job: &Job| now.duration_since(job.created_at).unsigned_abs() < within;
    let failed = |job: &Job| !matches!(job.status, JobStatus::Running | JobStatus::Succeeded);
    jobs.iter().any(|job| job.kind == JobKind::Backup && failed(job) && is_lately(job))
}

#[cfg(test)]
mod tests {
    //! A base is due by age or by the length of a replay, and never too soon after the last, or after one that came to nothing.
    use super::*;
    use crate::model::job::Phase;
    use jiff::SignedDuration;

    #[test]
    fn a_base_is_due_by_age_or_by_replay() {
        let config = BackupLogConfig::default();
        let due = |hours: u64, gigabytes: u64, million: u64| {
            let (bytes, commands) = (gigabytes << 30, million * 1_000_000);
            Distance { age: Duration::from_secs(hours * 3600), bytes, commands }.is_due(&config)
        };
        assert!(!due(23, 1, 100) && due(24, 0, 0) && due(2, 30, 0) && !due(0, 300, 0) && !due(2, 20, 0));
        // Small commands take the time that their bytes do not tell.
        assert!(due(2, 12, 500) && !due(2, 12, 450) && !due(0, 12, 500));
        // One of a clock that was months ahead keeps no other from being taken, and one that is a moment ahead does.
        let now = Timestamp::now();
        let due_behind =
            |ahead: SignedDuration| Distance { age: age(now + ahead, now), bytes: 0, commands: 0 }.is_due(&config);
        assert!(due_behind(SignedDuration::from_hours(24 * 400)) && !due_behind(SignedDuration::from_secs(2)));
    }

    #[test]
    fn a_base_that_failed_is_not_begun_again_at_once() {
        let now = Timestamp::now();
        let job = |kind, status, seconds_ago| Job {
            id: String::new(),
            kind,
            instance_id: String::new(),
            backup_id: String::new(),
            status,
            phase: Phase::Ended,
            stage: String::new(),
            rollback_pending: false,
            done: 0,
            total: 0,
            code: String::new(),
            failure: None,
            message: String::new(),
            hint: String::new(),
            caller: String::new(),
            confirmation: String::new(),
            access: None,
            cloud_jobs: Vec::new(),
            restored: None,
            restored_keys: None,
            created_at: now - SignedDuration::from_secs(seconds_ago),
            serving_at: None,
            finished_at: None,
        };
        for (job, lately) in [
            (job(JobKind::Backup, JobStatus::Failed, 3599), true),
            (job(JobKind::Backup, JobStatus::Failed, 3600), false),
            // A clock that was set back meanwhile.
            (job(JobKind::Backup, JobStatus::Failed, -60), true),
            (job(JobKind::Backup, JobStatus::Uncertain, 60), true),
            (job(JobKind::Backup, JobStatus::Succeeded, 60), false),
            (job(JobKind::Restore, JobStatus::Failed, 60), false),
        ] {
            assert_eq!(failed_lately(std::slice::from_ref(&job), now, Duration::from_secs(3600)), lately, "{job:?}");
        }
    }
}
