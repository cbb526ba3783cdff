//! What the verifications of each set came to, as a trait. Only what cannot be read from the vault: a set's damage is on the vault,
//! and that somebody has looked for it is here.

use crate::model::fault::Fault;
use crate::model::verification::{Level, Look, Verification};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// Verifications. What is written is durable when the method returns.
///
/// All of them fail with `state.failed` where the store does, and with `state.damaged` on a stored value that no version writes.
#[async_trait]
pub trait Verifications: Send + Sync {
    /// What is kept of each set of an instance that was verified since it was made.
    async fn verifications(&self, instance_id: &str) -> Result<BTreeMap<String, Verification>, Fault>;

    /// Writes down what a look at a set came to, in place of the last one of its level; where it found nothing, also in place of the
    /// faults of those less deep.
    async fn set_verified(&self, instance_id: &str, backup_id: &str, level: Level, look: &Look) -> Result<(), Fault>;

    /// Forgets what the verifications of a set came to that is gone. Two things stay: the last drill that a set of the instance has passed, from
    /// which the next one is counted, and that a server did not load the set, for that is so of each copy of it.
    async fn forget_verified(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault>;
}
