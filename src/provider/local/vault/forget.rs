//! Sets and ends of logs that are gone from the vault and that this home has not deleted: a person may say that this was meant. Nothing is deleted
//! here; what is forgotten is that they were put, so that their absence is no alarm any more.

use crate::config::blocking::blocking;
use crate::guard::ledger::AuditRecord;
use crate::model::fault::{Fault, Kind};
use crate::model::log::LogHead;
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

    /// Whether a part of a timeline that this home knew is gone from the vault, and not by this home.
    ///
    /// # Errors
    /// `log.not_found` where nothing is remembered of the timeline; `log.there` where all that is remembered lies in the vault; `log.failed`,
    /// `state.failed`.
    pub async fn log_removed(&self, instance_id: &str, timeline: &str) -> Result<(), Fault> {
        self.inner.log_removed(instance_id, timeline).await.map(drop)
    }

    /// Forgets up to where such a timeline was known. What was forgotten.
    ///
    /// # Errors
    /// As [`Self::log_removed`].
    pub async fn forget_log(&self, instance_id: &str, timeline: &str, caller: &str) -> Result<String, Fault> {
        self.inner.forget_log(instance_id, timeline, caller).await
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

    async fn log_removed(&self, instance_id: &str, timeline: &str) -> Result<LogHead, Fault> {
        let known = self.state.heads(Some(instance_id)).await?.into_iter().find(|head| head.timeline == timeline);
        let Some(head) = known else {
            let of = format!("timeline {} of the log of {}", quoted(timeline), quoted(instance_id));
            return Err(Fault::new(Kind::NotFound, "log.not_found", format!("this home does not remember {of}"))
                .hint("vault verify names the timelines of which something is gone."));
        };
        let archive = self.archive.clone();
        let (head, gone) =
            blocking(move || archive.lost_behind(&head, true).map(|gone| (head, gone.is_some()))).await?;
        if gone {
            return Ok(head);
        }
        let message = format!(
            "the vault has all that is remembered of timeline {timeline} of {instance_id}; nothing is forgotten"
        );
        Err(Fault::new(Kind::Refused, "log.there", message)
            .hint("vault verify --deep says what else is wrong with the log."))
    }

    async fn forget_log(&self, instance_id: &str, timeline: &str, caller: &str) -> Result<String, Fault> {
        let LogHead { shard, offset, .. } = self.log_removed(instance_id, timeline).await?;
        self.state.forget_head(instance_id, shard, timeline).await?;
        let message = format!(
            "the end of timeline {timeline} at offset {offset} is forgotten: it was removed from the vault by somebody else"
        );
        self.jobs.audit(AuditRecord::now("log.forgotten", caller, instance_id, message.clone())).await;
        Ok(message)
    }
}
