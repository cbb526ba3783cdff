//! The names of some keys that an RDB of the target itself has.
//!
//! A key whose expiry had passed is none of them: whoever has it now has made it since.

use std::io;

use super::names::{KnownNames, Names};
use crate::model::key_filter::matcher::KeyMatcher;
use crate::redis::rdb::{EntryHead, Visitor};

/// Walks an RDB of the target for the names that match.
#[derive(Debug)]
pub struct Had<'m> {
    matcher: &'m KeyMatcher,
    at_ms: i64,
    names: Names,
}

impl<'m> Had<'m> {
    /// `at_ms`: expiries at or before it have passed.
    #[must_use]
    pub const fn new(matcher: &'m KeyMatcher, at_ms: i64, names: Names) -> Self {
        Self { matcher, at_ms, names }
    }

    /// The names.
    ///
    /// # Errors
    /// Those of their file.
    pub fn seal(self) -> io::Result<KnownNames> {
        self.names.seal()
    }
}

impl Visitor for Had<'_> {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = false;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        let passed = head.expiry_ms.is_some_and(|at| at <= self.at_ms);
        if passed || self.matcher.source_name(head.key).is_none() {
            return Ok(());
        }
        self.names.push(head.db, head.key)
    }
}
