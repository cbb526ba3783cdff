//! Reads a segment: its footer first, then any frame by itself. No byte leaves it that is not what was written.

use crate::archive::segment::footer::{Footer, FrameRow, LONGEST, MAGIC, Previous, SKIPPABLE, TAIL};
use crate::archive::segment::outline::{Outline, Stamp, counts};
use crate::archive::{SegmentName, Timeline, damaged, failed};
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::redis::replica::split::Splitter;
use crate::vault::store::{Ranges, Store, encrypted_without_key};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A segment that is open. The object opened is the one read, whatever takes its name meanwhile.
pub struct Segment {
    object: Arc<dyn Ranges>,
    place: String,
    pub(in crate::archive) footer: Footer,
    digest: String,
    frames: Vec<Frame>,
    stamps: Vec<Stamp>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Where a frame is.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Offset in the object, and bytes there.
    at: u64,
    packed: u32,
    sha256: String,
    /// Offset in the history at which it begins, and behind its last byte.
    pub first: u64,
    /// Offset behind its last byte.
    pub last: u64,
    /// Whether it goes on with a transaction that began in an earlier frame.
    pub continues: bool,
    /// The database selected at its beginning.
    pub database: Option<u64>,
    /// Commands that count before it, from the segment's beginning.
    pub commands: u64,
}

/// What is known of an offset within a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inside {
    /// Where the transaction begins in which the offset lies; the offset itself where it lies between two.
    pub transaction: u64,
    /// Commands that count before that transaction, from the segment's beginning.
    pub commands: u64,
    /// The database selected there.
    pub database: Option<u64>,
    /// Whether a command begins at the offset.
    pub begins_command: bool,
}

impl Segment {
    /// Opens a segment of a timeline, and reads its footer.
    ///
    /// # Errors
    /// `log.damaged`, naming the object and the offset; `log.failed`.
    pub fn open(store: &dyn Store, timeline: &Timeline, name: &SegmentName) -> Result<Self, Fault> {
        let object_name = format!("{}/{name}", timeline.prefix());
        let place = store.place(&object_name);
        let io = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => damaged(&place, "is not there any more"),
            // What does not decrypt.
            std::io::ErrorKind::InvalidData => damaged(&place, e.to_string()),
            _ => failed("read", &place, e),
        };
        let object = store.open(&object_name).map_err(io)?;
        let size = object.size().map_err(io)?;
        let at_tail = size.checked_sub(TAIL as u64).ok_or_else(|| damaged(&place, "is too short to be a segment"))?;
        let mut tail = [0; TAIL];
        object.read_exact_at(&mut tail, at_tail).map_err(io)?;
        let (written, rest) = tail.split_at(32);
        let (len, magic) = rest.split_at(4);
        let bad = |why: &str| damaged(&place, format!("footer at offset {at_tail}: {why}"));
        if magic != MAGIC {
            if let Some(e) = encrypted_without_key(&*object) {
                return Err(failed("read", &place, e));
            }
            return Err(bad("is not that of a segment (the object is cut?)"));
        }
        let len = len.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
        let head_at = at_tail.checked_sub(u64::from(len) + 8).filter(|_| len as usize <= LONGEST);
        let frames_end = head_at.ok_or_else(|| bad("is longer than the object"))?;
        let mut text = vec![0; len as usize + 8];
        object.read_exact_at(&mut text, frames_end).map_err(io)?;
        let (head, text) = text.split_at(8);
        let expected = [SKIPPABLE.to_le_bytes(), (len + TAIL as u32).to_le_bytes()].concat();
        if head != expected {
            return Err(damaged(&place, format!("offset {frames_end}: the footer does not begin there")));
        }
        let digest = Sha256::digest(text);
        if digest.as_slice() != written {
            return Err(damaged(
                &place,
                format!("footer at offset {frames_end}: is not what was written: its digest differs"),
            ));
        }
        let footer = Footer::read(text, timeline, name, frames_end)
            .map_err(|why| damaged(&place, format!("footer at offset {frames_end}: {why}")))?;
        let frames = frames(&footer);
        let stamps = footer.stamps();
        Ok(Self { object, place, footer, digest: hex(&digest), frames, stamps })
    }

    /// Its digest, by which it names its content.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The segment before it.
    #[must_use]
    pub fn previous(&self) -> &Previous {
        &self.footer.previous
    }

    /// When the stream had been received up to which offset.
    #[must_use]
    pub fn stamps(&self) -> &[Stamp] {
        &self.stamps
    }

    /// Names of its commands.
    #[must_use]
    pub fn names(&self) -> &BTreeSet<String> {
        &self.footer.names
    }

    /// The database selected at its end.
    #[must_use]
    pub fn database(&self) -> Option<u64> {
        self.footer.database
    }

    /// Its frames in order.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The place of the segment, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Number of the frame from which an offset can be reached: the last that begins between two transactions at or before it.
    #[must_use]
    pub fn frame_before(&self, offset: u64) -> usize {
        self.frames.iter().rposition(|frame| !frame.continues && frame.first <= offset).unwrap_or_default()
    }

    /// The bytes of the stream in a frame.
    ///
    /// # Errors
    /// `log.damaged`, naming the object and the offset; `log.failed`.
    pub fn frame(&self, frame: &Frame) -> Result<Vec<u8>, Fault> {
        let bad = |why: &str| damaged(&self.place, format!("frame at offset {}: {why}", frame.at));
        let mut packed = vec![0; frame.packed as usize];
        match self.object.read_exact_at(&mut packed, frame.at) {
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Err(bad("the object ends before it")),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => return Err(bad(&e.to_string())),
            read => read.map_err(|e| failed("read", &self.place, e))?,
        }
        if hex(&Sha256::digest(&packed)) != frame.sha256 {
            return Err(bad("is not what was written: its digest differs"));
        }
        let len = usize::try_from(frame.last - frame.first).unwrap_or_default();
        let plain = zstd::bulk::decompress(&packed, len).map_err(|e| bad(&format!("cannot be decompressed: {e}")))?;
        if plain.len() == len { Ok(plain) } else { Err(bad("has another length than the footer says")) }
    }

    /// Looks at an offset within the segment. Decodes the frame in which it lies, and of a transaction that is larger than a frame
    /// those before it, one at a time.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub fn inside(&self, offset: u64) -> Result<Inside, Fault> {
        if offset >= self.footer.last {
            let Footer { last, commands, database, .. } = self.footer;
            return Ok(Inside { transaction: last, commands, database, begins_command: offset == last });
        }
        let begin = self.frame_before(offset);
        let mut walk: Option<(Splitter, u64)> = None;
        let mut found = Inside { transaction: self.footer.first, commands: 0, database: None, begins_command: false };
        for frame in self.frames.iter().skip(begin).take_while(|frame| frame.first <= offset) {
            let (split, commands) = walk.get_or_insert_with(|| {
                (found.transaction, found.commands, found.database) = (frame.first, frame.commands, frame.database);
                (Splitter::new(frame.first, frame.database), frame.commands)
            });
            // A frame that begins with the offset is not needed.
            let plain = if frame.first == offset { Vec::new() } else { self.frame(frame)? };
            let mut left = plain.as_slice();
            while split.offset() < offset && !left.is_empty() {
                let within = usize::try_from(offset - split.offset()).unwrap_or(usize::MAX).min(left.len());
                let near = left.get(..within).unwrap_or_default();
                let step = split
                    .step(near)
                    .map_err(|what| damaged(&self.place, format!("frame at offset {}: {what}", frame.at)))?;
                left = left.get(step.len..).unwrap_or_default();
                *commands += u64::from(step.ends && counts(split));
                if step.ends && split.is_between_transactions() {
                    (found.transaction, found.commands, found.database) = (split.offset(), *commands, split.database());
                }
            }
            found.begins_command = split.offset() == offset && split.is_between_commands();
        }
        Ok(found)
    }

    /// Names of the commands between two offsets at which a transaction begins, in upper case. Decodes the frames between them, one at a
    /// time.
    ///
    /// # Errors
    /// As [`Self::frame`].
    pub fn names_between(&self, from: u64, to: u64) -> Result<BTreeSet<String>, Fault> {
        let mut outline: Option<Outline> = None;
        for frame in self.frames.iter().skip(self.frame_before(from)).take_while(|frame| frame.first < to) {
            let outline = outline.get_or_insert_with(|| Outline::new(frame.first, frame.database));
            let plain = self.frame(frame)?;
            let mut left = plain.as_slice();
            while !left.is_empty() && outline.split.offset() < to {
                // What stands before the first offset is only walked through.
                if outline.split.offset() == from {
                    *outline = Outline::new(from, outline.split.database());
                }
                let step = outline
                    .step(left)
                    .map_err(|what| damaged(&self.place, format!("frame at offset {}: {what}", frame.at)))?;
                left = left.get(step.len..).unwrap_or_default();
            }
        }
        Ok(outline.filter(|outline| outline.split.offset() > from).map(|outline| outline.names()).unwrap_or_default())
    }
}

fn frames(footer: &Footer) -> Vec<Frame> {
    let (mut at, mut first) = (0_u64, footer.first);
    let row = |FrameRow(packed, plain, continues, database, commands, sha256): &FrameRow| {
        let frame = Frame {
            at,
            packed: *packed,
            sha256: sha256.clone(),
            first,
            last: first.saturating_add(u64::from(*plain)),
            continues: *continues != 0,
            database: u64::try_from(*database).ok(),
            commands: *commands,
        };
        at = at.saturating_add(u64::from(*packed));
        first = frame.last;
        frame
    };
    footer.frames.iter().map(row).collect()
}
