//! When backups are taken by themselves: an hour of the day and days of the week, in UTC, as a backup policy has them.
//!
//! It must not ask for the time: whoever asks when something is due says when that is.

use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::model::text::quoted;
use crate::model::verification::Drills;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

/// Weekdays as policies spell them, in order.
pub const EVERY_DAY: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// The window of a policy that nobody has chosen.
pub const USUAL_WINDOW: &str = "02:00Z-03:00Z";
/// Days that a set is kept, as a policy may say.
pub const RETENTION_DAYS: std::ops::RangeInclusive<u32> = 7..=730;
/// How long a window is.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The end of a window in which nothing is begun, so that what is begun last has a while before the window is over.
const LAST_MINUTES: SignedDuration = SignedDuration::from_mins(10);

/// The fault of a value that no policy has.
#[must_use]
pub fn invalid(message: String) -> Fault {
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
        let at = EVERY_DAY.iter().position(|d| d.eq_ignore_ascii_case(day.trim()));
        match at.and_then(|at| named.get_mut(at)) {
            Some(named) => *named = true,
            None => {
                return Err(invalid(format!(
                    "preferred_backup_period {} is not an English weekday in full: {}",
                    quoted(day),
                    EVERY_DAY.join(", ")
                )));
            }
        }
    }
    let found: Vec<String> =
        EVERY_DAY.iter().zip(named).filter(|(_, named)| *named).map(|(d, _)| (*d).to_owned()).collect();
    if found.is_empty() {
        return Err(invalid("preferred_backup_period names no weekday: at least one is needed".into()));
    }
    Ok(found)
}

/// Reads days of retention.
///
/// # Errors
/// `backup.policy_invalid`.
pub fn retention(days: u32) -> Result<u32, Fault> {
    if RETENTION_DAYS.contains(&days) {
        return Ok(days);
    }
    Err(invalid(format!("backup_retention_period {days} is not between 7 and 730 days")))
}

/// How far into a window an instance begins: always the same, and of many instances all over it.
#[must_use]
pub fn share(instance_id: &str) -> SignedDuration {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(instance_id.as_bytes()).into();
    let seconds = (WINDOW - LAST_MINUTES).as_secs().unsigned_abs();
    SignedDuration::from_secs(i64::try_from(u64::from(u32::from_le_bytes([a, b, c, d])) % seconds).unwrap_or(0))
}

/// What has been of the backups that a calendar wants.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Since when there is a calendar; `None` where that is not known, as of one in the configuration file.
    pub since: Option<Timestamp>,
    /// When the automated sets began that are there.
    pub taken: Vec<Timestamp>,
    /// When attempts of this calendar ended that came to nothing.
    pub failed: Vec<Timestamp>,
    /// What has been of the drills.
    pub drills: Drills,
}

/// The policy of an instance for which nobody has chosen one: each day, kept for a week.
#[must_use]
pub fn usual() -> BackupPolicy {
    BackupPolicy {
        preferred_backup_time: USUAL_WINDOW.to_owned(),
        preferred_backup_period: EVERY_DAY.map(str::to_owned).to_vec(),
        backup_retention_period: *RETENTION_DAYS.start(),
        ..BackupPolicy::none()
    }
}

/// An hour of the day on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// The hour in which windows begin, 0 to 23.
    hour: i8,
    /// From Monday on.
    days: [bool; 7],
}

impl Calendar {
    /// The calendar of a policy; `None` where the policy has none.
    #[must_use]
    pub fn of(policy: &BackupPolicy) -> Option<Self> {
        let hour = policy.preferred_backup_time.get(..2)?.parse().ok().filter(|hour| (0..24).contains(hour))?;
        let days = EVERY_DAY.map(|day| policy.preferred_backup_period.iter().any(|named| named == day));
        days.contains(&true).then_some(Self { hour, days })
    }

    fn has(&self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).ok().and_then(|at| self.days.get(at)).copied().unwrap_or(false)
    }

    /// The window that begins on the day of a moment, so many days later.
    fn on(&self, at: Timestamp, days_later: i64) -> Option<Timestamp> {
        let date = at.to_zoned(TimeZone::UTC).date().checked_add(SignedDuration::from_hours(24 * days_later)).ok()?;
        let begins = date.at(self.hour, 0, 0, 0).to_zoned(TimeZone::UTC).ok()?.timestamp();
        self.has(date.weekday()).then_some(begins)
    }

    /// The beginning of the newest window that had begun by a moment.
    #[must_use]
    pub fn last(&self, at: Timestamp) -> Option<Timestamp> {
        (0..=7).filter_map(|days| self.on(at, -days)).find(|begins| *begins <= at)
    }

    /// The beginning of the first window after a moment.
    #[must_use]
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        (0..=7).filter_map(|days| self.on(at, days)).find(|begins| *begins > at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Windows come one after the other, in every week, and the last one of a moment is never the next one.
    use super::{Calendar, EVERY_DAY, window};
    use crate::model::policy::BackupPolicy;
    use jiff::{SignedDuration, Timestamp};

    fn calendar(time: &str, days: &[&str]) -> Calendar {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        Calendar::of(&BackupPolicy {
            preferred_backup_time: window(time).unwrap(),
            preferred_backup_period: days,
            ..BackupPolicy::none()
        })
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn windows_of_a_week() {
        // A Thursday.
        let now = at("2026-11-26T12:00:00Z");
        let daily = calendar("02:00Z-03:00Z", &EVERY_DAY);
        assert_eq!(
            (daily.last(now).unwrap(), daily.next(now).unwrap()),
            (at("2026-11-26T02:00:00Z"), at("2026-11-27T02:00:00Z"))
        );
        let weekly = calendar("23:00Z-24:00Z", &["Thursday"]);
        assert_eq!(
            (weekly.last(now).unwrap(), weekly.next(now).unwrap()),
            (at("2026-11-19T23:00:00Z"), at("2026-11-26T23:00:00Z"))
        );
        let begins = at("2026-11-26T23:00:00Z");
        assert_eq!((weekly.last(begins).unwrap(), weekly.next(begins).unwrap()), (begins, at("2026-12-03T23:00:00Z")));
        assert_eq!(Calendar::of(&BackupPolicy::none()), None);
    }

    #[test]
    fn one_after_the_other() {
        let some = calendar("00:00Z-01:00Z", &["Monday", "Sunday"]);
        let mut at = at("2026-02-20T00:00:00Z");
        for _ in 0..40 {
            let next = some.next(at).unwrap();
            assert_eq!(
                (some.last(next), some.last(next - SignedDuration::from_secs(1)).is_some_and(|l| l < next)),
                (Some(next), true)
            );
            assert!(next > at && next.duration_since(at) <= SignedDuration::from_hours(6 * 24 + 24));
            at = next;
        }
    }
}
