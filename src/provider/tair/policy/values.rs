//! The values of the cloud's backup policy: read, changed and compared. Asks nothing.

use crate::guard::act::PolicyChange;
use crate::model::calendar::{invalid, retention, weekdays, window};
use crate::model::fault::Fault;
use crate::model::policy::BackupPolicy;
use crate::tair::wire::moment;
use crate::tair::wire::policy as wire;

/// The cloud's policy, as everybody sees it.
#[must_use]
pub fn read(reply: &wire::BackupPolicy) -> BackupPolicy {
    let time = reply.preferred_backup_time.clone().unwrap_or_default();
    let days = reply.preferred_backup_period.clone().unwrap_or_default();
    let start = moment(reply.backup_log_start_time.as_deref());
    BackupPolicy {
        // The cloud's own form where that is not one that we know.
        preferred_backup_time: window(&time).unwrap_or(time),
        preferred_backup_period: weekdays(days.split(','))
            .unwrap_or_else(|_| days.split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect()),
        backup_retention_period: reply.backup_retention_period.and_then(|d| u32::try_from(d).ok()).unwrap_or(0),
        preferred_next_backup_time: moment(reply.preferred_next_backup_time.as_deref()),
        enable_backup_log: reply.enable_backup_log.unwrap_or(start.is_some()),
        backup_log_start_time: start,
    }
}

/// The policy that a change makes of one; all that is not named stays.
///
/// # Errors
/// `backup.policy_invalid`, also where the cloud leaves out a value that has to be written again.
pub fn changed(now: &BackupPolicy, change: &PolicyChange) -> Result<BackupPolicy, Fault> {
    let missing =
        |what: &str| invalid(format!("the cloud does not tell {what} that is in force, so it cannot be kept: give it"));
    let time = match &change.preferred_backup_time {
        Some(text) => window(text)?,
        None if now.preferred_backup_time.is_empty() => return Err(missing("the preferred_backup_time")),
        None => now.preferred_backup_time.clone(),
    };
    let days = match &change.preferred_backup_period {
        Some(days) => weekdays(days.iter().map(String::as_str))?,
        None if now.preferred_backup_period.is_empty() => return Err(missing("the preferred_backup_period")),
        None => now.preferred_backup_period.clone(),
    };
    let retention = match change.backup_retention_period {
        Some(days) => retention(days)?,
        None if now.backup_retention_period == 0 => return Err(missing("the backup_retention_period")),
        None => now.backup_retention_period,
    };
    Ok(BackupPolicy {
        preferred_backup_time: time,
        preferred_backup_period: days,
        backup_retention_period: retention,
        enable_backup_log: change.enable_backup_log.unwrap_or(now.enable_backup_log),
        ..now.clone()
    })
}

/// Whether two policies agree in all that can be set.
#[must_use]
pub fn same(a: &BackupPolicy, b: &BackupPolicy) -> bool {
    differences(a, b).is_empty()
}

/// Where a policy differs from the one that was wanted, for the reader.
#[must_use]
pub fn differences(wanted: &BackupPolicy, found: &BackupPolicy) -> String {
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
