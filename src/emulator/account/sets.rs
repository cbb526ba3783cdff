//! The sets of an instance as the cloud lists them: whole ones, those whose job failed, and those that are damaged.
//!
//! The sets are the provider's. The account adds what only it knows: whether a call requested a set, until when the set is kept,
//! and whether its end is reported late.

use crate::emulator::account::Account;
use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::answer::Refused;
use crate::emulator::ids::{IdKind, number, taken};
use crate::model::backup::{BackupSet, Mode, all_readable};
use crate::model::job::{Job, JobKind, JobStatus};
use jiff::{SignedDuration, Timestamp};

/// A set as the cloud lists it.
#[derive(Debug, Clone)]
pub struct ListedSet {
    /// The provider's id of the set.
    pub id: String,
    /// The cloud's id of the set.
    pub number: i64,
    /// The cloud's id of the job that made the set.
    pub job: i64,
    /// Whether a call requested the set.
    pub manual: bool,
    /// When the backup began.
    pub begun: Timestamp,
    /// When the backup ended.
    pub ended: Timestamp,
    /// The set itself; `None` where its backup failed or it is damaged.
    pub whole: Option<BackupSet>,
}

/// The moment so many days later.
#[must_use]
pub fn days_after(at: Timestamp, days: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_hours(days.saturating_mul(24))).unwrap_or(Timestamp::MAX)
}

impl Account {
    /// The latest jobs on an instance's server, including those from before it was handed out as a new instance.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn all_jobs(&self, instance_id: &str) -> Result<Vec<Job>, Refused> {
        Ok(self.app.state.jobs(Some(instance_id)).await?)
    }

    /// The latest jobs of an instance that a client may know of.
    ///
    /// # Errors
    /// What the state store refuses.
    pub async fn jobs(&self, instance: &EmulatedInstance) -> Result<Vec<Job>, Refused> {
        let mut jobs = self.all_jobs(&instance.id).await?;
        if let Some(created) = &instance.created {
            jobs.retain(|job| created.normal_at.is_some_and(|at| job.created_at >= at));
        }
        Ok(jobs)
    }

    /// The sets of an instance, newest first: the whole ones, those that failed, and those that are damaged. What has expired is there for no call
    /// any more, as on the cloud; its data stays in the vault, whose own retention knows nothing of the account's times.
    ///
    /// # Errors
    /// What vault and state store refuse.
    pub async fn sets(&self, instance: &EmulatedInstance) -> Result<Vec<ListedSet>, Refused> {
        let record = self.records.of(&instance.id);
        let requested = |id: &str| record.taken.iter().any(|t| t.backup_id == id);
        let mut sets = Vec::new();
        // The jobs are read before the sets: a set whose job still runs is not listed yet.
        let jobs = self.jobs(instance).await?;
        let runs = |job: &&Job| job.kind == JobKind::Backup && job.status == JobStatus::Running;
        let running: Vec<String> = jobs.iter().filter(runs).map(|job| job.backup_id.clone()).collect();
        for found in all_readable(self.app.provider.backups(&instance.id, None).await?)? {
            let (id, whole) = match found {
                Ok(set) => (set.id.clone(), Some(set)),
                Err(damaged) => (damaged.id, None),
            };
            let begun = whole.as_ref().map(|s| s.started_at).or_else(|| taken(&id)).unwrap_or_default();
            let ended = whole.as_ref().map_or(begun, |s| s.finished_at);
            // A safety backup was requested by no call, so no call can delete it either.
            let manual = whole.as_ref().map_or_else(|| requested(&id), |s| s.mode == Mode::Manual);
            let (number, job) = (number(IdKind::Set, &id), number(IdKind::Job, &id));
            sets.push(ListedSet { id, number, job, manual, begun, ended, whole });
        }
        sets.retain(|set| !running.contains(&set.id));
        for job in jobs {
            if job.kind == JobKind::Backup && job.status == JobStatus::Failed {
                let id = job.backup_id;
                let (begun, ended) = (job.created_at, job.finished_at.unwrap_or(job.created_at));
                let (number, job, manual) = (number(IdKind::Set, &id), number(IdKind::Job, &id), requested(&id));
                sets.push(ListedSet { id, number, job, manual, begun, ended, whole: None });
            }
        }
        if let Some(created) = &instance.created {
            sets.retain(|set| created.normal_at.is_some_and(|at| set.begun >= at));
        }
        sets.retain(|set| self.activity.delayed(&set.id).is_none());
        let now = Timestamp::now();
        sets.retain(|set| self.expiry(instance, set).is_none_or(|until| until > now));
        sets.sort_by_key(|set| std::cmp::Reverse(set.begun));
        Ok(sets)
    }

    /// Until when a set is kept; `None`: as long as its instance lives.
    #[must_use]
    pub fn expiry(&self, instance: &EmulatedInstance, set: &ListedSet) -> Option<Timestamp> {
        let record = self.records.of(&instance.id);
        let days = record.policy.map_or(7, |p| p.retention);
        record.expiry.get(&set.id).copied().unwrap_or_else(|| Some(days_after(set.begun, days)))
    }
}
