//! The impact of an act, for the person who is asked: the data now, the data afterwards, what is lost, and the way back.

use serde::{Deserialize, Serialize};

/// What an act changes and costs, each field part of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// What the instance, or the vault, holds now.
    pub now: String,
    /// What the instance, or the vault, holds afterwards.
    pub after: String,
    /// What is lost, or what is paid.
    pub lost: String,
    /// The method in one word, such as `replication` or `DeleteBackup`.
    pub how: String,
    /// What the method means for the instance.
    pub how_meaning: String,
    /// How to get the old state back. For an act with a safety backup the plan names that set, and adds this as a remark.
    pub way_back: String,
}

/// Another call that reaches the same end where the act itself is not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Why the act is not possible.
    pub why: String,
    /// The call that works instead.
    pub call: String,
}
