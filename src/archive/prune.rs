//! Pruning: what of the log no kept set leads to is removed, once a set on it has expired.
//!
//! It must not touch what lies behind a set that is there, nor the newest segment of a timeline, behind which its writer goes on. Records of
//! timelines and gaps stay. Before anything is removed, its end is put down: a crash, or a reader meanwhile, finds no hole there.

use crate::archive::layout::{self, Name, SegmentName};
use crate::archive::{Archive, Timeline, failed};
use crate::guard::grant::{Grant, Prune};
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use std::io;

impl Archive {
    /// Removes from the log of an instance's shard what none of these sets leads to: all that are there, of whatever kind. Of the newest
    /// timeline nothing is removed where none of them leads into it: its base may be on its way. The number of segments removed.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`; what was not removed is at the next call.
    pub fn prune(&self, grant: Grant<Prune>, shard: u16, kept: &[BackupSet]) -> Result<usize, Fault> {
        let coverage = self.coverage(grant.instance_id(), shard)?;
        let timelines = self.timelines(grant.instance_id(), shard)?;
        let newest = timelines.last().map(|timeline| timeline.id.clone());
        let mut removed = 0;
        for timeline in timelines {
            let of = || coverage.runs.iter().filter(|run| run.timeline.id == timeline.id);
            let leading = kept.iter().filter(|set| of().any(|run| run.holds(set)));
            let from = match leading.map(|set| set.replication_offset).min() {
                Some(offset) => offset,
                None if newest.as_ref() == Some(&timeline.id) => continue,
                None => u64::MAX,
            };
            let prefix = timeline.prefix();
            removed +=
                self.prune_before(&timeline, from).map_err(|e| failed("prune", &self.store.place(&prefix), e))?;
        }
        Ok(removed)
    }

    /// Removes the segments of a timeline that end before an offset, but for the last.
    fn prune_before(&self, timeline: &Timeline, from: u64) -> io::Result<usize> {
        let prefix = timeline.prefix();
        // Where what stays begins, and where the last segment does.
        let (mut stays, mut last) = (u64::MAX, None::<(u64, u64)>);
        self.store.each(&prefix, &mut |name| {
            if let Some(segment) = SegmentName::parse(name) {
                if segment.last >= from {
                    stays = stays.min(segment.first);
                }
                last = last.max(Some((segment.last, segment.first)));
            }
        })?;
        let Some((_, last)) = last else { return Ok(0) };
        let begins = stays.min(last);
        let (mut gone, mut told) = (Vec::new(), false);
        self.store.each(&prefix, &mut |name| match layout::name_of(name) {
            Some(Name::Segment(segment)) if segment.last <= begins => gone.push(name.to_owned()),
            Some(Name::Pruned(offset)) => told |= offset == begins,
            _ => {}
        })?;
        if gone.is_empty() {
            return Ok(0);
        }
        if !told {
            self.store.put_new(&format!("{prefix}/{}", layout::pruned_file(begins)), b"{}\n")?;
        }
        for name in &gone {
            self.store.delete(&format!("{prefix}/{name}"))?;
        }
        self.store.deleted(&prefix)?;
        Ok(gone.len())
    }
}
