//! For how long sets are needed, as far as that is known, and until when a lock is extended for that: by a period, once a period, and never
//! beyond what is needed.

use crate::support::backup_set::backup_set;
use jiff::{SignedDuration, Timestamp};
use tair_backup_mcp::guard::retention::Needed;
use tair_backup_mcp::model::backup::{BackupSet, Mode};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A Tuesday.
fn now() -> Timestamp {
    "2026-06-30T12:00:00Z".parse().unwrap()
}

/// One automated set a day of the last three weeks, the newest of now.
fn three_weeks() -> Vec<BackupSet> {
    (0..21).map(|n| backup_set(&format!("b-{n:02}"), Mode::Automated, now() - DAY * n)).collect()
}

/// A set that the policy keeps is needed until its days are over, and the newest of its week for as long as nobody knows; one that goes is not, and
/// one whose days are over only where what would let it go is late.
#[test]
fn what_a_policy_keeps_is_needed_for_its_days() {
    let mut sets = three_weeks();
    // What is locked is needed no longer for that, nor no more.
    sets[8].locked_until = Some(now() + DAY);
    sets[9].locked_until = Some(now() + DAY);
    for (n, needed) in (0..).zip(Needed::by_policy(&sets, &[], Some(7), now())) {
        let expected = match n {
            0..7 => Some(Needed::Until(now() + DAY * (7 - n))),
            // Sundays.
            9 | 16 => Some(Needed::On),
            _ => None,
        };
        assert_eq!(needed, expected, "{}", sets[n as usize].id);
    }
    // No backup has succeeded since.
    let needed = |later: i32, n: usize| Needed::by_policy(&sets, &[], Some(7), now() + DAY * later)[n];
    assert_eq!([3, 4, 5].map(|n| needed(3, n)), [Some(Needed::Until(now() + DAY * 4)), None, None]);
    assert_eq!(
        [6, 7, 8, 9].map(|n| needed(3, n)),
        [Some(Needed::ForNow), Some(Needed::ForNow), None, Some(Needed::On)]
    );
    assert_eq!([0, 1, 2].map(|n| needed(10, n)), [Some(Needed::On), Some(Needed::ForNow), Some(Needed::On)]);
    // No policy says anything.
    assert!(Needed::by_policy(&sets, &[], None, now()).iter().all(Option::is_none));
}

/// What has a time of its own is needed until then, and the last that would bring its instance back for longer. What somebody keeps is not locked
/// for that: nobody could ever delete it.
#[test]
fn what_is_asked_for_is_needed_for_its_time() {
    let of = |mode: Mode, expires_at: Option<Timestamp>| BackupSet {
        expires_at,
        ..backup_set("b-a", mode, now() - DAY * 9)
    };
    let newer = backup_set("b-b", Mode::Manual, now());
    let until = now() + DAY * 5;
    for (set, others, expected) in [
        (of(Mode::Manual, Some(until)), vec![newer.clone()], Some(Needed::Until(until))),
        (of(Mode::Safety, Some(until)), vec![newer.clone()], Some(Needed::Until(until))),
        (of(Mode::Manual, Some(now())), vec![newer.clone()], None),
        (of(Mode::Manual, Some(now())), vec![], Some(Needed::On)),
        (of(Mode::Manual, None), vec![newer], None),
        (of(Mode::Manual, None), vec![], None),
    ] {
        let sets = [vec![set], others].concat();
        assert_eq!(Needed::by_policy(&sets, &[], Some(7), now())[0], expected, "{sets:?}");
    }
}

/// A lock is extended when little of it is left, and to no earlier moment.
#[test]
fn a_lock_is_extended_by_a_period_at_most() {
    let month = DAY * 30;
    let at = |more: SignedDuration| Some(now() + more);
    for (needed, ends, period, expected) in [
        (Needed::On, DAY * 2, month, None),
        (Needed::On, DAY, month, None),
        (Needed::On, HOUR * 23, month, at(month)),
        (Needed::On, DAY * -5, month, at(month)),
        (Needed::ForNow, HOUR, month, at(DAY * 2)),
        (Needed::Until(now() + DAY * 10), HOUR, month, at(DAY * 10)),
        (Needed::Until(now() + DAY * 400), HOUR, month, at(month)),
        // Never shortened.
        (Needed::Until(now() + HOUR * 22), HOUR * 23, month, None),
        (Needed::Until(now() + HOUR * 23), HOUR * 23, month, None),
        // A bucket that locks for a day, or for less than that.
        (Needed::On, HOUR * 12, DAY, None),
        (Needed::On, HOUR * 11, DAY, at(DAY)),
        (Needed::ForNow, HOUR * 11, DAY, at(DAY)),
        (Needed::On, HOUR * 11, HOUR, at(DAY)),
        (Needed::On, HOUR * 11, SignedDuration::ZERO, at(DAY)),
    ] {
        assert_eq!(needed.extension(now() + ends, period, now()), expected, "{needed:?}, {ends:?} of {period:?}");
    }
}
