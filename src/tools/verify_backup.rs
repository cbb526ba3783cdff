//! `verify_backup`: verifies a set at rest, as a job. What was verified last shows where sets are listed.

use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::text::quoted;
use crate::model::verification::Level;
use crate::tools::rows::JobRow;
use crate::tools::{FollowUp, Outcome, ToolCall, arguments, follow, run_detached};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How long a call waits that does not say, in seconds: a set of some gigabytes is read in that, and no client has given up yet.
const WAIT: u64 = 20;

/// Arguments of `verify_backup`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// The set
    #[arg(long)]
    pub backup_id: String,
    /// checksum, structure (default) or drill
    #[serde(default)]
    #[arg(long)]
    pub level: Option<String>,
    /// Wait this long; default 20
    #[serde(default)]
    #[arg(long)]
    pub wait_seconds: Option<u64>,
}

/// Verifies a set.
///
/// # Errors
/// `arguments.invalid`, `instance.not_found`, `backup.bad_id`, `backup.not_found`, `job.busy`, `verify.unsupported`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    let level = args.level.as_deref().map_or(Ok(Level::Structure), level)?;
    let wait = arguments::wait(args.wait_seconds, WAIT)?;
    call.app.known(&args.instance_id).await?;
    check_backup_id(&args.backup_id)?;
    let (provider, caller) = (Arc::clone(&call.app.provider), call.caller.id().to_owned());
    let Args { instance_id, backup_id, .. } = args;
    let begun = async move { provider.verify((&instance_id, &backup_id), level, &caller).await };
    let job = run_detached(call, "asking for a verification", begun).await?;
    let job = follow(call, job, wait).await?;
    Outcome::reply(&JobRow::of(&job), FollowUp::of(&job))
}

fn level(given: &str) -> Result<Level, Fault> {
    Level::parse(given).ok_or_else(|| {
        let message = format!("level is {}; it is checksum, structure or drill", quoted(given));
        Fault::new(Kind::Usage, "arguments.invalid", message)
            .hint("checksum reads bytes and digests, structure every value, and a drill has a server load the set.")
    })
}
