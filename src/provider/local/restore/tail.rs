//! The tail of a restore: the stream behind its last safety backup, followed up to the cutover, its bytes kept in a file.
//!
//! It must hold no more than a few pieces in memory, and must not let a full disk stop it from counting: what was not kept is
//! said. Files are kept as long as their safety backup.

use crate::config::blocking::blocking;
use crate::config::durable;
use crate::model::fault::{Fault, Kind};
use crate::model::restore::Cutover;
use crate::provider::local::Inner;
use crate::provider::local::restore::tail_file::{KeptFile, Piece, write};
use crate::redis::error::RedisError;
use crate::redis::replica::scan::{End, Seen};
use crate::redis::replica::tail::Tail;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Pieces on their way to the disk. Each is what one read brought.
const IN_FLIGHT: usize = 16;

/// A tail that is followed by a task of its own until it is held. Dropping it ends the stream and leaves the file.
#[derive(Debug)]
pub(super) struct Follower {
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<Followed>>,
    held: Option<Followed>,
    /// How far the task has read.
    reached: watch::Receiver<Seen>,
    /// Why not all of it is kept, as part of a sentence.
    lost: watch::Receiver<Option<String>>,
    pieces: mpsc::Sender<Piece>,
    /// Bytes that were handed to the writer.
    handed: Arc<AtomicU64>,
    writer: tokio::task::JoinHandle<Result<(), String>>,
}

/// A tail, and how reading it went.
#[derive(Debug)]
struct Followed {
    tail: Tail,
    read: Result<(), RedisError>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Follower {
    /// Follows a tail, and keeps its bytes in a file, `most` of them.
    fn start(tail: Tail, path: PathBuf, most: u64) -> Self {
        let (pieces, to_write) = mpsc::channel(IN_FLIGHT);
        let (tell_lost, lost) = watch::channel(None);
        let writer = tokio::task::spawn_blocking(move || write(KeptFile::new(path, most), to_write, &tell_lost));
        let (_, reached) = watch::channel(tail.seen());
        let handed = Arc::default();
        let stop = CancellationToken::new();
        let mut follower = Self { stop, task: None, held: None, reached, lost, pieces, handed, writer };
        follower.follow(tail);
        follower
    }

    fn follow(&mut self, mut tail: Tail) {
        self.stop = CancellationToken::new();
        let (stopped, kept) = (self.stop.clone(), (self.pieces.clone(), Arc::clone(&self.handed)));
        let (told, reached) = watch::channel(tail.seen());
        self.reached = reached;
        self.task = Some(tokio::spawn(async move {
            let read = read(&mut tail, Some((&kept.0, kept.1.as_ref())), Some(&told), &stopped).await;
            Followed { tail, read }
        }));
    }

    /// Follows on behind the end that was reached, and keeps what comes but for what a restore of some keys sends itself, as far as the
    /// configuration lets it. Bytes kept up to that end; `None` where nothing can be read any more.
    pub(super) async fn go_on(&mut self) -> Option<u64> {
        let mut followed = self.held.take_if(|followed| followed.read.is_ok())?;
        let _ = self.pieces.send(Piece::Limit).await;
        followed.tail.go_on();
        self.follow(followed.tail);
        Some(self.handed.load(Ordering::Relaxed))
    }

    /// Waits until the task has read up to a position, or has ended; whether it has read that far in time.
    pub(super) async fn catches_up(&mut self, offset: u64, within: Duration) -> bool {
        let there = self.reached.wait_for(|seen| seen.offset >= offset);
        tokio::time::timeout(within, there).await.is_ok_and(|there| there.is_ok())
    }

    /// Waits until something that a client wrote cannot be kept any more, however the stream goes on: what had been read by then, and why it
    /// is not kept, as part of a sentence. For ever where the stream ends before. May be dropped and called again.
    pub(super) async fn loses(&mut self) -> (Seen, String) {
        let lost = async {
            let why = self.lost.wait_for(Option::is_some).await.ok()?.clone()?;
            let seen = *self.reached.wait_for(|seen| seen.writes > 0).await.ok()?;
            Some((seen, why))
        };
        match lost.await {
            Some(lost) => lost,
            None => std::future::pending().await,
        }
    }

    /// Stops reading: what the source does from here on comes behind what has been read.
    pub(super) async fn hold(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            self.held = task.await.ok();
        }
    }

    /// What the tail holds up to an end that its source has passed, and no further.
    ///
    /// # Errors
    /// Why the stream ended before that, or is too late.
    pub(super) async fn reach(&mut self, end: End, within: Duration) -> Result<Seen, String> {
        self.hold().await;
        let Some(Followed { tail, read: so_far }) = &mut self.held else { return Err("its task ended".to_owned()) };
        tail.end(end);
        match so_far {
            // A target that has been made to follow us may let go of whoever follows it, once all has been sent.
            _ if tail.is_over() => return Ok(tail.seen()),
            Err(error) => return Err(error.to_string()),
            Ok(()) => {}
        }
        let to = Some((&self.pieces, self.handed.as_ref()));
        match tokio::time::timeout(within, read(tail, to, None, &CancellationToken::new())).await {
            Ok(Ok(())) => Ok(tail.seen()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not catch up within {} s", within.as_secs())),
        }
    }

    /// Puts what has been read on the disk. What is read from here on is kept too, however much it is: it comes right before the cutover.
    ///
    /// # Errors
    /// Why not every byte of it is in the file, as part of a sentence.
    pub(super) async fn keep(&mut self) -> Result<(), String> {
        let (tell, told) = oneshot::channel();
        self.pieces.send(Piece::Keep(tell)).await.map_err(|_| over())?;
        told.await.map_err(|_| over())?
    }

    /// Ends the stream, and puts what is kept of it on the disk.
    ///
    /// # Errors
    /// As [`Self::keep`].
    pub(super) async fn finish(mut self) -> Result<(), String> {
        self.hold().await;
        // The writer ends with the last sender.
        let (closed, _) = mpsc::channel(1);
        self.pieces = closed;
        (&mut self.writer).await.map_err(|_| over())?
    }
}

fn over() -> String {
    "the thread that writes it has ended".to_owned()
}

/// Reads a tail to its end, or until told to stop. `told` hears how far it is.
async fn read(
    tail: &mut Tail,
    to: Option<(&mpsc::Sender<Piece>, &AtomicU64)>,
    told: Option<&watch::Sender<Seen>>,
    stop: &CancellationToken,
) -> Result<(), RedisError> {
    loop {
        let piece = tail.take().await?;
        if let Some((to, handed)) = to.filter(|_| !piece.is_empty()) {
            handed.fetch_add(piece.len() as u64, Ordering::Relaxed);
            // A thread that is gone said why in its result; counting goes on.
            let _ = to.send(Piece::Bytes(piece)).await;
        }
        if let Some(told) = told {
            told.send_replace(tail.seen());
        }
        if tail.is_over() {
            return Ok(());
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            more = tail.more() => more?,
        }
    }
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
        Ok(Follower::start(tail, path, self.tail_bytes))
    }

    /// Writes down what is known of the cutover of a job, and where its tail lies; one that is known to hold neither a
    /// write nor a removal is removed, and one that the log has instead.
    pub(super) async fn write_cutover(&self, job_id: &str, cutover: &mut Cutover) {
        let place = self.tail_place(job_id);
        let (json, resp) = (place.with_extension("json"), place.with_extension("resp"));
        if (cutover.writes_after == Some(0) && cutover.removed_after == 0) || cutover.in_log.is_some() {
            // There is none where nothing came at all; and of what the log has whole nobody needs a part.
            let _ = tokio::fs::remove_file(&resp).await;
        }
        // As long as writes are still to come, so may the file be.
        let there = cutover.writes_after.is_none() || tokio::fs::try_exists(&resp).await.unwrap_or(false);
        cutover.tail = there.then(|| resp.display().to_string());
        let text = serde_json::to_string(&*cutover).unwrap_or_default();
        let written = blocking(move || {
            durable::replace(&json, text.as_bytes()).map_err(|e| crate::config::home::file_fault("write", &json, e))
        });
        if let Err(fault) = written.await {
            tracing::warn!("what a restore's cutover came to could not be written down: {fault}");
        }
    }

    /// Takes back what was kept for a job behind so many bytes; whether those are all there.
    pub(super) async fn cut_tail(&self, job_id: &str, bytes: u64) -> bool {
        let path = self.tail_place(job_id).with_extension("resp");
        let cut = blocking(move || {
            let cut = || -> std::io::Result<bool> {
                let file = std::fs::OpenOptions::new().write(true).open(&path)?;
                let whole = file.metadata()?.len() >= bytes;
                if whole {
                    file.set_len(bytes)?;
                    file.sync_all()?;
                }
                Ok(whole)
            };
            // There is none where nothing came at all.
            Ok(cut().unwrap_or_else(|e| bytes == 0 && e.kind() == std::io::ErrorKind::NotFound))
        });
        cut.await.unwrap_or(false)
    }

    /// Removes what was kept for a job that came to no cutover.
    pub(super) async fn discard_cutover(&self, job_id: &str) {
        for ending in ["resp", "json"] {
            let _ = tokio::fs::remove_file(self.tail_place(job_id).with_extension(ending)).await;
        }
    }

    /// What the cutover of a job came to, as far as it was written down; `None` where it came to none, or nothing is known any more.
    pub(in crate::provider::local) async fn read_cutover(&self, job_id: &str) -> Option<Cutover> {
        let path = self.tail_place(job_id).with_extension("json");
        let mut cutover: Cutover = serde_json::from_slice(&tokio::fs::read(path).await.ok()?).ok()?;
        let there = tokio::fs::try_exists(self.tail_place(job_id).with_extension("resp")).await;
        cutover.tail = cutover.tail.filter(|_| there.unwrap_or(false));
        Some(cutover)
    }

    /// Removes the tails whose safety backup is gone: they are what clients wrote, in clear.
    pub(in crate::provider::local) async fn sweep_tails(&self) {
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
                self.discard_cutover(&job_id).await;
            }
        }
    }
}

/// Reads a tail up to a position that its source has passed, and no further; `None` where that cannot be done in time.
pub(super) async fn read_to(tail: &mut Tail, offset: u64, within: Duration) -> Result<Option<Seen>, RedisError> {
    tail.end(End::At(offset));
    match tokio::time::timeout(within, read(tail, None, None, &CancellationToken::new())).await {
        Ok(read) => read.map(|()| Some(tail.seen())),
        Err(_) => Ok(None),
    }
}
