//! What an act does to keys, counted: two states of an instance joined key by key, and what becomes of each.
//!
//! Numbers and escaped names only; how states are read and joined is not known here.

use serde::{Deserialize, Serialize};

/// Keys by what becomes of them. Every key of either state is in exactly one of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// Keys that are not there now, and are there afterwards.
    pub added: u64,
    /// Keys that are there now, and are not there afterwards.
    pub lost: u64,
    /// Keys that are there now and afterwards, with another value, type or expiry.
    pub changed: u64,
    /// Keys that are there now and afterwards, and are the same.
    pub untouched: u64,
    /// Keys that are there neither now nor afterwards, because their expiry has passed by then: mostly those of an older state to come. Of two
    /// states of different moments also what only one of them has, and has expired by the later moment.
    pub expired: u64,
}

impl KeyCounts {
    /// Keys of either state that do not stay as they are.
    #[must_use]
    pub const fn different(&self) -> u64 {
        self.added + self.lost + self.changed
    }

    /// These and others.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            added: self.added + other.added,
            lost: self.lost + other.lost,
            changed: self.changed + other.changed,
            untouched: self.untouched + other.untouched,
            expired: self.expired + other.expired,
        }
    }

    /// These without others, which are a part of them.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self {
            added: self.added.saturating_sub(other.added),
            lost: self.lost.saturating_sub(other.lost),
            changed: self.changed.saturating_sub(other.changed),
            untouched: self.untouched.saturating_sub(other.untouched),
            expired: self.expired.saturating_sub(other.expired),
        }
    }
}

/// What becomes of the keys of one database that begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImpactRow {
    /// The database.
    pub db: u64,
    /// What the keys begin with, escaped: `user:` for `user:1`; the whole key where it is short and has no separator. `None`: all others of
    /// the database.
    pub prefix: Option<String>,
    /// The keys.
    #[serde(flatten)]
    pub counts: KeyCounts,
}

/// One key, shown as an example.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleKey {
    /// The database.
    pub db: u64,
    /// The key, escaped and cut.
    pub key: String,
    /// Bytes of its value as an RDB has it, the larger of the two states'.
    pub bytes: u64,
}

/// What was not compared, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// Percent of the keys that were compared, rounded down: the counts are of those, which are a random part of all.
    pub compared_percent: u64,
    /// Why the others were not, part of a sentence.
    pub why: String,
    /// Where not even all keys were read, how many were, of the state now and of the one to come: nothing can be said of any, for what was
    /// not met in one state may be in its rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_read: Option<[KeysRead; 2]>,
}

/// Keys of a state that were read in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysRead {
    /// Keys that were read.
    pub read: u64,
    /// Keys that the state has, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// What becomes of all keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyImpact {
    /// All databases together.
    pub total: KeyCounts,
    /// By database and prefix, those with the most different keys first; what a bounded table leaves out is in the rows without a prefix.
    pub rows: Vec<ImpactRow>,
    /// Rows with different keys that are not told, for there are too many databases.
    #[serde(default, skip_serializing_if = "is_none")]
    pub rows_left_out: u64,
    /// The function libraries are not the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub libraries_differ: bool,
    /// The largest keys that are lost.
    pub lost: Vec<ExampleKey>,
    /// The largest keys that are changed.
    pub changed: Vec<ExampleKey>,
    /// The largest keys that are added.
    pub added: Vec<ExampleKey>,
    /// The time was over before all prefixes and keys that are told had their names; those without one are among the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_missing: bool,
    /// `None`: all keys of both states were compared.
    pub not_compared: Option<NotCompared>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none(n: &u64) -> bool {
    *n == 0
}

impl KeyImpact {
    /// Whether all that was compared is the same.
    #[must_use]
    pub const fn nothing_differs(&self) -> bool {
        self.total.different() == 0 && !self.libraries_differ
    }

    /// Nothing was compared, and why: part of a sentence.
    #[must_use]
    pub fn nothing_compared(why: String) -> Self {
        Self { not_compared: Some(NotCompared { compared_percent: 0, why, keys_read: None }), ..Self::default() }
    }
}
