//! Jobs on SQLite: begun once, progressed, finished once; those of dead processes are found and handed out to settle.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, JobStatus, stage};
use crate::state::{State, at, ms, owner::Owner};
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// Owner of a job that waits to be adopted. No process has this name.
const NOBODY: &str = "nobody";

/// What beginning a job came to.
#[derive(Debug)]
pub enum Begun {
    /// It is ours to do.
    Started(Job),
    /// One of this kind already runs on this instance.
    Joined(Job),
}

/// A job that nobody works on and that is not settled: its process died, or could not put its target back. Whoever holds
/// this is the one to settle it.
#[derive(Debug)]
pub struct Orphan {
    /// The job.
    pub job: Job,
    /// What its process wrote down in order to be undone; empty if nothing.
    pub undo: String,
}

fn job(row: &SqliteRow) -> Result<Job, Fault> {
    let kind: String = row.try_get("kind")?;
    let status: String = row.try_get("status")?;
    let number = |name: &str| row.try_get::<i64, _>(name).map(|n| u64::try_from(n).unwrap_or_default());
    Ok(Job {
        id: row.try_get("id")?,
        kind: JobKind::parse(&kind).unwrap_or(JobKind::Backup),
        instance_id: row.try_get("instance_id")?,
        backup_id: row.try_get("backup_id")?,
        status: match status.as_str() {
            "running" => JobStatus::Running,
            "succeeded" => JobStatus::Succeeded,
            _ => JobStatus::Failed,
        },
        stage: row.try_get("stage")?,
        done: number("done")?,
        total: number("total")?,
        code: row.try_get("code")?,
        message: row.try_get("message")?,
        hint: row.try_get("hint")?,
        created_at: at(row.try_get("created_at")?),
        finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(at),
    })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl State {
    /// Begins a job, or joins the one of its kind that runs on the instance. A backup and a restore of one instance
    /// exclude each other.
    ///
    /// # Errors
    /// `job.busy` when the other kind runs; `state.failed`.
    pub async fn begin(
        &self,
        provider: &str,
        kind: JobKind,
        id: &str,
        instance_id: &str,
        backup_id: &str,
    ) -> Result<Begun, Fault> {
        let owner = &self.owner().await?.name;
        let pool = self.pool().await?;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        let running = sqlx::query("SELECT * FROM jobs WHERE instance_id = ? AND status = 'running'")
            .bind(instance_id)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = running {
            let other = job(&row)?;
            if other.kind == kind {
                return Ok(Begun::Joined(other));
            }
            let what = format!("{} job {} is running on {instance_id}", other.kind.as_str(), other.id);
            return Err(Fault::new(Kind::Provider, "job.busy", what)
                .hint("Follow it with describe_jobs and call again when it is over.")
                .retry_after(std::time::Duration::from_secs(5)));
        }
        let unsettled: Option<String> =
            sqlx::query_scalar("SELECT id FROM jobs WHERE instance_id = ? AND status = 'failed' AND undo <> ''")
                .bind(instance_id)
                .fetch_optional(&mut *tx)
                .await?;
        // Settling the old restore while a new one runs would take the target off the new one.
        if let Some(other) = unsettled.filter(|_| kind == JobKind::Restore) {
            let what = format!("restore job {other} left {instance_id} unsettled: it could not be reached afterwards");
            return Err(Fault::new(Kind::Provider, "restore.unsettled", what)
                .hint("Bring the instance back and call describe_jobs, which settles it; then make a new plan."));
        }
        sqlx::query("INSERT INTO jobs (id, provider, kind, instance_id, backup_id, status, stage, owner, created_at) VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?)")
            .bind(id)
            .bind(provider)
            .bind(kind.as_str())
            .bind(instance_id)
            .bind(backup_id)
            .bind(stage::STARTING)
            .bind(owner)
            .bind(ms(Timestamp::now()))
            .execute(&mut *tx)
            .await?;
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_one(&mut *tx).await?;
        let started = job(&row)?;
        tx.commit().await?;
        Ok(Begun::Started(started))
    }

    /// Says how far a running job is.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn progress(&self, id: &str, stage: &str, done: u64, total: u64) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET stage = ?, done = ?, total = ? WHERE id = ? AND status = 'running'")
            .bind(stage)
            .bind(signed(done))
            .bind(signed(total))
            .bind(id)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Writes down what a crash from here on would need undone. Durable when it returns.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn save_recovery(&self, id: &str, undo: &str) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET undo = ? WHERE id = ?").bind(undo).bind(id).execute(self.pool().await?).await?;
        Ok(())
    }

    /// Names the set that a job makes, where its place has only now given it an id.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn set_backup_id(&self, id: &str, backup_id: &str) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET backup_id = ? WHERE id = ?")
            .bind(backup_id)
            .bind(id)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }

    /// Ends a job: `Ok` with what came of it, or the fault. The undo record goes with it.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn finish(&self, id: &str, outcome: &Result<String, Fault>) -> Result<(), Fault> {
        let (status, code, message, hint) = match outcome {
            Ok(message) => (JobStatus::Succeeded, "", message.as_str(), ""),
            Err(fault) => (JobStatus::Failed, fault.code, fault.message.as_str(), fault.hint.as_str()),
        };
        sqlx::query(
            "UPDATE jobs SET status = ?, stage = ?, code = ?, message = ?, hint = ?, undo = '', finished_at = ? WHERE id = ? AND status = 'running'",
        )
        .bind(status.as_str())
        .bind(status.as_str())
        .bind(code)
        .bind(message)
        .bind(hint)
        .bind(ms(Timestamp::now()))
        .bind(id)
        .execute(self.pool().await?)
        .await?;
        Ok(())
    }

    /// Ends a job whose target could not be put back as it was. The undo record stays, so that it is adopted and settled
    /// later, and until then the job's stage says so.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn fail_unsettled(&self, id: &str, fault: &Fault) -> Result<(), Fault> {
        sqlx::query(
            "UPDATE jobs SET status = 'failed', stage = CASE undo WHEN '' THEN 'failed' ELSE 'failed; unsettled' END, owner = ?, code = ?, message = ?, hint = ?, finished_at = ? WHERE id = ? AND status = 'running'",
        )
        .bind(NOBODY)
        .bind(fault.code)
        .bind(&fault.message)
        .bind(&fault.hint)
        .bind(ms(Timestamp::now()))
        .bind(id)
        .execute(self.pool().await?)
        .await?;
        Ok(())
    }

    /// Writes down what settling a job that had failed before came to. Its code stays.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn settled(&self, id: &str, message: &str, hint: &str) -> Result<(), Fault> {
        sqlx::query(
            "UPDATE jobs SET stage = status, message = ?, hint = ?, undo = '' WHERE id = ? AND status = 'failed'",
        )
        .bind(message)
        .bind(hint)
        .bind(id)
        .execute(self.pool().await?)
        .await?;
        Ok(())
    }

    /// One job.
    ///
    /// # Errors
    /// `job.not_found`.
    pub async fn job(&self, id: &str) -> Result<Job, Fault> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?").bind(id).fetch_optional(self.pool().await?).await?;
        row.as_ref().map(job).transpose()?.ok_or_else(|| {
            Fault::new(Kind::NotFound, "job.not_found", format!("there is no job {}", crate::model::text::quoted(id)))
                .hint("Call describe_jobs without job_id for the list.")
        })
    }

    /// The latest jobs, newest first, at most 50; of one instance if named.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault> {
        let rows = sqlx::query(
            "SELECT * FROM jobs WHERE ?1 IS NULL OR instance_id = ?1 ORDER BY created_at DESC, id DESC LIMIT 50",
        )
        .bind(instance_id)
        .fetch_all(self.pool().await?)
        .await?;
        rows.iter().map(job).collect()
    }

    /// A provider's running jobs whose process is dead, and failed ones that are unsettled, each handed to exactly one
    /// caller.
    ///
    /// # Errors
    /// `state.failed`, `home.failed`.
    pub async fn adopt_orphans(&self, provider: &str) -> Result<Vec<Orphan>, Fault> {
        let me = &self.owner().await?.name;
        let run = self.home().join("run");
        let pool = self.pool().await?;
        let rows =
            sqlx::query("SELECT * FROM jobs WHERE provider = ? AND (status = 'running' OR undo <> '') AND owner <> ?")
                .bind(provider)
                .bind(me)
                .fetch_all(pool)
                .await?;
        let mut orphans = Vec::new();
        for row in &rows {
            let claimed = async {
                let owner: String = row.try_get("owner")?;
                if Owner::lives(&run, &owner)? {
                    return Ok(None);
                }
                let orphan = Orphan { job: job(row)?, undo: row.try_get("undo")? };
                let claimed = sqlx::query(
                    "UPDATE jobs SET owner = ? WHERE id = ? AND owner = ? AND (status = 'running' OR undo <> '')",
                )
                .bind(me)
                .bind(&orphan.job.id)
                .bind(&owner)
                .execute(pool)
                .await?;
                Ok::<_, Fault>((claimed.rows_affected() == 1).then_some(orphan))
            };
            match claimed.await {
                Ok(orphan) => orphans.extend(orphan),
                // Those that are ours by now must not be lost with it.
                Err(fault) if !orphans.is_empty() => tracing::error!("an orphan could not be adopted: {fault}"),
                Err(fault) => return Err(fault),
            }
        }
        Ok(orphans)
    }

    /// Gives an adopted job back, so that it is adopted again: its target could not be asked.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn release(&self, id: &str, stage: &str) -> Result<(), Fault> {
        sqlx::query("UPDATE jobs SET owner = ?, stage = ? WHERE id = ? AND (status = 'running' OR undo <> '')")
            .bind(NOBODY)
            .bind(stage)
            .bind(id)
            .execute(self.pool().await?)
            .await?;
        Ok(())
    }
}
