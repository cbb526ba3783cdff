//! Facts about a restore in place: the target, what it is restored from, and the backup of what it holds now.

use crate::guard::facts::backup::ListedSet;
use crate::guard::facts::{CloudState, NotPossible};
use crate::guard::writes::Writes;
use crate::model::instance::Counts;
use crate::model::restore::Method;
use jiff::Timestamp;

/// Why a server cannot take a restore now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReady {
    /// The server loads its data.
    Loading,
    /// The server follows a master.
    Replica {
        /// The master's host, cleaned.
        host: String,
        /// The master's port.
        port: u16,
    },
    /// The protocol room refused it, in its own sentence.
    Refused(String),
}

/// Why a restore goes by its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MethodReason {
    /// The target can follow this process.
    CanFollow,
    /// The operator's configuration asks for commands.
    Configured,
    /// The target cannot follow this process, for the reason given.
    CannotFollow(String),
    /// The target is not ready, so nothing was tried.
    NotJudged,
}

/// A server that this program reaches itself, as it was read.
#[derive(Debug, Clone)]
pub struct TargetFacts {
    /// Where it listens, without credentials.
    pub address: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The process's run id: another one after a restart.
    pub run_id: String,
    /// Its replication id: another one after a failover.
    pub replication_id: String,
    /// Why it cannot take a restore now.
    pub not_ready: Option<NotReady>,
    /// Whether a Sentinel listens on it, and a restore would make it a replica for a while.
    pub sentinel: bool,
    /// Replicas attached to it.
    pub replicas: u64,
    /// Whether it keeps an append-only file.
    pub append_only: bool,
    /// Keys per database.
    pub counts: Counts,
    /// Its counter of write commands.
    pub writes: Writes,
    /// Writes per second over a window, and the window's seconds; `None` where a plan exists, for then the time since the
    /// plan is the window.
    pub measured: Option<(f64, f64)>,
    /// Bytes its data uses now.
    pub used_memory: u64,
    /// Bytes of its configured limit; 0 for none.
    pub maxmemory: u64,
    /// Bytes the machine has free for it; `None` where the server does not tell.
    pub free_memory: Option<u64>,
    /// How the data would get in.
    pub method: Method,
    /// Why so.
    pub method_reason: MethodReason,
    /// Why it cannot load this set; `None` where it can.
    pub cannot_load: Option<String>,
    /// The slots it serves as a node of a cluster; empty outside one.
    pub slots: String,
}

/// What looking at a set found.
#[derive(Debug, Clone)]
pub enum SetLook {
    /// Every byte was read and fits the manifest.
    Verified {
        /// Checksum of the stored file: which bytes were verified.
        stored_sha256: String,
        /// Whether the RDB carries a CRC64 of its server.
        crc64: bool,
        /// Whether modules keep data beside the keys in it.
        module_data: bool,
    },
    /// The set cannot be used.
    Damaged(String),
    /// A plan has verified it; the restore compares its file once more right before the first byte.
    KnownFromPlan,
}

/// A set of this program's vault.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// The set's id.
    pub backup_id: String,
    /// When its capture began.
    pub taken_at: Timestamp,
    /// SHA-256 of its RDB.
    pub sha256: String,
    /// Bytes of its RDB.
    pub rdb_bytes: u64,
    /// Keys per database.
    pub counts: Counts,
    /// Memory it will need, as far as its server told; 0 when not.
    pub used_memory: u64,
    /// Whether it is recorded which process it was taken from.
    pub origin_known: bool,
    /// What looking at it found.
    pub look: SetLook,
}

/// Another job that runs on the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningJob {
    /// Its kind, as shown.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
}

/// What a restore of a server that this program reaches itself is about.
#[derive(Debug, Clone)]
pub struct DirectRestore {
    /// The server.
    pub target: TargetFacts,
    /// The set.
    pub source: SourceFacts,
    /// Another job that has to end first. Looked for where a plan exists.
    pub running: Option<RunningJob>,
}

/// What the target shows on the connection that acts, at the last moment.
#[derive(Debug, Clone)]
pub struct LastLook {
    /// The process's run id.
    pub run_id: String,
    /// Its replication id.
    pub replication_id: String,
    /// The slots it serves.
    pub slots: String,
    /// Its counter of write commands.
    pub writes: Writes,
}

/// Writes as the cloud has measured them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredWrites {
    /// The highest writes a second of any point.
    pub peak: f64,
    /// Seconds looked back over.
    pub window_seconds: f64,
}

/// A key count, and when the cloud took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedKeys {
    /// Keys.
    pub keys: u64,
    /// When they were counted, where the cloud tells.
    pub at: Option<Timestamp>,
}

/// What reading `filter_key` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFacts {
    /// The expressions, as they are sent.
    pub items: Vec<String>,
    /// What is odd about them.
    pub warnings: Vec<String>,
}

/// What an instance of the cloud is restored from.
#[derive(Debug, Clone)]
pub enum CloudSource {
    /// A set, as it is listed.
    Set(ListedSet),
    /// A moment of the archive.
    Moment {
        /// The moment.
        at: Timestamp,
        /// From when the time that keys had left to live counts on.
        time_shift: Option<Timestamp>,
        /// From when moments are kept; `None` while data flashback is off.
        log_start: Option<Timestamp>,
    },
}

/// What is read of an instance that the cloud restores in place.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// What is known of how the cloud treats such a restore, for the person.
    pub remark: String,
    /// What it is restored from.
    pub source: CloudSource,
    /// Writes, by the cloud's measure.
    pub traffic: MeasuredWrites,
    /// Keys, by the cloud's measure; `None` where it has sent no figure at all.
    pub keys: Option<CountedKeys>,
    /// When all this was read: the next look measures from here.
    pub read_at: Timestamp,
    /// Whether writes are locked meanwhile.
    pub write_fence: bool,
}

/// What a restore of an instance of the cloud is about.
#[derive(Debug, Clone)]
pub struct CloudRestore {
    /// The instance's id.
    pub instance_id: String,
    /// The instance.
    pub state: CloudState,
    /// What the list of expressions means, where one was given.
    pub filter: Option<FilterFacts>,
    /// The restore, or why it cannot be done in place.
    pub in_place: Result<InPlace, NotPossible>,
}

/// The backup of what the target holds now.
#[derive(Debug, Clone)]
pub struct SafetyFacts {
    /// The job that takes or took it; empty where an earlier set is used again.
    pub job_id: String,
    /// The set; empty while its place has not given it an id.
    pub backup_id: String,
    /// Whether it is being taken, whole, or failed.
    pub status: SafetyStatus,
}

/// How far the safety backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafetyStatus {
    /// It is being taken.
    Running,
    /// It is whole and verified.
    Whole {
        /// Keys in it, where its place tells.
        keys: Option<u64>,
        /// When its capture began.
        taken_at: Timestamp,
        /// Whether it was taken earlier and is used again.
        reused: bool,
    },
    /// It could not be taken.
    Failed(String),
}
