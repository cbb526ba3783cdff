//! Counts some of the keys of an RDB, and what would keep a server from taking them one by one.
//!
//! It must not decide: what is counted here is judged by whoever knows the server.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use super::names::Names;
use crate::model::key_filter::matcher::{KeyMatcher, PatternCounts};
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::{EntryHead, Visitor, module_of};
use crate::redis::slots::slot;

/// Bytes of a value that name the module that wrote it.
const MODULE_HEAD_BYTES: usize = 9;
/// Time that matching the keys of a source may take in all: at a millionth of a second a key, that of many more than a server has.
const MATCHED_WITHIN: Duration = Duration::from_secs(60);
/// The type byte of what a module wrote.
const MODULE: u8 = 7;

/// What an RDB has of some of the keys. A key whose expiry has passed counts as one that is not there.
#[derive(Debug, Default)]
pub struct Found {
    /// Keys by the expression that matches them.
    pub counts: PatternCounts,
    /// Further keys that match, and whose expiry has passed.
    pub expired: u64,
    /// Keys of them that carry an expiry.
    pub expires: u64,
    /// Keys per type byte.
    pub types: BTreeMap<u8, u64>,
    /// Names of the module types among them.
    pub modules: BTreeSet<String>,
    /// Keys that carry metadata of a module, which commands cannot restore.
    pub meta: u64,
    /// Keys of slots that the server does not own.
    pub outside: u64,
    /// The highest database that any of them is in.
    pub highest_db: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Bytes of the largest of their values.
    pub largest: u64,
}

/// Walks an RDB for some of the keys.
pub struct Finder<'m> {
    matcher: &'m KeyMatcher,
    /// When the keys would be written: expiries at or before it have passed.
    at_ms: i64,
    /// The slots of a cluster's node.
    owned: Option<Vec<(u16, u16)>>,
    found: Found,
    /// The names that the keys get in the target.
    names: Names,
    /// Database and name of the key that is being read, where it is one of them.
    current: Option<(u64, Vec<u8>)>,
    type_byte: u8,
    bytes: u64,
    head: Vec<u8>,
    /// Time that matching has taken.
    matching: Duration,
}

/// The expressions take too long: what a visitor returns then, inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the expressions take too long to match with all keys of the source: repeat less in them")]
pub struct TooSlow;

impl TooSlow {
    /// Whether a walk ended for that.
    #[must_use]
    pub fn is(error: &RdbError) -> bool {
        let RdbError::Sink { source, .. } = error else { return false };
        source.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl<'m> Finder<'m> {
    /// `at_ms`: expiries at or before it have passed. `owned`: the slots of a cluster's node.
    #[must_use]
    pub fn new(matcher: &'m KeyMatcher, at_ms: i64, owned: Option<Vec<(u16, u16)>>, names: Names) -> Self {
        let found = Found::default();
        let (head, matching) = (Vec::new(), Duration::ZERO);
        Self { matcher, at_ms, owned, found, names, current: None, type_byte: 0, bytes: 0, head, matching }
    }

    /// What was found, and the names that the keys get in the target.
    #[must_use]
    pub fn end(self) -> (Found, Names) {
        (self.found, self.names)
    }
}

impl Visitor for Finder<'_> {
    const WANTS_VALUES: bool = true;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = false;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        self.current = None;
        let begun = Instant::now();
        let matches = self.matcher.matches(head.key);
        self.matching += begun.elapsed();
        if self.matching > MATCHED_WITHIN {
            return Err(io::Error::other(TooSlow));
        }
        if !matches {
            return Ok(());
        }
        if head.expiry_ms.is_some_and(|at| at <= self.at_ms) {
            self.found.expired += 1;
            return Ok(());
        }
        self.current = Some((head.db, head.key.to_vec()));
        (self.type_byte, self.bytes) = (head.type_byte, 0);
        self.head.clear();
        self.found.meta += u64::from(head.has_meta);
        self.found.expires += u64::from(head.expiry_ms.is_some());
        Ok(())
    }

    fn value(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.current.is_some() {
            self.bytes += piece.len() as u64;
            let wanted = MODULE_HEAD_BYTES.saturating_sub(self.head.len()).min(piece.len());
            self.head.extend_from_slice(piece.get(..wanted).unwrap_or_default());
        }
        Ok(())
    }

    fn entry_end(&mut self) -> io::Result<()> {
        let Some((db, key)) = self.current.take() else { return Ok(()) };
        let found = &mut self.found;
        self.matcher.count(&key, &mut found.counts);
        let target = [self.matcher.prefix(), &key].concat();
        if let Some(owned) = &self.owned {
            let slot = slot(&target);
            found.outside += u64::from(!owned.iter().any(|(from, to)| (*from..=*to).contains(&slot)));
        }
        *found.types.entry(self.type_byte).or_default() += 1;
        if self.type_byte == MODULE {
            found.modules.extend(module_of(&self.head));
        }
        found.highest_db = found.highest_db.max(db);
        found.bytes += self.bytes;
        found.largest = found.largest.max(self.bytes);
        self.names.push(db, &target)
    }

    fn empty_entry(&mut self) -> io::Result<()> {
        self.current = None;
        Ok(())
    }
}
