//! `describe_jobs`: the jobs of backups, restores and new instances, running and ended.

use crate::model::fault::Fault;
use crate::tools::ToolCall;
use crate::tools::plan_rows::{WaitingPlan, plans};
use crate::tools::rows::JobRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `describe_jobs`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Only this job
    #[serde(default)]
    #[arg(long)]
    pub job_id: Option<String>,
    /// Only of this instance
    #[serde(default)]
    #[arg(long)]
    pub instance_id: Option<String>,
}

/// Reply of `describe_jobs`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Jobs {
    /// The jobs, newest first, at most 50.
    pub jobs: Vec<JobRow>,
    /// The plans that wait for a person, were approved or have lapsed, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<WaitingPlan>,
}

/// Lists jobs.
///
/// # Errors
/// `job.not_found`, `instance.not_found`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Jobs, Fault> {
    if let Some(id) = &args.instance_id {
        call.app.known(id).await?;
    }
    call.app.provider.recover().await?;
    let jobs = match &args.job_id {
        Some(id) => vec![call.app.state.job(id).await?],
        None => call.app.state.jobs(args.instance_id.as_deref()).await?,
    };
    let plans = match &args.job_id {
        Some(_) => Vec::new(),
        None => plans(call, args.instance_id.as_deref()).await?,
    };
    Ok(Jobs { jobs: jobs.iter().map(JobRow::of).collect(), plans })
}
