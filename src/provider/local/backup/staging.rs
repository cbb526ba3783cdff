//! Which sets are being made, and which are given up: the jobs say that, and the vault asks.

use crate::model::fault::Fault;
use crate::model::job::{JobKind, JobStatus, last_safety_id};
use crate::provider::local::Inner;
use crate::state::State;
use crate::vault::staging::Staging;
use async_trait::async_trait;
use std::sync::Arc;

#[async_trait]
impl Staging for Inner {
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        ByJobs(Arc::clone(&self.state)).of(instance_id).await
    }

    async fn given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        ByJobs(Arc::clone(&self.state)).given_up(instance_id).await
    }
}

/// What the jobs of a store say.
pub struct ByJobs(pub Arc<dyn State>);

#[async_trait]
impl Staging for ByJobs {
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        let mut sets = self.0.sets_in_the_making(instance_id).await?;
        sets.extend(self.last_safety_ids(instance_id, JobStatus::Running).await?);
        Ok(sets)
    }

    async fn given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        let mut sets = self.0.sets_given_up(instance_id).await?;
        sets.extend(self.last_safety_ids(instance_id, JobStatus::Failed).await?);
        Ok(sets)
    }
}

impl ByJobs {
    /// The sets that restores take themselves, right before they touch their target.
    async fn last_safety_ids(&self, instance_id: &str, status: JobStatus) -> Result<Vec<String>, Fault> {
        let jobs = self.0.jobs(Some(instance_id)).await?;
        let restores = jobs.iter().filter(|job| job.kind == JobKind::Restore && job.status == status);
        Ok(restores.map(|job| last_safety_id(&job.id)).collect())
    }
}
