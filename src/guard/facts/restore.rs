//! Facts about a restore in place: the target, what it is restored from, and the backup of what it holds now.

use crate::guard::facts::backup::{CloudSet, ListedSet};
use crate::guard::facts::keys::KeysFacts;
use crate::guard::facts::replay::Replay;
use crate::guard::facts::rights::StepRight;
use crate::guard::facts::{CloudState, NotPossible};
use crate::guard::writes::Writes;
use crate::model::instance::Counts;
use crate::model::key_filter::KeyFilter;
use crate::model::restore::Method;
use jiff::Timestamp;

/// Why a server cannot take a restore now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReady {
    /// The server is loading its data.
    Loading,
    /// The server is a replica of another.
    Replica {
        /// The master's host, cleaned.
        host: String,
        /// The master's port.
        port: u16,
    },
    /// The server refused to be read, or cannot be restored: the sentence of the `redis` room.
    Refused(String),
}

/// Why a restore uses its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MethodReason {
    /// The target can follow this process.
    CanFollow,
    /// The target can follow this process; the operator allows that its data goes over the network in clear.
    CanFollowInClear,
    /// The operator's configuration asks for commands.
    Configured,
    /// The instance is reached by TLS, and what a target fetches as a replica of this process is not encrypted.
    WouldBeInClear,
    /// The target cannot follow this process, for the reason given.
    CannotFollow(String),
    /// Only some keys are restored.
    SomeKeys,
    /// A Sentinel watches the target, and would fail over if it followed this process for long.
    Watched,
    /// The target is not ready, so nothing was tried.
    NotJudged,
}

/// The function libraries of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Libraries {
    /// How many libraries there are.
    pub count: u64,
    /// Names of the first of them, cleaned; empty where the user may not list them.
    pub names: Vec<String>,
}

/// Why commands have to empty the target before they load the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InPlaceReason {
    /// A cluster's node has one database.
    Cluster,
    /// There are fewer empty databases than there are databases with keys.
    Databases,
    /// The set does not fit beside the old data.
    Room {
        /// Bytes that the set needs, about.
        need: u64,
    },
    /// The user lacks these rights, or the server these commands.
    Rights(String),
}

/// A server that this program reaches itself, as read from the server.
#[derive(Debug, Clone)]
pub struct TargetFacts {
    /// Where the server listens, without credentials.
    pub address: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// The server's version, as INFO writes it.
    pub version: String,
    /// The server's `run_id`: another one after a restart.
    pub run_id: String,
    /// The server's replication id: another one after a failover.
    pub replication_id: String,
    /// Why the server cannot take a restore now; `None` where it can.
    pub not_ready: Option<NotReady>,
    /// Whether a Sentinel monitors the server, which a restore makes a replica for a while.
    pub sentinel: bool,
    /// Number of replicas attached to the server.
    pub replicas: u64,
    /// Whether the server keeps an append-only file.
    pub append_only: bool,
    /// Keys per database.
    pub counts: Counts,
    /// What is known of the server's writes now.
    pub writes: Writes,
    /// Writes per second over a window, and the window's seconds; `None` where a plan exists, for then the time since the
    /// plan is the window.
    pub measured: Option<(f64, f64)>,
    /// Bytes of memory that the server's data uses now.
    pub used_memory: u64,
    /// Bytes of the configured memory limit; 0 for none.
    pub maxmemory: u64,
    /// The server's `maxmemory-policy`; empty where the server does not tell.
    pub eviction_policy: String,
    /// Bytes of free memory on the server's machine; `None` where the server does not tell.
    pub free_memory: Option<u64>,
    /// How the data would get in.
    pub method: Method,
    /// Why by that method.
    pub method_reason: MethodReason,
    /// Why commands cannot load the set beside the old data; `None` where they do, or are not the method.
    pub in_place: Option<InPlaceReason>,
    /// The steps of that method and the right to each.
    pub rights: Vec<StepRight>,
    /// The function libraries that the server has now.
    pub libraries: Libraries,
    /// Elements of the set's values that this server, by its own settings, keeps unpacked, which takes far more memory.
    pub unpacked: u64,
    /// What about the server's own limits could not be read, each as part of a sentence.
    pub unread: Vec<String>,
    /// Why the server cannot load the set; `None` where it can.
    pub cannot_load: Option<String>,
    /// The slots that the server owns as a node of a cluster, as ranges; empty outside a cluster.
    pub slots: String,
}

/// What reading a set resulted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetLook {
    /// Every byte was read and agrees with the manifest.
    Verified {
        /// Digest of the stored file, which identifies the bytes verified.
        stored_digest: String,
        /// Whether the RDB carries the CRC64 of the server that wrote it.
        crc64: bool,
        /// Whether the RDB holds module data outside the keys.
        module_data: bool,
    },
    /// The set cannot be used, for the reason given.
    Damaged(String),
    /// The set was verified for the plan; the restore compares its file again right before the first byte.
    KnownFromPlan,
}

/// A set of this program's vault.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// The set's id.
    pub backup_id: String,
    /// When the set's capture began.
    pub taken_at: Timestamp,
    /// SHA-256 of the set's RDB.
    pub sha256: String,
    /// Bytes of the set's RDB.
    pub rdb_bytes: u64,
    /// Keys per database of the set.
    pub counts: Counts,
    /// Keys of the set whose expiry had passed when the set was read; `None` where it was not read.
    pub expired: Option<u64>,
    /// Number of function libraries in the set.
    pub functions: u64,
    /// Bytes of memory that the set's source used; 0 where unknown.
    pub used_memory: u64,
    /// Whether the set records which server process it was taken from.
    pub origin_known: bool,
    /// Whether the set is known to lack the CRC64 of the server that wrote it.
    pub without_crc64: bool,
    /// What reading the set resulted in.
    pub look: SetLook,
}

/// Another job that runs on the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningJob {
    /// The job's kind, as shown: `backup`, `restore`, `clone`.
    pub kind: &'static str,
    /// The job's id.
    pub id: String,
}

/// The facts of a restore of a server that this program reaches itself.
#[derive(Debug, Clone)]
pub struct DirectRestore {
    /// The server to be overwritten.
    pub target: TargetFacts,
    /// The set that its data comes from.
    pub source: SourceFacts,
    /// The commands that are replayed behind the set; `None` where the set alone is restored.
    pub replay: Option<Replay>,
    /// The keys that alone are restored; `None` where all are.
    pub keys: Option<KeysFacts>,
    /// Another job on the instance that has to end first. Only read where a plan exists.
    pub running: Option<RunningJob>,
    /// Id of an earlier restore of the instance that is neither rolled back nor cleared.
    pub pending_rollback: Option<String>,
}

/// Writes as the cloud has measured them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredWrites {
    /// The highest rate of any point, in writes a second; `None` where no figures that can be read cover the window up to lately.
    pub peak: Option<f64>,
    /// Length of the window measured, in seconds.
    pub window_seconds: f64,
    /// Seconds from the newest figure to the look: what was written in them is in no figure.
    pub delay_seconds: f64,
}

/// A key count of the cloud's monitoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedKeys {
    /// Number of keys.
    pub keys: u64,
    /// When the keys were counted, where the cloud tells.
    pub at: Option<Timestamp>,
}

/// What an instance of the cloud is restored from.
#[derive(Debug, Clone)]
pub enum CloudSource {
    /// A set, as the cloud lists it.
    Set(ListedSet),
    /// A moment of the archive.
    Moment {
        /// The moment whose data is restored.
        at: Timestamp,
        /// The moment from which the time that keys had left to live counts on.
        time_shift: Option<Timestamp>,
        /// Start of the recovery window; `None` while data flashback is off.
        log_start: Option<Timestamp>,
    },
}

/// The facts of a restore that the cloud does in place.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// How the cloud treats such a restore, for the person.
    pub remark: String,
    /// What the instance is restored from.
    pub source: CloudSource,
    /// Write traffic, as the cloud measured it.
    pub traffic: MeasuredWrites,
    /// Number of keys, as the cloud counted them; `None` where it has sent no figure.
    pub keys: Option<CountedKeys>,
}

/// The facts of a restore of an instance of the cloud.
#[derive(Debug, Clone)]
pub struct CloudRestore {
    /// The instance's id.
    pub instance_id: String,
    /// The instance's attributes and status.
    pub state: CloudState,
    /// Id of an earlier restore of the instance whose rollback is pending.
    pub pending_rollback: Option<String>,
    /// What parsing `filter_key` resulted in, where one was given.
    pub filter: Option<KeyFilter>,
    /// The facts of the restore, or why the cloud cannot do it in place.
    pub in_place: Result<InPlace, NotPossible>,
}

/// The safety backup: that of the data which the target holds now.
#[derive(Debug, Clone)]
pub struct SafetyFacts {
    /// Id of the job that takes or took the backup; empty where an earlier set is used again.
    pub job_id: String,
    /// Id of the set; empty while the cloud has not given one.
    pub backup_id: String,
    /// Whether the backup is being taken, whole, or failed.
    pub status: SafetyStatus,
}

/// A position in the replication history of a server's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The server's `run_id`: another one after a restart.
    pub run_id: String,
    /// The server's replication id: another one after a failover.
    pub replication_id: String,
    /// The server's replication offset, in bytes.
    pub offset: u64,
}

/// What shows that a safety backup brings back what its target holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafetyProof {
    /// A set of this program's vault.
    Vault {
        /// What reading the set resulted in.
        look: SetLook,
        /// Where the set was taken from. Empty texts where its manifest does not tell.
        origin: Position,
        /// The target, as it was when the set was looked at.
        target: Position,
    },
    /// The cloud lists the set as whole, and tells no checksum.
    Listed(Box<ListedSafety>),
}

/// A safety backup as the cloud lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSafety {
    /// The set.
    pub set: CloudSet,
    /// Ids of the cloud's jobs that this program had asked for.
    pub asked_for: Vec<i64>,
    /// Whether the cloud calls all of the set's files full backups.
    pub full: bool,
    /// Whether the cloud says of all of the set's files that they were taken.
    pub success: bool,
    /// Bytes of the smallest of its files.
    pub smallest_file: u64,
    /// The nodes of its files that are none of the instance's.
    pub foreign_nodes: Vec<String>,
    /// When the set was looked at, by the cloud's clock.
    pub read_at: Timestamp,
}

impl SafetyFacts {
    /// Digest of the set's file, where all of the set was read now and agrees with its manifest.
    #[must_use]
    pub fn stored_digest(&self) -> Option<&str> {
        match &self.status {
            SafetyStatus::Whole {
                proof: SafetyProof::Vault { look: SetLook::Verified { stored_digest, .. }, .. },
                ..
            } => Some(stored_digest),
            _ => None,
        }
    }
}

/// How far the safety backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SafetyStatus {
    /// The backup is being taken.
    Running,
    /// The backup is whole and verified.
    Whole {
        /// Number of keys in the set; `None` where the cloud does not tell.
        keys: Option<u64>,
        /// When the set's capture began.
        taken_at: Timestamp,
        /// Whether the set was taken earlier and is used again.
        reused: bool,
        /// What shows that the set brings back what the target holds.
        proof: SafetyProof,
    },
    /// The set is there and cannot be read, for the reason given.
    Damaged(String),
    /// There is no such set any more: it was deleted, or another took its place.
    Gone,
    /// The backup could not be taken, for the reason given.
    Failed(String),
}
