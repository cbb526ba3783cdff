//! The impact of an act, for the person who is asked: what there is now, what there will be, what is lost, and how to get back.

use serde::{Deserialize, Serialize};

/// What is at stake, each field a part of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// What the instance, or the vault, holds now.
    pub now: String,
    /// What will be there afterwards.
    pub after: String,
    /// What is lost, or costs money.
    pub lost: String,
    /// The method in one word, such as `replication` or `DeleteBackup`.
    pub how: String,
    /// What that method means.
    pub how_meaning: String,
    /// How to get back. For an act with a safety backup the plan names that set, and adds this as a remark.
    pub way_back: String,
}

/// Another call that gets there where the act itself is not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Why the act is not possible.
    pub why: String,
    /// The call that works instead.
    pub call: String,
}
