//! Facts about one backup set: of this program's vault, or as the cloud lists it.

use crate::guard::facts::{CloudState, NotPossible};
use crate::model::backup::Mode;
use crate::model::job::JobStatus;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A set as the cloud lists it. Its values must not change between plan and act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudSet {
    /// The set's id; for a cluster the ids of its shards, joined by commas.
    pub backup_id: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When the set was taken.
    pub taken_at: Timestamp,
    /// When the set was complete.
    pub finished_at: Timestamp,
    /// Until when the cloud keeps it.
    pub expires_at: Option<Timestamp>,
    /// Ids of the cloud's backup jobs that made the set.
    pub jobs: Vec<i64>,
    /// Whether somebody asked for the set, rather than the policy.
    pub manual: bool,
}

/// A set that the cloud lists: whole, or a sentence about its damage.
pub type ListedSet = Result<CloudSet, String>;

/// What counts on a set: whoever deletes the set takes something from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependent {
    /// A restore that was begun: the set holds what was there before.
    Restore {
        /// Id of the restore's job.
        job_id: String,
        /// When the restore began.
        began_at: Timestamp,
        /// Whether the restore runs or how it ended.
        status: JobStatus,
    },
    /// A plan whose token may still be used.
    Plan {
        /// What the plan would do, in one line.
        act: String,
        /// Whether the plan restores the set; else the set is what undoes it.
        restores: bool,
        /// When the plan was made.
        planned_at: Timestamp,
        /// Until when the plan may be carried out.
        expires_at: Timestamp,
    },
    /// The log: no other set leads to these moments, the first and the last of them; `None` where the log cannot be read.
    Log(Option<(Timestamp, Timestamp)>),
}

/// The facts of a deletion from the vault.
#[derive(Debug, Clone)]
pub struct VaultDeletion {
    /// Who asked for the set.
    pub mode: Mode,
    /// SHA-256 of the set's RDB.
    pub sha256: String,
    /// When the set's capture began.
    pub taken_at: Timestamp,
    /// Number of keys in the set.
    pub keys: u64,
    /// Bytes of the set's RDB.
    pub rdb_bytes: u64,
    /// Number of other whole sets of the instance.
    pub others: usize,
    /// What counts on the set, newest first.
    pub dependents: Vec<Dependent>,
}

/// What identifies a set of this program's vault. Its values must not change between plan and act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSet {
    /// The set's id.
    pub backup_id: String,
    /// Who asked for the set, as [`Mode::as_str`].
    pub mode: String,
    /// SHA-256 of the set's RDB.
    pub sha256: String,
}

/// A set that goes by a pruning.
#[derive(Debug, Clone)]
pub struct Going {
    /// What identifies the set.
    pub set: VaultSet,
    /// When the set's capture began.
    pub taken_at: Timestamp,
    /// Bytes of the set's files as stored.
    pub stored_bytes: u64,
    /// What counts on the set, newest first.
    pub dependents: Vec<Dependent>,
}

/// The facts of a pruning of the vault.
#[derive(Debug, Clone)]
pub struct Pruning {
    /// Those of the act's sets that go, in the order of the act.
    pub going: Vec<Going>,
    /// Ids of the act's other sets, each with why it does not go.
    pub staying: Vec<(String, String)>,
    /// Number of sound sets of the instance beside those of the act.
    pub others: usize,
}

/// The facts of a deletion in the cloud.
#[derive(Debug, Clone)]
pub struct CloudDeletion {
    /// The instance that the set belongs to.
    pub state: CloudState,
    /// The set, or its damage.
    pub set: ListedSet,
    /// Why the cloud deletes no sets of this instance.
    pub refused: Option<NotPossible>,
    /// Number of other whole sets of the instance.
    pub others: usize,
    /// What counts on the set, newest first.
    pub dependents: Vec<Dependent>,
}
