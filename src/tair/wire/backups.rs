//! Backup sets and the jobs that make them, on every architecture but cloud-native clusters.
//!
//! Ids are numbers in these replies and text in the calls that use them; a set has no row, or no id, until it is done.

use crate::tair::wire::lenient::{as_number, as_text, flag, id, list, number, opaque_id, plain_text, text};
use crate::tair::wire::paging::{Page, Paged};
use crate::tair::wire::{Done, DownloadUrl, Minute, Second, action, is_one_of, lenient, url};
use serde::{Deserialize, Serialize};

/// One set, or one shard of a set, as `DescribeBackups` lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Backup {
    /// Id of the set, as it is written; missing while the job that makes the set runs, empty where it cannot be read.
    #[serde(
        default,
        deserialize_with = "opaque_id",
        serialize_with = "as_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub backup_id: Option<String>,
    /// Id of the job that made the set.
    #[serde(rename = "BackupJobID", default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub backup_job_id: Option<i64>,
    /// `Success` or `Failed`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_status: Option<String>,
    /// `Automated` or `Manual`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_mode: Option<String>,
    /// `Physical` or `Logical`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_method: Option<String>,
    /// `FullBackup` or `IncrementalBackup`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<String>,
    /// `all`.
    #[serde(rename = "BackupDBNames", default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_db_names: Option<String>,
    /// Size in bytes.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub backup_size: Option<i64>,
    /// When the backup began.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_start_time: Option<String>,
    /// When the backup was done.
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
    /// The engine version that the backup was taken from.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// The shard (`r-…-db-1`), or the instance on a standard architecture.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub node_instance_id: Option<String>,
    /// JSON in text: which settings a new instance can take from the set.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub recover_config_mode: Option<String>,
    /// Until when the set is kept.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub expect_expire_time: Option<String>,
}

/// Reply of `DescribeBackups`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Backups {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Number of this page, from 1.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_number: Option<i64>,
    /// Rows a page has at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i64>,
    /// How many rows all pages have.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub total_count: Option<i64>,
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
    #[serde(with = "lenient::backup")]
    pub backups: Vec<Backup>,
}

/// One job, as `DescribeBackupTasks` lists it. A failure shows in [`Backups`] only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackupTask {
    /// Id of the backup job.
    #[serde(rename = "BackupJobID", default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub backup_job_id: Option<i64>,
    /// `NoStart`, `Preparing`, `Waiting`, `Uploading`, `Checking` or `Finished`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_progress_status: Option<String>,
    /// Per cent, as newer gateways have it.
    #[serde(default, deserialize_with = "number", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub progress: Option<i64>,
    /// Per cent, as older gateways have it.
    #[serde(default, deserialize_with = "number", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub process: Option<i64>,
    /// `Manual` or `Automated`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub job_mode: Option<String>,
    /// `TempBackupTask` (manual) or `NormalBackupTask` (automated).
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub task_action: Option<String>,
    /// Id of the shard.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// When the backup began.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
}

/// Reply of `DescribeBackupTasks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackupTasks {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Id of the instance.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The instance's backup jobs.
    #[serde(deserialize_with = "list")]
    pub backup_jobs: Vec<BackupTask>,
}

/// Reply of `CreateBackup`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BackupStarted {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// The job, or one of each shard, joined by commas.
    #[serde(rename = "BackupJobID", deserialize_with = "id")]
    pub backup_job_id: String,
}

impl BackupStarted {
    /// The ids of the jobs. One published sample has them in quotes of its own.
    #[must_use]
    pub fn jobs(&self) -> Vec<&str> {
        self.backup_job_id.split(',').map(|id| id.trim_matches(['"', ' '])).filter(|id| !id.is_empty()).collect()
    }
}

/// Whether a text can be the id of a set: something that a list of ids can hold.
#[must_use]
pub fn is_plain_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Which settings of its source a set can give to a new instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoverConfig {
    /// Whether the set holds the whitelists.
    #[serde(deserialize_with = "yes")]
    pub whitelist: bool,
    /// Whether the set holds the parameters.
    #[serde(deserialize_with = "yes")]
    pub config: bool,
    /// Whether the set holds the accounts.
    #[serde(deserialize_with = "yes")]
    pub account: bool,
}

fn yes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    flag(from).map(Option::unwrap_or_default)
}

impl RecoverConfig {
    /// The names of all settings, as an order has them.
    pub const NAMES: [&str; 3] = ["whitelist", "config", "account"];

    /// Whether the set holds the setting of a name.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match name {
            "whitelist" => self.whitelist,
            "config" => self.config,
            "account" => self.account,
            _ => false,
        }
    }

    /// Reads a set's `RecoverConfigMode`; nothing for an empty text or `null`.
    #[must_use]
    pub fn read(text: Option<&str>) -> Self {
        text.and_then(|t| serde_json::from_str::<Option<Self>>(t).ok()).flatten().unwrap_or_default()
    }
}

/// Whether a backup of this mode was asked for, and not taken by the policy.
#[must_use]
pub fn is_manual(mode: Option<&str>) -> bool {
    is_one_of(mode, &["Manual"])
}

/// Whether a backup of this mode was taken by the policy.
#[must_use]
pub fn is_automated(mode: Option<&str>) -> bool {
    is_one_of(mode, &["Automated"])
}

impl Backup {
    /// Whether the cloud could not take this backup.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        is_one_of(self.backup_status.as_deref(), &["Failed"])
    }

    /// Whether the cloud says that it took this backup.
    #[must_use]
    pub fn has_succeeded(&self) -> bool {
        is_one_of(self.backup_status.as_deref(), &["Success"])
    }

    /// The status of a backup that cannot be used; `None` where the backup is good, or has no status.
    #[must_use]
    pub fn bad_status(&self) -> Option<&str> {
        self.backup_status.as_deref().filter(|_| !self.has_succeeded())
    }

    /// Whether the cloud calls the backup a full one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        is_one_of(self.backup_type.as_deref(), &["FullBackup"])
    }

    /// The set's id, as the calls that use it want it; nothing while the set's job runs, or where it cannot be read.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.named().filter(|id| is_plain_id(id))
    }

    /// Whether the row has an id that is none, or no id and no job either: what cannot be named can be neither restored nor deleted.
    #[must_use]
    pub fn has_unreadable_id(&self) -> bool {
        self.named().map_or(self.backup_job_id.is_none(), |id| !is_plain_id(id))
    }

    fn named(&self) -> Option<&str> {
        // Some rows of a running job have 0 where others have nothing.
        self.backup_id.as_deref().filter(|id| *id != "0")
    }
}

impl BackupTask {
    /// Per cent done, whichever field has it.
    #[must_use]
    pub fn percent(&self) -> Option<i64> {
        self.progress.or(self.process).map(|p| p.clamp(0, 100))
    }

    fn says(&self, known: &[&str]) -> bool {
        is_one_of(self.backup_progress_status.as_deref(), known)
    }

    /// Whether the job is over. A job that is no longer listed is over too.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.says(&["Finished"])
    }

    /// Whether the cloud uses one of the words that it has published for a job that runs. Of any other word the list of sets tells.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        self.says(&["NoStart", "Preparing", "Waiting", "Uploading", "Checking"])
    }
}

action! {
    /// Takes a backup now.
    CreateBackup, Post, writes: true, BackupStarted, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// Days to keep it, 7 to 730, or -1 for as long as the instance lives; the policy's when `None`.
        backup_retention_period: Option<i64> = "BackupRetentionPeriod",
    }
}

action! {
    /// Lists the sets of an instance that is not a cloud-native cluster.
    DescribeBackups, Post, writes: false, Backups, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// Sets begun at or after this.
        start_time: Minute = "StartTime",
        /// Sets begun before this.
        end_time: Minute = "EndTime",
        /// Lists the set of this id only.
        backup_id: Option<i64> = "BackupId",
        /// Only the set of this job.
        backup_job_id: Option<i64> = "BackupJobId",
        /// The page, from 1.
        page_number: Option<i64> = "PageNumber",
        /// 30, 50, 100, 200 or 300.
        page_size: Option<i64> = "PageSize",
    }
}

action! {
    /// Lists the backup jobs of an instance.
    DescribeBackupTasks, Post, writes: false, BackupTasks, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// Only this job. One id: the cloud takes no list here.
        backup_job_id: Option<String> = "BackupJobId",
        /// `Manual` or `Automated`.
        job_mode: Option<String> = "JobMode",
    }
}

action! {
    /// Deletes a manual set of a cloud-native instance.
    DeleteBackup, Post, writes: true, needs: crate::guard::grant::Delete, Done, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// Id of the backup set.
        backup_id: String = "BackupId",
    }
}

action! {
    /// Keeps a manual set of a cloud-native instance for longer.
    ModifyBackupExpireTime, Post, writes: true, Done, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
        /// Id of the backup set.
        backup_id: Option<String> = "BackupId",
        /// Until when; not before what holds now.
        expect_expire_time: Second = "ExpectExpireTime",
    }
}

impl Paged for DescribeBackups {
    type Row = Backup;
    const SIZES: &'static [i64] = &[30, 50, 100, 200, 300];

    fn on_page(&self, number: i64, size: i64) -> Self {
        Self { page_number: Some(number), page_size: Some(size), ..self.clone() }
    }

    fn page(reply: Backups) -> Page<Backup> {
        Page { rows: reply.backups, size: reply.page_size, total: reply.total_count }
    }

    fn key(row: &Backup) -> String {
        // A set of several shards has one id for each, but older gateways repeat one.
        // Rows whose ids cannot be read are told apart by when they began.
        format!("{:?} {:?} {:?} {:?}", row.backup_id, row.backup_job_id, row.node_instance_id, row.backup_start_time)
    }
}
