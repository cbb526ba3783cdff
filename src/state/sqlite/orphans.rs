//! Orphans on SQLite: jobs that nobody works on are claimed by one process, and by none that reaches another account, region or endpoint
//! than they were begun in.

use crate::model::access::Access;
use crate::model::fault::Fault;
use crate::model::job::{Job, JobStatus};
use crate::state::jobs::{Orphan, stage_of_orphan};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::job_row::{job, logged, recovery};
use sqlx::Row as _;

/// Whether what was begun by one access is within the reach of another; a job that is bound to none is within everybody's.
pub(super) fn in_reach(begun_by: Option<&Access>, now: Option<&Access>) -> bool {
    begun_by.is_none_or(|begun_by| now.is_some_and(|now| now.reaches_same(begun_by)))
}

/// Says of a job that it waits for a process that reaches the same account, region and endpoint.
async fn leave_alone(store: &Sqlite, job: &Job, now: Option<&Access>) -> Result<(), Fault> {
    let (began, now) = (job.access.clone().unwrap_or_default(), now.cloned().unwrap_or_default());
    let why = format!("left alone: it was begun in {began}, and this process calls {now}");
    let stage = stage_of_orphan(job, &why);
    if stage == job.stage {
        return Ok(());
    }
    tracing::warn!(job = %job.id, "{stage}");
    let done = sqlx::query("UPDATE jobs SET stage = ? WHERE id = ? AND (status = ? OR rollback_pending = 1)")
        .bind(stage)
        .bind(&job.id)
        .bind(JobStatus::Running.as_str())
        .execute(store.database.pool().await?)
        .await?;
    store.notify(done);
    Ok(())
}

/// Claims the orphans of a provider that are within the reach of `access`.
pub(super) async fn adopt(store: &Sqlite, provider: &str, access: Option<&Access>) -> Result<Vec<Orphan>, Fault> {
    let me = store.liveness.me().await?;
    let pool = store.database.pool().await?;
    let rows =
        sqlx::query("SELECT * FROM jobs WHERE provider = ? AND (status = ? OR rollback_pending = 1) AND owner <> ?")
            .bind(provider)
            .bind(JobStatus::Running.as_str())
            .bind(&me)
            .fetch_all(pool)
            .await?;
    let (mut orphans, mut failed) = (Vec::new(), None);
    for row in &rows {
        let claimed = async {
            let owner: String = row.try_get("owner")?;
            if store.liveness.lives(&owner).await? {
                return Ok(None);
            }
            let read = job(row).and_then(|job| Ok(Orphan { job, recovery: recovery(row)? }));
            let Some(orphan) = logged(row, read) else { return Ok(None) };
            if !in_reach(orphan.job.access.as_ref(), access) {
                leave_alone(store, &orphan.job, access).await?;
                return Ok(None);
            }
            let claimed = sqlx::query(
                "UPDATE jobs SET owner = ? WHERE id = ? AND owner = ? AND (status = ? OR rollback_pending = 1)",
            )
            .bind(&me)
            .bind(&orphan.job.id)
            .bind(&owner)
            .bind(JobStatus::Running.as_str())
            .execute(pool)
            .await?;
            Ok::<_, Fault>((claimed.rows_affected() == 1).then_some(orphan))
        };
        match claimed.await {
            Ok(orphan) => orphans.extend(orphan),
            // One that cannot be adopted keeps none of the others from being reconciled.
            Err(fault) => {
                tracing::error!("an orphan could not be adopted: {fault}");
                failed = Some(fault);
            }
        }
    }
    match failed {
        Some(fault) if orphans.is_empty() => Err(fault),
        _ => Ok(orphans),
    }
}
