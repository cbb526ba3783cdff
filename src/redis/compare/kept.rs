//! Names that the first walk of a state keeps as it goes by, so that most comparisons need no second one: how each prefix is written, and the
//! largest keys of each.
//!
//! What is kept is bounded, and may be less than what is told in the end: for the rest the states are walked again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use foldhash::quality::RandomState;

use super::record::{Place, Record, prefix};

/// Most databases and prefixes of which anything is kept.
const PLACES_MAX: usize = 4096;
/// Most keys of one prefix. Of a class that a hundredth of the prefix's keys are in, there are most likely enough among so many.
const KEYS_OF_PLACE_MAX: usize = 1024;
/// Most keys in all.
const KEYS_MAX: usize = 16 * 1024;
/// Longest name that is shown, in characters.
pub(super) const CHARACTERS_MAX: usize = 64;
/// Bytes of a name that are kept. A character has four at most; one more tells that the name goes on.
pub(super) const NAME_BYTES_MAX: usize = 4 * (CHARACTERS_MAX + 1);

/// A key, ordered by its size.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeptKey {
    bytes: u64,
    /// See [`Record::id`].
    pub(super) id: (u64, u32),
    pub(super) name: Box<[u8]>,
}

/// What is kept of one prefix.
#[derive(Debug)]
struct OfPlace {
    prefix: Box<[u8]>,
    /// The smallest of them first.
    largest: BinaryHeap<Reverse<KeptKey>>,
}

/// What is kept of one state.
#[derive(Debug, Default)]
pub(super) struct Kept {
    places: HashMap<Place, OfPlace, RandomState>,
    keys: usize,
}

impl Kept {
    /// A key goes by; `name` is its name, of which [`NAME_BYTES_MAX`] are enough.
    #[inline]
    pub(super) fn add(&mut self, record: &Record, name: &[u8]) {
        let place = record.place();
        match self.places.get_mut(&place) {
            Some(of) => {
                let full = of.largest.len() >= KEYS_OF_PLACE_MAX || self.keys >= KEYS_MAX;
                if full && of.largest.peek().is_none_or(|Reverse(least)| record.bytes() <= least.bytes) {
                    return;
                }
                if full {
                    of.largest.pop();
                } else {
                    self.keys += 1;
                }
                of.largest.push(Reverse(key(record, name)));
            }
            None => self.begin(place, record, name),
        }
    }

    #[cold]
    fn begin(&mut self, place: Place, record: &Record, name: &[u8]) {
        if self.places.len() >= PLACES_MAX {
            return;
        }
        let mut of = OfPlace { prefix: prefix(name).unwrap_or_default().into(), largest: BinaryHeap::new() };
        if self.keys < KEYS_MAX {
            self.keys += 1;
            of.largest.push(Reverse(key(record, name)));
        }
        self.places.insert(place, of);
    }

    /// All keys that are kept.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeptKey> {
        self.places.values().flat_map(|of| of.largest.iter().map(|Reverse(key)| key))
    }

    /// How a prefix is written.
    pub(super) fn prefix(&self, place: Place) -> Option<&[u8]> {
        self.places.get(&place).map(|of| &*of.prefix)
    }
}

fn key(record: &Record, name: &[u8]) -> KeptKey {
    KeptKey { bytes: record.bytes(), id: record.id(), name: name.into() }
}

#[cfg(test)]
mod tests {
    //! The largest of each prefix are kept, of equal ones the first, and no more than there is room for.
    use super::{KEYS_MAX, KEYS_OF_PLACE_MAX, Kept, PLACES_MAX};
    use crate::redis::compare::record::Keys;
    use crate::redis::rdb::contents::Value;

    #[test]
    fn the_largest_of_each_prefix() {
        let (keys, mut kept) = (Keys::random(), Kept::default());
        let add = |kept: &mut Kept, name: &str, bytes: u64| {
            let value = Value { number: 1, bytes, expires_ms: None };
            kept.add(&keys.complete(keys.begin(0, name.as_bytes()), value, None, [0; 2]), name.as_bytes());
        };
        let most = KEYS_OF_PLACE_MAX as u64;
        for n in 0..3 * most {
            add(&mut kept, &format!("a:{n}"), n % (2 * most));
            add(&mut kept, &format!("same:{n}"), 7);
        }
        let of = |kept: &Kept, prefix: &str| -> Vec<(u64, u64)> {
            let number = |name: &[u8]| std::str::from_utf8(name).ok()?.strip_prefix(prefix)?.parse::<u64>().ok();
            let mut found: Vec<_> = kept.keys().filter_map(|key| Some((key.bytes, number(&key.name)?))).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(of(&kept, "a:"), (most..2 * most).map(|n| (n, n)).collect::<Vec<_>>());
        assert_eq!(of(&kept, "same:"), (0..most).map(|n| (7, n)).collect::<Vec<_>>());
        for n in 0..2 * PLACES_MAX {
            for m in 0..4 {
                add(&mut kept, &format!("p{n}:{m}"), m);
            }
        }
        assert_eq!((kept.places.len(), kept.keys, kept.keys().count()), (PLACES_MAX, KEYS_MAX, KEYS_MAX));
    }
}
