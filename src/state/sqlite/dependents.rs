//! What counts on backup sets, derived from jobs and confirmations: nothing here is stored a second time.

use crate::guard::act::Act;
use crate::guard::facts::backup::Dependent;
use crate::guard::ledger::Confirmation;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::state::sqlite::database::{at, damaged};
use crate::state::sqlite::ledger;
use sqlx::{Row as _, SqlitePool};
use std::collections::BTreeMap;

/// Most restores that are read at once: the latest.
const MOST: u32 = 1000;

/// The restores that sets of an instance undo: as the confirmation of each restore's job names the set, or, where the set had no id
/// when its plan was made, the job that took the set; and as the restore's job took it itself after the yes, under an id that follows
/// from the job's ([`last_safety_id`](crate::model::job::last_safety_id)).
const RESTORES: &str = "
    SELECT id, status, created_at, undone_with FROM (
      SELECT jobs.id, jobs.status, jobs.created_at, jobs.instance_id, jobs.kind, jobs.failure,
        coalesce(nullif(json_extract(c.plan, '$.safety.backup_id'), ''), took.backup_id) AS undone_with
      FROM jobs JOIN confirmations AS c ON c.nonce = jobs.confirmation
      LEFT JOIN jobs AS took ON took.id = json_extract(c.plan, '$.safety.job_id')
      UNION
      SELECT id, status, created_at, instance_id, kind, failure, 'b-' || substr(id, instr(id, '-') + 1) FROM jobs)
    WHERE instance_id = ?1 AND kind = 'restore' AND failure <> ?2
      AND undone_with IN (SELECT value FROM json_each(?3))
    ORDER BY created_at DESC, id DESC LIMIT ?4";

pub(super) async fn of_sets(
    pool: &SqlitePool,
    instance_id: &str,
    backup_ids: &[String],
) -> Result<BTreeMap<String, Vec<Dependent>>, Fault> {
    let mut found: BTreeMap<String, Vec<Dependent>> = BTreeMap::new();
    let wanted = serde_json::Value::from(backup_ids).to_string();
    let rows = sqlx::query(RESTORES)
        .bind(instance_id)
        .bind(Kind::Refused.as_str())
        .bind(&wanted)
        .bind(MOST)
        .fetch_all(pool)
        .await?;
    for row in rows {
        let status: String = row.try_get("status")?;
        let restore = Dependent::Restore {
            job_id: row.try_get("id")?,
            began_at: at(row.try_get("created_at")?)?,
            status: JobStatus::parse(&status).ok_or_else(|| damaged(format!("a restore has the status {status}")))?,
        };
        found.entry(row.try_get("undone_with")?).or_default().push(restore);
    }
    for open in ledger::redeemable(pool).await? {
        let counted = counted_on(pool, instance_id, &open).await?;
        for (id, restores) in counted.into_iter().filter(|(id, _)| backup_ids.contains(id)) {
            found.entry(id).or_default().push(Dependent::Plan {
                act: open.plan.act.on(&open.plan.instance_id),
                restores,
                planned_at: open.created_at,
                expires_at: open.expires_at,
            });
        }
    }
    Ok(found)
}

/// The sets of an instance that a plan counts on, and whether the plan restores the set; else the set undoes it. A plan to delete a
/// set does not count on the set.
async fn counted_on(pool: &SqlitePool, instance_id: &str, open: &Confirmation) -> Result<Vec<(String, bool)>, Fault> {
    let plan = &open.plan;
    if matches!(plan.act, Act::DeleteBackup { .. }) {
        return Ok(Vec::new());
    }
    let of_it = plan.act.set_of(&plan.instance_id) == instance_id;
    let sources = [plan.act.backup_id(), plan.preconditions.replayed_behind()];
    let mut ids: Vec<(String, bool)> =
        sources.into_iter().flatten().filter(|_| of_it).map(|id| (id.to_owned(), true)).collect();
    if let Some(safety) = plan.safety.as_ref().filter(|_| plan.instance_id == instance_id) {
        if safety.backup_id.is_empty() {
            let took = sqlx::query_scalar("SELECT backup_id FROM jobs WHERE id = ?").bind(&safety.job_id);
            ids.extend(took.fetch_optional(pool).await?.map(|id: String| (id, false)));
        } else {
            ids.push((safety.backup_id.clone(), false));
        }
    }
    Ok(ids)
}
