//! Backup sets of cloud-native clusters: one id for all shards, with field names of their own.
//!
//! `DescribeBackups` does not apply to these instances, and this call to no others.

use crate::tair::wire::lenient::{as_one_zero, as_one_zero_text, as_text, flag, list, number, plain_text, text};
use crate::tair::wire::paging::{Page, Paged};
use crate::tair::wire::{DownloadUrl, Minute, action, is_one_of, url};
use serde::{Deserialize, Serialize};

/// What else is known of a shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtraInfo {
    /// The engine version that the backup was taken from.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub custins_db_version: Option<String>,
}

/// One shard of a cluster set. Its field names differ from those of `DescribeBackups`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShardBackup {
    /// The file; text here.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// The file's name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// The shard, `r-…-db-0`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// `OK` or `ERROR`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_status: Option<String>,
    /// Size in bytes.
    #[serde(default, deserialize_with = "number", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub backup_size: Option<i64>,
    /// Whether the shard's file can be used.
    #[serde(
        default,
        deserialize_with = "flag",
        serialize_with = "as_one_zero_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub is_avail: Option<bool>,
    /// When the backup began.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_start_time: Option<String>,
    /// When the backup was done; one published sample lacks the Z.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_end_time: Option<String>,
    /// Where the file can be fetched over the internet.
    #[serde(
        rename = "BackupDownloadURL",
        default,
        deserialize_with = "url::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub backup_download_url: Option<DownloadUrl>,
    /// Where the file can be fetched from within the region's network.
    #[serde(
        rename = "BackupIntranetDownloadURL",
        default,
        deserialize_with = "url::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub backup_intranet_download_url: Option<DownloadUrl>,
    /// `redis`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// JSON in text, or `null`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub recover_config_mode: Option<String>,
    /// The engine version and what else is known of the shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_info: Option<ExtraInfo>,
}

/// One set of a cloud-native cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterBackup {
    /// The set, `cb-…`; empty where it cannot be read.
    #[serde(default, deserialize_with = "plain_text")]
    pub cluster_backup_id: String,
    /// `OK`, `RUNNING`; anything else has failed.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cluster_backup_status: Option<String>,
    /// False while a shard is missing or has failed.
    #[serde(
        default,
        deserialize_with = "flag",
        serialize_with = "as_one_zero",
        skip_serializing_if = "Option::is_none"
    )]
    pub is_avail: Option<bool>,
    /// Size in bytes.
    #[serde(default, deserialize_with = "number", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub cluster_backup_size: Option<i64>,
    /// When the backup began.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cluster_backup_start_time: Option<String>,
    /// When the backup was done.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cluster_backup_end_time: Option<String>,
    /// `Automated` or `Manual`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cluster_backup_mode: Option<String>,
    /// `100%`; only while the job runs.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// MB a shard has.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub shard_class_memory: Option<i64>,
    /// Until when the set is kept.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub expect_expire_time: Option<String>,
    /// The set's shards.
    #[serde(default, deserialize_with = "list")]
    pub backups: Vec<ShardBackup>,
}

/// Reply of `DescribeClusterBackupList`. It has no total.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterBackups {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Rows of this page.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub max_results: Option<i64>,
    /// Number of this page, from 1.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_number: Option<i64>,
    /// Rows a page has at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i64>,
    /// Bytes of all full sets.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub full_storage_size: Option<i64>,
    /// Bytes of the log archive.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub log_storage_size: Option<i64>,
    /// Bytes that are free of charge.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub free_size: Option<i64>,
    /// The sets of this page.
    #[serde(deserialize_with = "list")]
    pub cluster_backups: Vec<ClusterBackup>,
}

fn is_ok(status: Option<&str>) -> bool {
    is_one_of(status, &["OK"])
}

impl ClusterBackup {
    /// Whether the set's job still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        is_one_of(self.cluster_backup_status.as_deref(), &["RUNNING"])
    }

    /// Whether the cloud could not take this set.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        is_one_of(self.cluster_backup_status.as_deref(), &["ERROR", "FAILED"])
    }

    /// The status of a set that cannot be used, empty where the reply has none; `None` for a good one.
    #[must_use]
    pub fn bad_status(&self) -> Option<&str> {
        Some(self.cluster_backup_status.as_deref().unwrap_or_default()).filter(|status| !is_ok(Some(status)))
    }

    /// Whether the cloud says that the set is whole and can be restored, and nothing else of any of its shards.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let good = |shard: &ShardBackup| is_ok(shard.backup_status.as_deref()) && shard.is_avail == Some(true);
        self.bad_status().is_none() && self.is_avail == Some(true) && self.backups.iter().all(good)
    }
}

action! {
    /// Lists the sets of a cloud-native cluster.
    DescribeClusterBackupList, Get, writes: false, ClusterBackups, {
        /// Id of the instance's region.
        region_id: String = "RegionId",
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// Sets begun at or after this.
        start_time: Minute = "StartTime",
        /// Sets begun before this.
        end_time: Minute = "EndTime",
        /// Lists the set of this id only.
        cluster_backup_id: Option<String> = "ClusterBackupId",
        /// Number of the page, from 1.
        page_number: Option<i64> = "PageNumber",
        /// 5, 10, 15, 20, 30, 50, 100, 200 or 300.
        page_size: Option<i64> = "PageSize",
        /// `True` leaves the shards out.
        no_shard_backup: Option<String> = "NoShardBackup",
    }
}

impl Paged for DescribeClusterBackupList {
    type Row = ClusterBackup;
    const SIZES: &'static [i64] = &[5, 10, 15, 20, 30, 50, 100, 200, 300];

    fn on_page(&self, number: i64, size: i64) -> Self {
        Self { page_number: Some(number), page_size: Some(size), ..self.clone() }
    }

    fn page(reply: ClusterBackups) -> Page<ClusterBackup> {
        Page { rows: reply.cluster_backups, size: reply.page_size, total: None }
    }

    fn key(row: &ClusterBackup) -> String {
        format!("{} {:?}", row.cluster_backup_id, row.cluster_backup_start_time)
    }
}
