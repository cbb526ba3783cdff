//! The recovery record of a restore: how far the call has come, and whether writes are locked by us.

use crate::model::job::RecoveryKind;
use crate::provider::jobs::Recoverable;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a later process needs to go on with a restore, and to lift its fence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Whether writes are, or may be, locked by us.
    pub fence: bool,
    /// The task that locks writes, until its end was seen.
    #[serde(default)]
    pub locking: Option<i64>,
    /// Whether a call that locks writes may still take effect: its reply was lost, or has not come yet.
    #[serde(default)]
    pub lock_lost: bool,
    /// When `RestoreInstance` was called; `None` before the call, and once the cloud has refused it.
    pub sent_at: Option<Timestamp>,
    /// Whether the reply said that the call was taken.
    pub taken: bool,
    /// Whether the call's effect was seen: the instance was BackupRecovering.
    #[serde(default)]
    pub seen: bool,
    /// Keys that the instance held before, as far as the cloud has counted them.
    pub keys_before: Option<u64>,
    /// The call that brings back the data from before.
    pub back: String,
    /// What is restored, as part of a sentence.
    #[serde(default)]
    pub what: String,
    /// What is to be done next once writes are unlocked, where the restore is over and they are not.
    #[serde(default)]
    pub next: String,
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudRestore;
}
