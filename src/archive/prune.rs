//! Pruning: what of the log no kept moment needs is removed.
//!
//! It must not touch what lies behind the set from which the first kept moment is recovered, nor behind one that is in use, nor the newest
//! segment of a timeline, behind which its writer goes on. Records of timelines and gaps stay. Before anything is removed, its end is put
//! down: a crash, or a reader meanwhile, finds no hole there.

use crate::archive::coverage::{Coverage, Run};
use crate::archive::layout::{self, Name};
use crate::archive::{Archive, SegmentName, Timeline, failed};
use crate::guard::grant::{Grant, Prune};
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::vault::lacking::is_refused;
use jiff::Timestamp;
use std::io;

/// What of a log must stay.
#[derive(Debug, Clone)]
pub struct Kept {
    /// All sets of the instance, of whatever kind.
    pub sets: Vec<BackupSet>,
    /// Ids of those in which a fault was found, or for which nobody vouches: the log behind them stays as far as they were needed, for a fault may
    /// be lifted, and they stand in for no other.
    pub damaged: Vec<String>,
    /// Ids of those that a plan or a job uses: all that is behind them stays.
    pub in_use: Vec<String>,
    /// The first moment that is kept.
    pub since: Timestamp,
}

/// Whether what is needed from an offset, or a moment, on needs a segment.
pub(super) fn is_needed(segment: &SegmentName, from: u64, since: Timestamp) -> bool {
    segment.last >= from || segment.last_ms >= since.as_millisecond()
}

/// What of a timeline is removed.
struct Needless {
    timeline: Timeline,
    /// Offset at which what stays begins.
    begins: u64,
    segments: Vec<String>,
    /// What said the same of earlier offsets.
    marks: Vec<String>,
}

impl Archive {
    /// The number of segments that [`Self::prune`] would remove.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn prunable(&self, instance_id: &str, shard: u16, kept: &Kept) -> Result<usize, Fault> {
        Ok(self.needless(instance_id, shard, kept)?.iter().map(|of| of.segments.len()).sum())
    }

    /// Removes from the log of an instance's shard what no moment that is kept needs. The number of segments removed. Without a grant this
    /// cannot be called:
    ///
    /// ```no_run
    /// use tair_backup_mcp::archive::{Archive, Kept};
    /// use tair_backup_mcp::guard::grant::{Grant, Prune};
    /// fn with(archive: &Archive, grant: Grant<Prune>, kept: &Kept) {
    ///     archive.prune(grant, 0, kept).ok();
    /// }
    /// ```
    ///
    /// ```compile_fail,E0061
    /// use tair_backup_mcp::archive::{Archive, Kept};
    /// fn without(archive: &Archive, kept: &Kept) {
    ///     archive.prune(0, kept).ok();
    /// }
    /// ```
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`; what was not removed is at the next call.
    pub fn prune(&self, grant: Grant<Prune>, shard: u16, kept: &Kept) -> Result<usize, Fault> {
        let mut removed = 0;
        for needless in self.needless(grant.instance_id(), shard, kept)? {
            let place = self.store.place(&needless.timeline.prefix());
            removed += self.remove(&needless).map_err(|e| failed("prune", &place, e))?;
        }
        Ok(removed)
    }

    fn needless(&self, instance_id: &str, shard: u16, kept: &Kept) -> Result<Vec<Needless>, Fault> {
        let coverage = self.coverage(instance_id, shard)?;
        let mut all = Vec::new();
        for timeline in self.timelines(instance_id, shard)? {
            let from = coverage.needed_from(&timeline, kept, &mut Err::<(), Fault>)?;
            let place = self.store.place(&timeline.prefix());
            let found = self.before(timeline, from, kept.since).map_err(|e| failed("read", &place, e))?;
            let unlocked = found.map(|found| self.unlocked(found, Timestamp::now())).transpose();
            let unlocked = unlocked.map_err(|e| failed("ask about locks of", &place, e))?;
            all.extend(unlocked.filter(|needless| !needless.segments.is_empty()));
        }
        Ok(all)
    }

    /// The segments of a timeline that end before an offset and before a moment, but for the last.
    fn before(&self, timeline: Timeline, from: u64, since: Timestamp) -> io::Result<Option<Needless>> {
        let prefix = timeline.prefix();
        // Where what stays begins, and where the last segment does.
        let (mut stays, mut last) = (u64::MAX, None::<(u64, u64)>);
        self.store.each(&prefix, &mut |name| {
            if let Some(segment) = SegmentName::parse(name) {
                if is_needed(&segment, from, since) {
                    stays = stays.min(segment.first);
                }
                last = last.max(Some((segment.last, segment.first)));
            }
        })?;
        let Some((_, last)) = last else { return Ok(None) };
        let begins = stays.min(last);
        let (mut segments, mut marks) = (Vec::new(), Vec::new());
        self.store.each(&prefix, &mut |name| match layout::name_of(name) {
            Some(Name::Segment(segment)) if segment.last <= begins => segments.push(name.to_owned()),
            Some(Name::Pruned(offset)) if offset < begins => marks.push(name.to_owned()),
            _ => {}
        })?;
        Ok(Some(Needless { timeline, begins, segments, marks }))
    }

    /// Leaves out what a lock of the store keeps. Segments were put in their order, and so they are let go in it.
    fn unlocked(&self, mut needless: Needless, now: Timestamp) -> io::Result<Needless> {
        let prefix = needless.timeline.prefix();
        let is_locked = |name: &String| -> io::Result<bool> {
            Ok(self.store.lock(&format!("{prefix}/{name}"))?.is_some_and(|lock| lock.until > now))
        };
        let first = |name: &String| SegmentName::parse(name).map_or(u64::MAX, |segment| segment.first);
        needless.segments.sort_by_key(first);
        let (mut free, mut kept) = (0_usize, needless.segments.len());
        // The last one first: as a rule none is locked.
        let mut asked = kept.saturating_sub(1);
        while free < kept
            && let Some(name) = needless.segments.get(asked)
        {
            if is_locked(name)? {
                kept = asked;
            } else {
                free = asked + 1;
            }
            asked = free.midpoint(kept);
        }
        if let Some(stays) = needless.segments.get(kept) {
            let begins = first(stays);
            needless.begins = begins;
            needless.segments.truncate(kept);
            needless
                .marks
                .retain(|mark| matches!(layout::name_of(mark), Some(Name::Pruned(offset)) if offset < begins));
        }
        Ok(needless)
    }

    /// How many segments were removed: where the store refuses one, it and what is behind it stay.
    fn remove(&self, needless: &Needless) -> io::Result<usize> {
        let prefix = needless.timeline.prefix();
        let mark = format!("{prefix}/{}", layout::pruned_file(needless.begins));
        // Where segments are refused it is there already, each time: a store that keeps both would have a version more of it each time.
        if !self.store.has(&mark)? {
            match self.store.put_new(&mark, b"{}\n") {
                // A crash, or another process, came between the two.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                put => put?,
            }
        }
        let mut removed = 0;
        for name in needless.segments.iter().chain(&needless.marks) {
            match self.store.delete(&format!("{prefix}/{name}")) {
                Err(e) if is_refused(&e) => {
                    tracing::info!(
                        "{} and what is behind it is retained: {e}",
                        self.store.place(&format!("{prefix}/{name}"))
                    );
                    break;
                }
                deleted => deleted?,
            }
            removed += 1;
        }
        self.store.deleted(&prefix)?;
        Ok(removed.min(needless.segments.len()))
    }
}

impl Coverage {
    /// The offset from which on a timeline is needed; [`u64::MAX`] where nothing of it is. `damaged` says whether a set leads on whose segment is
    /// damaged, or that ends it.
    pub(super) fn needed_from(
        &self,
        timeline: &Timeline,
        kept: &Kept,
        damaged: &mut dyn FnMut(Fault) -> Result<(), Fault>,
    ) -> Result<u64, Fault> {
        let mut oldest_first: Vec<&BackupSet> = kept.sets.iter().collect();
        oldest_first.sort_by_key(|set| (set.replication_offset, set.finished_at));
        let sound = || oldest_first.iter().copied().filter(|set| !kept.damaged.contains(&set.id)).collect();
        let of_all = std::iter::once(oldest_first.clone());
        let lists: Vec<Vec<&BackupSet>> = of_all.chain((!kept.damaged.is_empty()).then(sound)).collect();
        let mut needed = u64::MAX;
        for run in self.runs.iter().filter(|run| run.timeline.id == timeline.id) {
            let used = oldest_first.iter().find(|set| kept.in_use.contains(&set.id) && run.holds(set));
            needed = used.map_or(needed, |set| needed.min(set.replication_offset));
            if run.until() < kept.since {
                continue;
            }
            // The newest set that is old enough leads to all moments that are kept. Without one the oldest leads to most of them; and where none
            // leads anywhere, one may be on its way.
            let moments = self.moments(run);
            for sets in &lists {
                let reaches = |set: &&&BackupSet| run.reaches_by(set.replication_offset, kept.since);
                let old_enough: Vec<&BackupSet> = sets.iter().rev().filter(reaches).copied().collect();
                let base = match moments.first_that_leads_where(&old_enough, damaged)? {
                    Some(base) => Some(base),
                    None => moments.first_that_leads_where(sets, damaged)?,
                };
                needed = needed.min(base.map_or(run.first(), |base| base.replication_offset));
            }
        }
        Ok(needed)
    }
}

impl Run {
    /// Whether everything before an offset had been received by a moment, as the names of segments say it.
    fn reaches_by(&self, offset: u64, moment: Timestamp) -> bool {
        let holding = self.segments.iter().find(|segment| segment.first <= offset && offset <= segment.last);
        holding.is_some_and(|segment| segment.last_ms <= moment.as_millisecond())
    }
}
