//! Facts about a restore of some keys: what the list of expressions matches, in the source and in the target.

use crate::model::key_filter::KeyFilter;
use crate::model::slots::HeldSlots;

/// The keys that alone are restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysFacts {
    /// The list, as it was read.
    pub filter: KeyFilter,
    /// The keys that it matches; `None` where a plan exists, for which they were counted.
    pub matched: Option<Matched>,
}

/// The keys that a list matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// The expressions in their order, each with the keys that it matches.
    pub patterns: Vec<PatternKeys>,
    /// Keys of the source that any expression matches and whose expiry has not passed.
    pub source: u64,
    /// Further ones, whose expiry has passed.
    pub expired: u64,
    /// Bytes of the values of those keys of the source.
    pub bytes: u64,
    /// Keys of the target; `None` where counting them took too long.
    pub target: Option<MatchedInTarget>,
    /// The slots in which keys are removed that match and that the source does not have; `None` where they stay.
    pub removed_in: Option<HeldSlots>,
}

/// An expression, and the keys that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternKeys {
    /// The expression.
    pub pattern: String,
    /// Keys of the source.
    pub source: u64,
    /// Keys of the target; `None` where counting them took too long.
    pub target: Option<u64>,
}

/// Keys of the target that any expression matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MatchedInTarget {
    /// All of them.
    pub keys: u64,
    /// Those of them that the source has as well.
    pub shared: u64,
    /// Those that are removed.
    pub removed: u64,
}
