//! Two simulated months of three instances, with downtime, failures and clocks that are set: every window that somebody could serve has its
//! set, none has two, and of the sets exactly those go that nothing keeps.

use crate::support::Dice;
use crate::support::backup_set::backup_set;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use tair_backup_mcp::guard::grant::Expired;
use tair_backup_mcp::guard::retention::Stays;
use tair_backup_mcp::model::backup::{BackupSet, Mode};
use tair_backup_mcp::model::calendar::{Calendar, EVERY_DAY, History, WINDOW, share, window};
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::schedule::due::{Due, due};

fn calendar(time: &str, days: &[&str]) -> Calendar {
    let days = days.iter().map(|day| (*day).to_owned()).collect();
    let policy = BackupPolicy {
        preferred_backup_time: window(time).unwrap(),
        preferred_backup_period: days,
        ..BackupPolicy::none()
    };
    Calendar::of(&policy).unwrap()
}

/// A week of the calendar that people write.
fn week(at: Timestamp) -> (i16, i8) {
    let week = at.to_zoned(TimeZone::UTC).date().iso_week_date();
    (week.year(), week.week())
}

/// The newest moment of which sets show that so much time has passed since, said in another way than by the program: of some that follow it, none
/// more than two weeks behind the one before, the first and the last are as far apart, even without the longest pause among them.
fn shown_since(sets: &[BackupSet], damaged: &[String], passed: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    let shows = |set: &&BackupSet| !damaged.contains(&set.id) && set.started_at <= now;
    let mut begun: Vec<Timestamp> = sets.iter().filter(shows).map(|set| set.started_at).collect();
    begun.sort();
    let is_shown = |first: usize| {
        let pauses: Vec<SignedDuration> = begun[first..].windows(2).map(|two| two[1].duration_since(two[0])).collect();
        let stretches = pauses.split(|pause| *pause > SignedDuration::from_hours(24 * 14));
        let of_one = |pauses: &[SignedDuration]| {
            let all = pauses.iter().fold(SignedDuration::ZERO, |all, pause| all + *pause);
            all - pauses.iter().copied().max().unwrap_or_default()
        };
        stretches.map(of_one).fold(SignedDuration::ZERO, |all, of_one| all + of_one) >= passed
    };
    let first = (0..begun.len()).rev().find(|first| is_shown(*first))?;
    Some(begun[first])
}

/// What must stay of sets, said in another way than by the program. In some a fault was found.
fn must_stay(sets: &[BackupSet], damaged: &[String], days: u32, now: Timestamp) -> BTreeSet<String> {
    let sound = |set: &BackupSet| !damaged.contains(&set.id);
    let of_the_policy = |set: &&BackupSet| set.mode == Mode::Automated && set.expires_at.is_none();
    let automated: Vec<&BackupSet> = sets.iter().filter(of_the_policy).collect();
    // Where all are of a clock that was ahead, nothing is old.
    let newest = automated
        .iter()
        .filter(|set| sound(set))
        .map(|set| set.started_at)
        .filter(|at| *at <= now)
        .max()
        .unwrap_or(Timestamp::MIN);
    let kept = SignedDuration::from_hours(24 * i64::from(days.max(7)));
    let of_use = |set: &&BackupSet| sound(set) && (set.mode == Mode::Manual || of_the_policy(set));
    let last = sets.iter().filter(of_use).max_by_key(|set| (set.started_at, set.id.clone()));
    let shown = shown_since(sets, damaged, kept, now);
    let stays = |set: &&BackupSet| {
        if set.locked_until.is_some_and(|until| until > now) {
            return true;
        }
        if let Some(at) = set.expires_at {
            let own = SignedDuration::from_hours(at.duration_since(set.started_at).as_hours().max(0) / 24 * 24);
            let unshown = || shown_since(sets, damaged, own, now).is_none_or(|shown| set.started_at > shown);
            let is_last = set.mode == Mode::Manual && last.is_none_or(|last| last.id == set.id);
            return at > now || is_last || (!own.is_zero() && unshown());
        }
        let newer_in_its_week = automated
            .iter()
            .filter(|other| week(other.started_at) == week(set.started_at))
            .any(|other| (sound(other), other.started_at, &other.id) > (sound(set), set.started_at, &set.id));
        let is_kept = newest.duration_since(set.started_at) <= kept || !newer_in_its_week;
        set.mode != Mode::Automated || is_kept || shown.is_none_or(|shown| set.started_at > shown)
    };
    sets.iter().filter(stays).map(|set| set.id.clone()).collect()
}

/// The sets that the program lets stay.
fn left(sets: &[BackupSet], damaged: &[String], days: u32, now: Timestamp) -> Vec<BackupSet> {
    let verdicts = Expired::by_policy(sets, damaged, Some(days), now);
    assert_eq!(verdicts.len(), sets.len());
    let stays = |(set, verdict): (&BackupSet, Result<Expired, Stays>)| match verdict {
        Ok(goes) => {
            assert_eq!(goes.backup_id(), set.id);
            None
        }
        Err(_) => Some(set.clone()),
    };
    sets.iter().zip(verdicts).filter_map(stays).collect()
}

/// An instance whose months are played.
struct Instance {
    id: String,
    calendar: Calendar,
    sets: Vec<BackupSet>,
    failed: Vec<Timestamp>,
    failed_in_a_row: usize,
    /// How often each window had a set made.
    made: BTreeMap<Timestamp, u32>,
    /// The window that wants a set behind its share, and at how many looks in a row somebody could have made it.
    wanting: (Timestamp, u32),
    /// The weeks in which sets were made.
    weeks: BTreeSet<(i16, i8)>,
    gone: usize,
}

impl Instance {
    fn look(&mut self, dice: &mut Dice, since: Timestamp, now: Timestamp, days: u32) {
        let window = self.calendar.last(now).unwrap();
        let (id, begins) = (self.id.clone(), window + share(&self.id));
        let wants = since < window + WINDOW && now >= begins && !self.made.contains_key(&window);
        self.wanting = match self.wanting {
            (same, looks) if wants && same == window => (same, looks + 1),
            _ => (window, 0),
        };
        // Three failures in a row cost seven minutes, and a clock that is set back behind one an hour more, each time.
        assert!(self.wanting.1 < 30, "{id}: nobody serves {window}, and it is {now}");
        let automated = |set: &BackupSet| (set.mode == Mode::Automated).then_some(set.started_at);
        let taken = self.sets.iter().filter_map(automated).collect();
        let history = History { since: Some(since), taken, failed: self.failed.clone(), ..History::default() };
        match due(&self.calendar, &self.id, &history, now) {
            Due::At(later) => assert!(later > now, "{id}: {later} is not behind {now}"),
            Due::Now { window: wanted, late } => {
                assert_eq!((wanted, late), (window, now >= window + WINDOW), "{id} at {now}");
                assert!(now >= begins, "{id}: {now} is before its share of {window}");
                if self.failed_in_a_row < 3 && dice.below(4) == 0 {
                    self.failed_in_a_row += 1;
                    self.failed.push(now);
                    return;
                }
                self.failed_in_a_row = 0;
                *self.made.entry(window).or_default() += 1;
                let name = format!("b-{:04}", self.sets.len() + self.gone);
                self.sets.push(backup_set(&name, Mode::Automated, now));
                self.weeks.insert(week(now));
                let (before, wanted) = (self.sets.len(), must_stay(&self.sets, &[], days, now));
                self.sets = left(&self.sets, &[], days, now);
                self.gone += before - self.sets.len();
                let there: BTreeSet<String> = self.sets.iter().map(|set| set.id.clone()).collect();
                assert_eq!(there, wanted, "{id} at {now}");
            }
        }
    }
}

#[test]
fn two_months_with_downtime_and_clocks_that_are_set() {
    let mut dice = Dice::new("two months");
    let start: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    for days in [7, 14, 30] {
        let calendars = [
            calendar("02:00Z-03:00Z", &EVERY_DAY),
            calendar("23:00Z-24:00Z", &["Monday", "Thursday"]),
            calendar("00:00Z-01:00Z", &["Sunday"]),
        ];
        let instances = calendars.into_iter().enumerate().map(|(n, calendar)| Instance {
            id: format!("cache-{n}"),
            calendar,
            sets: vec![backup_set("by-hand", Mode::Manual, start)],
            failed: Vec::new(),
            failed_in_a_row: 0,
            made: BTreeMap::new(),
            wanting: (start, 0),
            weeks: BTreeSet::new(),
            gone: 0,
        });
        let mut instances: Vec<Instance> = instances.collect();
        let (mut down_until, mut skew_minutes, mut skew_until) = (0, 0_i64, 0);
        for minute in (0..60 * 24 * 60_i64).step_by(5) {
            if dice.below(1000) == 0 {
                down_until = minute + i64::try_from(dice.below(3000)).unwrap();
            }
            if dice.below(1000) == 0 {
                skew_minutes = i64::try_from(dice.below(360)).unwrap() - 180;
                skew_until = minute + i64::try_from(dice.below(600)).unwrap();
            }
            if minute >= skew_until {
                skew_minutes = 0;
            }
            if minute < down_until {
                continue;
            }
            let now = start + SignedDuration::from_mins(minute + skew_minutes);
            for instance in &mut instances {
                instance.look(&mut dice, start, now, days);
            }
        }
        for instance in &instances {
            let Instance { id, made, sets, weeks, gone, .. } = instance;
            assert!(made.values().all(|n| *n == 1), "{id}: {made:?}");
            assert!(made.len() >= 6, "{id}: too little was made: {made:?}");
            assert!(sets.iter().any(|set| set.mode == Mode::Manual), "{id}");
            let kept: BTreeSet<_> =
                sets.iter().filter(|set| set.mode == Mode::Automated).map(|set| week(set.started_at)).collect();
            assert_eq!(kept, *weeks, "{id}: one of each week is kept");
            assert!(*gone > 0 || !id.ends_with('0'), "{id}: nothing of it expired in two months");
        }
    }
}

/// Two months of three calendars, in which the clock goes 40 days ahead or back, twice, each time for some hours: by their true age, nothing of less than
/// seven days goes, whoever asked for it. What a clock that was behind has dated says that it is older, and is not asked for.
#[test]
fn nothing_young_goes_by_a_clock_that_is_set() {
    let mut dice = Dice::new("clocks that are set");
    let start: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    let minutes = |n: usize| SignedDuration::from_mins(i64::try_from(n).unwrap());
    let (far, day) = (SignedDuration::from_hours(24 * 40), SignedDuration::from_hours(24));
    let calendars = [
        calendar("02:00Z-03:00Z", &EVERY_DAY),
        calendar("23:00Z-24:00Z", &["Monday", "Thursday"]),
        calendar("00:00Z-01:00Z", &["Sunday"]),
    ];
    let (mut gone, mut gone_behind) = (0, 0);
    for round in 0..30 {
        let calendar = &calendars[round % 3];
        let steps: Vec<(usize, usize, SignedDuration)> = (0..2)
            .map(|_| {
                let begins = dice.below(60 * 24 * 60);
                (begins, begins + 30 + dice.below(600), if dice.below(3) == 0 { -far } else { far })
            })
            .collect();
        // Each with the time of its making that was true, and whether the clock was behind then.
        let mut sets: Vec<(BackupSet, SignedDuration, bool)> = Vec::new();
        let mut made = 0;
        for minute in (0..60 * 24 * 60).step_by(30) {
            let step = steps.iter().find(|(begins, ends, _)| (*begins..*ends).contains(&minute));
            let off = step.map(|(.., off)| *off).unwrap_or_default();
            let (truly, now) = (minutes(minute), start + minutes(minute) + off);
            let mut take = |mode: Mode, days: i32| {
                made += 1;
                let mut set = backup_set(&format!("b-{made:04}"), mode, now);
                set.expires_at = Some(now + day * days);
                sets.push((set, truly, off.is_negative()));
            };
            match dice.below(96) {
                0 => take(Mode::Manual, [7, 30][dice.below(2)]),
                1 => take(Mode::Safety, 7),
                _ => {}
            }
            let is_automated = |(set, ..): &&(BackupSet, SignedDuration, bool)| set.mode == Mode::Automated;
            let taken = sets.iter().filter(is_automated).map(|(set, ..)| set.started_at).collect();
            let history = History { since: Some(start), taken, ..History::default() };
            if matches!(due(calendar, "cache", &history, now), Due::Now { .. }) {
                made += 1;
                let set = backup_set(&format!("b-{made:04}"), Mode::Automated, now);
                sets.push((set, truly, off.is_negative()));
            } else if minute % 120 != 0 {
                continue;
            }
            let all: Vec<BackupSet> = sets.iter().map(|(set, ..)| set.clone()).collect();
            let there: BTreeSet<String> = left(&all, &[], 7, now).into_iter().map(|set| set.id).collect();
            sets.retain(|(set, made_at, was_behind)| {
                let stays = there.contains(&set.id);
                let age = truly - *made_at;
                assert!(stays || *was_behind || age >= day * 7, "{} goes, of {age:?}, at {now}: {steps:?}", set.id);
                gone += usize::from(!stays);
                gone_behind += usize::from(!stays && *was_behind);
                stays
            });
        }
    }
    assert!(gone > gone_behind + 100, "{gone} went, {gone_behind} of them of a clock that was behind");
}

/// Whatever there is: what goes is what nothing keeps, and once that is gone nothing else goes.
#[test]
fn only_what_nothing_keeps_goes() {
    let mut dice = Dice::new("what goes");
    let now: Timestamp = "2026-06-30T12:00:00Z".parse().unwrap();
    let hours = |n: usize| SignedDuration::from_hours(i64::try_from(n).unwrap());
    for _ in 0..300 {
        let (days, n) = ([7, 8, 30, 730][dice.below(4)], dice.below(60));
        let mut some = |n: usize| {
            let mode = [Mode::Automated, Mode::Automated, Mode::Automated, Mode::Manual, Mode::Safety][dice.below(5)];
            // Some are of a clock that was ahead.
            let mut set = backup_set(&format!("b-{n:03}"), mode, now + hours(72) - hours(dice.below(24 * 120)));
            set.expires_at = (dice.below(6) == 0).then(|| now + hours(24) - hours(dice.below(48)));
            set.locked_until = (dice.below(6) == 0).then(|| now + hours(24) - hours(dice.below(48)));
            set
        };
        let sets: Vec<BackupSet> = (0..n).map(&mut some).collect();
        let found: Vec<String> = sets.iter().filter(|_| dice.below(5) == 0).map(|set| set.id.clone()).collect();
        let kept = left(&sets, &found, days, now);
        let ids = |sets: &[BackupSet]| sets.iter().map(|set| set.id.clone()).collect::<BTreeSet<_>>();
        assert_eq!(ids(&kept), must_stay(&sets, &found, days, now), "{days} days of {sets:?}, {found:?} damaged");
        assert_eq!(ids(&left(&kept, &found, days, now)), ids(&kept), "one look is enough");
        // Without a policy only what has its own time goes.
        for (set, verdict) in sets.iter().zip(Expired::by_policy(&sets, &found, None, now)) {
            let stays = matches!(verdict, Err(Stays::Last | Stays::NotShown(_)));
            assert!(stays || verdict.is_ok() == Expired::of(set, now).is_some(), "{set:?}");
        }
    }
}

/// A set that somebody asked for and that is kept for so many days goes when they are over, but for the last: what is damaged, or only undoes a
/// restore, does not stand in for it.
#[test]
fn what_is_asked_for_goes_when_its_days_are_over() {
    let now: Timestamp = "2026-06-30T12:00:00Z".parse().unwrap();
    let day = SignedDuration::from_hours(24);
    let mut asked = backup_set("b-asked", Mode::Manual, now - day * 10);
    asked.expires_at = Some(now + day);
    let over = now + day * 2;
    // What shows that the days have passed, and stands in for nothing.
    let since = (0..13).map(|n| backup_set(&format!("b-since-{n:02}"), Mode::Safety, over - day * n));
    let since: Vec<BackupSet> = since.collect();
    let verdict = |others: &[BackupSet], damaged: &[&str], now: Timestamp| {
        let sets = [&[asked.clone()][..], others, &since[..]].concat();
        let damaged: Vec<String> = damaged.iter().map(|id| (*id).to_owned()).collect();
        Expired::by_policy(&sets, &damaged, Some(7), now).remove(0).map(|goes| goes.backup_id().to_owned())
    };
    let (automated, safety) = (backup_set("b-policy", Mode::Automated, now), backup_set("b-safety", Mode::Safety, now));
    let older = backup_set("b-older", Mode::Manual, now - day * 20);
    let others = [automated, safety.clone(), older.clone()];
    assert_eq!(verdict(&others, &[], now), Err(Stays::Until(now + day)));
    assert_eq!(verdict(&others, &[], over), Ok("b-asked".into()));
    let clock_alone = Expired::by_policy(&[&[asked.clone()][..], &others[..]].concat(), &[], Some(7), over);
    assert_eq!(clock_alone.first().unwrap().as_ref().err(), Some(&Stays::NotShown(11)));
    for (others, damaged) in
        [(others.to_vec(), vec!["b-policy"]), (vec![safety, older.clone()], vec![]), (vec![], vec!["b-asked"])]
    {
        assert_eq!(verdict(&others, &damaged, over), Err(Stays::Last), "{others:?}");
    }
    assert_eq!(verdict(&[older], &["b-asked"], over), Ok("b-asked".into()), "it is damaged, and another is sound");
}

/// A thousand instances of one hour: in no minute many of them begin, and in no half minute that each takes are many at it.
#[test]
fn a_thousand_instances_are_no_herd() {
    let daily = calendar("02:00Z-03:00Z", &EVERY_DAY);
    let midnight: Timestamp = "2026-11-26T00:00:00Z".parse().unwrap();
    let mut begun: Vec<Timestamp> = Vec::new();
    for n in 0..1000 {
        let id = format!("cache-{n}");
        let history = History { since: Some(midnight), ..History::default() };
        let Due::At(at) = due(&daily, &id, &history, midnight) else { panic!("{id} is due at midnight") };
        assert!(matches!(due(&daily, &id, &history, at), Due::Now { late: false, .. }), "{id}");
        begun.push(at);
    }
    begun.sort();
    let within = |seconds: i64| {
        let until = |at: &Timestamp| *at + SignedDuration::from_secs(seconds);
        begun.iter().map(|at| begun.iter().filter(|other| *other >= at && **other < until(at)).count()).max().unwrap()
    };
    assert!((20..=45).contains(&within(60)), "{} begin within a minute", within(60));
    assert!(within(30) <= 28, "{} begin within half a minute", within(30));
}
