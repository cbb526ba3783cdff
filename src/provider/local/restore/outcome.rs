//! What a target holds after a restore by replication: the keys as loaded, and those evicted or expired since. Says what was counted,
//! and when.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::instance::{Counts, total_keys};
use crate::provider::local::restore::{compare_key_counts, differs};
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use crate::redis::master::types::Restored;

impl Inner {
    /// Judges a target that took the whole set and was promoted, by its own counts and counters.
    pub(super) async fn loaded(&self, instance_id: &str, set: &BackupSet, restored: Restored) -> Result<String, Fault> {
        let now = async {
            let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
            Ok::<_, Fault>(ServerFacts::read(&mut conn).await?)
        };
        let now = match now.await {
            Ok(now) => now,
            Err(fault) => {
                return Ok(format!("restored: the target took the whole set; its keys could not be counted ({fault})"));
            }
        };
        // A counter that went back was reset meanwhile: then all it shows came since.
        let delta = |then: u64, now: u64| now.checked_sub(then).unwrap_or(now);
        let evicted = delta(restored.switched.evicted_keys, now.evicted_keys);
        let expired = delta(restored.switched.expired_keys, now.expired_keys);
        let found: Counts = now.keyspace.iter().map(|(db, k)| (*db, (k.keys, k.expires))).collect();
        let left = total_keys(&found);
        if evicted > 0 {
            let why = format!("has evicted {evicted} keys since, for its maxmemory is too small; {left} keys are left");
            return Err(differs("restore.evicted", &why)
                .hint("Raise maxmemory or set maxmemory-policy noeviction, then restore again."));
        }
        let compare = |keys: &Counts| {
            compare_key_counts(&set.counts, keys).map_err(|why| differs("restore.census_differs", &why))
        };
        let Some(loaded) = restored.loaded else { return compare(&found) };
        // As loaded: a key that is missing then was not taken. Clients may have written since, so the count of now proves less.
        let whole = compare(&loaded)?;
        if left >= total_keys(&loaded) {
            return Ok(whole);
        }
        // As far as the counts tell nobody has written: then the keys that are gone had expired.
        Ok(compare(&found).unwrap_or(format!("{whole}; {left} keys now, {expired} have expired since")))
    }
}
