//! What retention asks of a log, and takes of it: which sets it still needs, and what of it goes once others are gone.

use crate::archive::Kept;
use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::guard::grant::{Grant, Prune};
use crate::guard::ledger::AuditRecord;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::time::written;
use crate::provider::local::Inner;
use jiff::Timestamp;
use std::cmp::Reverse;

impl Inner {
    /// Which of the sets that are to go have to stay because of the log: moments since `since`, or any where that is not known,
    /// lead back to them, and to no set that is left and not among `unsound`. Where the log cannot be read, all of them.
    pub(in crate::provider::local) async fn log_keeps(
        &self,
        instance_id: &str,
        sets: Vec<BackupSet>,
        unsound: Vec<String>,
        going: Vec<String>,
        since: Option<Timestamp>,
    ) -> Vec<String> {
        if going.is_empty() {
            return going;
        }
        // The oldest first, so that what is kept leads no further back than it has to; of two at one position the newer, for one has to stay.
        let mut asked: Vec<BackupSet> = sets.iter().filter(|set| going.contains(&set.id)).cloned().collect();
        asked.sort_by_key(|set| (set.replication_offset, Reverse(set.started_at)));
        let (archive, of, mut left) = (self.archive.clone(), instance_id.to_owned(), sets);
        let read = move || {
            let coverage = archive.coverage(&of, SHARD)?;
            let mut kept = Vec::new();
            for BackupSet { id, .. } in asked {
                // One that is not sound counts for itself, for a fault that was found may be lifted, and for no other.
                let counts = |set: &&BackupSet| set.id == id || !unsound.contains(&set.id);
                let counting: Vec<BackupSet> = left.iter().filter(counts).cloned().collect();
                match coverage.only_from(&counting, &id)? {
                    Some((_, last)) if since.is_none_or(|since| last >= since) => kept.push(id),
                    _ => left.retain(|set| set.id != id),
                }
            }
            Ok(kept)
        };
        blocking(read).await.unwrap_or_else(|fault| {
            tracing::warn!(instance = %instance_id, "what the log needs is not known, and no set expires: {fault}");
            going
        })
    }

    /// Number of segments of the log that would go.
    pub(in crate::provider::local) async fn prunable(&self, instance_id: &str, kept: Kept) -> Result<usize, Fault> {
        let (archive, of) = (self.archive.clone(), instance_id.to_owned());
        blocking(move || archive.prunable(&of, SHARD, &kept)).await
    }

    /// Removes what of the log no moment that is kept needs.
    pub(in crate::provider::local) async fn prune_log(&self, grant: Grant<Prune>, kept: Kept) -> Result<(), Fault> {
        let (archive, instance_id, since) = (self.archive.clone(), grant.instance_id().to_owned(), kept.since);
        let removed = blocking(move || archive.prune(grant, SHARD, &kept)).await?;
        if removed > 0 {
            let detail = format!("{removed} segments of the log, which no moment since {} needs", written(since));
            self.jobs.audit(AuditRecord::now("log.pruned", "retention", &instance_id, detail)).await;
        }
        Ok(())
    }
}
