//! What a server that is restored counts: keys, and what it has removed of its own accord. Before it has the set, as it has it, and after.
//!
//! It must not judge: what became of a set follows in [`outcome`](super::outcome).

use crate::model::backup::BackupSet;
use crate::model::instance::{Counts, total_keys};
use crate::model::restored_keys::RestoredKeys;
use crate::provider::local::describe::counts_of;
use crate::redis::facts::ServerFacts;
use crate::redis::master::types::{Restored, Switched};

/// What a server has counted, at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) run_id: String,
    pub(super) expired: u64,
    pub(super) evicted: u64,
    pub(super) counts: Counts,
    /// The server's clock, in milliseconds since 1970; `None` where it does not tell.
    pub(super) clock_ms: Option<i64>,
}

impl From<&ServerFacts> for Counted {
    fn from(facts: &ServerFacts) -> Self {
        Self {
            run_id: facts.run_id.clone(),
            expired: facts.expired_keys,
            evicted: facts.evicted_keys,
            counts: counts_of(facts),
            clock_ms: facts.clock_ms,
        }
    }
}

impl Counted {
    /// Keys that expired and keys that were evicted since an earlier moment; `None` where the statistics were reset meanwhile, or
    /// the server was started anew.
    pub(super) fn since(&self, earlier: &Self) -> Option<(u64, u64)> {
        (self.run_id == earlier.run_id)
            .then(|| Some((self.expired.checked_sub(earlier.expired)?, self.evicted.checked_sub(earlier.evicted)?)))
            .flatten()
    }

    /// Keys that carry an expiry.
    pub(super) fn with_expiry(&self) -> u64 {
        self.counts.values().map(|(_, expires)| expires).sum()
    }

    /// The moment at which the keys were counted, where some of the keys that were counted, or that are not there, may have expired.
    pub(super) fn may_have_expired(&self, set: &BackupSet) -> Option<i64> {
        let carried = set.counts.values().any(|(_, expires)| *expires > 0);
        self.clock_ms
            .filter(|_| carried && (self.with_expiry() > 0 || total_keys(&self.counts) < total_keys(&set.counts)))
    }
}

/// What a counter of a server has counted since it stood at `then`: statistics that were reset meanwhile tell of what came after that.
pub(super) fn counted_since(now: u64, then: u64) -> u64 {
    now.checked_sub(then).unwrap_or(now)
}

/// What is known of the moment at which the target had the set, and of what came before it.
#[derive(Debug)]
pub(super) struct AsLoaded {
    /// What the target had counted before it had the set; `None` where it did not tell.
    pub(super) before: Option<Counted>,
    /// The keys of each database before clients could write to them; `None` where they could all along, or nobody counted.
    pub(super) keys: Option<Counts>,
    /// Keys that the target may have taken as expired without counting them.
    pub(super) unseen: u64,
    /// Whether clients were known to write while keys were written one by one.
    pub(super) meanwhile: bool,
}

impl AsLoaded {
    /// Key statistics of the source and of the target, which has counted this since. `source`: where somebody has counted it.
    pub(super) fn compared(&self, source: Option<Counts>, after: &Counted) -> RestoredKeys {
        let (expired, evicted) = self.before.as_ref().and_then(|before| after.since(before)).unzip();
        let target = self.keys.as_ref().unwrap_or(&after.counts).clone();
        RestoredKeys { source, target, as_loaded: self.keys.is_some(), expired, evicted, of_some: false }
    }

    /// Of a restore by commands; the arguments as its fields. `swapped_in`: the keys, and the count of evictions at that moment, for
    /// what was evicted before was of the old data.
    pub(super) fn by_commands(
        before: Option<Counted>,
        swapped_in: Option<(Counts, u64)>,
        unseen: u64,
        meanwhile: bool,
    ) -> Self {
        let (keys, evicted) = swapped_in.unzip();
        let before = before.map(|b| Counted { evicted: evicted.unwrap_or(b.evicted), ..b });
        Self { before, keys, unseen, meanwhile }
    }
}

impl From<Restored> for AsLoaded {
    fn from(restored: Restored) -> Self {
        let Switched { run_id, evicted_keys, expired_keys, .. } = restored.switched;
        let counts = Counts::default();
        let before = Counted { run_id, expired: expired_keys, evicted: evicted_keys, counts, clock_ms: None };
        Self { before: Some(before), keys: restored.loaded, unseen: 0, meanwhile: false }
    }
}
