//! Rollbacks that stay pending, on a database: cleared by a person's word.

use crate::guard::ledger::AuditRecord;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{JobKind, JobStatus, Phase};
use crate::state::jobs::not_found;
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::statement::Statement;
use jiff::Timestamp;

/// Ends a restore whose rollback is pending, or whose process died, without rolling anything back.
pub(super) async fn clear<D: Database>(
    store: &Store<D>,
    id: &str,
    (message, hint): (&str, &str),
    audit: AuditRecord,
) -> Result<bool, Fault> {
    let row = store.row(Statement::new("SELECT owner FROM jobs WHERE id = $1").bind(id)).await?;
    let owner: String = row.ok_or_else(|| not_found(id))?.get("owner")?;
    // A failed job is nobody's, or of whoever tries to roll it back just now. Of a running one its owner may live, and then knows better than anybody.
    let dead = !store.liveness.lives(&owner).await?;
    let end = Statement::new(
        "UPDATE jobs SET rollback_pending = FALSE, status = $1, stage = $1, phase = $2, recovery = '', recovery_kind = '', message = $3, hint = $4,
           code = CASE code WHEN '' THEN 'job.interrupted' ELSE code END, failure = CASE failure WHEN '' THEN $5 ELSE failure END,
           finished_at = coalesce(finished_at, $6)
         WHERE id = $7 AND kind = $8 AND (rollback_pending OR (status = $9 AND phase <> $10 AND owner = $11 AND $12))",
    )
    .bind(JobStatus::Failed.as_str())
    .bind(Phase::Ended.as_str())
    .bind(message)
    .bind(hint)
    .bind(Kind::Unexpected.as_str())
    .bind(Timestamp::now())
    .bind(id)
    .bind(JobKind::Restore.as_str())
    .bind(JobStatus::Running.as_str())
    .bind(Phase::Detached.as_str())
    .bind(owner)
    .bind(dead);
    store.end(id, end, Some(audit)).await
}
