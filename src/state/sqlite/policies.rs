//! Policies on SQLite: one row an instance.

use crate::model::fault::Fault;
use crate::model::policy::BackupPolicy;
use crate::state::policies::{Policies, StoredPolicy};
use crate::state::sqlite::Sqlite;
use crate::state::sqlite::database::{at, ms, unsigned};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;

/// Between weekdays as they are stored.
const BETWEEN: char = ',';

#[async_trait]
impl Policies for Sqlite {
    async fn stored_policy(&self, instance_id: &str) -> Result<Option<StoredPolicy>, Fault> {
        let pool = self.database.pool().await?;
        let found = sqlx::query("SELECT * FROM policies WHERE instance_id = ?");
        let Some(row) = found.bind(instance_id).fetch_optional(pool).await? else { return Ok(None) };
        let days: String = row.try_get("preferred_backup_period")?;
        let policy = BackupPolicy {
            preferred_backup_time: row.try_get("preferred_backup_time")?,
            preferred_backup_period: days.split(BETWEEN).filter(|day| !day.is_empty()).map(str::to_owned).collect(),
            backup_retention_period: u32::try_from(unsigned(&row, "backup_retention_period")?).unwrap_or(u32::MAX),
            enable_backup_log: row.try_get("enable_backup_log")?,
            ..BackupPolicy::none()
        };
        let since: i64 = row.try_get("calendar_since")?;
        let calendar_since = if policy.preferred_backup_time.is_empty() { None } else { Some(at(since)?) };
        Ok(Some(StoredPolicy { policy, calendar_since }))
    }

    async fn set_policy(&self, instance_id: &str, policy: &BackupPolicy) -> Result<(), Fault> {
        // Another hour or other days begin nothing anew: who moves the hour time and again must not move the next backup with it.
        sqlx::query(
            "INSERT INTO policies (instance_id, enable_backup_log, changed_at, preferred_backup_time,
                 preferred_backup_period, backup_retention_period, calendar_since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?3)
             ON CONFLICT (instance_id) DO UPDATE SET enable_backup_log = ?2, changed_at = ?3,
                 calendar_since = CASE WHEN preferred_backup_time = '' THEN ?3 ELSE calendar_since END,
                 preferred_backup_time = ?4, preferred_backup_period = ?5, backup_retention_period = ?6",
        )
        .bind(instance_id)
        .bind(policy.enable_backup_log)
        .bind(ms(Timestamp::now()))
        .bind(&policy.preferred_backup_time)
        .bind(policy.preferred_backup_period.join(&BETWEEN.to_string()))
        .bind(i64::from(policy.backup_retention_period))
        .execute(self.database.pool().await?)
        .await?;
        Ok(())
    }
}
