//! Where in the log a moment lies, and what it takes to get there: a base, and the log from the base's position to the cut.

use crate::archive::coverage::{Coverage, Run};
use crate::archive::segment::outline::is_replayed;
use crate::archive::{SegmentName, Timeline};
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::log::Position;
use jiff::Timestamp;
use std::cmp::Reverse;
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
    /// Archived commands behind the cut that change data, of this timeline and of those that were begun since.
    pub taken_back: u64,
    /// Names of the commands between base and cut, in upper case, without those that are not replayed.
    pub names: BTreeSet<String>,
    /// The database selected at the base's position, where it is known.
    pub database: Option<u64>,
    /// Bytes of the log between base and cut.
    pub log_bytes: u64,
    pub(super) segments: Vec<SegmentName>,
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

impl From<Outside> for NoCut {
    fn from(outside: Outside) -> Self {
        Self::Outside(outside)
    }
}

impl Coverage {
    /// Finds what it takes to recover a state, from the newest of these sets that leads there.
    ///
    /// # Errors
    /// [`NoCut`].
    pub fn cut(&self, bases: &[BackupSet], at: &CutAt) -> Result<Cut, NoCut> {
        let cut = match at {
            CutAt::Moment(moment) => self.at_moment(bases, *moment)?,
            CutAt::Before(position) => self.before(bases, position)?,
        };
        if cut.database.is_none() && cut.from != cut.to {
            let mut reader = self.archive.read(&cut)?;
            if let Some(Err(fault)) = reader.next() {
                let unknown = Outside { nearest_before: None, nearest_after: None, why: Why::DatabaseUnknown };
                return Err(if reader.lacks_database() { unknown.into() } else { fault.into() });
            }
        }
        Ok(cut)
    }

    fn at_moment(&self, bases: &[BackupSet], moment: Timestamp) -> Result<Cut, NoCut> {
        let ms = moment.as_millisecond();
        let (mut before, mut after) = (None, None);
        for (run, floor) in self.runs_by_age().rev() {
            let moments = self.moments(run);
            let Some(earliest) = moments.earliest(bases, floor)? else { continue };
            let until = moments.latest()?;
            if until < ms {
                before = before.max(Some(until));
            } else if earliest > ms {
                after = Some(after.map_or(earliest, |other: i64| other.min(earliest)));
            } else if let Some((earlier, later)) = moments.blurred(ms)? {
                let earlier = Some(earlier).filter(|at| *at >= earliest);
                let later = Some(later).filter(|at| *at <= until);
                return Err(outside(earlier.or(before), later.or(after), Why::Imprecise).into());
            } else {
                let received = moments.received_at(ms)?.map_or(run.first(), |stamp| stamp.offset);
                return self.build(run, bases, received, Some(ms))?.ok_or_else(|| {
                    // The earliest moment was found from one of these sets.
                    outside(before, after, Why::NothingToRecover).into()
                });
            }
        }
        Err(between(before, after).into())
    }

    fn before(&self, bases: &[BackupSet], position: &Position) -> Result<Cut, NoCut> {
        let (mut before, mut after) = (None, None);
        let of = |run: &&Run| run.timeline.id == position.timeline && run.timeline.shard == position.shard;
        for run in self.runs.iter().filter(of) {
            let moments = self.moments(run);
            // A position needs a set that leads there, and no moment that is known.
            if moments.base(bases)?.is_none() {
                continue;
            }
            if run.last() < position.offset {
                before = Some(run.until().as_millisecond());
                continue;
            }
            if run.first() > position.offset {
                after = moments.earliest(bases, None)?;
                break;
            }
            let inside = moments.inside(position.offset)?;
            if !inside.begins_command {
                return Err(outside(None, None, Why::NoCommandThere).into());
            }
            return match self.build(run, bases, inside.transaction, None)? {
                Some(cut) => Ok(cut),
                None => Err(outside(before, moments.earliest(bases, None)?, Why::TooEarly).into()),
            };
        }
        Err(between(before, after).into())
    }

    /// The cut at an offset between two transactions of a run. `None`: no set leads there.
    fn build(&self, run: &Run, bases: &[BackupSet], to: u64, by_ms: Option<i64>) -> Result<Option<Cut>, Fault> {
        let moments = self.moments(run);
        let mut held: Vec<&BackupSet> = bases.iter().filter(|set| set.replication_offset <= to).collect();
        // Of several at one position the first: the state was there by then.
        held.sort_by_key(|set| (Reverse(set.replication_offset), set.finished_at));
        let Some(base) = moments.first_that_leads(&held)? else { return Ok(None) };
        let from = base.replication_offset;
        let inside = moments.inside(from)?;
        let arrival = if to > run.first() { moments.arrival(to)? } else { None };
        let arrival = arrival.filter(|stamp| by_ms.is_none_or(|ms| stamp.ms <= ms));
        let count = moments.count(to)?;
        // Those of every timeline that was begun since are behind the cut as well. Runs are in their order.
        let is_this = |other: &&Run| other.timeline.id == run.timeline.id && other.first() == run.first();
        let later = self.runs.iter().skip_while(|other| !is_this(other)).skip(1);
        let later: u64 = later.flat_map(|run| &run.segments).map(|segment| segment.commands).sum();
        let segments: Vec<SegmentName> =
            run.segments.iter().filter(|segment| segment.first < to && from < segment.last).cloned().collect();
        let mut names = BTreeSet::new();
        for segment in &segments {
            let whole = from <= segment.first && segment.last <= to;
            let segment = moments.open(segment)?;
            let of_it = if whole { segment.names().clone() } else { segment.names_between(from, to)? };
            names.extend(of_it.into_iter().filter(|name| is_replayed(name)));
        }
        Ok(Some(Cut {
            base: base.id.clone(),
            from: run.timeline.position(from),
            to: run.timeline.position(to),
            at: arrival.and_then(|stamp| Timestamp::from_millisecond(stamp.ms).ok()).unwrap_or(base.finished_at),
            precision_ms: arrival.map_or(0, |stamp| stamp.precision_ms),
            commands: count.saturating_sub(moments.count(from)?),
            taken_back: moments.count(run.last())?.saturating_sub(count) + later,
            names,
            database: inside.database,
            log_bytes: to - from,
            timeline: run.timeline.clone(),
            segments,
        }))
    }
}

/// What lies between the ends of what can be recovered.
fn between(before: Option<i64>, after: Option<i64>) -> Outside {
    let why = match (before, after) {
        (None, None) => Why::NothingToRecover,
        (None, Some(_)) => Why::TooEarly,
        (Some(_), None) => Why::NotArchivedYet,
        (Some(_), Some(_)) => Why::InGap,
    };
    outside(before, after, why)
}

fn outside(before: Option<i64>, after: Option<i64>, why: Why) -> Outside {
    let at = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    Outside { nearest_before: at(before), nearest_after: at(after), why }
}
