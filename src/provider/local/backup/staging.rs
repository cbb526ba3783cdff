//! Which sets are being made, and which are given up: the jobs say that, and the vault asks.

use crate::model::fault::Fault;
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

    async fn never_whole(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        ByJobs(Arc::clone(&self.state)).never_whole(instance_id).await
    }
}

/// What the jobs of a store say.
pub struct ByJobs(pub Arc<dyn State>);

#[async_trait]
impl Staging for ByJobs {
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.0.sets_in_the_making(instance_id).await
    }

    async fn given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.0.sets_given_up(instance_id).await
    }

    async fn never_whole(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        let mut ids = self.0.sets_given_up(instance_id).await?;
        // A restore that failed may have taken its last safety backup by then: whoever completes a set remembers its manifest.
        let remembered = self.0.manifests(Some(instance_id)).await?;
        ids.retain(|id| !remembered.contains_key(&(instance_id.to_owned(), id.clone())));
        Ok(ids)
    }
}
