//! Writes a segment: zstd frames, each of which begins between two transactions, or goes on with one that is too large for a frame.
//!
//! It must not hold more than one frame, and none of the stream's commands. The same bytes and times make the same segment.

use crate::archive::Timeline;
use crate::archive::segment::footer::{FRAME_MAX, Footer, FrameRow, Previous};
use crate::archive::segment::outline::Outline;
use crate::model::ids::hex;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// Bytes of the stream behind which a frame ends with the next transaction: what has to be decompressed to look into it.
const FRAME: usize = 256 << 10;
const LEVEL: i32 = 1;

/// Writes one segment.
pub struct SegmentWriter<W: Write> {
    out: W,
    zstd: zstd::bulk::Compressor<'static>,
    outline: Outline,
    first: u64,
    replid: String,
    sha: Sha256,
    plain: Vec<u8>,
    frames: Vec<FrameRow>,
    /// Of the frame that is being filled: whether it goes on with a transaction, the database, and the commands before it.
    begun: (bool, Option<u64>, u64),
}

impl<W: Write> SegmentWriter<W> {
    /// Begins a segment at an offset between two transactions.
    ///
    /// # Errors
    /// Where zstd refuses its settings.
    pub fn new(out: W, replid: &str, first: u64, database: Option<u64>) -> io::Result<Self> {
        let mut zstd = zstd::bulk::Compressor::new(LEVEL)?;
        zstd.include_checksum(true)?;
        zstd.include_contentsize(true)?;
        Ok(Self {
            out,
            zstd,
            outline: Outline::new(first, database),
            first,
            replid: replid.to_owned(),
            sha: Sha256::new(),
            plain: Vec::new(),
            frames: Vec::new(),
            begun: (false, database, 0),
        })
    }

    /// Takes bytes of the stream.
    ///
    /// # Errors
    /// Those of the output; `InvalidData` where they are no commands.
    pub fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.sha.update(bytes);
        while !bytes.is_empty() {
            // A step ends where the frame is full, too.
            let room = (FRAME_MAX as usize).saturating_sub(self.plain.len());
            let near = bytes.get(..room.min(bytes.len())).unwrap_or_default();
            let step = self.outline.step(near).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
            let (part, rest) = bytes.split_at(step.len);
            self.plain.extend_from_slice(part);
            bytes = rest;
            let between = step.ends && self.outline.split.is_between_transactions();
            let full = self.plain.len() as u64 == FRAME_MAX;
            // What goes on with a transaction ends with it, so that the next frame begins with one.
            if full || (between && (self.begun.0 || self.plain.len() >= FRAME)) {
                self.frame()?;
                self.begun = (!between, self.outline.split.database(), self.outline.commands);
            }
        }
        Ok(())
    }

    /// Says when what was pushed since the last call came, and how much earlier it may have been written, in milliseconds.
    pub fn stamp(&mut self, ms: i64, precision_ms: u64, quiet: bool) {
        self.outline.stamp(ms, precision_ms, quiet);
    }

    fn frame(&mut self) -> io::Result<()> {
        let packed = self.zstd.compress(&self.plain)?;
        self.out.write_all(&packed)?;
        let (continues, database, commands) = self.begun;
        self.frames.push(FrameRow(
            size32(packed.len())?,
            size32(self.plain.len())?,
            u8::from(continues),
            database.and_then(|db| i64::try_from(db).ok()).unwrap_or(-1),
            commands,
            hex(&Sha256::digest(&packed)),
        ));
        self.plain.clear();
        Ok(())
    }

    /// Writes the footer. The output, the segment's footer and its digest.
    ///
    /// # Errors
    /// Those of the output; `InvalidData` where the last transaction is not whole, or nothing says when it came.
    pub(in crate::archive) fn finish(
        mut self,
        timeline: &Timeline,
        previous: Previous,
    ) -> io::Result<(W, Footer, String)> {
        if !self.plain.is_empty() {
            self.frame()?;
        }
        let last = self.outline.split.offset();
        if self.outline.stamps.last().is_none_or(|stamp| stamp.offset != last) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a segment that does not end with a transaction"));
        }
        let footer = Footer {
            format: Footer::format(),
            timeline: timeline.id.clone(),
            shard: timeline.shard,
            replid: self.replid,
            first: self.first,
            last,
            commands: self.outline.commands,
            database: self.outline.split.database(),
            names: self.outline.names(),
            previous,
            sha256: hex(&self.sha.finalize()),
            frames: self.frames,
            stamps: Footer::differences(self.first, &self.outline.stamps),
        };
        let (end, digest) = footer.written()?;
        self.out.write_all(&end)?;
        Ok((self.out, footer, digest))
    }
}

fn size32(n: usize) -> io::Result<u32> {
    u32::try_from(n).map_err(|_| io::Error::other("a frame of over 4 GiB"))
}
