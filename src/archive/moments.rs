//! Moments and offsets of a run, by its segments' footers: what had been received when, and which moments nobody can tell apart.
//!
//! Moments belong to the oldest run that reaches them: a clock that was set back makes none of them stand for two states.

use crate::archive::coverage::{Coverage, Run};
use crate::archive::segment::outline::Stamp;
use crate::archive::segment::read::{Inside, Segment};
use crate::archive::{Archive, SegmentName, damaged};
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::log::{Gap, GapCause};
use jiff::Timestamp;

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

impl Coverage {
    /// The moments that can be recovered from these sets and the log; those of an older timeline first.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn windows(&self, bases: &[BackupSet]) -> Result<Vec<Window>, Fault> {
        let mut windows = Vec::new();
        for (run, floor) in self.runs_by_age() {
            let moments = self.moments(run);
            if let Some(from_ms) = moments.earliest(bases, floor)? {
                let within = run.segments.iter().filter(|segment| segment.last_ms >= from_ms);
                windows.push(Window {
                    timeline: run.timeline.id.clone(),
                    from: Timestamp::from_millisecond(from_ms).unwrap_or_default(),
                    to: Timestamp::from_millisecond(moments.latest()?).unwrap_or_default(),
                    precision_ms: within.map(|segment| segment.precision_ms).max().unwrap_or_default(),
                });
            }
        }
        Ok(windows)
    }

    /// The first and the last moment that can be recovered from these sets, and not without one of them; `None` where the others do.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn only_from(&self, bases: &[BackupSet], id: &str) -> Result<Option<(Timestamp, Timestamp)>, Fault> {
        let others: Vec<BackupSet> = bases.iter().filter(|set| set.id != id).cloned().collect();
        let mut lost: Option<(i64, i64)> = None;
        for (run, floor) in self.runs_by_age() {
            let Some(from) = self.moments(run).earliest(bases, floor)? else { continue };
            let to =
                self.moments(run).earliest(&others, floor)?.map_or(run.until().as_millisecond(), |other| other - 1);
            if from <= to {
                lost = Some(lost.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
            }
        }
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
        Ok(lost.map(|(from, to)| (at(from), at(to))))
    }

    /// The runs, those of an older timeline first, each with the last moment that those before it have.
    pub(super) fn runs_by_age(&self) -> impl DoubleEndedIterator<Item = (&Run, Option<i64>)> {
        let mut floor = None;
        let floors: Vec<Option<i64>> = self
            .runs
            .iter()
            .map(|run| {
                let next = floor.max(Some(run.until().as_millisecond()));
                std::mem::replace(&mut floor, next)
            })
            .collect();
        self.runs.iter().zip(floors)
    }

    pub(super) fn moments<'a>(&'a self, run: &'a Run) -> Moments<'a> {
        Moments { archive: &self.archive, run, gaps: &self.gaps }
    }
}

/// A run, and where to read it.
pub(super) struct Moments<'a> {
    pub archive: &'a Archive,
    pub run: &'a Run,
    /// The gaps of the shard.
    pub gaps: &'a [Gap],
}

impl Moments<'_> {
    pub fn open(&self, segment: &SegmentName) -> Result<Segment, Fault> {
        Segment::open(&*self.archive.store, &self.run.timeline, segment)
    }

    /// The segment in which an offset lies, or behind which it is the end.
    fn holding(&self, offset: u64) -> Result<Segment, Fault> {
        let holds = |segment: &&SegmentName| segment.first <= offset && offset < segment.last;
        let found = self.run.segments.iter().find(holds).or(self.run.segments.last());
        self.open(found.ok_or_else(|| damaged(&self.run.timeline.id, "has no segment"))?)
    }

    /// Looks at an offset of the run.
    pub fn inside(&self, offset: u64) -> Result<Inside, Fault> {
        self.holding(offset)?.inside(offset)
    }

    /// When the stream had been received up to an offset behind the run's beginning.
    pub fn arrival(&self, offset: u64) -> Result<Option<Stamp>, Fault> {
        let Some(segment) = self.run.segments.iter().find(|segment| segment.last >= offset) else { return Ok(None) };
        Ok(Stamp::reaching(self.open(segment)?.stamps(), offset).copied())
    }

    /// Up to where the stream had been received at a moment; `None` before the run's first time.
    pub fn received_at(&self, ms: i64) -> Result<Option<Stamp>, Fault> {
        let Some(segment) = self.run.segments.iter().rfind(|segment| segment.first_ms <= ms) else { return Ok(None) };
        Ok(self.open(segment)?.stamps().iter().rfind(|stamp| stamp.ms <= ms).copied())
    }

    /// Commands that count, from the run's beginning to an offset.
    pub fn count(&self, offset: u64) -> Result<u64, Fault> {
        let (mut total, mut reached) = (0_u64, self.run.first());
        for segment in self.run.segments.iter().take_while(|segment| segment.first < offset) {
            let twice = if reached > segment.first { commands_at(&self.open(segment)?, reached)? } else { 0 };
            let all =
                if segment.last <= offset { segment.commands } else { commands_at(&self.open(segment)?, offset)? };
            total += all.saturating_sub(twice);
            reached = segment.last;
        }
        Ok(total)
    }

    /// The first of these sets onto which the log can be replayed: all that can be recovered lies behind it.
    pub fn base<'s>(&self, bases: &'s [BackupSet]) -> Result<Option<&'s BackupSet>, Fault> {
        let mut held: Vec<&BackupSet> = bases.iter().collect();
        held.sort_by_key(|set| (set.replication_offset, set.finished_at));
        self.first_that_leads(&held)
    }

    /// The earliest moment that can be recovered from these sets; `floor` is the last one that an older run has.
    pub fn earliest(&self, bases: &[BackupSet], floor: Option<i64>) -> Result<Option<i64>, Fault> {
        let Some(base) = self.base(bases)? else { return Ok(None) };
        let Some(from) = self.from(base)? else { return Ok(None) };
        let ms = floor.map_or(from, |floor| from.max(floor.saturating_add(1)));
        let ms = self.blurred(ms)?.map_or(ms, |(_, after)| after);
        let latest = self.latest()?;
        Ok(Some(ms).filter(|ms| *ms <= latest))
    }

    /// The latest moment: the run's end, or the moment before the clock was set, where it ended before the clock was there again.
    pub fn latest(&self) -> Result<i64, Fault> {
        let until = self.run.until().as_millisecond();
        Ok(self.blurred(until)?.map_or(until, |(before, _)| before))
    }

    /// The first set onto which the log can be replayed: its position lies in this history, between two transactions.
    pub fn first_that_leads<'s>(&self, sets: &[&'s BackupSet]) -> Result<Option<&'s BackupSet>, Fault> {
        self.first_that_leads_where(sets, &mut Err::<(), Fault>)
    }

    /// The same, where `damaged` says whether a set leads on whose segment is damaged, or that ends it.
    pub fn first_that_leads_where<'s>(
        &self,
        sets: &[&'s BackupSet],
        damaged: &mut dyn FnMut(Fault) -> Result<(), Fault>,
    ) -> Result<Option<&'s BackupSet>, Fault> {
        for set in sets.iter().filter(|set| self.run.holds(set)) {
            let leads = match self.inside(set.replication_offset) {
                Err(fault) if fault.kind == Kind::Damaged => damaged(fault).map(|()| true)?,
                inside => inside?.transaction == set.replication_offset,
            };
            if leads {
                return Ok(Some(set));
            }
        }
        Ok(None)
    }

    /// The earliest moment whose state is the base's, or the log's behind it.
    pub fn from(&self, base: &BackupSet) -> Result<Option<i64>, Fault> {
        if base.replication_offset > self.run.first() {
            return Ok(self.arrival(base.replication_offset)?.map(|stamp| stamp.ms));
        }
        // Nothing says when the log's beginning was reached, but that it was when the set was complete.
        let first = self.holding(self.run.first())?.stamps().first().copied();
        let complete = base.finished_at.as_millisecond();
        Ok(first.map(|stamp| {
            if complete <= stamp.ms.saturating_sub_unsigned(stamp.precision_ms) { complete } else { stamp.ms }
        }))
    }

    /// The neighbours of a moment of which nobody knows what had been written by then.
    pub fn blurred(&self, ms: i64) -> Result<Option<(i64, i64)>, Fault> {
        let Some((mut before, mut after)) = self.interval(ms)? else { return Ok(None) };
        while let Some((earlier, _)) = self.interval(before)? {
            before = earlier;
        }
        while let Some((_, later)) = self.interval(after)? {
            after = later;
        }
        Ok(Some((before, after)))
    }

    /// The widest interval around a moment in which something was written that came at its end, or over which the clock was set.
    fn interval(&self, ms: i64) -> Result<Option<(i64, i64)>, Fault> {
        let steps =
            self.gaps.iter().filter(|gap| gap.cause == GapCause::ClockStep && gap.timeline == self.run.timeline.id);
        let around = steps.map(|gap| (gap.from.as_millisecond(), gap.to.as_millisecond()));
        let mut found = around
            .filter(|(from, to)| *from < ms && ms < *to)
            .reduce(|(from, to), (other_from, other_to)| (from.min(other_from), to.max(other_to)));
        let reaches = |segment: &&SegmentName| {
            segment.precision_ms > 0
                && ms < segment.last_ms
                && ms > segment.first_ms.saturating_sub_unsigned(segment.precision_ms)
        };
        for segment in self.run.segments.iter().filter(reaches) {
            for stamp in self.open(segment)?.stamps() {
                let since = stamp.ms.saturating_sub_unsigned(stamp.precision_ms);
                if since < ms && ms < stamp.ms {
                    let (before, after) = found.unwrap_or((since, stamp.ms));
                    found = Some((before.min(since), after.max(stamp.ms)));
                }
            }
        }
        Ok(found)
    }
}

/// Commands that count before an offset of a segment.
fn commands_at(segment: &Segment, offset: u64) -> Result<u64, Fault> {
    match segment.stamps().iter().find(|stamp| stamp.offset == offset) {
        Some(stamp) => Ok(stamp.commands),
        None => Ok(segment.inside(offset)?.commands),
    }
}
