//! Follows jobs to their ends, whichever process ran them, and has told of those that somebody should know of.

use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus};
use crate::notify::Turn;
use crate::notify::event::{Event, Notification};
use crate::notify::look::HOLD;
use crate::state::notified::{Noticed, interrupted};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often ended jobs are looked for.
const EVERY: Duration = Duration::from_secs(2);
/// How far the clocks of processes that share the state may be apart, and more: what ended so long ago has been looked at.
const CLOCKS: SignedDuration = SignedDuration::from_hours(24);
/// How long the look at what a job has made may take, and until it is tried again: a vault that hangs must not hide what fails.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What one turn remembers of jobs.
#[derive(Default)]
struct Followed {
    /// From when on jobs are looked for; `None`: from when somebody is told.
    from: Option<Timestamp>,
    /// Jobs of which it is not known whether their end is told, and when that was asked.
    unknown: BTreeMap<String, Instant>,
    /// Since when jobs are seen interrupted of which that was not told yet.
    interrupted: BTreeMap<String, Timestamp>,
}

impl Turn<'_> {
    /// Has told of the ends of jobs, for as long as it is polled.
    pub(super) async fn follow(&self) {
        let mut followed = Followed::default();
        loop {
            if let Err(fault) = self.follow_ends(&mut followed).await {
                tracing::debug!("ended jobs are not known: {fault}");
            }
            if let Err(fault) = self.follow_interrupted(&mut followed.interrupted).await {
                tracing::debug!("interrupted jobs are not known: {fault}");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn follow_ends(&self, followed: &mut Followed) -> Result<(), Fault> {
        let (since, now) = (self.since().await?, Timestamp::now());
        // What was noted under a clock that was ahead must not hide what ends now.
        let from = followed.from.map_or(since, |from| from.max(since)).min(now);
        loop {
            let ended = self.state().unnoticed_jobs(from).await?;
            followed.unknown.retain(|id, _| ended.iter().any(|job| job.id == *id));
            let mut noticed = false;
            for job in &ended {
                if !self.needs_look(job) {
                    self.notice_end(job, event_of(job)).await?;
                    noticed = true;
                }
            }
            // One look, and it is asked anew what has ended meanwhile: a vault that hangs keeps no failure waiting for longer.
            let asked = |job: &Job| followed.unknown.get(&job.id).copied();
            let is_due = |job: &Job| asked(job).is_none_or(|asked| asked.elapsed() >= LOOK_AGAIN);
            let due = ended.iter().filter(|job| self.needs_look(job) && is_due(job));
            if let Some(job) = due.min_by_key(|job| asked(job)) {
                match self.is_automated(job).await {
                    Ok(automated) => {
                        self.notice_end(job, automated.then_some(Event::BackupSucceeded)).await?;
                        noticed = true;
                    }
                    Err(why) => {
                        tracing::debug!(job = %job.id, "whether its end is told is not known: {why}");
                        followed.unknown.insert(job.id.clone(), Instant::now());
                    }
                }
            }
            if !noticed {
                followed.from = Some(now.checked_sub(CLOCKS).unwrap_or(now));
                return Ok(());
            }
        }
    }

    /// Has told of what a dead process left that nobody can reconcile: it has no end while its target is away, and may serve nobody meanwhile.
    async fn follow_interrupted(&self, seen: &mut BTreeMap<String, Timestamp>) -> Result<(), Fault> {
        let (jobs, now) = (self.state().interrupted_jobs().await?, Timestamp::now());
        seen.retain(|id, _| jobs.iter().any(|job| job.id == *id));
        for job in &jobs {
            let event = match job.kind {
                JobKind::Restore => Event::RestoreUncertain,
                // Its set may be whole: that it failed is told by its end.
                JobKind::Backup => Event::BackupUncertain,
                JobKind::Verification | JobKind::Clone | JobKind::Deletion | JobKind::Policy => continue,
            };
            let first = seen.entry(job.id.clone()).or_insert(now);
            // A clock that was set back since.
            *first = (*first).min(now);
            if now.duration_since(*first) < HOLD {
                continue;
            }
            let told = Notification::new(event, &job.instance_id, now, &job.stage);
            let told = Notification { job_id: Some(job.id.clone()), ..told };
            self.notice(Noticed::Once(&interrupted(&job.id)), Some(&told)).await?;
        }
        Ok(())
    }

    /// Whether only a look at what a job has made shows whether its end is told.
    fn needs_look(&self, job: &Job) -> bool {
        self.pings() && (job.kind, job.status) == (JobKind::Backup, JobStatus::Succeeded)
    }

    async fn notice_end(&self, job: &Job, event: Option<Event>) -> Result<(), Fault> {
        let told = event.map(|event| of_job(event, job));
        let is_success = event.is_some_and(Event::is_success);
        let what = if is_success { Noticed::Latest(&job.id) } else { Noticed::Once(&job.id) };
        self.notice(what, told.as_ref()).await.map(drop)
    }

    /// Whether a job has made a set that nobody asked for. One that is gone already, or damaged, is nothing to be glad of.
    async fn is_automated(&self, job: &Job) -> Result<bool, String> {
        let made = self.of.provider.backup(&job.instance_id, &job.backup_id);
        match tokio::time::timeout(LOOK_WITHIN, made).await {
            Ok(Ok(set)) => Ok(set.mode == Mode::Automated),
            Ok(Err(fault)) if matches!(fault.kind, Kind::NotFound | Kind::Damaged) => Ok(false),
            Ok(Err(fault)) => Err(fault.message),
            Err(_) => Err(format!("no answer within {} s", LOOK_WITHIN.as_secs())),
        }
    }
}

/// The event that the end of a job is; `None` of one that nobody waits for, unless a look shows that somebody does.
fn event_of(job: &Job) -> Option<Event> {
    match (job.kind, job.status) {
        (JobKind::Backup, JobStatus::Failed) => Some(Event::BackupFailed),
        (JobKind::Backup, JobStatus::Uncertain) => Some(Event::BackupUncertain),
        (JobKind::Restore, JobStatus::Failed) => Some(Event::RestoreFailed),
        (JobKind::Restore, JobStatus::Uncertain) => Some(Event::RestoreUncertain),
        (JobKind::Verification, JobStatus::Succeeded) => Some(Event::VerificationSucceeded),
        (_, JobStatus::Running) | (JobKind::Backup | JobKind::Restore, JobStatus::Succeeded) => None,
        (JobKind::Verification, _) if job.failure == Some(Kind::Damaged) => Some(Event::SetDamaged),
        (JobKind::Verification, _) => Some(Event::VerificationFailed),
        (JobKind::Clone | JobKind::Deletion | JobKind::Policy, _) => None,
    }
}

fn of_job(event: Event, job: &Job) -> Notification {
    let at = job.finished_at.unwrap_or(job.created_at);
    let code = Some(job.code.clone()).filter(|code| !code.is_empty());
    let told = Notification::new(event, &job.instance_id, at, &job.message);
    Notification { job_id: Some(job.id.clone()), code, ..told }
}
