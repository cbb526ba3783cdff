//! `approve`: a person's yes or no at a terminal, for clients that cannot ask.

use crate::cli::terminal::Bar;
use crate::cli::{print, terminal};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::person::{ANSWERS_BEFORE_VOID, Answer, question};
use crate::model::fault::{Fault, Kind};
use crate::model::impact::KeyImpact;
use crate::model::time::written;
use crate::tools::guarded::keys_of_later_backup;
use crate::tools::{App, Progress as _};
use std::time::Duration;

/// How long a person waits before they are told for what.
const TOLD_AFTER: Duration = Duration::from_millis(250);

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
        .hint(format!("Run `{}` yourself in a terminal.", app.config.command("approve"))));
    }
    let waiting: Vec<Confirmation> = app
        .state
        .waiting()
        .await?
        .into_iter()
        .filter(|c| args.instance_id.as_ref().is_none_or(|id| *id == c.plan.instance_id))
        .collect();
    if waiting.is_empty() {
        print(&format!("Nothing waits for approval in {}.", app.config.home.dir().display()));
        return Ok(0);
    }
    for open in waiting {
        print(&format!("Planned {}, good until {}.", written(open.created_at), written(open.expires_at)));
        let question = question(&open.plan, keys(app, &open).await.as_ref(), &open.plan.warnings);
        let (status, event, reply) = match terminal::ask(&open, &question).await {
            Answer::Yes(_) => (
                Some(ConfirmationStatus::Approved),
                "approved",
                "Approved. The agent may now call again with its token.".to_owned(),
            ),
            Answer::Declined => {
                (Some(ConfirmationStatus::Declined), "declined", "Declined. The token is void.".to_owned())
            }
            Answer::Dismissed | Answer::NoChannel => without_a_yes(app, &open, "dismissed", "No answer.").await?,
            Answer::NotAYes => without_a_yes(app, &open, "not_confirmed", "That is not the instance id.").await?,
        };
        if let Some(status) = status
            && !app.state.transition(&open.nonce, &[ConfirmationStatus::Open], status).await?
        {
            print("Too late: it has expired or was answered meanwhile.");
            continue;
        }
        let detail = format!("by terminal: {}", open.plan.act.on(&open.plan.instance_id));
        app.state.record(open.record(event, detail)).await?;
        print(&reply);
    }
    Ok(0)
}

/// What becomes of keys, where that could not be told when the plan was made. Whoever waits for it is told.
async fn keys(app: &App, open: &Confirmation) -> Option<KeyImpact> {
    let bar = Bar::new();
    let work = keys_of_later_backup(app, &open.plan);
    tokio::pin!(work);
    let keys = loop {
        tokio::select! {
            done = &mut work => break done,
            () = tokio::time::sleep(TOLD_AFTER) => bar.report(0, 0, "comparing keys").await,
        }
    };
    bar.clear();
    keys
}

/// What comes of a question that got no yes: the plan is left open, until there were too many.
async fn without_a_yes(
    app: &App,
    open: &Confirmation,
    event: &'static str,
    what: &str,
) -> Result<(Option<ConfirmationStatus>, &'static str, String), Fault> {
    if app.state.count_wrong_answer(&open.nonce).await? < ANSWERS_BEFORE_VOID {
        return Ok((None, event, format!("{what} Left open.")));
    }
    let reply = format!("{what} Asked {ANSWERS_BEFORE_VOID} times: the token is void, and the agent has to plan anew.");
    Ok((Some(ConfirmationStatus::Superseded), event, reply))
}
