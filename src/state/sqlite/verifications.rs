//! Verifications on SQLite: a row for each level of a set. A set that has gone leaves its rows, which nobody asks for any more.

use crate::model::fault::Fault;
use crate::model::verification::{Level, Look, Verification};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::{at, damaged, ms};
use crate::state::verifications::Verifications;
use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// Reads a row. An empty text is none.
fn look(row: &SqliteRow) -> Result<(Level, Look), Fault> {
    let [level, sha256, server, fault] =
        ["level", "sha256", "server", "fault"].map(|column| row.try_get::<String, _>(column));
    let (level, some) = (level?, |text: String| Some(text).filter(|text| !text.is_empty()));
    let known = Level::parse(&level).ok_or_else(|| damaged(format!("a set was verified to the level {level:?}")))?;
    Ok((
        known,
        Look { at: at(row.try_get("verified_at")?)?, sha256: sha256?, server: some(server?), fault: some(fault?) },
    ))
}

#[async_trait]
impl Verifications for Sqlite {
    async fn verifications(&self, instance_id: &str) -> Result<BTreeMap<String, Verification>, Fault> {
        let pool = self.database.pool().await?;
        let rows = sqlx::query("SELECT * FROM verifications WHERE instance_id = ?");
        let mut found: BTreeMap<String, Verification> = BTreeMap::new();
        for row in rows.bind(instance_id).fetch_all(pool).await? {
            let (level, look) = look(&row)?;
            found.entry(row.try_get("backup_id")?).or_default().0.insert(level, look);
        }
        Ok(found)
    }

    async fn set_verified(&self, instance_id: &str, backup_id: &str, level: Level, look: &Look) -> Result<(), Fault> {
        let mut tx = self.database.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        for covered in Level::ALL.into_iter().filter(|covered| look.fault.is_none() && *covered < level) {
            sqlx::query(
                "DELETE FROM verifications WHERE instance_id = ? AND backup_id = ? AND level = ? AND fault <> ''",
            )
            .bind(instance_id)
            .bind(backup_id)
            .bind(covered.as_str())
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query(
            "INSERT INTO verifications (instance_id, backup_id, level, verified_at, sha256, server, fault) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (instance_id, backup_id, level) DO UPDATE SET verified_at = ?4, sha256 = ?5, server = ?6, fault = ?7",
        )
        .bind(instance_id)
        .bind(backup_id)
        .bind(level.as_str())
        .bind(ms(look.at))
        .bind(look.sha256.as_str())
        .bind(look.server.as_deref().unwrap_or_default())
        .bind(look.fault.as_deref().unwrap_or_default())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
