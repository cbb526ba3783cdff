//! What destroyed data, as the log of an instance tells it. No judgement: whether it was a mistake the log does not say, nor who sent it.

use crate::model::log::{Gap, Position};
use jiff::Timestamp;

/// How a command destroys data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It empties or exchanges whole databases.
    Databases,
    /// It removes or replaces function libraries.
    Functions,
    /// It removes keys. An expiry or an eviction comes as such a command too.
    Removes,
    /// It sets an expiry that had passed by then.
    Expires,
    /// It may replace a key: the log does not say whether there was one.
    Replaces,
    /// It takes elements out of keys, as upkeep of a bounded list does too.
    Trims,
}

/// Something that destroyed data: a command, or a burst of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destruction {
    /// When the first of its commands had been received.
    pub at: Timestamp,
    /// When the last of them had been.
    pub until: Timestamp,
    /// How much earlier it may have been written, in milliseconds.
    pub precision_ms: u64,
    /// Right before the first of its commands.
    pub position: Position,
    /// Whether a backup set leads to that position.
    pub restorable: bool,
    /// How it destroyed.
    pub how: How,
    /// The command, in upper case; of SWAPDB and FUNCTION with what says which.
    pub command: String,
    /// Number of commands.
    pub commands: u64,
    /// Keys that the commands name, each as often as it is named; 0 where they name none.
    pub keys: u64,
    /// What these keys begin with, for a reader.
    pub key_prefix: String,
    /// The database; `None` where it is about several, or not known.
    pub database: Option<u64>,
    /// Whether the server itself may have sent all of it: removals of one key each, in no transaction.
    pub may_be_servers: bool,
}

/// What destroyed data in a part of the log.
#[derive(Debug, Clone, Default)]
pub struct Destructions {
    /// Newest first.
    pub found: Vec<Destruction>,
    /// From when to when was searched; `None`: nothing of the range is in the log.
    pub searched: Option<(Timestamp, Timestamp)>,
    /// Whether the search ended before the beginning of the range, for want of time or room.
    pub stopped: bool,
    /// Parts of the range that could not be searched, oldest first.
    pub missing: Vec<Gap>,
}
