//! Verifications on SQLite: one row a set. A set that has gone leaves its row, which nobody asks for any more.

use crate::model::fault::Fault;
use crate::model::verification::{Level, Verification};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::{at, damaged, ms};
use crate::state::verifications::Verifications;
use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// Reads a row. An empty fault is none.
fn verification(row: &SqliteRow) -> Result<Verification, Fault> {
    let (level, fault): (String, String) = (row.try_get("level")?, row.try_get("fault")?);
    Ok(Verification {
        level: Level::parse(&level).ok_or_else(|| damaged(format!("a set was verified to the level {level:?}")))?,
        at: at(row.try_get("verified_at")?)?,
        fault: (!fault.is_empty()).then_some(fault),
    })
}

#[async_trait]
impl Verifications for Sqlite {
    async fn verifications(&self, instance_id: &str) -> Result<BTreeMap<String, Verification>, Fault> {
        let pool = self.database.pool().await?;
        let found = sqlx::query("SELECT * FROM verifications WHERE instance_id = ?");
        let rows = found.bind(instance_id).fetch_all(pool).await?;
        let read = |row: &SqliteRow| -> Result<_, Fault> { Ok((row.try_get("backup_id")?, verification(row)?)) };
        rows.iter().map(read).collect()
    }

    async fn set_verified(&self, instance_id: &str, backup_id: &str, found: &Verification) -> Result<(), Fault> {
        let mut tx = self.database.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        let earlier = sqlx::query("SELECT * FROM verifications WHERE instance_id = ? AND backup_id = ?")
            .bind(instance_id)
            .bind(backup_id)
            .fetch_optional(&mut *tx)
            .await?;
        // Of an earlier one that cannot be read nothing is kept.
        let earlier = earlier.and_then(|row| verification(&row).ok());
        let kept = found.clone().behind(earlier);
        sqlx::query(
            "INSERT INTO verifications (instance_id, backup_id, level, verified_at, fault) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (instance_id, backup_id) DO UPDATE SET level = ?3, verified_at = ?4, fault = ?5",
        )
        .bind(instance_id)
        .bind(backup_id)
        .bind(kept.level.as_str())
        .bind(ms(kept.at))
        .bind(kept.fault.unwrap_or_default())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
