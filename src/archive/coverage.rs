//! What the log covers, from a listing: runs of segments without a hole, and every hole by name, whether a gap tells of it or not.

use crate::archive::layout::{self, Name, SegmentName};
use crate::archive::{Archive, Timeline, failed};
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::model::log::{Gap, Position, is_timeline_id};
use crate::vault::watch::Watch;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Segments of one timeline without a hole between them.
#[derive(Debug, Clone)]
pub struct Run {
    /// The timeline.
    pub timeline: Timeline,
    /// Its segments in order; at least one. One may begin before its predecessor ends: another archiver wrote the same.
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
    /// When the log went on, or what contradicts itself ends.
    pub to_at: Timestamp,
    /// Whether segments of different histories lie there, of which none is believed.
    pub contradicts: bool,
}

/// What the log of a shard covers.
#[derive(Debug, Clone)]
pub struct Coverage {
    pub(super) archive: Archive,
    /// Runs; those of an older timeline first.
    pub runs: Vec<Run>,
    /// Parts that are missing; those of an older timeline first.
    pub holes: Vec<Hole>,
    /// Gaps that were put down, oldest first.
    pub gaps: Vec<Gap>,
    /// Names of their objects within the shard, in no order.
    pub(super) gap_names: Vec<String>,
    /// By timeline, segments that no run has: they contradict another, or lie within one. No name tells which is what was written.
    pub(super) in_no_run: Vec<(Timeline, Vec<SegmentName>)>,
}

impl Archive {
    /// What the log of a shard covers, by the names of its segments alone. The vault is listed once.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn coverage(&self, instance_id: &str, shard: u16) -> Result<Coverage, Fault> {
        self.coverage_where(instance_id, shard, &mut Err::<(), Fault>)
    }

    /// The same, where `damaged` says whether a record or a gap that is damaged is left out, or ends it.
    ///
    /// # Errors
    /// `log.failed`; those of `damaged`.
    pub(super) fn coverage_where(
        &self,
        instance_id: &str,
        shard: u16,
        damaged: &mut dyn FnMut(Fault) -> Result<(), Fault>,
    ) -> Result<Coverage, Fault> {
        let prefix = layout::shard(instance_id, shard);
        let mut listed: BTreeMap<String, Listed> = BTreeMap::new();
        let mut gap_names = Vec::new();
        let mut replids: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut add = |name: &str| {
            let Some((id, file)) = name.split_once('/') else { return };
            let Some(what) = layout::name_of(file) else { return };
            if what == Name::Gap {
                if is_timeline_id(id) {
                    gap_names.push(name.to_owned());
                }
                return;
            }
            if !listed.contains_key(id) {
                listed.insert(id.to_owned(), Listed::default());
            }
            if let Some(of) = listed.get_mut(id) {
                of.add(what, &mut replids);
            }
        };
        self.store.each(&prefix, &mut add).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        let (mut gaps, mut whole) = (Vec::new(), Vec::new());
        for name in gap_names {
            let Some((id, _)) = name.split_once('/') else { continue };
            match self.gap(&prefix, id, &name) {
                Err(fault) if fault.kind == Kind::Damaged => damaged(fault)?,
                gap => {
                    gaps.push(gap?);
                    whole.push(name);
                }
            }
        }
        gaps.sort_by_key(|gap| (gap.from, gap.after_offset));
        let mut timelines = Vec::new();
        for (id, listed) in listed.into_iter().filter(|(id, listed)| listed.has_record && is_timeline_id(id)) {
            match self.timeline(instance_id, shard, &id) {
                Err(fault) if fault.kind == Kind::Damaged => damaged(fault)?,
                timeline => timelines.push((timeline?, listed)),
            }
        }
        timelines.sort_by(|(a, _), (b, _)| a.by_age(b));
        let (mut runs, mut holes, mut in_no_run) = (Vec::new(), Vec::new(), Vec::new());
        for (timeline, listed) in timelines {
            let left = listed.cover(&timeline, &mut runs, &mut holes);
            if !left.is_empty() {
                in_no_run.push((timeline, left));
            }
        }
        Ok(Coverage { archive: self.clone(), runs, holes, gaps, gap_names: whole, in_no_run })
    }

    /// Up to when the log of a set's instance goes on behind the set, as [`Self::coverage`] tells; `None` where it does not. A timeline is listed and
    /// held at a time, the newest first; all of it, for what ends before the set may contradict what holds it.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`; where `watch` was stopped, whatever that looks like.
    pub fn goes_on_until(&self, set: &BackupSet, shard: u16, watch: &Watch) -> Result<Option<Timestamp>, Fault> {
        let root = layout::shard(&set.instance_id, shard);
        let mut ids = self.store.folders(&root).map_err(|e| failed("read", &self.store.place(&root), e))?;
        ids.retain(|id| is_timeline_id(id));
        ids.sort_unstable();
        for id in ids.iter().rev() {
            let prefix = layout::timeline(&set.instance_id, shard, id);
            let (mut listed, mut replids) = (Listed::default(), BTreeSet::new());
            let mut add = |name: &str| {
                if let Some(what) = layout::name_of(name) {
                    listed.add(what, &mut replids);
                }
            };
            let each = self.store.each_watched(&prefix, watch, &mut add);
            each.map_err(|e| failed("read", &self.store.place(&prefix), e))?;
            if !listed.has_record || !listed.segments.iter().any(|segment| segment.holds(set)) {
                continue;
            }
            let (mut runs, mut holes) = (Vec::new(), Vec::new());
            listed.cover(&self.timeline(&set.instance_id, shard, id)?, &mut runs, &mut holes);
            let until = runs.iter().filter(|run| run.holds(set)).map(Run::until).max();
            if until.is_some() {
                return Ok(until);
            }
        }
        Ok(None)
    }
}

/// What is listed of a timeline.
#[derive(Default)]
struct Listed {
    has_record: bool,
    /// Offsets of which a mark says that nothing before is kept any more.
    marks: Vec<u64>,
    segments: Vec<SegmentName>,
}

impl Listed {
    /// Takes a name in. Of each history one text is held, in `replids`.
    fn add(&mut self, what: Name, replids: &mut BTreeSet<Arc<str>>) {
        match what {
            Name::Timeline => self.has_record = true,
            Name::Segment(segment) => {
                let replid = replids.get(&segment.replid).cloned().unwrap_or_else(|| Arc::clone(&segment.replid));
                replids.insert(Arc::clone(&replid));
                self.segments.push(SegmentName { replid, ..segment });
            }
            Name::Pruned(offset) => self.marks.push(offset),
            Name::Gap => {}
        }
    }

    /// Finds the runs and holes of the timeline, and returns the segments that no run has. What is being removed is there no more.
    fn cover(mut self, timeline: &Timeline, runs: &mut Vec<Run>, holes: &mut Vec<Hole>) -> Vec<SegmentName> {
        let pruned = layout::kept_from(&self.marks, &self.segments);
        self.segments.retain(|segment| segment.last > pruned);
        cover(timeline, pruned, self.segments, runs, holes)
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

/// Names that are taken from a listing before their room is given back.
const AT_ONCE: usize = 1 << 16;

/// Finds the runs and holes of a timeline, and returns the segments that no run has. Segments are looked at in the order of their beginnings, of
/// several that begin at one offset the longest first. Years of a log have millions, which are never held twice.
fn cover(
    timeline: &Timeline,
    pruned: u64,
    mut segments: Vec<SegmentName>,
    runs: &mut Vec<Run>,
    holes: &mut Vec<Hole>,
) -> Vec<SegmentName> {
    segments.sort_unstable_by(|a, b| (b.first, a.last, b).cmp(&(a.first, b.last, a)));
    let (mut run, mut in_no_run) = (Vec::<SegmentName>::new(), Vec::new());
    // Where the last run ended, and what lies there in contradiction: its end, and when it ends.
    let (mut behind, mut behind_at) = (timeline.offset.max(pruned), None);
    let mut contradiction: Option<(u64, i64)> = None;
    let mut close = |run: &mut Vec<SegmentName>, behind: &mut u64, behind_at: &mut Option<Timestamp>| {
        if let Some(last) = run.last() {
            (*behind, *behind_at) = (last.last, Some(at(last.last_ms)));
            runs.push(Run { timeline: timeline.clone(), segments: std::mem::take(run) });
        }
    };
    while let Some(segment) = segments.pop() {
        if segments.len().is_multiple_of(AT_ONCE) {
            segments.shrink_to_fit();
        }
        if let Some((end, ms)) = &mut contradiction
            && segment.first < *end
        {
            (*end, *ms) = ((*end).max(segment.last), (*ms).max(segment.last_ms));
            in_no_run.push(segment);
            continue;
        }
        let reached = run.last().map(|last| last.last);
        let overlaps = |other: &SegmentName| other.last > segment.first;
        if run.iter().rev().take_while(|other| overlaps(other)).any(|other| other.replid != segment.replid) {
            // Two histories for the same offsets: neither is believed.
            let mut end = (segment.last, segment.last_ms);
            while let Some(last) = run.pop_if(|last| last.last > segment.first) {
                end = (end.0.max(last.last), end.1.max(last.last_ms));
                in_no_run.push(last);
            }
            in_no_run.push(segment);
            close(&mut run, &mut behind, &mut behind_at);
            contradiction = Some(end);
            continue;
        }
        match reached {
            Some(reached) if segment.first <= reached && segment.last <= reached => {
                in_no_run.push(segment);
                continue;
            }
            Some(reached) if segment.first <= reached => {}
            _ => {
                close(&mut run, &mut behind, &mut behind_at);
                if segment.first > behind || contradiction.is_some() {
                    holes.push(Hole {
                        from: timeline.position(behind),
                        to_offset: segment.first,
                        from_at: behind_at,
                        to_at: at(segment.first_ms),
                        contradicts: contradiction.take().is_some(),
                    });
                }
            }
        }
        run.push(segment);
    }
    close(&mut run, &mut behind, &mut behind_at);
    if let Some((end, ms)) = contradiction {
        let (from, from_at) = (timeline.position(behind), behind_at);
        holes.push(Hole { from, to_offset: end, from_at, to_at: at(ms), contradicts: true });
    }
    in_no_run
}

impl SegmentName {
    /// Whether a set's position lies in it.
    fn holds(&self, set: &BackupSet) -> bool {
        let offset = set.replication_offset;
        self.replid.eq_ignore_ascii_case(&set.replication_id) && self.first <= offset && offset <= self.last
    }
}

impl Run {
    /// Offset at which it begins.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.first)
    }

    /// Offset behind its last command.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.last)
    }

    /// Up to when everything received is in it.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        at(self.segments.last().map_or(0, |segment| segment.last_ms))
    }

    /// Whether the log can be replayed onto a set: the set's position lies in this history.
    #[must_use]
    pub fn holds(&self, set: &BackupSet) -> bool {
        self.segments.iter().any(|segment| segment.holds(set))
    }
}
