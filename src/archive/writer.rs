//! Takes what a source sends and brings it to the spool, whole transactions apart from what is not complete yet.
//!
//! It must not call anything spooled that is not on the disk, nor hold more of the stream than one record, and it never waits for the
//! vault. After a crash it goes on behind the last whole transaction that the disk has.

use crate::archive::clock::{ArrivalClock, Reading, Step};
use crate::archive::layout::is_replid;
use crate::archive::reach::{Reached, SpoolProgress};
use crate::archive::recover::{Whole, recover};
use crate::archive::spool::{self, Header, RECORD_MAX, SpoolFile};
use crate::archive::{Archive, Sealer, Timeline, conflict, damaged, ended, failed, gap};
use crate::config::durable;
use crate::model::fault::Fault;
use crate::model::log::{Gap, GapCause};
use crate::redis::replica::split::{Piece, Splitter};
use jiff::{SignedDuration, Timestamp};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Records in a file of the spool: each may become a time in the segment's footer.
const RECORDS_MAX: u64 = 50_000;

/// When a segment is full.
#[derive(Debug, Clone, Copy)]
pub struct SealLimits {
    /// Bytes of the stream in a segment. One command or transaction that is larger still is in one segment.
    pub bytes: u64,
    /// Time from its first bytes on.
    pub age: Duration,
}

impl Default for SealLimits {
    fn default() -> Self {
        Self { bytes: 16 << 20, age: Duration::from_secs(10) }
    }
}

/// Writes a timeline's stream to the spool. One for a timeline.
#[derive(Debug)]
pub struct LogWriter {
    archive: Archive,
    timeline: Timeline,
    limits: SealLimits,
    dir: PathBuf,
    /// Held as long as this lives: another process of this machine does not write to the same spool.
    _lock: spool::Lock,
    number: u64,
    header: Header,
    file: SpoolFile,
    split: Splitter,
    whole: Whole,
    /// Offset in the history behind the last record.
    written: u64,
    /// Since when the file has bytes, by the clock that nobody sets; of a file that an earlier process began, since it was opened.
    began: Option<Instant>,
    /// Tells when bytes came. Never goes back.
    clock: ArrivalClock,
    records: u64,
    appended: Option<Reached>,
    spooled: Option<Reached>,
    /// Whether the file holds more than was counted, for it could not be truncated after an error.
    broken: bool,
    progress: Arc<SpoolProgress>,
}

impl Archive {
    /// The writer of a timeline, which goes on where the spool and the vault end: what a crash left is read up to its last whole
    /// transaction.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`; `log.conflict` where another writer of this machine has the timeline.
    pub fn writer(&self, timeline: &Timeline, limits: SealLimits) -> Result<LogWriter, Fault> {
        let dir = self.spool.join(timeline.prefix());
        let io = |e: io::Error| failed("write", &dir.display().to_string(), e);
        durable::private_dir(&dir).map_err(io)?;
        let lock = spool::lock(&dir.join("lock"))
            .map_err(io)?
            .ok_or_else(|| conflict(&dir.display().to_string(), "is in use"))?;
        let found = recover(self, timeline, &dir)?;
        Ok(LogWriter {
            archive: self.clone(),
            timeline: timeline.clone(),
            limits,
            _lock: lock,
            number: found.number,
            split: Splitter::new(found.whole.offset, found.whole.database),
            header: found.header,
            file: found.file,
            whole: found.whole,
            written: found.whole.offset,
            began: (found.records > 0).then(Instant::now),
            clock: ArrivalClock::behind(found.last_ms),
            records: found.records,
            appended: found.reached,
            spooled: found.reached,
            broken: false,
            progress: found.progress,
            dir,
        })
    }
}

impl LogWriter {
    /// The sealer of this spool, for a thread of its own: it may hang with the vault while this goes on.
    #[must_use]
    pub fn sealer(&self) -> Sealer {
        Sealer::new(&self.archive, &self.timeline, &self.dir, &self.progress)
    }

    pub(super) fn progress(&self) -> Arc<SpoolProgress> {
        Arc::clone(&self.progress)
    }

    /// Offset behind the last whole transaction taken: where the stream has to go on, `PSYNC <replid> <offset+1>`.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.whole.offset
    }

    /// The replication id under which the stream goes on.
    #[must_use]
    pub fn replid(&self) -> &str {
        &self.header.replid
    }

    /// Takes bytes of the stream as they came, in any pieces. `precision` is how much earlier than `arrival` they may have been
    /// written: zero, or the outage after which they came out of a backlog. No bytes say that up to `arrival` nothing more came.
    /// An arrival before the last one is taken for that one, with the difference as its precision; a clock that was set is a gap.
    ///
    /// # Errors
    /// `log.failed`; `log.damaged` for anything that is no command. What is behind [`Self::offset`] then has to be asked for again.
    pub fn append(
        &mut self,
        bytes: &[u8],
        arrival: impl Into<Reading>,
        precision: SignedDuration,
    ) -> Result<(), Fault> {
        if self.broken {
            self.discard_partial()?;
        }
        let reading = arrival.into();
        let (arrival, step) = self.clock.at(reading);
        if let Some(step) = step {
            self.declare(step)?;
        }
        let ms = arrival.at_ms;
        let precision_ms = u64::try_from(precision.as_millis()).unwrap_or(0).saturating_add(arrival.precision_ms);
        let now = reading.steady.unwrap_or_else(Instant::now);
        let taken = if bytes.is_empty() {
            self.quiet(ms)
        } else {
            bytes.chunks(RECORD_MAX).try_for_each(|chunk| self.take(chunk, ms, precision_ms, now))
        };
        if taken.is_err() {
            self.broken = true;
            // Where this fails too, it is tried again before anything is appended.
            let _ = self.discard_partial();
        }
        taken
    }

    fn quiet(&mut self, ms: i64) -> Result<(), Fault> {
        self.record(ms, 0, &[])?;
        // While a command or transaction is on its way the log is no further than before it.
        if self.written == self.whole.offset {
            self.whole.len = self.file.len();
            self.appended = Reached::new(self.whole.offset, ms);
        }
        Ok(())
    }

    /// Keeps the gap of a clock that was set. The vault is not waited for.
    fn declare(&self, step: Step) -> Result<(), Fault> {
        let Step { from_ms, to_ms } = step;
        // Moments before this timeline are those of an older one, whatever the clock says of them once more.
        let from_ms = from_ms.max(self.timeline.opened_at.as_millisecond().saturating_sub(1));
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
        tracing::warn!(
            instance = %self.timeline.instance_id,
            "the clock was set: moments between {} and {} cannot be told apart in the log",
            at(from_ms),
            at(to_ms)
        );
        let gap = Gap {
            timeline: self.timeline.id.clone(),
            shard: self.timeline.shard,
            after_offset: self.whole.offset,
            from: at(from_ms),
            to: at(to_ms),
            cause: GapCause::ClockStep,
            source_run_id: String::new(),
            detail: String::new(),
        };
        gap::keep(&self.dir, &gap)
    }

    /// Takes a part of the stream: up to the end of its last whole transaction, and what follows, as records of their own.
    fn take(&mut self, chunk: &[u8], ms: i64, precision_ms: u64, now: Instant) -> Result<(), Fault> {
        let mut clean = Vec::with_capacity(chunk.len());
        let (mut left, mut whole) = (chunk, None);
        while !left.is_empty() {
            let step = self.split.step(left).map_err(|what| damaged("the source's stream", what))?;
            let (part, rest) = left.split_at(step.len);
            left = rest;
            if step.piece == Piece::Blank {
                continue;
            }
            clean.extend_from_slice(part);
            if step.ends && self.split.is_between_transactions() {
                whole = Some((clean.len(), self.split.offset(), self.split.database()));
            }
        }
        let (ended, partial) = clean.split_at(whole.map_or(0, |(len, ..)| len));
        if let Some((_, offset, database)) = whole {
            self.began = self.began.or(Some(now));
            self.record(ms, precision_ms, ended)?;
            self.whole = Whole { offset, database, len: self.file.len() };
            self.appended = Reached::new(offset, ms);
            if self.is_due(now) {
                self.rotate(None)?;
            }
        }
        if !partial.is_empty() {
            self.began = self.began.or(Some(now));
            self.record(ms, precision_ms, partial)?;
        }
        Ok(())
    }

    fn record(&mut self, ms: i64, precision_ms: u64, bytes: &[u8]) -> Result<(), Fault> {
        let before = self.file.len();
        self.file.append(self.written, ms, precision_ms, bytes).map_err(|e| self.failed(e))?;
        self.written += bytes.len() as u64;
        self.records += 1;
        self.progress.grew(self.file.len() - before);
        Ok(())
    }

    fn failed(&self, e: io::Error) -> Fault {
        failed("write", &self.file.path().display().to_string(), e)
    }

    /// Drops what was received behind the last whole transaction: the link was lost, and the stream will be asked for again from
    /// there. The offset to go on from.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn discard_partial(&mut self) -> Result<u64, Fault> {
        let before = self.file.len();
        self.file.truncate(self.whole.len).map_err(|e| self.failed(e))?;
        self.progress.shrank(before.saturating_sub(self.whole.len));
        self.split = Splitter::new(self.whole.offset, self.whole.database);
        (self.written, self.broken) = (self.whole.offset, false);
        Ok(self.whole.offset)
    }

    /// Goes on under another replication id at the same offset: a failover was followed. What was partial is dropped.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn continue_as(&mut self, replid: &str) -> Result<(), Fault> {
        self.discard_partial()?;
        self.rotate(Some((replid.to_owned(), self.whole)))
    }

    /// Goes on at a later offset of the same history: what lies between is a hole, which the caller puts down as a gap. What was
    /// partial is dropped.
    ///
    /// # Errors
    /// `log.failed`; `log.conflict` where the log has that offset already.
    pub fn skip_to(&mut self, offset: u64) -> Result<(), Fault> {
        if offset < self.whole.offset {
            let why = format!("has the log up to {}, which is beyond {offset}", self.whole.offset);
            return Err(conflict(&self.dir.display().to_string(), why));
        }
        self.discard_partial()?;
        self.rotate(Some((self.header.replid.clone(), Whole { offset, database: None, len: 0 })))
    }

    /// Makes all that was appended last. To be called once a second at least while something comes.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn sync(&mut self) -> Result<(), Fault> {
        if self.spooled != self.appended {
            self.file.sync().map_err(|e| self.failed(e))?;
            self.spooled = self.appended;
        }
        Ok(())
    }

    /// Closes the segment that is due by its size or age, so that the sealer takes it. Quick: it puts nothing on the vault. One within
    /// whose last transaction the stream is just now is closed with that transaction's end.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn seal_due(&mut self, now: Instant) -> Result<(), Fault> {
        if self.written == self.whole.offset && self.is_due(now) { self.rotate(None) } else { Ok(()) }
    }

    /// Closes the segment now, whatever its size, where it holds anything and the stream is between two transactions.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn seal_now(&mut self) -> Result<(), Fault> {
        let holds = self.whole.offset > self.header.first && self.written == self.whole.offset;
        if holds { self.rotate(None) } else { Ok(()) }
    }

    fn is_due(&self, now: Instant) -> bool {
        let age = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let full = self.whole.offset - self.header.first >= self.limits.bytes || self.records >= RECORDS_MAX;
        self.whole.offset > self.header.first && (full || age >= self.limits.age)
    }

    /// Closes the file and begins the next, at the end of the last whole transaction. A crash in between leaves a newest file that is
    /// whole, or a next one that is empty.
    fn rotate(&mut self, other: Option<(String, Whole)>) -> Result<(), Fault> {
        self.file.sync().map_err(|e| self.failed(e))?;
        let (replid, whole) = other.unwrap_or_else(|| (self.header.replid.clone(), self.whole));
        if !is_replid(&replid) {
            return Err(damaged("the source's replication id", "is none"));
        }
        let header = Header {
            timeline: self.timeline.id.clone(),
            shard: self.timeline.shard,
            replid,
            first: whole.offset,
            database: whole.database,
            since_ms: self.clock.last_ms(),
        };
        let number = self.number + 1;
        let file = SpoolFile::create(&self.dir, number, &header).map_err(|e| self.failed(e))?;
        self.progress.grew(file.len());
        if whole.offset != self.whole.offset {
            self.split = Splitter::new(whole.offset, whole.database);
        }
        self.whole = Whole { len: file.len(), ..whole };
        (self.number, self.file, self.header) = (number, file, header);
        (self.written, self.began, self.records) = (whole.offset, None, 0);
        self.progress.closed_before(number);
        Ok(())
    }

    /// Up to where the log is on this machine's disk.
    #[must_use]
    pub fn spooled_until(&self) -> Option<Reached> {
        self.spooled
    }

    /// Up to where the log is on the vault.
    #[must_use]
    pub fn archived_until(&self) -> Option<Reached> {
        self.progress.archived()
    }

    /// Bytes in the spool, which are not on the vault yet but for the newest file's beginning.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        self.progress.bytes()
    }

    /// Bytes of the transaction that has come in part.
    pub(super) fn partial(&self) -> u64 {
        self.written - self.whole.offset
    }

    /// Counts the spool anew, from which another thread may have removed files, and gives what the shard's other spools have.
    pub(super) fn recount(&self) -> u64 {
        let (own, beside) = ended::bytes_in(&self.dir);
        self.progress.counted(own);
        beside
    }

    /// Bytes that are free on the spool's disk; `None` where it does not tell.
    pub(super) fn disk_free(&self) -> Option<u64> {
        durable::free(&self.dir).ok()
    }

    /// Leaves a spool of which the vault has all that is whole: nothing of it stays but what is damaged.
    pub(super) fn clear(self) -> Result<(), Fault> {
        std::fs::remove_file(self.file.path()).map_err(|e| self.failed(e))
    }
}
