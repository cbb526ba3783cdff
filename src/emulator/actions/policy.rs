//! The backup policy: kept and read back, and validated as the cloud validates it.
//!
//! No backups are taken by the policy yet; data flashback is real. A parameter left out of a change takes the cloud's default, flashback included: a client avoids
//! that trap by writing back the whole policy it has read.

use crate::emulator::account::records::{Policy, WEEKDAYS};
use crate::emulator::actions::overwrite;
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::model::time::written;
use crate::tair::wire::policy::{BackupPolicy, DescribeBackupPolicy, ModifyBackupPolicy};
use crate::tair::wire::{Action as _, BadParam, Done};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `DescribeBackupPolicy`.
///
/// # Errors
/// `InvalidInstanceId.NotFound`.
pub async fn describe(request: &ActionRequest<'_>, params: DescribeBackupPolicy) -> Result<BackupPolicy, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let policy = request.account.records.of(&instance.id).policy.unwrap_or_default();
    let next = next(&policy, Timestamp::now());
    let flashback = request.account.flashback(&instance).await?;
    Ok(BackupPolicy {
        request_id: String::new(),
        backup_retention_period: Some(policy.retention),
        preferred_backup_period: Some(policy.days.join(",")),
        preferred_backup_time: Some(policy.time),
        preferred_next_backup_time: next.map(|at| at.strftime("%Y-%m-%dT%H:%MZ").to_string()),
        enable_backup_log: Some(flashback.is_some()),
        dbs_instance: Some("0".into()),
        backup_log_start_time: flashback.and_then(|flashback| flashback.since).map(written),
    })
}

/// When the next automated backup would be due.
fn next(policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let hour: i8 = policy.time.get(..2)?.parse().ok()?;
    let mut day = now.to_zoned(TimeZone::UTC).date();
    for _ in 0..8 {
        let at = day.at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp();
        let name = WEEKDAYS.get(usize::try_from(day.weekday().to_monday_zero_offset()).ok()?)?;
        if at > now && policy.days.iter().any(|d| d == name) {
            return Some(at);
        }
        day = day.tomorrow().ok()?;
    }
    None
}

/// Parses the parameters of `ModifyBackupPolicy`. A parameter left out takes the cloud's default, and one has a code of its
/// own.
///
/// # Errors
/// `InvalidBackupRetentionPeriod.Malformed`.
pub fn read_modify(request: &ActionRequest<'_>) -> Result<ModifyBackupPolicy, Refused> {
    let mut params = request.params.clone();
    if request.param("EnableBackupLog").is_none() {
        params.retain(|(name, _)| name != "EnableBackupLog");
        params.push(("EnableBackupLog".into(), "0".into()));
    }
    ModifyBackupPolicy::from_params(&params).map_err(|bad| match bad {
        BadParam::Malformed(name) if name == "BackupRetentionPeriod" => {
            Refused::new("InvalidBackupRetentionPeriod.Malformed")
        }
        bad => bad.into(),
    })
}

/// `ModifyBackupPolicy`.
///
/// # Errors
/// `InvalidPreferredBackupTime.Format`, `InvalidPreferredBackupPeriod.Malformed`,
/// `InvalidBackupRetentionPeriod.Malformed`, `InstanceType.NotSupport` for flashback where there is none.
pub async fn modify(request: &ActionRequest<'_>, params: ModifyBackupPolicy) -> Result<Done, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let time = hour(&params.preferred_backup_time).ok_or_else(|| Refused::new("InvalidPreferredBackupTime.Format"))?;
    let days = weekdays(&params.preferred_backup_period)
        .ok_or_else(|| Refused::new("InvalidPreferredBackupPeriod.Malformed"))?;
    let retention = params.backup_retention_period.unwrap_or(7);
    if !(7..=730).contains(&retention) {
        return Err(Refused::new("InvalidBackupRetentionPeriod.Malformed"));
    }
    let wants = params.enable_backup_log.0;
    if wants && !instance.kind.flashback {
        return Err(Refused::new("InstanceType.NotSupport").status(400));
    }
    request.account.must_be_normal(&instance).await?;
    if instance.kind.flashback {
        overwrite::switch_log(request, &instance.id, wants).await?;
    }
    request
        .account
        .records
        .change(|records| {
            records.of(&instance.id).policy = Some(Policy { time, days, retention });
            Ok::<_, Refused>(())
        })
        .await?;
    if wants {
        request.account.await_log(&instance).await?;
    }
    Ok(Done::default())
}

/// Parses one whole hour. The last hour of the day ends at 24:00 for some clients and at 00:00 for others.
fn hour(text: &str) -> Option<String> {
    let (from, to) = text.trim().split_once('-')?;
    let whole = |text: &str| -> Option<u8> {
        let hour = text.strip_suffix(":00Z")?;
        (hour.len() == 2 && hour.bytes().all(|b| b.is_ascii_digit())).then(|| hour.parse().ok())?
    };
    let (from, to) = (whole(from)?, whole(to)?);
    let fits = from < 24 && (to == from + 1 || (from == 23 && to == 0));
    fits.then(|| format!("{from:02}:00Z-{:02}:00Z", from + 1))
}

/// Parses weekdays: each once, in the order of the week.
fn weekdays(text: &str) -> Option<Vec<String>> {
    let given: Vec<&str> = text.split(',').map(str::trim).collect();
    let known = given.iter().all(|day| WEEKDAYS.contains(day));
    known.then(|| WEEKDAYS.iter().filter(|day| given.contains(day)).map(|day| (*day).to_owned()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Hours and days as the cloud takes them, and the next one due.
    use super::*;

    #[test]
    fn hours_are_whole_and_one_long() {
        for good in ["00:00Z-01:00Z", "23:00Z-24:00Z", "23:00Z-00:00Z"] {
            assert!(hour(good).is_some(), "{good}");
        }
        assert_eq!(hour("23:00Z-00:00Z").unwrap(), "23:00Z-24:00Z");
        for bad in ["", "05:00Z", "05:30Z-06:30Z", "05:00Z-07:00Z", "05:00-06:00", "24:00Z-25:00Z", "5:00Z-6:00Z"] {
            assert_eq!(hour(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_are_english_and_at_least_one() {
        assert_eq!(weekdays("Sunday, Monday,Sunday").unwrap(), ["Monday", "Sunday"]);
        for bad in ["", "Mon", "monday", "Monday,"] {
            assert_eq!(weekdays(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_next_backup_is_on_a_day_of_the_policy() {
        let policy = Policy { time: "05:00Z-06:00Z".into(), days: vec!["Monday".into()], ..Policy::default() };
        // 2026-11-23 is a Monday.
        for (now, due) in [
            ("2026-11-23T04:59:59Z", "2026-11-23T05:00:00Z"),
            ("2026-11-23T05:00:00Z", "2026-11-30T05:00:00Z"),
            ("2026-11-24T00:00:00Z", "2026-11-30T05:00:00Z"),
        ] {
            assert_eq!(next(&policy, now.parse().unwrap()).unwrap().to_string(), due);
        }
    }
}
