//! `vault forget`: a person's word that a set, or the end of a log, which somebody else removed from the vault was meant to go. It ends an alarm, and
//! deletes nothing.

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
    #[arg(long, required_unless_present = "timeline", conflicts_with = "timeline")]
    backup_id: Option<String>,
    /// Instead of a set: the timeline of the log whose end is gone, as vault verify names it
    #[arg(long)]
    timeline: Option<String>,
}

/// What is to be forgotten.
enum What {
    Set(String),
    Log(String),
}

impl What {
    fn id(&self) -> &str {
        match self {
            Self::Set(id) | Self::Log(id) => id,
        }
    }

    const fn flag(&self) -> &'static str {
        match self {
            Self::Set(_) => "--backup-id",
            Self::Log(_) => "--timeline",
        }
    }

    fn question(&self, instance_id: &str) -> String {
        let (what, back) = match self {
            Self::Set(id) => (format!("Backup {id} of {instance_id}"), "the set"),
            Self::Log(id) => {
                (format!("The end of timeline {id} of the log of {instance_id}, or all of it,"), "that part")
            }
        };
        let id = self.id();
        format!(
            "{what} is gone from the vault, and this home has not deleted it: a lifecycle rule of the bucket has, or somebody.\n\
             Look first that the vault is the right one and its disk is there. Nothing brings {back} back; forgetting it ends the alarm.\n\
             To forget it, type its id {id} (Enter leaves it) > "
        )
    }
}

/// Asks for the id, unless the operator waived a person's yes, and forgets the set, or up to where the log was known.
///
/// # Errors
/// `mode.read_only`; `backup.not_found`, `backup.there`, `log.not_found`, `log.there`; `person.no_channel` where there is no terminal;
/// `vault.failed`, `log.failed`, `state.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let Args { instance_id, backup_id, timeline } = args;
    if app.config.read_only {
        let message = "vault forget ends an alarm, and --read-only forbids that";
        return Err(Fault::new(Kind::Refused, "mode.read_only", message).hint("Leave --read-only out."));
    }
    let what = match (timeline, backup_id) {
        (Some(timeline), _) => What::Log(timeline),
        (None, backup_id) => What::Set(backup_id.unwrap_or_default()),
    };
    let local = Local::new(&app.config, Arc::clone(&app.state));
    match &what {
        What::Set(id) => local.removed(&instance_id, id).await?,
        What::Log(id) => local.log_removed(&instance_id, id).await?,
    }
    if app.config.guard.confirmation == ConfirmationPolicy::Person {
        let words = format!(" --instance-id {instance_id} {} {}", what.flag(), what.id());
        terminal::required(&app.config, "vault forget", &words)?;
        if !terminal::types(what.question(&instance_id), what.id()).await {
            return Ok(0);
        }
    }
    let caller = Caller::command_line();
    let forgotten = match &what {
        What::Set(id) => local.forget(&instance_id, id, caller.id()).await?,
        What::Log(id) => local.forget_log(&instance_id, id, caller.id()).await?,
    };
    print(&forgotten);
    Ok(0)
}
