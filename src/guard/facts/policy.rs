//! Facts about a change of a backup policy.

use crate::guard::facts::CloudState;
use crate::model::policy::BackupPolicy;

/// The facts of a policy change.
#[derive(Debug, Clone)]
pub struct PolicyFacts {
    /// The instance whose policy is changed.
    pub state: CloudState,
    /// The policy in force.
    pub now: BackupPolicy,
    /// The policy after the change.
    pub then: BackupPolicy,
}
