//! `delete_backup`: deletes a manual or safety backup set for ever, with a person's yes.

use crate::guard::act::Act;
use crate::model::fault::Fault;
use crate::model::ids::check_backup_id;
use crate::tools::{Outcome, ToolCall, guarded};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Arguments of `delete_backup`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// A manual or safety set
    #[arg(long)]
    pub backup_id: String,
    /// Second call: the token, unchanged
    #[serde(default)]
    #[arg(long)]
    pub confirmation_token: Option<String>,
    /// Wait for the yes
    #[serde(default)]
    #[arg(long, help = "Wait this long for a yes at another terminal, then for the job")]
    pub wait_seconds: Option<u64>,
}

/// Plans, or carries out what was planned.
///
/// # Errors
/// `confirm.*`, `instance.not_found`, `backup.not_found`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Outcome, Fault> {
    call.app.known(&args.instance_id).await?;
    check_backup_id(&args.backup_id)?;
    let act = Act::DeleteBackup { backup_id: args.backup_id };
    guarded::run(call, &args.instance_id, act, args.confirmation_token.as_deref(), args.wait_seconds).await
}
