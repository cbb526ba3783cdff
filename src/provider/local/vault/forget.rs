//! Sets that are gone from the vault and that this home has not deleted: a person may say that this was meant. Nothing is deleted here; what is
//! forgotten is that they were put, so that their absence is no alarm any more.

use crate::guard::ledger::AuditRecord;
use crate::model::fault::{Fault, Kind};
use crate::model::text::quoted;
use crate::provider::local::{Inner, Local};

impl Local {
    /// Whether a set that this home has put is gone from the vault, and not by this home.
    ///
    /// # Errors
    /// `backup.not_found` where nothing is remembered of it; `backup.there` where something of it lies in the vault; `vault.failed`,
    /// `state.failed`.
    pub async fn removed(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        self.inner.removed(instance_id, backup_id).await
    }

    /// Forgets a set that is gone so. What was forgotten.
    ///
    /// # Errors
    /// As [`Self::removed`].
    pub async fn forget(&self, instance_id: &str, backup_id: &str, caller: &str) -> Result<String, Fault> {
        self.inner.forget(instance_id, backup_id, caller).await
    }
}

impl Inner {
    async fn removed(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        let set = || format!("a backup {} of {}", quoted(backup_id), quoted(instance_id));
        if !self.recorded(instance_id).await?.contains_key(&(instance_id.to_owned(), backup_id.to_owned())) {
            let message = format!("this home does not remember that it has put {}", set());
            return Err(Fault::new(Kind::NotFound, "backup.not_found", message)
                .hint("vault verify names the sets that are remembered and gone: removed."));
        }
        if self.vault.examine_again(instance_id, backup_id).await?.is_some() {
            let message = format!("the vault has {}, or a part of it; nothing is forgotten", set());
            return Err(Fault::new(Kind::Refused, "backup.there", message).hint(
                "vault verify says what is wrong with it; delete_backup deletes a set that is no longer wanted.",
            ));
        }
        Ok(())
    }

    async fn forget(&self, instance_id: &str, backup_id: &str, caller: &str) -> Result<String, Fault> {
        self.removed(instance_id, backup_id).await?;
        // A crash behind this line leaves no more than rows of verifications.
        self.state.set_manifest(instance_id, backup_id, None).await?;
        self.state.forget_verified(instance_id, backup_id).await?;
        let message = format!("backup {backup_id} is forgotten: it was removed from the vault by somebody else");
        self.jobs.audit(AuditRecord::now("backup.forgotten", caller, instance_id, message.clone())).await;
        Ok(message)
    }
}
