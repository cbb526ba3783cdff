//! Facts about a change of a backup policy.

use crate::guard::facts::CloudState;
use crate::model::policy::BackupPolicy;

/// What a change is about.
#[derive(Debug, Clone)]
pub struct PolicyFacts {
    /// The instance.
    pub state: CloudState,
    /// The policy in force.
    pub now: BackupPolicy,
    /// The policy that the change makes of it.
    pub then: BackupPolicy,
}
