//! Pruning by hand: the rules by which a person keeps sets that no policy lets go, and what became of those that went.

use crate::model::backup::Mode;
use crate::model::fault::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most sets that one plan deletes.
pub const PRUNED_AT_ONCE: usize = 1000;

/// The modes of which sets are pruned. Automated sets are the policy's, and never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrunedModes {
    /// Manual and safety sets.
    All,
    /// Manual sets alone.
    Manual,
    /// Safety sets alone.
    Safety,
}

impl PrunedModes {
    /// Whether sets of a mode are pruned.
    #[must_use]
    pub const fn hold(self, mode: Mode) -> bool {
        match mode {
            Mode::Manual => matches!(self, Self::All | Self::Manual),
            Mode::Safety => matches!(self, Self::All | Self::Safety),
            Mode::Automated | Mode::Unknown => false,
        }
    }
}

/// The rules by which sets stay: one stays where any of them says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// A set stays until so many sound sets of its mode are newer; 1 at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// A set stays that is no more than so many hours older than the newest sound set of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_hours: Option<u32>,
    /// The modes of which sets are pruned at all.
    pub of: PrunedModes,
}

impl Keep {
    /// Whether nothing says what stays: then nothing goes.
    #[must_use]
    pub const fn has_no_rule(&self) -> bool {
        self.last.is_none() && self.within_hours.is_none()
    }
}

/// A number of hours as the command line takes it: `30d`, `36h`.
#[must_use]
pub fn hours(n: u32) -> String {
    if n.is_multiple_of(24) { format!("{}d", n / 24) } else { format!("{n}h") }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last.map(|n| format!("keep-last {n}"));
        let within = self.within_hours.map(|n| format!("keep-within {}", hours(n)));
        let of = match self.of {
            PrunedModes::All => None,
            PrunedModes::Manual => Some("mode manual".to_owned()),
            PrunedModes::Safety => Some("mode safety".to_owned()),
        };
        f.write_str(&[last, within, of].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// What became of a set that was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted.
    Deleted,
    /// Somebody else has deleted it meanwhile.
    Gone,
    /// It stays, whole, for this reason: its bucket keeps it, or something has come to need it.
    Retained(String),
    /// It could not be deleted, for this reason.
    Failed(Kind, String),
}

impl Fate {
    /// The word in replies.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Gone => "gone",
            Self::Retained(_) => "retained",
            Self::Failed(..) => "failed",
        }
    }

    /// Why it was not deleted here; `None` where it was.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Deleted => None,
            Self::Gone => Some("somebody else has deleted it meanwhile"),
            Self::Retained(why) | Self::Failed(_, why) => Some(why),
        }
    }
}

/// A set that was to go, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedSet {
    /// The set's id.
    pub backup_id: String,
    /// Bytes of the set's files that are free by that; 0 where it was not deleted here.
    pub freed_bytes: u64,
    /// What became of it.
    pub fate: Fate,
}
