//! Deletion of a set: only one that somebody asked for by hand, only with a permit.

use crate::guard::facts::Facts;
use crate::guard::facts::backup::VaultDeletion;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::backup::Mode;
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::provider::blocking;
use crate::provider::local::Inner;

impl Inner {
    /// What a deletion is about.
    pub async fn deletion_facts(&self, instance_id: &str, backup_id: &str) -> Result<Facts, Fault> {
        let (vault, id, set_id) = (self.vault.clone(), instance_id.to_owned(), backup_id.to_owned());
        let (set, all) = blocking(move || Ok((vault.find(&id, &set_id)?, vault.list(&id)?))).await?;
        Ok(Facts::VaultDeletion(VaultDeletion {
            mode: set.mode,
            taken_at: set.started_at,
            keys: total_keys(&set.counts),
            rdb_bytes: set.rdb_bytes,
            others: all.iter().flatten().filter(|s| s.id != set.id).count(),
            sha256: set.sha256,
        }))
    }

    /// Deletes as permitted.
    pub async fn delete(&self, permit: Permit, backup_id: &str) -> Result<String, Fault> {
        let (vault, id, set_id) = (self.vault.clone(), permit.plan().instance_id.clone(), backup_id.to_owned());
        let Preconditions::VaultDeletion { sha256, .. } = permit.plan().preconditions.clone() else {
            return Err(permit.plan().unsupported());
        };
        blocking(move || {
            let set = vault.find(&id, &set_id)?;
            if set.mode != Mode::Manual || set.sha256 != sha256 {
                return Err(changed("the backup is not the one that was planned; it is kept"));
            }
            vault.delete(&id, &set_id)
        })
        .await?;
        let message = format!("backup {backup_id} is deleted");
        self.jobs.audit(permit.record("backup.deleted", message.clone())).await;
        Ok(message)
    }
}
