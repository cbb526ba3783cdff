//! Takes what a source sends and brings it to the spool, whole transactions apart from what is not complete yet.

use crate::archive::{Archive, Timeline};
use crate::model::fault::{Fault, Kind};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How far the log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Offset behind the last whole transaction.
    pub offset: u64,
    /// Up to when everything received is in it.
    pub at: Timestamp,
}

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
pub struct LogWriter;

impl Archive {
    /// The writer of a timeline, which goes on where the spool and the vault end: what a crash left is read up to its last whole
    /// transaction.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn writer(&self, timeline: &Timeline, limits: SealLimits) -> Result<LogWriter, Fault> {
        let _ = (timeline, limits);
        Err(not_built())
    }
}

fn not_built() -> Fault {
    Fault::new(Kind::Unexpected, "log.failed", "not built yet")
}

impl LogWriter {
    /// Offset behind the last whole transaction taken: where the stream has to go on, `PSYNC <replid> <offset+1>`.
    #[must_use]
    pub fn offset(&self) -> u64 {
        0
    }

    /// The replication id under which the stream goes on.
    #[must_use]
    pub fn replid(&self) -> &str {
        ""
    }

    /// Takes bytes of the stream as they came, in any pieces. `precision` is how much earlier than `arrival` they may have been
    /// written: zero, or the outage after which they came out of a backlog. No bytes say that up to `arrival` nothing more came.
    /// An arrival before the last one is taken for that one, with the difference as its precision.
    ///
    /// # Errors
    /// `log.failed`; `log.damaged` for anything that is no command. Nothing of these bytes may be counted on then.
    pub fn append(&mut self, bytes: &[u8], arrival: Timestamp, precision: SignedDuration) -> Result<(), Fault> {
        let _ = (bytes, arrival, precision);
        Err(not_built())
    }

    /// Drops what was received behind the last whole transaction: the link was lost, and the stream will be asked for again from
    /// there. The offset to go on from.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn discard_partial(&mut self) -> Result<u64, Fault> {
        Err(not_built())
    }

    /// Goes on under another replication id at the same offset: a failover was followed. Only where nothing is partial.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn continue_as(&mut self, replid: &str) -> Result<(), Fault> {
        let _ = replid;
        Err(not_built())
    }

    /// Goes on at a later offset of the same history: what lies between is a hole, which the caller puts down as a gap.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn skip_to(&mut self, offset: u64) -> Result<(), Fault> {
        let _ = offset;
        Err(not_built())
    }

    /// Makes all that was appended last. To be called once a second at least while something comes.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn sync(&mut self) -> Result<(), Fault> {
        Err(not_built())
    }

    /// Closes the segment that is due by its size or age, so that the sealer takes it. Quick: it puts nothing on the vault.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn seal_due(&mut self, now: Timestamp) -> Result<(), Fault> {
        let _ = now;
        Err(not_built())
    }

    /// Closes the segment now, whatever its size.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn seal_now(&mut self) -> Result<(), Fault> {
        Err(not_built())
    }

    /// Up to where the log is on this machine's disk.
    #[must_use]
    pub fn spooled_until(&self) -> Option<Reached> {
        None
    }

    /// Up to where the log is on the vault.
    #[must_use]
    pub fn archived_until(&self) -> Option<Reached> {
        None
    }

    /// Bytes in the spool that are not on the vault yet.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        0
    }
}
