//! `state`: all that the state keeps as a file, and such a file into an empty store. So a service moves to another database or machine.

use crate::cli::print;
use crate::model::fault::Fault;
use crate::model::text::grouped;
use crate::model::time::written;
use crate::runtime::drain::unless_asked_to_end;
use crate::runtime::signals::Signals;
use crate::tools::App;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = HOW)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Write all that the state keeps into a new file, as it is at one moment
    #[command(after_help = HOW)]
    Export {
        /// The file, which must not be there yet
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take over what such a file holds, all of it or nothing, into a store that is empty
    #[command(after_help = HOW)]
    Import {
        /// The file
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

const HOW: &str = "How to move, between a home and a PostgreSQL in either direction, or to another machine:
  1. stop every process that works on the state: the service, and hosts that serve
  2. tair-backup-mcp state export --to state.jsonl
  3. point `state =` in the configuration at the new store, or take the line out, or name another --home
  4. tair-backup-mcp state import state.jsonl
  5. tair-backup-mcp doctor, then start the processes again, and remove the file
Start nothing on the old store again: it knows nothing of what is done on the new one.

What comes over: jobs with what is needed to roll a restore back, the ledger of confirmations and the audit, policies, what was
verified, the digests of manifests and how far logs were. What was redeemed stays so. A job that ran comes over as that of a dead process, which the next start reconciles.
What does not: leases and heartbeats; the guard's key, of which each store has its own; and plans that wait for a yes: their tokens
are void on the new store, so that no yes counts on both. Make those plans anew.
Backup sets and logs are on the vault, and are not in the file; nor is what lies in the home of a machine: `tails/` (what undoes a
restore to the last write), `spool/`, `parts/`, `downloads/`, `clones/`, `sandbox/`. For another machine copy vault and `tails/`.
The file may hold a password of a target, in what is needed to roll a restore back: it is written for its owner alone.";

/// Exports or imports, unless a signal comes; then nothing is left of it.
///
/// # Errors
/// Those of the store's export and import.
pub async fn run(app: &App, args: Args) -> Result<Option<u8>, Fault> {
    let mut signals = Signals::new()?;
    let work = async {
        match args.command {
            Command::Export { to, json } => export(app, to, json).await,
            Command::Import { file, json } => import(app, file, json).await,
        }
    };
    unless_asked_to_end(&mut signals, work).await.transpose().map(|done| done.map(|()| 0))
}

fn told(rows: &BTreeMap<String, u64>) -> String {
    rows.iter().map(|(table, n)| format!("{} {table}", grouped(*n))).collect::<Vec<_>>().join(", ")
}

async fn export(app: &App, to: PathBuf, json: bool) -> Result<(), Fault> {
    let exported = app.state.export(&to).await?;
    if json {
        let running: Vec<_> = exported
            .running
            .iter()
            .map(|job| json!({ "job_id": job.job_id, "kind": job.kind, "instance_id": job.instance_id }))
            .collect();
        let reply = json!({ "file": to, "rows": exported.rows, "running": running, "withdrawn": exported.withdrawn, "others": exported.others });
        print(&reply.to_string());
        return Ok(());
    }
    print(&format!("{}: {}.", to.display(), told(&exported.rows)));
    for job in &exported.running {
        print(&format!(
            "{} {} of {} runs: it comes over as that of a dead process, which the next start reconciles.",
            job.kind, job.job_id, job.instance_id
        ));
    }
    if exported.withdrawn > 0 {
        print(&format!("Plans that wait: {}; their tokens will be void on the new store.", exported.withdrawn));
    }
    if exported.others > 0 {
        print(&format!(
            "Other processes at work: {}. What they write from now on is not in the file: stop them and export again.",
            exported.others
        ));
    }
    Ok(())
}

async fn import(app: &App, file: PathBuf, json: bool) -> Result<(), Fault> {
    let imported = app.state.import(&file).await?;
    if json {
        print(
            &json!({ "file": file, "rows": imported.rows, "imported_before": imported.before.map(written) })
                .to_string(),
        );
        return Ok(());
    }
    match imported.before {
        Some(at) => print(&format!("This file was imported {}; nothing was written.", written(at))),
        None => print(&format!("Imported: {}. Run `{}` next.", told(&imported.rows), app.config.command("doctor"))),
    }
    Ok(())
}
