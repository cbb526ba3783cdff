//! `download_backup`: a set as a plain `.rdb` file, or a moment of a log as files that a bare server loads; only under directories the
//! operator allowed.

use crate::archive::CutAt;
use crate::archive::export::AofForm;
use crate::config::blocking::blocking;
use crate::config::home::private_dir;
use crate::guard::assess::{instead_of_moment, no_moment};
use crate::guard::ledger::AuditRecord;
use crate::model::caller::Face;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::instance::Capability;
use crate::model::job::JobKind;
use crate::model::text::{bytes, clean_to, quoted};
use crate::model::time::{Reading, read, written, written_ms, written_short};
use crate::provider::{ExportAt, ExportOf, Exported};
use crate::tools::ToolCall;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest detail in the log of what the audit lacks, in characters.
const DETAIL_LOGGED: usize = 400;

/// Arguments of `download_backup`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// From describe_backups; or give restore_time
    #[serde(default)]
    #[arg(long)]
    pub backup_id: Option<String>,
    /// With data flashback: what it held then, UTC, as an append-only file
    #[serde(default)]
    #[arg(long)]
    pub restore_time: Option<String>,
    /// Or: right before this position
    #[serde(default)]
    #[arg(long)]
    pub before_position: Option<String>,
    /// With either: and at every second since then
    #[serde(default)]
    #[arg(long)]
    pub start_time: Option<String>,
    /// Absolute, or relative to the downloads directory
    #[serde(default)]
    #[arg(long)]
    pub directory: Option<String>,
    /// Default: backup_id.rdb; of a moment, a directory
    #[serde(default)]
    #[arg(long)]
    pub file_name: Option<String>,
    /// Tair: its signed URL (a secret) instead of a file
    #[serde(default)]
    #[arg(long)]
    pub url_only: bool,
}

/// Reply of `download_backup`.
#[derive(Debug, Serialize, JsonSchema, Default)]
pub struct Download {
    /// Path of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Size that the cloud lists for the file, where it is another; the file's own checksum holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_bytes: Option<u64>,
    /// SHA-256 of the file, lower-case hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// RDB format version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdb_version: Option<u16>,
    /// Whether the file existed already, equal to the byte.
    pub already_there: bool,
    /// Of a moment: when the last command in it had been received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
    /// Of a moment: how a server without this program loads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how_to_load: Option<String>,
    /// The signed URL; whoever has it can read the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Until when the URL works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// That the audit has it not, or not its end, and why. In no schema: what is not in the audit only the command line gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub warning: Option<String>,
}

/// Writes a set to a file, or a moment to a directory.
///
/// # Errors
/// `arguments.invalid`, `download.outside_roots`, `download.bad_name`, `download.exists`, `download.no_log`, `download.no_moment`,
/// `backup.damaged`, `backup.not_found`; `state.failed` and its like where the audit cannot be written, but for the command line.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Download, Fault> {
    call.app.known(&args.instance_id).await?;
    match wanted(&args)? {
        Wanted::Set(backup_id) => download(call, &args, backup_id).await,
        Wanted::Log(of) => export(call, &args, of).await,
    }
}

/// What is to be written.
enum Wanted<'a> {
    Set(&'a str),
    Log(ExportOf),
}

fn wanted(args: &Args) -> Result<Wanted<'_>, Fault> {
    let invalid = |message: &str, hint: &str| Err(Fault::new(Kind::Usage, "arguments.invalid", message).hint(hint));
    let now = Timestamp::now();
    let since = args.start_time.as_ref().map(|at| read("start_time", at, Reading::From, now)).transpose()?;
    let at = match (&args.backup_id, &args.restore_time, &args.before_position) {
        (Some(backup_id), None, None) if since.is_none() => {
            check_backup_id(backup_id)?;
            return Ok(Wanted::Set(backup_id));
        }
        (None, Some(at), None) => ExportAt::Log(CutAt::Moment(read("restore_time", at, Reading::Moment, now)?)),
        (None, None, Some(position)) if JobKind::Restore.is_of(position) => ExportAt::Cutover(position.clone()),
        (None, None, Some(position)) => ExportAt::Log(CutAt::Before(position.parse()?)),
        _ => {
            return invalid(
                "one of backup_id, restore_time and before_position is to be given, and start_time with the last two",
                "Give backup_id for a set, or restore_time for what the instance held at a moment.",
            );
        }
    };
    if args.url_only {
        return invalid("url_only goes with backup_id", "Leave it out: a moment is written to files.");
    }
    match (&at, since) {
        (ExportAt::Log(CutAt::Moment(at)), Some(since)) if since > *at => {
            invalid("start_time is later than restore_time", "Give the earlier of the two as start_time.")
        }
        (ExportAt::Cutover(_), Some(_)) => invalid(
            "start_time does not go with a restore's cutover",
            "Leave it out: what a restore kept has no times.",
        ),
        _ => Ok(Wanted::Log(ExportOf { at, since })),
    }
}

async fn download(call: &ToolCall<'_>, args: &Args, backup_id: &str) -> Result<Download, Fault> {
    let set = call.app.provider.backup(&args.instance_id, backup_id).await?;
    if args.url_only {
        let signed = call.app.provider.download_url(&set).await?;
        let until = signed.expires_at.map_or_else(String::new, |at| format!(", good until {}", written(at)));
        // Whoever has it can read the set: that it was given is written down before it is.
        let warning = record(call, &args.instance_id, "backup.url_given", format!("backup {}{until}", set.id)).await?;
        return Ok(Download {
            warning,
            bytes: set.rdb_bytes,
            url: Some(signed.url.expose().to_owned()),
            expires_at: signed.expires_at.map(written),
            ..Download::default()
        });
    }
    let to = destination(call, args, format!("{}.rdb", set.id)).await?;
    let provider = &call.app.provider;
    let (far, on_bytes) = counter();
    let work = async {
        let done = reported(call, &far, provider.download(&set, &to, &on_bytes)).await?;
        let came_to = format!("{}, sha256 {}", bytes(done.bytes), done.sha256);
        Ok((done, came_to))
    };
    let (downloaded, warning) = audited(call, args, (&format!("backup {}", set.id), &to), work).await?;
    Ok(Download {
        warning,
        path: Some(to.display().to_string()),
        bytes: downloaded.bytes,
        sha256: Some(downloaded.sha256),
        rdb_version: Some(downloaded.rdb_version),
        already_there: downloaded.already_there,
        listed_bytes: downloaded.listed_bytes,
        ..Download::default()
    })
}

async fn export(call: &ToolCall<'_>, args: &Args, of: ExportOf) -> Result<Download, Fault> {
    let (id, provider) = (&args.instance_id, &call.app.provider);
    if matches!(of.at, ExportAt::Log(_)) {
        let needed = [Capability::DownloadMoment];
        provider.capabilities(id, &needed).await?.need(&needed)?;
    }
    let compact = |at: Timestamp| written_short(at).replace([':', '-'], "");
    let at = match &of.at {
        ExportAt::Log(CutAt::Moment(at)) => compact(*at),
        ExportAt::Log(CutAt::Before(position)) => format!("before-{}-{}", position.timeline, position.offset),
        ExportAt::Cutover(job_id) => format!("before-{job_id}"),
    };
    let since = of.since.map_or(String::new(), |since| format!("{}-", compact(since)));
    let what = format!("{id}-{since}{at}");
    let to = destination(call, args, what.clone()).await?;
    let (far, on_bytes) = counter();
    let work = async {
        let found = reported(call, &far, provider.export(id, of, &to, &on_bytes)).await?;
        let done = found.map_err(|none| {
            Fault::new(Kind::NotFound, "download.no_moment", no_moment(&none))
                .hint(instead_of_moment(&none, "download_backup"))
        })?;
        let came_to = format!("{}, as of {}", bytes(done.bytes), written_ms(done.moment));
        Ok((done, came_to))
    };
    let (exported, warning) = audited(call, args, (&what, &to), work).await?;
    Ok(Download {
        warning,
        path: Some(to.display().to_string()),
        bytes: exported.bytes,
        rdb_version: Some(exported.base.rdb_version),
        already_there: exported.already_there,
        moment: Some(written_ms(exported.moment)),
        how_to_load: Some(how_to_load(&to, &exported)),
        ..Download::default()
    })
}

/// Writes an event of a download into the audit. Where that cannot be done the log has the event, and an agent gets nothing: nobody would find out
/// what it took. The command line goes on, and this is what its reply says of that. Whoever types there may read the vault itself, so refusing
/// would keep nothing from them but the file that they need on the night when the disk is full.
async fn record(call: &ToolCall<'_>, instance_id: &str, event: &str, detail: String) -> Result<Option<String>, Fault> {
    let told = clean_to(&detail, DETAIL_LOGGED);
    let record = AuditRecord::now(event, call.caller.id(), instance_id, detail);
    let Err(fault) = call.app.state.record(record).await else { return Ok(None) };
    tracing::error!(instance = %instance_id, caller = %call.caller, detail = %told, cause = fault.cause(), "{event} is not in the audit: {fault}");
    match call.caller.face() {
        Face::CommandLine => Ok(Some(format!("not in the audit, and in the log alone: {}", fault.message))),
        Face::Mcp | Face::Emulator => {
            let command = call.app.config.command("download-backup");
            let hint = format!(
                "{} What is not in the audit is not given to an agent. A person gets it at a terminal: {command}, with the same arguments.",
                fault.hint
            );
            Err(fault.hint(hint))
        }
    }
}

/// Does the work of a download between its two lines in the audit: what leaves, and to where, is written down before any of it does, and what
/// it came to behind. One whose call ends before its end has the first line alone. Beside it is what is said of lines that the audit lacks.
async fn audited<T>(
    call: &ToolCall<'_>,
    args: &Args,
    (what, to): (&str, &Path),
    work: impl Future<Output = Result<(T, String), Fault>>,
) -> Result<(T, Option<String>), Fault> {
    let what = format!("{what} to {}", to.display());
    let began = record(call, &args.instance_id, "backup.downloading", what.clone()).await?;
    let (event, end, done) = match work.await {
        Ok((done, came_to)) => ("backup.downloaded", came_to, Ok(done)),
        Err(fault) => ("backup.not_downloaded", format!("{}: {}", fault.code, fault.message), Err(fault)),
    };
    // It has left by now: a store that is away must not turn that into a failure.
    let ended = record(call, &args.instance_id, event, format!("{what}: {end}")).await.ok().flatten();
    done.map(|done| (done, began.or(ended)))
}

/// What a person needs who has the files and not this program.
fn how_to_load(to: &Path, exported: &Exported) -> String {
    let Exported { base, form, .. } = exported;
    let engine = if base.engine == "valkey" { "valkey" } else { "redis" };
    let load = [&format!("{engine}-server"), "--dir", &shell_quoted(to), "--appendonly", "yes"].join(" ");
    let load =
        format!("{load} (version {} or later); it goes on writing there, so load a copy to keep this", base.version);
    match form {
        AofForm::Directory if exported.has_times => {
            let commands = shell_quoted(&to.join(form.commands()));
            let cut = [&format!("{engine}-check-aof"), "--truncate-to-timestamp", "SECONDS_SINCE_1970", &commands];
            format!("{load}. For an earlier second, before that: {}", cut.join(" "))
        }
        _ => load,
    }
}

/// A path as one word of a shell.
fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Where the download goes.
async fn destination(call: &ToolCall<'_>, args: &Args, default_name: String) -> Result<PathBuf, Fault> {
    let name = args.file_name.clone().unwrap_or(default_name);
    let (own, roots) = (call.app.config.home.downloads(), call.app.config.download_roots.clone());
    let directory = args.directory.clone().unwrap_or_default();
    // The directory may be on a network disk, which may answer late, or never.
    let placed = blocking(move || place(own, roots, Path::new(&directory), &name)).await;
    if let Err(fault) = placed.as_ref()
        && fault.kind == Kind::Refused
    {
        // Refused it is, whether the audit has that or the log alone.
        let refused = format!("download_backup: {}: {}", fault.code, fault.message);
        let _ = record(call, &args.instance_id, "refused", refused).await;
    }
    placed
}

/// Bytes that are done, and in all.
type Far = Arc<[AtomicU64; 2]>;

/// How far a download is, and what counts it.
fn counter() -> (Far, impl Fn(u64, u64) + Send + Sync) {
    let far = Far::default();
    let counted = Arc::clone(&far);
    (far, move |done, total| {
        let [so_far, in_all] = &*counted;
        so_far.store(done, Ordering::Relaxed);
        in_all.store(total, Ordering::Relaxed);
    })
}

/// Awaits a download, and reports how far it is.
async fn reported<T>(call: &ToolCall<'_>, far: &Far, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let [done, total] = &**far;
    loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                call.progress.report(done.load(Ordering::Relaxed), total.load(Ordering::Relaxed), "downloading").await;
            }
        }
    }
}

/// The path that a download may be written to: under our own root or the operator's, without `..`, and through no link that
/// leads out. Blocking.
fn place(own: PathBuf, others: Vec<PathBuf>, directory: &Path, name: &str) -> Result<PathBuf, Fault> {
    let plain = Path::new(name).components().eq([Component::Normal(name.as_ref())]);
    if !plain || name.starts_with('.') || name.len() > 200 || name.chars().any(char::is_control) {
        return Err(Fault::new(Kind::Usage, "download.bad_name", format!("{} is not a plain file name", quoted(name)))
            .hint("Give a name without directories, not starting with a dot, like orders.rdb; put the directory into `directory`."));
    }
    let roots: Vec<PathBuf> = std::iter::once(own.clone()).chain(others.iter().cloned()).collect();
    let outside = |dir: &Path| {
        let list: Vec<String> = roots.iter().map(|r| r.display().to_string()).collect();
        Fault::new(
            Kind::Refused,
            "download.outside_roots",
            format!("{} is not under a directory that downloads may go to", quoted(&dir.display().to_string())),
        )
        .hint(format!("Allowed: {}. An operator adds others as download_roots in the configuration.", list.join(", ")))
    };
    let dir = own.join(directory);
    if directory.components().any(|c| c == Component::ParentDir) {
        return Err(outside(&dir));
    }
    private_dir(&own)?;
    if let Some(missing) = others.iter().find(|root| dir.starts_with(root) && !root.is_dir()) {
        let message = format!("the download root {} is no directory", missing.display());
        return Err(Fault::new(Kind::Usage, "download.no_root", message)
            .hint("Its operator makes it, or corrects download_roots in the configuration."));
    }
    // The deepest part that exists decides where the rest would be made; links in it are followed to their end.
    let existing = dir.ancestors().find(|a| a.symlink_metadata().is_ok()).ok_or_else(|| outside(&dir))?;
    let inside = |path: &Path| {
        let real = path.canonicalize().map_err(|_| outside(&dir))?;
        let ok = roots.iter().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root));
        if ok { Ok(real) } else { Err(outside(&dir)) }
    };
    inside(existing)?;
    private_dir(&dir)?;
    // Checked again: a directory just made may have been swapped for a link.
    Ok(inside(&dir)?.join(name))
}
