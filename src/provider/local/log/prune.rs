//! What of a log goes with the sets that led there.

use crate::config::blocking::blocking;
use crate::guard::grant::{Grant, Prune};
use crate::guard::ledger::AuditRecord;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::provider::local::Inner;
use crate::provider::local::log::SHARD;

impl Inner {
    /// Removes what of the log no set leads to any more. While a set cannot be read, nothing goes: it may lead there once it can.
    pub(in crate::provider::local) async fn prune_log(&self, grant: Grant<Prune>) -> Result<(), Fault> {
        let instance_id = grant.instance_id().to_owned();
        let listed = self.vault.list(&instance_id, self).await?;
        let Ok(kept) = listed.into_iter().collect::<Result<Vec<BackupSet>, _>>() else { return Ok(()) };
        let archive = self.archive.clone();
        let removed = blocking(move || archive.prune(grant, SHARD, &kept)).await?;
        if removed > 0 {
            let detail = format!("{removed} segments of the log, to which no backup leads any more");
            self.jobs.audit(AuditRecord::now("log.pruned", "retention", &instance_id, detail)).await;
        }
        Ok(())
    }
}
