//! For how long sets are needed, as far as that is known, and until when a lock is extended for that: by a period, once a period, and never
//! beyond what is needed. And that nothing goes by one step of the clock: neither sets nor log, whoever asked for them.

use crate::support::Dice;
use crate::support::backup_set::backup_set;
use jiff::{SignedDuration, Timestamp};
use tair_backup_mcp::guard::grant::Expired;
use tair_backup_mcp::guard::retention::{Needed, Outlived, Stays};
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

/// Eight sets of eight days, and then the clock goes 40 days ahead, and a late backup is taken: nothing goes. As days pass what is shown by the sets on
/// both sides of the step goes, and eight days later, whether the clock was right or not, all that is older than a week.
#[test]
fn one_late_set_lets_nothing_go() {
    let before = now() - DAY * 40;
    let mut sets: Vec<BackupSet> =
        (0..8).map(|n| backup_set(&format!("b-{n:02}"), Mode::Automated, before - DAY * n)).collect();
    sets.insert(0, backup_set("b-late", Mode::Automated, now()));
    let of = |sets: &[BackupSet], now: Timestamp| {
        let since = Outlived::by_policy("orders", sets, &[], Some(7), now).unwrap().since();
        let verdicts = Expired::by_policy(sets, &[], Some(7), now);
        (since, verdicts.iter().flatten().map(|goes| goes.backup_id().to_owned()).collect::<Vec<_>>())
    };
    let oldest = before - DAY * 7;
    assert_eq!(of(&sets, now()), (oldest, vec![]));
    let why = Expired::by_policy(&sets, &[], Some(7), now()).pop().unwrap();
    assert_eq!(why.unwrap_err(), Stays::NotShown(7));
    for n in 1..8 {
        sets.insert(0, backup_set(&format!("b-late-{n}"), Mode::Automated, now() + DAY * n));
        let (since, gone) = of(&sets, now() + DAY * n);
        assert!(since <= before && (n > 1 || gone.is_empty()), "{n} days later: {since}, {gone:?}");
        // The step was no time at all: so old is each truly, in days.
        let ages: Vec<i32> = gone.iter().map(|id| id.strip_prefix("b-").unwrap().parse::<i32>().unwrap() + n).collect();
        assert!(ages.iter().all(|age| *age >= 8), "{n} days later: {gone:?}");
    }
    sets.insert(0, backup_set("b-late-8", Mode::Automated, now() + DAY * 8));
    let (since, gone) = of(&sets, now() + DAY * 8);
    assert_eq!(since, now());
    // Of the weeks of before the newest stay: that is a Thursday, and the Sunday before it.
    assert_eq!(gone, ["b-late", "b-01", "b-02", "b-03", "b-05", "b-06", "b-07"]);
}

/// Of sets with policies of a day, three days and a week, and some that have a time of their own, what goes is never younger than it is to be, by its
/// true age, whenever the clock steps, however far, and for how long; and where it does not, or long after, they go.
#[test]
fn what_goes_by_one_step_of_the_clock_is_old() {
    let mut dice = Dice::new("one step");
    let start = now();
    let hours = |n: i64| HOUR * i32::try_from(n).unwrap();
    let mut below = |n: usize| i64::try_from(dice.below(n)).unwrap();
    let mut gone = 0;
    for round in 0..60 {
        let every = [24, 72, 168][round % 3];
        let begins = below(24 * 60);
        let ends = begins + [1 + below(240), 10_000][round % 2];
        let step = (1 + below([24 * 15, 24 * 400][round / 2 % 2])) * [1, 1, -1][round % 5 % 3];
        // Each with the hour in which it was truly made, and the days for which it is to be there.
        let mut sets: Vec<(BackupSet, i64, i64)> = Vec::new();
        let mut made = 0;
        for hour in 0..24 * 70 {
            let off = if (begins..ends).contains(&hour) { step } else { 0 };
            let now = start + hours(hour + off);
            let own = [(100, Mode::Manual, 2), (150, Mode::Manual, 30), (100, Mode::Safety, 7)];
            for (one_in, mode, days) in own {
                if below(one_in) == 0 {
                    made += 1;
                    let mut set = backup_set(&format!("b-{made:04}"), mode, now);
                    set.expires_at = Some(now + hours(24 * days));
                    sets.push((set, hour, days));
                }
            }
            // What is late is taken at once.
            let is_due = hour % every == 0 || hour == begins;
            if is_due {
                made += 1;
                sets.push((backup_set(&format!("b-{made:04}"), Mode::Automated, now), hour, 7));
            }
            if !is_due && hour % 6 != 0 {
                continue;
            }
            let all: Vec<BackupSet> = sets.iter().map(|(set, ..)| set.clone()).collect();
            let mut verdicts = Expired::by_policy(&all, &[], Some(7), now).into_iter();
            if let Some(log) = Outlived::by_policy("orders", &all, &[], Some(7), now) {
                let young =
                    sets.iter().filter(|(_, at, _)| hour - at < 24 * 7 && !(step < 0 && (begins..ends).contains(at)));
                let lost = young.filter(|(set, ..)| set.started_at < log.since()).count();
                assert_eq!(lost, 0, "the log since {} of {all:?} is kept at {now}", log.since());
            }
            sets.retain(|(set, at, days)| {
                let goes = verdicts.next().unwrap().is_ok();
                // What a clock that was behind has dated says that it is older than it is.
                let was_behind = step < 0 && (begins..ends).contains(at);
                let told = || format!("{} of {} h goes at {now}, with a step of {step} h", set.id, hour - at);
                assert!(!goes || was_behind || hour - at >= days * 24, "{}", told());
                gone += usize::from(goes);
                !goes
            });
        }
    }
    assert!(gone > 300, "{gone} went");
}

/// Where no sets are taken, what has a time of its own goes once it was there for all of it by a clock that nobody can set; not the last.
#[test]
fn what_was_watched_for_long_goes() {
    let of = |days: i32| BackupSet {
        expires_at: Some(now() - DAY * 20 + DAY * days),
        ..backup_set("b-a", Mode::Manual, now() - DAY * 20)
    };
    let newer = backup_set("b-b", Mode::Manual, now() - DAY * 19);
    let goes = |set: BackupSet, others: &[BackupSet], watched: SignedDuration| {
        let sets = [&[set.clone()][..], others].concat();
        assert!(Expired::by_policy(&sets, &[], Some(7), now())[0].is_err(), "{sets:?}");
        Expired::after_watching(&set, &sets, &[], watched, now()).is_some()
    };
    let others = [newer];
    for (days, watched, expected) in [
        (2, DAY * 2 - HOUR, false),
        (2, DAY * 2, true),
        (15, DAY * 15 - HOUR, false),
        (15, DAY * 15, true),
        // Its time is not over.
        (21, DAY * 30, false),
    ] {
        assert_eq!(goes(of(days), &others, watched), expected, "{days} days, {watched:?}");
    }
    assert!(!goes(of(2), &[], DAY * 30), "it is the last");
    assert!(!goes(BackupSet { locked_until: Some(now() + DAY), ..of(2) }, &others, DAY * 30), "it is locked");
}
