//! Where in the log a moment lies, and what it takes to get there: a base, and the log from the base's position to the cut.

use crate::archive::{Coverage, Timeline};
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::log::Position;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CutAt {
    /// The state after the last whole transaction received at or before a moment.
    Moment(Timestamp),
    /// The state before the command at a position, and before the whole transaction that the command is in.
    Before(Position),
}

/// A state that can be recovered.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The timeline.
    pub timeline: Timeline,
    /// Id of the backup set to begin with.
    pub base: String,
    /// The base's position: the log is replayed from here.
    pub from: Position,
    /// Behind the last transaction that is replayed.
    pub to: Position,
    /// When that transaction had been received; where none is replayed, when the base was complete.
    pub at: Timestamp,
    /// How much earlier it may have been written, in milliseconds.
    pub precision_ms: u64,
    /// Commands to replay that change data.
    pub commands: u64,
    /// Archived commands behind the cut that change data, to the end of this timeline.
    pub taken_back: u64,
    /// Names of the commands in the segments between base and cut, in upper case, without those that are not replayed.
    pub names: BTreeSet<String>,
    /// The database selected at the base's position, where it is known.
    pub database: Option<u64>,
    /// Bytes of the log between base and cut.
    pub log_bytes: u64,
    pub(super) segments: Vec<crate::archive::SegmentName>,
}

/// Why a moment cannot be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is no log, or no base in it.
    NothingToRecover,
    /// It lies before the earliest moment.
    TooEarly,
    /// It lies behind what is archived.
    NotArchivedYet,
    /// It lies in a part that is missing.
    InGap,
    /// It lies in an outage: what came after it came at once, and nobody knows when it was written.
    Imprecise,
    /// No command begins at the position.
    NoCommandThere,
    /// The log does not say which database its first commands are for.
    DatabaseUnknown,
}

/// A moment or position that cannot be recovered, with its neighbours that can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The nearest moment before it.
    pub nearest_before: Option<Timestamp>,
    /// The nearest moment after it.
    pub nearest_after: Option<Timestamp>,
    /// Why it cannot be recovered.
    pub why: Why,
}

/// Why there is no cut.
#[derive(Debug)]
pub enum NoCut {
    /// What was asked for cannot be recovered.
    Outside(Outside),
    /// The log could not be read.
    Fault(Fault),
}

impl From<Fault> for NoCut {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Coverage {
    /// Finds what it takes to recover a state.
    ///
    /// # Errors
    /// [`NoCut`].
    pub fn cut(&self, bases: &[BackupSet], at: &CutAt) -> Result<Cut, NoCut> {
        let _ = (bases, at);
        Err(NoCut::Fault(Fault::new(Kind::Unexpected, "log.failed", "not built yet")))
    }
}
