//! How the data of a restore gets into a server that this program reaches itself.

use serde::{Deserialize, Serialize};

/// The method of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// This process acts as the target's master: the data set is swapped in whole, or not at all.
    Replication,
    /// FLUSHALL, then one RESTORE a key. Not atomic: a failure leaves part of the data.
    Commands,
    /// One RESTORE a key into empty databases, which then are swapped in at one moment, or not at all.
    Beside,
}

impl Method {
    /// The method in plans and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Commands | Self::Beside => "commands",
        }
    }

    /// The method, and where its data is written, for the reader of a difference.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Commands => "commands, in place",
            Self::Beside => "commands, beside the old data",
        }
    }

    /// What the method means, for the person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Replication => {
                "atomic: the target loads the set as a replica of this process and swaps it in whole; if anything fails before that, the old data stays"
            }
            Self::Beside => {
                "atomic: keys are written one by one into empty databases beside the old data, and one transaction swaps them all in; if anything fails before that, the old data stays"
            }
            Self::Commands => {
                "NOT atomic: the target is emptied (FLUSHALL) and keys are written one by one; a failure leaves it partly filled until a restore succeeds"
            }
        }
    }
}
