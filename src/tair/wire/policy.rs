//! The backup policy: when automated backups run, how long they are kept, and whether data flashback is on.
//!
//! There is no partial change: read the policy, change it, and write all of it.

use crate::tair::wire::lenient::{as_one_zero, as_text, flag, number, plain_text, text};
use crate::tair::wire::{Done, OneZero, action};
use serde::{Deserialize, Serialize};

/// Reply of `DescribeBackupPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackupPolicy {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Days sets are kept; text on the wire.
    #[serde(deserialize_with = "number", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub backup_retention_period: Option<i64>,
    /// English weekdays, joined by commas.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub preferred_backup_period: Option<String>,
    /// One hour of UTC, `05:00Z-06:00Z`.
    #[serde(deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub preferred_backup_time: Option<String>,
    /// When the next one is due.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub preferred_next_backup_time: Option<String>,
    /// Whether data flashback is on.
    #[serde(
        default,
        deserialize_with = "flag",
        serialize_with = "as_one_zero",
        skip_serializing_if = "Option::is_none"
    )]
    pub enable_backup_log: Option<bool>,
    /// `1` when the product Database Backup runs the policy.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub dbs_instance: Option<String>,
    /// From when any moment can be restored.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_log_start_time: Option<String>,
}

action! {
    /// Reads the backup policy of an instance.
    DescribeBackupPolicy, Post, writes: false, BackupPolicy, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
    }
}

action! {
    /// Replaces the policy as a whole. What is left out takes the cloud's default: leaving `EnableBackupLog` out may switch
    /// data flashback off, so it is not optional here.
    ModifyBackupPolicy, Post, writes: true, Done, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// One whole hour of UTC, `05:00Z-06:00Z`.
        preferred_backup_time: String = "PreferredBackupTime",
        /// English weekdays, joined by commas; at least one.
        preferred_backup_period: String = "PreferredBackupPeriod",
        /// Days sets are kept, 7 to 730.
        backup_retention_period: Option<i64> = "BackupRetentionPeriod",
        /// Whether data flashback is to be on.
        enable_backup_log: OneZero = "EnableBackupLog",
    }
}
