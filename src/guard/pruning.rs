//! The verdicts of pruning by hand: on every set of an instance, that no rule of a person's keeps it, or why it stays.
//!
//! It must not ask for the time, and gives no right to delete: only a yes to the very sets does. What is listed is judged alone: whoever
//! deletes looks whether a plan, a job, a restore that may be undone or the log needs a set.

use crate::guard::retention::is_of_a_policy;
use crate::model::backup::{BackupSet, Mode};
use crate::model::pruning::{Keep, hours};
use crate::model::time::written;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::fmt;

/// Why a set stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// The policy had it taken, and retention lets it go.
    OfThePolicy,
    /// Nobody says who asked for it.
    OfNobody,
    /// Sets of its mode are not pruned now.
    NotAskedFor,
    /// Nobody may delete it before.
    Locked(Timestamp),
    /// Fewer than so many sound sets of its mode are newer.
    AmongTheLast(u32),
    /// It is no more than so many hours older than the newest sound set.
    Within(u32),
    /// No sound set stands in for it.
    Last,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfThePolicy => f.write_str("taken by the policy, whose retention lets it go"),
            Self::OfNobody => f.write_str("nobody says who asked for it"),
            Self::NotAskedFor => f.write_str("of a mode that is not pruned now"),
            Self::Locked(until) => write!(f, "retained: locked until {}", written(*until)),
            Self::AmongTheLast(1) => f.write_str("keep-last 1: no sound set of its mode is newer"),
            Self::AmongTheLast(n) => write!(f, "keep-last {n}: fewer than {n} sound sets of its mode are newer"),
            Self::Within(n) => {
                let within = hours(*n);
                write!(f, "keep-within {within}: no more than that older than the newest sound set")
            }
            Self::Last => f.write_str("the last good set: nothing stands in for it"),
        }
    }
}

/// When a set began, and between two of one moment an order that is always the same.
type Begun<'a> = (Timestamp, &'a str);

fn begun(set: &BackupSet) -> Begun<'_> {
    (set.started_at, set.id.as_str())
}

/// Where the last so many sets of a mode begin; `None`: there are fewer.
fn last_begin<'a>(sound: &[&'a BackupSet], mode: Mode, n: u32) -> Option<Begun<'a>> {
    let mut of_it: Vec<Begun<'a>> = sound.iter().copied().filter(|set| set.mode == mode).map(begun).collect();
    of_it.sort_unstable_by_key(|begun| Reverse(*begun));
    let nth = usize::try_from(n.max(1)).unwrap_or(usize::MAX).saturating_sub(1);
    of_it.get(nth).copied()
}

/// What is known of an instance's sets when one of them is judged.
struct Judge<'a> {
    sets: &'a [BackupSet],
    damaged: &'a [String],
    keep: &'a Keep,
    now: Timestamp,
    /// Where the last manual sets begin that are kept by their number; `None`: there are fewer.
    last_manual: Option<Begun<'a>>,
    /// Where the last safety sets do.
    last_safety: Option<Begun<'a>>,
    /// The moment from which on sets stay by the rule of hours; `None`: there is none.
    within_begins: Option<Timestamp>,
}

impl<'a> Judge<'a> {
    fn new(sets: &'a [BackupSet], damaged: &'a [String], keep: &'a Keep, now: Timestamp) -> Self {
        // What is of a clock that was ahead says nothing of now.
        let says_something = |set: &&BackupSet| set.started_at <= now && !damaged.contains(&set.id);
        let sound: Vec<&'a BackupSet> = sets.iter().filter(says_something).collect();
        // Back from the newest sound set, whoever asked for that, and not from now: where backups fail nothing goes that no later set stands in for,
        // and nothing by the clock of this moment. It may be of a clock that was ahead then: whoever is asked sees each set that goes, and when it began.
        let newest = sound.iter().map(|set| set.started_at).max();
        let back = |newest: Timestamp| {
            newest.checked_sub(SignedDuration::from_hours(i64::from(keep.within_hours.unwrap_or_default()))).ok()
        };
        let last = |mode: Mode| last_begin(&sound, mode, keep.last.unwrap_or_default());
        Self {
            sets,
            damaged,
            keep,
            now,
            last_manual: last(Mode::Manual),
            last_safety: last(Mode::Safety),
            within_begins: newest.and_then(back),
        }
    }

    fn is_sound(&self, set: &BackupSet) -> bool {
        !self.damaged.contains(&set.id)
    }

    /// Whether a set is the last that would bring its instance back. For one that somebody asked for a sound one stands in that is newer, and is kept by
    /// a policy or was asked for, too; for one of before a restore any such one does, or a newer one of its own mode; and where a fault was found in the
    /// set, their age does not matter. The newest that stands in for others is never one that goes.
    fn is_the_last(&self, set: &BackupSet) -> bool {
        let is_sound = self.is_sound(set);
        let stands_in = |other: &BackupSet| {
            let newer = !is_sound || begun(other) > begun(set);
            let lasts = other.mode == Mode::Manual || is_of_a_policy(other);
            let of_both = set.mode == Mode::Safety;
            let may = (lasts && (newer || of_both)) || (of_both && other.mode == Mode::Safety && newer);
            may && other.id != set.id && self.is_sound(other)
        };
        !self.sets.iter().any(stands_in)
    }

    /// Why a set stays; `None`: it goes.
    fn stays(&self, set: &BackupSet) -> Option<Stays> {
        match set.mode {
            Mode::Automated => return Some(Stays::OfThePolicy),
            Mode::Unknown => return Some(Stays::OfNobody),
            mode if !self.keep.of.hold(mode) || self.keep.has_no_rule() => return Some(Stays::NotAskedFor),
            Mode::Manual | Mode::Safety => {}
        }
        if let Some(until) = set.locked_until.filter(|until| *until > self.now) {
            return Some(Stays::Locked(until));
        }
        // One in which a fault was found counts for none of them, and stays with them: the fault may be lifted.
        let last = if set.mode == Mode::Safety { self.last_safety } else { self.last_manual };
        let is_among = last.is_none_or(|from| begun(set) >= from);
        let is_within = self.within_begins.is_none_or(|from| set.started_at >= from);
        let by_number = self.keep.last.filter(|_| is_among).map(Stays::AmongTheLast);
        by_number
            .or_else(|| self.keep.within_hours.filter(|_| is_within).map(Stays::Within))
            .or_else(|| self.is_the_last(set).then_some(Stays::Last))
    }
}

/// Why each set of an instance stays at a moment by a person's rules, in their order. `None`: it goes. In those whose ids are among `damaged` a fault
/// was found, or nobody vouches for them: they stand in for no other.
#[must_use]
pub fn prune(sets: &[BackupSet], damaged: &[String], keep: &Keep, now: Timestamp) -> Vec<Option<Stays>> {
    let judge = Judge::new(sets, damaged, keep, now);
    sets.iter().map(|set| judge.stays(set)).collect()
}
