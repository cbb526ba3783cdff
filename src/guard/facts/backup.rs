//! Facts about one backup set: of this program's vault, or as the cloud lists it.

use crate::guard::facts::{CloudState, NotPossible};
use crate::model::backup::Mode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A set as the cloud lists it. That must not change between plan and act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudSet {
    /// The set's id; the ids of its shards, joined by commas.
    pub backup_id: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When it was whole.
    pub finished_at: Timestamp,
    /// Until when the cloud keeps it.
    pub expires_at: Option<Timestamp>,
    /// The cloud's jobs that made it.
    pub jobs: Vec<i64>,
    /// Whether somebody asked for it, rather than the policy.
    pub manual: bool,
}

/// A set that is listed: whole, or what is wrong with it.
pub type ListedSet = Result<CloudSet, String>;

/// What a deletion from the vault is about.
#[derive(Debug, Clone)]
pub struct VaultDeletion {
    /// Who asked for the set.
    pub mode: Mode,
    /// SHA-256 of its RDB.
    pub sha256: String,
    /// When its capture began.
    pub taken_at: Timestamp,
    /// Keys in it.
    pub keys: u64,
    /// Bytes of its RDB.
    pub rdb_bytes: u64,
    /// Whole sets of the instance beside it.
    pub others: usize,
}

/// What a deletion in the cloud is about.
#[derive(Debug, Clone)]
pub struct CloudDeletion {
    /// The instance.
    pub state: CloudState,
    /// The set.
    pub set: ListedSet,
    /// Why the cloud deletes no sets of this instance.
    pub refused: Option<NotPossible>,
    /// Whole sets of the instance beside it.
    pub others: usize,
}
