//! Follows jobs to their ends, whichever process ran them, and has told of those that somebody should know of.

use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus};
use crate::notify::Turn;
use crate::notify::event::{Event, Notification};
use crate::state::notified::Noticed;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How often ended jobs are looked for.
const EVERY: Duration = Duration::from_secs(2);
/// How far the clocks of processes that share the state may be apart, and more: what ended so long ago has been looked at.
const CLOCKS: SignedDuration = SignedDuration::from_hours(24);

impl Turn<'_> {
    /// Has told of the ends of jobs, for as long as it is polled.
    pub(super) async fn follow(&self) {
        let mut from = self.since;
        loop {
            let now = Timestamp::now();
            // What was noted under a clock that was ahead must not hide what ends now.
            match self.follow_once(from.min(now)).await {
                Ok(()) => from = self.since.max(now.checked_sub(CLOCKS).unwrap_or(now)),
                Err(fault) => tracing::debug!("ended jobs are not known: {fault}"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn follow_once(&self, from: Timestamp) -> Result<(), Fault> {
        loop {
            let ended = self.state().unnoticed_jobs(from).await?;
            if ended.is_empty() {
                return Ok(());
            }
            for job in ended {
                let told = self.event_of(&job).await.map(|event| of_job(event, &job));
                self.notice(Noticed::Once(&job.id), told.as_ref()).await?;
            }
        }
    }

    /// The event that the end of a job is; `None` of one that nobody waits for.
    async fn event_of(&self, job: &Job) -> Option<Event> {
        match (job.kind, job.status) {
            (_, JobStatus::Running) => None,
            (JobKind::Backup, JobStatus::Succeeded) => {
                (self.pings() && self.is_automated(job).await).then_some(Event::BackupSucceeded)
            }
            (JobKind::Backup, _) => Some(Event::BackupFailed),
            (JobKind::Verification, JobStatus::Succeeded) => Some(Event::VerificationSucceeded),
            (JobKind::Verification, _) if job.failure == Some(Kind::Damaged) => Some(Event::SetDamaged),
            (JobKind::Verification, _) => Some(Event::VerificationFailed),
            (JobKind::Restore, JobStatus::Failed) => Some(Event::RestoreFailed),
            (JobKind::Restore, JobStatus::Uncertain) => Some(Event::RestoreUncertain),
            (JobKind::Restore, JobStatus::Succeeded) => None,
            (JobKind::Clone | JobKind::Deletion | JobKind::Policy, _) => None,
        }
    }

    /// Whether a job has made a set that nobody asked for. Of one that is gone already nobody knows.
    async fn is_automated(&self, job: &Job) -> bool {
        let made = self.of.provider.backup(&job.instance_id, &job.backup_id).await;
        made.is_ok_and(|set| set.mode == Mode::Automated)
    }
}

fn of_job(event: Event, job: &Job) -> Notification {
    let at = job.finished_at.unwrap_or(job.created_at);
    let code = Some(job.code.clone()).filter(|code| !code.is_empty());
    let told = Notification::new(event, &job.instance_id, at, &job.message);
    Notification { job_id: Some(job.id.clone()), code, ..told }
}
