//! Which backup of an instance is due, judged from what has been.
//!
//! Each window of the calendar wants one automated set. It is begun once the instance's share of the window has passed, so that not all
//! instances begin at once; in a window that was missed it is begun late, unless the next one has come by then. What fails is tried again, less
//! and less often.

use crate::model::calendar::{Calendar, History, WINDOW, share};
use jiff::{SignedDuration, Timestamp};

/// Until what failed is tried again, at first and at most.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);
const AGAIN_AFTER_MAX: SignedDuration = SignedDuration::from_hours(1);
/// How far ahead of the clock a set's time may be that stands in for a window: more is of a clock that was set.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A backup is to be begun now.
    Now {
        /// The beginning of the window that wants it.
        window: Timestamp,
        /// Whether that window is over.
        late: bool,
    },
    /// Nothing before this moment.
    At(Timestamp),
}

/// Judges what is due of an instance at a moment.
#[must_use]
pub fn due(calendar: &Calendar, instance_id: &str, history: &History, now: Timestamp) -> Due {
    let share = share(instance_id);
    let far = || Due::At(calendar.next(now).map_or(Timestamp::MAX, |next| next.saturating_add(share).unwrap_or(next)));
    let Some(window) = calendar.last(now) else { return far() };
    let over = window.saturating_add(WINDOW).unwrap_or(window);
    // What has a time of the next window, or is a day ahead, is of a clock that was set: it stands in for nothing yet.
    let next = calendar.next(now).unwrap_or(Timestamp::MAX).min(now.saturating_add(DAY).unwrap_or(now));
    let in_window = |at: &Timestamp| *at >= window && *at < next;
    // Before the policy nobody wanted anything. One that begins ahead of the clock was set under another: since when it is there nobody knows.
    let wanted = history.since.is_none_or(|since| since < over || since > now);
    if !wanted || history.taken.iter().any(in_window) {
        return far();
    }
    let begins = window.saturating_add(share).unwrap_or(window);
    let failed: Vec<Timestamp> = history.failed.iter().filter(|at| in_window(at)).copied().collect();
    let again = failed.iter().max().map(|last| {
        let doublings = u32::try_from(failed.len() - 1).unwrap_or(u32::MAX).min(16);
        let wait = AGAIN_AFTER.saturating_mul(1_i32 << doublings).min(AGAIN_AFTER_MAX);
        last.saturating_add(wait).unwrap_or(*last)
    });
    // What is past an hour's wait is of a clock that was set back since.
    let again = again.filter(|again| *again <= now.saturating_add(AGAIN_AFTER_MAX).unwrap_or(now));
    let begins = again.map_or(begins, |again| again.max(begins));
    if now < begins { Due::At(begins) } else { Due::Now { window, late: now >= over } }
}

/// When the backup was due that the last window wanted and nobody has taken, although it is over.
#[must_use]
pub fn overdue(calendar: &Calendar, instance_id: &str, history: &History, now: Timestamp) -> Option<Timestamp> {
    // Where nobody knows since when there is a calendar, and nothing was taken by it, it may have come a minute ago.
    if history.since.is_none() && history.taken.is_empty() {
        return None;
    }
    // What was tried in vain is as late as what nobody tried.
    let untried = History { failed: Vec::new(), ..history.clone() };
    match due(calendar, instance_id, &untried, now) {
        Due::Now { window, late: true } => window.checked_add(share(instance_id)).ok(),
        Due::Now { .. } | Due::At(_) => None,
    }
}

#[cfg(test)]
mod tests {
    //! What is due before, within and behind a window, after failures, and where a clock was set.
    use super::{Due, due, overdue};
    use crate::model::calendar::{Calendar, EVERY_DAY, History, share, window};
    use crate::model::policy::BackupPolicy;
    use jiff::{SignedDuration, Timestamp};

    fn policy(time: &str, days: &[&str]) -> Calendar {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        let time = window(time).unwrap();
        Calendar::of(&BackupPolicy {
            preferred_backup_time: time,
            preferred_backup_period: days,
            ..BackupPolicy::none()
        })
        .unwrap()
    }

    #[test]
    fn what_is_due_at_moments() {
        let daily = policy("02:00Z-03:00Z", &EVERY_DAY);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (window, id) = (at("2026-11-26T02:00:00Z"), "orders");
        let begins = window + share(id);
        let none = History::default();
        assert_eq!(due(&daily, id, &none, begins), Due::Now { window, late: false });
        assert_eq!(due(&daily, id, &none, begins - SignedDuration::from_secs(1)), Due::At(begins));
        let late = at("2026-11-26T20:00:00Z");
        assert_eq!(due(&daily, id, &none, late), Due::Now { window, late: true });
        // A policy that came behind the window wants the next one.
        let next = Due::At(at("2026-11-27T02:00:00Z") + share(id));
        assert_eq!(due(&daily, id, &History { since: Some(at("2026-11-26T03:00:00Z")), ..none.clone() }, late), next);
        assert_eq!(due(&daily, id, &History { taken: vec![begins], ..none.clone() }, late), next);
        // One that was set while the clock was ahead does not wait for that time.
        let ahead = History { since: Some(at("2027-11-26T03:00:00Z")), ..none.clone() };
        assert_eq!(due(&daily, id, &ahead, late), Due::Now { window, late: true });
        // An hour that is moved time and again, each time to one that is just over, puts nothing off: the policy was there before.
        let moved = History {
            since: Some(at("2026-11-20T00:00:00Z")),
            taken: vec![at("2026-11-25T02:30:00Z")],
            ..none.clone()
        };
        let five = policy("05:00Z-06:00Z", &EVERY_DAY);
        assert!(matches!(due(&five, id, &moved, at("2026-11-26T06:30:00Z")), Due::Now { late: true, .. }));
        // One of a clock that was days ahead stands in for nothing.
        let ahead = History { taken: vec![at("2026-12-24T02:30:00Z")], ..none.clone() };
        assert_eq!(due(&daily, id, &ahead, late), Due::Now { window, late: true });
        // What is late is said, tried or not, once there was a policy for it.
        let missed = History { since: Some(at("2026-11-20T00:00:00Z")), failed: vec![late], ..none.clone() };
        assert_eq!(overdue(&daily, id, &missed, late), Some(begins));
        assert_eq!(overdue(&daily, id, &missed, begins), None);
        assert_eq!(overdue(&daily, id, &History { taken: vec![begins], ..missed }, late), None);
        assert_eq!(overdue(&daily, id, &none, late), None);
        // What failed is tried again, less and less often.
        let mut failed = History::default();
        let mut now = begins;
        let mut waits = Vec::new();
        for _ in 0..9 {
            failed.failed.push(now);
            let Due::At(again) = due(&daily, id, &failed, now) else { panic!("at once") };
            waits.push(again.duration_since(now).as_secs() / 60);
            now = again;
            assert!(matches!(due(&daily, id, &failed, now), Due::Now { .. }));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
