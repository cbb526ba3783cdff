//! What may be in an RDB only once: keys within a database, members within a container, groups and consumers within a stream. A server
//! that meets one twice exits, or holds what ends it later.
//!
//! Each is remembered as 64 bits under a random key. Where two agree, the RDB is walked again, and only what is really the same is
//! refused: a coincidence never refuses a good set. Memory is bounded; beyond it numbers go to a nameless file.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::spill::Spill;

/// Numbers of the containers that are open, before they go to the spill: 512 KiB.
const LOCAL_MAX: usize = 64 * 1024;
/// Most suspects of one walk. With a random key a coincidence is one in billions of pairs, so that of more than a few nearly all are real, and
/// one that is real is enough.
const SUSPECTS_MAX: usize = 64 * 1024;

/// Of what kind the names of a group are, which is part of their hash.
#[derive(Clone, Copy)]
enum Kind {
    Keys,
    Members,
}

/// What a walk found out about things that may be there only once, and what a second walk is to look at.
#[derive(Debug)]
pub struct Unique {
    hash: RandomState,
    spill: Spill,
    /// Hashes of the containers that are open, the innermost last.
    local: Vec<u64>,
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

/// The names of one container: only among themselves must they differ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    id: u64,
    from: usize,
    spills: u64,
}

/// Hashes one name, in as many parts as it comes in.
#[derive(Debug)]
pub(super) struct MemberHash {
    short: DefaultHasher,
    long: Option<Sha256>,
}

impl MemberHash {
    #[inline]
    pub(super) fn write(&mut self, part: &[u8]) {
        self.short.write(part);
        if let Some(long) = &mut self.long {
            long.update(part);
        }
    }
}

impl Unique {
    /// Knows nothing yet. `dir` is where the nameless file is made, if one is needed.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            hash: RandomState::new(),
            spill: Spill::new(dir),
            local: Vec::new(),
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

    fn hasher(&self, kind: Kind, of: u64) -> MemberHash {
        let mut hash =
            MemberHash { short: self.hash.build_hasher(), long: self.confirming.as_ref().map(|_| Sha256::new()) };
        let mut head = [kind as u8; 9];
        for (to, from) in head.iter_mut().zip(of.to_le_bytes()) {
            *to = from;
        }
        hash.write(&head);
        hash
    }

    /// Begins the hash of a key in a database.
    #[inline]
    pub(super) fn key(&self, db: u64) -> MemberHash {
        self.hasher(Kind::Keys, db)
    }

    /// Begins the hash of a name in a group.
    #[inline]
    pub(super) fn member(&self, group: Group) -> MemberHash {
        self.hasher(Kind::Members, group.id)
    }

    /// A key is complete. False: it is there twice.
    #[inline]
    pub(super) fn push_key(&mut self, hash: MemberHash) -> io::Result<bool> {
        if self.confirming.is_some() {
            return Ok(self.is_first(hash));
        }
        self.spill.push(hash.short.finish())?;
        Ok(true)
    }

    /// A name of the innermost open group is complete. False: it is there twice.
    #[inline]
    pub(super) fn push_member(&mut self, hash: MemberHash) -> io::Result<bool> {
        if self.confirming.is_some() {
            return Ok(self.is_first(hash));
        }
        self.local.push(hash.short.finish());
        if self.local.len() >= LOCAL_MAX {
            self.spill_local(0)?;
            self.spills += 1;
        }
        Ok(true)
    }

    fn is_first(&mut self, hash: MemberHash) -> bool {
        let Some(confirming) = &mut self.confirming else { return true };
        if confirming.suspects.binary_search(&hash.short.finish()).is_err() {
            return true;
        }
        hash.long.is_none_or(|long| confirming.seen.insert(long.finalize().into()))
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
        let Some(names) = self.local.get_mut(group.from..) else { return Ok(()) };
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [a, b] = pair
                && a == b
                && self.suspects.len() < SUSPECTS_MAX
            {
                self.suspects.push(*a);
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
