//! The names of the prefixes and keys that are told, of which only hashes are remembered: those that the first walk has kept, and the others by
//! a second walk.

use std::collections::{HashMap, HashSet};
use std::io;

use super::Options;
use super::collect::{Rdb, Stopped};
use super::error::{CompareError, Side};
use super::join::{Example, Joined};
use super::kept::{CHARACTERS_MAX, Kept, NAME_BYTES_MAX};
use super::record::{Databases, Keys, Place, prefix};
use crate::model::text::escaped;
use crate::redis::rdb::{EntryHead, Visitor, walk as walk_rdb};

/// What was found: names as they are shown.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) prefixes: HashMap<Place, String>,
    pub(super) keys: HashMap<(u64, u32), String>,
}

impl Names {
    /// Those of what is told that the first walks have kept.
    pub(super) fn kept(kept: &[Kept; 2], joined: &Joined, options: &Options<'_>) -> Self {
        let prefix_of = |place| kept.iter().find_map(|kept| kept.prefix(place));
        let named = |place| Some((place, shown(options, prefix_of(place)?)));
        let prefixes = joined.places.iter().filter_map(|(place, _)| named(*place)).collect();
        let told: HashSet<(u64, u32)> = joined.largest.iter().flatten().map(|(_, record)| record.id()).collect();
        let keys = kept.iter().flat_map(Kept::keys).filter(|key| told.contains(&key.id));
        Self { prefixes, keys: keys.map(|key| (key.id, shown(options, &key.name))).collect() }
    }

    /// These, and others.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.prefixes.extend(others.prefixes);
        self.keys.extend(others.keys);
        self
    }
}

/// A name as the state now has it, or would have it.
fn shown(options: &Options<'_>, name: &[u8]) -> String {
    let shown = options.prefix().iter().chain(name).copied().take(NAME_BYTES_MAX);
    escaped(&shown.collect::<Vec<_>>(), CHARACTERS_MAX)
}

/// What is to be found in one of the states.
struct Search<'a> {
    keys: &'a Keys,
    side: Side,
    options: &'a Options<'a>,
    dbs: Databases<'a>,
    /// Prefixes and first hashes of keys that were not met yet.
    places: HashSet<Place>,
    hashes: HashSet<u64>,
    found: Names,
}

/// Walks one state, for as long as there is something to be found beside what is known, and time for it.
pub(super) fn walk(
    rdb: Rdb<'_>,
    (joined, known): (&Joined, &Names),
    side: Side,
    keys: &Keys,
    options: &Options<'_>,
) -> Result<Names, CompareError> {
    let (places, hashes, found) = (HashSet::new(), HashSet::new(), Names::default());
    let mut search = Search { keys, side, options, dbs: Databases::of(keys), places, hashes, found };
    for (place, counts) in &joined.places {
        let in_now = counts.lost + counts.changed + counts.untouched > 0;
        let wanted = match side {
            // Of what has expired it is not known who has it.
            Side::Now => in_now || counts.added == 0,
            Side::Then => !in_now,
        };
        if wanted && !known.prefixes.contains_key(place) {
            search.places.insert(*place);
        }
    }
    let [lost, changed, added] = &joined.largest;
    let of = |keys: &[Example]| {
        let unknown = keys.iter().filter(|(_, record)| !known.keys.contains_key(&record.id()));
        unknown.map(|(_, record)| record.key).collect::<Vec<_>>()
    };
    match side {
        Side::Now => search.hashes.extend([of(lost), of(changed)].concat()),
        Side::Then => search.hashes.extend(of(added)),
    }
    if search.is_done() {
        return Ok(search.found);
    }
    match walk_rdb(rdb, (), &mut search) {
        Ok(_) => {}
        Err(source) if Stopped::is(&source) => {}
        Err(source) => return Err(CompareError::Rdb { side, source }),
    }
    Ok(search.found)
}

impl Search<'_> {
    fn is_done(&self) -> bool {
        self.places.is_empty() && self.hashes.is_empty()
    }
}

impl Visitor for &mut Search<'_> {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = false;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        if self.is_done() {
            return Err(io::Error::other(Stopped));
        }
        // What is not compared is not looked for.
        let Some(key) = self.options.name(self.side, head.key) else { return Ok(()) };
        let db = self.dbs.number(head.db);
        if !self.places.is_empty() {
            let place = self.keys.place(db, key);
            if self.places.remove(&place) {
                let name = shown(self.options, prefix(key).unwrap_or_default());
                self.found.prefixes.insert(place, name);
            }
        }
        if !self.hashes.is_empty() {
            let hash = self.keys.hash(db, key);
            if self.hashes.remove(&hash) {
                let name = shown(self.options, key);
                self.found.keys.insert((hash, self.keys.second_hash(db, key)), name);
            }
        }
        Ok(())
    }
}
