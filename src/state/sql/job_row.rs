//! Reading a job's row, strictly: code reads its typed columns; the job's texts are written for people and never interpreted.

use crate::model::access::Access;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, Phase, RecoveryKind, StoredRecovery};
use crate::state::sql::fault::damaged;
use crate::state::sql::statement::Row;

/// Reads an enum's stored text strictly: a value that no version writes is damage, not a default.
fn parsed<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
    let stored: String = row.get(column)?;
    parse(&stored).ok_or_else(|| {
        let id: String = row.get("id").unwrap_or_default();
        damaged(format!("the {column} of job {id} is {}", crate::model::text::quoted(&stored)))
    })
}

/// Reads a column that holds JSON, or nothing.
fn json<T: serde::de::DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, Fault> {
    match row.get::<String>(column)?.as_str() {
        "" => Ok(None),
        _ => parsed(row, column, |text| serde_json::from_str(text).ok()).map(Some),
    }
}

pub(super) fn job(row: &Row) -> Result<Job, Fault> {
    let status = parsed(row, "status", JobStatus::parse)?;
    Ok(Job {
        id: row.get("id")?,
        kind: parsed(row, "kind", JobKind::parse)?,
        instance_id: row.get("instance_id")?,
        backup_id: row.get("backup_id")?,
        status,
        phase: parsed(row, "phase", Phase::parse)?,
        stage: row.get("stage")?,
        rollback_pending: row.get("rollback_pending")?,
        done: row.count("done")?,
        total: row.count("total")?,
        code: row.get("code")?,
        failure: match status {
            JobStatus::Failed | JobStatus::Uncertain => Some(parsed(row, "failure", Kind::parse)?),
            _ => None,
        },
        message: row.get("message")?,
        hint: row.get("hint")?,
        caller: row.get("caller")?,
        confirmation: row.get("confirmation")?,
        access: access(row)?,
        cloud_jobs: parsed(row, "cloud_jobs", |text| serde_json::from_str(text).ok())?,
        restored: json(row, "restored")?,
        restored_keys: json(row, "restored_keys")?,
        created_at: row.moment("created_at")?,
        serving_at: row.moment_if_any("serving_at")?,
        finished_at: row.moment_if_any("finished_at")?,
    })
}

/// As whom and where a job's cloud is called. Jobs of earlier versions do not tell.
fn access(row: &Row) -> Result<Option<Access>, Fault> {
    let access = Access {
        account: row.get("account")?,
        principal: row.get("principal")?,
        region: row.get("region")?,
        endpoint: row.get("endpoint")?,
    };
    Ok((access != Access::default()).then_some(access))
}

/// What was read of a row of several. One that cannot be read keeps none of the others from being seen: who asks for that job
/// alone is told, and the log is.
pub(super) fn logged<T>(row: &Row, read: Result<T, Fault>) -> Option<T> {
    let id: String = row.get("id").unwrap_or_default();
    read.inspect_err(|fault| tracing::error!(job = %id, "a job is passed over: {fault}")).ok()
}

pub(super) fn recovery(row: &Row) -> Result<Option<StoredRecovery>, Fault> {
    let json: String = row.get("recovery")?;
    if json.is_empty() {
        return Ok(None);
    }
    Ok(Some(StoredRecovery { kind: parsed(row, "recovery_kind", RecoveryKind::parse)?, json }))
}
