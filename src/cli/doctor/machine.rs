//! The checks of this machine: home, vault, state, key, configuration, sandbox, jobs, and plans that wait for approval.

use super::{Findings, Status};
use crate::config::advice::Advice;
use crate::config::denied::{run_as, user};
use crate::config::guard::ConfirmationPolicy;
use crate::config::home::{SIGNING_KEY, file_fault, private_dir};
use crate::config::vault::VaultPlace;
use crate::model::fault::Fault;
use crate::model::job::JobStatus;
use crate::model::text::bytes;
use crate::model::time::written;
use crate::model::vault_check::{Deletion, SignatureState};
use crate::provider::local::Local;
use crate::provider::local::sandbox::find_server;
use crate::provider::local::vault;
use crate::tools::App;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

/// Free bytes below which the doctor warns, before the first backup fails for lack of room.
const LITTLE_SPACE: u64 = 1 << 30;

/// Checks this machine.
pub async fn check(app: &App) -> Findings {
    let mut findings = Findings::of("");
    home(app, &mut findings).await;
    vault(app, &mut findings).await;
    encryption(app, &mut findings).await;
    signatures(app, &mut findings).await;
    match app.state.waiting().await {
        Ok(_) => findings.pass("state store", opened(app)),
        Err(fault) => findings.fail("state store", &fault),
    }
    key(app, &mut findings).await;
    configuration(app, &mut findings);
    server(app, &mut findings).await;
    jobs(app, &mut findings).await;
    waiting(app, &mut findings).await;
    findings
}

/// That the state store opens, and where it is if not under the home.
fn opened(app: &App) -> String {
    match &app.config.state {
        None => "opens".into(),
        Some(url) => format!("opens: PostgreSQL at {}", url.place),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0, |m| m.permissions().mode() & 0o777)
}

/// The owner of a directory, where that is not this user; root may look into it all the same.
fn another_owner(dir: &Path) -> Option<String> {
    let owner = std::fs::metadata(dir).ok()?.uid();
    (owner != rustix::process::geteuid().as_raw()).then(|| user(owner))
}

async fn home(app: &App, findings: &mut Findings) {
    const NAME: &str = "home directory";
    let dir = app.config.home.dir();
    // A directory that is there is not made, whosever it is.
    let listed = private_dir(dir).and_then(|()| std::fs::read_dir(dir).map_err(|e| file_fault("read", dir, e)));
    if let Err(fault) = listed {
        return findings.fail(NAME, &fault);
    }
    let mode = mode(dir);
    let shown = dir.display();
    if mode & 0o077 != 0 {
        // The home holds backups, and the key that signs confirmations.
        let status = if mode & 0o022 != 0 { Status::Fail } else { Status::Warn };
        let detail = format!("{shown} can be entered by others (mode {mode:o})");
        findings.add(status, NAME, detail, format!("chmod 700 {shown}"));
    } else if let Some(owner) = another_owner(dir) {
        let detail = format!("{shown} is owned by {owner}, who could not read what is put there now");
        findings.warn(NAME, detail, format!("Run this as {owner}: {}", run_as(&owner)));
    } else {
        findings.pass(NAME, format!("{shown}, for its owner alone"));
    }
    match free(dir).await {
        None => findings.pass("free space", "not known: df says nothing here"),
        Some(free) if free < LITTLE_SPACE => {
            let next = "Free space on that disk, or use another with --home.";
            findings.warn("free space", format!("{} for backups", bytes(free)), next);
        }
        Some(free) => findings.pass("free space", format!("{} for backups", bytes(free))),
    }
}

/// Where the vault is, where that is not the home; of a bucket what it obeys, by trying.
async fn vault(app: &App, findings: &mut Findings) {
    const NAME: &str = "vault";
    if let VaultPlace::Directory(_) = &app.config.vault
        && let Err(fault) = vault::of(&app.config, &app.state).reach().await
    {
        return findings.fail(NAME, &fault);
    }
    let place = match &app.config.vault {
        VaultPlace::Directory(dir) if *dir == app.config.home.vault() => return,
        VaultPlace::Directory(dir) => {
            let shown = dir.display();
            return match vault::of(&app.config, &app.state).free().await {
                Err(fault) => findings.fail(NAME, &fault),
                Ok(Some(free)) if free < LITTLE_SPACE => {
                    findings.warn(NAME, format!("in {shown}: {} free", bytes(free)), "Free space on that disk.");
                }
                Ok(free) => findings.pass(NAME, format!("in {shown}: {} free", bytes(free.unwrap_or_default()))),
            };
        }
        VaultPlace::Bucket(place) => place,
    };
    if app.config.read_only {
        return match vault::of(&app.config, &app.state).reach().await {
            Err(fault) => findings.fail(NAME, &fault),
            Ok(()) => findings
                .pass(NAME, format!("{place}: can be listed; nothing is put there to try it, for this is read-only")),
        };
    }
    let probe = match vault::of(&app.config, &app.state).probe().await {
        Ok(probe) => probe,
        Err(fault) => return findings.fail(NAME, &fault),
    };
    let broken = probe.broken();
    if broken.is_empty() {
        let once = if probe.first_counts {
            "it keeps versions and takes a second object of a name, although it is asked not to: the first counts here"
        } else {
            "a name is given once"
        };
        findings.pass(NAME, format!("{place}: {once}, and what was put is listed and read in ranges"));
        vault_lock(app, probe.deletion, findings).await;
    } else {
        let next = "No set is safe there. Use a bucket that does: docs/vault.md has what a store must obey.";
        findings.add(Status::Fail, NAME, format!("{place}: {}", broken.join("; ")), next);
    }
}

/// Whether what is encrypted in the vault can be decrypted.
async fn encryption(app: &App, findings: &mut Findings) {
    const NAME: &str = "encryption";
    if app.config.encryption.is_none() {
        return;
    }
    match vault::of(&app.config, &app.state).try_key().await {
        Err(fault) => findings.fail(NAME, &fault),
        Ok(()) => findings
            .pass(NAME, "what is written to the vault is encrypted, and no key is missing: the newest sets open"),
    }
}

/// Whether what is put into the bucket can be deleted, and whether its lock fits what policies keep.
async fn vault_lock(app: &App, deletion: Deletion, findings: &mut Findings) {
    const NAME: &str = "vault lock";
    let lock = match deletion {
        Deletion::Done => {
            return findings.pass(
                NAME,
                "none: these credentials can delete what was put (docs/vault.md says what locks and keys can do)",
            );
        }
        Deletion::Refused => {
            return findings.pass(NAME, "what was put is not deleted: by a lock whose end is not told, or for want of the right; what expires stays");
        }
        Deletion::DoneInSpiteOfALock => {
            let next =
                "Do not rely on that lock: it is one that these credentials pass over, or the store does not keep it.";
            return findings.warn(
                NAME,
                "the bucket says that it locks what was put, and deleted it all the same",
                next,
            );
        }
        Deletion::LockedFor(lock) => lock,
    };
    // A lock ends at a second, and what was put is dated by one: to the nearest hour, so that a day is not longer than a day.
    let hours = u32::try_from(lock.as_secs().saturating_add(1800) / 3600).unwrap_or_default();
    let told = match hours / 24 {
        0 => format!("what was put cannot be deleted for {}", counted(hours, "hour")),
        days => format!("what was put cannot be deleted for {}", counted(days, "day")),
    };
    let mut kept = Vec::new();
    for id in app.config.instance_ids() {
        // An error is a finding of the instance.
        if let Ok(policy) = app.provider.backup_policy(&id).await
            && policy.has_calendar()
        {
            kept.push((policy.backup_retention_period, id));
        }
    }
    kept.sort();
    let (Some((least, shortest)), Some((most, longest))) = (kept.first(), kept.last()) else {
        return findings.pass(NAME, told);
    };
    if hours > least * 24 {
        let policy = counted(*least, "day");
        let detail =
            format!("{told}; the policy of {shortest} keeps sets for {policy}: they stay until the lock is over");
        findings.warn(NAME, detail, "Keep sets as long as the lock does, or shorten the bucket's default retention.");
    } else if hours < most * 24 {
        let policy = counted(*most, "day");
        findings
            .pass(NAME, format!("{told}; the policy of {longest} keeps sets for {policy}, behind the lock by itself"));
    } else {
        findings.pass(NAME, format!("{told}, as long as policies keep sets"));
    }
}

fn counted(n: u32, what: &str) -> String {
    count(usize::try_from(n).unwrap_or_default(), what)
}

/// Who signs the sets of the vault, how many are not signed, and whether what lies there is what was put.
async fn signatures(app: &App, findings: &mut Findings) {
    const NAME: &str = "signatures";
    let key = app.config.home.dir().join(SIGNING_KEY);
    if key.exists() && mode(&key) & 0o077 != 0 {
        let detail = format!("{} can be read by others, who could then sign sets", key.display());
        return findings.add(Status::Fail, NAME, detail, format!("chmod 600 {}", key.display()));
    }
    let check = match Local::new(&app.config, Arc::clone(&app.state)).check_vault(None, false).await {
        Ok(check) => check,
        Err(fault) => return findings.fail(NAME, &fault),
    };
    let signed =
        check.key_id.as_deref().map_or("nothing was signed here yet".to_owned(), |key| format!("signed by key {key}"));
    let unsigned = check.sets.iter().filter(|set| set.signature == SignatureState::Unsigned).count();
    let detail = format!("{signed}, {unsigned} of {} unsigned", count(check.sets.len(), "set"));
    let wrong = check.wrong();
    if wrong > 0 {
        let detail = format!("{detail}; {wrong} damaged or changed from outside");
        return findings.add(Status::Fail, NAME, detail, app.config.command("vault verify"));
    }
    if unsigned > 0 && app.config.guard.require_signed {
        let next = "They are not restored while require_signed is on; new backups are signed.";
        return findings.warn(NAME, detail, next);
    }
    findings.pass(NAME, detail);
}

/// Free bytes, from POSIX's `df`: the standard library cannot tell.
pub(super) async fn free(dir: &Path) -> Option<u64> {
    let mut df = tokio::process::Command::new("df");
    df.arg("-Pk").arg(dir).stdin(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C");
    let output = df.output().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kilobytes: u64 = text.lines().nth(1)?.split_ascii_whitespace().nth(3)?.parse().ok()?;
    Some(kilobytes.saturating_mul(1024))
}

async fn key(app: &App, findings: &mut Findings) {
    const NAME: &str = "guard key";
    if let Err(fault) = app.state.key().await {
        return findings.fail(NAME, &fault);
    }
    if app.state.is_shared() {
        return findings.pass(NAME, "in the state store, one for all processes that share it");
    }
    let path = app.config.home.dir().join("guard.key");
    if mode(&path) & 0o077 != 0 {
        let detail = format!("{} can be read by others, who could then sign confirmations", path.display());
        let next = format!("rm {0} (a new key is made; plans from before are void)", path.display());
        return findings.add(Status::Fail, NAME, detail, next);
    }
    findings.pass(NAME, "there, for its owner alone");
}

fn configuration(app: &App, findings: &mut Findings) {
    const NAME: &str = "configuration";
    let ids = app.config.instance_ids();
    match &app.config.file {
        None if app.config.sandbox => findings.pass(NAME, "no file: the sandbox is the only instance"),
        None => findings.pass(NAME, format!("no file: {} by url ({})", count(ids.len(), "instance"), ids.join(", "))),
        Some(file) if ids.is_empty() => findings.pass(NAME, format!("{} is read", file.display())),
        Some(file) => {
            findings.pass(NAME, format!("{}: {} ({})", file.display(), count(ids.len(), "instance"), ids.join(", ")));
        }
    }
    for Advice { found, next } in app.config.advice() {
        findings.warn(NAME, found, next);
    }
    match app.config.guard.confirmation {
        ConfirmationPolicy::Person => findings.pass("guard", "a person says yes to each restore"),
        ConfirmationPolicy::Token => findings.warn(
            "guard",
            "confirmation = \"token\": an agent restores without a person's yes",
            "Take that line out of [guard] unless nobody minds losing this data.",
        ),
    }
}

async fn server(app: &App, findings: &mut Findings) {
    const NAME: &str = "sandbox server";
    match find_server() {
        Err(fault) if app.config.sandbox => findings.fail(NAME, &fault),
        Err(_) => findings.pass(NAME, "none in PATH; only the demo needs one"),
        Ok(program) => {
            let version = tokio::process::Command::new(&program).arg("--version").stdin(Stdio::null()).output().await;
            match version {
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    let version = text.split_ascii_whitespace().find_map(|w| w.strip_prefix("v=")).unwrap_or("?");
                    findings.pass(NAME, format!("{}, version {version}", program.display()));
                }
                Err(e) => {
                    let status = if app.config.sandbox { Status::Fail } else { Status::Warn };
                    let next = "Install redis-server or valkey-server.";
                    findings.add(status, NAME, format!("{} does not run: {e}", program.display()), next);
                }
            }
        }
    }
}

/// Every command reconciles the jobs of dead processes; a job that cannot be reconciled is a finding.
async fn jobs(app: &App, findings: &mut Findings) {
    const NAME: &str = "jobs";
    let recovered: Result<Vec<_>, Fault> = match app.provider.recover().await {
        Ok(()) => app.state.jobs(None).await,
        Err(fault) => Err(fault),
    };
    let jobs = match recovered {
        Ok(jobs) => jobs,
        Err(fault) => return findings.fail(NAME, &fault),
    };
    let mut running = 0;
    for job in &jobs {
        if job.needs_reconciliation() {
            let detail =
                format!("{} {} of {} is not reconciled: {}", job.kind.as_str(), job.id, job.instance_id, job.stage);
            let next = "Make the instance reachable again; the next command reconciles the job and says what its target holds.";
            findings.add(Status::Fail, NAME, detail, next);
        } else if job.status == JobStatus::Running {
            running += 1;
        }
    }
    findings
        .pass(NAME, if running == 0 { "none running".into() } else { format!("{} running", count(running, "job")) });
}

async fn waiting(app: &App, findings: &mut Findings) {
    const NAME: &str = "approvals";
    // An error is a finding of the state store already.
    let open = app.state.waiting().await.unwrap_or_default();
    if open.is_empty() {
        return findings.pass(NAME, "none waiting");
    }
    for open in open {
        let detail = format!(
            "{} waits for a person until {}",
            open.plan.act.on(&open.plan.instance_id),
            written(open.expires_at)
        );
        findings.warn(NAME, detail, app.config.command("approve"));
    }
}

/// A count with its noun: `1 instance`, `2 instances`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
