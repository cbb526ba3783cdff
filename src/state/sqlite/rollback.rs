//! Rollbacks that stay pending, on SQLite: found by their instance, and cleared by a person's word.

use crate::guard::ledger::AuditRecord;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{JobKind, JobStatus, Phase};
use crate::state::jobs::not_found;
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::ms;
use jiff::Timestamp;

/// The restore of an instance whose rollback is pending.
pub(super) const PENDING: &str = "SELECT id FROM jobs WHERE instance_id = ? AND rollback_pending = 1";

/// Ends a restore whose rollback is pending, or whose process died, without rolling anything back.
pub(super) async fn clear(
    store: &Sqlite,
    id: &str,
    (message, hint): (&str, &str),
    audit: AuditRecord,
) -> Result<bool, Fault> {
    let pool = store.database.pool().await?;
    let owner: Option<String> =
        sqlx::query_scalar("SELECT owner FROM jobs WHERE id = ?").bind(id).fetch_optional(pool).await?;
    let owner = owner.ok_or_else(|| not_found(id))?;
    // A failed job is nobody's. Of a running one its owner may live, and then knows better than anybody.
    let dead = !store.liveness.lives(&owner).await?;
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let done = sqlx::query(
        "UPDATE jobs SET rollback_pending = 0, status = ?1, stage = ?1, phase = ?2, recovery = '', recovery_kind = '', message = ?3, hint = ?4,
           code = CASE code WHEN '' THEN 'job.interrupted' ELSE code END, failure = CASE failure WHEN '' THEN ?5 ELSE failure END,
           finished_at = coalesce(finished_at, ?6)
         WHERE id = ?7 AND kind = ?8 AND (rollback_pending = 1 OR (status = ?9 AND phase <> ?10 AND owner = ?11 AND ?12))",
    )
    .bind(JobStatus::Failed.as_str())
    .bind(Phase::Ended.as_str())
    .bind(message)
    .bind(hint)
    .bind(Kind::Unexpected.as_str())
    .bind(ms(Timestamp::now()))
    .bind(id)
    .bind(JobKind::Restore.as_str())
    .bind(JobStatus::Running.as_str())
    .bind(Phase::Detached.as_str())
    .bind(owner)
    .bind(dead)
    .execute(&mut *tx)
    .await?;
    store.commit_end(tx, done, Some(audit)).await
}
