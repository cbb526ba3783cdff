//! The backup policy: read, changed in what is named, written whole, and read back.
//!
//! The cloud knows no partial change, and what is left out takes its default: data flashback would go off by omission.

use crate::guard::act::PolicyChange;
use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::model::text::quoted;
use crate::provider::Raised;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::poller::Poller;
use crate::tair::retry::Retry;
use crate::tair::wire::policy::{self as wire, DescribeBackupPolicy, ModifyBackupPolicy};
use crate::tair::wire::{OneZero, moment};
use std::sync::{Arc, PoisonError};

/// Weekdays as the cloud spells them, in order.
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// Times the same policy is written while it cannot be seen whether an earlier copy arrived.
const WRITES: u32 = 3;

fn invalid(message: String) -> Fault {
    Fault::new(Kind::Usage, "backup.policy_invalid", message).hint(
        "A policy has a whole UTC hour such as 02:00Z-03:00Z, English weekdays such as Monday, and 7 to 730 days of retention.",
    )
}

/// Reads an hour: `02:00Z-03:00Z`. The last one ends at `24:00Z`.
///
/// # Errors
/// `backup.policy_invalid`.
pub fn window(text: &str) -> Result<String, Fault> {
    let bad = |why: &str| invalid(format!("preferred_backup_time {} {why}", quoted(text)));
    let hour = |part: &str| {
        let hour = part.trim().strip_suffix(":00Z")?;
        if hour.len() != 2 { None } else { hour.parse::<u8>().ok().filter(|h| *h <= 24) }
    };
    let (from, to) = text.split_once('-').ok_or_else(|| bad("is not an hour such as 02:00Z-03:00Z"))?;
    let (from, to) = hour(from)
        .zip(hour(to))
        .ok_or_else(|| bad("does not begin and end on the hour in UTC, as in 02:00Z-03:00Z"))?;
    let to = if to == 0 { 24 } else { to };
    if from >= 24 || to != from + 1 {
        return Err(bad("is not exactly one hour"));
    }
    Ok(format!("{from:02}:00Z-{to:02}:00Z"))
}

/// Reads weekdays, in any order and case.
///
/// # Errors
/// `backup.policy_invalid`.
pub fn weekdays<'a>(days: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, Fault> {
    let mut named = [false; 7];
    for day in days {
        let at = DAYS.iter().position(|d| d.eq_ignore_ascii_case(day.trim()));
        match at.and_then(|at| named.get_mut(at)) {
            Some(named) => *named = true,
            None => {
                return Err(invalid(format!(
                    "preferred_backup_period {} is not an English weekday in full: {}",
                    quoted(day),
                    DAYS.join(", ")
                )));
            }
        }
    }
    let found: Vec<String> = DAYS.iter().zip(named).filter(|(_, named)| *named).map(|(d, _)| (*d).to_owned()).collect();
    if found.is_empty() {
        return Err(invalid("preferred_backup_period names no weekday: at least one is needed".into()));
    }
    Ok(found)
}

/// What the cloud tells, as everybody sees it.
#[must_use]
pub fn read(told: &wire::BackupPolicy) -> BackupPolicy {
    let time = told.preferred_backup_time.clone().unwrap_or_default();
    let days = told.preferred_backup_period.clone().unwrap_or_default();
    let start = moment(told.backup_log_start_time.as_deref());
    BackupPolicy {
        // The cloud's own form where it is not one that we know.
        preferred_backup_time: window(&time).unwrap_or(time),
        preferred_backup_period: weekdays(days.split(','))
            .unwrap_or_else(|_| days.split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect()),
        backup_retention_period: told.backup_retention_period.and_then(|d| u32::try_from(d).ok()).unwrap_or(0),
        preferred_next_backup_time: moment(told.preferred_next_backup_time.as_deref()),
        enable_backup_log: told.enable_backup_log.unwrap_or(start.is_some()),
        backup_log_start_time: start,
    }
}

/// The policy that a change makes of one; all that is not named stays.
///
/// # Errors
/// `backup.policy_invalid`, also where the cloud does not tell a value that has to be written again.
pub fn changed(now: &BackupPolicy, change: &PolicyChange) -> Result<BackupPolicy, Fault> {
    let untold =
        |what: &str| invalid(format!("the cloud does not tell {what} that is in force, so it cannot be kept: give it"));
    let time = match &change.preferred_backup_time {
        Some(text) => window(text)?,
        None if now.preferred_backup_time.is_empty() => return Err(untold("the preferred_backup_time")),
        None => now.preferred_backup_time.clone(),
    };
    let days = match &change.preferred_backup_period {
        Some(days) => weekdays(days.iter().map(String::as_str))?,
        None if now.preferred_backup_period.is_empty() => return Err(untold("the preferred_backup_period")),
        None => now.preferred_backup_period.clone(),
    };
    let keep = match change.backup_retention_period {
        Some(days) if (7..=730).contains(&days) => days,
        Some(days) => return Err(invalid(format!("backup_retention_period {days} is not between 7 and 730 days"))),
        None if now.backup_retention_period == 0 => return Err(untold("the backup_retention_period")),
        None => now.backup_retention_period,
    };
    Ok(BackupPolicy {
        preferred_backup_time: time,
        preferred_backup_period: days,
        backup_retention_period: keep,
        enable_backup_log: change.enable_backup_log.unwrap_or(now.enable_backup_log),
        ..now.clone()
    })
}

/// Whether what can be set is the same.
fn same(a: &BackupPolicy, b: &BackupPolicy) -> bool {
    differences(a, b).is_empty()
}

fn differences(wanted: &BackupPolicy, found: &BackupPolicy) -> String {
    let mut all = Vec::new();
    let mut compare = |name: &str, wanted: String, found: String| {
        if wanted != found {
            all.push(format!("{name} is {found}, not {wanted}"));
        }
    };
    compare("preferred_backup_time", wanted.preferred_backup_time.clone(), found.preferred_backup_time.clone());
    compare(
        "preferred_backup_period",
        wanted.preferred_backup_period.join(","),
        found.preferred_backup_period.join(","),
    );
    compare(
        "backup_retention_period",
        wanted.backup_retention_period.to_string(),
        found.backup_retention_period.to_string(),
    );
    compare("enable_backup_log", wanted.enable_backup_log.to_string(), found.enable_backup_log.to_string());
    all.join("; ")
}

impl Inner {
    /// The policy in force.
    pub async fn policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        Ok(self.policy_told(instance_id).await?.0)
    }

    /// The policy as it is told, and whether data flashback is among what is told: by itself, or by its start, also the one
    /// that the instance's attributes have.
    async fn policy_told(&self, instance_id: &str) -> Result<(BackupPolicy, bool), Fault> {
        let told = self.client.call(&DescribeBackupPolicy { instance_id: instance_id.into() }).await?;
        let mut policy = read(&told);
        if told.enable_backup_log.is_some() || policy.enable_backup_log {
            return Ok((policy, true));
        }
        policy.backup_log_start_time = Architecture::of(&self.attribute(instance_id).await?).log_start;
        policy.enable_backup_log = policy.backup_log_start_time.is_some();
        let known = policy.enable_backup_log;
        Ok((policy, known))
    }

    /// The policy in force, before a change of it. Where the cloud does not tell whether data flashback is on it cannot be
    /// kept, and it must not go off by omission: the change has to name it, and is then taken to turn it.
    pub async fn policy_before(&self, instance_id: &str, change: &PolicyChange) -> Result<BackupPolicy, Fault> {
        let (policy, told) = self.policy_told(instance_id).await?;
        if told {
            return Ok(policy);
        }
        match change.enable_backup_log {
            Some(wanted) => Ok(BackupPolicy { enable_backup_log: !wanted, ..policy }),
            None => Err(invalid(
                "the cloud does not tell whether enable_backup_log is in force, so it cannot be kept: give it".into(),
            )),
        }
    }

    /// Held while the policy of an instance is changed: what one call reads must still hold when it writes.
    pub fn policy_lock(&self, instance_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(instance_id.to_owned()).or_default())
    }

    /// Changes the policy where that lowers nothing.
    pub async fn raise_policy(&self, instance_id: &str, change: &PolicyChange) -> Result<Raised, Fault> {
        let lock = self.policy_lock(instance_id);
        let _held = lock.lock().await;
        let now = self.policy_before(instance_id, change).await?;
        let then = changed(&now, change)?;
        if !now.lowered_by(&then).is_empty() {
            return Ok(Raised::Lowers);
        }
        Ok(Raised::Changed(self.write_policy(instance_id, &now, then).await?))
    }

    /// Writes a whole policy and reads it back. `before` is what it was made from.
    pub async fn write_policy(
        &self,
        instance_id: &str,
        before: &BackupPolicy,
        then: BackupPolicy,
    ) -> Result<BackupPolicy, NotWritten> {
        if same(before, &then) {
            return Ok(before.clone());
        }
        let call = ModifyBackupPolicy {
            instance_id: instance_id.into(),
            preferred_backup_time: then.preferred_backup_time.clone(),
            preferred_backup_period: then.preferred_backup_period.join(","),
            backup_retention_period: Some(then.backup_retention_period.into()),
            enable_backup_log: OneZero(then.enable_backup_log),
        };
        let mut poller = Poller::new(&self.polling, self.polling.ready, &self.jobs.stop);
        let mut writes = 0;
        // What is not told cannot differ.
        let is = |(found, told): &(BackupPolicy, bool), wanted: &BackupPolicy| {
            let log = if *told { found.enable_backup_log } else { wanted.enable_backup_log };
            same(&BackupPolicy { enable_backup_log: log, ..found.clone() }, wanted)
        };
        loop {
            match self.client.call(&call).await {
                Ok(_) => break,
                Err(e) if e.is_uncertain() => {
                    writes += 1;
                    // That it cannot be looked at now changes nothing about what is not known.
                    let Ok(found) = self.policy_told(instance_id).await else {
                        return Err(NotWritten::Uncertain(e.into()));
                    };
                    if is(&found, &then) {
                        break;
                    }
                    // The whole policy is written, so a copy that arrives late changes nothing more. Somebody else's
                    // change in between must not be written over.
                    if writes >= WRITES || !is(&found, before) {
                        return Err(NotWritten::Uncertain(e.into()));
                    }
                }
                // Refused before anything was done.
                Err(e) if e.cloud().is_some_and(|c| c.meaning().retry == Retry::WhenReady) => {
                    if poller.elapsed() >= self.polling.ready {
                        return Err(NotWritten::Refused(e.into()));
                    }
                }
                Err(e) => return Err(NotWritten::Refused(e.into())),
            }
            let lost = |fault: Fault| {
                if writes > 0 {
                    uncertain("the reply to the change was lost", &fault)
                } else {
                    NotWritten::Refused(fault)
                }
            };
            poller.wait("the change of policy").await.map_err(|end| lost(end.into_fault()))?;
            // Somebody else may have changed it meanwhile, and the whole of it would be written over.
            let found = self.policy_told(instance_id).await.map_err(lost)?;
            if is(&found, &then) {
                break;
            }
            if !is(&found, before) {
                let message = "somebody else has changed the policy meanwhile; theirs was not written over";
                let fault = Fault::new(Kind::Provider, "policy.changed_meanwhile", message)
                    .hint("Look at describe_backup_policy, then call again.")
                    .next(&["describe_backup_policy"]);
                return Err(NotWritten::Refused(fault));
            }
        }
        let mut poller = Poller::new(&self.polling, self.polling.visible.saturating_mul(2), &self.jobs.stop);
        loop {
            let taken = |fault: Fault| uncertain("the cloud took the change", &fault);
            let reply = self.client.call(&DescribeBackupPolicy { instance_id: instance_id.into() }).await;
            if let Some(told) = poller.tolerate(reply).map_err(taken)? {
                let log_told = told.enable_backup_log.is_some() || told.backup_log_start_time.is_some();
                let found = (read(&told), log_told);
                if is(&found, &then) {
                    return Ok(found.0);
                }
                let found = found.0;
                if poller.elapsed() >= self.polling.visible {
                    let message =
                        format!("the cloud took the policy, and keeps another: {}", differences(&then, &found));
                    let fault = Fault::new(Kind::Provider, "policy.not_kept", message)
                        .hint("Look at describe_backup_policy; the instance may not offer what was asked for.")
                        .next(&["describe_backup_policy"]);
                    return Err(NotWritten::Refused(fault));
                }
            }
            poller.wait("the change of policy").await.map_err(|end| taken(end.into_fault()))?;
        }
    }
}

/// Why a policy was not written.
#[derive(Debug)]
pub enum NotWritten {
    /// It was not, or another is in force.
    Refused(Fault),
    /// It may have been: that could not be read back.
    Uncertain(Fault),
}

impl From<NotWritten> for Fault {
    fn from(e: NotWritten) -> Self {
        match e {
            NotWritten::Refused(fault) | NotWritten::Uncertain(fault) => fault,
        }
    }
}

/// A change of which it is not known what came of it.
fn uncertain(what: &str, fault: &Fault) -> NotWritten {
    let message = format!("{what}, and the policy cannot be read back: {}", fault.message);
    let fault = Fault::new(Kind::Provider, "cloud.uncertain", message)
        .hint("Look at describe_backup_policy before you call again: it may have taken effect.")
        .next(&["describe_backup_policy"]);
    NotWritten::Uncertain(fault)
}
