//! `create_backup`: starts a backup job, or joins the one that runs.

use crate::model::backup::Mode;
use crate::model::estimate::Estimate;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::model::text::clean;
use crate::tools::rows::JobRow;
use crate::tools::{FollowUp, Outcome, ToolCall, arguments, estimates, follow, run_detached};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Days for which a set may be kept that somebody asks for.
const KEPT_DAYS: RangeInclusive<u32> = 1..=3650;

/// Arguments of `create_backup`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// Wait this long; default 0
    #[serde(default)]
    #[arg(long, help = "Wait this long; 0: return at once")]
    pub wait_seconds: Option<u64>,
    /// Why
    #[serde(default)]
    #[arg(long, help = "Why it is taken")]
    pub note: Option<String>,
    /// Days it is kept
    #[serde(default)]
    #[arg(long, help = "Days it is kept, 1 to 3650 (of Tair 7 to 730); default: until somebody deletes it")]
    pub backup_retention_period: Option<u32>,
}

/// Reply of `create_backup`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Created {
    /// Id of the job, to be followed with describe_jobs.
    pub backup_job_id: String,
    /// `running`, `succeeded`, `failed` or `uncertain`.
    pub status: &'static str,
    /// Id of the set, once the job has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// Whether the job ran already: this call joined it, and of the call neither the note nor the days were used.
    pub joined: bool,
    /// The job's stage, or its result.
    pub message: String,
    /// Share done, 0 to 1, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// While the job runs, how long it takes in all, about (`seconds`), and what that is from (`from`). Only its name is in the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "serde_json::Value")]
    pub estimate: Option<Estimate>,
    /// Stable code of the job's failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Starts or joins a backup.
///
/// # Errors
/// `instance.not_found`, `arguments.invalid`, `job.busy`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    call.app.known(&args.instance_id).await?;
    let wait = arguments::wait(args.wait_seconds, 0)?;
    let days = args.backup_retention_period;
    if let Some(days) = days.filter(|days| !KEPT_DAYS.contains(days)) {
        let message =
            format!("backup_retention_period is {days}; it is {} to {} days", KEPT_DAYS.start(), KEPT_DAYS.end());
        return Err(Fault::new(Kind::Usage, "arguments.invalid", message)
            .hint("Leave it out to have the set kept as its provider keeps such sets."));
    }
    let note = clean(&args.note.unwrap_or_default());
    let (provider, id, caller) = (Arc::clone(&call.app.provider), args.instance_id, call.caller.id().to_owned());
    let begun = async move { provider.create_backup(&id, Mode::Manual, &note, days, &caller).await };
    let (job, joined) = run_detached(call, "asking for a backup", begun).await?;
    let job = follow(call, job, wait).await?;
    let row = JobRow::of(&job);
    let (is_running, how_far) = match job.status {
        JobStatus::Running => (true, &job.stage),
        _ => (false, &job.message),
    };
    let message = match (joined, days) {
        (true, Some(_)) => {
            format!("joined the backup that was running, so the days of this call are not used: {how_far}")
        }
        (true, None) if is_running => format!("joined the backup that was running: {how_far}"),
        _ => how_far.clone(),
    };
    let estimate = if is_running { Some(estimates::of_backup(call.app, &job).await) } else { None };
    let created = Created {
        backup_job_id: row.job_id,
        status: row.status,
        backup_id: row.backup_id,
        joined,
        message,
        progress: row.progress,
        estimate,
        code: row.code,
        hint: row.hint,
    };
    Outcome::reply(&created, FollowUp::of(&job))
}
