//! Copies the log of an instance to another vault: of each timeline its gaps and marks first, its segments in their order, its record last, so
//! that what is there has no hole that is not here, wherever a copy is broken off. What comes behind the record comes one by one.
//!
//! It must put over nothing and delete nothing here. Each segment is read whole before it is put, and again when it was.

mod listed;

use crate::archive::layout::{self, Name, TIMELINE, name_of};
use crate::archive::parallel::in_parallel;
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, Timeline, failed, record};
use crate::model::fault::{Fault, Kind};
use crate::model::log::is_timeline_id;
use crate::vault::copy::conflict;
use crate::vault::copy_object::{self, NotCopied, fill, finish};
use crate::vault::lacking::is_of_one_object;
use crate::vault::watch::Watch;
use listed::{Here, There};
use std::collections::BTreeMap;
use std::io;

/// Faults that are told one by one.
const FAULTS_MAX: usize = 100;
/// Segments between two looks at how far it is.
const BATCHES: usize = 4;

/// What became of a log.
#[derive(Debug, Default)]
pub struct LogCopy {
    /// Objects that were put there, read back; where nothing is done, those that would be.
    pub copied: u64,
    /// Objects that were there, equal.
    pub there: u64,
    /// Segments that were pruned here before they were copied.
    pub gone: u64,
    /// Objects that are damaged here, and so not copied.
    pub damaged: u64,
    /// Objects whose name another has there.
    pub conflicts: u64,
    /// Objects here that take a key that is not here.
    pub no_key: u64,
    /// The faults of the first of these.
    pub faults: Vec<Fault>,
}

/// What became of one object.
enum One {
    Put,
    There,
    Gone,
}

impl LogCopy {
    /// Counts; a fault that is of one object alone does not keep the others from being copied.
    fn count(&mut self, one: Result<One, Fault>) -> Result<(), Fault> {
        match one {
            Ok(One::Put) => self.copied += 1,
            Ok(One::There) => self.there += 1,
            Ok(One::Gone) => self.gone += 1,
            Err(fault) if is_of_one_object(&fault) => {
                *match fault.kind {
                    Kind::Damaged => &mut self.damaged,
                    Kind::Refused => &mut self.conflicts,
                    _ => &mut self.no_key,
                } += 1;
                if self.faults.len() < FAULTS_MAX {
                    self.faults.push(fault);
                }
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }
}

/// The last segment of each timeline, by its prefix, that was read back at a destination, for as long as whoever copies there remembers.
pub type ReadBack = BTreeMap<String, SegmentName>;

/// What a name is at the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    No,
    /// By what nobody may have read back yet: a copy may have been broken off at it.
    Unread,
    /// By what was read back.
    Read,
}

impl Archive {
    /// The instances of which there is a log.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn instances(&self) -> Result<Vec<String>, Fault> {
        self.folders(layout::ROOT)
    }

    /// Copies the log of an instance to another archive, or tells what would be; `told` hears how many objects of how many are done. Blocks.
    /// Names of one timeline are held at a time.
    ///
    /// # Errors
    /// `log.failed`; where `watch` was stopped, whatever that looks like. What is damaged here, or whose name another has there, is told and not
    /// copied.
    pub fn copy_log(
        &self,
        to: &Self,
        instance_id: &str,
        dry_run: bool,
        watch: &Watch,
        told: &mut dyn FnMut(u64, u64),
    ) -> Result<LogCopy, Fault> {
        Copying { from: self, to, dry_run, watch }.log(instance_id, None, told)
    }

    /// Copies what has come to the log of an instance, time and again: what lies there beside the record of its timeline is taken as read back, but
    /// for a last segment that `read_back` does not have; and what was pruned here stays there, and can be used. Blocks.
    ///
    /// # Errors
    /// As [`Self::copy_log`].
    pub fn copy_on(
        &self,
        to: &Self,
        instance_id: &str,
        read_back: &mut ReadBack,
        watch: &Watch,
    ) -> Result<LogCopy, Fault> {
        Copying { from: self, to, dry_run: false, watch }.log(instance_id, Some(read_back), &mut |_, _| ())
    }

    fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        self.store.folders(prefix).map_err(|e| failed("read", &self.store.place(prefix), e))
    }
}

/// A log on its way.
struct Copying<'a> {
    from: &'a Archive,
    to: &'a Archive,
    dry_run: bool,
    watch: &'a Watch,
}

impl Copying<'_> {
    fn log(
        &self,
        instance_id: &str,
        mut read_back: Option<&mut ReadBack>,
        told: &mut dyn FnMut(u64, u64),
    ) -> Result<LogCopy, Fault> {
        let mut copied = LogCopy::default();
        let root = format!("{}/{instance_id}", layout::ROOT);
        for shard in self.from.folders(&root)?.iter().filter_map(|shard| shard.parse::<u16>().ok()) {
            let mut ids = self.from.folders(&layout::shard(instance_id, shard))?;
            ids.retain(|id| is_timeline_id(id));
            ids.sort();
            for id in ids {
                self.timeline((instance_id, shard, &id), read_back.as_deref_mut(), &mut copied, told)?;
            }
        }
        Ok(copied)
    }

    fn timeline(
        &self,
        (instance_id, shard, id): (&str, u16, &str),
        read_back: Option<&mut ReadBack>,
        copied: &mut LogCopy,
        told: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Fault> {
        let prefix = layout::timeline(instance_id, shard, id);
        let mut here = Here::list(self.from, &prefix)?;
        // Begun, and without its record yet, it is none.
        if !here.has_record {
            return Ok(());
        }
        let timeline = match self.from.timeline(instance_id, shard, id) {
            // Without it no segment can be read.
            Err(fault) if fault.kind == Kind::Damaged => return copied.count(Err(fault)),
            timeline => timeline?,
        };
        let there = There::list(self.to, &prefix, here.pruned, self.dry_run)?;
        // It comes last: without it a copy was broken off, anywhere.
        let has_record = there.has(TIMELINE);
        let goes_on = has_record && read_back.is_some();
        let last = here.segments.last().cloned();
        if goes_on {
            let known = read_back.as_ref().and_then(|read_back| read_back.get(&prefix)).cloned();
            let is_mark = |name: &str| matches!(name_of(name), Some(Name::Pruned(_)));
            here.others.retain(|name| !(there.has(name) || there.reaches_mark && is_mark(name)));
            let unread = there.last.as_ref().filter(|last| known.as_ref() != Some(*last));
            here.segments.retain(|segment| unread == Some(segment) || !there.has(&segment.to_string()));
        }
        let (taken, new): (Vec<_>, Vec<_>) =
            here.segments.into_iter().partition(|segment| there.has(&segment.to_string()));
        let total = (here.others.len() + taken.len() + new.len() + 1) as u64;
        let mut done = 0;
        for name in &here.others {
            copied.count(self.record(&prefix, name, there.has(name)))?;
            done += 1;
        }
        let many = self.from.store.at_once().max(self.to.store.at_once()).max(1);
        // Beside its record they come one by one: whoever reads there would see a hole.
        let (at_once, size) = if has_record { (1, 1) } else { (many, many * BATCHES) };
        let by = if has_record && !goes_on { Taken::Read } else { Taken::Unread };
        for (segments, at_once, size, by) in [(&taken, many, many * BATCHES, by), (&new, at_once, size, Taken::No)] {
            for batch in segments.chunks(size) {
                for one in in_parallel(batch, at_once, |segment| self.segment(&timeline, segment, by)) {
                    copied.count(one)?;
                }
                done += batch.len() as u64;
                told(done, total);
            }
        }
        if !goes_on {
            copied.count(self.record(&prefix, TIMELINE, has_record))?;
        }
        if let (Some(read_back), Some(last)) = (read_back, last) {
            read_back.insert(prefix, last);
        }
        Ok(())
    }

    /// Copies a gap, a mark, a timeline's record or what else lies there.
    fn record(&self, prefix: &str, file: &str, is_there: bool) -> Result<One, Fault> {
        let name = format!("{prefix}/{file}");
        if self.dry_run && !is_there {
            return Ok(One::Put);
        }
        if matches!(name_of(file), Some(Name::Gap | Name::Timeline)) {
            record::read::<serde_json::Value>(&*self.from.store, &name)?;
        }
        match copy_object::copy(&*self.from.store, &*self.to.store, &name, self.watch, is_there) {
            Ok(Some(true)) => Ok(One::Put),
            Ok(Some(false)) => Ok(One::There),
            Ok(None) => Err(self.another(&name)),
            // A mark gives way to the next one.
            Err(NotCopied::Read(e)) if e.kind() == io::ErrorKind::NotFound => Ok(One::Gone),
            Err(failed) => Err(self.not_copied(&name, failed)),
        }
    }

    fn segment(&self, timeline: &Timeline, segment: &SegmentName, taken: Taken) -> Result<One, Fault> {
        if self.dry_run && taken == Taken::No {
            return Ok(One::Put);
        }
        let store = &self.from.store;
        self.watch.count(0).map_err(|e| failed("copy", &store.place(&timeline.prefix()), e))?;
        let name = format!("{}/{segment}", timeline.prefix());
        match self.put_segment(timeline, segment, &name, taken) {
            // Pruned since it was listed, and no damage.
            Err(_) if !store.has(&name).unwrap_or(true) => Ok(One::Gone),
            copied => copied,
        }
    }

    fn put_segment(&self, timeline: &Timeline, segment: &SegmentName, name: &str, taken: Taken) -> Result<One, Fault> {
        let here = Segment::open(&*self.from.store, timeline, segment)?;
        let mut put = false;
        if taken == Taken::No {
            read_all(&here, self.watch)?;
            let upload = fill(&*self.from.store, &*self.to.store, name, self.watch, |_| Ok(()));
            put = upload.and_then(finish).map_err(|failed| self.not_copied(name, failed))?;
        }
        // The digest of the one there is its footer's, which has those of all frames.
        let same = || -> Result<bool, Fault> {
            let there = Segment::open(&*self.to.store, timeline, segment)?;
            if taken != Taken::Read {
                read_all(&there, self.watch)?;
            }
            Ok(there.digest() == here.digest())
        };
        let equal = match same() {
            Err(fault) if fault.kind == Kind::Damaged => false,
            same => same?,
        };
        match (put, equal) {
            (true, true) => Ok(One::Put),
            (false, true) => Ok(One::There),
            (false, false) => Err(self.another(name)),
            (true, false) => {
                let _ = self.to.store.delete(name);
                let why = "was read back as something else than was put";
                Err(failed("copy", &self.to.store.place(name), io::Error::other(why)))
            }
        }
    }

    fn another(&self, name: &str) -> Fault {
        conflict(&self.to.store.place(name), "is another object than the one of this log")
    }

    fn not_copied(&self, name: &str, not_copied: NotCopied) -> Fault {
        let there = self.to.store.place(name);
        match not_copied {
            NotCopied::Read(e) => failed("read", &self.from.store.place(name), e),
            NotCopied::Write(e) => failed("write", &there, e),
            NotCopied::Refused(why) => failed("read back", &there, io::Error::other(why)),
        }
    }
}

/// Reads every frame of a segment, each compared with its digest.
fn read_all(segment: &Segment, watch: &Watch) -> Result<(), Fault> {
    segment.frames().iter().try_for_each(|frame| {
        watch.count(0).map_err(|e| failed("read", segment.place(), e))?;
        segment.frame(frame).map(drop)
    })
}
