//! `compare-backups`: what two states of instances have in common and what not, key by key. It changes nothing and keeps nothing.

use crate::cli::render::screen::Screen;
use crate::cli::terminal::Bar;
use crate::cli::{INTERRUPTED, print, render};
use crate::guard::act::Source;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::job::JobKind;
use crate::model::text::quoted;
use crate::model::time::{Reading, read, written_ms};
use crate::provider::comparison::{Compared, ComparedState, State, StateOf};
use crate::runtime::drain::{self, Ended};
use crate::runtime::signals::Signals;
use crate::tools::key_rows::{KeyRows, Shown};
use crate::tools::{App, Progress as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The instance that both states are of
    #[arg(long)]
    instance_id: Option<String>,
    /// The instance that the second state is of, where that is another
    #[arg(long, value_name = "INSTANCE_ID")]
    to_instance_id: Option<String>,
    /// The instance, unless --instance-id names it; a set, a moment, a position, or `now`; and another such state, else `now`
    #[arg(value_names = ["INSTANCE_ID", "FROM", "TO"], required = true, num_args = 1..=3)]
    states: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What the instance holds now.
const NOW: &str = "now";
/// Times that are no moments, and no sets either.
const DAYS: [&str; 2] = ["today", "yesterday"];
/// The exit code where two states differ.
const DIFFERENT: u8 = 1;

const HELP: &str = "Tells which keys are lost, changed and added on the way from one state to the other. Each is one of
  b-20261123T061500Z-3f9a1c   a backup set, as describe-backups lists it
  2026-11-23T06:15:00Z        a moment of the log, to the millisecond; or as a distance: \"2h ago\"
  t-…/0/123, rj-…             right before a position of the log, or before the cutover of a restore
  now                         what the instance holds now: received as a replica would, and not kept

Examples:
  tair-backup-mcp compare-backups orders b-20261123T061500Z-3f9a1c
  tair-backup-mcp compare-backups orders b-20261123T061500Z-3f9a1c 2026-11-23T09:30:00Z
  tair-backup-mcp compare-backups orders now now --to-instance-id staging

A moment is built on a server program of this machine (redis-server or valkey-server in PATH), which is gone afterwards.
Each state is as it was at its own moment: what had expired by then is not in it. What only one of them has is neither lost nor added
where it merely expires by the later moment (`at`). A moment is built now, without what has expired since.
Values are compared by what they hold, however they are written; of function libraries only whether they are the same; how often a key
was used is not compared.
Exit codes: 0 nothing differs, 1 something does; else as everywhere, with `error:` on standard error, and 5 instead of 1.";

/// How often a person is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Compares, and prints what came of it. Whoever looks at the exit code alone must not take a failure for a difference.
///
/// # Errors
/// `arguments.invalid`, `instance.not_found`, `backup.not_found`, `compare.no_moment`, and those of the instance.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    told(app, args).await.map_err(|mut fault| {
        if fault.kind == Kind::Unexpected {
            fault.kind = Kind::Provider;
        }
        fault
    })
}

async fn told(app: &App, args: Args) -> Result<u8, Fault> {
    drain::recover(app).await?;
    let (bar, mut signals) = (Bar::new(), Signals::new()?);
    let compared = drain::unless_asked_to_end(&mut signals, compare(app, &args, &bar)).await;
    bar.clear();
    let Some(compared) = compared else {
        drain::stop(app, &mut signals).await;
        return Ok(INTERRUPTED);
    };
    // What was begun for it, such as the sandbox, ends whatever came of it.
    if drain::finish(app, &mut signals, || ()).await != Ended::Done {
        return Ok(INTERRUPTED);
    }
    let compared = compared?;
    let reply = reply(&compared);
    print(&if args.json { reply.to_string() } else { render::compared(&Screen::stdout(), &reply) });
    Ok(if compared.keys.nothing_differs() { 0 } else { DIFFERENT })
}

/// What is compared with what.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    instance_id: &'a str,
    from: &'a str,
    to: &'a str,
}

/// Takes the words of the line apart: the instance stands before the states, unless its option names it.
fn named<'a>(option: Option<&'a str>, words: &'a [String]) -> Result<Named<'a>, Fault> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (instance_id, from, to) = match (option, words.as_slice()) {
        (Some(instance_id), [from]) => (instance_id, *from, NOW),
        (Some(instance_id), [from, to]) => (instance_id, *from, *to),
        (None, [instance_id, from]) => (*instance_id, *from, NOW),
        (Some(option), [instance_id, from, to]) if option == *instance_id => (option, *from, *to),
        (None, [instance_id, from, to]) => (*instance_id, *from, *to),
        (Some(option), [instance_id, ..]) => {
            let message = format!("two instances are named, {} and --instance-id {option}", quoted(instance_id));
            return Err(Fault::new(Kind::Usage, "arguments.invalid", message)
                .hint("Give one; the instance that the second state is of is --to-instance-id."));
        }
        _ => {
            let message = "an instance and a state of it are needed";
            return Err(Fault::new(Kind::Usage, "arguments.invalid", message)
                .hint("Write compare-backups INSTANCE_ID FROM [TO], such as: compare-backups orders b-20261123T061500Z-3f9a1c now"));
        }
    };
    Ok(Named { instance_id, from, to })
}

async fn compare(app: &App, args: &Args, bar: &Bar) -> Result<Compared, Fault> {
    let Named { instance_id, from, to } = named(args.instance_id.as_deref(), &args.states)?;
    let other = args.to_instance_id.as_deref().unwrap_or(instance_id);
    let (from, to) = (state(app, instance_id, from).await?, state(app, other, to).await?);
    let stage = Mutex::new(("", 0));
    let on_stage = |what, bytes| *stage.lock().unwrap_or_else(PoisonError::into_inner) = (what, bytes);
    let work = app.provider.compare(&from, &to, &on_stage);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(TOLD_EVERY) => {
                let (what, bytes) = *stage.lock().unwrap_or_else(PoisonError::into_inner);
                bar.report(bytes, 0, what).await;
            }
        }
    }
}

/// The state that a word means.
async fn state(app: &App, instance_id: &str, word: &str) -> Result<StateOf, Fault> {
    app.known(instance_id).await?;
    let is_position = word.contains('/') || word.starts_with(&format!("{}-", JobKind::Restore.prefix()));
    let state = if word == NOW {
        if app.config.read_only {
            let message = "what an instance holds now is received as a backup is, which --read-only refuses";
            return Err(Fault::new(Kind::Refused, "mode.read_only", message).hint("Compare sets or moments."));
        }
        State::Now
    } else if is_position {
        State::Then(Source::Before { position: word.to_owned(), time_shift: None })
    } else if DAYS.contains(&word) || word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(['-', ':', ' ']) {
        let restore_time = read("the moment", word, Reading::Moment, Timestamp::now())?;
        State::Then(Source::Moment { restore_time, time_shift: None })
    } else {
        check_backup_id(word)?;
        State::Then(Source::Backup { backup_id: word.to_owned() })
    };
    Ok(StateOf { instance_id: instance_id.to_owned(), state })
}

fn reply(compared: &Compared) -> Value {
    let side = |of: &ComparedState| {
        let mut side = json!({ "instance_id": of.instance_id, "moment": written_ms(of.moment) });
        if let (Some(side), Some(id)) = (side.as_object_mut(), &of.backup_id) {
            side.insert("backup_id".to_owned(), id.as_str().into());
        }
        side
    };
    json!({
        "from": side(&compared.from),
        "to": side(&compared.to),
        "at": written_ms(compared.at),
        "equal": compared.keys.nothing_differs(),
        "keys": KeyRows::of(&compared.keys, Shown::ALL),
    })
}

#[cfg(test)]
mod tests {
    use super::{Named, named};

    /// The instance by its place or by its option, and the second state by its place or as what is there now.
    #[test]
    fn words_are_taken_apart() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (option, line, wanted) in [
            (None, "orders b-1", ("orders", "b-1", "now")),
            (None, "orders b-1 b-2", ("orders", "b-1", "b-2")),
            (Some("orders"), "b-1", ("orders", "b-1", "now")),
            (Some("orders"), "b-1 b-2", ("orders", "b-1", "b-2")),
            (Some("orders"), "orders b-1 b-2", ("orders", "b-1", "b-2")),
        ] {
            let (instance_id, from, to) = wanted;
            let words = words(line);
            assert_eq!(named(option, &words).unwrap(), Named { instance_id, from, to }, "{line}");
        }
        for (option, line) in [(None, "b-1"), (Some("orders"), "carts b-1 b-2")] {
            assert_eq!(named(option, &words(line)).unwrap_err().code, "arguments.invalid", "{line}");
        }
    }
}
