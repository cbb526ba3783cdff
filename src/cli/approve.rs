//! `approve`: a person's yes or no at a terminal, for clients that cannot ask.

use crate::cli::{print, terminal};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::person::{Answer, question};
use crate::model::fault::{Fault, Kind};
use crate::model::time::written;
use crate::tools::App;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Only plans for this instance
    #[arg(long)]
    instance_id: Option<String>,
}

/// Shows each waiting plan and records the person's answer.
///
/// # Errors
/// `person.no_channel` where there is no terminal.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    if !terminal::is_interactive() {
        return Err(Fault::new(
            Kind::Refused,
            "person.no_channel",
            "approve needs a person at a terminal; standard input is not one",
        )
        .hint("Run `tair-backup-mcp approve` yourself in a terminal, with the same --home and --config."));
    }
    let waiting: Vec<Confirmation> = app
        .state
        .waiting()
        .await?
        .into_iter()
        .filter(|c| args.instance_id.as_ref().is_none_or(|id| *id == c.plan.instance_id))
        .collect();
    if waiting.is_empty() {
        print("Nothing waits for approval.");
        return Ok(0);
    }
    for open in waiting {
        print(&format!("Planned {}, good until {}.", written(open.created_at), written(open.expires_at)));
        let (status, event, reply) = match terminal::ask(&open, &question(&open.plan, &open.plan.warnings)).await {
            Answer::Yes(_) => (
                Some(ConfirmationStatus::Approved),
                "approved",
                "Approved. The agent may now call again with its token.",
            ),
            Answer::Declined => (Some(ConfirmationStatus::Declined), "declined", "Declined. The token is void."),
            Answer::Dismissed | Answer::NoChannel => (None, "dismissed", "Left open."),
            Answer::NotAYes => (None, "not_confirmed", "That is not the instance id. Left open."),
        };
        if let Some(status) = status
            && !app.state.transition(&open.nonce, &[ConfirmationStatus::Open], status).await?
        {
            print("Too late: it has expired or was answered meanwhile.");
            continue;
        }
        let detail = format!("by terminal: {}", open.plan.act.on(&open.plan.instance_id));
        app.state.record(open.record(event, detail)).await?;
        print(reply);
    }
    Ok(0)
}
