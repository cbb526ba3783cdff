//! What a restore by replication came to: the keys loaded, those evicted or expired since, and the way back. Says what was counted,
//! and when.

use crate::guard::plan::Plan;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Counts, total_keys};
use crate::model::job::Job;
use crate::provider::local::restore::compare_key_counts;
use crate::provider::local::restore::replication::Replicated;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;

impl Inner {
    /// Judges a target that took the whole set and was promoted, by its own counts and counters.
    pub(super) async fn replicated(
        &self,
        job: &Job,
        plan: &Plan,
        set: &BackupSet,
        ended: Replicated,
    ) -> Result<String, Fault> {
        // Data that is in must not be called lost because of what comes after it.
        let _ = self.jobs.progress(job, "counting keys", set.rdb_bytes, set.rdb_bytes).await;
        let Replicated { restored, cutover } = ended;
        let behind = cutover.map(|c| format!("; {}", c.describe())).unwrap_or_default();
        let now = async {
            let mut conn = Conn::open(&self.endpoint(&plan.instance_id).await?, COMMAND_TIMEOUT).await?;
            Ok::<_, Fault>(ServerFacts::read(&mut conn).await?)
        };
        let now = match now.await {
            Ok(now) => now,
            Err(fault) => {
                return Ok(format!(
                    "restored: the target took the whole set; what became of its keys since could not be counted ({fault}){behind}"
                ));
            }
        };
        // A counter that went back was reset meanwhile: then all it shows came since.
        let delta = |then: u64, now: u64| now.checked_sub(then).unwrap_or(now);
        let evicted = delta(restored.switched.evicted_keys, now.evicted_keys);
        let expired = delta(restored.switched.expired_keys, now.expired_keys);
        let since = |keys: Counts| compare_key_counts(&set.counts, &keys);
        let found: Counts = now.keyspace.iter().map(|(db, k)| (*db, (k.keys, k.expires))).collect();
        let compared = match restored.loaded {
            // As loaded: whatever is missing then was not taken, and cannot have expired or been written over.
            Some(loaded) if evicted == 0 && total_keys(&found) >= total_keys(&loaded) => since(loaded),
            Some(loaded) => since(loaded).and_then(|whole| {
                let left = total_keys(&found);
                if evicted > 0 {
                    return Err(format!(
                        "evicted {evicted} keys since, for its maxmemory is too small; {left} keys are left"
                    ));
                }
                // Nobody wrote as far as the counts tell: then the keys that are gone had expired.
                since(found).or(Ok(format!("{whole}; {left} keys now ({expired} have expired since)")))
            }),
            None => since(found),
        };
        match compared {
            Ok(message) => Ok(format!("{message}{behind}")),
            Err(why) => {
                let code = if evicted > 0 { "restore.evicted" } else { "restore.census_differs" };
                let hint = if evicted > 0 {
                    "Raise maxmemory or set maxmemory-policy noeviction, then restore again."
                } else {
                    "A client may have written meanwhile; compare before you go on."
                };
                Err(Fault::new(Kind::Provider, code, format!("the target took the whole set, but {why}{behind}"))
                    .hint(hint))
            }
        }
    }
}
