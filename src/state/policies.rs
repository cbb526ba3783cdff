//! Policies of instances that this program reaches itself, as a trait: what tools have set, where the configuration file sets nothing.

use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::state::leases::Lease;
use async_trait::async_trait;
use jiff::Timestamp;

/// What tools have set of an instance's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPolicy {
    /// The policy; without a calendar where none was set.
    pub policy: BackupPolicy,
    /// Since when there is a calendar, whichever; `None` without one.
    pub calendar_since: Option<Timestamp>,
    /// When anything of it was changed last: as it is now it has been since then.
    pub changed_at: Timestamp,
}

/// Policies. What is set is durable when the method returns.
///
/// All of them fail with `state.failed` where the store does.
#[async_trait]
pub trait Policies: Send + Sync {
    /// What was set of an instance's policy; `None` where nobody ever set anything.
    async fn stored_policy(&self, instance_id: &str) -> Result<Option<StoredPolicy>, Fault>;

    /// Sets the policy of an instance, by whoever works under that lease. What follows from others (the next backup, the earliest second)
    /// is not stored.
    ///
    /// # Errors
    /// `job.busy` where the lease is another's by now: nothing is set.
    async fn set_policy(&self, instance_id: &str, policy: &BackupPolicy, under: &Lease) -> Result<(), Fault>;
}

/// The fault of a change of policy while somebody else makes one.
#[must_use]
pub fn busy(instance_id: &str) -> Fault {
    let message = format!("another change of the policy of {instance_id} is under way");
    Fault::new(Kind::Provider, "job.busy", message).hint("Call again in a minute.")
}
