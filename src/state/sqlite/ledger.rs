//! The guard's ledger on SQLite: confirmations and the audit.

use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus, Ledger};
use crate::model::fault::{Fault, Kind};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::{at, ms};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

fn confirmation(row: &SqliteRow) -> Result<Confirmation, Fault> {
    let broken = |e: &dyn std::fmt::Display| {
        Fault::new(Kind::Damaged, "state.damaged", format!("a confirmation in the state store cannot be read: {e}"))
            .hint("Call restore_instance without confirmation_token for a new plan.")
    };
    let plan: String = row.try_get("plan")?;
    let status: String = row.try_get("status")?;
    Ok(Confirmation {
        nonce: row.try_get("nonce")?,
        plan: serde_json::from_str(&plan).map_err(|e| broken(&e))?,
        caller: row.try_get("caller")?,
        created_at: at(row.try_get("created_at")?)?,
        expires_at: at(row.try_get("expires_at")?)?,
        status: ConfirmationStatus::parse(&status).ok_or_else(|| broken(&status))?,
        wrong_answers: u32::try_from(row.try_get::<i64, _>("wrong_answers")?).unwrap_or(u32::MAX),
    })
}

#[async_trait]
impl Ledger for Sqlite {
    async fn open(&self, c: &Confirmation) -> Result<(), Fault> {
        sqlx::query(
            "INSERT INTO confirmations (nonce, plan, caller, status, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&c.nonce)
        .bind(c.plan.to_json()?)
        .bind(&c.caller)
        .bind(c.status.as_str())
        .bind(ms(c.created_at))
        .bind(ms(c.expires_at))
        .execute(self.database.pool().await?)
        .await?;
        Ok(())
    }

    async fn find(&self, nonce: &str) -> Result<Option<Confirmation>, Fault> {
        let row = sqlx::query("SELECT * FROM confirmations WHERE nonce = ?")
            .bind(nonce)
            .fetch_optional(self.database.pool().await?)
            .await?;
        row.as_ref().map(confirmation).transpose()
    }

    async fn transition(
        &self,
        nonce: &str,
        from: &[ConfirmationStatus],
        to: ConfirmationStatus,
    ) -> Result<bool, Fault> {
        // One statement: SQLite lets one writer in at a time, so of two calls at once one changes the row.
        let first = from.first().map_or("", |s| s.as_str());
        let second = from.get(1).map_or(first, |s| s.as_str());
        let done =
            sqlx::query("UPDATE confirmations SET status = ? WHERE nonce = ? AND status IN (?, ?) AND expires_at > ?")
                .bind(to.as_str())
                .bind(nonce)
                .bind(first)
                .bind(second)
                .bind(ms(Timestamp::now()))
                .execute(self.database.pool().await?)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn withdraw_others(&self, instance_id: &str, nonce: &str) -> Result<(), Fault> {
        sqlx::query(
            "UPDATE confirmations SET status = ? WHERE nonce <> ? AND status IN (?, ?) AND json_extract(plan, '$.instance_id') = ?",
        )
        .bind(ConfirmationStatus::Superseded.as_str())
        .bind(nonce)
        .bind(ConfirmationStatus::Open.as_str())
        .bind(ConfirmationStatus::Approved.as_str())
        .bind(instance_id)
        .execute(self.database.pool().await?)
        .await?;
        Ok(())
    }

    async fn count_wrong_answer(&self, nonce: &str) -> Result<u32, Fault> {
        let count: i64 = sqlx::query_scalar(
            "UPDATE confirmations SET wrong_answers = wrong_answers + 1 WHERE nonce = ? RETURNING wrong_answers",
        )
        .bind(nonce)
        .fetch_one(self.database.pool().await?)
        .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn record(&self, r: AuditRecord) -> Result<(), Fault> {
        append(&mut *self.database.pool().await?.acquire().await?, r).await
    }
}

/// Appends a line to the audit, on a connection that may be within a transaction.
pub(super) async fn append(connection: &mut SqliteConnection, r: AuditRecord) -> Result<(), Fault> {
    sqlx::query("INSERT INTO audit (at, event, caller, instance_id, nonce, detail) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(ms(r.at))
        .bind(r.event)
        .bind(r.caller)
        .bind(r.instance_id)
        .bind(r.nonce)
        .bind(r.detail)
        .execute(connection)
        .await?;
    Ok(())
}

/// Plans whose token may still be echoed, approved or not yet, newest first.
pub(super) async fn redeemable(pool: &SqlitePool) -> Result<Vec<Confirmation>, Fault> {
    let rows =
        sqlx::query("SELECT * FROM confirmations WHERE status IN (?, ?) AND expires_at > ? ORDER BY created_at DESC")
            .bind(ConfirmationStatus::Open.as_str())
            .bind(ConfirmationStatus::Approved.as_str())
            .bind(ms(Timestamp::now()))
            .fetch_all(pool)
            .await?;
    rows.iter().map(confirmation).collect()
}

/// The audit, oldest first: the last `limit` records, of one instance if named.
pub(super) async fn audit(pool: &SqlitePool, instance_id: Option<&str>, limit: u32) -> Result<Vec<AuditRecord>, Fault> {
    let rows = sqlx::query(
        "SELECT * FROM (SELECT * FROM audit WHERE ?1 IS NULL OR instance_id = ?1 ORDER BY seq DESC LIMIT ?2) ORDER BY seq",
    )
    .bind(instance_id)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRecord {
                at: at(row.try_get("at")?)?,
                event: row.try_get("event")?,
                caller: row.try_get("caller")?,
                instance_id: row.try_get("instance_id")?,
                nonce: row.try_get("nonce")?,
                detail: row.try_get("detail")?,
            })
        })
        .collect()
}
