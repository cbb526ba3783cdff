//! What is read before a restore: the facts that the guard judges and the plan is made of.

use crate::model::instance::Counts;
use jiff::Timestamp;

/// How the data gets into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// We act as the target's master: the data set is swapped in whole, or not at all.
    Replication,
    /// FLUSHALL, then one RESTORE a key. Not atomic: a failure leaves part of the data.
    Commands,
}

impl Way {
    /// The word in plans and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Commands => "commands",
        }
    }

    /// What it means, for the person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Replication => {
                "atomic: the target loads the set as a replica of this process and swaps it in whole; if anything fails before that, the old data stays"
            }
            Self::Commands => {
                "NOT atomic: the target is emptied (FLUSHALL) and keys are written one by one; a failure leaves it partly filled until the safety backup is restored"
            }
        }
    }
}

/// The target as it stands.
#[derive(Debug, Clone)]
pub struct TargetFacts {
    /// Where it is, without credentials.
    pub address: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The process's run id: changes when it restarts.
    pub run_id: String,
    /// Its replication id: changes when it fails over.
    pub replication_id: String,
    /// Why it cannot take a restore now; empty when ready.
    pub not_ready: String,
    /// Things a person should know that do not stop a restore.
    pub remarks: Vec<String>,
    /// Keys per database.
    pub counts: Counts,
    /// Count of write commands since the server started.
    pub write_calls: u64,
    /// When `write_calls` was read.
    pub read_at: Timestamp,
    /// Writes per second over the window just measured.
    pub writes_per_second: f64,
    /// Length of that window in seconds.
    pub window_seconds: f64,
    /// Bytes the data uses now.
    pub used_memory: u64,
    /// Bytes of its configured limit; 0 for none.
    pub maxmemory: u64,
    /// Bytes the machine has free for it, as far as the server tells; `None` when it does not.
    pub free_memory: Option<u64>,
    /// How the data would get in.
    pub way: Way,
    /// Why that way.
    pub way_reason: String,
    /// Why this server cannot load this set; empty when it can.
    pub cannot_load: String,
    /// The slots it serves as a node of a cluster; empty outside one.
    pub slots: String,
}

/// The set to be restored, just verified.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// Its id.
    pub backup_id: String,
    /// The moment captured.
    pub taken_at: Timestamp,
    /// SHA-256 of its RDB.
    pub sha256: String,
    /// Checksum of its file on the vault: which bytes were verified.
    pub stored_sha256: String,
    /// Bytes of its RDB.
    pub rdb_bytes: u64,
    /// Keys per database.
    pub counts: Counts,
    /// Memory it will need, as far as known; 0 when not.
    pub used_memory: u64,
    /// Damage found while verifying; empty when it is whole.
    pub damage: String,
    /// Whether it was verified whole just now, rather than for the plan.
    pub looked: bool,
    /// Whether its RDB carries a CRC64, as far as was looked.
    pub crc64: bool,
}

/// The backup of what the target holds now.
#[derive(Debug, Clone)]
pub struct SafetyFacts {
    /// The job that takes or took it.
    pub job_id: String,
    /// The set it makes; empty while its place has not given it an id.
    pub backup_id: String,
    /// Whether it is being taken, whole, or failed.
    pub status: SafetyStatus,
}

/// How far the safety backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafetyStatus {
    /// Being taken.
    Running,
    /// Whole and verified.
    Whole {
        /// Keys in it, where its place tells.
        keys: Option<u64>,
        /// When its capture began.
        taken_at: Timestamp,
        /// Taken earlier and used again, not taken for this plan.
        reused: bool,
    },
    /// Could not be taken.
    Failed(String),
}

/// How closely to look when reading the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Verify the set whole and measure write traffic over a window: for a plan.
    Whole,
    /// Read identity, readiness and counters again: to see whether a plan still stands.
    Again,
}
