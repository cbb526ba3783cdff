//! `download_backup`: a set as a plain `.rdb` file, only under directories the operator allowed.

use crate::config::blocking::blocking;
use crate::config::home::private_dir;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::check_backup_id;
use crate::model::text::quoted;
use crate::model::time::written;
use crate::tools::ToolCall;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Arguments of `download_backup`.
#[derive(Debug, Serialize, Deserialize, JsonSchema, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The instance
    #[arg(long)]
    pub instance_id: String,
    /// From describe_backups
    #[arg(long)]
    pub backup_id: String,
    /// Absolute, or relative to the downloads directory
    #[serde(default)]
    #[arg(long)]
    pub directory: Option<String>,
    /// Default: the backup_id with .rdb
    #[serde(default)]
    #[arg(long)]
    pub file_name: Option<String>,
    /// Tair: return its signed URL (a secret) instead of a file
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
    /// The signed URL; whoever has it can read the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Until when the URL works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Writes a set to a file.
///
/// # Errors
/// `download.outside_roots`, `download.bad_name`, `download.exists`, `backup.damaged`, `backup.not_found`.
pub async fn run(call: &ToolCall<'_>, args: Args) -> Result<Download, Fault> {
    call.app.known(&args.instance_id).await?;
    check_backup_id(&args.backup_id)?;
    let set = call.app.provider.backup(&args.instance_id, &args.backup_id).await?;
    if args.url_only {
        let signed = call.app.provider.download_url(&set).await?;
        return Ok(Download {
            bytes: set.rdb_bytes,
            url: Some(signed.url.expose().to_owned()),
            expires_at: signed.expires_at.map(written),
            ..Download::default()
        });
    }
    let name = args.file_name.unwrap_or_else(|| format!("{}.rdb", set.id));
    let (own, roots) = (call.app.config.home.downloads(), call.app.config.download_roots.clone());
    let directory = args.directory.unwrap_or_default();
    // The directory may be on a network disk, which may answer late, or never.
    let to = blocking(move || place(own, roots, Path::new(&directory), &name)).await?;
    let done = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&done);
    let on_bytes = move |n: u64, _: u64| counted.store(n, Ordering::Relaxed);
    let work = call.app.provider.download(&set, &to, &on_bytes);
    tokio::pin!(work);
    let downloaded = loop {
        tokio::select! {
            result = &mut work => break result?,
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                call.progress.report(done.load(Ordering::Relaxed), set.rdb_bytes, "downloading").await;
            }
        }
    };
    Ok(Download {
        path: Some(to.display().to_string()),
        bytes: downloaded.bytes,
        sha256: Some(downloaded.sha256),
        rdb_version: Some(downloaded.rdb_version),
        already_there: downloaded.already_there,
        listed_bytes: downloaded.listed_bytes,
        ..Download::default()
    })
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
