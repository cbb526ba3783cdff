//! Jobs on SQLite. Code reads a job's typed columns; the job's texts are written for people and never interpreted.

use crate::guard::ledger::AuditRecord;
use crate::model::access::Access;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, Phase, StoredRecovery};
use crate::model::restore::RestoredTo;
use crate::model::restored_keys::RestoredKeys;
use crate::state::jobs::{Begun, Changes, JobStore, NewJob, Orphan, ROLLBACK_PENDING, clear_command, not_found};
use crate::state::liveness::NOBODY;
use crate::state::sqlite::database::{ms, signed};
use crate::state::sqlite::job_row::{job, logged};
use crate::state::sqlite::orphans::{self, in_reach};
use crate::state::sqlite::rollback::{self, PENDING};
use crate::state::sqlite::{Sqlite, ledger};
use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Transaction;
use sqlx::sqlite::SqliteQueryResult;

/// Stage of a job that has just been begun.
const STARTING: &str = "starting";

impl Sqlite {
    /// Wakes those who wait for changes, once a statement has written.
    pub(super) fn notify(&self, _: SqliteQueryResult) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Commits how a job ended, and the audit's line about that end where the row has changed.
    pub(super) async fn commit_end(
        &self,
        mut tx: Transaction<'_, sqlx::Sqlite>,
        done: SqliteQueryResult,
        audit: Option<AuditRecord>,
    ) -> Result<bool, Fault> {
        let changed = done.rows_affected() == 1;
        if let Some(record) = audit.filter(|_| changed) {
            ledger::append(&mut tx, record).await?;
        }
        tx.commit().await?;
        self.notify(done);
        Ok(changed)
    }

    /// The sets that an instance's backup jobs of this status were to make.
    async fn sets_of_backups(&self, instance_id: &str, status: JobStatus) -> Result<Vec<String>, Fault> {
        let sets = sqlx::query_scalar("SELECT backup_id FROM jobs WHERE instance_id = ? AND kind = ? AND status = ?")
            .bind(instance_id)
            .bind(JobKind::Backup.as_str())
            .bind(status.as_str())
            .fetch_all(self.database.pool().await?)
            .await?;
        Ok(sets)
    }
}

/// A value of a column that holds JSON.
fn as_json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|e| {
        Fault::new(Kind::Unexpected, "state.failed", "what a job has restored could not be written").because(e)
    })
}

#[async_trait]
impl JobStore for Sqlite {
    async fn begin(&self, new: NewJob<'_>) -> Result<Begun, Fault> {
        let owner = self.liveness.me().await?;
        let pool = self.database.pool().await?;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        let running =
            sqlx::query("SELECT * FROM jobs WHERE instance_id = ? AND status = ? AND exclusive = 1 AND ? = 1")
                .bind(new.instance_id)
                .bind(JobStatus::Running.as_str())
                .bind(new.exclusive)
                .fetch_optional(&mut *tx)
                .await?;
        if let Some(row) = running {
            let other = job(&row)?;
            if other.kind == new.kind && in_reach(other.access.as_ref(), new.access) {
                return Ok(Begun::Joined(other));
            }
            let what = format!("{} job {} is running on {}", other.kind.as_str(), other.id, new.instance_id);
            return Err(Fault::new(Kind::Provider, "job.busy", what)
                .hint("Follow it with describe_jobs and call again when it is over.")
                .retry_after(std::time::Duration::from_secs(5)));
        }
        let pending: Option<String> =
            sqlx::query_scalar(PENDING).bind(new.instance_id).fetch_optional(&mut *tx).await?;
        // Rolling the old restore back while a new one runs would detach the target from the new one.
        if let Some(other) = pending.filter(|_| new.kind == JobKind::Restore) {
            let what = format!(
                "the rollback of restore job {other} on {} is pending: the instance could not be reached afterwards, or it is not known what was touched",
                new.instance_id
            );
            return Err(Fault::new(Kind::Provider, "restore.unsettled", what).hint(format!(
                "Bring the instance back and call describe_jobs, which rolls it back, or says what to look at; then make a new plan. Where \
                 that is of no use, a person who has looked at the instance clears it at a terminal: {}.",
                clear_command(&other)
            )));
        }
        let access = new.access.cloned().unwrap_or_default();
        let done = sqlx::query(
            "INSERT INTO jobs (id, provider, kind, instance_id, backup_id, status, phase, stage, owner, exclusive, caller, confirmation, account,
               principal, region, endpoint, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.id)
        .bind(new.provider)
        .bind(new.kind.as_str())
        .bind(new.instance_id)
        .bind(new.backup_id)
        .bind(JobStatus::Running.as_str())
        .bind(Phase::Starting.as_str())
        .bind(STARTING)
        .bind(owner)
        .bind(new.exclusive)
        .bind(new.caller)
        .bind(new.confirmation)
        .bind(&access.account)
        .bind(&access.principal)
        .bind(&access.region)
        .bind(&access.endpoint)
        .bind(ms(Timestamp::now()))
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(new.id).fetch_one(&mut *tx).await?;
        let started = job(&row)?;
        tx.commit().await?;
        self.notify(done);
        Ok(Begun::Started(started))
    }

    async fn progress(&self, id: &str, phase: Phase, stage: &str, done: u64, total: u64) -> Result<(), Fault> {
        let done = sqlx::query(
            "UPDATE jobs SET phase = ?, stage = ?, done = ?, total = ? WHERE id = ? AND status = ? AND owner = ?",
        )
        .bind(phase.as_str())
        .bind(stage)
        .bind(signed(done))
        .bind(signed(total))
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(self.liveness.me().await?)
        .execute(self.database.pool().await?)
        .await?;
        self.notify(done);
        Ok(())
    }

    async fn save_recovery(&self, id: &str, recovery: &StoredRecovery) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET recovery = ?, recovery_kind = ? WHERE id = ? AND owner = ?")
            .bind(&recovery.json)
            .bind(recovery.kind.as_str())
            .bind(id)
            .bind(self.liveness.me().await?)
            .execute(self.database.pool().await?)
            .await?;
        Ok(())
    }

    async fn set_backup_id(&self, id: &str, backup_id: &str) -> Result<(), Fault> {
        let done = sqlx::query("UPDATE jobs SET backup_id = ? WHERE id = ?")
            .bind(backup_id)
            .bind(id)
            .execute(self.database.pool().await?)
            .await?;
        self.notify(done);
        Ok(())
    }

    async fn set_cloud_jobs(&self, id: &str, cloud_jobs: &[i64]) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET cloud_jobs = ? WHERE id = ?")
            .bind(serde_json::Value::from(cloud_jobs).to_string())
            .bind(id)
            .execute(self.database.pool().await?)
            .await?;
        Ok(())
    }

    async fn set_restored(&self, id: &str, restored: &RestoredTo) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET restored = ? WHERE id = ?")
            .bind(as_json(restored)?)
            .bind(id)
            .execute(self.database.pool().await?)
            .await?;
        Ok(())
    }

    async fn set_restored_keys(&self, id: &str, keys: &RestoredKeys) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET restored_keys = ? WHERE id = ?")
            .bind(as_json(keys)?)
            .bind(id)
            .execute(self.database.pool().await?)
            .await?;
        Ok(())
    }

    async fn serving(&self, id: &str, at: Timestamp) -> Result<(), Fault> {
        let done = sqlx::query("UPDATE jobs SET serving_at = ? WHERE id = ?")
            .bind(ms(at))
            .bind(id)
            .execute(self.database.pool().await?)
            .await?;
        self.notify(done);
        Ok(())
    }

    async fn finish(&self, id: &str, outcome: Result<&str, &Fault>, audit: Option<AuditRecord>) -> Result<bool, Fault> {
        let (status, failure, code, message, hint) = match outcome {
            Ok(message) => (JobStatus::Succeeded, "", "", message, ""),
            Err(fault) => (
                JobStatus::ended_by(fault.kind),
                fault.kind.as_str(),
                fault.code,
                fault.message.as_str(),
                fault.hint.as_str(),
            ),
        };
        // Asked before the only connection is taken.
        let me = self.liveness.me().await?;
        let mut tx = self.database.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "UPDATE jobs SET status = ?1, stage = ?1, phase = ?2, code = ?3, message = ?4, hint = ?5, recovery = '', recovery_kind = '', finished_at = ?6, failure = ?7
             WHERE id = ?8 AND status = ?9 AND owner = ?10",
        )
        .bind(status.as_str())
        .bind(Phase::Ended.as_str())
        .bind(code)
        .bind(message)
        .bind(hint)
        .bind(ms(Timestamp::now()))
        .bind(failure)
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(me)
        .execute(&mut *tx)
        .await?;
        self.commit_end(tx, done, audit).await
    }

    async fn fail_with_rollback_pending(
        &self,
        id: &str,
        fault: &Fault,
        audit: Option<AuditRecord>,
    ) -> Result<bool, Fault> {
        // Asked before the only connection is taken.
        let me = self.liveness.me().await?;
        let mut tx = self.database.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "UPDATE jobs SET status = ?1, rollback_pending = recovery <> '', stage = CASE recovery WHEN '' THEN ?1 ELSE ?2 END,
             phase = ?3, owner = ?4, code = ?5, message = ?6, hint = ?7, finished_at = ?8, failure = ?9
             WHERE id = ?10 AND status = ?11 AND owner = ?12",
        )
        .bind(JobStatus::ended_by(fault.kind).as_str())
        .bind(ROLLBACK_PENDING)
        .bind(Phase::Ended.as_str())
        .bind(NOBODY)
        .bind(fault.code)
        .bind(&fault.message)
        .bind(&fault.hint)
        .bind(ms(Timestamp::now()))
        .bind(fault.kind.as_str())
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(me)
        .execute(&mut *tx)
        .await?;
        self.commit_end(tx, done, audit).await
    }

    async fn reconciled(&self, id: &str, message: &str, hint: &str, audit: Option<AuditRecord>) -> Result<bool, Fault> {
        let mut tx = self.database.pool().await?.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query(
            "UPDATE jobs SET rollback_pending = 0, stage = status, message = ?, hint = ?, recovery = '', recovery_kind = ''
             WHERE id = ? AND status <> ? AND rollback_pending = 1",
        )
        .bind(message)
        .bind(hint)
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .execute(&mut *tx)
        .await?;
        self.commit_end(tx, done, audit).await
    }

    async fn clear_rollback(&self, id: &str, message: &str, hint: &str, audit: AuditRecord) -> Result<bool, Fault> {
        rollback::clear(self, id, (message, hint), audit).await
    }

    async fn pending_rollback(&self, instance_id: &str) -> Result<Option<String>, Fault> {
        let pool = self.database.pool().await?;
        Ok(sqlx::query_scalar(PENDING).bind(instance_id).fetch_optional(pool).await?)
    }

    async fn job(&self, id: &str) -> Result<Job, Fault> {
        let row =
            sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_optional(self.database.pool().await?).await?;
        row.as_ref().map(job).transpose()?.ok_or_else(|| not_found(id))
    }

    async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE ?1 IS NULL OR instance_id = ?1 ORDER BY created_at DESC, id DESC LIMIT 50",
        )
        .bind(instance_id)
        .fetch_all(self.database.pool().await?)
        .await?;
        Ok(rows.iter().filter_map(|row| logged(row, job(row))).collect())
    }

    async fn adopt(&self, provider: &str, access: Option<&Access>) -> Result<Vec<Orphan>, Fault> {
        orphans::adopt(self, provider, access).await
    }

    async fn sets_in_the_making(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        // Whoever owns it: one whose process is dead is no damage either until it is reconciled.
        self.sets_of_backups(instance_id, JobStatus::Running).await
    }

    async fn sets_given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.sets_of_backups(instance_id, JobStatus::Failed).await
    }

    async fn release(&self, id: &str, phase: Phase, stage: &str) -> Result<(), Fault> {
        let done = sqlx::query(
            "UPDATE jobs SET owner = ?1, stage = ?2, phase = CASE status WHEN ?3 THEN ?4 ELSE phase END
             WHERE id = ?5 AND (status = ?3 OR rollback_pending = 1) AND owner IN (?1, ?6)",
        )
        .bind(NOBODY)
        .bind(stage)
        .bind(JobStatus::Running.as_str())
        .bind(phase.as_str())
        .bind(id)
        .bind(self.liveness.me().await?)
        .execute(self.database.pool().await?)
        .await?;
        self.notify(done);
        Ok(())
    }

    fn changes(&self) -> Changes {
        Changes::new(self.changed.subscribe())
    }
}
