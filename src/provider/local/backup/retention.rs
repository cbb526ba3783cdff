//! Retention of sets: what has expired goes, and of safety backups, which plans leave without asking anybody, so does the oldest of
//! too many. Verdicts are the guard's; nothing is deleted here that a waiting plan or a running job needs.

use crate::guard::facts::backup::Dependent;
use crate::guard::grant::Expired;
use crate::guard::ledger::AuditRecord;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::job::{Job, JobStatus};
use crate::provider::local::Inner;
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::Ordering;

/// Seconds between two looks at what has expired: sets expire by the day.
const INTERVAL: i64 = 3600;
/// Who deletes, in the audit.
const RETENTION: &str = "retention";

impl Inner {
    /// When retention may delete a set begun at a moment; `None`: never.
    pub fn expires_at(&self, mode: Mode, started_at: Timestamp) -> Option<Timestamp> {
        let kept = SignedDuration::from_hours(i64::from(self.safety_retention_days) * 24);
        (mode == Mode::Safety).then(|| started_at.checked_add(kept).unwrap_or(Timestamp::MAX))
    }

    /// Deletes what has expired of every instance, if nobody has looked within the hour. What cannot be deleted now is tried again.
    pub async fn delete_expired(&self) {
        let now = Timestamp::now();
        let last = self.expired_deleted_at.load(Ordering::Relaxed);
        let due = now.as_second().saturating_sub(last).abs() >= INTERVAL;
        let won =
            || self.expired_deleted_at.compare_exchange(last, now.as_second(), Ordering::Relaxed, Ordering::Relaxed);
        if self.read_only || !due || won().is_err() {
            return;
        }
        for id in self.ids_with_sets().await {
            if let Err(fault) = self.delete_expired_of(&id, now).await {
                tracing::warn!(instance = %id, "expired sets could not be deleted: {fault}");
            }
        }
    }

    async fn delete_expired_of(&self, instance_id: &str, now: Timestamp) -> Result<(), Fault> {
        let mut sets: Vec<BackupSet> = self.vault.list(instance_id, self).await?.into_iter().flatten().collect();
        let expired: Vec<Expired> = sets.iter().filter_map(|set| Expired::of(set, now)).collect();
        if expired.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = expired.iter().map(|set| set.backup_id().to_owned()).collect();
        let dependents = self.state.dependents(instance_id, &ids).await?;
        let sources = self.running_sources().await?;
        let in_use = |id: &str| {
            let waits = |d: &Dependent| match d {
                Dependent::Plan { .. } => true,
                Dependent::Restore { status, .. } => *status == JobStatus::Running,
                Dependent::Log(_) => false,
            };
            dependents.get(id).is_some_and(|all| all.iter().any(waits)) || sources.iter().any(|source| source == id)
        };
        for verdict in expired {
            let id = verdict.backup_id().to_owned();
            if !in_use(&id) && !self.log_begins_with(&sets, &id).await {
                self.retire(instance_id, verdict, "backup.expired", "its time was over").await?;
                // Of two that lead to the same moments only the first may go.
                sets.retain(|set| set.id != id);
            }
        }
        Ok(())
    }

    /// Whether moments of the log lead back to a set alone, or nobody knows: what is archived is not to become useless in silence.
    async fn log_begins_with(&self, sets: &[BackupSet], id: &str) -> bool {
        match sets.iter().find(|set| set.id == id) {
            Some(set) => self.log_needs(set, sets.to_vec()).await.is_some(),
            None => false,
        }
    }

    /// The sets that running jobs read or make, whichever instance a job is about: a set may fill another one than its own.
    async fn running_sources(&self) -> Result<Vec<String>, Fault> {
        let running = |job: &Job| job.status == JobStatus::Running;
        Ok(self.state.jobs(None).await?.into_iter().filter(running).map(|job| job.backup_id).collect())
    }

    /// Deletes the oldest of too many safety backups, now that `taken` is there.
    pub async fn replace_oldest_safety_backup(&self, instance_id: &str, taken: &str) {
        if let Err(fault) = self.try_replacing(instance_id, taken).await {
            tracing::warn!(instance = %instance_id, "no older safety backup could be replaced: {fault}");
        }
    }

    async fn try_replacing(&self, instance_id: &str, taken: &str) -> Result<(), Fault> {
        let sets: Vec<BackupSet> = self.vault.list(instance_id, self).await?.into_iter().flatten().collect();
        let safety: Vec<String> = sets.iter().filter(|s| s.mode == Mode::Safety).map(|s| s.id.clone()).collect();
        let dependents = self.state.dependents(instance_id, &safety).await?;
        // What undoes a restore stays, and so does what a plan restores. What would undo a plan may go: where that is carried out
        // all the same, its job takes another.
        let stays = |d: &Dependent| matches!(d, Dependent::Restore { .. } | Dependent::Plan { restores: true, .. });
        let mut needed = self.running_sources().await?;
        needed.extend(dependents.into_iter().filter(|(_, all)| all.iter().any(stays)).map(|(id, _)| id));
        needed.push(taken.to_owned());
        let now = Timestamp::now();
        while let Some(verdict) = Expired::crowded_out(&sets, &needed, now) {
            // Asked of the one that is to go alone: the log is listed for each.
            if !self.log_begins_with(&sets, verdict.backup_id()).await {
                let why = format!("{taken} took its place: at most five safety backups an hour are kept");
                return self.retire(instance_id, verdict, "backup.replaced", &why).await;
            }
            needed.push(verdict.backup_id().to_owned());
        }
        Ok(())
    }

    async fn retire(&self, instance_id: &str, verdict: Expired, event: &str, why: &str) -> Result<(), Fault> {
        let backup_id = verdict.backup_id().to_owned();
        self.vault.delete(verdict.delete(), instance_id, &backup_id).await?;
        self.sweep_tails().await;
        let record = AuditRecord::now(event, RETENTION, instance_id, format!("backup {backup_id}: {why}"));
        self.jobs.audit(record).await;
        Ok(())
    }
}
