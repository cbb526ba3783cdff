//! A look at a whole log: every record of a timeline, gap and mark, every segment's footer and frames, and that each names the one before it. It
//! changes nothing.

use crate::archive::layout::{self, Name, TIMELINE};
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, Timeline, failed};
use crate::model::fault::{Fault, Kind};
use crate::model::log::is_timeline_id;
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
            read += self.check_timeline(instance_id, shard, &id, &mut wrong)?;
        }
        Ok((read, wrong))
    }

    /// Reads all of a timeline. How many segments were read.
    fn check_timeline(&self, instance_id: &str, shard: u16, id: &str, wrong: &mut Vec<String>) -> Result<u64, Fault> {
        let prefix = layout::timeline(instance_id, shard, id);
        let place = |name: &str| self.store.place(&format!("{prefix}/{name}"));
        let (mut segments, mut marks, mut gaps) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |name: &str| match layout::name_of(name) {
            Some(Name::Segment(segment)) => segments.push(segment),
            Some(Name::Pruned(offset)) => marks.push((offset, name.to_owned())),
            Some(Name::Gap) => gaps.push(name.to_owned()),
            Some(Name::Timeline) | None => {}
        };
        self.store.each(&prefix, &mut add).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        for gap in gaps {
            sound(self.gap(&layout::shard(instance_id, shard), id, &format!("{id}/{gap}")), wrong)?;
        }
        let offsets: Vec<u64> = marks.iter().map(|(offset, _)| *offset).collect();
        let pruned = layout::kept_from(&offsets, &segments);
        for (offset, name) in marks.iter().filter(|(offset, _)| *offset > pruned) {
            let why = "and each segment begins before; this program puts no such mark, and takes no notice of it";
            wrong.push(format!("{}: says that nothing before offset {offset} is kept, {why}", place(name)));
        }
        let record = format!("{prefix}/{TIMELINE}");
        if !self.store.has(&record).map_err(|e| failed("read", &place(TIMELINE), e))? {
            if !segments.is_empty() {
                let why = "it was removed, or a copy of this log was broken off";
                wrong.push(format!(
                    "{}: is not there, without which {} segments are not read: {why}",
                    place(TIMELINE),
                    segments.len()
                ));
            }
            return Ok(0);
        }
        let Some(timeline) = sound(self.timeline(instance_id, shard, id), wrong)? else { return Ok(0) };
        segments.retain(|segment: &SegmentName| segment.last > pruned);
        segments.sort_unstable();
        self.check_chain(&timeline, &segments, pruned, wrong)?;
        Ok(segments.len() as u64)
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
            let Some(segment) = sound(self.whole(timeline, name), wrong)? else { continue };
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

/// What was read; `None` where it is damaged, which is told.
fn sound<T>(read: Result<T, Fault>, wrong: &mut Vec<String>) -> Result<Option<T>, Fault> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(fault) if fault.kind == Kind::Damaged => {
            wrong.push(fault.message);
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}
