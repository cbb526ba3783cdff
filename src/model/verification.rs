//! Verification of a backup set at rest: how deep it goes, and what is kept of it.

use crate::model::backup::BackupSet;
use crate::model::time::written;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// How deep a set is verified. Each level finds what those before it find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Bytes and digests of all files of the set.
    Checksum,
    /// The inside of every value, that nothing is there twice, and the counts that the manifest claims.
    Structure,
    /// A server loads the set, and holds what the manifest claims.
    Drill,
}

impl Level {
    /// All of them, the least deep first.
    pub const ALL: [Self; 3] = [Self::Checksum, Self::Structure, Self::Drill];

    /// The level as stored, given and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Structure => "structure",
            Self::Drill => "drill",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// What the last verification of a set came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How deep it went.
    pub level: Level,
    /// When it ended.
    pub at: Timestamp,
    /// What is wrong with the set, with file and, where known, offset; `None` where nothing is.
    pub fault: Option<String>,
}

impl Verification {
    /// What is kept of this one behind an earlier one: a fault stays until a verification that is as deep finds none.
    #[must_use]
    pub fn behind(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier.filter(|earlier| earlier.fault.is_some() && self.level < earlier.level) else {
            return self;
        };
        match self.fault {
            Some(_) => Self { level: earlier.level, ..self },
            None => earlier,
        }
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.level.as_str(), written(self.at))
    }
}

/// Of whole sets the one that was verified last, and how.
#[must_use]
pub fn verified_last<'a>(
    whole: &'a [BackupSet],
    found: &'a BTreeMap<String, Verification>,
) -> Option<(&'a str, &'a Verification)> {
    let verified = whole.iter().filter_map(|set| Some((set.id.as_str(), found.get(&set.id)?)));
    verified.filter(|(_, found)| found.fault.is_none()).max_by_key(|(_, found)| found.at)
}

#[cfg(test)]
mod tests {
    //! A fault is cleared by what looks as deep, and by nothing else.
    use super::{Level, Verification};
    use jiff::Timestamp;

    #[test]
    fn a_fault_stays_until_as_deep_a_look_finds_none() {
        let of = |level, fault: &str| Verification {
            level,
            at: Timestamp::UNIX_EPOCH,
            fault: (!fault.is_empty()).then(|| fault.to_owned()),
        };
        for (earlier, later, kept) in [
            (None, of(Level::Checksum, ""), of(Level::Checksum, "")),
            (Some(of(Level::Drill, "")), of(Level::Checksum, ""), of(Level::Checksum, "")),
            (Some(of(Level::Drill, "dies")), of(Level::Structure, ""), of(Level::Drill, "dies")),
            (Some(of(Level::Drill, "dies")), of(Level::Checksum, "cut"), of(Level::Drill, "cut")),
            (Some(of(Level::Drill, "dies")), of(Level::Drill, ""), of(Level::Drill, "")),
            (Some(of(Level::Checksum, "cut")), of(Level::Structure, ""), of(Level::Structure, "")),
            (Some(of(Level::Checksum, "cut")), of(Level::Drill, "dies"), of(Level::Drill, "dies")),
        ] {
            assert_eq!(later.clone().behind(earlier.clone()), kept, "{earlier:?}, then {later:?}");
        }
    }

    #[test]
    fn a_level_comes_back_from_its_word() {
        assert!(Level::ALL.into_iter().all(|level| Level::parse(level.as_str()) == Some(level)));
        assert_eq!(Level::parse("deep"), None);
    }
}
