//! Reconciling a backup whose process died: its set was whole by then, or nothing of it is kept.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd};
use crate::provider::local::Inner;

impl Inner {
    /// The outer error: the vault cannot be asked now.
    pub(in crate::provider::local) async fn reconcile_backup(&self, job: &Job) -> Result<JobEnd, Fault> {
        let find = async || match self.vault.find(&job.instance_id, &job.backup_id, &()).await {
            Ok(set) => Ok(Ok(set)),
            Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Damaged) => Ok(Err(fault)),
            // It says nothing of what is there, and what is not looked at must not be called lost.
            Err(fault) => Err(fault),
        };
        // The manifest may have been the last thing its process put.
        let mut found = find().await?;
        if found.is_err() {
            // A set with a manifest is no staging and stays, also where it cannot be read. In a bucket its manifest may land when the data is gone: a
            // sweep removes it, once this job is written down as failed.
            self.vault.discard_staging(&job.instance_id, &job.backup_id).await?;
            found = find().await?;
        }
        let fault = match found {
            Ok(set) => {
                self.remember(&set).await;
                return Ok(Ok("the set was whole when its process died".into()));
            }
            Err(fault) => fault,
        };
        let interrupted = |message: String| Fault::new(Kind::Unexpected, "job.interrupted", message);
        let end = if fault.kind == Kind::NotFound {
            interrupted("the process taking this backup died; nothing of it is kept".into())
                .hint("Call create_backup again.")
        } else {
            let message = format!(
                "the process taking this backup died, and what there is of its set cannot be looked at: {}",
                fault.message
            );
            interrupted(message).hint("Look at it with describe_backups. Call create_backup again.").because(fault)
        };
        Ok(Err(end.into()))
    }
}
