//! Retention's verdicts: on every set of an instance, that it goes or why it stays, and for how long as far as that is known; and on its log,
//! from when on it is kept.
//!
//! It must not ask for the time, and judges what is listed alone: whoever deletes looks whether a plan or a job needs the set.
//!
//! One reading of a clock that is wrong, however far ahead, lets nothing go. That so many days have passed has to be told by the time that is over,
//! and be shown by the sets that were taken since. A clock that is set makes a pause between two of them that never was: so the longest pause does
//! not count, nor does any of more than two weeks, and then the longest on either side of it. What is left is no more than the time that has really passed, however far one step of the clock
//! went, and whether it stays so or is put right. A set of a daily policy stays about two days longer for that; those of a weekly policy are older by
//! two later ones. Sets that are always taken more than two weeks apart show nothing: one of them that has a time of its own goes once a process has
//! had it before it for all of that, by a clock that nobody can set ([`Expired::after_watching`]), or by somebody's word.
//!
//! Three things are not seen: that the clock was behind when a set was taken, which says that it is older than it is; that the clock is ahead once
//! more, as far as it was when it ran so for days and sets were taken; and that it was set ahead twice, by less than two weeks each time, with a set
//! taken in between.

use crate::guard::grant::{Expired, Grant, Prune};
use crate::model::backup::{BackupSet, Mode};
use crate::model::calendar::RETENTION_DAYS;
use crate::model::time::written;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// Why a set stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// Nobody may delete it before.
    Locked(Timestamp),
    /// It has a time of its own, which is not over.
    Until(Timestamp),
    /// Its time is over, and no sound set stands in for it.
    Last,
    /// It was not taken by the policy, and nothing says for how long it is kept.
    OfNoPolicy,
    /// It was taken by a policy, and none is in force.
    WithoutPolicy,
    /// No automated set is there that began more than so many days later.
    Days(u32),
    /// It is the newest automated set of its week.
    OfItsWeek,
    /// Its time is over by the clock, and the sets that were taken since do not show that so many days have passed.
    NotShown(u32),
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(until) => write!(f, "locked until {}", written(*until)),
            Self::Until(until) => write!(f, "kept until {}", written(*until)),
            Self::Last => f.write_str("its time is over, but no newer sound set is there to stand in for it"),
            Self::OfNoPolicy => f.write_str("not taken by the policy: kept until somebody deletes it"),
            Self::WithoutPolicy => f.write_str("no policy says for how long automated sets are kept"),
            Self::Days(days) => write!(f, "kept until an automated set is there that is more than {days} days newer"),
            Self::OfItsWeek => {
                f.write_str("the newest automated set of its week: one a week is kept while the instance exists")
            }
            Self::NotShown(days) => {
                let passed = if *days == 1 { "a day has".to_owned() } else { format!("{days} days have") };
                write!(f, "kept until the sets taken since show that {passed} passed: the clock alone may be wrong")
            }
        }
    }
}

/// Two sets that are further apart show nothing of the time between them. Of each week one stays, so those of a policy are hardly further apart.
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(24 * 14);

fn in_days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

/// The newest moment since which this much time has passed, as the sets show that were taken since, whoever asked for them; `None`: they show that
/// of no moment. Between neighbours time has passed, but for each pause of more than [`PAUSE_MAX`], and for the longest of each stretch between two of
/// those. A set in which a fault was found, or for which nobody vouches, shows
/// nothing, and nor does what is of a clock that was ahead.
fn shown_since(sets: &[BackupSet], damaged: &[String], passed: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    let shows = |set: &&BackupSet| set.started_at <= now && !damaged.contains(&set.id);
    let mut begun: Vec<Timestamp> = sets.iter().filter(shows).map(|set| set.started_at).collect();
    begun.sort_unstable_by_key(|at| Reverse(*at));
    let none = SignedDuration::ZERO;
    // What stretches show that are behind a long pause from this one; and of this one, how long it is, and its longest pause.
    let (mut before, mut span, mut longest, mut later) = (none, none, none, None);
    for at in begun {
        // What the clock says of now shows nothing.
        match later.replace(at).map(|later: Timestamp| later.duration_since(at)) {
            None => {}
            Some(pause) if pause > PAUSE_MAX => (before, span, longest) = (before + span - longest, none, none),
            Some(pause) => (span, longest) = (span + pause, longest.max(pause)),
        }
        if before + span - longest >= passed {
            return Some(at);
        }
    }
    None
}

/// From when on a policy keeps everything.
#[derive(Debug, Clone, Copy)]
struct KeptSince {
    /// By its days, counted back from the newest automated set.
    by_days: Timestamp,
    /// By what the sets show too: never later. `None`: they do not show that so many days have passed.
    shown: Option<Timestamp>,
}

/// The moments from which on a policy of so many days, and never less than a week, keeps everything. Its days are counted back from the newest
/// automated set, and not from now: where backups fail nothing goes that no later set stands in for. That alone would be the word of one reading of
/// a clock, so that as many days have to be shown; until they are, nothing goes. A set in which a fault was found, or for which nobody vouches, stands
/// in for nothing. `None`: there is no automated set yet.
fn kept_since(sets: &[BackupSet], damaged: &[String], days: u32, now: Timestamp) -> Option<KeptSince> {
    let sound = sets.iter().filter(|set| is_of_a_policy(set) && !damaged.contains(&set.id));
    // What is of a clock that was ahead says nothing of now.
    let newest = sound.map(|set| set.started_at).filter(|at| *at <= now).max()?;
    let kept = in_days(days.max(*RETENTION_DAYS.start()));
    let by_days = newest.checked_sub(kept).ok()?;
    let shown = shown_since(sets, damaged, kept, now).map(|shown| shown.min(by_days));
    Some(KeptSince { by_days, shown })
}

/// For how many whole days a set is kept that has a time of its own. Less than one can be asked for by nobody, and needs to be shown by nothing.
fn own_days(set: &BackupSet, expires_at: Timestamp) -> u32 {
    let days = (expires_at.duration_since(set.started_at).as_hours() / 24).max(0);
    u32::try_from(days).unwrap_or(u32::MAX)
}

/// Whether the sets that were taken since show that so many days have passed since a set was.
fn are_shown(days: u32, set: &BackupSet, sets: &[BackupSet], damaged: &[String], now: Timestamp) -> bool {
    let since = || shown_since(sets, damaged, in_days(days), now);
    days == 0 || since().is_some_and(|since| set.started_at <= since)
}

/// Whether policies say how long a set is kept. What has a time of its own stands in for nothing.
pub(super) fn is_of_a_policy(set: &BackupSet) -> bool {
    set.mode == Mode::Automated && set.expires_at.is_none()
}

/// Whether a set that somebody asked for is the last that would bring its instance back: no newer sound one is there that is kept by a policy or
/// was asked for, and of one in which a fault was found, none at all.
fn is_the_last(set: &BackupSet, sets: &[BackupSet], damaged: &[String]) -> bool {
    let begun = |set: &BackupSet| (set.started_at, set.id.clone());
    let is_damaged = damaged.contains(&set.id);
    let stands_in = |other: &BackupSet| {
        (other.mode == Mode::Manual || is_of_a_policy(other))
            && !damaged.contains(&other.id)
            && (is_damaged || begun(other) > begun(set))
    };
    set.mode == Mode::Manual && !sets.iter().any(stands_in)
}

/// The week of a moment, from Monday on: the epoch was a Thursday.
fn week(at: Timestamp) -> i64 {
    (at.as_second() + 3 * 86_400).div_euclid(7 * 86_400)
}

/// The verdict of retention on the log of an instance: no moment before one has to be kept.
#[derive(Debug)]
pub struct Outlived {
    instance_id: String,
    since: Timestamp,
}

impl Outlived {
    /// Judges the log of an instance by all its sets, those named in which a fault was found or for which nobody vouches, at a moment. The policy keeps moments for so many days, as it does automated sets. `None`:
    /// none is in force, or there is no such set yet.
    #[must_use]
    pub fn by_policy(
        instance_id: &str,
        sets: &[BackupSet],
        damaged: &[String],
        days: Option<u32>,
        now: Timestamp,
    ) -> Option<Self> {
        // No moment before the first set can be restored, so that from there on is all.
        let all = || sets.iter().map(|set| set.started_at).min();
        let KeptSince { by_days, shown } = kept_since(sets, damaged, days?, now)?;
        let since = shown.or_else(all)?.min(by_days);
        Some(Self { instance_id: instance_id.to_owned(), since })
    }

    /// The first moment that is kept.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// The right to remove what of the log no moment needs that is kept.
    #[must_use]
    pub fn prune(self) -> Grant<Prune> {
        Grant::new(&self.instance_id)
    }
}

/// The ids of the newest automated sets of each week; one in which a fault was found only where its week has no other.
fn newest_of_weeks<'a>(sets: &'a [BackupSet], damaged: &[String]) -> Vec<&'a str> {
    let mut of_weeks: BTreeMap<i64, (bool, Timestamp, &str)> = BTreeMap::new();
    for set in sets.iter().filter(|set| is_of_a_policy(set)) {
        let one = (!damaged.contains(&set.id), set.started_at, set.id.as_str());
        let of_week = of_weeks.entry(week(set.started_at)).or_insert(one);
        *of_week = one.max(*of_week);
    }
    of_weeks.into_values().map(|(.., id)| id).collect()
}

/// Why each set of an instance stays at a moment, in their order, whatever locks it. `None`: it goes.
fn stay(sets: &[BackupSet], damaged: &[String], days: Option<u32>, now: Timestamp) -> Vec<Option<Stays>> {
    let since = days.and_then(|days| kept_since(sets, damaged, days, now));
    let of_weeks = newest_of_weeks(sets, damaged);
    let judge = |set: &BackupSet| {
        match set.expires_at {
            Some(at) if at > now => return Some(Stays::Until(at)),
            Some(_) if is_the_last(set, sets, damaged) => return Some(Stays::Last),
            Some(at) => {
                let days = own_days(set, at);
                return (!are_shown(days, set, sets, damaged, now)).then_some(Stays::NotShown(days));
            }
            None if set.mode != Mode::Automated => return Some(Stays::OfNoPolicy),
            None => {}
        }
        let Some(days) = days else { return Some(Stays::WithoutPolicy) };
        let days = days.max(*RETENTION_DAYS.start());
        let Some(since) = since.filter(|since| set.started_at < since.by_days) else { return Some(Stays::Days(days)) };
        if of_weeks.contains(&set.id.as_str()) {
            return Some(Stays::OfItsWeek);
        }
        since.shown.is_none_or(|shown| set.started_at > shown).then_some(Stays::NotShown(days))
    };
    sets.iter().map(judge).collect()
}

/// Least period of a lock.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// For how long a set that stays is needed, as far as that is known: what its lock may be extended for. What only somebody keeps is none such, or
/// nobody could ever delete it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Until then.
    Until(Timestamp),
    /// Until something stands in for it, and nobody knows when.
    On,
    /// For a while, which is over within days.
    ForNow,
}

impl Needed {
    /// For how long each set of an instance is needed, in their order, judged as by [`Expired::by_policy`] but for locks. `None`: it goes, or stays
    /// because nobody says when it goes.
    #[must_use]
    pub fn by_policy(sets: &[BackupSet], damaged: &[String], days: Option<u32>, now: Timestamp) -> Vec<Option<Self>> {
        let of_weeks = newest_of_weeks(sets, damaged);
        let judge = |(set, stays): (&BackupSet, Option<Stays>)| match stays? {
            Stays::Until(at) => Some(Self::Until(at)),
            Stays::Last | Stays::OfItsWeek => Some(Self::On),
            Stays::Days(days) => {
                let kept = SignedDuration::from_hours(24 * i64::from(days));
                match set.started_at.checked_add(kept).unwrap_or(Timestamp::MAX) {
                    at if at > now => Some(Self::Until(at)),
                    _ if of_weeks.contains(&set.id.as_str()) => Some(Self::On),
                    // The next set lets it go, and is late only where it is not there in a day.
                    at => (now.duration_since(at) > DAY).then_some(Self::ForNow),
                }
            }
            // By the clock it is over, and retention keeps it: its lock need not.
            Stays::Locked(_) | Stays::OfNoPolicy | Stays::WithoutPolicy | Stays::NotShown(_) => None,
        };
        sets.iter().zip(stay(sets, damaged, days, now)).map(judge).collect()
    }

    /// Until when a lock is extended that ends, or has ended, at a moment, where the bucket locks for such a period: by one more, and never beyond
    /// what is needed. `None`: not now. What is left has to be less than a day, and less than half of the period, so that it is once a period.
    #[must_use]
    pub fn extension(self, ends: Timestamp, period: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let period = period.max(DAY);
        if ends.duration_since(now) >= DAY.min(period / 2) {
            return None;
        }
        let by = |more: SignedDuration| now.checked_add(more).unwrap_or(Timestamp::MAX);
        let until = match self {
            Self::Until(at) => at.min(by(period)),
            Self::On => by(period),
            Self::ForNow => by(period.min(DAY * 2)),
        };
        (until.as_second() > ends.as_second().max(now.as_second())).then_some(until)
    }
}

impl Expired {
    /// Judges all sets of an instance at a moment, in their order. The policy keeps automated sets for so many days, and never less than a week,
    /// counted back from the newest; `None` where none is in force. Of each week the newest automated set stays, and so the last one does: one in
    /// which a fault was found, or for which nobody vouches, whose id is among `damaged`, only where its week has no other. A manual set that has a
    /// time of its own goes when that is over, but for the last. All that only where the sets taken since show, too, that the time has passed.
    #[must_use]
    pub fn by_policy(
        sets: &[BackupSet],
        damaged: &[String],
        days: Option<u32>,
        now: Timestamp,
    ) -> Vec<Result<Self, Stays>> {
        let judge = |(set, stays): (&BackupSet, Option<Stays>)| match (set.locked_until, stays) {
            (Some(until), _) if until > now => Err(Stays::Locked(until)),
            (_, Some(stays)) => Err(stays),
            (_, None) => Ok(Self::on(set)),
        };
        sets.iter().zip(stay(sets, damaged, days, now)).map(judge).collect()
    }

    /// Judges a set of an instance, one with a time of its own that is over at a moment, by how long whoever asks has had it there before them, by a
    /// clock that nobody can set: all of its days, where the sets that were taken do not show them. `None`: it stays.
    #[must_use]
    pub fn after_watching(
        set: &BackupSet,
        sets: &[BackupSet],
        damaged: &[String],
        watched: SignedDuration,
        now: Timestamp,
    ) -> Option<Self> {
        let at = set.expires_at.filter(|at| *at <= now)?;
        let is_locked = set.locked_until.is_some_and(|until| until > now);
        let for_long = watched >= in_days(own_days(set, at));
        (for_long && !is_locked && !is_the_last(set, sets, damaged)).then(|| Self::on(set))
    }
}
