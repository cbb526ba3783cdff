//! Attaching to the source of a backup: what it is, read right before; and another attempt where it is in a state that passes by itself.
//!
//! It must not wait without an end, and must not tell of a source what was read of another server.

use crate::config::instance::NO_DATA_SECONDS;
use crate::model::backup::Mode;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, Phase};
use crate::model::slots::HeldSlots;
use crate::model::text::{bytes, clean_to};
use crate::provider::local::{COMMAND_TIMEOUT, Inner, describe};
use crate::provider::ownership::unless_taken_over;
use crate::redis::commandstats::write_calls;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::replica::handshake::{CaptureOptions, Extent};
use crate::redis::replica::snapshot::Snapshot;
use crate::redis::slots::held_slots;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Stage of a capture while its source has been asked and has not begun to send.
const FORKING: &str = "waiting for the source to fork";
/// How long a source that loads, is busy or is full is asked again, and how often.
const ASKED_AGAIN_FOR: Duration = Duration::from_secs(20);
const ASKED_AGAIN_EVERY: Duration = Duration::from_secs(1);
/// Characters kept of what a source says about itself.
const WORDS_MAX: usize = 240;

/// A source that has begun to send.
pub struct Attached {
    /// When the attempt began that went well. The moment captured is not before it.
    pub started_at: Timestamp,
    /// The instance as it was right before; `None` where the user may not ask.
    pub facts: Option<SourceFacts>,
    /// Where the data comes from, without credentials.
    pub address: String,
    /// The data.
    pub snapshot: Snapshot,
}

/// The instance of a capture, as it was right before.
pub struct SourceFacts {
    pub engine: &'static str,
    pub version: String,
    pub run_id: String,
    /// The history that the instance is on, and how far it had come.
    pub replication_id: String,
    pub offset: u64,
    pub write_calls: Option<u64>,
    /// Slots served, of a cluster's node.
    pub slots: Option<u32>,
    /// The slots whose keys the instance held whole; `None` where the user may not ask.
    pub held: Option<HeldSlots>,
    /// Which of its own ways of saving failed last.
    pub failed_saves: Vec<&'static str>,
}

impl Inner {
    /// Attaches to where the backup is taken from.
    pub async fn attach(&self, job: &Job, mode: Mode, extent: Extent) -> Result<Attached, Fault> {
        let instance = self.endpoint(&job.instance_id).await?;
        let source = self.capture_endpoint(&job.instance_id, mode).await?;
        let no_data = self.config(&job.instance_id).map_or(Duration::from_secs(NO_DATA_SECONDS), |c| c.no_data);
        let options = CaptureOptions { no_data, extent, ..CaptureOptions::default() };
        let deadline = Instant::now() + ASKED_AGAIN_FOR;
        loop {
            unless_taken_over(job, self.state.progress(&job.id, Phase::Forking, FORKING, 0, 0).await)?;
            let attempt = tokio::select! {
                attempt = attempt(&instance, &source, options) => attempt,
                () = self.jobs.stop.cancelled() => return Err(cancelled()),
            };
            let error = match attempt {
                Err(error) if error.passes() && Instant::now() < deadline => error,
                attempt => return attempt.map_err(Fault::from),
            };
            let stage = format!("waiting, for {error}");
            unless_taken_over(job, self.state.progress(&job.id, Phase::Forking, &stage, 0, 0).await)?;
            tokio::select! {
                () = tokio::time::sleep(ASKED_AGAIN_EVERY) => {}
                () = self.jobs.stop.cancelled() => return Err(cancelled()),
            }
        }
    }
}

async fn attempt(instance: &Endpoint, source: &Endpoint, options: CaptureOptions) -> Result<Attached, RedisError> {
    let mut facts = source_facts(instance).await?;
    let started_at = Timestamp::now();
    let snapshot = Snapshot::open(source, options).await?;
    if let Some(facts) = &mut facts {
        let whole = instance.to_string() == source.to_string() || has_seen(&snapshot, facts);
        facts.held = match facts.held.take() {
            // A slot that came or went meanwhile may be half in the data.
            Some(node @ HeldSlots::Node { .. }) if whole => {
                held(instance).await.ok().map(|later| node.and_later(later))
            }
            Some(HeldSlots::Node { .. }) => None,
            held => held,
        };
    }
    Ok(Attached { started_at, facts, address: source.to_string(), snapshot })
}

/// Reads the instance before it is captured; nothing where the user may not ask.
async fn source_facts(instance: &Endpoint) -> Result<Option<SourceFacts>, RedisError> {
    let mut conn = Conn::open(instance, COMMAND_TIMEOUT).await?;
    let facts = match ServerFacts::read(&mut conn).await {
        Ok(facts) => facts,
        Err(error) if error.passes() => return Err(error),
        Err(_) => return Ok(None),
    };
    let slots = if facts.cluster_enabled { describe::slots_served(&mut conn).await.ok() } else { None };
    let held = held_slots(&facts, &mut conn).await.ok();
    // A replica that has come as far as this has the keys of those slots.
    let facts = if facts.cluster_enabled { ServerFacts::read(&mut conn).await? } else { facts };
    // Read before the source forks: a write after this moment makes the counter differ.
    let write_calls = write_calls(&mut conn).await.ok();
    Ok(Some(SourceFacts {
        engine: describe::engine(facts.flavor),
        version: facts.version,
        run_id: facts.run_id,
        replication_id: facts.replid,
        offset: facts.offset,
        write_calls,
        slots,
        held,
        failed_saves: facts.failed_saves,
    }))
}

/// The slots whose keys an instance holds whole, now.
async fn held(instance: &Endpoint) -> Result<HeldSlots, RedisError> {
    let mut conn = Conn::open(instance, COMMAND_TIMEOUT).await?;
    let facts = ServerFacts::read(&mut conn).await?;
    held_slots(&facts, &mut conn).await
}

/// Whether the data of a replica has all that its instance had when that was looked at.
fn has_seen(snapshot: &Snapshot, instance: &SourceFacts) -> bool {
    instance.replication_id == snapshot.replid && instance.offset <= snapshot.offset
}

impl Attached {
    /// What is wrong with the source, although it can be backed up.
    pub fn trouble(&self) -> Option<String> {
        let found: Vec<String> = [self.cannot_save(), self.is_behind()].into_iter().flatten().collect();
        (!found.is_empty()).then(|| found.join("; "))
    }

    /// Of a replica, how much of its instance's history it had not seen: the set is as old as that.
    fn is_behind(&self) -> Option<String> {
        let instance = self.facts.as_ref().filter(|facts| facts.replication_id == self.snapshot.replid)?;
        let behind = instance.offset.checked_sub(self.snapshot.offset).filter(|n| *n > 0)?;
        Some(format!("taken from a replica that was {} behind the instance", bytes(behind)))
    }

    fn cannot_save(&self) -> Option<String> {
        let next = "free its disk, and read its log";
        if let Some(words) = &self.snapshot.source.cannot_save {
            let words = clean_to(words, WORDS_MAX);
            return Some(format!("THE SOURCE CANNOT SAVE ITS OWN DATA and refuses writes ({words}): {next}"));
        }
        let failed = &self.facts.as_ref()?.failed_saves;
        (!failed.is_empty()).then(|| {
            format!("THE INSTANCE COULD NOT SAVE ITS OWN DATA the last time ({} is err): {next}", failed.join(", "))
        })
    }
}

/// The end of a capture whose process was asked to end.
pub fn cancelled() -> Fault {
    Fault::new(
        Kind::Provider,
        "job.cancelled",
        "the backup was cancelled because the program was asked to end; nothing of it is kept",
    )
    .hint("Call create_backup again.")
}
