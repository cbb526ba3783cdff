//! Key statistics of a restore's source and of its target, compared: what a job and the audit keep of it.
//!
//! Numbers only; what became of keys that are not there follows elsewhere, from more than this.

use crate::model::instance::{Counts, total_keys};
use serde::{Deserialize, Serialize};

/// Key statistics of what was restored, and of what the target held then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredKeys {
    /// Keys of each database of what was restored; `None` where nobody has counted them: of a moment that the target itself came to only the set
    /// behind which it begins is known.
    pub source: Option<Counts>,
    /// Keys of each database of the target.
    pub target: Counts,
    /// Whether the target's keys were counted before clients could write to them.
    pub as_loaded: bool,
    /// Keys that expired by the target's own count since it had the data; `None` where it does not tell.
    pub expired: Option<u64>,
    /// Keys that the target evicted since; `None` as above.
    pub evicted: Option<u64>,
    /// Whether both are of the keys alone that match `filter_key`; which of the target's expire nobody has asked then.
    #[serde(default)]
    pub of_some: bool,
}

/// How the two agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Every database has as many keys.
    Same,
    /// Some databases of the target have fewer, none has more.
    Fewer,
    /// Some database of the target has more.
    More,
    /// The source was not counted.
    Unknown,
}

impl Agreement {
    /// The agreement, as part of a sentence about the target.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Same => "the same in every database",
            Self::Fewer => "fewer in some database",
            Self::More => "more in some database",
            Self::Unknown => "and nobody has counted the source",
        }
    }
}

impl RestoredKeys {
    /// How source and target agree.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        let Some(source) = &self.source else { return Agreement::Unknown };
        let keys = |of: &Counts, db: &u64| of.get(db).map_or(0, |(keys, _)| *keys);
        let more = self.target.keys().any(|db| keys(&self.target, db) > keys(source, db));
        let fewer = source.keys().any(|db| keys(&self.target, db) < keys(source, db));
        match (more, fewer) {
            (true, _) => Agreement::More,
            (false, true) => Agreement::Fewer,
            (false, false) => Agreement::Same,
        }
    }

    /// Both, for the reader.
    #[must_use]
    pub fn describe(&self) -> String {
        let expiring = |counts: &Counts| counts.values().map(|(_, expires)| expires).sum::<u64>();
        let of = |counts: &Counts| match self.of_some {
            true => format!("{} keys that match", total_keys(counts)),
            false => format!("{} keys, {} with an expiry", total_keys(counts), expiring(counts)),
        };
        let source = self.source.as_ref().map(|source| format!("source {}; ", of(source))).unwrap_or_default();
        let when = if self.as_loaded { "before clients could write" } else { "when the restore ended" };
        let removed = match (self.expired, self.evicted) {
            (Some(expired), Some(evicted)) => format!("; since then {expired} expired and {evicted} were evicted"),
            _ => String::new(),
        };
        format!("{source}target {} ({when}), {}{removed}", of(&self.target), self.agreement().describe())
    }
}

#[cfg(test)]
mod tests {
    //! Each database answers for itself, and what was not counted agrees with nothing.
    use super::{Agreement, RestoredKeys};
    use crate::model::instance::Counts;

    #[test]
    fn each_database_is_compared() {
        let agreement = |source: Option<&[(u64, u64)]>, target: &[(u64, u64)]| {
            let counts = |all: &[(u64, u64)]| all.iter().map(|(db, keys)| (*db, (*keys, 0))).collect::<Counts>();
            let (source, target) = (source.map(counts), counts(target));
            RestoredKeys { source, target, as_loaded: true, expired: None, evicted: None, of_some: false }.agreement()
        };
        assert_eq!(agreement(Some(&[(0, 2), (1, 3)]), &[(1, 3), (0, 2)]), Agreement::Same);
        assert_eq!(agreement(Some(&[(0, 2), (1, 0)]), &[(0, 2)]), Agreement::Same);
        assert_eq!(agreement(Some(&[(0, 2), (1, 3)]), &[(0, 2)]), Agreement::Fewer);
        // As many in all, and not the same.
        assert_eq!(agreement(Some(&[(0, 2), (1, 3)]), &[(0, 3), (1, 2)]), Agreement::More);
        assert_eq!(agreement(None, &[(0, 3)]), Agreement::Unknown);
    }

    #[test]
    fn both_are_told() {
        let keys = RestoredKeys {
            source: Some([(0, (7, 2))].into()),
            target: [(0, (6, 1))].into(),
            as_loaded: false,
            expired: Some(1),
            evicted: Some(0),
            of_some: false,
        };
        let told = "source 7 keys, 2 with an expiry; target 6 keys, 1 with an expiry (when the restore ended), fewer in some database; \
                    since then 1 expired and 0 were evicted";
        assert_eq!(keys.describe(), told);
        let some = RestoredKeys { expired: None, of_some: true, ..keys };
        let told =
            "source 7 keys that match; target 6 keys that match (when the restore ended), fewer in some database";
        assert_eq!(some.describe(), told);
    }
}
