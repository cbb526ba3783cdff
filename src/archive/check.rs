//! A look at a whole log: every segment's footer and frames, and that each names the one before it. It changes nothing.

use crate::archive::layout::{self, Name};
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, Timeline, failed};
use crate::model::fault::{Fault, Kind};
use crate::model::text::clean;
use crate::vault::store::Overlaid;
use std::collections::BTreeMap;

impl Archive {
    /// Reads all of a shard's log. How many segments were read, and what is wrong, each with the object's place.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn check(&self, instance_id: &str, shard: u16) -> Result<(u64, Vec<String>), Fault> {
        let (mut read, mut wrong) = (0, Vec::new());
        let timelines = match self.timelines(instance_id, shard) {
            Err(fault) if fault.kind == Kind::Damaged => return Ok((0, vec![fault.message])),
            timelines => timelines?,
        };
        for timeline in timelines {
            let prefix = timeline.prefix();
            let place = |name: &str| clean(&self.store.place(&format!("{prefix}/{name}")));
            let mut tell = |name: &str, what: Overlaid| wrong.push(format!("{}: {}", place(name), what.as_str()));
            self.store.overlaid(&prefix, &mut tell).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
            let (mut segments, mut pruned) = (Vec::new(), 0);
            let mut add = |name: &str| match layout::name_of(name) {
                Some(Name::Segment(segment)) => segments.push(segment),
                Some(Name::Pruned(offset)) => pruned = pruned.max(offset),
                _ => {}
            };
            self.store.each(&prefix, &mut add).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
            segments.retain(|segment| segment.last > pruned);
            segments.sort_unstable();
            read += segments.len() as u64;
            self.check_chain(&timeline, &segments, pruned, &mut wrong)?;
        }
        Ok((read, wrong))
    }

    fn check_chain(
        &self,
        timeline: &Timeline,
        segments: &[SegmentName],
        pruned: u64,
        wrong: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut digests: BTreeMap<String, String> = BTreeMap::new();
        for name in segments {
            let segment = match self.whole(timeline, name) {
                Ok(segment) => segment,
                Err(fault) if fault.kind == Kind::Damaged => {
                    wrong.push(fault.message);
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            digests.insert(name.to_string(), segment.digest().to_owned());
            let previous = segment.previous();
            let before = match &previous.name {
                None => Some(&timeline.digest),
                Some(before) => digests.get(before),
            };
            match before {
                Some(digest) if *digest == previous.digest => {}
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
