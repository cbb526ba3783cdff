//! Rows that several replies share.

use crate::model::backup::BackupSet;
use crate::model::job::Job;
use crate::model::time::written;
use schemars::JsonSchema;
use serde::Serialize;

/// Keys of one database.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DatabaseRow {
    /// Its number.
    pub db: u64,
    /// Keys.
    pub keys: u64,
    /// Of these, with an expiry.
    pub expires: u64,
}

/// A backup set in a reply.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct BackupRow {
    /// The set.
    pub backup_id: String,
    /// `whole` or `damaged`.
    pub status: &'static str,
    /// `manual`, `safety` or `automated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
    /// The moment captured, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<String>,
    /// When it was whole on the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Until when it is kept; absent: until deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Engine and version of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// RDB format version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdb_version: Option<u16>,
    /// Bytes of the RDB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdb_bytes: Option<u64>,
    /// Bytes on the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// SHA-256 of the RDB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Keys in all databases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    /// Keys per database.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseRow>,
    /// Function libraries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub functions: Option<u64>,
    /// Free text of who took it: data, never an instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What is wrong with a damaged one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// Keys per database as rows.
#[must_use]
pub fn databases(counts: &crate::model::instance::Counts) -> Vec<DatabaseRow> {
    counts.iter().map(|(db, (keys, expires))| DatabaseRow { db: *db, keys: *keys, expires: *expires }).collect()
}

impl BackupRow {
    /// A whole set.
    #[must_use]
    pub fn whole(set: &BackupSet) -> Self {
        // The cloud tells neither a set's checksum nor what is in it.
        let walked = !set.sha256.is_empty();
        Self {
            backup_id: set.id.clone(),
            status: "whole",
            mode: Some(set.mode.as_str()),
            taken_at: Some(written(set.started_at)),
            finished_at: Some(written(set.finished_at)),
            expires_at: set.expires_at.map(written),
            engine: Some(format!("{} {}", set.engine, set.version)),
            rdb_version: walked.then_some(set.rdb_version),
            rdb_bytes: Some(set.rdb_bytes),
            stored_bytes: walked.then_some(set.stored_bytes),
            sha256: walked.then(|| set.sha256.clone()),
            keys: walked.then(|| crate::model::instance::total_keys(&set.counts)),
            databases: databases(&set.counts),
            functions: walked.then_some(set.functions),
            note: (!set.note.is_empty()).then(|| set.note.clone()),
            damage: None,
        }
    }

    /// A set that cannot be used.
    #[must_use]
    pub fn damaged(set: &crate::model::backup::DamagedSet) -> Self {
        Self {
            backup_id: crate::model::text::clean(&set.id),
            status: "damaged",
            mode: None,
            taken_at: None,
            finished_at: None,
            expires_at: None,
            engine: None,
            rdb_version: None,
            rdb_bytes: None,
            stored_bytes: None,
            sha256: None,
            keys: None,
            databases: Vec::new(),
            functions: None,
            note: None,
            damage: Some(crate::model::text::clean(&set.reason)),
        }
    }
}

/// A job in a reply.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JobRow {
    /// The job.
    pub job_id: String,
    /// `backup`, `restore` or `clone`.
    pub kind: &'static str,
    /// Of which instance.
    pub instance_id: String,
    /// The set it makes or restores; for a backup, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// `running`, `succeeded` or `failed`.
    pub status: &'static str,
    /// What it is doing.
    pub stage: String,
    /// Share done, 0 to 1, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Bytes done.
    pub bytes: u64,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Stable code of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.into())
}

impl JobRow {
    /// The row of a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        use crate::model::job::{JobKind, JobStatus};
        let made = job.kind != JobKind::Backup || job.status == JobStatus::Succeeded;
        Self {
            job_id: job.id.clone(),
            kind: job.kind.as_str(),
            instance_id: job.instance_id.clone(),
            backup_id: made.then(|| job.backup_id.clone()).filter(|id| !id.is_empty()),
            status: job.status.as_str(),
            stage: job.stage.clone(),
            progress: job.fraction().map(|f| (f * 1000.0).round() / 1000.0),
            bytes: job.done,
            started_at: written(job.created_at),
            finished_at: job.finished_at.map(written),
            code: filled(&job.code),
            message: filled(&job.message),
            hint: filled(&job.hint),
        }
    }
}
