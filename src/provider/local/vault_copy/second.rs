//! The second place of an instance's sets and its log (`copy_to`): what is to have a copy there, what has one, what expires there, and what is
//! locked there for longer.
//!
//! It must delete nothing on the vault, and at the second place only sets that retention lets go and the vault has no more. What is copied there is
//! read there, and kept nowhere.

use crate::archive::SHARD;
use crate::archive::{Kept, LogCopy};
use crate::config::blocking::blocking;
use crate::guard::grant::Expired;
use crate::guard::ledger::AuditRecord;
use crate::guard::retention::{Needed, Outlived};
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::provider::local::backup::locks::Locks;
use crate::provider::local::backup::staging::ByJobs;
use crate::provider::local::vault::manifests::{is_another, replaced, unsound};
use crate::provider::local::vault_copy::{Copier, Progress};
use crate::vault::copy::SetCopy;
use crate::vault::lacking::is_of_one_object;
use crate::vault::watch::Watch;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Sets that the second place is asked for, newest first, before it is said to have none.
const ASKED_MAX: usize = 100;
/// How long the second place may take to say what it has.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// Who deletes, in the audit.
const RETENTION: &str = "retention";

/// The newest sets of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// The newest that is to have a copy.
    pub wanted: Option<&'a BackupSet>,
    /// The newest that has one.
    pub copied: Option<&'a BackupSet>,
    /// Up to when the log that lies there goes on behind that one; `None` where none does, or nobody knows.
    pub log_until: Option<Timestamp>,
    /// Whether the place said how far its log goes, in time.
    pub log_is_known: bool,
}

/// What of an instance's sets lay at the second place when it was listed.
#[derive(Debug)]
pub struct There {
    instance_id: String,
    /// The sets; not those of which another manifest is remembered than lies there.
    sets: Vec<BackupSet>,
    /// Ids of those that stand in for no other.
    unsound: Vec<String>,
}

/// Ends what is watched when nobody waits for it any more.
struct Ends(Arc<Watch>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Newest<'_> {
    /// The newest moment of the instance that can be recovered from the second place alone.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.copied.map(|set| self.log_until.map_or(set.started_at, |until| until.max(set.started_at)))
    }
}

/// Whether a set has a copy: one that was taken before a restore, which expires soon, has none.
fn has_copy(set: &BackupSet) -> bool {
    matches!(set.mode, Mode::Manual | Mode::Automated)
}

impl Copier {
    /// The sets of an instance that have a copy, newest first: those that somebody asked for, and those of its policy.
    async fn wanted(&self, instance_id: &str) -> Result<Vec<BackupSet>, Fault> {
        let sets = self.from.0.list(instance_id, &ByJobs(Arc::clone(&self.state))).await?;
        Ok(sets.into_iter().flatten().filter(has_copy).collect())
    }

    /// Copies what of an instance's sets has no copy yet; `known` has the ids of those that have one, and gets more. One that cannot be copied does
    /// not keep the others from it.
    ///
    /// # Errors
    /// The last of those that kept a set from being copied. None where `progress` was stopped.
    pub async fn bring(
        &self,
        instance_id: &str,
        known: &mut BTreeSet<String>,
        progress: &Progress,
    ) -> Result<(), Fault> {
        let wanted = self.wanted(instance_id).await?;
        known.retain(|id| wanted.iter().any(|set| set.id == *id));
        let mut kept_from_it = Ok(());
        if known.is_empty() {
            kept_from_it = self.from.0.copy_beside(&self.to.0, &progress.watch).await;
        }
        let recorded = self.state.manifests(Some(instance_id)).await?;
        for set in wanted.iter().filter(|set| !known.contains(&set.id)).cloned().collect::<Vec<_>>() {
            if let Some(fault) = replaced(&self.from.0, &set, &recorded) {
                kept_from_it = Err(fault);
                continue;
            }
            let copied = self.from.0.copy_set(&self.to.0, instance_id, &set.id, &progress.watch).await;
            if progress.is_stopped() {
                return Ok(());
            }
            match copied {
                Ok(SetCopy::Gone) => {}
                Ok(copied) => {
                    if copied == SetCopy::Copied {
                        tracing::info!(instance = %instance_id, backup = %set.id, "copied to {}", self.place);
                    }
                    known.insert(set.id);
                }
                Err(fault) => {
                    let of_this_set = is_of_one_object(&fault);
                    kept_from_it = Err(fault);
                    if !of_this_set {
                        break;
                    }
                }
            }
        }
        kept_from_it
    }

    /// Copies what of an instance's log does not lie there yet.
    ///
    /// # Errors
    /// `log.failed`; where `progress` was stopped, whatever that looks like.
    pub async fn bring_log(&self, instance_id: &str, progress: &Progress) -> Result<LogCopy, Fault> {
        let (from, to, instance) = (self.from.1.clone(), self.to.1.clone(), instance_id.to_owned());
        let (watch, read_back) = (Arc::clone(&progress.watch), Arc::clone(&self.read_back));
        blocking(move || {
            let mut read_back = read_back.lock().unwrap_or_else(PoisonError::into_inner);
            from.copy_on(&to, &instance, &mut read_back, &watch)
        })
        .await
    }

    /// Up to when the log that lies there goes on behind a set; `None` where none does. Dropped, it ends.
    async fn log_behind(&self, set: &BackupSet) -> Result<Option<Timestamp>, Fault> {
        let ends = Ends(Arc::default());
        let (there, set, watch) = (self.to.1.clone(), set.clone(), Arc::clone(&ends.0));
        blocking(move || there.goes_on_until(&set, SHARD, &watch)).await
    }

    /// Lists the sets of an instance that lie there.
    ///
    /// # Errors
    /// `vault.failed`, `state.failed`.
    pub async fn there(&self, instance_id: &str) -> Result<There, Fault> {
        let mut sets: Vec<BackupSet> = self.to.0.list(instance_id, &()).await?.into_iter().flatten().collect();
        let recorded = self.state.manifests(Some(instance_id)).await?;
        // Whoever put another manifest there does not say when the copy goes.
        sets.retain(|set| !is_another(set, &recorded));
        let unsound = unsound(&*self.state, instance_id, &sets, &recorded).await?;
        Ok(There { instance_id: instance_id.to_owned(), sets, unsound })
    }

    /// Extends the locks of what lies there and is needed by what the policy keeps there, sets and log, where the place locks what is put and the
    /// locks are over soon. Some may be left to the next look, and so is the rest once `progress` is stopped.
    ///
    /// # Errors
    /// `vault.failed`: nothing was extended.
    pub async fn extend_locks(&self, there: &There, policy: &BackupPolicy, progress: &Progress) -> Result<(), Fault> {
        let (There { instance_id, sets, unsound }, (vault, archive)) = (there, &self.to);
        if !vault.is_far() {
            return Ok(());
        }
        // A place that locks locked the newest, too; of others nothing is asked every hour that leaves something there.
        let Some(newest) = sets.iter().max_by_key(|set| set.started_at) else { return Ok(()) };
        if vault.lock_ends(newest).await?.is_none() {
            return Ok(());
        }
        let Some(period) = vault.locks_for().await? else { return Ok(()) };
        // Manifests tell of the vault's locks, and of none there.
        let sets: Vec<BackupSet> = sets.iter().map(|set| BackupSet { locked_until: None, ..set.clone() }).collect();
        let now = Timestamp::now();
        let days = policy.has_calendar().then_some(policy.backup_retention_period);
        let needed = Needed::by_policy(&sets, unsound, days, now);
        // None was put there before it was complete. Of what is locked for long by that nothing is asked: a process that has just begun knows nothing of
        // any, and comes to those whose locks end.
        let ends = |set: &BackupSet| set.finished_at.checked_add(period).unwrap_or(Timestamp::MAX);
        let ends_soon = sets.iter().zip(needed).filter_map(|(set, needed)| {
            let needed = needed?;
            needed.extension(ends(set), period, now).map(|_| (set, needed, period))
        });
        let needed: Vec<_> = ends_soon.collect();
        let locks = Locks { instance_id, vault, archive, now };
        locks.extend_sets(&needed).await;
        if let Some(log) = Outlived::by_policy(instance_id, &sets, unsound, days, now) {
            let kept = Kept { sets, damaged: unsound.clone(), in_use: Vec::new(), since: log.since() };
            let watch = Arc::clone(&progress.watch);
            locks.extend_log(kept, period, move || watch.is_stopped()).await;
        }
        Ok(())
    }

    /// Deletes the copies that the policy keeps no longer and the vault has no more. How many. One that cannot be deleted does not keep the others.
    ///
    /// # Errors
    /// `vault.failed`, the last where there were several; `state.failed`.
    pub async fn expire(&self, there: &There, policy: &BackupPolicy) -> Result<usize, Fault> {
        let There { instance_id, sets, unsound } = there;
        let days = policy.has_calendar().then_some(policy.backup_retention_period);
        let verdicts = Expired::by_policy(sets, unsound, days, Timestamp::now());
        let mut here = BTreeSet::new();
        for set in self.from.0.list(instance_id, &ByJobs(Arc::clone(&self.state))).await? {
            here.insert(set.map_or_else(|damaged| damaged.id, |set| set.id));
        }
        let (mut deleted, mut failed) = (0, Ok(()));
        for verdict in verdicts.into_iter().flatten().filter(|verdict| !here.contains(verdict.backup_id())) {
            let backup_id = verdict.backup_id().to_owned();
            match self.to.0.delete(verdict.delete(), instance_id, &backup_id).await {
                Err(fault) if fault.kind == Kind::NotFound => continue,
                // The place keeps it: that is no failure.
                Err(fault) if fault.kind == Kind::Refused => {
                    tracing::info!(instance = %instance_id, "the copy at {}: {}", self.place, fault.message);
                    continue;
                }
                Err(fault) => {
                    failed = Err(fault);
                    continue;
                }
                Ok(()) => {}
            }
            deleted += 1;
            let detail = format!("the copy of backup {backup_id} at {}: the vault has it no more", self.place);
            let record = AuditRecord::now("backup.expired", RETENTION, instance_id, detail);
            if let Err(fault) = self.state.record(record).await {
                tracing::error!("the audit could not be written: {fault}");
            }
        }
        if deleted > 0 {
            self.to.0.sweep(instance_id, &()).await?;
        }
        failed.map(|()| deleted)
    }

    /// The newest of an instance's sets, of which these are all, that is wanted at the second place, the newest of which a copy lies there, and how
    /// far its log goes on behind that; the latter is left out where the place does not say so in time.
    ///
    /// # Errors
    /// `vault.failed`, also where the place does not answer in time; `copy.conflict`; `log.damaged`, `log.failed`.
    pub async fn newest_copied<'a>(&self, sets: &'a [BackupSet]) -> Result<Newest<'a>, Fault> {
        let mut wanted: Vec<&BackupSet> = sets.iter().filter(|set| has_copy(set)).collect();
        // What is dated ahead of the clock was taken while that was, and is newer than nothing.
        let now = Timestamp::now();
        wanted.sort_by_key(|set| std::cmp::Reverse((set.started_at <= now, set.started_at, set.id.clone())));
        let look = async {
            for set in wanted.iter().take(ASKED_MAX) {
                if self.from.0.is_copied(&self.to.0, &set.instance_id, &set.id).await? {
                    return Ok(Some(*set));
                }
            }
            Ok::<_, Fault>(None)
        };
        let until = Instant::now() + ASKED_FOR;
        let Ok(copied) = timeout_at(until, look).await else {
            let message = format!("{} did not say within {} s what it has", self.place, ASKED_FOR.as_secs());
            return Err(Fault::new(Kind::Unexpected, "vault.failed", message));
        };
        let copied = copied?;
        // A log of years takes long to list.
        let log = async {
            match copied {
                Some(set) => self.log_behind(set).await,
                None => Ok(None),
            }
        };
        let (log_until, log_is_known) = match timeout_at(until, log).await {
            Ok(until) => (until?, true),
            Err(_) => (None, false),
        };
        Ok(Newest { wanted: wanted.first().copied(), copied, log_until, log_is_known })
    }
}
