//! Which sets are being made, and which are given up: the jobs say that, and the vault asks.

use crate::model::fault::Fault;
use crate::provider::local::Inner;
use crate::vault::staging::Staging;
use async_trait::async_trait;

#[async_trait]
impl Staging for Inner {
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.state.sets_in_the_making(instance_id).await
    }

    async fn given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.state.sets_given_up(instance_id).await
    }
}
