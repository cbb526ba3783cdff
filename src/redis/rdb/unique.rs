//! What may be in an RDB only once: keys within a database, members within a container, groups and consumers within a stream, function
//! libraries. A server that meets one twice exits, or holds what ends it later.
//!
//! Each is remembered as 64 bits under a random key. Where two agree, the RDB is walked again, and only what is really the same is
//! refused: a coincidence never refuses a good set. Memory is bounded; beyond it numbers go to a nameless file.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};
use std::io;
use std::path::PathBuf;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use sha2::{Digest as _, Sha256};

use super::source::{AT_ONCE_MAX, Hashing};
use super::spill::Spill;

/// Numbers of the containers that are open, before they go to the spill: 512 KiB.
const LOCAL_MAX: usize = 64 * 1024;
/// Most suspects of one walk. With a random key a coincidence is one in billions of pairs, so that of more than a few nearly all are real, and
/// one that is real is enough.
const SUSPECTS_MAX: usize = 64 * 1024;

/// Of what kind the names of a group are, which is part of their hash.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Keys,
    Members,
    Libraries,
}

/// Among which names a name may be there once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    kind: Kind,
    of: u64,
}

impl Scope {
    /// The function libraries.
    pub(super) const LIBRARIES: Self = Self { kind: Kind::Libraries, of: 0 };

    /// The keys of a database.
    pub(super) const fn keys(db: u64) -> Self {
        Self { kind: Kind::Keys, of: db }
    }

    /// What the scope adds to a digest.
    fn head(self) -> [u8; 9] {
        let [a, b, c, d, e, f, g, h] = self.of.to_le_bytes();
        [self.kind as u8, a, b, c, d, e, f, g, h]
    }
}

/// A name as it is remembered.
#[derive(Debug)]
pub(super) struct Name {
    number: u64,
    /// Of a suspect, in a second walk.
    digest: Option<Box<[u8; 32]>>,
}

/// A name that comes in parts.
#[derive(Debug)]
pub(super) struct LongName {
    short: DefaultHasher,
    long: Option<Sha256>,
}

impl LongName {
    fn write(&mut self, part: &[u8]) {
        self.short.write(part);
        if let Some(long) = &mut self.long {
            long.update(part);
        }
    }
}

/// What a walk found out about things that may be there only once, and what a second walk is to look at.
#[derive(Debug)]
pub struct Unique {
    /// The key of long names' hashes, of which short names' key is made.
    hash: RandomState,
    seed: u64,
    shared_seed: SharedSeed,
    spill: Spill,
    /// Hashes of the containers that are open, the innermost last.
    local: Vec<u64>,
    /// Of a group that is closed, the numbers by their first bits: at most 1 MiB.
    table: Vec<u64>,
    /// How often `local` went to the spill.
    spills: u64,
    /// Groups opened so far; numbers them, the same in every walk of the same RDB.
    groups: u64,
    suspects: Vec<u64>,
    confirming: Option<Confirming>,
}

/// A second walk.
#[derive(Debug)]
struct Confirming {
    /// Ascending.
    suspects: Vec<u64>,
    /// Digests of the suspects met: one of each, for the second of the same ends the walk.
    seen: HashSet<[u8; 32]>,
}

impl Confirming {
    fn suspects(&self, number: u64) -> bool {
        self.suspects.binary_search(&number).is_ok()
    }

    fn is_first(&mut self, name: Name) -> bool {
        name.digest.is_none_or(|digest| self.seen.insert(*digest))
    }
}

/// The names of one container: only among themselves must they differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    id: u64,
    from: usize,
    spills: u64,
}

impl Group {
    pub(super) const fn scope(self) -> Scope {
        Scope { kind: Kind::Members, of: self.id }
    }
}

/// Hashes the names of one scope.
pub(super) struct Within<'a> {
    unique: &'a Unique,
    scope: Scope,
}

impl Hashing for Within<'_> {
    type Long = LongName;
    type Hash = Name;

    #[inline]
    fn whole(&self, name: &[u8]) -> Name {
        let Self { unique, scope } = self;
        if name.len() > AT_ONCE_MAX {
            let mut long = self.begin();
            long.write(name);
            return self.end(long);
        }
        let mut hash = FoldHasher::with_seed(unique.seed, &unique.shared_seed);
        hash.write_u8(scope.kind as u8);
        hash.write_u64(scope.of);
        hash.write(name);
        let number = hash.finish();
        let digest = unique.confirming.as_ref().and_then(|confirming| {
            confirming
                .suspects(number)
                .then(|| Box::new(Sha256::new().chain_update(scope.head()).chain_update(name).finalize().into()))
        });
        Name { number, digest }
    }

    fn begin(&self) -> LongName {
        let long = self.unique.confirming.as_ref().map(|_| Sha256::new());
        let mut long = LongName { short: self.unique.hash.build_hasher(), long };
        long.write(&self.scope.head());
        long
    }

    fn write(&self, long: &mut LongName, part: &[u8]) {
        long.write(part);
    }

    fn end(&self, name: LongName) -> Name {
        let number = name.short.finish();
        let suspect = self.unique.confirming.as_ref().is_some_and(|confirming| confirming.suspects(number));
        let digest = name.long.filter(|_| suspect).map(|long| Box::new(long.finalize().into()));
        Name { number, digest }
    }
}

impl Unique {
    /// Knows nothing yet. `dir` is where the nameless file is made, if one is needed.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let hash = RandomState::new();
        Self {
            seed: hash.hash_one(0),
            shared_seed: SharedSeed::from_u64(hash.hash_one(1)),
            hash,
            spill: Spill::new(dir),
            local: Vec::new(),
            table: Vec::new(),
            spills: 0,
            groups: 0,
            suspects: Vec::new(),
            confirming: None,
        }
    }

    /// Ends a walk. True: the same RDB has to be walked once more, with this, and what is there twice is then an error of that walk.
    ///
    /// # Errors
    /// Those of the file.
    pub fn needs_second_walk(&mut self) -> io::Result<bool> {
        let suspects = &mut self.suspects;
        self.spill.equals(|number| {
            suspects.push(number);
            suspects.len() < SUSPECTS_MAX
        })?;
        let mut suspects = std::mem::take(&mut self.suspects);
        suspects.sort_unstable();
        suspects.dedup();
        let needed = !suspects.is_empty();
        self.confirming = Some(Confirming { suspects, seen: HashSet::new() });
        Ok(needed)
    }

    /// A walk begins.
    pub(super) fn begin(&mut self) {
        (self.groups, self.spills) = (0, 0);
        self.local.clear();
    }

    /// What hashes the names of a scope.
    #[inline]
    pub(super) const fn within(&self, scope: Scope) -> Within<'_> {
        Within { unique: self, scope }
    }

    /// A key or function library is complete. False: it is there twice.
    #[inline]
    pub(super) fn push_key(&mut self, name: Name) -> io::Result<bool> {
        if let Some(confirming) = &mut self.confirming {
            return Ok(confirming.is_first(name));
        }
        self.spill.push(name.number)?;
        Ok(true)
    }

    /// A name of the innermost open group is complete. False: it is there twice.
    #[inline]
    pub(super) fn push_member(&mut self, name: Name) -> io::Result<bool> {
        if let Some(confirming) = &mut self.confirming {
            return Ok(confirming.is_first(name));
        }
        self.local.push(name.number);
        if self.local.len() >= LOCAL_MAX {
            self.spill_local(0)?;
            self.spills += 1;
        }
        Ok(true)
    }

    /// Opens a group within the one that is open.
    #[inline]
    pub(super) fn open(&mut self) -> Group {
        self.groups += 1;
        Group { id: self.groups, from: self.local.len(), spills: self.spills }
    }

    /// Closes the innermost group.
    #[inline]
    pub(super) fn close(&mut self, group: Group) -> io::Result<()> {
        if group.spills != self.spills {
            // Others of the group are in the spill already, and only there can equal ones meet.
            return self.spill_local(0);
        }
        let names = self.local.get(group.from..).unwrap_or_default();
        if names.len() > 1 {
            let bits = (2 * names.len()).next_power_of_two().ilog2();
            self.table.clear();
            self.table.resize(1 << bits, 0);
            for number in names {
                // Zero is a free place; that one number looks like another is a coincidence like any.
                let known = (*number).max(1);
                let mut place = (known >> (64 - bits)) as usize;
                while let Some(there) = self.table.get_mut(place) {
                    if *there == 0 {
                        *there = known;
                        break;
                    }
                    if *there == known {
                        if self.suspects.len() < SUSPECTS_MAX {
                            self.suspects.push(*number);
                        }
                        break;
                    }
                    place = (place + 1) & ((1 << bits) - 1);
                }
            }
        }
        self.local.truncate(group.from);
        Ok(())
    }

    fn spill_local(&mut self, from: usize) -> io::Result<()> {
        for hash in self.local.drain(from..) {
            self.spill.push(hash)?;
        }
        Ok(())
    }
}
