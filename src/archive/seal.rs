//! Brings closed files of the spool to the vault as segments, in their order, and removes each once it is there.
//!
//! A crash at any line leaves the file, the segment, or both: a file whose segment is there is compared with it and removed. It must
//! not put a segment over what another archiver wrote, and it does not pass over a file that is damaged: what is whole in it is put, and
//! the rest is a gap.

use crate::archive::reach::{Reached, SpoolProgress};
use crate::archive::segment::footer::{Footer, Previous};
use crate::archive::segment::outline::Outline;
use crate::archive::segment::read::Segment;
use crate::archive::segment::write::SegmentWriter;
use crate::archive::spool::{self, Header, Records};
use crate::archive::{Archive, SegmentName, Timeline, conflict, damaged, failed};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::random;
use crate::model::log::{Gap, GapCause, LogHead};
use jiff::Timestamp;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After how long the vault's segments are listed anew, at least, and how often as long as the listing took: another archiver shows
/// that way.
const LISTED_FOR: Duration = Duration::from_secs(60);
const LISTED_FOR_TIMES: u32 = 100;

/// Bytes that a segment must leave free on the vault's disk, for jobs, confirmations and the audit.
const RESERVE: u64 = 16 << 20;

/// Seals a timeline's spool. It may hang with the vault while the writer goes on; one for a timeline.
#[derive(Debug)]
pub struct Sealer {
    archive: Archive,
    timeline: Timeline,
    dir: PathBuf,
    progress: Arc<SpoolProgress>,
    /// Those on the vault that end behind an offset, and of those before it the last.
    segments: Vec<SegmentName>,
    listed_from: u64,
    /// Until when the list of them is believed.
    listed_until: Option<Instant>,
    /// Tells this sealer from others of the same spool.
    id: [u8; 8],
    /// The newest segment and its digest, where this put it.
    newest: Option<(SegmentName, String)>,
    /// Commands of the files that this has sealed.
    pub(super) sealed: u64,
}

/// What a file of the spool holds.
struct Content {
    header: Header,
    outline: Outline,
    /// What is wrong with the file behind that, and up to when it reaches.
    damage: Option<String>,
}

impl Sealer {
    pub(super) fn new(archive: &Archive, timeline: &Timeline, dir: &Path, progress: &Arc<SpoolProgress>) -> Self {
        Self {
            archive: archive.clone(),
            timeline: timeline.clone(),
            dir: dir.to_owned(),
            progress: Arc::clone(progress),
            segments: Vec::new(),
            listed_from: 0,
            listed_until: None,
            // Without it, the list is not believed from one call to the next.
            id: random().unwrap_or_default(),
            newest: None,
            sealed: 0,
        }
    }

    /// Puts every closed file of the spool on the vault. How far the vault reaches then; `None` where it has no segment.
    ///
    /// # Errors
    /// `log.failed`, where the same can be tried again later; `log.conflict`, where another archiver wrote to this timeline;
    /// `log.damaged`, where a file of the spool is not what was written: it is set aside, its gap is put down, and the next call goes on.
    pub fn seal(&mut self) -> Result<Option<Reached>, Fault> {
        // One that was left to finish by itself may be at it still.
        let Some(_lock) = self.lock().map_err(|e| failed("write", &self.dir.display().to_string(), e))? else {
            return Ok(self.progress.archived());
        };
        self.archive.record_kept(&self.timeline.instance_id, &self.dir)?;
        let closed_before = self.progress.current();
        let files = spool::files(&self.dir).map_err(|e| failed("read", &self.dir.display().to_string(), e))?;
        for (_, path) in files.into_iter().filter(|(number, _)| *number < closed_before) {
            self.seal_file(&path)?;
        }
        Ok(self.progress.archived())
    }

    /// The newest segment that this has put, or found there as it would have put it: the vault has it, durably.
    #[must_use]
    pub fn head(&self) -> Option<LogHead> {
        let (name, digest) = self.newest.as_ref()?;
        let Reached { offset, at } = Reached::by(name)?;
        Some(LogHead {
            instance_id: self.timeline.instance_id.clone(),
            shard: self.timeline.shard,
            timeline: self.timeline.id.clone(),
            segment: name.to_string(),
            offset,
            until: at,
            digest: digest.clone(),
        })
    }

    /// Takes the spool for sealing. What another sealer put meanwhile is in no list of this one.
    fn lock(&mut self) -> io::Result<Option<spool::Lock>> {
        let Some(lock) = spool::lock(&self.dir.join("sealing"))? else { return Ok(None) };
        let mut last = [0; 8];
        if self.id == [0; 8] || lock.read_exact_at(&mut last, 0).is_err() || last != self.id {
            self.listed_until = None;
            lock.write_all_at(&self.id, 0)?;
        }
        Ok(Some(lock))
    }

    fn seal_file(&mut self, path: &Path) -> Result<(), Fault> {
        let place = path.display().to_string();
        let io = |e: io::Error| failed("read", &place, e);
        let bytes = path.metadata().map_err(io)?.len();
        let mut content = match self.content(path, None) {
            Err(fault) if fault.kind == Kind::Damaged => {
                // Nothing says what was in it, but that it came behind what is on the vault.
                let archived = self.progress.archived();
                let (after, from) =
                    archived.map_or((self.timeline.offset, self.timeline.opened_at), |r| (r.offset, r.at));
                self.put_gap(after, from)?;
                spool::set_aside(path).map_err(io)?;
                self.progress.shrank(bytes);
                return Err(fault);
            }
            content => content?,
        };
        if content.damage.is_some() {
            let damage = content.damage.take();
            content = Content { damage, ..self.content(path, Some(content.outline.whole.0))? };
        }
        if let Some(name) = name(&content) {
            self.put(path, &content.header, &name)?;
            self.sealed += name.commands;
            if let Some(reached) = Reached::by(&name) {
                self.progress.archived_until(reached);
            }
        }
        match &content.damage {
            None => std::fs::remove_file(path).map_err(io)?,
            Some(_) => {
                let ms = content.outline.stamps.last().map_or(content.header.since_ms, |stamp| stamp.ms);
                self.put_gap(content.outline.whole.0, Timestamp::from_millisecond(ms).unwrap_or_default())?;
                spool::set_aside(path).map_err(io)?;
            }
        }
        self.progress.shrank(bytes);
        content.damage.map_or(Ok(()), |why| Err(damaged(&place, why)))
    }

    /// Reads a file up to its end, to its damage, or to an offset.
    fn content(&self, path: &Path, until: Option<u64>) -> Result<Content, Fault> {
        let place = path.display().to_string();
        let mut records = match Records::open(path) {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(damaged(&place, e)),
            records => records.map_err(|e| failed("read", &place, e))?,
        };
        let header = records.header.clone();
        if (header.timeline.as_str(), header.shard) != (self.timeline.id.as_str(), self.timeline.shard) {
            return Err(damaged(&place, "says that it is another timeline's"));
        }
        let mut outline = Outline::new(header.first, header.database);
        let mut damage = None;
        loop {
            let at = records.at;
            let record = match records.next() {
                Ok(Some(_)) if until.is_some_and(|until| records.offset > until) => break,
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    damage = Some(e.to_string());
                    break;
                }
                Err(e) => return Err(failed("read", &place, e)),
            };
            if let Err(what) = outline.push(&record.bytes) {
                damage = Some(format!("offset {at}: {what}"));
                break;
            }
            outline.stamp(record.ms, record.precision_ms, record.bytes.is_empty());
        }
        if damage.is_none() && until.is_none() && outline.whole.0 != records.offset {
            damage = Some(format!("offset {}: ends within a transaction", records.at));
        }
        Ok(Content { header, outline, damage })
    }

    /// Puts the segment, or finds it there.
    fn put(&mut self, path: &Path, header: &Header, name: &SegmentName) -> Result<(), Fault> {
        let began = Instant::now();
        if self.listed_until.is_none_or(|until| began > until) || name.first < self.listed_from {
            self.segments = self.archive.segments_behind(&self.timeline, name.first)?;
            self.listed_from = name.first;
            let now = Instant::now();
            self.listed_until = Some(now + LISTED_FOR.max((now - began) * LISTED_FOR_TIMES));
        }
        let object = format!("{}/{name}", self.timeline.prefix());
        let place = self.archive.store.place(&object);
        let previous = self.previous(name)?;
        if !self.segments.contains(name) {
            if self.covers(name) {
                return Ok(());
            }
            let overlaps = |other: &&SegmentName| other.first < name.last && name.first < other.last;
            if let Some(other) = self.segments.iter().find(overlaps) {
                return Err(conflict(&place, format!("another archiver has written {other}")));
            }
            let need = path.metadata().map_or(0, |meta| meta.len()).saturating_add(RESERVE);
            if self.archive.store.free().ok().flatten().is_some_and(|free| free < need) {
                return Err(failed("put", &place, io::ErrorKind::StorageFull.into()));
            }
            let upload = self.archive.store.upload_whole(&object).map_err(|e| failed("put", &place, e))?;
            let (upload, _, digest) = self.write(upload, path, header, name, previous.clone())?;
            match upload.finish() {
                Ok(()) => {
                    self.segments.push(name.clone());
                    self.newest = Some((name.clone(), digest));
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.listed_until = None,
                Err(e) => return Err(failed("put", &place, e)),
            }
        }
        // It was put before a crash, or by another archiver.
        let (_, footer, _) = self.write(io::sink(), path, header, name, previous)?;
        let there = Segment::open(&*self.archive.store, &self.timeline, name)?;
        if !there.footer.says_the_same(&footer) {
            return Err(conflict(&place, "another archiver has written other bytes there"));
        }
        // What the spool has is removed on the word of every byte.
        for frame in there.frames() {
            there.frame(frame)?;
        }
        self.newest = Some((name.clone(), there.digest().to_owned()));
        Ok(())
    }

    /// Whether segments of the same history have all of it: another machine went on with the timeline from where this spool began.
    fn covers(&self, name: &SegmentName) -> bool {
        let mut at = name.first;
        for other in self.segments.iter().filter(|other| other.replid == name.replid) {
            if other.first <= at && other.last > at {
                at = other.last;
            }
        }
        at >= name.last
    }

    fn previous(&self, name: &SegmentName) -> Result<Previous, Fault> {
        let before =
            self.segments.iter().filter(|other| other.last <= name.first).max_by_key(|other| (other.last, other.first));
        let Some(before) = before else {
            return Ok(Previous { name: None, digest: self.timeline.digest.clone() });
        };
        let digest = match &self.newest {
            Some((newest, digest)) if newest == before => digest.clone(),
            _ => Segment::open(&*self.archive.store, &self.timeline, before)?.digest().to_owned(),
        };
        Ok(Previous { name: Some(before.to_string()), digest })
    }

    fn write<W: Write>(
        &self,
        out: W,
        path: &Path,
        header: &Header,
        name: &SegmentName,
        previous: Previous,
    ) -> Result<(W, Footer, String), Fault> {
        let run = || -> io::Result<_> {
            let mut records = Records::open(path)?;
            let mut writer = SegmentWriter::new(out, &header.replid, header.first, header.database)?;
            loop {
                let record = match records.next() {
                    Ok(Some(record)) if records.offset <= name.last => record,
                    Err(e) if e.kind() != io::ErrorKind::InvalidData => return Err(e),
                    _ => break,
                };
                writer.push(&record.bytes)?;
                writer.stamp(record.ms, record.precision_ms, record.bytes.is_empty());
            }
            let written = writer.finish(&self.timeline, previous)?;
            if written.1.name() != *name {
                return Err(io::Error::other("the spool was changed while it was read"));
            }
            Ok(written)
        };
        let place = self.archive.store.place(&format!("{}/{name}", self.timeline.prefix()));
        run().map_err(|e| failed("write", &place, e))
    }

    fn put_gap(&self, after_offset: u64, from: Timestamp) -> Result<(), Fault> {
        let gap = Gap {
            timeline: self.timeline.id.clone(),
            shard: self.timeline.shard,
            after_offset,
            from,
            to: Timestamp::now().max(from),
            cause: GapCause::Damaged,
            source_run_id: String::new(),
            detail: String::new(),
        };
        self.archive.record_gap(&self.timeline.instance_id, &gap)
    }
}

/// The name of the segment that a file becomes; `None` where nothing in it is whole.
fn name(content: &Content) -> Option<SegmentName> {
    let Content { header, outline, .. } = content;
    let (last, commands, _) = outline.whole;
    let (first_stamp, last_stamp) = (outline.stamps.first()?, outline.stamps.last()?);
    (last > header.first).then(|| SegmentName {
        first: header.first,
        last,
        first_ms: first_stamp.ms,
        last_ms: last_stamp.ms,
        precision_ms: outline.stamps.iter().map(|stamp| stamp.precision_ms).max().unwrap_or_default(),
        commands,
        replid: header.replid.as_str().into(),
    })
}
