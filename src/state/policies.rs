//! Policies of instances that this program reaches itself, as a trait: what tools have set, where the configuration file sets nothing.

use crate::model::fault::Fault;
use async_trait::async_trait;

/// Policies. What is set is durable when the method returns.
///
/// All of them fail with `state.failed` where the store does.
#[async_trait]
pub trait Policies: Send + Sync {
    /// Whether the log of an instance was set on or off; `None` where nobody ever did.
    async fn backup_log(&self, instance_id: &str) -> Result<Option<bool>, Fault>;

    /// Sets the log of an instance on or off.
    async fn set_backup_log(&self, instance_id: &str, on: bool) -> Result<(), Fault>;
}
