//! Facts about a change of a backup policy.

use crate::guard::facts::CloudState;
use crate::model::persistence::PersistenceSettings;
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
    /// What the instance keeps on its disk; `None` where the change does not name it.
    pub persistence: Option<PersistenceFacts>,
}

/// What a change does to what a server keeps on its disk by itself.
#[derive(Debug, Clone)]
pub struct PersistenceFacts {
    /// The settings in force.
    pub now: PersistenceSettings,
    /// The settings after the change.
    pub then: PersistenceSettings,
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
    /// What the server keeps on its disk; `None` where the change does not name it.
    pub persistence: Option<PersistenceFacts>,
}
