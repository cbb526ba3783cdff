//! Policies on SQLite: one row an instance.

use crate::model::fault::Fault;
use crate::state::policies::Policies;
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::ms;
use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
impl Policies for Sqlite {
    async fn backup_log(&self, instance_id: &str) -> Result<Option<bool>, Fault> {
        let pool = self.database.pool().await?;
        let found = sqlx::query_scalar("SELECT enable_backup_log FROM policies WHERE instance_id = ?");
        Ok(found.bind(instance_id).fetch_optional(pool).await?)
    }

    async fn set_backup_log(&self, instance_id: &str, on: bool) -> Result<(), Fault> {
        sqlx::query(
            "INSERT INTO policies (instance_id, enable_backup_log, changed_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (instance_id) DO UPDATE SET enable_backup_log = ?2, changed_at = ?3",
        )
        .bind(instance_id)
        .bind(on)
        .bind(ms(Timestamp::now()))
        .execute(self.database.pool().await?)
        .await?;
        Ok(())
    }
}
