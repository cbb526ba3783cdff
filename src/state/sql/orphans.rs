//! Orphans on a database: jobs that nobody works on are claimed by one process, and by none that reaches another account, region or endpoint
//! than they were begun in.

use crate::model::access::Access;
use crate::model::fault::Fault;
use crate::model::job::{Job, JobStatus};
use crate::state::jobs::{Orphan, stage_of_orphan};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::job_row::{job, logged, recovery};
use crate::state::sql::statement::{Row, Statement};

/// Whether what was begun by one access is within the reach of another; a job that is bound to none is within everybody's.
pub(super) fn in_reach(begun_by: Option<&Access>, now: Option<&Access>) -> bool {
    begun_by.is_none_or(|begun_by| now.is_some_and(|now| now.reaches_same(begun_by)))
}

/// Says of a job that it waits for a process that reaches the same account, region and endpoint.
async fn leave_alone<D: Database>(store: &Store<D>, job: &Job, now: Option<&Access>) -> Result<(), Fault> {
    let (began, now) = (job.access.clone().unwrap_or_default(), now.cloned().unwrap_or_default());
    let why = format!("left alone: it was begun in {began}, and this process calls {now}");
    let stage = stage_of_orphan(job, &why);
    if stage == job.stage {
        return Ok(());
    }
    tracing::warn!(job = %job.id, "{stage}");
    let say = Statement::new("UPDATE jobs SET stage = $1 WHERE id = $2 AND (status = $3 OR rollback_pending)")
        .bind(stage)
        .bind(&job.id)
        .bind(JobStatus::Running.as_str());
    store.notify(store.write(say).await?);
    Ok(())
}

/// Claims what a row is about, where nobody works on it and it is within the reach of `access`.
async fn claim<D: Database>(
    store: &Store<D>,
    me: &str,
    row: &Row,
    access: Option<&Access>,
) -> Result<Option<Orphan>, Fault> {
    let owner: String = row.get("owner")?;
    if store.liveness.lives(&owner).await? {
        return Ok(None);
    }
    let read = job(row).and_then(|job| Ok(Orphan { job, recovery: recovery(row)? }));
    let Some(orphan) = logged(row, read) else { return Ok(None) };
    if !in_reach(orphan.job.access.as_ref(), access) {
        leave_alone(store, &orphan.job, access).await?;
        return Ok(None);
    }
    // Of two that found the same owner dead, the one whose statement comes first changes the row.
    let claim =
        Statement::new("UPDATE jobs SET owner = $1 WHERE id = $2 AND owner = $3 AND (status = $4 OR rollback_pending)")
            .bind(me)
            .bind(&orphan.job.id)
            .bind(&owner)
            .bind(JobStatus::Running.as_str());
    Ok((store.write(claim).await?.changed == 1).then_some(orphan))
}

/// Claims the orphans of a provider that are within the reach of `access`.
pub(super) async fn adopt<D: Database>(
    store: &Store<D>,
    provider: &str,
    access: Option<&Access>,
) -> Result<Vec<Orphan>, Fault> {
    let me = store.liveness.me().await?;
    let others =
        Statement::new("SELECT * FROM jobs WHERE provider = $1 AND (status = $2 OR rollback_pending) AND owner <> $3")
            .bind(provider)
            .bind(JobStatus::Running.as_str())
            .bind(&me);
    let (mut orphans, mut failed) = (Vec::new(), None);
    for row in store.database.read(others).await? {
        match claim(store, &me, &row, access).await {
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
