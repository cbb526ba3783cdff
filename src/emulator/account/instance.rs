//! An instance as the cloud shows it: its kind, how it was created, and its possible states.
//!
//! The kind is the configuration's `emulate = { … }`; the server behind the instance knows nothing of it.

use crate::config::emulate::{Architecture, Emulate, Generation};
use crate::emulator::account::records::Creation;

/// The state of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The instance serves and takes changes.
    Normal,
    /// The instance is being created.
    Creating,
    /// The instance is being restored.
    BackupRecovering,
    /// The instance could not be created.
    Error,
}

impl Status {
    /// The status as the cloud's API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Creating => "Creating",
            Self::BackupRecovering => "BackupRecovering",
            Self::Error => "Error",
        }
    }
}

/// An instance of the account.
#[derive(Debug, Clone)]
pub struct EmulatedInstance {
    /// The instance's id, which is the configuration's own.
    pub id: String,
    /// Which kind of cloud instance is emulated.
    pub kind: Emulate,
    /// How the instance was created, where a call created it.
    pub created: Option<Creation>,
}

impl EmulatedInstance {
    /// Whether the instance is a cloud-native one.
    #[must_use]
    pub fn is_cloud_native(&self) -> bool {
        self.kind.generation == Generation::CloudNative
    }

    /// Whether the instance is a cluster.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.kind.architecture == Architecture::Cluster
    }

    /// Whether the instance's sets are listed by `DescribeClusterBackupList` alone.
    #[must_use]
    pub fn has_cluster_sets(&self) -> bool {
        self.is_cloud_native() && self.is_cluster()
    }

    /// The id of the instance's one shard, which is its own on a standard architecture.
    #[must_use]
    pub fn node(&self) -> String {
        if self.is_cluster() { format!("{}-db-0", self.id) } else { self.id.clone() }
    }
}

#[cfg(test)]
mod tests {
    //! Only cloud-native clusters list their sets apart; a shard has an id of its own on clusters.
    use super::*;

    #[test]
    fn kinds() {
        for (generation, architecture, cluster_sets, node) in [
            (Generation::Classic, Architecture::Standard, false, "orders"),
            (Generation::Classic, Architecture::Cluster, false, "orders-db-0"),
            (Generation::CloudNative, Architecture::Standard, false, "orders"),
            (Generation::CloudNative, Architecture::Cluster, true, "orders-db-0"),
        ] {
            let kind = Emulate { generation, architecture, ..Emulate::default() };
            let instance = EmulatedInstance { id: "orders".into(), kind, created: None };
            assert_eq!((instance.has_cluster_sets(), instance.node().as_str()), (cluster_sets, node));
        }
    }
}
