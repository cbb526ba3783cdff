//! Facts about a change of a backup policy.

use crate::guard::facts::CloudState;
use crate::model::policy::BackupPolicy;

/// The facts of a policy change of an instance of the cloud.
#[derive(Debug, Clone)]
pub struct PolicyFacts {
    /// The instance whose policy is changed.
    pub state: CloudState,
    /// The policy in force.
    pub now: BackupPolicy,
    /// The policy after the change.
    pub then: BackupPolicy,
}

/// The facts of a policy change of an instance that this program reaches itself.
#[derive(Debug, Clone)]
pub struct OwnPolicyFacts {
    /// Where clients connect to the instance; empty where that is not known.
    pub address: String,
    /// The policy in force.
    pub now: BackupPolicy,
    /// The policy after the change.
    pub then: BackupPolicy,
    /// Number of automated sets that are there.
    pub automated: usize,
}
