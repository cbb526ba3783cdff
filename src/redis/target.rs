//! The target of a restore: why replication cannot restore a server, and what a server holds after a restore that failed.
//!
//! Plain data for errors and plans; nothing here talks to a server.

use std::fmt;

/// Why a target cannot be restored through replication. Restoring by commands may still be possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The target follows a master, and only that one can be restored.
    #[error("the target is a replica of {master}")]
    Replica {
        /// The master, as host:port.
        master: String,
    },
    /// REPLICAOF does not exist in cluster mode.
    #[error("the target is a node of a cluster, where REPLICAOF is not allowed")]
    Cluster,
    /// The target is a managed service, or the user lacks the right.
    #[error("the target does not let us read its settings: {message}")]
    Config {
        /// What the target said.
        message: String,
    },
    /// REPLICAOF is hidden, or the user lacks the right.
    #[error("the target does not let us use REPLICAOF: {message}")]
    ReplicaOf {
        /// What the target said.
        message: String,
    },
    /// The target speaks TLS to its master, which this program does not.
    #[error("the target has tls-replication on, and restoring as a master is not offered over TLS")]
    TlsReplication,
    /// The target is reached by TLS, and what a replica of this program fetches is not encrypted.
    #[error("the target is reached by TLS, and replication would send its data in clear")]
    InClear,
    /// The server is older than the setting that keeps its old data until the new is whole.
    #[error("the target (version {version}) has no repl-diskless-load, so a broken transfer would cost its old data")]
    NoSwap {
        /// The target's version.
        version: String,
    },
    /// A module without support for asynchronous loading makes the server load from disk, over its own dump file.
    #[error("the target has modules that may force it to load over its own dump file: {names}")]
    Modules {
        /// Names of the modules.
        names: String,
    },
    /// The target does not say which modules are loaded.
    #[error("the target does not say which modules it has loaded")]
    ModulesUnknown,
}

impl Refusal {
    /// The stable code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Replica { .. } => "restore.target_is_replica",
            Self::Cluster => "restore.target_is_cluster",
            Self::Config { .. } => "restore.target_config_refused",
            Self::ReplicaOf { .. } => "restore.target_replicaof_refused",
            Self::TlsReplication => "restore.target_tls_replication",
            Self::InClear => "restore.in_clear",
            Self::NoSwap { .. } => "restore.target_too_old",
            Self::Modules { .. } | Self::ModulesUnknown => "restore.target_modules",
        }
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Replica { master } => format!("restore its master, {master}; replicas follow"),
            Self::Config { .. } | Self::ReplicaOf { .. } => {
                "restore by commands, or give the user +config|get +config|set +replicaof".to_owned()
            }
            Self::InClear => "restore by commands, or set allow_plain_replication for the instance".to_owned(),
            Self::ModulesUnknown => "give the user +module|list, or restore by commands".to_owned(),
            _ => "restore by commands".to_owned(),
        }
    }
}

/// What a target holds after a restore failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// The target holds its old data.
    Untouched,
    /// The target holds the new data, whole.
    Replaced,
    /// The target holds the snapshot, and of the commands behind it only a part or not all as they were.
    Unfinished,
    /// The target did not answer, or has restarted since.
    Unknown,
    /// The target's process has ended, and with it what was in its memory.
    Gone,
}

impl fmt::Display for TargetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouched => "the target still has its old data",
            Self::Replaced => "the target has the new data",
            Self::Unfinished => {
                "NOT restored: the target holds the backup set, and of the commands behind it only a part, or some were refused"
            }
            Self::Unknown => "what the target holds now is not known",
            Self::Gone => "the target's process has ended: at its next start it holds what its own files have",
        })
    }
}
