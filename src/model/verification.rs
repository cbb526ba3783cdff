//! Verification of a backup set at rest: how deep it goes, and what is kept of it.

use crate::model::backup::{BackupSet, Depth, Proof};
use crate::model::time::written;
use jiff::Timestamp;
use std::collections::BTreeMap;

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

/// The caller of the drills that nobody asked for.
pub const BY_SCHEDULE: &str = "schedule";

/// What has been of the drills of an instance.
#[derive(Debug, Clone, Default)]
pub struct Drills {
    /// The newest set that would be restored, and when it was made.
    pub newest: Option<(String, Timestamp)>,
    /// When drills began that a set passed, whichever it was and whoever asked.
    pub passed: Vec<Timestamp>,
    /// When attempts of the schedule ended, whatever they came to.
    pub tried: Vec<Timestamp>,
}

/// What one look at a set came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When the reading began of a look that found nothing; else when the fault was found.
    pub at: Timestamp,
    /// SHA-256 of the contents that were read, as the manifest has it; of a look that has found a fault empty, for that stays, whatever lies
    /// there.
    pub sha256: String,
    /// Of a drill, the program that was to load the set.
    pub server: Option<String>,
    /// What is wrong with the set, with file and, where known, offset; `None` where nothing is.
    pub fault: Option<String>,
}

/// What is kept of the verifications of a set: the last look of each level. One that finds nothing ends the faults of all levels that it
/// covers, so that a fault which is kept is one that nothing as deep has lifted, whatever the clocks say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification(pub BTreeMap<Level, Look>);

impl Verification {
    /// The fault that was found last, and the level of a look that lifts all that are kept; `None` for a set in which none is kept.
    #[must_use]
    pub fn fault(&self) -> Option<(Level, &Look)> {
        let faults = || self.0.iter().filter(|(_, look)| look.fault.is_some());
        let deepest = faults().map(|(level, _)| *level).next_back()?;
        faults().map(|(_, look)| look).max_by_key(|look| look.at).map(|look| (deepest, look))
    }

    /// When the last drill of the set began, if the set passed that.
    #[must_use]
    pub fn drilled(&self) -> Option<Timestamp> {
        self.0.get(&Level::Drill).filter(|look| look.fault.is_none()).map(|look| look.at)
    }

    /// What a set of these contents and without a fault was verified to: the newest look, and the deepest where that is another.
    pub fn looks(&self, sha256: &str) -> impl Iterator<Item = (Level, &Look)> {
        let of_it = self.0.iter().map(|(level, look)| (*level, look)).filter(|(_, look)| look.sha256 == sha256);
        let all = self.fault().is_none().then_some(of_it);
        newest_and_deepest(all.into_iter().flatten(), |(level, look)| (*level, look.at)).into_iter()
    }
}

/// What was proven of a set in which no fault is known, by the deepest look at its contents, whenever that was: the word that replies have as its
/// `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proven {
    /// Nothing here: the cloud lists the set as complete, and nobody has read it; or nobody vouches for what its manifest says of it.
    Unverified,
    /// Its bytes are those that were written, by their checksums.
    Verified,
    /// The inside of every value is sound, and nothing is there twice.
    Deep,
    /// A scratch server has loaded it, and held what it claims.
    Drilled,
}

impl Proven {
    /// What was proven of a set when it was made, and by what is kept of its verifications since.
    #[must_use]
    pub fn of(set: &BackupSet, since: Option<&Verification>) -> Self {
        let look = since.and_then(|since| since.looks(&set.sha256).map(|(level, _)| level).max());
        let looked = match look {
            Some(Level::Drill) => Self::Drilled,
            Some(Level::Structure) => Self::Deep,
            Some(Level::Checksum) => Self::Verified,
            None => Self::Unverified,
        };
        let made = match set.proof {
            _ if !set.is_vouched_for() => Self::Unverified,
            Some(Proof { depth: Depth::Deep, .. }) => Self::Deep,
            // Of before proofs were written down: what arrived was checked by its checksum.
            None if set.is_walked() => Self::Verified,
            None => Self::Unverified,
        };
        looked.max(made)
    }

    /// The word in replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Verified => "verified",
            Self::Deep => "deep",
            Self::Drilled => "drilled",
        }
    }
}

/// What a look was, when, and by which server.
#[must_use]
pub fn described(level: Level, look: &Look) -> String {
    let by = look.server.as_deref().map_or(String::new(), |server| format!(" on {server}"));
    format!("{} {}{by}", level.as_str(), written(look.at))
}

/// Of sets that can be used, which was verified last, and which the deepest, where that is another look.
#[must_use]
pub fn verified_last<'a>(
    whole: &'a [BackupSet],
    found: &'a BTreeMap<String, Verification>,
) -> Vec<(&'a str, Level, &'a Look)> {
    let verified = whole.iter().filter_map(|set| Some((set, found.get(&set.id)?)));
    let looks =
        verified.flat_map(|(set, found)| found.looks(&set.sha256).map(|(level, look)| (set.id.as_str(), level, look)));
    newest_and_deepest(looks, |(_, level, look)| (*level, look.at))
}

/// The newest look, of which the deepest; and behind it the deepest, of which the newest, where that is another.
fn newest_and_deepest<T: Copy>(looks: impl Iterator<Item = T>, of: impl Fn(&T) -> (Level, Timestamp)) -> Vec<T> {
    let looks: Vec<T> = looks.collect();
    let newest = looks.iter().max_by_key(|look| {
        let (level, at) = of(look);
        (at, level)
    });
    let deepest = looks.iter().max_by_key(|look| of(look));
    let deeper = deepest.filter(|deepest| newest.is_some_and(|newest| of(newest).0 < of(deepest).0));
    newest.into_iter().chain(deeper).copied().collect()
}

#[cfg(test)]
mod tests {
    //! What is shown of looks, and which level lifts a fault.
    use super::{Level, Look, Verification, described};
    use jiff::Timestamp;

    fn look(second: i64, fault: &str) -> Look {
        let fault = (!fault.is_empty()).then(|| fault.to_owned());
        Look { at: Timestamp::from_second(second).unwrap(), sha256: "its".into(), server: None, fault }
    }

    #[test]
    fn the_newest_look_is_told_and_behind_it_the_deepest() {
        let (checksum, structure, drill) = (Level::Checksum, Level::Structure, Level::Drill);
        for (looks, told) in [
            (vec![], ""),
            (vec![(checksum, 1)], "checksum"),
            (vec![(drill, 1), (checksum, 2)], "checksum drill"),
            (vec![(checksum, 1), (drill, 2)], "drill"),
            (vec![(structure, 2), (drill, 1), (checksum, 3)], "checksum drill"),
            (vec![(structure, 2), (checksum, 2)], "structure"),
        ] {
            let found = Verification(looks.iter().map(|(level, at)| (*level, look(*at, ""))).collect());
            assert_eq!(found.looks("another's").count(), 0);
            let levels: Vec<_> = found.looks("its").map(|(level, _)| level.as_str()).collect();
            assert_eq!((levels.join(" ").as_str(), found.fault()), (told, None), "{looks:?}");
        }
    }

    #[test]
    fn the_last_fault_is_told_and_the_deepest_has_to_be_lifted() {
        let (drill, checksum) = (look(1, "dies"), look(2, "cut"));
        let found = Verification([(Level::Drill, drill), (Level::Checksum, checksum.clone())].into());
        assert_eq!(found.fault(), Some((Level::Drill, &checksum)));
        assert_eq!(found.looks("its").count(), 0);
        let found = Verification([(Level::Drill, look(1, "")), (Level::Checksum, checksum.clone())].into());
        assert_eq!((found.fault(), found.looks("its").count()), (Some((Level::Checksum, &checksum)), 0));
    }

    #[test]
    fn a_drill_says_on_what() {
        let drill = Look { server: Some("Redis 7.0.15".into()), ..look(0, "") };
        assert_eq!(described(Level::Drill, &drill), "drill 1970-01-01T00:00:00Z on Redis 7.0.15");
        assert_eq!(described(Level::Checksum, &look(0, "")), "checksum 1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_level_comes_back_from_its_word() {
        assert!(Level::ALL.into_iter().all(|level| Level::parse(level.as_str()) == Some(level)));
        assert_eq!(Level::parse("deep"), None);
    }
}
