//! Which sets are being made: the jobs say that, and the vault asks.

use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus, stage};
use crate::provider::local::Inner;
use crate::state::jobs::Filter;
use crate::vault::staging::Staging;
use async_trait::async_trait;

#[async_trait]
impl Staging for Inner {
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        let jobs = self.state.jobs(Filter { job_id: None, instance_id: Some(instance_id) }).await?;
        let makes = jobs.into_iter().filter(|job| {
            // A job found dead, of which nothing could be discarded yet, still counts as running in the store.
            job.kind == JobKind::Backup
                && job.status == JobStatus::Running
                && !job.stage.starts_with(stage::INTERRUPTED)
        });
        Ok(makes.map(|job| job.backup_id).collect())
    }
}
