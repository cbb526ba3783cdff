//! Deletion of a set, only with a permit: one that somebody asked for by hand, or that was taken for a restore.

use crate::guard::facts::Facts;
use crate::guard::facts::backup::VaultDeletion;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::backup::Mode;
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::provider::local::Inner;

impl Inner {
    /// What a deletion is about.
    pub async fn deletion_facts(&self, instance_id: &str, backup_id: &str) -> Result<Facts, Fault> {
        let set = self.vault.find(instance_id, backup_id, self).await?;
        let all = self.vault.list(instance_id, self).await?;
        let mut dependents = self.state.dependents(instance_id, std::slice::from_ref(&set.id)).await?;
        Ok(Facts::VaultDeletion(VaultDeletion {
            mode: set.mode,
            taken_at: set.started_at,
            keys: total_keys(&set.counts),
            rdb_bytes: set.rdb_bytes,
            others: all.iter().flatten().filter(|s| s.id != set.id).count(),
            dependents: dependents.remove(&set.id).unwrap_or_default(),
            sha256: set.sha256,
        }))
    }

    /// Deletes the set that is permitted.
    pub async fn delete(&self, permit: Permit, backup_id: &str) -> Result<String, Fault> {
        let instance_id = permit.plan().instance_id.clone();
        let Preconditions::VaultDeletion { sha256, mode, .. } = &permit.plan().preconditions else {
            return Err(permit.plan().unsupported());
        };
        let set = self.vault.find(&instance_id, backup_id, self).await?;
        if set.mode == Mode::Automated || set.mode.as_str() != mode || set.sha256 != *sha256 {
            return Err(changed("the backup is not the one that was planned; it is kept"));
        }
        let message = format!("backup {backup_id} is deleted");
        let record = permit.record("backup.deleted", message.clone());
        self.vault.delete(permit.delete()?, &instance_id, backup_id).await?;
        self.sweep_tails().await;
        self.jobs.audit(record).await;
        Ok(message)
    }
}
