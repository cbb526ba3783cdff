//! The footer of a segment: what is in it and where, as compressed JSON, with the digest that names the segment's content.
//!
//! The digest is over the footer, and the footer has the digest of every frame: whoever knows one knows all bytes. The next segment
//! keeps it, so that a segment that was exchanged shows.

use crate::archive::segment::outline::Stamp;
use crate::archive::{SegmentName, Timeline};
use crate::model::ids::hex;
use crate::model::text::clean;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io;

/// Format that is written. A reader refuses a later one.
const FORMAT: u64 = 1;
/// Magic number of the skippable zstd frame that the footer is in: zstd itself passes over it.
pub(super) const SKIPPABLE: u32 = 0x184D_2A5D;
/// Last bytes of a segment.
pub(super) const MAGIC: &[u8; 8] = b"TBSEGMT1";
/// Bytes behind the footer's text: its digest, its length, and the magic.
pub(super) const TAIL: usize = 32 + 4 + 8;
/// Longest footer in bytes, compressed and not.
pub(super) const LONGEST: usize = 32 << 20;
/// Most bytes of the stream in a frame.
pub(super) const FRAME_MAX: u64 = 1 << 20;

/// The segment before one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Name of its object; `None` for the first of a timeline.
    pub name: Option<String>,
    /// Digest of it; of the timeline's record where it is the first.
    pub digest: String,
}

/// A frame, as written: compressed bytes, plain bytes, whether it begins within a command or transaction (1), the database selected (-1
/// where it is not known), the commands that count before it, and the SHA-256 of the compressed bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct FrameRow(pub u32, pub u32, pub u8, pub i64, pub u64, pub String);

/// The footer, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct Footer {
    pub format: u64,
    pub timeline: String,
    pub shard: u16,
    pub replid: String,
    pub first: u64,
    pub last: u64,
    pub commands: u64,
    /// The database selected at the end.
    pub database: Option<u64>,
    pub names: BTreeSet<String>,
    pub previous: Previous,
    /// SHA-256 of the stream's bytes.
    pub sha256: String,
    pub frames: Vec<FrameRow>,
    /// Stamps, each as its difference to the one before: offset, milliseconds, precision (itself), commands.
    pub stamps: Vec<(u64, i64, u64, u64)>,
}

impl Footer {
    /// The segment's name.
    pub fn name(&self) -> SegmentName {
        let stamps = self.stamps();
        let ms = |stamp: Option<&Stamp>| stamp.map_or(0, |s| s.ms);
        SegmentName {
            first: self.first,
            last: self.last,
            first_ms: ms(stamps.first()),
            last_ms: ms(stamps.last()),
            precision_ms: stamps.iter().map(|s| s.precision_ms).max().unwrap_or_default(),
            commands: self.commands,
            replid: self.replid.as_str().into(),
        }
    }

    /// The stamps.
    pub fn stamps(&self) -> Vec<Stamp> {
        let (mut offset, mut ms, mut commands) = (self.first, 0_i64, 0_u64);
        let absolute = |&(by, later, precision_ms, more): &(u64, i64, u64, u64)| {
            offset = offset.saturating_add(by);
            ms = ms.saturating_add(later);
            commands = commands.saturating_add(more);
            Stamp { offset, ms, precision_ms, commands }
        };
        self.stamps.iter().map(absolute).collect()
    }

    /// Stamps as they are written.
    pub fn differences(first: u64, stamps: &[Stamp]) -> Vec<(u64, i64, u64, u64)> {
        let mut before = Stamp { offset: first, ms: 0, precision_ms: 0, commands: 0 };
        let difference = |stamp: &Stamp| {
            let row = (
                stamp.offset - before.offset,
                stamp.ms - before.ms,
                stamp.precision_ms,
                stamp.commands - before.commands,
            );
            before = *stamp;
            row
        };
        stamps.iter().map(difference).collect()
    }

    /// Whether two segments say the same, however they are compressed.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let told = |footer: &Self| Self { frames: Vec::new(), ..footer.clone() };
        told(self) == told(other)
    }

    /// The bytes at the end of a segment, and the digest.
    pub fn written(&self) -> io::Result<(Vec<u8>, String)> {
        let text = zstd::bulk::compress(&serde_json::to_vec(self)?, 3)?;
        let len = u32::try_from(text.len()).ok().filter(|len| *len as usize <= LONGEST);
        let len = len.ok_or_else(|| io::Error::other("a footer that is too long"))?;
        let digest = Sha256::digest(&text);
        let mut out = Vec::with_capacity(text.len() + TAIL + 8);
        out.extend(SKIPPABLE.to_le_bytes());
        out.extend((len + TAIL as u32).to_le_bytes());
        out.extend(text);
        out.extend(digest);
        out.extend(len.to_le_bytes());
        out.extend(MAGIC);
        Ok((out, hex(&digest)))
    }

    /// Reads a footer's text, which is what its digest says, and compares it with where it was found.
    pub fn read(text: &[u8], timeline: &Timeline, name: &SegmentName, frames_end: u64) -> Result<Self, String> {
        let json = zstd::bulk::decompress(text, LONGEST).map_err(|e| format!("cannot be decompressed: {e}"))?;
        let footer: Self = serde_json::from_slice(&json).map_err(|e| clean(&e.to_string()))?;
        if footer.format != FORMAT {
            return Err(format!("format {} is not known to this version", footer.format));
        }
        if (footer.timeline.as_str(), footer.shard) != (timeline.id.as_str(), timeline.shard) {
            return Err("is that of another timeline".into());
        }
        if footer.last != name.last || footer.name() != *name {
            return Err("does not say what the segment's name says".into());
        }
        let sum = |part: fn(&FrameRow) -> u32| footer.frames.iter().map(|frame| u64::from(part(frame))).sum::<u64>();
        if sum(|frame| frame.0) != frames_end || footer.first.checked_add(sum(|frame| frame.1)) != Some(footer.last) {
            return Err("does not fit the frames".into());
        }
        let most = zstd::zstd_safe::compress_bound(FRAME_MAX as usize) as u64;
        if footer.frames.iter().any(|frame| u64::from(frame.1) > FRAME_MAX || u64::from(frame.0) > most) {
            return Err("tells of an impossible frame".into());
        }
        let stamps = footer.stamps();
        let ordered = stamps.is_sorted_by(|a, b| a.offset <= b.offset && a.ms <= b.ms && a.commands <= b.commands);
        if !ordered
            || stamps.last().is_none_or(|stamp| stamp.offset != footer.last || stamp.commands != footer.commands)
        {
            return Err("has times out of order".into());
        }
        Ok(footer)
    }

    pub const fn format() -> u64 {
        FORMAT
    }
}
