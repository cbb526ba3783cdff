//! The second walk: the names of the prefixes and keys that are told, of which only hashes are remembered.

use std::collections::{HashMap, HashSet};
use std::io;

use super::Options;
use super::collect::{Rdb, Stopped};
use super::error::{CompareError, Side};
use super::join::Joined;
use super::record::{Databases, Keys, Place, Record, prefix};
use crate::model::text::escaped;
use crate::redis::rdb::{EntryHead, Visitor, walk as walk_rdb};

/// Longest name that is shown, in characters.
const CHARACTERS_MAX: usize = 64;

/// What was found: names as they are shown.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) prefixes: HashMap<Place, String>,
    pub(super) keys: HashMap<(u64, u32), String>,
}

impl From<(Self, Self)> for Names {
    fn from((mut all, other): (Self, Self)) -> Self {
        all.prefixes.extend(other.prefixes);
        all.keys.extend(other.keys);
        all
    }
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

/// Walks one state, for as long as there is something to be found and time for it.
pub(super) fn walk(
    rdb: Rdb<'_>,
    joined: &Joined,
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
        if wanted {
            search.places.insert(*place);
        }
    }
    let [lost, changed, added] = &joined.largest;
    let of = |keys: &[(u64, Record)]| keys.iter().map(|(_, record)| record.key).collect::<Vec<_>>();
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

    /// A name as the state now has it, or would have it.
    fn shown(&self, name: &[u8]) -> String {
        // A character has four bytes at most; one more tells that the name goes on.
        let shown = self.options.prefix().iter().chain(name).copied().take(4 * (CHARACTERS_MAX + 1));
        escaped(&shown.collect::<Vec<_>>(), CHARACTERS_MAX)
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
                let name = self.shown(prefix(key).unwrap_or_default());
                self.found.prefixes.insert(place, name);
            }
        }
        if !self.hashes.is_empty() {
            let hash = self.keys.hash(db, key);
            if self.hashes.remove(&hash) {
                let name = self.shown(key);
                self.found.keys.insert((hash, self.keys.second_hash(db, key)), name);
            }
        }
        Ok(())
    }
}
