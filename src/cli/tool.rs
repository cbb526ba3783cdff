//! Every tool as a subcommand, made from the registry: its arguments, its run to the end, and the output.

use crate::cli::render::screen::Screen;
use crate::cli::{INTERRUPTED, background, print, render, terminal};
use crate::config::advice::Advice;
use crate::config::guard::ConfirmationPolicy;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::runtime::drain::{self, Ended};
use crate::runtime::signals::Signals;
use crate::tools::arguments::{self, MAX_WAIT};
use crate::tools::registry::{Risk, TOOLS, Tool};
use crate::tools::{App, FollowUp, Outcome, ToolCall};
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand};
use jiff::Timestamp;
use serde_json::Value;
use std::io::Write as _;
use std::sync::LazyLock;
use terminal::{Bar, TerminalPerson};

/// The option of every tool that prints the structured result.
const JSON: &str = "json";
/// The argument that says how long a call waits for its job.
const WAIT: &str = "wait_seconds";
/// The argument, and the field of a plan, that has its token.
const TOKEN: &str = "confirmation_token";

/// The tools by the names of their subcommands.
static SUBCOMMANDS: LazyLock<Vec<(String, &Tool)>> =
    LazyLock::new(|| TOOLS.iter().map(|tool| (tool.name.replace('_', "-"), tool)).collect());

fn find(subcommand: &str) -> Option<&'static Tool> {
    SUBCOMMANDS.iter().find(|(name, _)| name == subcommand).map(|(_, tool)| *tool)
}

/// What the calls of a command came to.
struct Conversation {
    outcome: Outcome,
    /// The token of the plan that the person was shown and asked for.
    asked: Option<Value>,
}

/// A tool's subcommand, parsed.
pub struct ToolCommand {
    tool: &'static Tool,
    arguments: Value,
    as_json: bool,
}

impl FromArgMatches for ToolCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let found = matches.subcommand().and_then(|(name, given)| find(name).map(|tool| (tool, given)));
        let (tool, given) = found.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidSubcommand))?;
        Ok(Self { tool, arguments: (tool.read)(given)?, as_json: given.get_flag(JSON) })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for ToolCommand {
    fn augment_subcommands(command: Command) -> Command {
        let json = Arg::new(JSON).long(JSON).action(ArgAction::SetTrue);
        let json = json.help("Print exactly the tool's structured result");
        SUBCOMMANDS.iter().fold(command, |command, (name, tool)| {
            // Hints name a tool as agents call it; typed like that it is the same.
            let subcommand = Command::new(name.as_str()).alias(tool.name);
            command.subcommand((tool.options)(subcommand).about(tool.about).arg(json.clone()))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        find(name).is_some()
    }
}

impl ToolCommand {
    /// Runs the tool to its end, or until Ctrl-C or another signal; then drains the jobs it began. With `--wait-seconds 0` another process
    /// does that, unless `stays`: this is that process.
    ///
    /// # Errors
    /// The tool's own.
    pub async fn run(mut self, app: &App, stays: bool) -> Result<u8, Fault> {
        // Whoever makes a guarded tool's second call themselves has to write a time out, or that call would mean another: the tool says so.
        if matches!(self.tool.risk, Risk::Reads | Risk::Writes) || self.asks_here(app) {
            match arguments::write_out_times(&mut self.arguments, Timestamp::now()) {
                Err(fault) => return self.show(Err(fault)).0,
                Ok(times) => times.iter().for_each(|time| terminal::note(&time.describe())),
            }
        }
        // The wait of other tools is one for a person's yes.
        if matches!(self.tool.name, "create_backup" | "verify_backup")
            && let Some(wait) = self.arguments.get_mut(WAIT)
        {
            if wait.is_null() {
                // For a person the command waits, for as long as a tool may.
                *wait = MAX_WAIT.into();
            } else if *wait == 0 && !stays {
                return background::run(app, self.tool.name, self.as_json).await;
            }
        }
        if let Err(fault) = drain::recover(app).await {
            // What dead processes left is the next command's too. Whoever has to get a backup out gets it where the state takes no writes.
            if self.tool.name != "download_backup" {
                return self.show(Err(fault)).0;
            }
            tracing::warn!(
                cause = fault.cause(),
                "what an earlier process left behind could not be reconciled: {fault}"
            );
        }
        let (bar, mut signals) = (Bar::new(), Signals::new()?);
        // A call that has a token already is asked about at once.
        let shown = self.asks_here(app) && self.arguments.get(TOKEN).is_none_or(Value::is_null);
        let person = TerminalPerson::new(self.as_json, shown, &bar);
        let caller = Caller::command_line();
        let call = ToolCall { app, caller: &caller, person: &person, progress: &bar };
        let outcome = drain::unless_asked_to_end(&mut signals, self.conversation(&call, &bar)).await;
        bar.clear();
        let Some(outcome) = outcome else {
            terminal::stopping();
            drain::stop(app, &mut signals).await;
            return Ok(INTERRUPTED);
        };
        let (code, running) = self.show(outcome);
        if self.tool.name == "describe_instances"
            && !self.as_json
            && let Some(Advice { found, next }) = app.config.without_instances()
        {
            let screen = Screen::stderr();
            terminal::note(&screen.prose(&format!("nothing is configured: {found}")));
            terminal::note(&screen.line("", &next));
        }
        // A job that the call began outlives the reply, but not this process.
        if running.is_some() {
            terminal::note("its job goes on (Ctrl-C cancels a backup of our own making)");
        }
        if drain::finish(app, &mut signals, terminal::stopping).await != Ended::Done {
            return Ok(INTERRUPTED);
        }
        let Some(job) = running.filter(|_| !self.as_json) else { return code };
        let job = app.state.job(&job).await?;
        // The cloud goes on by itself; the next process that looks follows the job.
        let result = if job.status == JobStatus::Running { "follow it with describe-jobs" } else { &job.message };
        print(&format!("{}  {}  {result}", job.status.as_str(), job.id));
        job.failure.map_or(code, |kind| Ok(kind.exit_code()))
    }

    /// Whether this process makes a guarded tool's second call too, for the person who has just been shown the plan. Where the token alone is
    /// enough, echoing it is the person's own second step.
    fn asks_here(&self, app: &App) -> bool {
        let needs_person = app.config.guard.confirmation == ConfirmationPolicy::Person;
        needs_person && !self.as_json && terminal::is_interactive()
    }

    /// Makes one call; for a guarded tool at a terminal also the second call, since the person is right here.
    async fn conversation(&self, call: &ToolCall<'_>, bar: &Bar) -> Result<Conversation, Fault> {
        let mut arguments = self.arguments.clone();
        let first = crate::tools::run(call, self.tool.name, arguments.clone()).await?;
        let Outcome::Reply { json, follow_up: FollowUp::Echo } = &first else {
            return Ok(Conversation { outcome: first, asked: None });
        };
        if !self.asks_here(call.app) {
            return Ok(Conversation { outcome: first, asked: None });
        }
        bar.clear();
        let _ = writeln!(std::io::stderr(), "{}\n", render::before_question(&Screen::stderr(), json));
        let asked = json.get(TOKEN).cloned();
        if let (Some(arguments), Some(token)) = (arguments.as_object_mut(), &asked) {
            arguments.insert(TOKEN.into(), token.clone());
        }
        loop {
            let outcome = crate::tools::run(call, self.tool.name, arguments.clone()).await?;
            if !matches!(outcome, Outcome::Reply { follow_up: FollowUp::CallAgain, .. }) {
                return Ok(Conversation { outcome, asked });
            }
        }
    }

    /// Prints what a call came to. Returns the exit code and, where a job of the call still runs, its id.
    fn show(&self, held: Result<Conversation, Fault>) -> (Result<u8, Fault>, Option<String>) {
        let (json, follow_up, asked) = match held {
            Ok(Conversation { outcome: Outcome::Reply { json, follow_up }, asked }) => (json, follow_up, asked),
            // A terminal answers at once; nothing is deferred here.
            Ok(Conversation { outcome: Outcome::AskPerson { .. }, .. }) => {
                return (Ok(Kind::Unexpected.exit_code()), None);
            }
            Err(fault) => {
                if self.as_json {
                    print(&crate::mcp::contract::error_json(&fault).to_string());
                }
                return (Err(fault), None);
            }
        };
        // A plan is shown once. Another one, in the place of what no longer held, has another token.
        let is_shown = asked.is_some_and(|token| json.get(TOKEN).is_none_or(|now| *now == token));
        print(&match (self.as_json, is_shown) {
            (true, _) => json.to_string(),
            (false, true) => render::after_question(&Screen::stdout(), &json),
            (false, false) => render::reply(&Screen::stdout(), self.tool.name, &json),
        });
        match follow_up {
            FollowUp::Job(id) => (Ok(0), Some(id)),
            FollowUp::Failed(kind) => (Ok(kind.exit_code()), None),
            FollowUp::Nothing | FollowUp::Echo | FollowUp::CallAgain => (Ok(0), None),
        }
    }
}
