//! What counts on backup sets, derived from jobs and confirmations: nothing here is stored a second time.

use crate::guard::act::Act;
use crate::guard::facts::backup::Dependent;
use crate::guard::ledger::Confirmation;
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{JobKind, JobStatus};
use crate::state::sql::database::Database;
use crate::state::sql::fault::damaged;
use crate::state::sql::ledger;
use crate::state::sql::statement::Statement;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most restores, or sets that were taken for plans, that are read at once: the latest.
const MOST: u32 = 1000;
/// Most sets that are asked for in one statement: each number of them is a statement of its own, which a database prepares and keeps.
const SETS_AT_ONCE: usize = 500;

/// The restores that some sets of an instance undo: as the confirmation of each restore's job names the set, or, where the set had no id
/// when its plan was made, the job that took the set; and as the restore's job took it itself after the yes, under an id that follows
/// from the job's ([`last_safety_id`](crate::model::job::last_safety_id)).
fn restores<D: Database>(instance_id: &str, backup_ids: &[String]) -> Statement {
    let named = D::json_text("plan", &["safety", "backup_id"]);
    let taking = D::json_text("plan", &["safety", "job_id"]);
    let unique_at = JobKind::Restore.prefix().len() + "-".len() + 1;
    let wanted: Vec<String> = (0..backup_ids.len()).map(|n| format!("${}", n + 5)).collect();
    let restores = Statement::new(format!(
        "SELECT id, status, created_at, undone_with FROM (
           SELECT jobs.id, jobs.status, jobs.created_at, jobs.instance_id, jobs.kind, jobs.failure,
             coalesce(nullif({named}, ''), took.backup_id) AS undone_with
           FROM jobs JOIN confirmations AS c ON c.nonce = jobs.confirmation
           LEFT JOIN jobs AS took ON took.id = {taking}
           UNION
           SELECT id, status, created_at, instance_id, kind, failure, 'b-' || substr(id, {unique_at}) FROM jobs) AS restores
         WHERE instance_id = $1 AND kind = $2 AND failure <> $3 AND undone_with IN ({})
         ORDER BY created_at DESC, id DESC LIMIT $4",
        wanted.join(", ")
    ))
    .bind(instance_id)
    .bind(JobKind::Restore.as_str())
    .bind(Kind::Refused.as_str())
    .bind(MOST);
    backup_ids.iter().fold(restores, Statement::bind)
}

pub(super) async fn of_sets<D: Database>(
    database: &D,
    instance_id: &str,
    backup_ids: &[String],
) -> Result<BTreeMap<String, Vec<Dependent>>, Fault> {
    let mut found: BTreeMap<String, Vec<Dependent>> = BTreeMap::new();
    for some in backup_ids.chunks(SETS_AT_ONCE) {
        for row in database.read(restores::<D>(instance_id, some)).await? {
            let status: String = row.get("status")?;
            let unknown = || damaged(format!("a restore has the status {status}"));
            let restore = Dependent::Restore {
                job_id: row.get("id")?,
                began_at: row.moment("created_at")?,
                status: JobStatus::parse(&status).ok_or_else(unknown)?,
            };
            found.entry(row.get("undone_with")?).or_default().push(restore);
        }
    }
    for open in ledger::plans(database, Duration::ZERO).await? {
        let counted = counted_on(database, instance_id, &open).await?;
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

/// The sets of an instance that plans had taken, of the latest: as the job that took each says of itself, whatever became of the plan.
pub(super) async fn taken_for_plans<D: Database>(database: &D, instance_id: &str) -> Result<BTreeSet<String>, Fault> {
    let taken = Statement::new(
        "SELECT backup_id FROM jobs WHERE instance_id = $1 AND mode = $2 AND backup_id <> '' ORDER BY created_at DESC LIMIT $3",
    );
    let taken = taken.bind(instance_id).bind(Mode::Safety.as_str()).bind(MOST);
    database.read(taken).await?.iter().map(|row| row.get("backup_id")).collect()
}

/// The sets of an instance that a plan counts on, and whether the plan restores the set; else the set undoes it. A plan to delete
/// sets does not count on them.
async fn counted_on<D: Database>(
    database: &D,
    instance_id: &str,
    open: &Confirmation,
) -> Result<Vec<(String, bool)>, Fault> {
    let plan = &open.plan;
    if matches!(plan.act, Act::DeleteBackup { .. } | Act::Prune { .. }) {
        return Ok(Vec::new());
    }
    let of_it = plan.act.set_of(&plan.instance_id) == instance_id;
    let sources = [plan.act.backup_id(), plan.preconditions.replayed_behind()];
    let mut ids: Vec<(String, bool)> =
        sources.into_iter().flatten().filter(|_| of_it).map(|id| (id.to_owned(), true)).collect();
    if let Some(safety) = plan.safety.as_ref().filter(|_| plan.instance_id == instance_id) {
        if safety.backup_id.is_empty() {
            let took = Statement::new("SELECT backup_id FROM jobs WHERE id = $1").bind(&safety.job_id);
            for row in database.read(took).await? {
                ids.push((row.get("backup_id")?, false));
            }
        } else {
            ids.push((safety.backup_id.clone(), false));
        }
    }
    Ok(ids)
}
