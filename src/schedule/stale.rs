//! What an instance has not had for too long by its policy: a backup, or a drill that a set has passed. Judged as what is due is, from what has
//! been and a moment.
//!
//! What is missing is made up for by a success alone: where each look judged that anew, it would be over whenever the next window begins.

use crate::model::calendar::{Calendar, History, share};
use crate::schedule::drill;
use crate::schedule::due::overdue;
use jiff::{SignedDuration, Timestamp};

/// When the backup was due that is missing: its hour is over and `grace` has passed, and nobody has taken it. Of a calendar of which nobody knows
/// since when it is there, and by which nothing was taken, it is known to be there from `known` on.
#[must_use]
pub fn backup_missing(
    calendar: &Calendar,
    instance_id: &str,
    history: &History,
    (known, now): (Timestamp, Timestamp),
    grace: SignedDuration,
) -> Option<Timestamp> {
    let since = history.since.or_else(|| history.taken.is_empty().then_some(known));
    let due = overdue(calendar, instance_id, &History { since, ..history.clone() }, now)?;
    due.checked_add(grace).is_ok_and(|late| late <= now).then_some(due)
}

/// Whether a backup that was due at a moment was made up for.
#[must_use]
pub fn backup_made_up(instance_id: &str, due: Timestamp, history: &History, now: Timestamp) -> bool {
    let window = due.checked_sub(share(instance_id)).unwrap_or(due);
    // What was missing ahead of the clock was missing by another.
    due > now || history.taken.iter().any(|at| (window..=now).contains(at))
}

/// Since when no set has passed a drill, where that is so long ago that drills count as missing; of an instance that never had one, since there
/// was something to drill.
#[must_use]
pub fn drill_missing(history: &History, (known, now): (Timestamp, Timestamp)) -> Option<Timestamp> {
    let (_, newest) = history.drills.newest.as_ref()?;
    let before = |all: &[Timestamp]| all.iter().copied().filter(|at| *at <= now).collect::<Vec<_>>();
    let since = before(&history.drills.passed).into_iter().max().unwrap_or_else(|| {
        let first = before(&history.taken).into_iter().min().unwrap_or(*newest);
        first.max(history.since.unwrap_or(known))
    });
    since.checked_add(drill::MISSING_AFTER).is_ok_and(|late| late <= now).then_some(since)
}

/// Whether a drill was passed again since then.
#[must_use]
pub fn drill_made_up(since: Timestamp, history: &History, now: Timestamp) -> bool {
    since > now || history.drills.passed.iter().any(|at| *at > since && *at <= now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Two months in which backups and drills fail for some days: each time it is noticed once, and once that it is over.
    use super::*;
    use crate::model::calendar::usual;

    /// What is noticed, hour by hour: the day on which a thing is missing, and the one on which it is not any more.
    fn noticed(
        mut missing: impl FnMut(Timestamp) -> Option<Timestamp>,
        mut made_up: impl FnMut(Timestamp, Timestamp) -> bool,
        start: Timestamp,
    ) -> Vec<(bool, i64)> {
        let (mut on, mut found) = (None, Vec::new());
        for hour in 0..60 * 24 {
            let now = start + SignedDuration::from_hours(hour);
            match on {
                None => on = missing(now),
                Some(since) if made_up(since, now) => on = None,
                Some(_) => continue,
            }
            let is_on = found.last().is_some_and(|(on, _)| *on);
            if on.is_some() != is_on {
                found.push((on.is_some(), hour));
            }
        }
        found
    }

    #[test]
    fn what_is_missing_is_noticed_once_and_when_it_is_over() {
        let start: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let (id, calendar) = ("orders", Calendar::of(&usual()).unwrap());
        let (hour, day) = (SignedDuration::from_hours(1), SignedDuration::from_hours(24));
        let of = |now: Timestamp| {
            // Nothing is taken on the days 10 to 12, and on the 20th late, behind two hours of trying.
            let taken = |n: i32| match n {
                10..=12 => None,
                20 => Some(start + day * n + hour * 5),
                _ => Some(start + day * n + hour * 2 + share(id)),
            };
            let taken = (0..60).filter_map(taken).filter(|at| *at <= now).collect::<Vec<_>>();
            // A drill is passed each week, but for days 14 to 41.
            let passed = (0..9).filter(|week| !(2..6).contains(week)).map(|week| start + day * (week * 7) + hour * 4);
            let mut history = History { since: Some(start), taken, ..History::default() };
            history.drills.newest = history.taken.last().map(|at| ("b-1".to_owned(), *at));
            history.drills.passed = passed.filter(|at| *at <= now).collect();
            history
        };
        let missing = |now| backup_missing(&calendar, id, &of(now), (start, now), hour);
        let made_up = |due, now| backup_made_up(id, due, &of(now), now);
        // From the end of the hour of grace on, and up to the hour behind the next success.
        assert_eq!(
            noticed(missing, made_up, start),
            [(true, 10 * 24 + 4), (false, 13 * 24 + 3), (true, 20 * 24 + 4), (false, 20 * 24 + 5)]
        );
        let missing = |now| drill_missing(&of(now), (start, now));
        let made_up = |since, now| drill_made_up(since, &of(now), now);
        assert_eq!(noticed(missing, made_up, start), [(true, 21 * 24 + 4), (false, 42 * 24 + 4)]);
    }

    /// The rules for Prometheus count drills as missing when we do.
    #[test]
    fn the_rules_for_alarms_have_the_same_age() {
        let days = drill::MISSING_AFTER.as_hours() / 24;
        let rule = format!("tair_backup_last_drill_timestamp_seconds > {days} * 86400");
        assert!(include_str!("../../scripts/service/alerts.yml").contains(&rule), "{rule}");
    }

    #[test]
    fn what_never_was_is_missing_from_when_it_could_have_been() {
        let known: Timestamp = "2026-02-01T12:00:00Z".parse().unwrap();
        let (id, calendar) = ("orders", Calendar::of(&usual()).unwrap());
        let (hour, day) = (SignedDuration::from_hours(1), SignedDuration::from_hours(24));
        // Nobody knows since when the file has the calendar: the window before it was read counts for nothing.
        let none = History::default();
        let missing = |history: &History, now| backup_missing(&calendar, id, history, (known, now), hour);
        assert_eq!(missing(&none, known + hour), None);
        let due = known + hour * 14 + share(id);
        assert_eq!(missing(&none, known + hour * 15 + SignedDuration::from_mins(10)), None, "the hour of grace");
        assert_eq!(missing(&none, known + hour * 17), Some(due));
        // One that is set now wants nothing of before.
        let set = History { since: Some(known), ..History::default() };
        assert_eq!(missing(&set, known + SignedDuration::from_mins(1)), None);
        assert!(!backup_made_up(id, due, &none, known + day * 3));
        // What a clock that was ahead had found missing is not, once it is set back.
        assert!(backup_made_up(id, due, &none, known));
        // Without a set there is nothing to drill; with one there is from the first of them on.
        assert_eq!(drill_missing(&none, (known, known + day * 30)), None);
        let mut first = History { taken: vec![known + day * 20], ..none };
        first.drills.newest = Some(("b-1".into(), known + day * 20));
        assert_eq!(drill_missing(&first, (known, known + day * 33)), None);
        assert_eq!(drill_missing(&first, (known, known + day * 34)), Some(known + day * 20));
        // One whose clock was ahead is none.
        first.drills.passed = vec![known + day * 300];
        assert_eq!(drill_missing(&first, (known, known + day * 34)), Some(known + day * 20));
    }
}
