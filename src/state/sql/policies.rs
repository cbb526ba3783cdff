//! Policies on a database: one row an instance.

use crate::model::fault::Fault;
use crate::model::policy::BackupPolicy;
use crate::state::leases::Lease;
use crate::state::policies::{Policies, StoredPolicy, busy};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::statement::Statement;
use async_trait::async_trait;
use jiff::Timestamp;

/// Between weekdays as they are stored.
const BETWEEN: char = ',';

#[async_trait]
impl<D: Database> Policies for Store<D> {
    async fn stored_policy(&self, instance_id: &str) -> Result<Option<StoredPolicy>, Fault> {
        let found = Statement::new("SELECT * FROM policies WHERE instance_id = $1").bind(instance_id);
        let Some(row) = self.row(found).await? else { return Ok(None) };
        let days: String = row.get("preferred_backup_period")?;
        let policy = BackupPolicy {
            preferred_backup_time: row.get("preferred_backup_time")?,
            preferred_backup_period: days.split(BETWEEN).filter(|day| !day.is_empty()).map(str::to_owned).collect(),
            backup_retention_period: u32::try_from(row.count("backup_retention_period")?).unwrap_or(u32::MAX),
            enable_backup_log: row.get("enable_backup_log")?,
            ..BackupPolicy::none()
        };
        let calendar_since =
            if policy.preferred_backup_time.is_empty() { None } else { Some(row.moment("calendar_since")?) };
        Ok(Some(StoredPolicy { policy, calendar_since, changed_at: row.moment("changed_at")? }))
    }

    async fn set_policy(&self, instance_id: &str, policy: &BackupPolicy, under: &Lease) -> Result<(), Fault> {
        // Another hour or other days begin nothing anew: who moves the hour time and again must not move the next backup with it.
        let set = Statement::new(
            "INSERT INTO policies (instance_id, enable_backup_log, changed_at, preferred_backup_time,
                 preferred_backup_period, backup_retention_period, calendar_since)
             SELECT $1, $2, $3, $4, $5, $6, $3 WHERE EXISTS (SELECT 1 FROM leases WHERE name = $7 AND holder = $8 AND epoch = $9)
             ON CONFLICT (instance_id) DO UPDATE SET enable_backup_log = $2, changed_at = $3,
                 calendar_since = CASE WHEN policies.preferred_backup_time = '' THEN $3 ELSE policies.calendar_since END,
                 preferred_backup_time = $4, preferred_backup_period = $5, backup_retention_period = $6",
        )
        .bind(instance_id)
        .bind(policy.enable_backup_log)
        .bind(Timestamp::now())
        .bind(&policy.preferred_backup_time)
        .bind(policy.preferred_backup_period.join(&BETWEEN.to_string()))
        .bind(policy.backup_retention_period)
        .bind(&under.name)
        .bind(&under.holder)
        .bind(under.epoch);
        if self.write(set).await?.changed == 0 {
            return Err(busy(instance_id));
        }
        Ok(())
    }
}
