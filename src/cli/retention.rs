//! `retention`: what would expire now of an instance's sets and log, and why each other one stays. It deletes nothing.

use crate::cli::print;
use crate::cli::render::screen::Screen;
use crate::cli::render::verdicts;
use crate::model::fault::Fault;
use crate::model::policy::{Retained, Retention};
use crate::model::time::written;
use crate::tools::App;
use serde_json::{Value, json};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The instance
    #[arg(long)]
    instance_id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Tells what would go.
///
/// # Errors
/// `instance.not_found`; `vault.failed`, `state.failed`; `act.unsupported` for an instance of the cloud, which expires its sets itself.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    app.known(&args.instance_id).await?;
    let Retention { sets, log_segments } = app.provider.retention(&args.instance_id, None).await?;
    let rows: Vec<Value> = sets.iter().map(row).collect();
    let report = json!({ "sets": rows, "log_segments": log_segments });
    print(&if args.json { report.to_string() } else { verdicts(&Screen::stdout(), &report) });
    Ok(0)
}

/// What becomes of a set, as a row of a reply.
pub fn row(set: &Retained) -> Value {
    json!({
        "backup_id": set.backup_id,
        "mode": set.mode,
        "taken_at": set.taken_at.map(written),
        "stored_bytes": set.stored_bytes,
        "goes": set.goes,
        "why": set.why,
    })
}
