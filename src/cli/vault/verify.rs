//! `vault verify`: what of the vault is damaged, or was changed by somebody else than this program. It reads, and deletes nothing.

use crate::cli::print;
use crate::cli::render::screen::{Screen, Tone};
use crate::cli::render::tables::Column;
use crate::model::fault::{Fault, Kind};
use crate::model::vault_check::{CheckedLog, CheckedSet, VaultCheck};
use crate::provider::local::{Local, vault};
use crate::tools::App;
use serde_json::{Value, json};
use std::sync::Arc;

/// Arguments of `vault verify`.
#[derive(clap::Args)]
#[command(after_help = MEANING)]
pub struct Args {
    /// Only this instance
    #[arg(long)]
    instance_id: Option<String>,
    /// Read every byte of every set and of the log; without it of a set its manifest, its signature and the size of its data, of the log whether its end is there
    #[arg(long)]
    deep: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const MEANING: &str = "SIGNATURE  good: of this home's key or one in trusted_keys · unsigned: from before manifests were signed ·
           bad: the manifest was edited · untrusted: of a key that is not in trusted_keys
RECORD     same: the manifest that this home has put · differs: another lies in its place · removed: the set is gone,
           and not by this home · unknown: this home has not put it (from before, another home's, or brought here)
Of logs this home remembers how far each timeline was on the vault: what was removed of its end is named, up to when it
was known and where it ends now.

Without this program: minisign -Vm manifest.json -p tair-backup.pub says who wrote a manifest, zstd -d data.rdb.zst gives
the RDB, and sha256sum of that is `rdb.sha256` in the manifest. docs/vault.md has every step.

Examples:
  tair-backup-mcp vault verify                              the whole vault, by what is quickly read
  tair-backup-mcp vault verify --deep --instance-id orders  every byte of one instance's sets and log
  tair-backup-mcp vault verify --json                       for a program; cron acts on the exit code
Exit codes: 0 nothing is wrong, 1 the vault cannot be read or decrypted, 6 something is damaged or was changed from outside.";

/// Runs the subcommand.
///
/// # Errors
/// `vault.failed`, `state.failed`, `vault.key`, `log.failed`, `instance.not_found`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let local = Local::new(&app.config, Arc::clone(&app.state));
    let check = local.check_vault(args.instance_id.as_deref(), args.deep).await?;
    let key = vault::of(&app.config, &app.state).try_key().await;
    if args.json {
        print(&json(&check).to_string());
    } else {
        show(&check);
    }
    if check.wrong() == 0 {
        return key.map(|()| 0);
    }
    if let Err(fault) = key {
        tracing::error!("{fault}");
    }
    Ok(Kind::Damaged.exit_code())
}

fn show(check: &VaultCheck) {
    let screen = Screen::stdout();
    let tell = |tone, line: &str| print(&screen.paint(tone, &screen.prose(line)));
    let rows = check.sets.iter().map(|set| {
        let state = if set.wrong.is_empty() { "ok" } else { "WRONG" };
        [state, &set.instance_id, &set.backup_id, set.signature.as_str(), set.record.as_str()].map(str::to_owned)
    });
    if !check.sets.is_empty() {
        let [instance, id, signature, record] = ["INSTANCE", "SET", "SIGNATURE", "RECORD"].map(Column::new);
        print(&screen.table([Column::status(""), instance, id, signature, record], rows));
        print("");
    }
    let of_sets = check.sets.iter().map(|set| (format!("{} {}", set.instance_id, set.backup_id), &set.wrong));
    let of_logs = check.logs.iter().map(|log| (format!("{} log", log.instance_id), &log.wrong));
    let of_keys = std::iter::once(("keys".to_owned(), &check.keys));
    for (what, wrong) in of_sets.chain(of_logs).chain(of_keys) {
        wrong.iter().for_each(|wrong| tell(Tone::Bad, &format!("WRONG {what}: {wrong}")));
    }
    for set in &check.sets {
        let whose = format!("{} {}", set.instance_id, set.backup_id);
        set.notes.iter().for_each(|note| tell(Tone::Plain, &format!("note  {whose}: {note}")));
    }
    check.notes.iter().for_each(|note| tell(Tone::Plain, &format!("note  {note}")));
    for CheckedLog { instance_id, segments, .. } in check.logs.iter().filter(|log| log.segments > 0) {
        print(&format!("log   {instance_id}: {segments} segments read"));
    }
    let key = check
        .key_id
        .as_deref()
        .map_or("nothing was signed by this home yet".into(), |key| format!("this home signs with key {key}"));
    let said = match check.wrong() {
        0 => "nothing is wrong".to_owned(),
        n => format!("{n} WRONG; nothing was deleted or changed. Choose other sets, and look at who can write there"),
    };
    let tone = if check.wrong() == 0 { Tone::Plain } else { Tone::Bad };
    tell(tone, &format!("{}: {} sets, {key}; {said}.", check.place, check.sets.len()));
}

fn json(check: &VaultCheck) -> Value {
    let set = |set: &CheckedSet| {
        json!({
            "instance_id": set.instance_id,
            "backup_id": set.backup_id,
            "signature": set.signature.as_str(),
            "key_id": set.key_id,
            "record": set.record.as_str(),
            "wrong": set.wrong,
            "notes": set.notes,
        })
    };
    let log =
        |log: &CheckedLog| json!({ "instance_id": log.instance_id, "segments": log.segments, "wrong": log.wrong });
    json!({
        "vault": check.place,
        "key_id": check.key_id,
        "sets": check.sets.iter().map(set).collect::<Vec<_>>(),
        "logs": check.logs.iter().map(log).collect::<Vec<_>>(),
        "keys": check.keys,
        "notes": check.notes,
        "wrong": check.wrong(),
    })
}
