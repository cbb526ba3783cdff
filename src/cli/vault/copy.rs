//! `vault copy`: what lies on the vault, at another place too. It changes nothing on the vault, and puts nothing over anything there.

use crate::cli::terminal::Bar;
use crate::cli::{INTERRUPTED, print};
use crate::config::vault::VaultPlace;
use crate::model::fault::{Fault, Kind};
use crate::model::text::bytes;
use crate::provider::local::vault_copy::{Copier, Outcome, Progress, VaultCopy};
use crate::runtime::drain;
use crate::runtime::signals::Signals;
use crate::tools::{App, Progress as _};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `vault copy`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The other vault: s3://bucket/prefix?…, oss://bucket/prefix?…, or a directory
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// Only this instance [default: all of which something is there]
    #[arg(long)]
    instance_id: Option<String>,
    /// Tell what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Each set is read back there and compared with its manifest before the manifest is put: what is listed there is whole. Done again
it goes on: what is there is not copied again. A set that is damaged here is named and not copied, the others are (exit code 6). What has a
name there that is something else is named and stays (exit code 3). Sets that are being made are left for the next time.

How to move a vault:
  1. tair-backup-mcp vault copy --to s3://backups/redis?region=eu-central-1     while everything runs: it may take hours
  2. stop `tair-backup-mcp run`, and whoever serves with background = true
  3. the same copy again: what came since, in moments
  4. write vault = \"s3://backups/redis?region=eu-central-1\" into the configuration
  5. tair-backup-mcp doctor; describe-backups; verify-backup --level drill of the newest set
  6. start the service again: its log goes on where it ended
The old vault is as it was: switch back, or delete it once the new one has proven itself.

For a second copy of every new set and of the log, all the time, there is copy_to in the configuration.
Exit codes: 0 all is there, or would be copied; 3 a name is taken there; 6 something is damaged here; 1 the key of
something is not here; else as everywhere.";

/// How often a person is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Runs the command.
///
/// # Errors
/// `arguments.invalid`, `mode.read_only`, `instance.not_found`; `vault.failed`, `log.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    if app.config.read_only && !args.dry_run {
        let message = "a copy of backups is made nowhere with --read-only";
        return Err(Fault::new(Kind::Refused, "mode.read_only", message).hint("--dry-run tells what would be copied."));
    }
    let to = place(app, &args.to)?;
    drain::recover(app).await?;
    let copier = Copier::new(&app.config, &app.state, &to);
    let instances = match &args.instance_id {
        None => copier.instances().await?,
        Some(id) => {
            // Of one that is in no configuration any more there may be sets all the same.
            if !copier.instances().await?.contains(id) {
                app.known(id).await?;
            }
            vec![id.clone()]
        }
    };
    let (bar, mut signals, progress) = (Bar::new(), Signals::new()?, Arc::<Progress>::default());
    let work = copier.copy_all(&instances, args.dry_run, &progress);
    tokio::pin!(work);
    let copied = loop {
        tokio::select! {
            done = &mut work => break done,
            () = signals.asked_to_end() => {
                if progress.is_stopped() {
                    // Asked twice: the next copy goes on from what lies there.
                    bar.clear();
                    return Ok(INTERRUPTED);
                }
                progress.stop();
            }
            () = tokio::time::sleep(TOLD_EVERY) => {
                let (stage, done, total) = progress.now();
                bar.report(done, total, &stage).await;
            }
        }
    };
    bar.clear();
    let copied = copied?;
    let interrupted = progress.is_stopped();
    print(&if args.json {
        reply(&copied, copier.place(), args.dry_run, interrupted).to_string()
    } else {
        shown(&copied, copier.place(), args.dry_run, interrupted)
    });
    Ok(if interrupted { INTERRUPTED } else { exit_code(&copied) })
}

/// The place that was named; it is neither the vault itself, nor in it, nor around it.
fn place(app: &App, text: &str) -> Result<VaultPlace, Fault> {
    let refused = |why: String| {
        Fault::new(Kind::Usage, "arguments.invalid", why).hint(
            "--to s3://bucket/prefix?region=eu-central-1, oss://bucket/prefix?region=cn-hangzhou, or a directory.",
        )
    };
    let here = std::env::current_dir().unwrap_or_default();
    let place = app.config.place("--to", text, &here).map_err(refused)?;
    let same = match (&place, &app.config.vault) {
        (VaultPlace::Directory(to), VaultPlace::Directory(vault)) => {
            let real = |dir: &Path| std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
            let (to, vault) = (real(to), real(vault));
            to.starts_with(&vault) || vault.starts_with(&to)
        }
        (to, vault) => to == vault,
    };
    if same {
        return Err(refused(format!("--to is the vault itself, or within it: {place}")));
    }
    Ok(place)
}

fn count(copied: &VaultCopy, outcome: Outcome) -> usize {
    copied.sets.iter().filter(|set| set.outcome == outcome).count()
}

fn exit_code(copied: &VaultCopy) -> u8 {
    let logs = || copied.logs.iter().map(|(_, log)| log);
    if count(copied, Outcome::Damaged) > 0 || logs().any(|log| log.damaged > 0) {
        Kind::Damaged.exit_code()
    } else if count(copied, Outcome::Conflict) > 0 || logs().any(|log| log.conflicts > 0) {
        Kind::Refused.exit_code()
    } else if count(copied, Outcome::NoKey) > 0 || logs().any(|log| log.no_key > 0) {
        Kind::Unexpected.exit_code()
    } else {
        0
    }
}

fn reply(copied: &VaultCopy, place: &str, dry_run: bool, interrupted: bool) -> Value {
    let sets = copied.sets.iter().map(|set| {
        let mut row = json!({
            "instance_id": set.instance_id,
            "backup_id": set.backup_id,
            "status": set.outcome.as_str(),
            "stored_bytes": set.stored_bytes,
        });
        if let (Some(row), false) = (row.as_object_mut(), set.why.is_empty()) {
            row.insert("why".to_owned(), set.why.as_str().into());
        }
        row
    });
    let logs = copied.logs.iter().map(|(id, log)| {
        json!({
            "instance_id": id,
            (if dry_run { "to_copy" } else { "copied" }): log.copied,
            "there": log.there,
            "gone": log.gone,
            "damaged": log.damaged,
            "conflicts": log.conflicts,
            "no_key": log.no_key,
            "why": log.faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>(),
        })
    });
    json!({
        "to": place,
        "dry_run": dry_run,
        "interrupted": interrupted,
        "sets": sets.collect::<Vec<_>>(),
        "logs": logs.collect::<Vec<_>>(),
    })
}

fn shown(copied: &VaultCopy, place: &str, dry_run: bool, interrupted: bool) -> String {
    let mut lines = Vec::new();
    for set in &copied.sets {
        let why = if set.why.is_empty() { bytes(set.stored_bytes) } else { set.why.clone() };
        lines.push(format!("{:<8}  {}  {}  {why}", set.outcome.as_str(), set.instance_id, set.backup_id));
    }
    for (id, log) in &copied.logs {
        let done = if dry_run { "to copy" } else { "copied" };
        let more = [
            ("pruned meanwhile", log.gone),
            ("damaged", log.damaged),
            ("taken there", log.conflicts),
            ("without their key", log.no_key),
        ];
        let more: String = more.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!(", {n} {what}")).collect();
        lines.push(format!("log       {id}  {} {done}, {} there{more}", log.copied, log.there));
        lines.extend(log.faults.iter().map(|fault| format!("          {}", fault.message)));
    }
    let of = |outcome, what: &str| match count(copied, outcome) {
        0 => None,
        n => Some(format!("{n} {what}")),
    };
    let sums: Vec<String> = [
        of(Outcome::Copied, "copied"),
        of(Outcome::ToCopy, "to copy"),
        of(Outcome::There, "there"),
        of(Outcome::Gone, "deleted meanwhile"),
        of(Outcome::Damaged, "damaged here and not copied"),
        of(Outcome::Conflict, "not copied, for their names are taken there"),
        of(Outcome::NoKey, "not copied, for their key is not here"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let sums = if sums.is_empty() { "none".to_owned() } else { sums.join(", ") };
    lines.push(format!("sets at {place}: {sums}"));
    if interrupted {
        lines.push("interrupted: what was on its way is taken back; the same command goes on".to_owned());
    }
    lines.join("\n")
}
