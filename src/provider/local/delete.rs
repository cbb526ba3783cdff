//! Deletion of a set, only with a permit: one that somebody asked for by hand, or that was taken for a restore.

use crate::archive::SHARD;
use crate::config::blocking::blocking;
use crate::guard::act::Act;
use crate::guard::facts::Facts;
use crate::guard::facts::backup::{Dependent, VaultDeletion, VaultSet};
use crate::guard::grant::{Delete, Grant};
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::model::instance::total_keys;
use crate::provider::local::Inner;
use crate::provider::local::vault::manifests::is_another;

impl Inner {
    /// What a deletion is about.
    pub async fn deletion_facts(&self, instance_id: &str, backup_id: &str) -> Result<Facts, Fault> {
        let found = self.vault.find(instance_id, backup_id, self).await;
        let set = self.named_set((instance_id, backup_id), found).await?;
        self.vault.may_be_deleted(&set).await?;
        let mut sound: Vec<BackupSet> = self.vault.list(instance_id, self).await?.into_iter().flatten().collect();
        let recorded = self.recorded(instance_id).await?;
        let unsound = self.unsound(instance_id, &sound, &recorded).await?;
        // One that is not sound counts for itself, for a fault that was found may be lifted, and for no other.
        sound.retain(|other| other.id == set.id || !(unsound.contains(&other.id) || is_another(other, &recorded)));
        let mut dependents = self.state.dependents(instance_id, std::slice::from_ref(&set.id)).await?;
        let mut dependents = dependents.remove(&set.id).unwrap_or_default();
        let others = sound.iter().filter(|other| other.id != set.id).count();
        dependents.extend(self.log_needs(&set, sound).await);
        Ok(Facts::VaultDeletion(VaultDeletion {
            mode: set.mode,
            taken_at: set.started_at,
            keys: total_keys(&set.counts),
            rdb_bytes: set.rdb_bytes,
            others,
            dependents,
            sha256: set.sha256,
        }))
    }

    /// The moments of the log that lead back to this set of all alone.
    async fn log_needs(&self, set: &BackupSet, all: Vec<BackupSet>) -> Option<Dependent> {
        let (archive, id, of) = (self.archive.clone(), set.id.clone(), set.instance_id.clone());
        match blocking(move || archive.coverage(&of, SHARD)?.only_from(&all, &id)).await {
            Ok(lost) => lost.map(|lost| Dependent::Log(Some(lost))),
            Err(fault) => {
                tracing::warn!(instance = %set.instance_id, "what the log needs is not known: {fault}");
                Some(Dependent::Log(None))
            }
        }
    }

    /// Deletes the set that is permitted.
    pub async fn delete(&self, permit: Permit) -> Result<String, Fault> {
        let plan = permit.plan();
        let (Act::DeleteBackup { backup_id }, Preconditions::VaultDeletion { sha256, mode, .. }) =
            (&plan.act, &plan.preconditions)
        else {
            return Err(plan.unsupported());
        };
        let instance_id = plan.instance_id.clone();
        let planned = VaultSet { backup_id: backup_id.clone(), mode: mode.clone(), sha256: sha256.clone() };
        let message = format!("backup {backup_id} is deleted");
        let record = permit.record("backup.deleted", message.clone());
        self.delete_set(permit.delete()?, &instance_id, &planned).await?;
        self.sweep_tails().await;
        self.jobs.audit(record).await;
        Ok(message)
    }

    /// Deletes one set, where it is the one that was planned, and says what it was.
    ///
    /// # Errors
    /// `plan.changed` where it is another; those of the vault's deletion.
    pub(in crate::provider::local) async fn delete_set(
        &self,
        grant: Grant<Delete>,
        instance_id: &str,
        planned: &VaultSet,
    ) -> Result<BackupSet, Fault> {
        let set = self.vault.find(instance_id, &planned.backup_id, self).await?;
        if set.mode == Mode::Automated || set.mode.as_str() != planned.mode || set.sha256 != planned.sha256 {
            return Err(changed("the backup is not the one that was planned; it is kept"));
        }
        let deleting = self.vault.delete(grant, instance_id, &planned.backup_id);
        self.forgetting(instance_id, &planned.backup_id, deleting).await?;
        Ok(set)
    }
}
