//! `vault forget`: a person's word that a set which somebody else removed from the vault was meant to go. It ends an alarm, and deletes nothing.

use crate::cli::{print, terminal};
use crate::config::guard::ConfirmationPolicy;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::provider::local::Local;
use crate::tools::App;
use std::sync::Arc;

/// Arguments of `vault forget`.
#[derive(clap::Args)]
pub struct Args {
    /// The instance
    #[arg(long)]
    instance_id: String,
    /// The set, as vault verify names it
    #[arg(long)]
    backup_id: String,
}

/// Asks for the id, unless the operator waived a person's yes, and forgets the set.
///
/// # Errors
/// `mode.read_only`; `backup.not_found`, `backup.there`; `person.no_channel` where there is no terminal; `vault.failed`, `state.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let Args { instance_id, backup_id } = args;
    if app.config.read_only {
        let message = "vault forget ends an alarm, and --read-only forbids that";
        return Err(Fault::new(Kind::Refused, "mode.read_only", message).hint("Leave --read-only out."));
    }
    let local = Local::new(&app.config, Arc::clone(&app.state));
    local.removed(&instance_id, &backup_id).await?;
    if app.config.guard.confirmation == ConfirmationPolicy::Person {
        if !terminal::is_interactive() {
            let message = "vault forget needs a person at a terminal; standard input is not one";
            let command = app.config.command("vault forget");
            return Err(Fault::new(Kind::Refused, "person.no_channel", message).hint(format!(
                "Run `{command} --instance-id {instance_id} --backup-id {backup_id}` yourself in a terminal."
            )));
        }
        let question = format!(
            "Backup {backup_id} of {instance_id} is gone from the vault, and this home has not deleted it: a lifecycle rule of the bucket has, or somebody.\n\
             Look first that the vault is the right one and its disk is there. Nothing brings the set back; forgetting it ends the alarm.\n\
             To forget it, type its id {backup_id} (Enter leaves it) > "
        );
        if terminal::read_line(question).await.as_deref() != Some(&backup_id) {
            print("Left as it is.");
            return Ok(0);
        }
    }
    print(&local.forget(&instance_id, &backup_id, Caller::command_line().id()).await?);
    Ok(0)
}
