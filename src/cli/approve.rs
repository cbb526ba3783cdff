//! `approve`: a person's yes or no at a terminal, for clients that cannot ask; and the list of what waits for one.

use crate::cli::render::screen::Screen;
use crate::cli::terminal::Bar;
use crate::cli::{print, render, terminal};
use crate::guard::ledger::{Confirmation, ConfirmationStatus};
use crate::guard::person::{ANSWERS_BEFORE_VOID, Answer, question};
use crate::model::fault::{Fault, Kind};
use crate::model::impact::KeyImpact;
use crate::model::text::{clean, clean_to, quoted, shell_word};
use crate::model::time::written;
use crate::tools::guarded::keys_of_later_backup;
use crate::tools::plan_rows::{LAPSED_WITHIN, PlanStatus};
use crate::tools::{App, Progress as _};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How long a person waits before they are told for what.
const TOLD_AFTER: Duration = Duration::from_millis(250);

/// Most characters of what a plan would do, in the list.
const WHAT_SHOWN: usize = 400;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Only the plan of this id, as replies and describe-jobs show it, or the one that took its place
    #[arg(long, value_name = "PLAN_ID")]
    plan: Option<String>,
    /// Only plans for this instance
    #[arg(long)]
    instance_id: Option<String>,
    /// Only list the plans that wait, were approved or have lapsed within a day, and who asked for them
    #[arg(long)]
    list: bool,
}

/// Shows each waiting plan and records the person's answer; or lists plans.
///
/// # Errors
/// `person.no_channel` where there is no terminal and somebody would be asked; `plan.not_found`; `state.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let is_of = |c: &Confirmation| args.instance_id.as_ref().is_none_or(|id| *id == c.plan.instance_id);
    let is_wanted = |c: &Confirmation| is_of(c) && args.plan.as_ref().is_none_or(|id| *id == c.plan_id());
    if args.list {
        let plans: Vec<Confirmation> = plans(app).await?.into_iter().filter(is_wanted).collect();
        print(&listed(app, &plans));
        return Ok(0);
    }
    let plan = args.plan.as_ref().map(|id| format!(" --plan {}", shell_word(id)));
    terminal::required(&app.config, "approve", &plan.unwrap_or_default())?;
    let mut waiting: VecDeque<Confirmation> = app.state.waiting().await?.into_iter().filter(is_wanted).collect();
    let named = match &args.plan {
        Some(id) if waiting.is_empty() => {
            Some(app.state.find_plan(id).await?.filter(is_of).ok_or_else(|| none(app, id))?)
        }
        _ => None,
    };
    if let Some(was) = named.as_ref().filter(|was| is_superseded(was.status))
        && let Some(newer) = newer(app, was).await?
    {
        print(&format!("Plan {} was made anew meanwhile; the new one is {}.", was.plan_id(), newer.plan_id()));
        waiting.push_back(newer);
    }
    if waiting.is_empty() {
        print(&format!("Nothing waits for approval in {}.", place(app)));
        if let Some(open) = named {
            print(&format!("Plan {} {}.", open.plan_id(), became(&open)));
        }
        let others = plans(app).await?.len();
        if others > 0 {
            let told = format!("`{}` shows what else there is: {others}.", app.config.command("approve --list"));
            print(&Screen::stdout().line("", &told));
        }
        return Ok(0);
    }
    print(&format!("In {}: {} to be answered.", place(app), waiting.len()));
    while let Some(open) = waiting.pop_front() {
        print(&format!("Planned {}, good until {}.", written(open.created_at), written(open.expires_at)));
        let question = question(&open.plan, keys(app, &open).await.as_ref(), &open.plan.warnings);
        let (status, event, reply) = match terminal::ask(&open, &question).await {
            Answer::Yes(_) => (
                Some(ConfirmationStatus::Approved),
                "approved",
                "Approved. The agent may now call again with its token; if it waits, it goes on by itself.".to_owned(),
            ),
            Answer::Declined => {
                (Some(ConfirmationStatus::Declined), "declined", "Declined. The token is void.".to_owned())
            }
            Answer::Dismissed | Answer::NoChannel => without_a_yes(app, &open, "dismissed", "No answer.").await?,
            Answer::NotAYes => without_a_yes(app, &open, "not_confirmed", "That is not the instance id.").await?,
        };
        let stands = match status {
            Some(status) => app.state.transition(&open.nonce, &[ConfirmationStatus::Open], status).await?,
            None => app.state.find(&open.nonce).await?.is_some_and(|now| now.status == ConfirmationStatus::Open),
        };
        if !stands {
            let newer = newer(app, &open).await?;
            print(match newer {
                Some(_) => "Too late: the agent has made the plan anew meanwhile. The new one is asked now.",
                None => "Too late: it has expired or was answered meanwhile.",
            });
            waiting.extend(newer);
            continue;
        }
        let detail = format!("by terminal: {}", open.plan.act.on(&open.plan.instance_id));
        app.state.record(open.record(event, detail)).await?;
        print(&reply);
    }
    Ok(0)
}

/// The fault where no plan has that id.
fn none(app: &App, id: &str) -> Fault {
    let message = format!("there is no plan {} in {}", quoted(id), place(app));
    let list = app.config.command("approve --list");
    Fault::new(Kind::NotFound, "plan.not_found", message).hint(format!("`{list}` shows the plans that there are."))
}

/// Whether another plan may have taken the place of one of this status.
const fn is_superseded(status: ConfirmationStatus) -> bool {
    matches!(status, ConfirmationStatus::Superseded | ConfirmationStatus::ApprovalSuperseded)
}

/// What became of a plan that does not wait for a person here.
fn became(open: &Confirmation) -> &'static str {
    match open.status {
        ConfirmationStatus::Declined => "was declined",
        ConfirmationStatus::Redeemed => "was approved, and its token is used",
        ConfirmationStatus::Superseded | ConfirmationStatus::ApprovalSuperseded => "was withdrawn",
        _ if open.expires_at <= Timestamp::now() => "has lapsed",
        ConfirmationStatus::Approved => "is approved already",
        ConfirmationStatus::Open => "is asked by the command that made it",
    }
}

/// The plan that took the place of one while the person read that, and waits for an answer too.
async fn newer(app: &App, was: &Confirmation) -> Result<Option<Confirmation>, Fault> {
    let mut waiting = app.state.waiting().await?.into_iter();
    let same = |c: &Confirmation| c.asks_for(&was.caller, &was.plan.instance_id, &was.plan.act);
    Ok(waiting.find(|c| c.nonce != was.nonce && same(c)))
}

/// Where plans are looked for.
fn place(app: &App) -> String {
    let home = app.config.home.dir().display();
    match &app.config.state {
        None => home.to_string(),
        Some(url) => format!("{home} (its state is on the PostgreSQL at {})", url.place),
    }
}

/// The plans that a yes here can be about, newest first: one that no tool carries out is asked about by its command alone.
async fn plans(app: &App) -> Result<Vec<Confirmation>, Fault> {
    let mut plans = app.state.plans(LAPSED_WITHIN).await?;
    plans.retain(|open| open.plan.act.has_a_tool());
    Ok(plans)
}

/// The plans as a table, newest first.
fn listed(app: &App, plans: &[Confirmation]) -> String {
    if plans.is_empty() {
        return format!("No plan waits, was approved or has lapsed within a day in {}.", place(app));
    }
    let now = Timestamp::now();
    let rows = plans.iter().map(|open| {
        [
            open.plan_id(),
            PlanStatus::of(open, now).as_str().to_owned(),
            clean(&open.caller),
            open.plan.act.verb().to_owned(),
            clean(&open.plan.instance_id),
            written(open.created_at),
            written(open.expires_at),
            clean_to(&open.plan.act.on(&open.plan.instance_id), WHAT_SHOWN),
        ]
    });
    format!("Plans in {}:\n{}", place(app), render::listed_plans(&Screen::stdout(), rows))
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
