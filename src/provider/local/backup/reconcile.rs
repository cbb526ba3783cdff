//! Reconciling a backup whose process died: its set was whole by then, or nothing of it is kept.

use crate::model::fault::{Fault, Kind};
use crate::model::job::Job;
use crate::provider::local::Inner;

impl Inner {
    pub(in crate::provider::local) async fn reconcile_backup(&self, job: &Job) -> Result<String, Fault> {
        // The manifest may have been the last thing its process put.
        let find = async || self.vault.find(&job.instance_id, &job.backup_id, &()).await;
        if let Ok(set) = find().await {
            self.remember(&set).await;
            return Ok("the set was whole when its process died".into());
        }
        self.vault.discard_staging(&job.instance_id, &job.backup_id).await?;
        // A set with a manifest is no staging and stays, also where it cannot be read.
        if let Err(fault) = find().await
            && fault.kind != Kind::NotFound
        {
            let message = format!(
                "the process taking this backup died, and what there is of its set cannot be looked at: {}",
                fault.message
            );
            return Err(Fault::new(Kind::Unexpected, "job.interrupted", message)
                .hint("Look at it with describe_backups. Call create_backup again.")
                .because(fault));
        }
        Err(Fault::new(
            Kind::Unexpected,
            "job.interrupted",
            "the process taking this backup died; nothing of it is kept",
        )
        .hint("Call create_backup again."))
    }
}
