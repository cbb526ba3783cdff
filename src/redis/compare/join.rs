//! The join: what becomes of every key, counted by database and prefix, and the largest of each class.
//!
//! Counts are exact. Which prefixes are told is decided by a table of bounded size: while it has room for all it counts them; when it is full,
//! those with the fewest different keys go, and what is left at the end is counted once more from the start.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::collect::Ends;
use super::error::{CompareError, Side};
use super::partitions::{PARTS, Partitions};
use super::record::{Place, Record};
use crate::model::impact::KeyCounts;

/// Most prefixes that are told.
const ROWS_MAX: usize = 64;
/// Most keys of a class that are told.
const EXAMPLES_MAX: usize = 8;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Added,
    Lost,
    Changed,
    Untouched,
    Expired,
}

impl Class {
    fn of(now: Option<&Record>, then: Option<&Record>) -> Self {
        match (now.filter(|r| r.is_there()), then.filter(|r| r.is_there())) {
            (Some(now), Some(then)) if now.value == then.value => Self::Untouched,
            (Some(_), Some(_)) => Self::Changed,
            (Some(_), None) => Self::Lost,
            (None, Some(_)) => Self::Added,
            (None, None) => Self::Expired,
        }
    }

    const fn count_in(self, counts: &mut KeyCounts) {
        let count = match self {
            Self::Added => &mut counts.added,
            Self::Lost => &mut counts.lost,
            Self::Changed => &mut counts.changed,
            Self::Untouched => &mut counts.untouched,
            Self::Expired => &mut counts.expired,
        };
        *count += 1;
    }
}

/// What is to be told, without names.
#[derive(Debug)]
pub(super) struct Joined {
    /// All keys, by the number of their database.
    pub(super) total: Vec<KeyCounts>,
    /// Those by prefix.
    pub(super) places: Vec<(Place, KeyCounts)>,
    /// The largest keys that are lost, changed and added, each with its size.
    pub(super) largest: [Vec<(u64, Record)>; 3],
    /// Of all keys, rounded down.
    pub(super) compared_percent: u64,
}

/// Joins the two sides: the state now, and the one to come.
pub(super) fn join(sides: &[Partitions; 2], ends: &Ends) -> Result<Joined, CompareError> {
    let [now, _] = sides;
    let mut places = Places { counts: HashMap::default(), room: now.bounds.places, crowded: false };
    let (mut total, mut largest) = (Vec::<KeyCounts>::new(), [const { Vec::new() }; 3]);
    let done = each(sides, PARTS, ends, |now, then| {
        let Some(record) = now.or(then) else { return };
        let (class, place) = (Class::of(now, then), record.place());
        let db = usize::from(place.db());
        if total.len() <= db {
            total.resize(db + 1, KeyCounts::default());
        }
        if let Some(counts) = total.get_mut(db) {
            class.count_in(counts);
        }
        if place.has_prefix() {
            places.count(place, class);
        }
        let [lost, changed, added] = &mut largest;
        match class {
            Class::Lost => keep(lost, record.bytes(), record),
            Class::Changed => keep(changed, record.bytes().max(then.map_or(0, Record::bytes)), record),
            // The state now may have it too, expired, and another size.
            Class::Added => keep(added, then.map_or(0, Record::bytes), record),
            Class::Untouched | Class::Expired => {}
        }
    })?;
    let keys = |parts| (0..parts).flat_map(|part| sides.iter().map(move |side| side.count(part))).sum::<u64>();
    let compared_percent = (keys(done) * 100).checked_div(keys(PARTS)).unwrap_or(100);
    let places = match places.chosen() {
        (chosen, false) => chosen,
        (chosen, true) => recount(sides, done, ends, chosen)?,
    };
    Ok(Joined { total, places, largest, compared_percent })
}

/// Counts the keys of some prefixes from the start. None of them, where there is no time for that.
fn recount(
    sides: &[Partitions; 2],
    parts: usize,
    ends: &Ends,
    chosen: Vec<(Place, KeyCounts)>,
) -> Result<Vec<(Place, KeyCounts)>, CompareError> {
    let mut counts: HashMap<Place, KeyCounts, RandomState> =
        chosen.into_iter().map(|(place, _)| (place, KeyCounts::default())).collect();
    let done = each(sides, parts, ends, |now, then| {
        if let Some(counts) = now.or(then).and_then(|record| counts.get_mut(&record.place())) {
            Class::of(now, then).count_in(counts);
        }
    })?;
    Ok(if done == parts { counts.into_iter().collect() } else { Vec::new() })
}

/// Keeps a key that is among the largest, which are in order.
fn keep(largest: &mut Vec<(u64, Record)>, bytes: u64, record: &Record) {
    if largest.len() < EXAMPLES_MAX || largest.last().is_some_and(|(least, _)| *least < bytes) {
        largest.truncate(EXAMPLES_MAX - 1);
        let at = largest.partition_point(|(other, _)| *other >= bytes);
        largest.insert(at, (bytes, *record));
    }
}

/// Calls `on` with every key of the first parts, as either side has it. Returns how many parts there was time for.
fn each(
    sides: &[Partitions; 2],
    parts: usize,
    ends: &Ends,
    mut on: impl FnMut(Option<&Record>, Option<&Record>),
) -> Result<usize, CompareError> {
    let [now, then] = sides;
    let (mut held_now, mut held_then) = (Vec::new(), Vec::new());
    for part in 0..parts {
        if ends.here() {
            return Ok(part);
        }
        let most = now.count(part).max(then.count(part));
        // A part that is larger than memory is read more than once, each time for the keys of one range.
        let bits = match most.div_ceil(now.bounds.held as u64) {
            0 | 1 => 0,
            // Ranges are not quite equally full.
            passes => (passes + 1).next_power_of_two().ilog2(),
        };
        for range in 0..1_u64 << bits {
            for (side, of, held) in [(Side::Now, now, &mut held_now), (Side::Then, then, &mut held_then)] {
                let failed = |source| CompareError::File { dir: of.dir().clone(), source };
                of.load(part, range, bits, held).map_err(failed)?;
                if held.array_windows().any(|[a, b]: &[Record; 2]| a.id() == b.id()) {
                    return Err(CompareError::Twice { side });
                }
            }
            merge(&held_now, &held_then, &mut on);
        }
    }
    Ok(parts)
}

/// Calls `on` with the keys of two sides, both in order.
fn merge(now: &[Record], then: &[Record], on: &mut impl FnMut(Option<&Record>, Option<&Record>)) {
    let (mut now, mut then) = (now.iter().peekable(), then.iter().peekable());
    loop {
        let order = match (now.peek(), then.peek()) {
            (Some(a), Some(b)) => a.id().cmp(&b.id()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return,
        };
        on(if order.is_le() { now.next() } else { None }, if order.is_ge() { then.next() } else { None });
    }
}

/// Counts by database and prefix.
struct Places {
    counts: HashMap<Place, KeyCounts, RandomState>,
    room: usize,
    /// Whether some had to go, so that counts are no longer whole.
    crowded: bool,
}

impl Places {
    #[inline]
    fn count(&mut self, place: Place, class: Class) {
        if let Some(counts) = self.counts.get_mut(&place) {
            class.count_in(counts);
        } else {
            self.add(place, class);
        }
    }

    #[cold]
    fn add(&mut self, place: Place, class: Class) {
        if self.counts.len() >= self.room {
            self.crowded = true;
            let mut different: Vec<u64> = self.counts.values().map(KeyCounts::different).collect();
            let (_, median, _) = different.select_nth_unstable(self.room / 2);
            let (median, mut ties) = (*median, self.room / 4);
            self.counts.retain(|_, counts| match counts.different().cmp(&median) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Equal => {
                    let stays = ties > 0;
                    ties = ties.saturating_sub(1);
                    stays
                }
            });
        }
        // Where counts are not whole anyway, only what differs makes a prefix worth its place.
        if !self.crowded || !matches!(class, Class::Untouched | Class::Expired) {
            class.count_in(self.counts.entry(place).or_default());
        }
    }

    /// The prefixes with the most different keys; and whether their counts are not whole.
    fn chosen(self) -> (Vec<(Place, KeyCounts)>, bool) {
        let told = |counts: &KeyCounts| counts.different() + counts.expired > 0;
        let mut all: Vec<_> = self.counts.into_iter().filter(|(_, counts)| told(counts)).collect();
        all.sort_unstable_by_key(|(_, counts)| std::cmp::Reverse((counts.different(), counts.expired)));
        if all.len() > ROWS_MAX {
            all.truncate(ROWS_MAX);
            // One key among many that are each alone says nothing of the others.
            all.retain(|(_, counts)| counts.different() > 1);
        }
        (all, self.crowded)
    }
}
