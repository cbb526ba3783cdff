//! Restoring in place, and the write lock around it.
//!
//! There is no call for progress: the instance is `BackupRecovering` until it is `Normal`.

use crate::tair::wire::lenient::{number, plain_text, text};
use crate::tair::wire::{Done, Second, action};
use serde::{Deserialize, Serialize};

/// Reply of the write lock's two calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WriteLock {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Id of the instance.
    #[serde(rename = "DBInstanceName", default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub db_instance_name: Option<String>,
    /// Why writes to the instance are locked.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub lock_reason: Option<String>,
    /// Id of the task that locks or unlocks.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<i64>,
}

action! {
    /// Overwrites an instance with a set, or with the instance's own state at a moment. Classic instances only.
    RestoreInstance, Post, writes: true, needs: crate::guard::grant::Overwrite, Done, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// The set; not together with a moment.
        backup_id: Option<String> = "BackupId",
        /// `1` for a moment. `0` is retired.
        restore_type: Option<String> = "RestoreType",
        /// The moment to restore to.
        restore_time: Option<Second> = "RestoreTime",
        /// Only keys that match one of these regular expressions, joined by commas. Not globs.
        filter_key: Option<String> = "FilterKey",
        /// From when the time to live of restored keys counts on.
        time_shift: Option<Second> = "TimeShift",
    }
}

action! {
    /// Makes an instance read-only.
    LockDBInstanceWrite, Post, writes: true, WriteLock, {
        /// The instance. The parameter's name differs from everybody else's.
        db_instance_id: String = "DBInstanceId",
        /// Why writes are locked, for whoever looks at the instance.
        lock_reason: Option<String> = "LockReason",
    }
}

action! {
    /// Lets an instance be written again.
    UnlockDBInstanceWrite, Post, writes: true, WriteLock, {
        /// Id of the instance.
        db_instance_id: String = "DBInstanceId",
    }
}
