//! Jobs on a database. Code reads a job's typed columns; the job's texts are written for people and never interpreted.

use crate::config::command::clear_rollback;
use crate::guard::ledger::AuditRecord;
use crate::model::access::Access;
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, Phase, StoredRecovery, last_safety_id};
use crate::model::restore::RestoredTo;
use crate::model::restored_keys::RestoredKeys;
use crate::state::jobs::{Begun, Changes, JobStore, JobsOf, NewJob, Orphan, ROLLBACK_PENDING, not_found, taken_over};
use crate::state::leases::Leases as _;
use crate::state::liveness::NOBODY;
use crate::state::sql::database::Database;
use crate::state::sql::job_row::{job, logged};
use crate::state::sql::orphans::{self, in_reach};
use crate::state::sql::rollback;
use crate::state::sql::statement::{Row, Statement};
use crate::state::sql::{Store, ledger};
use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;

/// Stage of a job that has just been begun.
const STARTING: &str = "starting";
/// Times a job is begun anew where what was in its way has ended meanwhile.
const BEGINNINGS: u32 = 8;

/// Begins a job unless something is in its way: one statement, so that of two processes one begins.
const BEGIN: &str = "
    INSERT INTO jobs (id, provider, kind, instance_id, backup_id, status, phase, stage, owner, exclusive, caller, confirmation, account,
      principal, region, endpoint, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17
    WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE instance_id = $4 AND status = $6 AND exclusive AND $10)
      AND NOT EXISTS (SELECT 1 FROM jobs WHERE instance_id = $4 AND rollback_pending AND $18)
      AND ($19 = '' OR EXISTS (SELECT 1 FROM leases WHERE name = $19 AND holder = $20 AND epoch = $21))
    ON CONFLICT DO NOTHING RETURNING *";

impl<D: Database> Store<D> {
    /// Writes how a job ended, and the audit's line about that end where the row has changed.
    pub(super) async fn end(&self, id: &str, end: Statement, audit: Option<AuditRecord>) -> Result<bool, Fault> {
        let line = audit.as_ref().map(|record| ledger::line(record).if_changed());
        let written = self.database.write(std::iter::once(end).chain(line).collect()).await?;
        let changed = written.changed == 1;
        self.notify(written);
        if let Some(record) = audit.as_ref().filter(|_| changed) {
            ledger::tell(record, Some(id));
        }
        Ok(changed)
    }

    /// Writes what belongs to a job of this process's own. What is bound next is the job's id, and then its owner.
    async fn set_of_own(&self, id: &str, set: Statement) -> Result<(), Fault> {
        let set = set.bind(id).bind(self.liveness.me().await?);
        let written = self.write(set).await?;
        if written.changed == 0 {
            return Err(taken_over(id));
        }
        self.notify(written);
        Ok(())
    }

    /// The sets that an instance's jobs of this status were to make: what backups are for, and what restores take themselves.
    async fn sets_made(&self, instance_id: &str, status: JobStatus) -> Result<Vec<String>, Fault> {
        let making = "SELECT id, kind, backup_id FROM jobs WHERE instance_id = $1 AND kind IN ($2, $3) AND status = $4";
        let making = Statement::new(making)
            .bind(instance_id)
            .bind(JobKind::Backup.as_str())
            .bind(JobKind::Restore.as_str())
            .bind(status.as_str());
        let made = |row: &Row| match row.get::<String>("kind")? {
            kind if kind == JobKind::Restore.as_str() => Ok(last_safety_id(&row.get::<String>("id")?)),
            _ => row.get("backup_id"),
        };
        self.database.read(making).await?.iter().map(made).collect()
    }

    /// The newest jobs but the first `skip`, of one instance if named.
    async fn newest(&self, instance_id: Option<&str>, skip: u64, most: u32) -> Result<Vec<Job>, Fault> {
        let newest = Statement::new(
            "SELECT * FROM jobs WHERE $1 IS NULL OR instance_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
        );
        let rows = self.database.read(newest.bind(instance_id).bind(most).bind(skip)).await?;
        Ok(rows.iter().filter_map(|row| logged(row, job(row))).collect())
    }

    /// What keeps a job from being begun: the job that is joined instead, or why it must wait. `None`: nothing does any more.
    async fn in_the_way(&self, new: &NewJob<'_>) -> Result<Option<Job>, Fault> {
        let running = Statement::new("SELECT * FROM jobs WHERE instance_id = $1 AND status = $2 AND exclusive AND $3")
            .bind(new.instance_id)
            .bind(JobStatus::Running.as_str())
            .bind(new.exclusive);
        if let Some(row) = self.row(running).await? {
            let other = job(&row)?;
            if other.kind == new.kind && in_reach(other.access.as_ref(), new.access) {
                return Ok(Some(other));
            }
            let what = format!("{} job {} is running on {}", other.kind.as_str(), other.id, new.instance_id);
            return Err(Fault::new(Kind::Provider, "job.busy", what)
                .hint("Follow it with describe_jobs and call again when it is over.")
                .retry_after(Duration::from_secs(5)));
        }
        if new.kind != JobKind::Restore {
            return Ok(None);
        }
        let Some(other) = self.pending_rollback(new.instance_id).await? else { return Ok(None) };
        let what = format!(
            "the rollback of restore job {other} on {} is pending: the instance could not be reached afterwards, or it is not known what was touched",
            new.instance_id
        );
        Err(Fault::new(Kind::Provider, "restore.unsettled", what).hint(format!(
            "Bring the instance back and call describe_jobs, which rolls it back, or says what to look at; then make a new plan. Where \
             that is of no use, a person who has looked at the instance clears it at a terminal: {}.",
            clear_rollback(&other)
        )))
    }
}

/// A value of a column that holds JSON.
fn as_json(value: &impl serde::Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|e| {
        Fault::new(Kind::Unexpected, "state.failed", "what a job has restored could not be written").because(e)
    })
}

#[async_trait]
impl<D: Database> JobStore for Store<D> {
    async fn begin(&self, new: NewJob<'_>) -> Result<Begun, Fault> {
        // From before the row is there: nothing else of this process takes it for what was left.
        let taking_on = self.jobs_at_work.take_on(new.id);
        let owner = self.liveness.me().await?;
        let access = new.access.cloned().unwrap_or_default();
        let begin = Statement::new(BEGIN)
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
            .bind(access.account)
            .bind(access.principal)
            .bind(access.region)
            .bind(access.endpoint)
            .bind(Timestamp::now())
            // Rolling the old restore back while a new one runs would detach the target from the new one.
            .bind(new.kind == JobKind::Restore)
            .bind(new.under.map_or("", |lease| lease.name.as_str()))
            .bind(new.under.map_or("", |lease| lease.holder.as_str()))
            .bind(new.under.map_or(0, |lease| lease.epoch))
            .one_by_one(format!("job {}", new.instance_id));
        let line = new.audit.map(|record| ledger::line(record).if_changed());
        let begin: Vec<Statement> = std::iter::once(begin).chain(line).collect();
        for _ in 0..BEGINNINGS {
            let begun = self.database.write(begin.clone()).await?;
            if let Some(row) = begun.rows.first() {
                let started = job(row)?;
                self.notify(begun);
                taking_on.taken();
                if let Some(record) = new.audit {
                    ledger::tell(record, Some(new.id));
                }
                return Ok(Begun::Started(started));
            }
            if let Some(other) = self.in_the_way(&new).await? {
                return Ok(Begun::Joined(other));
            }
            if let Some(lease) = new.under
                && !self.renew(lease).await?
            {
                let what = format!("the lease {} is another process's by now, which does what is due", lease.name);
                return Err(Fault::new(Kind::Provider, "job.busy", what).hint("Follow it with describe_jobs."));
            }
            let same = Statement::new("SELECT 1 AS there FROM jobs WHERE id = $1").bind(new.id);
            if self.row(same).await?.is_some() {
                return Err(Fault::new(Kind::Unexpected, "state.failed", format!("there is a job {} already", new.id)));
            }
        }
        let what = format!("jobs of {} begin and end too fast for another to begin", new.instance_id);
        Err(Fault::new(Kind::Provider, "job.busy", what).hint("Call again.").retry_after(Duration::from_secs(5)))
    }

    async fn progress(&self, id: &str, phase: Phase, stage: &str, done: u64, total: u64) -> Result<bool, Fault> {
        let progress = Statement::new(
            "UPDATE jobs SET phase = $1, stage = $2, done = $3, total = $4 WHERE id = $5 AND status = $6 AND owner = $7",
        )
        .bind(phase.as_str())
        .bind(stage)
        .bind(done)
        .bind(total)
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(self.liveness.me().await?);
        let written = self.write(progress).await?;
        let changed = written.changed == 1;
        self.notify(written);
        Ok(changed)
    }

    async fn save_recovery(&self, id: &str, recovery: &StoredRecovery) -> Result<(), Fault> {
        let save = Statement::new("UPDATE jobs SET recovery = $1, recovery_kind = $2 WHERE id = $3 AND owner = $4")
            .bind(&recovery.json)
            .bind(recovery.kind.as_str());
        self.set_of_own(id, save).await
    }

    async fn set_backup_id(&self, id: &str, backup_id: &str) -> Result<(), Fault> {
        let set = Statement::new("UPDATE jobs SET backup_id = $1 WHERE id = $2 AND owner = $3").bind(backup_id);
        self.set_of_own(id, set).await
    }

    async fn set_mode(&self, id: &str, mode: Mode) -> Result<(), Fault> {
        let set = Statement::new("UPDATE jobs SET mode = $1 WHERE id = $2 AND owner = $3").bind(mode.as_str());
        self.set_of_own(id, set).await
    }

    async fn set_cloud_jobs(&self, id: &str, cloud_jobs: &[i64]) -> Result<(), Fault> {
        let cloud_jobs = serde_json::Value::from(cloud_jobs).to_string();
        let set = Statement::new("UPDATE jobs SET cloud_jobs = $1 WHERE id = $2 AND owner = $3").bind(cloud_jobs);
        self.set_of_own(id, set).await
    }

    async fn set_restored(&self, id: &str, restored: &RestoredTo) -> Result<(), Fault> {
        let set = Statement::new("UPDATE jobs SET restored = $1 WHERE id = $2 AND owner = $3");
        self.set_of_own(id, set.bind(as_json(restored)?)).await
    }

    async fn set_restored_keys(&self, id: &str, keys: &RestoredKeys) -> Result<(), Fault> {
        let set = Statement::new("UPDATE jobs SET restored_keys = $1 WHERE id = $2 AND owner = $3");
        self.set_of_own(id, set.bind(as_json(keys)?)).await
    }

    async fn serving(&self, id: &str, at: Timestamp) -> Result<(), Fault> {
        let set = Statement::new("UPDATE jobs SET serving_at = $1 WHERE id = $2 AND owner = $3").bind(at);
        self.set_of_own(id, set).await
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
        let end = Statement::new(
            "UPDATE jobs SET status = $1, stage = $1, phase = $2, code = $3, message = $4, hint = $5, recovery = '', recovery_kind = '', finished_at = $6, failure = $7
             WHERE id = $8 AND status = $9 AND owner = $10",
        )
        .bind(status.as_str())
        .bind(Phase::Ended.as_str())
        .bind(code)
        .bind(message)
        .bind(hint)
        .bind(Timestamp::now())
        .bind(failure)
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(self.liveness.me().await?);
        self.end(id, end, audit).await
    }

    async fn fail_with_rollback_pending(
        &self,
        id: &str,
        fault: &Fault,
        audit: Option<AuditRecord>,
    ) -> Result<bool, Fault> {
        let end = Statement::new(
            "UPDATE jobs SET status = $1, rollback_pending = (recovery <> ''), stage = CASE recovery WHEN '' THEN $1 ELSE $2 END,
             phase = $3, owner = $4, code = $5, message = $6, hint = $7, finished_at = $8, failure = $9
             WHERE id = $10 AND status = $11 AND owner = $12",
        )
        .bind(JobStatus::ended_by(fault.kind).as_str())
        .bind(ROLLBACK_PENDING)
        .bind(Phase::Ended.as_str())
        .bind(NOBODY)
        .bind(fault.code)
        .bind(&fault.message)
        .bind(&fault.hint)
        .bind(Timestamp::now())
        .bind(fault.kind.as_str())
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(self.liveness.me().await?);
        self.end(id, end, audit).await
    }

    async fn reconciled(&self, id: &str, message: &str, hint: &str, audit: Option<AuditRecord>) -> Result<bool, Fault> {
        let end = Statement::new(
            "UPDATE jobs SET rollback_pending = FALSE, stage = status, message = $1, hint = $2, recovery = '', recovery_kind = ''
             WHERE id = $3 AND status <> $4 AND rollback_pending AND owner = $5",
        )
        .bind(message)
        .bind(hint)
        .bind(id)
        .bind(JobStatus::Running.as_str())
        .bind(self.liveness.me().await?);
        self.end(id, end, audit).await
    }

    async fn clear_rollback(&self, id: &str, message: &str, hint: &str, audit: AuditRecord) -> Result<bool, Fault> {
        rollback::clear(self, id, (message, hint), audit).await
    }

    async fn pending_rollback(&self, instance_id: &str) -> Result<Option<String>, Fault> {
        let pending = Statement::new("SELECT id FROM jobs WHERE instance_id = $1 AND rollback_pending");
        self.row(pending.bind(instance_id)).await?.map(|row| row.get("id")).transpose()
    }

    async fn job(&self, id: &str) -> Result<Job, Fault> {
        let row = self.row(Statement::new("SELECT * FROM jobs WHERE id = $1").bind(id)).await?;
        row.as_ref().map(job).transpose()?.ok_or_else(|| not_found(id))
    }

    async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault> {
        self.newest(instance_id, 0, 50).await
    }

    async fn page(&self, instance_id: Option<&str>, skip: u64, most: u32) -> Result<(Vec<Job>, u64), Fault> {
        let count = Statement::new("SELECT COUNT(*) AS jobs FROM jobs WHERE $1 IS NULL OR instance_id = $1");
        let total = self.row(count.bind(instance_id)).await?.map(|row| row.count("jobs")).transpose()?;
        Ok((self.newest(instance_id, skip, most).await?, total.unwrap_or_default()))
    }

    async fn latest(&self, of: JobsOf<'_>) -> Result<Vec<Job>, Fault> {
        let (status, kind) = (of.status.map(|status| status.as_str()), of.kind.map(|kind| kind.as_str()));
        // What is not asked for is left out: no index serves a condition that may be none.
        let (mut latest, mut bound) = ("SELECT * FROM jobs WHERE instance_id = $1".to_owned(), vec![of.instance_id]);
        for (column, value) in [("status", status), ("kind", kind), ("caller", of.caller)] {
            if let Some(value) = value {
                bound.push(value);
                latest.push_str(&format!(" AND {column} = ${}", bound.len()));
            }
        }
        latest.push_str(" ORDER BY created_at DESC, id DESC LIMIT 50");
        let latest = bound.into_iter().fold(Statement::new(latest), |latest, value| latest.bind(value));
        let rows = self.database.read(latest).await?;
        Ok(rows.iter().filter_map(|row| logged(row, job(row))).collect())
    }

    async fn succeeded(&self, instance_id: &str) -> Result<u64, Fault> {
        let count = Statement::new("SELECT COUNT(*) AS succeeded FROM jobs WHERE instance_id = $1 AND status = $2")
            .bind(instance_id)
            .bind(JobStatus::Succeeded.as_str());
        Ok(self.row(count).await?.map(|row| row.count("succeeded")).transpose()?.unwrap_or_default())
    }

    async fn adopt(&self, provider: &str, access: Option<&Access>) -> Result<Vec<Orphan>, Fault> {
        orphans::adopt(self, provider, access).await
    }

    async fn sets_in_the_making(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        // Whoever owns it: one whose process is dead is no damage either until it is reconciled.
        self.sets_made(instance_id, JobStatus::Running).await
    }

    async fn sets_given_up(&self, instance_id: &str) -> Result<Vec<String>, Fault> {
        self.sets_made(instance_id, JobStatus::Failed).await
    }

    async fn sets_in_use(&self) -> Result<Vec<String>, Fault> {
        // One statement for each index.
        let used = "SELECT backup_id FROM jobs WHERE status = $1 AND backup_id <> ''
             UNION SELECT backup_id FROM jobs WHERE rollback_pending AND backup_id <> ''";
        let used = Statement::new(used).bind(JobStatus::Running.as_str());
        self.database.read(used).await?.iter().map(|row| row.get("backup_id")).collect()
    }

    async fn release(&self, id: &str, phase: Phase, stage: &str) -> Result<(), Fault> {
        let release = Statement::new(
            "UPDATE jobs SET owner = $1, stage = $2, phase = CASE status WHEN $3 THEN $4 ELSE phase END
             WHERE id = $5 AND (status = $3 OR rollback_pending) AND owner IN ($1, $6)",
        )
        .bind(NOBODY)
        .bind(stage)
        .bind(JobStatus::Running.as_str())
        .bind(phase.as_str())
        .bind(id)
        .bind(self.liveness.me().await?);
        self.notify(self.write(release).await?);
        Ok(())
    }

    fn leave(&self, id: &str) {
        self.jobs_at_work.leave(id);
    }

    fn changes(&self) -> Changes {
        Changes::new(self.changed.subscribe())
    }
}
