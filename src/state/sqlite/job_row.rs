//! Reading a job's row, strictly: code reads its typed columns; the job's texts are written for people and never interpreted.

use crate::model::access::Access;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, Phase, RecoveryKind, StoredRecovery};
use crate::state::sqlite::database::{at, damaged, unsigned};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// Reads an enum's stored text strictly: a value that no version writes is damage, not a default.
fn parsed<T>(row: &SqliteRow, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
    let stored: String = row.try_get(column)?;
    parse(&stored).ok_or_else(|| {
        let id: String = row.try_get("id").unwrap_or_default();
        damaged(format!("the {column} of job {id} is {}", crate::model::text::quoted(&stored)))
    })
}

/// Reads a column that holds JSON, or nothing.
fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<Option<T>, Fault> {
    match row.try_get::<String, _>(column)?.as_str() {
        "" => Ok(None),
        _ => parsed(row, column, |text| serde_json::from_str(text).ok()).map(Some),
    }
}

pub(super) fn job(row: &SqliteRow) -> Result<Job, Fault> {
    let status = parsed(row, "status", JobStatus::parse)?;
    Ok(Job {
        id: row.try_get("id")?,
        kind: parsed(row, "kind", JobKind::parse)?,
        instance_id: row.try_get("instance_id")?,
        backup_id: row.try_get("backup_id")?,
        status,
        phase: parsed(row, "phase", Phase::parse)?,
        stage: row.try_get("stage")?,
        rollback_pending: row.try_get("rollback_pending")?,
        done: unsigned(row, "done")?,
        total: unsigned(row, "total")?,
        code: row.try_get("code")?,
        failure: match status {
            JobStatus::Failed | JobStatus::Uncertain => Some(parsed(row, "failure", Kind::parse)?),
            _ => None,
        },
        message: row.try_get("message")?,
        hint: row.try_get("hint")?,
        caller: row.try_get("caller")?,
        confirmation: row.try_get("confirmation")?,
        access: access(row)?,
        cloud_jobs: parsed(row, "cloud_jobs", |text| serde_json::from_str(text).ok())?,
        restored: json(row, "restored")?,
        restored_keys: json(row, "restored_keys")?,
        created_at: at(row.try_get("created_at")?)?,
        serving_at: row.try_get::<Option<i64>, _>("serving_at")?.map(at).transpose()?,
        finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(at).transpose()?,
    })
}

/// As whom and where a job's cloud is called. Jobs of earlier versions do not tell.
fn access(row: &SqliteRow) -> Result<Option<Access>, Fault> {
    let access = Access {
        account: row.try_get("account")?,
        principal: row.try_get("principal")?,
        region: row.try_get("region")?,
        endpoint: row.try_get("endpoint")?,
    };
    Ok((access != Access::default()).then_some(access))
}

/// What was read of a row of several. One that cannot be read keeps none of the others from being seen: who asks for that job
/// alone is told, and the log is.
pub(super) fn logged<T>(row: &SqliteRow, read: Result<T, Fault>) -> Option<T> {
    let id: String = row.try_get("id").unwrap_or_default();
    read.inspect_err(|fault| tracing::error!(job = %id, "a job is passed over: {fault}")).ok()
}

pub(super) fn recovery(row: &SqliteRow) -> Result<Option<StoredRecovery>, Fault> {
    let json: String = row.try_get("recovery")?;
    if json.is_empty() {
        return Ok(None);
    }
    Ok(Some(StoredRecovery { kind: parsed(row, "recovery_kind", RecoveryKind::parse)?, json }))
}
