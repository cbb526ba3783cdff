//! Copies the log of an instance to another vault: of each timeline its gaps and marks first, its segments in their order, its record last, so
//! that what is there has no hole that is not here, wherever a copy is broken off.
//!
//! It must put over nothing and delete nothing here. Each segment is read whole before it is put, and again when it was.

use crate::archive::layout::{self, Name, TIMELINE, name_of};
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, Timeline, failed, record};
use crate::model::fault::{Fault, Kind};
use crate::model::log::is_timeline_id;
use crate::vault::copy::conflict;
use crate::vault::copy_object::{self, NotCopied, fill, finish, is_being_written};
use crate::vault::store::Store;
use crate::vault::watch::Watch;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

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
            Err(fault) if matches!(fault.kind, Kind::Damaged | Kind::Refused) => {
                let of = if fault.kind == Kind::Damaged { &mut self.damaged } else { &mut self.conflicts };
                *of += 1;
                if self.faults.len() < FAULTS_MAX {
                    self.faults.push(fault);
                }
            }
            Err(fault) => return Err(fault),
        }
        Ok(())
    }
}

/// What a timeline's folder holds here.
#[derive(Default)]
struct Here {
    /// Gaps, marks, and whatever else lies there.
    others: Vec<String>,
    segments: Vec<SegmentName>,
    has_record: bool,
}

/// Part of the digest of a name: of millions of names no two have the same.
type Short = [u8; 16];

fn short(name: &str) -> Short {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *blake3::hash(name.as_bytes()).as_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

impl Archive {
    /// The instances of which there is a log.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn instances(&self) -> Result<Vec<String>, Fault> {
        self.store.folders(layout::ROOT).map_err(|e| failed("read", &self.store.place(layout::ROOT), e))
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
        let mut copied = LogCopy::default();
        let root = format!("{}/{instance_id}", layout::ROOT);
        for shard in self.folders(&root)?.iter().filter_map(|shard| shard.parse::<u16>().ok()) {
            let mut ids = self.folders(&layout::shard(instance_id, shard))?;
            ids.retain(|id| is_timeline_id(id));
            ids.sort();
            for id in ids {
                self.copy_timeline(to, (instance_id, shard, &id), dry_run, watch, &mut copied, told)?;
            }
        }
        Ok(copied)
    }

    fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        self.store.folders(prefix).map_err(|e| failed("read", &self.store.place(prefix), e))
    }

    fn copy_timeline(
        &self,
        to: &Self,
        (instance_id, shard, id): (&str, u16, &str),
        dry_run: bool,
        watch: &Watch,
        copied: &mut LogCopy,
        told: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Fault> {
        let prefix = layout::timeline(instance_id, shard, id);
        let here = self.names_here(&prefix)?;
        // Begun, and without its record yet, it is none.
        if !here.has_record {
            return Ok(());
        }
        let timeline = match self.timeline(instance_id, shard, id) {
            // Without it no segment can be read.
            Err(fault) if fault.kind == Kind::Damaged => return copied.count(Err(fault)),
            timeline => timeline?,
        };
        let there = to.names_there(&prefix, dry_run)?;
        let has = |name: &str| there.binary_search(&short(name)).is_ok();
        let total = (here.others.len() + here.segments.len() + 1) as u64;
        let mut done = 0;
        for name in &here.others {
            copied.count(self.copy_record(to, &prefix, name, has(name), dry_run, watch))?;
            done += 1;
        }
        let at_once = self.store.at_once().max(to.store.at_once()).max(1);
        for batch in here.segments.chunks(at_once * BATCHES) {
            let of = |segment: &SegmentName| {
                let is_there = has(&segment.to_string());
                self.copy_segment(to, &timeline, segment, is_there, dry_run, watch)
            };
            for one in in_parallel(batch, at_once, of) {
                copied.count(one)?;
            }
            done += batch.len() as u64;
            told(done, total);
        }
        copied.count(self.copy_record(to, &prefix, TIMELINE, has(TIMELINE), dry_run, watch))
    }

    fn names_here(&self, prefix: &str) -> Result<Here, Fault> {
        let mut here = Here::default();
        let mut replids: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        let mut keep = |name: &str| match name_of(name) {
            Some(Name::Timeline) => here.has_record = true,
            Some(Name::Segment(segment)) => {
                let replid = Arc::clone(replids.entry(Arc::clone(&segment.replid)).or_insert(segment.replid));
                here.segments.push(SegmentName { replid, ..segment });
            }
            None if name.is_empty() || name.starts_with('.') => {}
            Some(Name::Gap | Name::Pruned(_)) | None => here.others.push(name.to_owned()),
        };
        self.store.each(prefix, &mut keep).map_err(|e| failed("read", &self.store.place(prefix), e))?;
        here.segments.sort_unstable();
        here.others.sort();
        Ok(here)
    }

    /// The names that are taken at the destination, in order. What a killed copy has left of its writing goes.
    fn names_there(&self, prefix: &str, dry_run: bool) -> Result<Vec<Short>, Fault> {
        let (mut there, mut left) = (Vec::new(), Vec::new());
        let mut keep = |name: &str| {
            if is_being_written(name) {
                left.push(format!("{prefix}/{name}"));
            } else {
                there.push(short(name));
            }
        };
        self.store.each(prefix, &mut keep).map_err(|e| failed("read", &self.store.place(prefix), e))?;
        if !dry_run {
            for name in left {
                self.store.delete(&name).map_err(|e| failed("remove", &self.store.place(&name), e))?;
            }
        }
        there.sort_unstable();
        Ok(there)
    }

    /// Copies a gap, a mark, a timeline's record or what else lies there.
    fn copy_record(
        &self,
        to: &Self,
        prefix: &str,
        file: &str,
        is_there: bool,
        dry_run: bool,
        watch: &Watch,
    ) -> Result<One, Fault> {
        let name = format!("{prefix}/{file}");
        if dry_run && !is_there {
            return Ok(One::Put);
        }
        if matches!(name_of(file), Some(Name::Gap | Name::Timeline)) {
            record::read::<serde_json::Value>(&*self.store, &name)?;
        }
        match copy_object::copy(&*self.store, &*to.store, &name, watch, is_there) {
            Ok(Some(true)) => Ok(One::Put),
            Ok(Some(false)) => Ok(One::There),
            Ok(None) => Err(another(&*to.store, &name)),
            // A mark gives way to the next one.
            Err(NotCopied::Read(e)) if e.kind() == io::ErrorKind::NotFound => Ok(One::Gone),
            Err(failed) => Err(self.not_copied(to, &name, failed)),
        }
    }

    fn copy_segment(
        &self,
        to: &Self,
        timeline: &Timeline,
        segment: &SegmentName,
        is_there: bool,
        dry_run: bool,
        watch: &Watch,
    ) -> Result<One, Fault> {
        if dry_run && !is_there {
            return Ok(One::Put);
        }
        watch.count(0).map_err(|e| failed("copy", &self.store.place(&timeline.prefix()), e))?;
        let name = format!("{}/{segment}", timeline.prefix());
        let copied = self.put_segment(to, timeline, segment, &name, is_there, watch);
        match copied {
            // Pruned since it was listed, and no damage.
            Err(_) if !self.store.has(&name).unwrap_or(true) => Ok(One::Gone),
            copied => copied,
        }
    }

    fn put_segment(
        &self,
        to: &Self,
        timeline: &Timeline,
        segment: &SegmentName,
        name: &str,
        is_there: bool,
        watch: &Watch,
    ) -> Result<One, Fault> {
        let here = Segment::open(&*self.store, timeline, segment)?;
        let mut put = false;
        if !is_there {
            read_all(&here, watch)?;
            let upload = fill(&*self.store, &*to.store, name, watch, |_| Ok(()));
            put = upload.and_then(finish).map_err(|failed| self.not_copied(to, name, failed))?;
        }
        // The digest of the one there is its footer's, which has those of all frames.
        let same = || -> Result<bool, Fault> {
            let there = Segment::open(&*to.store, timeline, segment)?;
            if put {
                read_all(&there, watch)?;
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
            (false, false) => Err(another(&*to.store, name)),
            (true, false) => {
                let _ = to.store.delete(name);
                let why = "was read back as something else than was put";
                Err(failed("copy", &to.store.place(name), io::Error::other(why)))
            }
        }
    }

    fn not_copied(&self, to: &Self, name: &str, not_copied: NotCopied) -> Fault {
        let there = to.store.place(name);
        match not_copied {
            NotCopied::Read(e) => failed("read", &self.store.place(name), e),
            NotCopied::Write(e) => failed("write", &there, e),
            NotCopied::Refused(why) => failed("read back", &there, io::Error::other(why)),
        }
    }
}

fn another(to: &dyn Store, name: &str) -> Fault {
    conflict(&to.place(name), "is another object than the one of this log")
}

/// Reads every frame of a segment, each compared with its digest.
fn read_all(segment: &Segment, watch: &Watch) -> Result<(), Fault> {
    segment.frames().iter().try_for_each(|frame| {
        watch.count(0).map_err(|e| failed("read", segment.place(), e))?;
        segment.frame(frame).map(drop)
    })
}

/// Does the same for several, some at once; what came of each, in their order.
fn in_parallel<T: Sync, R: Send>(all: &[T], at_once: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if at_once <= 1 {
        return all.iter().map(each).collect();
    }
    let each = &each;
    std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(at_once).max(1));
        let threads: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(each).collect::<Vec<R>>())).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|dead| std::panic::resume_unwind(dead)))
            .collect()
    })
}
