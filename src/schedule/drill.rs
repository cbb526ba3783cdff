//! When the newest set of an instance is drilled, judged from what has been: once a week, for a set that nobody has loaded is a hope.
//!
//! What failed is tried again a day later, whatever it came to: a machine that has no server to drill with is not asked each minute.

use crate::model::calendar::share;
use crate::model::verification::Drills;
use jiff::{SignedDuration, Timestamp};

/// From a drill that a set passed to the next one.
pub const EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);
/// From the last drill that a set passed until drills count as missing: a week that was missed is made up for and no alarm.
pub const MISSING_AFTER: SignedDuration = SignedDuration::from_hours(14 * 24);
/// From the end of an attempt to the next one.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillDue {
    /// This set is to be drilled now.
    Now(String),
    /// Nothing before this moment.
    At(Timestamp),
}

/// Judges which drill of an instance is due at a moment; without a set none ever is.
#[must_use]
pub fn drill_due(instance_id: &str, of: &Drills, now: Timestamp) -> DrillDue {
    let Some((newest, made_at)) = &of.newest else { return DrillDue::At(Timestamp::MAX) };
    // What lies ahead is of a clock that was set since.
    let last = |all: &[Timestamp]| all.iter().copied().filter(|at| *at <= now).max();
    let behind = |at: Option<Timestamp>, by: SignedDuration| at.and_then(|at| at.checked_add(by).ok());
    // The first follows the set, by the instance's share: not all instances are drilled at once.
    let wanted = behind(last(&of.passed), EVERY).or(behind(Some(*made_at), share(instance_id)));
    let due = [wanted, behind(last(&of.tried), AGAIN_AFTER)].into_iter().flatten().max().unwrap_or(Timestamp::MAX);
    if due <= now { DrillDue::Now(newest.clone()) } else { DrillDue::At(due) }
}

#[cfg(test)]
mod tests {
    //! Two months of drills, with failures, and clocks that are set.
    use super::{DrillDue, drill_due};
    use crate::model::calendar::share;
    use crate::model::verification::Drills;
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn once_a_week_and_again_a_day_after_a_failure() {
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let (hour, day) = (SignedDuration::from_hours(1), SignedDuration::from_hours(24));
        assert_eq!(drill_due("orders", &Drills::default(), start), DrillDue::At(Timestamp::MAX));
        let mut of = Drills { newest: Some(("b-0".into(), start)), ..Drills::default() };
        let first = start + share("orders");
        assert_eq!(drill_due("orders", &of, start), DrillDue::At(first));
        let mut drilled = Vec::new();
        let mut now = start;
        while now < start + day * 60 {
            // A set is made each day.
            let days = now.duration_since(start).as_hours() / 24;
            of.newest = Some((format!("b-{days}"), start + day * i32::try_from(days).unwrap()));
            if let DrillDue::Now(set) = drill_due("orders", &of, now) {
                assert_eq!(Some(&set), of.newest.as_ref().map(|(id, _)| id));
                of.tried.push(now);
                // The third week's fails twice.
                let fails = drilled.len() == 2 && of.tried.len() < 5;
                if !fails {
                    of.passed.push(now);
                    drilled.push(days);
                }
            }
            now += hour;
        }
        assert_eq!(drilled, [0, 7, 16, 23, 30, 37, 44, 51, 58]);
        // A clock that is set back behind the last drill counts those that were before it.
        let back = of.passed.iter().rev().nth(1).copied().unwrap() + day;
        assert!(matches!(drill_due("orders", &of, back), DrillDue::At(at) if at > back));
        let all_ahead = start - day;
        assert!(matches!(drill_due("orders", &of, all_ahead), DrillDue::At(at) if at > all_ahead));
    }
}
