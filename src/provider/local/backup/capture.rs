//! Capture: the RDB of an instance, read once as its replica and ingested by the vault meanwhile.

use crate::model::backup::{BackupSet, Mode, Origin};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::instance::total_keys;
use crate::model::job::{Job, JobKind, Unfinished};
use crate::model::text::bytes;
use crate::model::time::written;
use crate::provider::expected::expected_bytes;
use crate::provider::local::Inner;
use crate::provider::local::backup::attach::{Attached, cancelled};
use crate::provider::local::backup::feed::{self, CHUNK, Sink};
use crate::provider::ownership::unless_taken_over;
use crate::redis::rdb::error::RdbError;
use crate::redis::replica::handshake::{Extent, Framing};
use crate::redis::replica::snapshot::Snapshot;
use crate::redis::slots::SLOTS;
use crate::state::jobs::Begun;
use crate::state::leases::Lease;
use crate::vault::ingest::{Ingest, IngestError, Metadata};
use crate::vault::lacking;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a job's progress is written down.
pub const TICK: Duration = Duration::from_millis(500);

/// A set that was taken.
pub(in crate::provider::local) struct Taken {
    pub set: BackupSet,
    /// The database selected in the source's stream where the set ends, as the set itself says.
    pub database: Option<u64>,
    /// Slots served, where the source is a cluster's node.
    slots: Option<u32>,
    /// What is wrong with the source, although it could be backed up.
    trouble: Option<String>,
    /// The capture, which may go on with the stream behind the set.
    pub snapshot: Snapshot,
}

impl Taken {
    /// What was taken, as the end of its job.
    pub fn message(&self) -> String {
        let set = &self.set;
        let mut message = format!(
            "{} keys, {} RDB, {} stored, verified{}",
            total_keys(&set.counts),
            bytes(set.rdb_bytes),
            bytes(set.stored_bytes),
            set.verified().map(|what| format!(" ({what})")).unwrap_or_default()
        );
        if let Some(slots) = self.slots.filter(|n| *n < u32::from(SLOTS)) {
            message = format!(
                "{message}; ONE SHARD of a cluster only: {slots} of {SLOTS} slots; the others are instances of their own"
            );
        }
        if let Some(until) = set.expires_at.filter(|_| set.mode == Mode::Manual) {
            message = format!("{message}; kept until {}", written(until));
        }
        if let Some(trouble) = &self.trouble {
            message = format!("{message}; {trouble}");
        }
        message
    }
}

impl Inner {
    /// Starts a capture for the caller of that id, or joins the one that runs. A manual set is kept for so many days. `under`: the lease that
    /// must be held still, where the capture is due by a calendar.
    pub async fn start_capture(
        self: &Arc<Self>,
        instance_id: &str,
        (mode, days): (Mode, Option<u32>),
        note: &str,
        caller: &str,
        under: Option<&Lease>,
    ) -> Result<Begun, Fault> {
        if self.jobs.stop.is_cancelled() {
            return Err(cancelled());
        }
        // A dead process's backup is not one to join.
        self.recover().await?;
        let backup_id = new_id("b", Timestamp::now())?;
        let note = note.to_owned();
        let inner = Arc::clone(self);
        self.jobs
            .begin(JobKind::Backup, instance_id, &backup_id, caller, under, |job| async move {
                inner.take(&job, mode, note, days).await.map_err(Unfinished::Failed)
            })
            .await
    }

    /// Captures the source; one safety backup too many replaces the oldest, and an automated one is what lets earlier ones go.
    async fn take(&self, job: &Job, mode: Mode, note: String, days: Option<u32>) -> Result<String, Fault> {
        let message = self.capture(job, mode, note, days).await?;
        match mode {
            Mode::Safety => self.replace_oldest_safety_backup(&job.instance_id, &job.backup_id).await,
            Mode::Automated => self.delete_outlived(&job.instance_id).await,
            Mode::Manual | Mode::Unknown => {}
        }
        Ok(message)
    }

    async fn capture(&self, job: &Job, mode: Mode, note: String, days: Option<u32>) -> Result<String, Fault> {
        Ok(self.take_set(job, mode, note, days, Extent::Snapshot).await?.message())
    }

    /// Takes the set that a job names, if there is room for it. The capture may stay attached.
    pub(in crate::provider::local) async fn take_set(
        &self,
        job: &Job,
        mode: Mode,
        note: String,
        days: Option<u32>,
        extent: Extent,
    ) -> Result<Taken, Fault> {
        self.has_room_for_a_set(&job.instance_id).await?;
        let mut attached = self.attach(job, mode, extent).await?;
        let origin = Origin::Capture { address: attached.address.clone() };
        let staged = self.stream(job, &mut attached.snapshot, origin).await?;
        let trouble = attached.trouble();
        let Attached { started_at, facts: source, snapshot, .. } = attached;
        let statistics = staged.statistics();
        let engine = statistics.aux("valkey-ver").map_or("redis", |_| "valkey");
        let version = statistics.aux("valkey-ver").or_else(|| statistics.aux("redis-ver")).unwrap_or_default();
        let database = statistics.aux("repl-stream-db").and_then(|db| db.parse().ok());
        let metadata = Metadata {
            mode,
            note,
            engine: source.as_ref().map_or(engine, |t| t.engine).into(),
            version: crate::model::text::clean_to(source.as_ref().map_or(version, |t| &t.version), 64),
            run_id: source.as_ref().map(|t| t.run_id.clone()).unwrap_or_default(),
            replication_id: snapshot.replid.clone(),
            replication_offset: snapshot.offset,
            announced_version: snapshot.source.announced.map(str::to_owned),
            // Counted on the instance itself: of a replica's data, which may lag, that says nothing.
            write_calls: source
                .as_ref()
                .and_then(|t| t.write_calls)
                .filter(|_| !self.by_replica(&job.instance_id, mode)),
            held: source.as_ref().and_then(|t| t.held.clone()),
            started_at,
            expires_at: self.expires_at(mode, days, started_at),
            locked_until: None,
        };
        // A capture goes on while the store is away, and whoever has taken its job over has said that nothing of it is kept.
        let bytes = staged.statistics().bytes;
        let total = if job.kind == JobKind::Backup { bytes } else { 0 };
        if let Err(fault) = self.jobs.still_ours(job, "committing", bytes, total).await {
            staged.discard().await;
            return Err(fault);
        }
        let set = staged.commit(metadata).await?;
        // The same may have come while the manifest was on its way: it lands behind the data then, and a set without data is none to remember. One that
        // is whole stays, and whoever took the job over has remembered it; a store that is only away has let nobody do so.
        unless_taken_over(job, self.jobs.progress(job, "committing", bytes, total).await)?;
        self.remember(&set).await;
        Ok(Taken { set, database, slots: source.and_then(|t| t.slots), trouble, snapshot })
    }

    /// Moves the data from the source to the vault, whose thread checks, hashes, compresses and stages it meanwhile.
    async fn stream(&self, job: &Job, snapshot: &mut Snapshot, origin: Origin) -> Result<Ingest, Fault> {
        let (sink, feed) = feed::channel();
        let framing = snapshot.framing;
        let ends = move |bytes: u64, rest: &[u8]| framing.ends(bytes, rest);
        let ingest = self.vault.ingest(&job.instance_id, &job.backup_id, origin, feed, ends);
        // Whatever ends the feeding drops its end of the channel, and with that the ingesting ends too.
        let (fed, staged) = tokio::join!(self.feed(job, snapshot, sink), ingest);
        match (fed, staged) {
            (Ok(()), staged) => staged.map_err(refused),
            (Err(fault), staged) => {
                if let Ok(staged) = staged {
                    staged.discard().await;
                }
                Err(fault)
            }
        }
    }

    async fn feed(&self, job: &Job, snapshot: &mut Snapshot, mut sink: Sink) -> Result<(), Fault> {
        let total = match (job.kind, snapshot.framing) {
            (JobKind::Backup, Framing::Length(n)) => n,
            (JobKind::Backup, _) => expected_bytes(self.state.as_ref(), &job.instance_id).await,
            // The last safety backup of a restore: its job's share is of what comes behind that.
            _ => 0,
        };
        let mut chunk = sink.next();
        let (mut received, mut reported, mut handed_over) = (0, Instant::now(), Instant::now());
        loop {
            let n = tokio::select! {
                read = snapshot.read(chunk.room()) => Some(read?),
                // What has come is looked at also where little or nothing follows it.
                () = tokio::time::sleep_until((handed_over + TICK).into()), if chunk.filled > 0 => None,
                // A thread that is gone has found something: its result says what.
                () = sink.closed() => break,
                () = self.jobs.stop.cancelled() => return Err(cancelled()),
            };
            chunk.filled += n.unwrap_or_default();
            received += n.unwrap_or_default() as u64;
            let due = n.is_none_or(|n| n == 0) || chunk.filled > CHUNK / 2 || handed_over.elapsed() >= TICK;
            if chunk.filled > 0 && due {
                let next = sink.next();
                if !sink.send(std::mem::replace(&mut chunk, next)).await {
                    break;
                }
                handed_over = Instant::now();
            }
            if n == Some(0) {
                break;
            }
            if reported.elapsed() >= TICK {
                reported = Instant::now();
                unless_taken_over(job, self.jobs.progress(job, "receiving and verifying", received, total).await)?;
            }
        }
        drop(sink);
        unless_taken_over(job, self.jobs.progress(job, "writing to disk", received, total).await)
    }
}

/// Why nothing came of what the source sent.
fn refused(error: IngestError) -> Fault {
    let bad = |what: String| {
        Fault::new(Kind::Provider, "capture.damaged", format!("what the source sent is not a whole RDB: {what}"))
            .hint("Nothing was kept. Look at the source's log, then call create_backup again.")
    };
    match error {
        IngestError::Vault(fault) => fault,
        IngestError::Rdb(RdbError::Sink { source: e, .. }) => {
            Fault::new(Kind::Unexpected, "vault.failed", format!("the vault cannot be written: {e}"))
                .hint(
                    lacking::hint(&e).unwrap_or("Free space on the disk of the vault, then call create_backup again."),
                )
                .because(e)
        }
        IngestError::Rdb(
            e @ (RdbError::UnsupportedVersion { .. } | RdbError::UnsupportedType { .. } | RdbError::BadOpcode { .. }),
        ) => Fault::new(Kind::Provider, "capture.unsupported", format!("nothing was kept: {e}"))
            .hint("This instance writes a newer format than this program reads; a later version may."),
        IngestError::Rdb(e @ RdbError::TooManyDatabases { .. }) => {
            Fault::new(Kind::Provider, "capture.unsupported", format!("nothing was kept: {e}"))
                .hint("Keys of several databases can be kept in one, under a prefix.")
        }
        e => bad(e.to_string()),
    }
}
