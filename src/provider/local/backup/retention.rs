//! Retention of sets: what has expired goes, and of safety backups, which plans leave without asking anybody, so does the oldest of
//! too many. Verdicts are the guard's; nothing is deleted here that a waiting plan or a running job needs.

use crate::guard::facts::backup::Dependent;
use crate::guard::grant::Expired;
use crate::guard::ledger::AuditRecord;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::job::{Job, JobStatus};
use crate::model::policy::Retained;
use crate::provider::local::Inner;
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::Ordering;

/// Seconds between two looks at what has expired: sets expire by the day.
const INTERVAL: i64 = 3600;
/// Who deletes, in the audit.
const RETENTION: &str = "retention";

/// Why a set goes, as part of a sentence.
const fn why_it_goes(set: &BackupSet) -> &'static str {
    if set.expires_at.is_some() { "its time was over" } else { "older than the policy keeps automated sets" }
}

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
        let mut prune = None;
        for (set, verdict) in self.verdicts(instance_id, now).await? {
            if let Ok(verdict) = verdict {
                // What has a time of its own was on the log by chance.
                if set.mode == Mode::Automated {
                    prune = Some(verdict.prune());
                }
                self.retire(instance_id, verdict, "backup.expired", why_it_goes(&set)).await?;
            }
        }
        match prune {
            Some(grant) => self.prune_log(grant).await,
            None => Ok(()),
        }
    }

    /// What becomes of each whole set of an instance at a moment: a verdict, or why it stays.
    async fn verdicts(
        &self,
        instance_id: &str,
        now: Timestamp,
    ) -> Result<Vec<(BackupSet, Result<Expired, String>)>, Fault> {
        let sets: Vec<BackupSet> = self.vault.list(instance_id, self).await?.into_iter().flatten().collect();
        let policy = self.in_force(instance_id).await?.policy;
        let days = policy.has_calendar().then_some(policy.backup_retention_period);
        let verdicts = Expired::by_policy(&sets, days, now);
        let expired: Vec<String> = verdicts.iter().flatten().map(|verdict| verdict.backup_id().to_owned()).collect();
        let (dependents, sources) = match expired.as_slice() {
            [] => Default::default(),
            ids => (self.state.dependents(instance_id, ids).await?, self.running_sources().await?),
        };
        let needed = |id: &str| {
            let by = dependents.get(id).into_iter().flatten().find_map(|dependent| match dependent {
                Dependent::Plan { .. } => Some("a plan that waits needs it"),
                Dependent::Restore { status: JobStatus::Running, .. } => Some("a restore that runs is undone with it"),
                Dependent::Restore { .. } | Dependent::Log(_) => None,
            });
            by.or_else(|| sources.iter().any(|source| source == id).then_some("a job that runs needs it"))
        };
        let mut judged = Vec::new();
        for verdict in verdicts {
            judged.push(match verdict {
                Err(stays) => Err(stays.to_string()),
                Ok(verdict) => match needed(verdict.backup_id()) {
                    Some(why) => Err(why.to_owned()),
                    None if self.log_begins_with(&sets, verdict.backup_id()).await => {
                        Err("moments of the log lead back to it alone".to_owned())
                    }
                    None => Ok(verdict),
                },
            });
        }
        Ok(sets.into_iter().zip(judged).collect())
    }

    /// What retention would do now to each set of an instance, newest first. Deletes nothing.
    pub async fn retained(&self, instance_id: &str) -> Result<Vec<Retained>, Fault> {
        let judged = self.verdicts(instance_id, Timestamp::now()).await?;
        let mut rows: Vec<Retained> = judged
            .into_iter()
            .map(|(set, verdict)| Retained {
                mode: set.mode.as_str(),
                taken_at: Some(set.started_at),
                goes: verdict.is_ok(),
                why: verdict.map_or_else(|why| why, |_| why_it_goes(&set).to_owned()),
                backup_id: set.id,
            })
            .collect();
        let damaged = self.vault.list(instance_id, self).await?.into_iter().filter_map(Result::err);
        rows.extend(damaged.map(|set| Retained {
            backup_id: set.id,
            mode: "",
            taken_at: None,
            goes: false,
            why: "damaged: nothing tells how old it is".to_owned(),
        }));
        Ok(rows)
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
        for id in &safety {
            if self.log_begins_with(&sets, id).await {
                needed.push(id.clone());
            }
        }
        match Expired::crowded_out(&sets, &needed, Timestamp::now()) {
            None => Ok(()),
            Some(verdict) => {
                let why = format!("{taken} took its place: at most five safety backups an hour are kept");
                self.retire(instance_id, verdict, "backup.replaced", &why).await
            }
        }
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
