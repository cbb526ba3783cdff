//! Estimates of what is planned or has begun, by earlier jobs of its instance that the state store has.
//!
//! An estimate is told beside what a call came to: that the store could not be asked for earlier jobs is no reason to fail.

use crate::guard::estimate::{Work, kind, took};
use crate::guard::plan::Plan;
use crate::model::estimate::{Estimate, Took};
use crate::model::fault::Fault;
use crate::model::job::{Job, JobKind, JobStatus};
use crate::state::jobs::JobsOf;
use crate::tools::App;

/// Most earlier jobs whose plans are read, the latest: some of them went another way.
const READ_MAX: usize = 12;

/// How long a planned act takes, about, and what clients see meanwhile; `None` for one that is done at once.
pub async fn of_plan(app: &App, plan: &Plan, work: Work) -> Option<Estimate> {
    let earlier = earlier_acts(app, plan).await.unwrap_or_else(nothing_known);
    work.estimate(plan, &earlier)
}

/// How long a backup that goes on takes in all, about: as long as the last ones took. How large it will be nobody knows before.
pub async fn of_backup(app: &App, job: &Job) -> Estimate {
    let noun = JobKind::Backup.as_str();
    let earlier = succeeded(app, &job.instance_id, JobKind::Backup).await.unwrap_or_else(nothing_known);
    // It may have ended since it was read.
    let others = earlier.iter().filter(|other| other.id != job.id);
    let earlier: Vec<Took> = others.filter_map(|job| Took::of(job, Some(job.done))).collect();
    let bytes = earlier.first().and_then(|last| last.bytes);
    Estimate::by_earlier(noun, bytes, 0, &earlier).unwrap_or_else(|| Estimate::unknown(noun))
}

/// What earlier acts took that are like the one planned, newest first.
async fn earlier_acts(app: &App, plan: &Plan) -> Result<Vec<Took>, Fault> {
    let mut earlier = Vec::new();
    let Some(kind) = kind(plan) else { return Ok(earlier) };
    for job in succeeded(app, &plan.instance_id, kind).await?.iter().take(READ_MAX) {
        // A plan that cannot be read, or is not there any more, tells nothing.
        let Ok(Some(confirmed)) = app.state.find(&job.confirmation).await else { continue };
        earlier.extend(took(plan, &confirmed.plan, job));
    }
    Ok(earlier)
}

/// The latest jobs of an instance of a kind that have succeeded, newest first.
async fn succeeded(app: &App, instance_id: &str, kind: JobKind) -> Result<Vec<Job>, Fault> {
    app.state.latest(JobsOf { status: Some(JobStatus::Succeeded), ..JobsOf::kind(instance_id, kind) }).await
}

fn nothing_known<T>(fault: Fault) -> Vec<T> {
    tracing::debug!("earlier jobs cannot be read: {fault}");
    Vec::new()
}
