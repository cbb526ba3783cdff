//! Some of the keys, as the encoder sends them, and what is known of them then.
//!
//! It must not let a key replace one that the target did not have when its last safety backup was taken: a client has made that since, and
//! it is in no backup.

use std::io;
use std::sync::Arc;

use crate::model::instance::Counts;
use crate::model::key_filter::matcher::{KeyMatcher, PatternCounts};
use crate::redis::keys::names::{KnownNames, Names};
use crate::redis::rdb::EntryHead;
use crate::redis::rdb::statistics::Dialect;

/// Which keys are restored, and onto what.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The list.
    pub matcher: Arc<KeyMatcher>,
    /// The format that the source is in.
    pub dialect: Dialect,
    /// By how many milliseconds the clock of the target is ahead of ours: whether an expiry has passed is the target's to say.
    pub ahead_ms: i64,
    /// The keys that the target had when its last safety backup was taken: others are not replaced. `None` where there is no such set.
    pub had: Option<Arc<KnownNames>>,
}

/// Some of the keys, and what is known of them so far.
#[derive(Debug)]
pub(super) struct Only {
    pub(super) wanted: Wanted,
    pub(super) gathered: Gathered<Names>,
}

/// What a walk for some of the keys came to. Of those whose expiry had passed nothing is sent: they are as good as not there.
#[derive(Debug)]
pub struct Gathered<N = KnownNames> {
    /// Keys sent, by the expression that matches them.
    pub sent: PatternCounts,
    /// Those keys by database, and how many of them have an expiry.
    pub counts: Counts,
    /// Keys of them that may vanish by themselves, for they or their fields have an expiry.
    pub may_expire: u64,
    /// When the first of those may vanish, by the clock of the target.
    pub soonest_ms: i64,
    /// Further keys that match, and whose expiry had passed.
    pub expired: u64,
    /// The names that the keys have in the target.
    pub names: N,
}

impl Only {
    pub(super) fn new(wanted: Wanted, names: Names) -> Self {
        let gathered = Gathered {
            sent: PatternCounts::default(),
            counts: Counts::new(),
            may_expire: 0,
            soonest_ms: i64::MAX,
            expired: 0,
            names,
        };
        Self { wanted, gathered }
    }

    /// Whether a key is one of them, and there.
    pub(super) fn wants(&mut self, head: &EntryHead<'_>) -> bool {
        if !self.wanted.matcher.matches(head.key) {
            return false;
        }
        let now = jiff::Timestamp::now().as_millisecond().saturating_add(self.wanted.ahead_ms);
        let passed = head.expiry_ms.is_some_and(|at| at <= now);
        self.gathered.expired += u64::from(passed);
        !passed
    }

    /// Counts a key that is sent, by its name in the target; whether it may replace one of that name.
    pub(super) fn push(&mut self, db: u64, key: &[u8], expires: bool) -> io::Result<bool> {
        let Self { wanted: Wanted { matcher, had, .. }, gathered } = self;
        matcher.count(key.get(matcher.prefix().len()..).unwrap_or_default(), &mut gathered.sent);
        let counts = gathered.counts.entry(db).or_default();
        *counts = (counts.0 + 1, counts.1 + u64::from(expires));
        gathered.names.push(db, key)?;
        had.as_ref().map_or(Ok(true), |had| had.has(db, key))
    }
}
