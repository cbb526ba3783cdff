//! Capture: the RDB of an instance, streamed once through walker, hash and compressor onto the vault.

use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobKind, Phase, Unfinished};
use crate::model::text::bytes;
use crate::provider::local::{COMMAND_TIMEOUT, Inner};
use crate::redis::conn::Conn;
use crate::redis::facts::{ServerFacts, write_calls};
use crate::redis::rdb;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::redis::replica::handshake::{CaptureOptions, Framing};
use crate::redis::replica::snapshot::Snapshot;
use crate::redis::slots::SLOTS;
use crate::state::jobs::Begun;
use crate::vault::draft::{Draft, Sealed};
use crate::vault::manifest::counts;
use jiff::Timestamp;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Bytes handed to the worker at once.
const CHUNK: usize = 256 << 10;
/// How far the worker's priority is lowered.
#[cfg(target_os = "linux")]
const GIVE_WAY: i32 = 10;
/// Chunks on their way to the worker.
const IN_FLIGHT: usize = 8;
/// Stage of a capture while its source has been asked and has not begun to send.
const FORKING: &str = "waiting for the source to fork";
/// How often a job's progress is written down.
pub const TICK: Duration = Duration::from_millis(500);

impl Inner {
    /// Starts a capture, or joins the one that runs.
    pub async fn start_capture(self: &Arc<Self>, instance_id: &str, mode: Mode, note: &str) -> Result<Begun, Fault> {
        if self.jobs.stop.is_cancelled() {
            return Err(cancelled());
        }
        // A dead process's backup is not one to join.
        self.recover().await?;
        let backup_id = new_id("b", Timestamp::now())?;
        let note = note.to_owned();
        let inner = Arc::clone(self);
        self.jobs
            .begin(JobKind::Backup, instance_id, &backup_id, |job| async move {
                inner.capture(&job, mode, note).await.map_err(Unfinished::Failed)
            })
            .await
    }

    async fn capture(&self, job: &Job, mode: Mode, note: String) -> Result<String, Fault> {
        let told = self.tell(&job.instance_id).await?;
        let endpoint = self.capture_endpoint(&job.instance_id, mode).await?;
        let started_at = Timestamp::now();
        self.state.progress(&job.id, Phase::Forking, FORKING, 0, 0).await?;
        let open = Snapshot::open(&endpoint, CaptureOptions::default());
        let mut snapshot = tokio::select! {
            snapshot = open => snapshot?,
            () = self.jobs.stop.cancelled() => return Err(cancelled()),
        };
        let draft = self.vault.draft(&job.instance_id, &job.backup_id)?;
        let Captured { statistics, sealed, draft } = self.stream(job, &mut snapshot, draft).await?;
        let engine = statistics.aux("valkey-ver").map_or("redis", |_| "valkey");
        let version = statistics.aux("valkey-ver").or_else(|| statistics.aux("redis-ver")).unwrap_or_default();
        let set = BackupSet {
            id: job.backup_id.clone(),
            instance_id: job.instance_id.clone(),
            mode,
            note,
            engine: told.as_ref().map_or(engine, |t| t.engine).into(),
            version: crate::model::text::clean_to(told.as_ref().map_or(version, |t| &t.version), 64),
            run_id: told.as_ref().map(|t| t.run_id.clone()).unwrap_or_default(),
            replication_id: snapshot.replid.clone(),
            replication_offset: snapshot.offset,
            // Counted on the instance itself: of a replica's data, which may lag, that says nothing.
            write_calls: told.as_ref().and_then(|t| t.write_calls).filter(|_| !self.by_replica(&job.instance_id, mode)),
            started_at,
            finished_at: Timestamp::now(),
            rdb_version: statistics.rdb_version,
            rdb_bytes: statistics.bytes,
            sha256: sealed.sha256,
            stored_bytes: sealed.stored_bytes,
            counts: counts(&statistics),
            functions: statistics.functions,
            used_memory: statistics.aux("used-mem").and_then(|m| m.parse().ok()).unwrap_or_default(),
            types: statistics.types.clone(),
            expires_at: None,
        };
        let mut message = format!(
            "{} keys, {} RDB, {} stored, verified",
            total_keys(&set.counts),
            bytes(set.rdb_bytes),
            bytes(set.stored_bytes)
        );
        if let Some(slots) = told.and_then(|t| t.slots).filter(|n| *n < u32::from(SLOTS)) {
            message = format!(
                "{message}; ONE SHARD of a cluster only: {slots} of {SLOTS} slots; the others are instances of their own"
            );
        }
        crate::provider::blocking(move || draft.publish(&set)).await?;
        Ok(message)
    }

    /// What the instance tells of itself before it is captured; nothing where the user may not ask.
    async fn tell(&self, instance_id: &str) -> Result<Option<Told>, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, COMMAND_TIMEOUT).await?;
        let Ok(facts) = ServerFacts::read(&mut conn).await else { return Ok(None) };
        let slots = if facts.cluster_enabled { super::describe::slots_served(&mut conn).await.ok() } else { None };
        // Read before the source forks: a write after this moment makes the counter differ.
        let write_calls = write_calls(&mut conn).await.ok();
        Ok(Some(Told {
            engine: super::describe::engine(facts.flavor),
            version: facts.version,
            run_id: facts.run_id,
            write_calls,
            slots,
        }))
    }

    /// Moves the data from the source to a worker thread that checks, hashes, compresses and writes it.
    async fn stream(&self, job: &Job, snapshot: &mut Snapshot, mut draft: Draft) -> Result<Captured, Fault> {
        let (tx, rx) = mpsc::channel::<Chunk>(IN_FLIGHT);
        let (returned, mut spare) = mpsc::unbounded_channel();
        let framing = snapshot.framing;
        let worker = giving_way(move || {
            let feed = Feed { rx, returned, chunk: Chunk::default(), used: 0 };
            let statistics = check(feed, framing, &mut draft)?;
            let sealed = draft.seal()?;
            Ok::<_, Fault>(Captured { statistics, sealed, draft })
        })?;
        let total = if let Framing::Length(n) = framing { n } else { 0 };
        let mut chunk = Chunk::empty();
        let (mut received, mut told) = (0, Instant::now());
        let failed = loop {
            let room = chunk.bytes.get_mut(chunk.filled..).unwrap_or_default();
            let read = tokio::select! {
                read = snapshot.read(room) => read,
                () = self.jobs.stop.cancelled() => break Some(cancelled()),
            };
            let n = match read {
                Ok(n) => n,
                Err(e) => break Some(e.into()),
            };
            chunk.filled += n;
            received += n as u64;
            if chunk.filled > 0 && (n == 0 || chunk.filled > CHUNK / 2) {
                // Memory that has been used costs neither zeroes nor page faults.
                let next = spare.try_recv().unwrap_or_else(|_| Chunk::empty());
                // A worker that is gone has found something: its result says what.
                if tx.send(std::mem::replace(&mut chunk, next)).await.is_err() {
                    break None;
                }
            }
            if n == 0 {
                break None;
            }
            if told.elapsed() >= TICK {
                told = Instant::now();
                self.jobs.progress(job, "receiving and verifying", received, total).await?;
            }
        };
        drop(tx);
        if failed.is_none() {
            self.jobs.progress(job, "writing to disk", received, total).await?;
        }
        let done = worker.await;
        if let Some(fault) = failed {
            return Err(fault);
        }
        done.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "the capturing thread died").because(e))?
    }
}

/// Runs work on a thread of its own, and at a lower priority: where the source is on this machine, it comes first.
fn giving_way<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<oneshot::Receiver<T>, Fault> {
    let (tx, rx) = oneshot::channel();
    let run = move || {
        // On Linux this is the thread's own priority; elsewhere it is the process's, which would slow a restore too.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::nice(GIVE_WAY);
        // Whoever waited may be gone.
        let _ = tx.send(work());
    };
    let started = std::thread::Builder::new().name("capture".into()).spawn(run);
    started.map_err(|e| Fault::new(Kind::Unexpected, "system.thread", "no thread for the capture").because(e))?;
    Ok(rx)
}

fn cancelled() -> Fault {
    Fault::new(
        Kind::Provider,
        "job.cancelled",
        "the backup was cancelled because the program was asked to end; nothing of it is kept",
    )
    .hint("Call create_backup again.")
}

struct Told {
    engine: &'static str,
    version: String,
    run_id: String,
    write_calls: Option<u64>,
    /// Slots served, of a cluster's node.
    slots: Option<u32>,
}

struct Captured {
    statistics: KeyStatistics,
    sealed: Sealed,
    draft: Draft,
}

/// Walks the RDB and what follows it, down to the end that the framing promises.
fn check(feed: Feed, framing: Framing, draft: &mut Draft) -> Result<KeyStatistics, Fault> {
    let bad = |what: String| {
        Fault::new(Kind::Provider, "capture.damaged", format!("what the source sent is not a whole RDB: {what}"))
            .hint("Nothing was kept. Look at the source's log, then call create_backup again.")
    };
    let walked = rdb::walk(feed, |b: &[u8]| draft.push(b), ()).map_err(|e| match e {
        RdbError::Sink { source: e, .. } => {
            Fault::new(Kind::Unexpected, "vault.failed", format!("the vault cannot be written: {e}"))
                .hint("Free space under the home directory, then call create_backup again.")
                .because(e)
        }
        e @ (RdbError::UnsupportedVersion { .. } | RdbError::UnsupportedType { .. } | RdbError::BadOpcode { .. }) => {
            Fault::new(Kind::Provider, "capture.unsupported", format!("nothing was kept: {e}"))
                .hint("This instance writes a newer format than this program reads; a later version may.")
        }
        e => bad(e.to_string()),
    })?;
    let (mut rest, feed) = (walked.rest, walked.src);
    // One byte more than may follow: a source that never ends must not fill our memory.
    feed.take(41).read_to_end(&mut rest).map_err(|e| bad(e.to_string()))?;
    if framing.ends(walked.statistics.bytes, &rest) {
        Ok(walked.statistics)
    } else {
        Err(bad("it is followed by something else than its end".into()))
    }
}

/// Received bytes, and the room for more.
#[derive(Default)]
struct Chunk {
    /// Always `CHUNK` long, but for the reader's first.
    bytes: Vec<u8>,
    /// So many of them count.
    filled: usize,
}

impl Chunk {
    fn empty() -> Self {
        Self { bytes: vec![0; CHUNK], filled: 0 }
    }
}

/// The received chunks as a blocking reader. They go back when they are read.
struct Feed {
    rx: mpsc::Receiver<Chunk>,
    returned: mpsc::UnboundedSender<Chunk>,
    chunk: Chunk,
    used: usize,
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.filled {
            let Some(next) = self.rx.blocking_recv() else { return Ok(0) };
            let bytes = std::mem::replace(&mut self.chunk, next).bytes;
            self.used = 0;
            if !bytes.is_empty() {
                // After the last chunk nobody wants one back.
                let _ = self.returned.send(Chunk { bytes, filled: 0 });
            }
        }
        let mut rest = self.chunk.bytes.get(self.used..self.chunk.filled).unwrap_or_default();
        let n = rest.read(buf)?;
        self.used += n;
        Ok(n)
    }
}
