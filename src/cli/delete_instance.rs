//! `delete-instance`: ends a clone before its time. A person's word at a terminal; no tool does it, and no other instance can be deleted.

use crate::cli::{print, terminal};
use crate::config::guard::ConfirmationPolicy;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::tools::App;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The clone, as describe-instances lists it
    #[arg(long)]
    instance_id: String,
}

/// Asks for the id, unless the operator waived a person's yes, and ends the clone.
///
/// # Errors
/// `mode.read_only`; `clone.not_found`; `person.no_channel` where there is no terminal; `job.busy`; `clone.not_ended`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let Args { instance_id } = args;
    if app.config.read_only {
        let message = "delete-instance ends a clone, and --read-only forbids that";
        return Err(Fault::new(Kind::Refused, "mode.read_only", message).hint("Leave --read-only out."));
    }
    // Whatever is no clone is told apart before anybody is asked, and without asking it.
    let is = app.provider.deletable(&instance_id).await?;
    if app.config.guard.confirmation == ConfirmationPolicy::Person {
        terminal::required(&app.config, "delete-instance", &format!(" --instance-id {instance_id}"))?;
        let question = format!(
            "{instance_id} is {is}. It ends now, and what it holds is gone; what it was made of stays.\nTo end it, type its id {instance_id} (Enter leaves it) > "
        );
        if !terminal::types(question, &instance_id).await {
            return Ok(0);
        }
    }
    print(&app.provider.delete_instance(&instance_id, Caller::command_line().id()).await?);
    Ok(0)
}
