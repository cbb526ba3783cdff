//! Retention of sets: what has expired goes, and of safety backups, which plans leave without asking anybody, so does the oldest of
//! too many; what is needed for longer than its bucket locks it stays locked. Verdicts are the guard's; nothing is deleted here that a waiting
//! plan or a running job needs.

use crate::archive::Kept;
use crate::guard::facts::backup::Dependent;
use crate::guard::grant::Expired;
use crate::guard::ledger::AuditRecord;
use crate::guard::retention::{Needed, Outlived, Stays};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::model::policy::{Retained, Retention};
use crate::model::pruning::Keep;
use crate::provider::local::Inner;
use crate::provider::local::backup::locks::period;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Seconds between two looks at what has expired: sets expire by the day.
const INTERVAL: i64 = 3600;
/// Since when this process has had the sets of an instance before it that have a time of their own, by the place of their manifest: whoever sets the
/// clock does not change that.
static SEEN: Mutex<BTreeMap<String, BTreeMap<String, Instant>>> = Mutex::new(BTreeMap::new());

/// For how long this process has had each of these sets of an instance before it, by the places of their manifests; others are forgotten.
fn seen_for(instance_id: &str, places: Vec<String>) -> Vec<SignedDuration> {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = seen.remove(instance_id).unwrap_or_default();
    let now = Instant::now();
    let since: Vec<Instant> = places.iter().map(|place| before.get(place).copied().unwrap_or(now)).collect();
    seen.insert(instance_id.to_owned(), places.into_iter().zip(since.iter().copied()).collect());
    since.iter().map(|at| SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX)).collect()
}

/// Who deletes, in the audit.
const RETENTION: &str = "retention";
/// Why a set stays whose time is over.
const LOG_NEEDS: &str = "moments of the log that are kept lead back to it alone";

/// Why a set goes, as part of a sentence.
const fn why_it_goes(set: &BackupSet) -> &'static str {
    if set.expires_at.is_some() { "its time was over" } else { "older than the policy keeps automated sets" }
}

/// Why a set is needed now by what counts on it, as part of a sentence; `None` where it is not.
pub(super) const fn needed_by(dependent: &Dependent) -> Option<&'static str> {
    match dependent {
        Dependent::Plan { .. } => Some("a plan that waits needs it"),
        Dependent::Restore { status: JobStatus::Running, .. } => Some("a restore that runs is undone with it"),
        Dependent::Restore { .. } | Dependent::Log(_) => None,
    }
}

/// That a set stays.
pub(super) struct Stayed {
    /// Why, as part of a sentence.
    pub(super) why: String,
    /// For how long it has to, where more than a lock or somebody keeps it.
    needed: Option<Needed>,
}

/// The sets of an instance at a moment, and what says what goes of them.
pub(super) struct Listed {
    /// The whole sets, newest first.
    pub(super) sets: Vec<BackupSet>,
    /// The others.
    pub(super) damaged: Vec<DamagedSet>,
    /// Ids of the whole ones that stand in for no other.
    pub(super) unsound: Vec<String>,
    /// Days that the policy in force keeps automated sets; `None` where none is.
    days: Option<u32>,
    /// From when on the policy keeps the log; `None` where none is in force, or no set of it is there.
    log: Option<Outlived>,
}

/// What becomes of an instance's sets at a moment.
struct Judged {
    /// The whole sets, newest first, each with a verdict or why it stays.
    sets: Vec<(BackupSet, Result<Expired, Stayed>)>,
    damaged: Vec<DamagedSet>,
    /// Days that the policy keeps automated sets by which they were judged; `None` where none is in force.
    days: Option<u32>,
    /// From when on the policy keeps the log; `None` where none is in force, or no set of it is there.
    log: Option<Outlived>,
    /// For how long the bucket locks, as the newest set tells of which that is known.
    locks_for: SignedDuration,
}

/// What becomes of a set whose manifest cannot be read, or is another than the one that was put.
pub(super) fn unreadable(set: DamagedSet) -> Retained {
    Retained {
        backup_id: set.id,
        mode: "",
        taken_at: None,
        stored_bytes: 0,
        goes: false,
        why: "damaged: nothing tells how old it is".to_owned(),
    }
}

/// Says that the policy was changed while sets were deleted by what it was before.
fn left_to_the_next_look(instance_id: &str) {
    tracing::info!(instance = %instance_id, "the policy was changed while sets were deleted: the others are left to the next look");
}

impl Inner {
    /// When retention may delete a set begun at a moment, a manual one after so many days; `None`: never.
    pub fn expires_at(&self, mode: Mode, days: Option<u32>, started_at: Timestamp) -> Option<Timestamp> {
        let days = match mode {
            Mode::Safety => Some(self.safety_retention_days),
            Mode::Manual => days,
            Mode::Automated | Mode::Unknown => None,
        };
        let kept = SignedDuration::from_hours(i64::from(days?) * 24);
        Some(started_at.checked_add(kept).unwrap_or(Timestamp::MAX))
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
            self.delete_expired_of(&id, now, false).await;
        }
    }

    /// Deletes what an automated set that was just taken lets go, of the sets of its instance and of the log.
    pub async fn delete_outlived(&self, instance_id: &str) {
        self.delete_expired_of(instance_id, Timestamp::now(), true).await;
    }

    async fn delete_expired_of(&self, instance_id: &str, now: Timestamp, of_the_log_too: bool) {
        if let Err(fault) = self.try_deleting(instance_id, now, of_the_log_too).await {
            tracing::warn!(instance = %instance_id, "what has expired could not be deleted: {fault}");
        }
    }

    /// The log is looked at where a set goes, or where that is asked for: it may have many names.
    ///
    /// In a bucket this takes minutes. So before each deletion it is read again what is in force and what needs the set: a policy that was changed
    /// meanwhile leaves all that is still there to the next look.
    async fn try_deleting(&self, instance_id: &str, now: Timestamp, mut of_the_log_too: bool) -> Result<(), Fault> {
        let Judged { sets, damaged, days, log, locks_for } = self.judge(instance_id, now).await?;
        // First: a deletion that fails keeps no lock from being extended.
        let needed: Vec<(&BackupSet, Needed)> =
            sets.iter().filter_map(|(set, verdict)| Some((set, verdict.as_ref().err()?.needed?))).collect();
        // What cannot be read lets nothing of the log go, and keeps no lock of it from being extended: anybody who may write can put such a set there.
        let kept = match log.as_ref().filter(|_| self.vault.is_far() && locks_for.is_positive()) {
            Some(log) => {
                let staying = sets.iter().filter(|(_, verdict)| verdict.is_err()).map(|(set, _)| set.clone()).collect();
                self.kept_of_log(instance_id, staying, &[], log.since()).await?
            }
            None => None,
        };
        self.extend_locks(instance_id, &needed, kept, locks_for, now).await;
        let mut left = Vec::new();
        for (set, verdict) in sets {
            let Ok(verdict) = verdict else {
                left.push(set);
                continue;
            };
            if self.days_in_force(instance_id).await? != days {
                left_to_the_next_look(instance_id);
                return Ok(());
            }
            if self.needed(instance_id, std::slice::from_ref(&set.id)).await?.contains_key(&set.id) {
                left.push(set);
                continue;
            }
            match self.retire(instance_id, verdict, "backup.expired", why_it_goes(&set)).await {
                // Its bucket keeps it: that is no failure.
                Err(fault) if fault.kind == Kind::Refused => {
                    tracing::info!(instance = %instance_id, "{}", fault.message);
                    left.push(set);
                }
                // Another process may have come first.
                Err(fault) if fault.kind != Kind::NotFound => return Err(fault),
                _ => of_the_log_too = true,
            }
        }
        let Some(log) = log.filter(|_| of_the_log_too) else { return Ok(()) };
        let Some(kept) = self.kept_of_log(instance_id, left, &damaged, log.since()).await? else { return Ok(()) };
        if self.days_in_force(instance_id).await? != days {
            left_to_the_next_look(instance_id);
            return Ok(());
        }
        self.prune_log(log.prune(), kept).await
    }

    /// Days that the policy in force keeps automated sets; `None` where none is.
    async fn days_in_force(&self, instance_id: &str) -> Result<Option<u32>, Fault> {
        let policy = self.in_force(instance_id).await?.policy;
        Ok(policy.has_calendar().then_some(policy.backup_retention_period))
    }

    /// The sets of an instance as they are judged at a moment.
    pub(super) async fn listed_to_judge(&self, instance_id: &str, now: Timestamp) -> Result<Listed, Fault> {
        let (mut sets, mut damaged) = (Vec::new(), Vec::new());
        let listed = self.vault.list(instance_id, self).await?;
        let recorded = self.recorded(instance_id).await?;
        for set in listed {
            match set {
                // Whoever put another manifest there does not say when the set goes.
                Ok(set) => match self.replaced(&set, &recorded) {
                    Some(fault) => damaged.push(DamagedSet { id: set.id, reason: fault.message, unreadable: None }),
                    None => sets.push(set),
                },
                Err(set) => damaged.push(set),
            }
        }
        let days = self.days_in_force(instance_id).await?;
        let unsound = self.unsound(instance_id, &sets, &recorded).await?;
        let log = Outlived::by_policy(instance_id, &sets, &unsound, days, now);
        Ok(Listed { sets, damaged, unsound, days, log })
    }

    /// Which of the sets that would go have to stay all the same: what locks them, a plan or a job that needs them, and moments of the log.
    pub(super) async fn stay_all_the_same(
        &self,
        instance_id: &str,
        listed: &Listed,
        ids: Vec<String>,
    ) -> Result<BTreeMap<String, Stayed>, Fault> {
        let Listed { sets, unsound, log, .. } = listed;
        let mut needed = self.needed(instance_id, &ids).await?;
        needed.retain(|id, _| ids.contains(id));
        let for_now = |why: &str| Stayed { why: why.to_owned(), needed: Some(Needed::ForNow) };
        let mut stayed: BTreeMap<String, Stayed> = needed.into_iter().map(|(id, why)| (id, for_now(why))).collect();
        for set in sets.iter().filter(|set| ids.contains(&set.id)) {
            if let Some(until) = self.vault.locked(set).await? {
                stayed.insert(set.id.clone(), Stayed { why: Stays::Locked(until).to_string(), needed: None });
            }
        }
        let going = ids.into_iter().filter(|id| !stayed.contains_key(id)).collect();
        let since = log.as_ref().map(Outlived::since);
        for id in self.log_keeps(instance_id, sets.clone(), unsound.clone(), going, since).await {
            stayed.insert(id, Stayed { why: LOG_NEEDS.to_owned(), needed: Some(Needed::On) });
        }
        Ok(stayed)
    }

    /// What becomes of each set of an instance at a moment.
    async fn judge(&self, instance_id: &str, now: Timestamp) -> Result<Judged, Fault> {
        let listed = self.listed_to_judge(instance_id, now).await?;
        let Listed { sets, unsound, days, .. } = &listed;
        let vouched = sets.iter().filter(|set| set.locked_until.is_some() && !unsound.contains(&set.id));
        let locks_for = vouched.max_by_key(|set| set.started_at).map(period).unwrap_or_default();
        let mut verdicts = Expired::by_policy(sets, unsound, *days, now);
        let timed: Vec<_> = sets.iter().zip(&mut verdicts).filter(|(set, _)| set.expires_at.is_some()).collect();
        let places = timed.iter().map(|(set, _)| self.vault.manifest_place(set)).collect();
        for ((set, verdict), seen_for) in timed.into_iter().zip(seen_for(instance_id, places)) {
            if matches!(verdict, Err(Stays::NotShown(_)))
                && let Some(goes) = Expired::after_watching(set, sets, unsound, seen_for, now)
            {
                *verdict = Ok(goes);
            }
        }
        let by_policy = Needed::by_policy(sets, unsound, *days, now);
        let ids: Vec<String> = verdicts.iter().flatten().map(|verdict| verdict.backup_id().to_owned()).collect();
        let mut stayed = self.stay_all_the_same(instance_id, &listed, ids).await?;
        let judge = |(verdict, by_policy): (Result<Expired, Stays>, Option<Needed>)| -> Result<Expired, Stayed> {
            let verdict = verdict.map_err(|why| Stayed { why: why.to_string(), needed: by_policy })?;
            stayed.remove(verdict.backup_id()).map_or(Ok(verdict), Err)
        };
        let judged: Vec<_> = verdicts.into_iter().zip(by_policy).map(judge).collect();
        let Listed { sets, damaged, days, log, .. } = listed;
        Ok(Judged { sets: sets.into_iter().zip(judged).collect(), damaged, days, log, locks_for })
    }

    /// Which sets of an instance a waiting plan or a running job needs, of these and maybe others, and for what.
    async fn needed(&self, instance_id: &str, ids: &[String]) -> Result<BTreeMap<String, &'static str>, Fault> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let dependents = self.state.dependents(instance_id, ids).await?;
        let mut needed: BTreeMap<String, &'static str> =
            dependents.into_iter().filter_map(|(id, all)| Some((id, all.iter().find_map(needed_by)?))).collect();
        // Whichever instance a job is about: a set may fill another one than its own.
        for source in self.state.sets_in_use().await? {
            needed.entry(source).or_insert("a job that runs needs it");
        }
        Ok(needed)
    }

    /// What must stay of an instance's log with the sets that are left; `None`: all of it, while a set cannot be read, for it may lead there once
    /// it can.
    async fn kept_of_log(
        &self,
        instance_id: &str,
        left: Vec<BackupSet>,
        damaged: &[DamagedSet],
        since: Timestamp,
    ) -> Result<Option<Kept>, Fault> {
        if !damaged.is_empty() {
            return Ok(None);
        }
        let ids: Vec<String> = left.iter().map(|set| set.id.clone()).collect();
        let in_use = self.needed(instance_id, &ids).await?.into_keys().collect();
        let recorded = self.recorded(instance_id).await?;
        let damaged = self.unsound(instance_id, &left, &recorded).await?;
        Ok(Some(Kept { sets: left, damaged, in_use, since }))
    }

    /// What retention would do now to the sets and the log of an instance; with a person's rules what pruning by them would. Deletes nothing.
    pub async fn retention(&self, instance_id: &str, keep: Option<&Keep>) -> Result<Retention, Fault> {
        if let Some(keep) = keep {
            return self.pruning(instance_id, keep).await;
        }
        let now = Timestamp::now();
        let Judged { sets, damaged, log, .. } = self.judge(instance_id, now).await?;
        let (mut rows, mut left) = (Vec::new(), Vec::new());
        for (set, verdict) in sets {
            let goes = verdict.is_ok();
            let why = match (verdict, self.locked_now(&set, now).await?) {
                (Ok(_), _) => why_it_goes(&set).to_owned(),
                (Err(_), Some(until)) => Stays::Locked(until).to_string(),
                (Err(stayed), None) => stayed.why,
            };
            rows.push(Retained {
                backup_id: set.id.clone(),
                mode: set.mode.as_str(),
                taken_at: Some(set.started_at),
                stored_bytes: set.stored_bytes,
                goes,
                why,
            });
            if !goes {
                left.push(set);
            }
        }
        let kept = match log {
            Some(log) => self.kept_of_log(instance_id, left, &damaged, log.since()).await?,
            None => None,
        };
        let log_segments = match kept {
            Some(kept) => self.prunable(instance_id, kept).await?,
            None => 0,
        };
        rows.extend(damaged.into_iter().map(unreadable));
        Ok(Retention { sets: rows, log_segments })
    }

    /// Deletes the oldest of too many safety backups, now that `taken` is there.
    pub async fn replace_oldest_safety_backup(&self, instance_id: &str, taken: &str) {
        if let Err(fault) = self.try_replacing(instance_id, taken).await {
            tracing::warn!(instance = %instance_id, "no older safety backup could be replaced: {fault}");
        }
    }

    async fn try_replacing(&self, instance_id: &str, taken: &str) -> Result<(), Fault> {
        let mut sets: Vec<BackupSet> = self.sets(instance_id).await?.into_iter().flatten().collect();
        // What stands in for no other is not one of too many either.
        let recorded = self.recorded(instance_id).await?;
        let unsound = self.unsound(instance_id, &sets, &recorded).await?;
        sets.retain(|set| !unsound.contains(&set.id));
        let safety: Vec<String> = sets.iter().filter(|s| s.mode == Mode::Safety).map(|s| s.id.clone()).collect();
        let mut needed = self.not_crowded_out(instance_id, &safety).await?;
        needed.push(taken.to_owned());
        let now = Timestamp::now();
        while let Some(verdict) = Expired::crowded_out(&sets, &needed, now) {
            // Asked of the one that is to go alone: the log is listed for each, which takes a while in which somebody may have come to need it.
            let going = verdict.backup_id().to_owned();
            if self.log_keeps(instance_id, sets.clone(), Vec::new(), vec![going.clone()], None).await.is_empty()
                && !self.not_crowded_out(instance_id, std::slice::from_ref(&going)).await?.contains(&going)
            {
                let why = format!("{taken} took its place: at most five safety backups an hour are kept");
                return match self.retire(instance_id, verdict, "backup.replaced", &why).await {
                    // Its bucket keeps it, as it keeps those that are tried after it.
                    Err(fault) if fault.kind == Kind::Refused => {
                        tracing::info!(instance = %instance_id, "{}", fault.message);
                        Ok(())
                    }
                    retired => retired,
                };
            }
            needed.push(going);
        }
        Ok(())
    }

    /// Which safety backups stay, of these and maybe others, however many there are: what undoes a restore, what a plan restores, and what a running job
    /// needs. What would undo a plan may go: where that is carried out all the same, its job takes another.
    async fn not_crowded_out(&self, instance_id: &str, ids: &[String]) -> Result<Vec<String>, Fault> {
        let dependents = self.state.dependents(instance_id, ids).await?;
        let stays = |d: &Dependent| matches!(d, Dependent::Restore { .. } | Dependent::Plan { restores: true, .. });
        let mut needed = self.state.sets_in_use().await?;
        needed.extend(dependents.into_iter().filter(|(_, all)| all.iter().any(stays)).map(|(id, _)| id));
        Ok(needed)
    }

    async fn retire(&self, instance_id: &str, verdict: Expired, event: &str, why: &str) -> Result<(), Fault> {
        let backup_id = verdict.backup_id().to_owned();
        let deleting = self.vault.delete(verdict.delete(), instance_id, &backup_id);
        self.forgetting(instance_id, &backup_id, deleting).await?;
        self.sweep_tails().await;
        let record = AuditRecord::now(event, RETENTION, instance_id, format!("backup {backup_id}: {why}"));
        self.jobs.audit(record).await;
        Ok(())
    }
}
