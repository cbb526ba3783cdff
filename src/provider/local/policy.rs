//! Backup policies of instances that this program reaches itself: when backups are taken by themselves, how long they are kept, and whether
//! the log is on.
//!
//! What the configuration file sets, nothing here changes; the rest is in the state store.

use crate::config::SANDBOX;
use crate::guard::act::PolicyChange;
use crate::guard::facts::Facts;
use crate::guard::facts::policy::OwnPolicyFacts;
use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::model::calendar::{Calendar, History, invalid, retention, share, usual, weekdays, window};
use crate::model::caller::BY_LOG;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus};
use crate::model::policy::BackupPolicy;
use crate::model::sets::newest_at;
use crate::model::verification::{BY_SCHEDULE, Drills, Verification};
use crate::provider::Raised;
use crate::provider::local::Inner;
use crate::state::jobs::JobsOf;
use crate::state::leases::{Held, Lease};
use crate::state::policies::busy;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Times that it is tried to change a policy while somebody else changes it, and the wait between two.
const TRIES: u32 = 100;
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// For how long a backup that has succeeded counts although its set is not listed: some buckets list late. What is not listed then is gone.
const LISTED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// A policy in force, and since when it has a calendar; `None` without one, or where nobody knows: where the file sets it.
pub(super) struct InForce {
    pub policy: BackupPolicy,
    pub since: Option<Timestamp>,
}

impl Inner {
    /// Whether every change of an instance is to be archived: what the file says, else what was set.
    pub(super) async fn log_is_on(&self, instance_id: &str) -> Result<bool, Fault> {
        match self.config(instance_id).and_then(|config| config.enable_backup_log) {
            Some(on) => Ok(on),
            None => Ok(self.in_force(instance_id).await?.policy.enable_backup_log),
        }
    }

    /// The policy in force: what the file says, else what was set.
    pub(super) async fn in_force(&self, instance_id: &str) -> Result<InForce, Fault> {
        let stored = self.state.stored_policy(instance_id).await?;
        let (mut policy, mut since) =
            stored.map_or_else(|| (BackupPolicy::none(), None), |stored| (stored.policy, stored.calendar_since));
        if instance_id == SANDBOX && !policy.has_calendar() {
            policy = BackupPolicy { enable_backup_log: policy.enable_backup_log, ..usual() };
        }
        if let Some(config) = self.config(instance_id) {
            policy.enable_backup_log = config.enable_backup_log.unwrap_or(policy.enable_backup_log);
            if let Some(calendar) = &config.calendar {
                policy = BackupPolicy { enable_backup_log: policy.enable_backup_log, ..calendar.clone() };
                since = None;
            }
        }
        Ok(InForce { policy, since })
    }

    /// The policy in force, with when the next backup begins.
    pub(super) async fn policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        let (policy, now) = (self.in_force(instance_id).await?.policy, Timestamp::now());
        let begins = |window: Timestamp| window.checked_add(share(instance_id)).ok();
        let next = Calendar::of(&policy).and_then(|calendar| {
            let of_this_window = calendar.last(now).and_then(begins).filter(|at| *at > now);
            of_this_window.or_else(|| calendar.next(now).and_then(begins))
        });
        Ok(BackupPolicy { preferred_next_backup_time: next, ..policy })
    }

    /// The calendar by which backups are taken, and what has been of them.
    pub(super) async fn scheduled(&self, instance_id: &str) -> Result<Option<(Calendar, History)>, Fault> {
        let InForce { policy, since } = self.in_force(instance_id).await?;
        let Some(calendar) = Calendar::of(&policy) else { return Ok(None) };
        // One in which a fault was found is taken once more.
        let sets = self.sets(instance_id).await?;
        let automated = |set: &BackupSet| (set.mode == Mode::Automated).then_some(set.started_at);
        let mut taken: Vec<Timestamp> = sets.iter().flatten().filter_map(automated).collect();
        taken.extend(self.not_yet_listed(instance_id, &sets).await?);
        let newest = newest_at(sets.iter().flatten().filter(|set| set.mode != Mode::Safety), Timestamp::now());
        // Whoever began it: what has just failed is not tried again at once.
        let backups = JobsOf::kind(instance_id, JobKind::Backup);
        let failed = self.state.latest(JobsOf { status: Some(JobStatus::Failed), ..backups }).await?;
        let failed = failed.iter().filter_map(|job| job.finished_at).collect();
        // Also of sets that are gone by now.
        let found = self.state.verifications(instance_id).await?;
        let verifications = JobsOf::kind(instance_id, JobKind::Verification);
        let tried = self.state.latest(JobsOf { caller: Some(BY_SCHEDULE), ..verifications }).await?;
        let drills = Drills {
            newest: newest.map(|set| (set.id.clone(), set.finished_at)),
            passed: found.values().filter_map(Verification::drilled).collect(),
            tried: tried.iter().filter_map(|job| job.finished_at).collect(),
        };
        Ok(Some((calendar, History { since, taken, failed, drills })))
    }

    /// When those automated backups began that have just succeeded and whose sets are not among these, as they are listed, nor known as damaged or
    /// deleted.
    pub(super) async fn not_yet_listed(
        &self,
        instance_id: &str,
        sets: &[Result<BackupSet, DamagedSet>],
    ) -> Result<Vec<Timestamp>, Fault> {
        if !self.vault.is_far() {
            return Ok(Vec::new());
        }
        let backups = JobsOf::kind(instance_id, JobKind::Backup);
        let mut succeeded = self.state.latest(JobsOf { status: Some(JobStatus::Succeeded), ..backups }).await?;
        let now = Timestamp::now();
        succeeded.retain(|job| may_be_listed_late(job, sets, now));
        if succeeded.is_empty() {
            return Ok(Vec::new());
        }
        // Of what is deleted here nothing is remembered.
        let (recorded, damaged) = (self.recorded(instance_id).await?, self.found_damaged(instance_id).await?);
        let remembered = |job: &Job| recorded.contains_key(&(instance_id.to_owned(), job.backup_id.clone()));
        succeeded.retain(|job| remembered(job) && !damaged.contains_key(&job.backup_id));
        Ok(succeeded.into_iter().map(|job| job.created_at).collect())
    }

    /// The policy in force, and the one after a change.
    async fn before_and_after(
        &self,
        instance_id: &str,
        change: &PolicyChange,
    ) -> Result<(BackupPolicy, BackupPolicy), Fault> {
        let now = self.in_force(instance_id).await?.policy;
        let then = changed_policy(&now, change)?;
        let config = self.config(instance_id);
        let calendar = |policy: &BackupPolicy| BackupPolicy { enable_backup_log: false, ..policy.clone() };
        if calendar(&now) != calendar(&then) && config.is_some_and(|config| config.calendar.is_some()) {
            let what = "when backups are taken and how long they are kept";
            return Err(self.set_in_the_file(instance_id, what, "preferred_backup_time and what stands with it"));
        }
        let log = then.enable_backup_log != now.enable_backup_log;
        if log && config.is_some_and(|config| config.enable_backup_log.is_some()) {
            return Err(self.set_in_the_file(instance_id, "enable_backup_log", "enable_backup_log"));
        }
        Ok((now, then))
    }

    /// The operator wrote it down, and only the operator changes it.
    fn set_in_the_file(&self, instance_id: &str, what: &str, keys: &str) -> Fault {
        let message = format!("{what} of {instance_id} is set in the configuration file, which no tool changes");
        Fault::new(Kind::Usage, "policy.set_in_file", message).hint(format!(
            "Its operator changes {keys} {}; or takes that out there, so that this call can set it.",
            self.in_the_file(instance_id)
        ))
    }

    /// Number of automated sets of an instance.
    async fn automated(&self, instance_id: &str) -> Result<usize, Fault> {
        let sets = self.vault.list(instance_id, self).await?;
        Ok(sets.iter().flatten().filter(|set| set.mode == Mode::Automated).count())
    }

    /// Stores a policy. Where the file sets a part of it, what was stored of that part stays.
    async fn store_policy(&self, instance_id: &str, then: &BackupPolicy, under: &Lease) -> Result<(), Fault> {
        let config = self.config(instance_id);
        let before = self.state.stored_policy(instance_id).await?;
        let before = before.map_or_else(BackupPolicy::none, |stored| stored.policy);
        let log_in_file = config.is_some_and(|config| config.enable_backup_log.is_some());
        let enable_backup_log = if log_in_file { before.enable_backup_log } else { then.enable_backup_log };
        let of = if config.is_some_and(|config| config.calendar.is_some()) { &before } else { then };
        self.state.set_policy(instance_id, &BackupPolicy { enable_backup_log, ..of.clone() }, under).await
    }

    /// Works on the policy of an instance: between reading and writing nobody else writes.
    async fn alone<T, F>(&self, instance_id: &str, work: impl FnOnce(Lease) -> F + Send) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let name = format!("policy/{instance_id}");
        for _ in 0..TRIES {
            if let Some(held) = Held::acquire(self.jobs.state.clone(), &name).await? {
                let done = work(held.lease().clone()).await;
                held.give_back().await;
                return done;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Err(busy(instance_id))
    }

    /// Changes the policy where that lowers nothing.
    pub(super) async fn raise_policy(&self, id: &str, change: &PolicyChange, caller: &str) -> Result<Raised, Fault> {
        let work = async |under: Lease| {
            let (now, then) = self.before_and_after(id, change).await?;
            if !now.own_lowered_by(&then, self.automated(id).await?).is_empty() {
                return Ok(None);
            }
            // The server may refuse; the store does not.
            let written = self.write_persistence(id, change, None).await;
            if let Some(left) = may_be_left(&written) {
                self.jobs.audit(AuditRecord::now("policy.uncertain", caller, id, left)).await;
            }
            let Some(note) = written? else { return Ok(None) };
            if now != then {
                self.store_policy(id, &then, &under).await.map_err(|fault| behind(fault, &note))?;
            }
            if now != then || !note.is_empty() {
                self.jobs.audit(AuditRecord::now("policy.changed", caller, id, change.describe())).await;
            }
            Ok(Some(note))
        };
        match self.alone(id, work).await? {
            Some(note) => Ok(Raised::Changed(self.policy(id).await?, note)),
            None => Ok(Raised::Lowers),
        }
    }

    /// What a change of policy is about.
    pub(super) async fn policy_facts(&self, instance_id: &str, change: &PolicyChange) -> Result<Facts, Fault> {
        let (now, then) = self.before_and_after(instance_id, change).await?;
        let address = self.endpoint(instance_id).await.map_or_else(|_| String::new(), |endpoint| endpoint.to_string());
        let automated = self.automated(instance_id).await?;
        let persistence = self.persistence_facts(instance_id, change).await?;
        Ok(Facts::OwnPolicy(OwnPolicyFacts { address, now, then, automated, persistence }))
    }

    /// Changes the policy as permitted, also where that lowers it.
    pub(super) async fn modify_policy(&self, permit: Permit, change: &PolicyChange) -> Result<String, Fault> {
        let id = permit.plan().instance_id.clone();
        let Preconditions::OwnPolicy { policy, persistence } = &permit.plan().preconditions else {
            return Err(permit.plan().unsupported());
        };
        let work = async |under: Lease| {
            let (now, then) = self.before_and_after(&id, change).await?;
            if *policy != (&now).into() {
                return Err(changed("the policy has been changed since the plan; it was left as it is"));
            }
            let planned = Some((&permit, persistence.as_ref()));
            let written = self.write_persistence(&id, change, planned).await;
            if let Some(left) = may_be_left(&written) {
                self.jobs.audit(permit.record("policy.uncertain", left)).await;
            }
            let note = written?.unwrap_or_default();
            if now != then {
                self.store_policy(&id, &then, &under).await.map_err(|fault| behind(fault, &note))?;
            }
            Ok(note)
        };
        let note = self.alone(&id, work).await?;
        self.jobs.audit(permit.record("policy.changed", change.describe())).await;
        let note = if note.is_empty() { note } else { format!("; {note}") };
        Ok(format!("the policy is changed: {}{note}", change.describe()))
    }
}

/// The policy that a change makes of one; all that is not named stays. A calendar that is begun is daily and keeps sets for a week, unless that
/// is named too.
fn changed_policy(now: &BackupPolicy, change: &PolicyChange) -> Result<BackupPolicy, Fault> {
    let mut then = now.clone();
    if let Some(on) = change.enable_backup_log {
        then.enable_backup_log = on;
    }
    if let Some(time) = &change.preferred_backup_time {
        then.preferred_backup_time = window(time)?;
        if !now.has_calendar() {
            let usual = usual();
            then.preferred_backup_period = usual.preferred_backup_period;
            then.backup_retention_period = usual.backup_retention_period;
        }
    }
    let named = change.preferred_backup_period.is_some() || change.backup_retention_period.is_some();
    if named && !then.has_calendar() {
        return Err(invalid("no backups are taken by themselves yet: give the preferred_backup_time as well".into()));
    }
    if let Some(days) = &change.preferred_backup_period {
        then.preferred_backup_period = weekdays(days.iter().map(String::as_str))?;
    }
    if let Some(days) = change.backup_retention_period {
        then.backup_retention_period = retention(days)?;
    }
    Ok(then)
}

/// Whether an automated backup has succeeded so lately that its set may be there although it is not among these, as they are listed.
fn may_be_listed_late(job: &Job, sets: &[Result<BackupSet, DamagedSet>], now: Timestamp) -> bool {
    let is_of_job = |set: &Result<BackupSet, DamagedSet>| match set {
        Ok(set) => set.id == job.backup_id,
        Err(damaged) => damaged.id == job.backup_id,
    };
    let is_automated = job.caller == BY_SCHEDULE || job.caller == BY_LOG;
    let ended_lately = job.finished_at.is_some_and(|at| now.duration_since(at).abs() < LISTED_WITHIN);
    is_automated && ended_lately && !sets.iter().any(is_of_job)
}

/// What is left of a change of the server's settings that was refused and could not be put back.
fn may_be_left<T>(written: &Result<T, Fault>) -> Option<String> {
    written.as_ref().err().filter(|fault| fault.kind == Kind::Uncertain).map(ToString::to_string)
}

/// The fault of a policy that could not be stored behind a change of the server's settings, which stands.
fn behind(mut fault: Fault, note: &str) -> Fault {
    if !note.is_empty() {
        fault.message = format!("{}; what was done before stands: {note}", fault.message);
    }
    fault
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! What is not named stays; a calendar begins whole.
    use super::changed_policy;
    use crate::guard::act::PolicyChange;
    use crate::model::policy::BackupPolicy;

    #[test]
    fn a_calendar_begins_daily_and_for_a_week() {
        let time = PolicyChange { preferred_backup_time: Some("02:00Z-03:00Z".into()), ..PolicyChange::default() };
        let daily = changed_policy(&BackupPolicy::none(), &time).unwrap();
        assert_eq!((daily.preferred_backup_period.len(), daily.backup_retention_period), (7, 7));
        assert!(BackupPolicy::none().own_lowered_by(&daily, 0).is_empty());
        assert_eq!(BackupPolicy::none().own_lowered_by(&daily, 2).len(), 1, "what stayed for ever would go");
        let days = PolicyChange { preferred_backup_period: Some(vec!["sunday".into()]), ..PolicyChange::default() };
        let weekly = changed_policy(&daily, &days).unwrap();
        assert_eq!((weekly.preferred_backup_time.as_str(), weekly.preferred_backup_period.len()), ("02:00Z-03:00Z", 1));
        assert!(!daily.own_lowered_by(&weekly, 0).is_empty() && weekly.own_lowered_by(&daily, 2).is_empty());
        assert_eq!(changed_policy(&BackupPolicy::none(), &days).unwrap_err().code, "backup.policy_invalid");
        let short = PolicyChange { backup_retention_period: Some(6), ..PolicyChange::default() };
        assert_eq!(changed_policy(&daily, &short).unwrap_err().code, "backup.policy_invalid");
    }
}
