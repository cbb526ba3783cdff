//! `retention`: what would expire now of an instance's sets and log, and why each other one stays. It deletes nothing.

use crate::cli::print;
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
    if args.json {
        let rows: Vec<Value> = sets.iter().map(row).collect();
        print(&json!({ "sets": rows, "log_segments": log_segments }).to_string());
        return Ok(0);
    }
    for Retained { backup_id, taken_at, goes, why, .. } in &sets {
        let taken = taken_at.map_or_else(|| "-".to_owned(), written);
        print(&format!("{}  {backup_id}  {taken:<20}  {why}", if *goes { "goes " } else { "stays" }));
    }
    let goes = sets.iter().filter(|set| set.goes).count();
    let of_the_log = match log_segments {
        0 => String::new(),
        n => format!(", and {n} segments of the log that no moment needs which is kept"),
    };
    let who = if goes == 0 && log_segments == 0 {
        ""
    } else {
        " The next look of this program at expired sets deletes them."
    };
    print(&format!("{goes} of {} would go now{of_the_log}.{who}", sets.len()));
    Ok(0)
}

fn row(set: &Retained) -> Value {
    json!({
        "backup_id": set.backup_id,
        "mode": set.mode,
        "taken_at": set.taken_at.map(written),
        "goes": set.goes,
        "why": set.why,
    })
}
