//! Who says which sets are being made, and which are given up: the vault knows no jobs.

use crate::model::fault::Fault;
use async_trait::async_trait;

/// Knows which sets of an instance are being made at this moment.
#[async_trait]
pub trait Staging: Sync {
    /// Ids of the sets being made. Called only after data without a manifest was found. Such data whose id is not returned
    /// here is read again, for its job may have committed it in between.
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, Fault>;

    /// The ids of those that were to be made by somebody who has failed: what lies of them is nobody's.
    async fn given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault>;

    /// Those of the given up that were never seen whole. A manifest without data that one of them has was put late, by a request that outlived its
    /// process; of any other its data was taken away.
    async fn never_whole(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.given_up(instance_id).await
    }
}

/// Nobody makes a set, nor was anybody to.
#[async_trait]
impl Staging for () {
    async fn of(&self, _: &str) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    async fn given_up(&self, _: &str) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}
