//! Deletion of a manual set of a cloud-native instance, and what is read before it. What the cloud would refuse is refused
//! before the cloud is asked.

use crate::guard::facts::Facts;
use crate::guard::facts::backup::CloudDeletion;
use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::{Preconditions, SetIdentity};
use crate::model::backup::Mode;
use crate::model::fault::Fault;
use crate::model::job::Unfinished;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::describe::cloud_state;
use crate::provider::tair::lookup::find_set;
use crate::provider::tair::poller::Poller;
use crate::provider::tair::sets::{self, listed_facts};
use crate::tair::wire::backups::DeleteBackup;

impl Inner {
    /// What a deletion is about.
    pub async fn deletion_facts(&self, id: &str, backup_id: &str) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let listed = self.listed(id, sets::always()).await?;
        let others = listed.iter().flatten().count().saturating_sub(1);
        let set = listed_facts(&find_set(listed, id, backup_id)?);
        let refused = Architecture::of(&a).can_delete_sets().err();
        let ids = [backup_id.to_owned()];
        let dependents = self.jobs.state.dependents(id, &ids).await?.remove(backup_id).unwrap_or_default();
        Ok(Facts::CloudDeletion(CloudDeletion { state: cloud_state(&a), set, refused, others, dependents }))
    }

    /// Deletes the set that is permitted.
    pub async fn delete(&self, permit: Permit, backup_id: &str) -> Result<String, Fault> {
        let id = permit.plan().instance_id.clone();
        let set = self.cloud_set(&id, backup_id).await?;
        // The permit is for what was shown to the person.
        let planned = match &permit.plan().preconditions {
            Preconditions::CloudDeletion { set, .. } => set.as_ref(),
            _ => return Err(permit.plan().unsupported()),
        };
        if set.set.mode != Mode::Manual || planned != Some(&SetIdentity::from(&set.facts())) {
            return Err(changed("the backup is not the one that was planned; it is kept"));
        }
        let call = DeleteBackup { instance_id: id.clone(), backup_id: backup_id.to_owned() };
        // The permit goes with the call.
        let (caller, nonce) = (permit.caller().to_owned(), permit.nonce().to_owned());
        let deleted = format!("backup {backup_id} is deleted");
        let failed = match self.client.granted(permit.delete()?).call(&call).await {
            Ok(_) => None,
            // That the list cannot be read now changes nothing about what is not known.
            Err(e) if e.is_uncertain() && self.is_gone(&id, backup_id).await.unwrap_or(false) => None,
            Err(e) => Some((e.is_uncertain(), Fault::from(e))),
        };
        let (event, detail) = match &failed {
            None => ("backup.deleted", deleted.clone()),
            Some((true, fault)) => ("backup.delete_uncertain", fault.message.clone()),
            Some((false, fault)) => ("backup.not_deleted", format!("{}: {}", fault.code, fault.message)),
        };
        self.jobs.audit(AuditRecord { nonce, ..AuditRecord::now(event, &caller, &id, detail) }).await;
        failed.map_or(Ok(deleted), |(_, fault)| Err(fault))
    }

    /// Whether a set disappears from the list within the time in which changes are seen.
    async fn is_gone(&self, instance_id: &str, backup_id: &str) -> Result<bool, Unfinished> {
        let mut poller = Poller::new(&self.polling, self.polling.visibility_delay.saturating_mul(2), &self.jobs.stop);
        loop {
            let listed = self.listed(instance_id, sets::always()).await?;
            if sets::find(listed, backup_id).is_none() {
                return Ok(true);
            }
            if poller.elapsed() >= self.polling.visibility_delay {
                return Ok(false);
            }
            poller.wait("the deletion").await?;
        }
    }
}
