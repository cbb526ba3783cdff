//! The tail of a restore: the stream behind its last safety backup, followed up to the cutover, its bytes kept in a file.
//!
//! It must hold no more than a few pieces in memory, and must not let a full disk stop it from counting: what was not kept is
//! said. Files are kept as long as their safety backup.

use crate::config::blocking::blocking;
use crate::config::durable;
use crate::model::fault::{Fault, Kind};
use crate::model::restore::Cutover;
use crate::provider::local::Inner;
use crate::redis::error::RedisError;
use crate::redis::replica::tail::{Seen, Tail};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Most bytes of a stream that are kept on our disk.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Pieces on their way to the disk.
const IN_FLIGHT: usize = 16;

/// How far a tail is.
#[derive(Debug, Clone, Default)]
struct Progress {
    seen: Seen,
    /// Why nothing more comes; `None` while the stream is read.
    ended: Option<String>,
}

/// A tail that is followed by a task of its own. Dropping it ends the stream and leaves the file.
#[derive(Debug)]
pub(super) struct Follower {
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    writer: tokio::task::JoinHandle<std::io::Result<bool>>,
}

/// What a tail came to.
#[derive(Debug)]
pub(super) struct Kept {
    /// Whether every byte is in the file.
    pub(super) whole: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Follower {
    /// Follows a tail, and keeps its bytes in a file.
    pub(super) fn start(mut tail: Tail, path: PathBuf) -> Self {
        let (told, progress) = watch::channel(Progress { seen: tail.seen(), ended: None });
        let (pieces, to_write) = mpsc::channel(IN_FLIGHT);
        let writer = tokio::task::spawn_blocking(move || write(&path, to_write));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                let piece = tokio::select! {
                    () = stopped.cancelled() => break,
                    piece = tail.next() => piece,
                };
                match piece {
                    Ok(piece) => {
                        // A thread that is gone said why in its result; counting goes on.
                        let _ = pieces.send(piece).await;
                        told.send_modify(|p| p.seen = tail.seen());
                    }
                    Err(error) => {
                        told.send_modify(|p| p.ended = Some(error.to_string()));
                        break;
                    }
                }
            }
        });
        Self { progress, stop, task, writer }
    }

    /// What the tail holds once it has reached a position of its source, which goes no further.
    ///
    /// # Errors
    /// `restore.tail_lost` where the stream ended before that, or is too late.
    pub(super) async fn reach(&mut self, offset: u64, within: Duration) -> Result<Seen, Fault> {
        let there = self.progress.wait_for(|p| p.seen.offset >= offset || p.ended.is_some());
        let why = match tokio::time::timeout(within, there).await {
            Ok(Ok(p)) if p.seen.offset >= offset => return Ok(p.seen),
            Ok(Ok(p)) => p.ended.clone().unwrap_or_default(),
            Ok(Err(_)) => "its task ended".to_owned(),
            Err(_) => format!("it did not catch up within {} s", within.as_secs()),
        };
        let message = format!(
            "the stream behind the last safety backup broke off, so the last writes are in no backup: {why}; the target was not touched"
        );
        Err(Fault::new(Kind::Provider, "restore.tail_lost", message).hint(
            "Make a new plan; with many writes raise client-output-buffer-limit for replicas, or use write_fence.",
        ))
    }

    /// Ends the stream, and puts what is kept of it on the disk.
    pub(super) async fn finish(mut self) -> Kept {
        self.stop.cancel();
        let _ = (&mut self.task).await;
        match (&mut self.writer).await {
            Ok(Ok(whole)) => Kept { whole },
            Ok(Err(error)) => {
                tracing::warn!("the stream behind the last safety backup could not be kept: {error}");
                Kept { whole: false }
            }
            Err(_) => Kept { whole: false },
        }
    }
}

/// Writes what comes, up to the most that is kept; whether that was all.
fn write(path: &Path, mut pieces: mpsc::Receiver<Vec<u8>>) -> std::io::Result<bool> {
    let (mut file, mut bytes, mut whole) = (None, 0, true);
    while let Some(piece) = pieces.blocking_recv() {
        bytes += piece.len() as u64;
        whole = whole && bytes <= KEPT_BYTES_MAX;
        if !whole {
            continue;
        }
        let file = match &mut file {
            Some(file) => file,
            empty => empty.insert(std::fs::OpenOptions::new().write(true).create_new(true).open(path)?),
        };
        file.write_all(&piece)?;
    }
    if let Some(file) = file {
        file.sync_all()?;
    }
    Ok(whole)
}

impl Inner {
    /// Where the tail of a job is kept, without its ending.
    fn tail_place(&self, job_id: &str) -> PathBuf {
        self.state.home().join("tails").join(job_id)
    }

    /// Follows a tail for a job.
    pub(super) async fn follow_tail(&self, job_id: &str, tail: Tail) -> Result<Follower, Fault> {
        let path = self.tail_place(job_id).with_extension("resp");
        let dir = self.state.home().join("tails");
        blocking(move || crate::config::home::private_dir(&dir)).await?;
        Ok(Follower::start(tail, path))
    }

    /// Writes down what the cutover of a job came to, and where its tail lies; one that holds no write is removed.
    pub(super) async fn write_cutover(&self, job_id: &str, cutover: &mut Cutover, whole: bool) {
        let place = self.tail_place(job_id);
        let (json, resp) = (place.with_extension("json"), place.with_extension("resp"));
        let holds = cutover.writes_after > 0;
        if holds {
            cutover.tail = Some(resp.display().to_string());
            cutover.tail_whole = whole;
        }
        let text = serde_json::to_string(&*cutover).unwrap_or_default();
        let written = blocking(move || {
            if !holds {
                // There is none where nothing came at all.
                let _ = std::fs::remove_file(&resp);
            }
            durable::replace(&json, text.as_bytes()).map_err(|e| crate::config::home::file_fault("write", &json, e))
        });
        if let Err(fault) = written.await {
            tracing::warn!("what a restore's cutover came to could not be written down: {fault}");
        }
    }

    /// What the cutover of a job came to; `None` where it came to none, or nothing is known any more.
    pub(in crate::provider::local) async fn read_cutover(&self, job_id: &str) -> Option<Cutover> {
        let path = self.tail_place(job_id).with_extension("json");
        serde_json::from_slice(&tokio::fs::read(path).await.ok()?).ok()
    }

    /// Removes the tails whose safety backup is gone.
    pub(super) async fn sweep_tails(&self) {
        let Ok(mut entries) = tokio::fs::read_dir(self.state.home().join("tails")).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let path = entry.path();
            let job_id = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let Some(cutover) = self.read_cutover(&job_id).await else { continue };
            let found = self.vault.find(&cutover.instance_id, &cutover.safety_backup_id, self).await;
            if found.is_err_and(|fault| fault.kind == Kind::NotFound) {
                for ending in ["resp", "json"] {
                    let _ = tokio::fs::remove_file(path.with_extension(ending)).await;
                }
            }
        }
    }
}

/// Reads a tail up to a position that its source has passed; `None` where that cannot be done in time.
pub(super) async fn read_to(tail: &mut Tail, offset: u64, within: Duration) -> Result<Option<Seen>, RedisError> {
    let reading = async {
        while tail.seen().offset < offset {
            tail.next().await?;
        }
        Ok(tail.seen())
    };
    match tokio::time::timeout(within, reading).await {
        Ok(read) => read.map(Some),
        Err(_) => Ok(None),
    }
}
