//! `describe_jobs`: the jobs of backups, restores and new instances, running and ended, a page at a time.

use crate::model::fault::{Fault, Kind};
use crate::model::time::written;
use crate::tools::ToolCall;
use crate::tools::plan_rows::{WaitingPlan, plans};
use crate::tools::rows::JobRow;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows of a page when no size is given: whoever follows a job reads them again and again.
const DEFAULT_PAGE: u32 = 10;
/// Most rows a page.
const MAX_PAGE: u32 = 50;

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
    /// From 1
    #[serde(default)]
    #[arg(long)]
    pub page_number: Option<u32>,
    /// Default 10
    #[serde(default)]
    #[arg(long, help = "Default 10, at most 50")]
    pub page_size: Option<u32>,
}

/// Reply of `describe_jobs`. Of what stands beside the jobs only the names are in the schema, which every reader of the list of tools pays for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Jobs {
    /// The jobs of this page, newest first.
    pub jobs: Vec<JobRow>,
    /// Number of jobs on all pages.
    #[schemars(with = "serde_json::Value")]
    pub total: u64,
    /// Number of this page, from 1.
    #[schemars(with = "serde_json::Value")]
    pub page_number: u32,
    /// Most rows a page.
    #[schemars(with = "serde_json::Value")]
    pub page_size: u32,
    /// When the jobs were read, by this machine's clock, UTC.
    #[schemars(with = "serde_json::Value")]
    pub now: String,
    /// The plans that wait for a person, were approved or have lapsed, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<WaitingPlan>,
}

/// Lists jobs.
///
/// # Errors
/// `arguments.invalid`, `job.not_found`, `instance.not_found`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Jobs, Fault> {
    let page_size = args.page_size.unwrap_or(DEFAULT_PAGE);
    let page_number = args.page_number.unwrap_or(1);
    if !(1..=MAX_PAGE).contains(&page_size) || page_number == 0 {
        return Err(Fault::new(Kind::Usage, "arguments.invalid", "page_size or page_number is out of range")
            .hint(format!("page_size is 1 to {MAX_PAGE}, page_number counts from 1.")));
    }
    if let Some(id) = &args.instance_id {
        call.app.known(id).await?;
    }
    call.app.provider.recover().await?;
    let (state, skip) = (&call.app.state, u64::from(page_number - 1) * u64::from(page_size));
    let (jobs, total, page_number) = match &args.job_id {
        Some(id) => (vec![state.job(id).await?], 1, 1),
        None => {
            let (jobs, total) = state.page(args.instance_id.as_deref(), skip, page_size).await?;
            (jobs, total, page_number)
        }
    };
    let plans = match &args.job_id {
        Some(_) => Vec::new(),
        None => plans(call, args.instance_id.as_deref()).await?,
    };
    let now = written(Timestamp::now());
    Ok(Jobs { jobs: jobs.iter().map(JobRow::of).collect(), total, page_number, page_size, now, plans })
}
