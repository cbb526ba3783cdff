//! What the log covers, from a listing: runs of segments without a hole, and every hole by name, whether a gap tells of it or not.

use crate::archive::{Archive, SegmentName, Timeline};
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::log::{Gap, Position};
use jiff::Timestamp;

/// Segments of one timeline without a hole between them.
#[derive(Debug, Clone)]
pub struct Run {
    /// The timeline.
    pub timeline: Timeline,
    /// Its segments in order. One may begin before its predecessor ends: another archiver wrote the same.
    pub segments: Vec<SegmentName>,
}

/// A part of a timeline that no segment has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Behind the last command before the hole.
    pub from: Position,
    /// Offset at which the log goes on.
    pub to_offset: u64,
    /// Up to when the log reaches before the hole; `None` where nothing of the timeline is before it.
    pub from_at: Option<Timestamp>,
    /// When the log went on.
    pub to_at: Timestamp,
    /// Whether segments with different histories lie there, of which none is believed.
    pub contradicts: bool,
}

/// Moments that can be recovered, without a hole between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Id of the timeline.
    pub timeline: String,
    /// The earliest.
    pub from: Timestamp,
    /// The newest.
    pub to: Timestamp,
    /// How exact a moment in it is at worst, in milliseconds.
    pub precision_ms: u64,
}

/// What the log of a shard covers.
#[derive(Debug, Clone)]
pub struct Coverage {
    pub(super) archive: Archive,
    /// Runs, oldest first.
    pub runs: Vec<Run>,
    /// Parts that are missing, oldest first.
    pub holes: Vec<Hole>,
    /// Gaps that were put down, oldest first.
    pub gaps: Vec<Gap>,
}

impl Archive {
    /// What the log of a shard covers.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn coverage(&self, instance_id: &str, shard: u16) -> Result<Coverage, Fault> {
        let _ = (instance_id, shard);
        Err(Fault::new(Kind::Unexpected, "log.failed", "not built yet"))
    }
}

impl Coverage {
    /// The moments that can be recovered from these sets and the log, oldest first.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn windows(&self, bases: &[BackupSet]) -> Result<Vec<Window>, Fault> {
        let _ = (bases, &self.archive);
        Err(Fault::new(Kind::Unexpected, "log.failed", "not built yet"))
    }
}
