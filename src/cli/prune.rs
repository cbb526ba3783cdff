//! `prune`: deletes the manual and safety sets of an instance that no rule of a person's keeps. A person's word at a terminal; no tool does it.
//!
//! What goes is judged by the guard, planned as one act, and asked for once. Each look judges anew: a set that has come to be needed voids the plan.

use crate::cli::render::screen::Screen;
use crate::cli::terminal::{self, Bar};
use crate::cli::{INTERRUPTED, print, render, retention};
use crate::config::guard::ConfirmationPolicy;
use crate::guard::act::Act;
use crate::guard::ledger::Confirmation;
use crate::guard::person::{Answer, Channel, typed_answer};
use crate::guard::plan::changed;
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::model::policy::Retained;
use crate::model::pruning::{Keep, PRUNED_AT_ONCE, PrunedModes};
use crate::runtime::drain::{self, Ended};
use crate::runtime::signals::Signals;
use crate::tools::{App, Asked, FollowUp, Outcome, Person, ToolCall, dated, guarded};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The instance
    #[arg(long)]
    instance_id: String,
    /// Keep the newest N sound manual backups, and the newest N sound safety backups
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keep_last: Option<u32>,
    /// Keep what is no older than that, counted back from the newest sound backup: 30d, 12h, 8w
    #[arg(long, value_name = "TIME", value_parser = within)]
    keep_within: Option<u32>,
    /// The backups that may go
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Of::All)]
    mode: Of,
    /// Show what would go and why the rest stays; delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The modes of backups that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// Those that somebody asked for
    Manual,
    /// Those that were taken before a restore
    Safety,
    /// Both
    All,
}

const HELP: &str = "Deletes manual and safety backups, which stay until somebody deletes them or their own time is over. A backup stays if any rule keeps
it; at least one rule is needed. Whatever the rules say, these stay, and it is said why: automated backups (their policy lets them
go), the last good backup, what a waiting plan, a running job, a restore of the last days or the log needs, what is locked, and what
cannot be read. Damaged ones are not counted by the rules.

Examples:
  tair-backup-mcp prune orders --keep-last 5 --dry-run          what would go, and why the rest stays
  tair-backup-mcp prune orders --keep-last 5                    the same, then one question, then delete
  tair-backup-mcp prune orders --keep-last 3 --keep-within 30d  at least 3, and all of the last 30 days
  tair-backup-mcp prune orders --keep-within 12w --mode manual  manual backups alone

One question is asked at the terminal for all that are listed: typing the instance id is the yes to them, and to no other. If one of
them must stay by then, nothing is deleted. With --json or without a terminal nothing is asked, and so nothing is deleted, unless the
operator waived a person's yes (confirmation = \"token\").
At most 1000 go at once, the oldest first. If it was interrupted, run it again.
Exit codes: 0 done, or nothing goes, 3 nothing was deleted, or something was retained; else as everywhere.";

/// Longest time that can be given, in hours: a hundred years.
const LONGEST: u32 = 100 * 366 * 24;

/// Reads a time as hours.
fn within(text: &str) -> Result<u32, String> {
    let wrong = || "write hours, days or weeks: 12h, 30d, 8w".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let hours = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        _ => return Err(wrong()),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u32 = number.parse().map_err(|_| wrong())?;
    let all = number.checked_mul(hours).filter(|all| (1..=LONGEST).contains(all));
    all.ok_or_else(|| format!("between 1h and {}d", LONGEST / 24))
}

/// Tells what would go; without `--dry-run` asks for the instance's id, unless the operator waived a person's yes, and deletes that.
///
/// # Errors
/// `arguments.invalid` without a rule; `mode.read_only`; `instance.not_found`; `person.no_channel` where there is no terminal; `plan.changed`;
/// `vault.failed`, `state.failed`; `act.unsupported` for an instance of the cloud, which expires its sets itself.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let Args { instance_id: id, keep_last, keep_within, mode, dry_run, json } = args;
    let of = match mode {
        Of::Manual => PrunedModes::Manual,
        Of::Safety => PrunedModes::Safety,
        Of::All => PrunedModes::All,
    };
    let keep = Keep { last: keep_last, within_hours: keep_within, of };
    if keep.has_no_rule() {
        let command = app.config.command("prune");
        let message = "prune needs a rule that says which backups stay";
        return Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(format!(
            "Write --keep-last 5, --keep-within 30d, or both: a backup stays if one of them keeps it. `{command} {id} --keep-last 5 --dry-run` deletes nothing and shows what would go."
        )));
    }
    if app.config.read_only && !dry_run {
        let message = "prune deletes backups, and --read-only forbids that";
        return Err(Fault::new(Kind::Refused, "mode.read_only", message)
            .hint("Leave --read-only out, or see with --dry-run what would go."));
    }
    let (bar, mut signals) = (Bar::new(), Signals::new()?);
    let wanted = Wanted { id, keep, dry_run, json };
    let done = drain::unless_asked_to_end(&mut signals, prune(app, &wanted, &bar)).await;
    bar.clear();
    let Some(done) = done else {
        let seen = "stopping: a backup that is being deleted is seen to its end; the audit has what was deleted";
        let _ = writeln!(std::io::stderr(), "{seen}");
        drain::stop(app, &mut signals).await;
        return Ok(INTERRUPTED);
    };
    // What was found of dead processes goes on here, whatever came of this.
    if drain::finish(app, &mut signals, || ()).await != Ended::Done {
        return Ok(INTERRUPTED);
    }
    done
}

/// What was asked for.
struct Wanted {
    id: String,
    keep: Keep,
    dry_run: bool,
    json: bool,
}

async fn prune(app: &App, wanted: &Wanted, bar: &Bar) -> Result<u8, Fault> {
    let Wanted { id, keep, dry_run, json } = wanted;
    app.known(id).await?;
    if !dry_run {
        drain::recover(app).await?;
    }
    let sets = app.provider.retention(id, Some(keep)).await?.sets;
    let listed = Listed::of(&sets);
    let told_of = listed.json(id);
    if *dry_run || listed.goes.is_empty() {
        print(&if *json { told_of.to_string() } else { render::prunable(&Screen::stdout(), &told_of) });
        return Ok(0);
    }
    if app.config.guard.confirmation == ConfirmationPolicy::Person && (*json || !terminal::is_interactive()) {
        let message =
            format!("{} would go, and prune needs a person at a terminal, without --json", some(listed.goes.len()));
        let command = app.config.command("prune");
        return Err(Fault::new(Kind::Refused, "person.no_channel", message)
            .hint(format!("Run `{command} {id} {}` yourself in a terminal.", options(*keep))));
    }
    if !json {
        // Not to standard output, which has the result alone.
        let _ = writeln!(std::io::stderr(), "{}\n", render::prunable(&Screen::stderr(), &told_of));
    }
    let act = Act::Prune { keep: *keep, backup_ids: listed.goes.iter().map(|set| set.backup_id.clone()).collect() };
    let person = OneQuestion { bar, declined: AtomicBool::new(false) };
    let caller = Caller::command_line();
    let call = ToolCall { app, caller: &caller, person: &person, progress: bar };
    let outcome = both_calls(&call, id, act).await?;
    bar.clear();
    told(outcome, person.declined.load(Ordering::Relaxed), *json)
}

/// The rules as they were written.
fn options(keep: Keep) -> String {
    let Keep { last, within_hours, of } = keep;
    let last = last.map(|n| format!("--keep-last {n}"));
    let within = within_hours.map(|n| format!("--keep-within {}", crate::model::pruning::hours(n)));
    let of = match of {
        PrunedModes::All => None,
        PrunedModes::Manual => Some("--mode manual".to_owned()),
        PrunedModes::Safety => Some("--mode safety".to_owned()),
    };
    [last, within, of].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// So many backups.
fn some(n: usize) -> String {
    if n == 1 { "1 backup".to_owned() } else { format!("{n} backups") }
}

/// The sets of an instance, as they are told.
struct Listed<'a> {
    all: &'a [Retained],
    /// Those that go, the oldest first, as far as one plan takes them.
    goes: Vec<&'a Retained>,
    /// How many more would go.
    later: usize,
}

impl<'a> Listed<'a> {
    fn of(all: &'a [Retained]) -> Self {
        let mut goes: Vec<&Retained> = all.iter().filter(|set| set.goes).collect();
        goes.sort_by_key(|set| set.taken_at);
        let later = goes.len().saturating_sub(PRUNED_AT_ONCE);
        goes.truncate(PRUNED_AT_ONCE);
        Self { all, goes, later }
    }

    fn bytes(&self) -> u64 {
        self.goes.iter().map(|set| set.stored_bytes).sum()
    }

    fn json(&self, instance_id: &str) -> Value {
        let rows: Vec<Value> = self.all.iter().map(retention::row).collect();
        let goes = self.goes.len() + self.later;
        let mut told = json!({ "instance_id": instance_id, "goes": goes, "bytes": self.bytes(), "backups": rows });
        dated(&mut told);
        told
    }
}

/// The person who typed the command. They are asked once, and whatever is no yes ends the plan: nobody else could carry it out.
struct OneQuestion<'a> {
    bar: &'a Bar,
    /// Whether they were asked and said no.
    declined: AtomicBool,
}

#[async_trait]
impl Person for OneQuestion<'_> {
    fn puts_the_question(&self) -> bool {
        terminal::is_interactive()
    }

    async fn ask(&self, open: &Confirmation, question: &str) -> Asked {
        if !self.puts_the_question() {
            return Asked::Answered(Answer::NoChannel);
        }
        self.bar.clear();
        let typed =
            terminal::read_line(format!("{}\n(anything else deletes nothing) > ", terminal::laid_out(question))).await;
        let answer = typed.map(|typed| typed_answer(&open.plan, &typed, Channel::Terminal));
        Asked::Answered(match answer {
            Some(yes @ Answer::Yes(_)) => yes,
            _ => {
                self.declined.store(true, Ordering::Relaxed);
                Answer::Declined
            }
        })
    }
}

/// Makes the plan, and in the same breath the call that asks for it: whoever waits for the yes is here.
async fn both_calls(call: &ToolCall<'_>, id: &str, act: Act) -> Result<Outcome, Fault> {
    let planned = guarded::run(call, id, act.clone(), None, None).await?;
    let Outcome::Reply { json, follow_up: FollowUp::Echo } = &planned else { return Ok(planned) };
    let token = json.get("confirmation_token").and_then(Value::as_str).unwrap_or_default();
    guarded::run(call, id, act, Some(token), None).await
}

/// Prints what became of each set. Returns the exit code, or why there is nothing to print.
fn told(outcome: Outcome, declined: bool, as_json: bool) -> Result<u8, Fault> {
    let (mut json, follow_up) = match outcome {
        Outcome::Reply { json, follow_up } => (json, follow_up),
        // A terminal answers at once; nothing is deferred here.
        Outcome::AskPerson { .. } => return Ok(Kind::Unexpected.exit_code()),
    };
    let code = match follow_up {
        FollowUp::Failed(kind) => kind.exit_code(),
        FollowUp::Nothing | FollowUp::Echo | FollowUp::CallAgain | FollowUp::Job(_) => 0,
    };
    if !json.get("backups").is_some_and(Value::is_array) {
        if declined {
            print("Left as it is: nothing was deleted.");
            return Ok(code);
        }
        let message = json.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        return Err(changed(message).hint("Run prune again: it looks anew at what goes.").next(&[]));
    }
    dated(&mut json);
    print(&if as_json { json.to_string() } else { render::pruned(&Screen::stdout(), &json) });
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::within;

    /// Times are read with their unit, and whatever is none says how to write one.
    #[test]
    fn times_have_a_unit() {
        for (text, hours) in [("1h", 1), ("30d", 720), ("8w", 1344), ("36600d", 878_400)] {
            assert_eq!(within(text), Ok(hours), "{text}");
        }
        for text in ["", "d", "30", "30 d", "+3d", "-3d", "3m", "1d2h", "3ä", "99999999999d"] {
            assert!(within(text).is_err_and(|why| why.contains("30d")), "{text}");
        }
        for text in ["0d", "36601d", "4294967295w"] {
            assert_eq!(within(text), Err("between 1h and 36600d".to_owned()), "{text}");
        }
    }
}
