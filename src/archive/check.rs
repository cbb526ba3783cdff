//! A look at a whole log: every record and mark, every segment's footer and frames, that each names the one before it, and that a gap tells of
//! whatever lies between two that do not meet. It changes nothing.

use crate::archive::layout::{self, Name, TIMELINE};
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, Timeline, failed};
use crate::model::fault::{Fault, Kind};
use crate::model::log::is_timeline_id;
use crate::vault::store::overlaid;
use std::collections::BTreeMap;

impl Archive {
    /// Reads all of a shard's log. How many segments were read, and what is wrong, each with the object's place.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn check(&self, instance_id: &str, shard: u16) -> Result<(u64, Vec<String>), Fault> {
        let (mut read, mut wrong) = (0, Vec::new());
        let prefix = layout::shard(instance_id, shard);
        let mut ids = self.store.folders(&prefix).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        ids.retain(|id| is_timeline_id(id));
        ids.sort();
        for id in ids {
            read += self.check_timeline((instance_id, shard, &id), &mut wrong)?;
        }
        Ok((read, wrong))
    }

    fn check_timeline(
        &self,
        (instance_id, shard, id): (&str, u16, &str),
        wrong: &mut Vec<String>,
    ) -> Result<u64, Fault> {
        let prefix = layout::timeline(instance_id, shard, id);
        let (mut segments, mut gaps, mut marks, mut has_record) = (Vec::new(), Vec::new(), Vec::new(), false);
        // By their names: one that is damaged tells that there is a gap all the same.
        let mut gaps_after = Vec::new();
        let mut add = |name: &str| match layout::name_of(name) {
            Some(Name::Segment(segment)) => segments.push(segment),
            Some(Name::Gap) => {
                gaps_after.extend(layout::gap_after(name));
                gaps.push(format!("{id}/{name}"));
            }
            Some(Name::Pruned(offset)) => marks.push(offset),
            Some(Name::Timeline) => has_record = true,
            None => {}
        };
        self.store.each(&prefix, &mut add).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        self.check_overlaid(&prefix, wrong)?;
        for gap in &gaps {
            named(self.gap(&layout::shard(instance_id, shard), id, gap), wrong)?;
        }
        let pruned = layout::kept_from(&marks, &segments);
        for mark in marks.iter().filter(|mark| **mark > pruned) {
            let place = self.store.place(&format!("{prefix}/{}", layout::pruned_file(*mark)));
            wrong.push(format!(
                "{place}: says that nothing before its offset is kept, and each segment begins before; this program puts no such mark, and takes no notice of it"
            ));
        }
        if !has_record {
            // It is put before anything else; a copy puts it last.
            if !segments.is_empty() || !gaps.is_empty() {
                let place = self.store.place(&format!("{prefix}/{TIMELINE}"));
                let beside = segments.len();
                wrong.push(format!(
                    "{place}: is not there, so that nothing is made of the {beside} segments beside it: it was taken away, or a copy is not complete"
                ));
            }
            return Ok(0);
        }
        let Some(timeline) = named(self.timeline(instance_id, shard, id), wrong)? else { return Ok(0) };
        segments.retain(|segment| segment.last > pruned);
        segments.sort_unstable();
        self.check_chain(&timeline, &segments, pruned, &gaps_after, wrong)?;
        Ok(segments.len() as u64)
    }

    /// Tells what somebody put over objects, or hid.
    fn check_overlaid(&self, prefix: &str, wrong: &mut Vec<String>) -> Result<(), Fault> {
        let told = overlaid(&*self.store, prefix).map_err(|e| failed("read", &self.store.place(prefix), e))?;
        wrong.extend(told.into_values().flatten());
        Ok(())
    }

    fn check_chain(
        &self,
        timeline: &Timeline,
        segments: &[SegmentName],
        pruned: u64,
        gaps_after: &[u64],
        wrong: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut digests: BTreeMap<String, String> = BTreeMap::new();
        // Offset behind what the segments have that were looked at.
        let mut reached = timeline.offset.max(pruned);
        for name in segments {
            let behind = reached;
            reached = reached.max(name.last);
            let Some(segment) = named(self.whole(timeline, name), wrong)? else { continue };
            digests.insert(name.to_string(), segment.digest().to_owned());
            let previous = segment.previous();
            let before = match &previous.name {
                None => Some(&timeline.digest),
                Some(before) => digests.get(before),
            };
            match before {
                // Whoever put it knew that nothing lies between: the gap was put down before. Where a segment was taken away the chain tells.
                Some(digest) if *digest == previous.digest => {
                    let before = previous.name.as_deref().and_then(SegmentName::parse);
                    let from = before.map_or(timeline.offset, |before| before.last);
                    if name.first > behind && !gaps_after.iter().any(|after| (from..name.first).contains(after)) {
                        wrong.push(format!(
                            "{}: nothing has the offsets {behind} to {} before it, and no gap says why: its record was taken away, or never put",
                            segment.place(),
                            name.first
                        ));
                    }
                }
                Some(_) => wrong.push(format!(
                    "{}: follows on another {} than the one that is there",
                    segment.place(),
                    previous.name.as_deref().unwrap_or("record of its timeline")
                )),
                // Nothing before that offset is kept; and one that is damaged is told already.
                None if name.first <= pruned || listed(segments, previous.name.as_deref()) => {}
                None => wrong.push(format!(
                    "{}: follows on {}, which is not there",
                    segment.place(),
                    previous.name.as_deref().unwrap_or_default()
                )),
            }
        }
        Ok(())
    }

    /// Opens a segment, and reads each frame.
    fn whole(&self, timeline: &Timeline, name: &SegmentName) -> Result<Segment, Fault> {
        let segment = Segment::open(&*self.store, timeline, name)?;
        segment.frames().iter().try_for_each(|frame| segment.frame(frame).map(drop))?;
        Ok(segment)
    }
}

fn listed(segments: &[SegmentName], name: Option<&str>) -> bool {
    name.is_some_and(|name| segments.iter().any(|segment| segment.to_string() == name))
}

/// What was read; `None` where it is damaged, which is told among what is wrong.
fn named<T>(read: Result<T, Fault>, wrong: &mut Vec<String>) -> Result<Option<T>, Fault> {
    match read {
        Err(fault) if fault.kind == Kind::Damaged => {
            wrong.push(fault.message);
            Ok(None)
        }
        read => read.map(Some),
    }
}
