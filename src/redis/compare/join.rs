//! The join: what becomes of every key, counted by database and prefix, and the largest of each class.
//!
//! Counts are exact. Which prefixes are told is decided by a table of bounded size: while it has room for all it counts them; when it is full,
//! those with the fewest different keys go, and what is left at the end is counted once more from the start.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use foldhash::quality::RandomState;

use super::error::{CompareError, Side};
use super::partitions::{PARTS, Partitions};
use super::record::{Place, Record};
use crate::model::impact::KeyCounts;

/// Most prefixes that are told.
const ROWS_MAX: usize = 64;
/// Most keys of a class that are told.
const EXAMPLES_MAX: usize = 8;
/// Parts with fewer keys are not worth a thread.
const ALONE_BELOW: u64 = 1024;

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
            (Some(now), None) if now.stays() && now.lasts() => Self::Untouched,
            (Some(now), None) if now.lasts() => Self::Lost,
            (None, Some(then)) if then.lasts() => Self::Added,
            // What is in one of them alone has only expired since.
            _ => Self::Expired,
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
    /// The largest keys that are lost, changed and added.
    pub(super) largest: [Vec<Example>; 3],
    /// Of all keys, rounded down.
    pub(super) compared_percent: u64,
    /// There was no time to count those by prefix.
    pub(super) places_missing: bool,
}

/// A key that is told: its size, and whether its name is known; those that come first are greater.
pub(super) type Example = ((u64, bool), Record);

/// When to stop.
pub(super) type Over<'a> = dyn Fn() -> bool + 'a;
/// Whether the name of a key is known.
pub(super) type Known<'a> = dyn Fn(&Record) -> bool + 'a;

/// Joins the two sides, the state now and the one to come, until the time is over. Of equally large keys those are told whose names are `known`.
pub(super) fn join(sides: &[Partitions; 2], known: &Known<'_>, over: &Over<'_>) -> Result<Joined, CompareError> {
    let [now, _] = sides;
    let mut places = Places { counts: HashMap::default(), room: now.bounds.places, crowded: false };
    let (mut total, mut largest) = (Vec::<KeyCounts>::new(), [const { Vec::new() }; 3]);
    let done = each(sides, u64::MAX, over, |now, then| {
        let Some(record) = now.or(then) else { return };
        let (class, place) = (Class::of(now, then), record.place());
        let db = place.db() as usize;
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
            Class::Lost => keep(lost, record.bytes(), record, known),
            Class::Changed => keep(changed, record.bytes().max(then.map_or(0, Record::bytes)), record, known),
            // The state now may have it too, expired, and another size.
            Class::Added => keep(added, then.map_or(0, Record::bytes), record, known),
            Class::Untouched | Class::Expired => {}
        }
    })?;
    let all = (0..PARTS).flat_map(|part| sides.iter().map(move |side| side.count(part))).sum::<u64>();
    let compared_percent = (done.keys * 100).checked_div(all).unwrap_or(100);
    let places = match places.chosen() {
        (chosen, false) => Some(chosen),
        (chosen, true) => recount(sides, done, over, chosen)?,
    };
    let places_missing = places.is_none();
    Ok(Joined { total, places: places.unwrap_or_default(), largest, compared_percent, places_missing })
}

/// Counts the keys of some prefixes from the start. `None`: there was no time for that.
fn recount(
    sides: &[Partitions; 2],
    before: Done,
    over: &Over<'_>,
    chosen: Vec<(Place, KeyCounts)>,
) -> Result<Option<Vec<(Place, KeyCounts)>>, CompareError> {
    let mut counts: HashMap<Place, KeyCounts, RandomState> =
        chosen.into_iter().map(|(place, _)| (place, KeyCounts::default())).collect();
    let done = each(sides, before.passes, over, |now, then| {
        if let Some(counts) = now.or(then).and_then(|record| counts.get_mut(&record.place())) {
            Class::of(now, then).count_in(counts);
        }
    })?;
    Ok((done == before).then(|| counts.into_iter().collect()))
}

/// Keeps a key that is among the largest, which are in order.
fn keep(largest: &mut Vec<Example>, bytes: u64, record: &Record, known: &Known<'_>) {
    let least = largest.get(EXAMPLES_MAX - 1).map(|(size, _)| *size);
    // Most are not asked whether their names are known.
    if least.is_some_and(|least| least >= (bytes, true)) {
        return;
    }
    let size = (bytes, known(record));
    if least.is_none_or(|least| least < size) {
        largest.truncate(EXAMPLES_MAX - 1);
        let at = largest.partition_point(|(other, _)| *other >= size);
        largest.insert(at, (size, *record));
    }
}

/// What there was time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Done {
    /// Ranges of parts.
    passes: u64,
    /// Keys of both sides in these.
    keys: u64,
}

/// Keys that are read back together: those of one range of a part.
#[derive(Clone, Copy)]
struct Pass {
    part: usize,
    range: u64,
    bits: u32,
}

/// All passes, in order.
fn passes_of<'s>([now, then]: [&'s Partitions; 2]) -> impl Iterator<Item = Pass> + Clone + Send + 's {
    (0..PARTS).flat_map(move |part| {
        let most = now.count(part).max(then.count(part));
        // A part that is larger than memory is read more than once, each time for the keys of one range.
        let bits = match most.div_ceil(now.bounds.held as u64) {
            0 | 1 => 0,
            // Ranges are not quite equally full.
            passes => (passes + 1).next_power_of_two().ilog2(),
        };
        (0..1_u64 << bits).map(move |range| Pass { part, range, bits })
    })
}

/// Reads back the keys of one side, in order.
fn load(side: Side, of: &Partitions, Pass { part, range, bits }: Pass) -> Result<Vec<Record>, CompareError> {
    let mut held = Vec::with_capacity(usize::try_from(of.count(part) >> bits).unwrap_or_default());
    let failed = |source| CompareError::File { dir: of.dir().clone(), source };
    of.load(part, range, bits, &mut held).map_err(failed)?;
    let is_twice = held.array_windows().any(|[a, b]: &[Record; 2]| a.id() == b.id());
    if is_twice { Err(CompareError::Twice { side }) } else { Ok(held) }
}

/// One side, read back a pass ahead by a thread of its own.
struct Ahead<'s> {
    side: Side,
    of: &'s Partitions,
    /// What the thread has read; `None` where there is none.
    loaded: Option<Receiver<Result<Vec<Record>, CompareError>>>,
}

impl<'s> Ahead<'s> {
    fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        (side, of): (Side, &'s Partitions),
        passes: impl Iterator<Item = Pass> + Send + 'scope,
    ) -> Self
    where
        's: 'scope,
    {
        // One more pass is held than the one that is joined: the thread waits with it.
        let (give, loaded) = sync_channel(0);
        let thread = std::thread::Builder::new().name("compare".to_owned());
        let spawned = thread.spawn_scoped(scope, move || {
            for pass in passes {
                if give.send(load(side, of, pass)).is_err() {
                    break;
                }
            }
        });
        // One after the other is slower, and no reason to fail.
        Self { side, of, loaded: spawned.is_ok().then_some(loaded) }
    }

    fn next(&self, pass: Pass) -> Result<Vec<Record>, CompareError> {
        let ahead = self.loaded.as_ref().and_then(|loaded| loaded.recv().ok());
        ahead.unwrap_or_else(|| load(self.side, self.of, pass))
    }
}

/// Calls `on` with every key of the first passes, as either side has it.
fn each(
    sides: &[Partitions; 2],
    passes: u64,
    over: &Over<'_>,
    mut on: impl FnMut(Option<&Record>, Option<&Record>),
) -> Result<Done, CompareError> {
    let [now, then] = sides;
    let few = (0..PARTS).all(|part| now.count(part).max(then.count(part)) < ALONE_BELOW);
    std::thread::scope(|scope| {
        let ahead = |side, of| match few {
            true => Ahead { side, of, loaded: None },
            false => Ahead::begin(scope, (side, of), passes_of([now, then])),
        };
        let [now_ahead, then_ahead] = [ahead(Side::Now, now), ahead(Side::Then, then)];
        let mut done = Done { passes: 0, keys: 0 };
        for pass in passes_of([now, then]) {
            if done.passes == passes || over() {
                break;
            }
            let (held_now, held_then) = (now_ahead.next(pass)?, then_ahead.next(pass)?);
            merge(&held_now, &held_then, &mut on);
            done.passes += 1;
            done.keys += (held_now.len() + held_then.len()) as u64;
        }
        Ok(done)
    })
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

#[cfg(test)]
mod tests {
    //! Whenever the time is over, the counts are of the share that is told, and of prefixes there are whole counts or none.
    use super::join;
    use crate::model::impact::KeyCounts;
    use crate::redis::compare::partitions::{Bounds, Partitions};
    use crate::redis::compare::record::Keys;
    use crate::redis::rdb::contents::Value;
    use std::cell::Cell;

    const KEYS: u64 = 6000;

    /// A state of keys of which some prefixes have many.
    fn side(keys: &Keys, bounds: Bounds, dir: &std::path::Path, number: u64) -> Partitions {
        let mut side = Partitions::new(dir.into(), bounds);
        for n in 0..KEYS {
            let key = if n % 2 == 0 { format!("p{}:{n}", n % 6) } else { format!("k{n}:") };
            let value = Value { number, bytes: 1, expires_ms: None };
            side.push(keys.complete(keys.begin(0, key.as_bytes()), value, None, [0; 2])).unwrap();
        }
        side
    }

    #[test]
    fn the_time_may_be_over_at_any_pass() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { block: 8, held: 10, places: 100, ..Bounds::USUAL };
        let keys = Keys::random();
        let sides = [1, 2].map(|number| side(&keys, bounds, dir.path(), number));
        let ended_after = |most: u64| {
            let asked = Cell::new(0);
            let over = || {
                asked.set(asked.get() + 1);
                asked.get() > most
            };
            (join(&sides, &|_| false, &over).unwrap(), asked.get())
        };
        let (whole, asked) = ended_after(u64::MAX);
        assert_eq!((whole.compared_percent, whole.places_missing), (100, false));
        assert_eq!(whole.places.iter().filter(|(_, counts)| counts.changed == KEYS / 6).count(), 3);
        assert!(asked > 2 * 256, "parts are read in several passes, and all twice: {asked}");
        let (mut partly, mut named) = (0, 0);
        for most in (0..asked).step_by(37).chain([asked / 2, asked - 1, asked]) {
            let (joined, _) = ended_after(most);
            let changed = joined.total.iter().map(|counts| counts.changed).sum::<u64>();
            let total = joined.total.iter().fold(KeyCounts::default(), |sum, counts| sum.plus(*counts));
            assert_eq!(total, KeyCounts { changed, ..KeyCounts::default() });
            assert_eq!(changed * 100 / KEYS, joined.compared_percent, "after {most} of {asked}");
            partly += u64::from((1..100).contains(&joined.compared_percent));
            // The recount asks as often as the join did before it.
            if joined.compared_percent == 100 && most < asked {
                assert!(joined.places_missing && joined.places.is_empty(), "after {most} of {asked}");
            }
            named += u64::from(!joined.places.is_empty());
            assert!(joined.places.iter().all(|(_, counts)| counts.changed <= changed.min(KEYS / 6)));
        }
        assert!(partly > 15 && named > 0, "{partly} {named}");
    }
}
