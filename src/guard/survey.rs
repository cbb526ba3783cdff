//! A survey: what a provider read before an act. Verdicts with their figures, what must stay as it is, words for the person.

use crate::guard::checks::Precheck;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Facts by name. Those of a plan must be the same when it is carried out.
pub type Pins = BTreeMap<String, String>;

/// Pins from pairs.
#[must_use]
pub fn pins<const N: usize>(pairs: [(&str, &str); N]) -> Pins {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What was read of an instance, and of what the act is about.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Where the instance is, without credentials.
    pub address: String,
    /// The pre-checks, but for the one of the safety backup.
    pub checks: Vec<Precheck>,
    /// What must still be so when the act is carried out.
    pub pins: Pins,
    /// Names of pins that our own safety backup may change: they are read again after it.
    pub caused: &'static [&'static str],
    /// A counter of writes, where there is one.
    pub writes: Option<Writes>,
    /// Whether what is there now must be backed up first.
    pub wants_safety: bool,
    /// What is at stake.
    pub words: Words,
    /// More of the plan for the reader, by name.
    pub details: Pins,
    /// Another call that does what this one cannot here.
    pub instead: Option<Instead>,
}

/// A counter of write commands, read at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// So many.
    pub calls: u64,
    /// When it was read.
    pub read_at: Timestamp,
}

/// What is at stake, in words: each a part of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// What is there now.
    pub now: String,
    /// What will be there.
    pub after: String,
    /// What is lost, or costs.
    pub lost: String,
    /// The way it is done, in a word.
    pub how: String,
    /// What that means.
    pub how_meaning: String,
    /// How to get back. For an act with a safety backup the guard names that, and adds this as a remark.
    pub back: String,
}

/// What to do where the act itself is not possible.
#[derive(Debug, Clone)]
pub struct Instead {
    /// Why not.
    pub why: String,
    /// The call that works.
    pub call: String,
}
