//! `audit`: prints the guard's records.

use crate::cli::print;
use crate::cli::render::records;
use crate::cli::render::screen::Screen;
use crate::model::fault::Fault;
use crate::model::time::written;
use crate::tools::App;
use serde_json::json;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Only this instance
    #[arg(long)]
    instance_id: Option<String>,
    /// The last so many records
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints the audit, oldest first.
///
/// # Errors
/// `state.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let records = app.state.audit(args.instance_id.as_deref(), args.limit).await?;
    if args.json {
        for r in records {
            print(&json!({ "at": written(r.at), "event": r.event, "caller": r.caller, "instance_id": r.instance_id, "confirmation": r.nonce, "detail": r.detail }).to_string());
        }
        return Ok(0);
    }
    let rows = records
        .into_iter()
        .map(|r| [written(r.at), r.event, r.instance_id, r.nonce.chars().take(8).collect(), r.detail]);
    print(&records(&Screen::stdout(), rows));
    Ok(0)
}
