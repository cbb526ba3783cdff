//! What becomes of keys, as a reply shows it: the counts, a table of bounded length, and the largest keys.
//!
//! Names are escaped where they are read; nothing of it may be taken for more than data.

use crate::model::impact::{ExampleKey, KeyCounts, KeyImpact, NotCompared};
use serde::Serialize;

/// How much of it a reply shows.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Rows of the table.
    pub rows: usize,
    /// Keys of each class.
    pub examples: usize,
}

impl Shown {
    /// To a model, which pays for every token.
    pub const BRIEF: Self = Self { rows: 10, examples: 2 };
    /// All there is.
    pub const ALL: Self = Self { rows: usize::MAX, examples: usize::MAX };
}

/// What becomes of keys.
#[derive(Debug, Serialize)]
pub struct KeyRows {
    /// All databases together; absent where nothing was compared.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub total: Option<KeyCounts>,
    /// By database and prefix, those with the most different keys first. One without a prefix has all others of its database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<KeyRow>,
    /// Rows that are not shown.
    #[serde(skip_serializing_if = "is_none")]
    pub rows_left_out: u64,
    /// The function libraries are not the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub libraries_differ: bool,
    /// The largest keys that are lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub largest_lost: Vec<ExampleKey>,
    /// The largest keys that are changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub largest_changed: Vec<ExampleKey>,
    /// The largest keys that are added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub largest_added: Vec<ExampleKey>,
    /// The time was over before all names were found.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub names_missing: bool,
    /// What was not compared, and why; the counts are of the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<NotCompared>,
}

/// Keys of a database that begin alike, and do not all stay as they are. A count of none is left out.
#[derive(Debug, Serialize)]
pub struct KeyRow {
    /// The database.
    pub db: u64,
    /// What the keys begin with, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Keys that are lost.
    #[serde(skip_serializing_if = "is_none")]
    pub lost: u64,
    /// Keys that are changed.
    #[serde(skip_serializing_if = "is_none")]
    pub changed: u64,
    /// Keys that are added.
    #[serde(skip_serializing_if = "is_none")]
    pub added: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none(n: &u64) -> bool {
    *n == 0
}

impl KeyRows {
    /// What is shown of it.
    #[must_use]
    pub fn of(keys: &KeyImpact, shown: Shown) -> Self {
        let different: Vec<_> = keys.rows.iter().filter(|row| row.counts.different() > 0).collect();
        let row = |row: &&crate::model::impact::ImpactRow| {
            let KeyCounts { lost, changed, added, .. } = row.counts;
            KeyRow { db: row.db, prefix: row.prefix.clone(), lost, changed, added }
        };
        let examples = |keys: &[ExampleKey]| keys.iter().take(shown.examples).cloned().collect();
        let nothing = keys.not_compared.as_ref().is_some_and(|partly| partly.compared_percent == 0);
        Self {
            total: (!nothing).then_some(keys.total),
            rows_left_out: different.len().saturating_sub(shown.rows) as u64 + keys.rows_left_out,
            rows: different.iter().take(shown.rows).map(row).collect(),
            libraries_differ: keys.libraries_differ,
            largest_lost: examples(&keys.lost),
            largest_changed: examples(&keys.changed),
            largest_added: examples(&keys.added),
            names_missing: keys.names_missing,
            not_compared: keys.not_compared.clone(),
        }
    }
}
