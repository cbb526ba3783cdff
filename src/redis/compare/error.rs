//! Why two states could not be compared, and whose fault it is.
//!
//! Whoever wanted to know decides whether to go on without an answer.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::model::fault::{Fault, Kind};
use crate::model::text::clean;
use crate::redis::rdb::error::RdbError;

/// Which of the two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What the instance holds now; the first of two that are compared.
    Now,
    /// What it would hold; the second.
    Then,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "the state now (the first of the two)",
            Self::Then => "the state to come (the second of the two)",
        })
    }
}

/// Why two states could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// One of them cannot be read, or is damaged.
    #[error("{side} cannot be compared: {source}")]
    Rdb {
        /// Which.
        side: Side,
        /// Why.
        source: RdbError,
    },
    /// One of them has a key twice, which no server's state has.
    #[error("{side} cannot be compared: it holds a key twice")]
    Twice {
        /// Which.
        side: Side,
    },
    /// What is remembered of the keys could not be written or read back.
    #[error("keys cannot be remembered in {}: {source}", dir.display())]
    File {
        /// Where.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<CompareError> for Fault {
    fn from(error: CompareError) -> Self {
        let (kind, code, hint) = match &error {
            CompareError::File { source, .. } if source.kind() == ErrorKind::StorageFull => {
                (Kind::Provider, "compare.no_room", "free space there: each key of either state takes 32 bytes")
            }
            CompareError::File { .. } => (Kind::Unexpected, "system", ""),
            // What a reader of stored data says of damage.
            CompareError::Rdb { source: RdbError::Source { source, .. }, .. }
                if source.kind() != ErrorKind::InvalidData =>
            {
                (Kind::Provider, "compare.unreadable", "see that what is compared can be read, then try again")
            }
            // Sound, for all that is known.
            CompareError::Rdb {
                source:
                    RdbError::TooLarge { .. }
                    | RdbError::TooManyDatabases { .. }
                    | RdbError::UnsupportedType { .. }
                    | RdbError::UnsupportedVersion { .. }
                    | RdbError::BadOpcode { .. },
                ..
            } => (
                Kind::Provider,
                "compare.unreadable",
                "this version of the program cannot compare it, which says nothing against it; compare others",
            ),
            CompareError::Rdb { .. } | CompareError::Twice { .. } => {
                (Kind::Damaged, "compare.damaged", "verify what the message names, and choose another")
            }
        };
        let mut message = error.to_string();
        if let CompareError::Rdb { source: RdbError::Source { source, .. }, .. } = &error {
            message = format!("{message}: {}", clean(&source.to_string()));
        }
        Self::new(kind, code, message).hint(hint).because(error)
    }
}
