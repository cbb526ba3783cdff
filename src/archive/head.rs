//! The end of a timeline as somebody remembers it, against what lies on the vault: removal of the newest segments, or of a whole timeline, shows there
//! and nowhere else, for each segment names only the one before it.
//!
//! It must find no fault where the log goes on behind what is remembered, nor in what pruning has removed.

use crate::archive::layout::{self, Name, TIMELINE};
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, failed};
use crate::model::fault::{Fault, Kind};
use crate::model::log::LogHead;
use crate::model::time::written;
use jiff::Timestamp;

impl Archive {
    /// What of a timeline that had come to the vault up to its head is not there any more, and what that means; `None`: it is all there, or goes on
    /// behind. The head is to be read before this is called: what is remembered was there. `deep` reads the segment's footer, too.
    ///
    /// As a rule this takes two requests, and no listing.
    ///
    /// # Errors
    /// `log.failed`; `log.damaged` is none, for it is told with the rest of the log.
    pub fn lost_behind(&self, head: &LogHead, deep: bool) -> Result<Option<String>, Fault> {
        let prefix = layout::timeline(&head.instance_id, head.shard, &head.timeline);
        let segment = format!("{prefix}/{}", head.segment);
        if !self.has(&segment)? {
            return self.missing(head, &prefix, &segment);
        }
        let record = format!("{prefix}/{TIMELINE}");
        if !self.has(&record)? {
            let place = self.store.place(&record);
            let why = "is not there: without it no moment of this timeline is recovered, though its segments are there";
            return Ok(Some(format!("{place}: {why}; {}", told(head))));
        }
        if deep { self.exchanged(head, &segment) } else { Ok(None) }
    }

    fn has(&self, name: &str) -> Result<bool, Fault> {
        self.store.has(name).map_err(|e| failed("read", &self.store.place(name), e))
    }

    /// Of a timeline that does not have the segment of its head: whether that is gone, and what with it.
    fn missing(&self, head: &LogHead, prefix: &str, segment: &str) -> Result<Option<String>, Fault> {
        let (mut segments, mut marks) = (Vec::new(), Vec::new());
        let mut add = |name: &str| match layout::name_of(name) {
            Some(Name::Segment(segment)) => segments.push(segment),
            Some(Name::Pruned(offset)) => marks.push(offset),
            Some(Name::Timeline | Name::Gap) | None => {}
        };
        self.store.each(prefix, &mut add).map_err(|e| failed("read", &self.store.place(prefix), e))?;
        let place = self.store.place(segment);
        let Some((last, ms)) = segments.iter().map(|segment| (segment.last, segment.last_ms)).max() else {
            let place = self.store.place(prefix);
            let why = "no segment of this timeline is there, and no moment of it can be recovered from here";
            return Ok(Some(format!("{place}: {why}; {}", told(head))));
        };
        if last < head.offset {
            let ends = Timestamp::from_millisecond(ms).map_or_else(|_| "?".to_owned(), written);
            let why = "is not there, nor is anything behind it";
            return Ok(Some(format!(
                "{place}: {why}: the log ends {ends} (offset {last}) now, and what came behind that cannot be recovered from here; {}",
                told(head)
            )));
        }
        // Older than what has been pruned since it was remembered.
        if head.offset <= layout::kept_from(&marks, &segments) {
            return Ok(None);
        }
        let why = "is not there, though the log goes on behind it; what it held cannot be recovered from here";
        Ok(Some(format!("{place}: {why}; {}", told(head))))
    }

    /// Whether another segment lies in the place of the head's.
    fn exchanged(&self, head: &LogHead, segment: &str) -> Result<Option<String>, Fault> {
        let Some(name) = SegmentName::parse(&head.segment) else { return Ok(None) };
        let read = self
            .timeline(&head.instance_id, head.shard, &head.timeline)
            .and_then(|timeline| Segment::open(&*self.store, &timeline, &name).map(|there| there.digest().to_owned()));
        match read {
            Err(fault) if fault.kind == Kind::Damaged => Ok(None),
            Err(fault) => Err(fault),
            Ok(digest) if digest == head.digest => Ok(None),
            Ok(_) => {
                let place = self.store.place(segment);
                Ok(Some(format!("{place}: is another segment than the one that was put; {}", told(head))))
            }
        }
    }
}

/// Up to where the log was known, and what ends the alarm where that was meant.
fn told(head: &LogHead) -> String {
    let LogHead { instance_id, timeline, offset, until, .. } = head;
    format!(
        "this home knew the log of timeline {timeline} up to {} (offset {offset}) and did not remove it. Where it was meant to go, vault forget --instance-id {instance_id} --timeline {timeline} says so, once no service writes to that timeline any more",
        written(*until)
    )
}
