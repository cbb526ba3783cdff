//! The guard's ledger on a database: confirmations and the audit.

use crate::guard::ledger::{AuditRecord, Confirmation, ConfirmationStatus, Ledger, PLAN_SHOWN, Superseded};
use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean_to, short_digests};
use crate::state::sql::Store;
use crate::state::sql::database::Database;
use crate::state::sql::statement::{Row, Statement};
use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;
use tracing::field::display;

fn confirmation(row: &Row) -> Result<Confirmation, Fault> {
    let broken = |e: &dyn std::fmt::Display| {
        Fault::new(Kind::Damaged, "state.damaged", format!("a confirmation in the state store cannot be read: {e}"))
            .hint("Call restore_instance without confirmation_token for a new plan.")
    };
    let plan: String = row.get("plan")?;
    let status: String = row.get("status")?;
    Ok(Confirmation {
        nonce: row.get("nonce")?,
        plan: serde_json::from_str(&plan).map_err(|e| broken(&e))?,
        caller: row.get("caller")?,
        created_at: row.moment("created_at")?,
        expires_at: row.moment("expires_at")?,
        status: ConfirmationStatus::parse(&status).ok_or_else(|| broken(&status))?,
        wrong_answers: wrong_answers(row)?,
    })
}

fn wrong_answers(row: &Row) -> Result<u32, Fault> {
    Ok(u32::try_from(row.get::<i64>("wrong_answers")?).unwrap_or(u32::MAX))
}

#[async_trait]
impl<D: Database> Ledger for Store<D> {
    async fn open(&self, c: &Confirmation) -> Result<Option<Superseded>, Fault> {
        let plan = c.plan.to_json()?;
        // Both sides are read by the database in the same way: what it makes of an act's JSON does not matter.
        let same = |field| format!("{} = {}", D::json_text("plan", &[field]), D::json_text("$6", &[field]));
        let supersede = Statement::new(format!(
            "UPDATE confirmations SET status = CASE status WHEN $1 THEN $2 ELSE $3 END
             WHERE status IN ($1, $4) AND caller = $5 AND {} AND {} RETURNING status, expires_at",
            same("instance_id"),
            same("act")
        ))
        .bind(ConfirmationStatus::Approved.as_str())
        .bind(ConfirmationStatus::Approved.withdrawn().as_str())
        .bind(ConfirmationStatus::Open.withdrawn().as_str())
        .bind(ConfirmationStatus::Open.as_str())
        .bind(&c.caller)
        .bind(&plan)
        // Without this two calls at once would not see each other's plan, and both plans would stay.
        .one_by_one(format!("plans {} {}", c.caller, c.plan.instance_id));
        let open = Statement::new(
            "INSERT INTO confirmations (nonce, plan, caller, status, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&c.nonce)
        .bind(plan)
        .bind(&c.caller)
        .bind(c.status.as_str())
        .bind(c.created_at)
        .bind(c.expires_at);
        let mut superseded = None;
        for row in &self.database.write(vec![supersede, open]).await?.rows {
            let status: String = row.get("status")?;
            if status == ConfirmationStatus::ApprovalSuperseded.as_str() {
                superseded = Some(Superseded::Approved);
            } else if superseded.is_none() && row.moment("expires_at")? > c.created_at {
                superseded = Some(Superseded::Waiting);
            }
        }
        Ok(superseded)
    }

    async fn find(&self, nonce: &str) -> Result<Option<Confirmation>, Fault> {
        let row = self.row(Statement::new("SELECT * FROM confirmations WHERE nonce = $1").bind(nonce)).await?;
        row.as_ref().map(confirmation).transpose()
    }

    async fn find_plan(&self, plan_id: &str) -> Result<Option<Confirmation>, Fault> {
        let named = Statement::new(format!(
            "SELECT * FROM confirmations WHERE 'p-' || substr(nonce, 1, {PLAN_SHOWN}) = $1 ORDER BY created_at DESC LIMIT 1"
        ));
        self.row(named.bind(plan_id)).await?.as_ref().map(confirmation).transpose()
    }

    async fn plans(&self, lapsed_within: Duration) -> Result<Vec<Confirmation>, Fault> {
        plans(&*self.database, lapsed_within).await
    }

    async fn transition(
        &self,
        nonce: &str,
        from: &[ConfirmationStatus],
        to: ConfirmationStatus,
    ) -> Result<bool, Fault> {
        // One statement: of two calls at once one changes the row, and the other finds it changed.
        let first = from.first().map_or("", |s| s.as_str());
        let second = from.get(1).map_or(first, |s| s.as_str());
        let transition = Statement::new(format!(
            "UPDATE confirmations SET status = $1 WHERE nonce = $2 AND status IN ($3, $4) AND expires_at > {}",
            D::NOW
        ))
        .bind(to.as_str())
        .bind(nonce)
        .bind(first)
        .bind(second);
        Ok(self.write(transition).await?.changed == 1)
    }

    async fn withdraw_others(&self, instance_id: &str, nonce: &str) -> Result<(), Fault> {
        let withdraw = Statement::new(format!(
            "UPDATE confirmations SET status = $1 WHERE nonce <> $2 AND status IN ($3, $4) AND {} = $5",
            D::json_text("plan", &["instance_id"])
        ))
        .bind(ConfirmationStatus::Superseded.as_str())
        .bind(nonce)
        .bind(ConfirmationStatus::Open.as_str())
        .bind(ConfirmationStatus::Approved.as_str())
        .bind(instance_id);
        self.write(withdraw).await.map(drop)
    }

    async fn count_wrong_answer(&self, nonce: &str) -> Result<u32, Fault> {
        let count = Statement::new(
            "UPDATE confirmations SET wrong_answers = wrong_answers + 1 WHERE nonce = $1 RETURNING wrong_answers",
        );
        let counted = self.write(count.bind(nonce)).await?;
        wrong_answers(counted.rows.first().ok_or(sqlx::Error::RowNotFound)?)
    }

    async fn record(&self, r: AuditRecord) -> Result<(), Fault> {
        self.write(line(&r)).await?;
        tell(&r, None);
        Ok(())
    }
}

/// The statement that appends a line to the audit.
pub(super) fn line(r: &AuditRecord) -> Statement {
    Statement::new("INSERT INTO audit (at, event, caller, instance_id, nonce, detail) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(r.at)
        .bind(&r.event)
        .bind(&r.caller)
        .bind(&r.instance_id)
        .bind(&r.nonce)
        .bind(&r.detail)
}

/// Longest detail in the log, in characters: the audit has all of it.
const DETAIL_SHOWN: usize = 400;

/// Says in the log what the audit has by now, in one line; `job`: the job that it is about.
pub(super) fn tell(r: &AuditRecord, job: Option<&str>) {
    let named = |id: &str| (!id.is_empty()).then(|| display(id.to_owned()));
    // The job has a field of its own.
    let told =
        job.and_then(|job| r.detail.strip_prefix(&format!("job {job}"))).map(|rest| rest.trim_start_matches(": "));
    let detail = clean_to(&short_digests(told.unwrap_or(&r.detail)), DETAIL_SHOWN);
    tracing::info!(
        target: "tair_backup_mcp::audit",
        job = job.and_then(named),
        instance = named(&r.instance_id),
        caller = named(&r.caller),
        plan = named(&r.plan_id()),
        detail = named(&detail),
        "{}",
        r.event
    );
}

/// Plans whose token may still be echoed, approved or not yet, or could be until so long ago; newest first.
pub(super) async fn plans<D: Database>(database: &D, lapsed_within: Duration) -> Result<Vec<Confirmation>, Fault> {
    let open = Statement::new(format!(
        "SELECT * FROM confirmations WHERE status IN ($1, $2) AND expires_at > {} - $3 ORDER BY created_at DESC",
        D::NOW
    ))
    .bind(ConfirmationStatus::Open.as_str())
    .bind(ConfirmationStatus::Approved.as_str())
    .bind(u64::try_from(lapsed_within.as_millis()).unwrap_or(u64::MAX));
    let rows = database.read(open).await?;
    let read = rows.iter().map(confirmation);
    if lapsed_within.is_zero() { read.collect() } else { Ok(read.filter_map(Result::ok).collect()) }
}

/// The audit, oldest first: the last `limit` records, of one instance and from a moment on where these are given.
pub(super) async fn audit<D: Database>(
    database: &D,
    instance_id: Option<&str>,
    since: Option<Timestamp>,
    limit: u32,
) -> Result<Vec<AuditRecord>, Fault> {
    let last = Statement::new(
        "SELECT * FROM (SELECT * FROM audit WHERE ($1 IS NULL OR instance_id = $1) AND at >= $2 ORDER BY seq DESC LIMIT $3) AS latest
         ORDER BY seq",
    )
    .bind(instance_id)
    .bind(since.unwrap_or(Timestamp::UNIX_EPOCH))
    .bind(limit);
    database.read(last).await?.iter().map(audit_record).collect()
}

/// A page of the audit, oldest first: the first `limit` records from a moment on that have a higher number than `after`, of one instance where it
/// is given, each with its number.
pub(super) async fn audit_page<D: Database>(
    database: &D,
    instance_id: Option<&str>,
    since: Timestamp,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, AuditRecord)>, Fault> {
    let page = Statement::new(
        "SELECT * FROM audit WHERE ($1 IS NULL OR instance_id = $1) AND at >= $2 AND seq > $3 ORDER BY seq LIMIT $4",
    )
    .bind(instance_id)
    .bind(since)
    .bind(after)
    .bind(limit);
    database.read(page).await?.iter().map(|row| Ok((row.get::<i64>("seq")?, audit_record(row)?))).collect()
}

fn audit_record(row: &Row) -> Result<AuditRecord, Fault> {
    Ok(AuditRecord {
        at: row.moment("at")?,
        event: row.get("event")?,
        caller: row.get("caller")?,
        instance_id: row.get("instance_id")?,
        nonce: row.get("nonce")?,
        detail: row.get("detail")?,
    })
}
