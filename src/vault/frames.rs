//! The data object: a zstd file of independent frames of 1 MiB with a seek table at its end.
//!
//! Plain `zstd -d` reads it; the seek table is the one of zstd's seekable format (a skippable frame). Independent frames
//! let two threads decompress, and let each be verified by its own checksum before a byte of it goes anywhere. The object is
//! read by ranges: its end, then frame by frame.

use crate::vault::lacking::is_lacking;
use crate::vault::store::{Ranges, encrypted_without_key};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use zstd::zstd_safe::CParameter;

/// Bytes of data in a frame. Small enough that a few in flight stay within a few MiB.
const FRAME: usize = 1 << 20;
/// Most frames in an object, whatever its manifest says it has: those of 4 TiB.
const FRAMES_MAX: u64 = 4 << 20;
/// Frames decompressed at once.
const WORKERS: usize = 2;
const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Bytes of the seek table's footer: number of frames (4), descriptor (1), magic (4).
const FOOTER: u64 = 9;
/// Bytes of a seek table's entry: compressed and plain size, 4 bytes each.
const ENTRY: u64 = 8;
/// Usual level: compressing here must stay faster than the source sends.
const LEVEL: i32 = 1;
/// Level for data that hardly shrinks (compressed by the source already, or random): a third of the time, and within a few
/// hundredths of the size.
const FAST_LEVEL: i32 = -1;
/// A frame that keeps more than this share of its size, in percent, hardly shrinks, and the next one most likely does not either.
const HARDLY_SHRINKS_PERCENT: usize = 85;

fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Compresses data into frames and writes them.
pub struct FrameWriter<W: Write> {
    out: W,
    zstd: zstd::bulk::Compressor<'static>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    table: Vec<(u32, u32)>,
    written: u64,
}

impl<W: Write> FrameWriter<W> {
    /// Begins a data object.
    ///
    /// # Errors
    /// Where zstd refuses its settings.
    pub fn new(out: W) -> io::Result<Self> {
        let mut zstd = zstd::bulk::Compressor::new(LEVEL)?;
        zstd.include_checksum(true)?;
        zstd.include_contentsize(true)?;
        let packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(FRAME));
        Ok(Self { out, zstd, plain: Vec::with_capacity(FRAME), packed, table: Vec::new(), written: 0 })
    }

    /// Appends data.
    ///
    /// # Errors
    /// Those of the output.
    pub fn push(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(FRAME - self.plain.len()));
            self.plain.extend_from_slice(now);
            data = later;
            if self.plain.len() == FRAME {
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> io::Result<()> {
        self.packed.clear();
        self.zstd.compress_to_buffer(&self.plain, &mut self.packed)?;
        let hardly_shrinks = self.packed.len() * 100 > self.plain.len() * HARDLY_SHRINKS_PERCENT;
        self.zstd.set_parameter(CParameter::CompressionLevel(if hardly_shrinks { FAST_LEVEL } else { LEVEL }))?;
        self.out.write_all(&self.packed)?;
        let sizes = (size32(self.packed.len())?, size32(self.plain.len())?);
        self.table.push(sizes);
        self.written += u64::from(sizes.0);
        self.plain.clear();
        Ok(())
    }

    /// Writes the last frame and the seek table. Returns the output and the bytes written.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        if !self.plain.is_empty() {
            self.frame()?;
        }
        let mut tail = Vec::new();
        tail.extend(SKIPPABLE.to_le_bytes());
        tail.extend(size32(self.table.len() * 8 + 9)?.to_le_bytes());
        for (packed, plain) in &self.table {
            tail.extend(packed.to_le_bytes());
            tail.extend(plain.to_le_bytes());
        }
        tail.extend(size32(self.table.len())?.to_le_bytes());
        tail.push(0);
        tail.extend(SEEKABLE.to_le_bytes());
        self.out.write_all(&tail)?;
        Ok((self.out, self.written + tail.len() as u64))
    }
}

fn size32(n: usize) -> io::Result<u32> {
    u32::try_from(n).map_err(|_| bad("a frame or the seek table is over 4 GiB"))
}

/// Offset of a frame, and its size, compressed and plain, in bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    packed: u32,
    plain: u32,
}

/// Reads frames in order; two threads decompress ahead, each at most one frame.
#[derive(Debug)]
pub struct FrameReader {
    /// One channel from each worker, which decompresses every `WORKERS`th frame.
    workers: Vec<Receiver<io::Result<Vec<u8>>>>,
    next: usize,
    frames: usize,
    current: Vec<u8>,
    used: usize,
}

impl FrameReader {
    /// Reads an open object of an RDB of so many bytes, after checking its seek table.
    ///
    /// # Errors
    /// `InvalidData` where the table does not fit the object, or has more frames than such an RDB.
    pub fn new(object: Arc<dyn Ranges>, rdb_bytes: u64) -> io::Result<Self> {
        let places = Arc::new(seek_table(&*object, rdb_bytes)?);
        let frames = places.len();
        let workers = (0..WORKERS)
            .map(|worker| {
                let (tx, rx) = sync_channel(1);
                let (object, places) = (Arc::clone(&object), Arc::clone(&places));
                std::thread::Builder::new()
                    .name("frames".into())
                    .spawn(move || decompress(&*object, &places, worker, &tx))?;
                Ok(rx)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { workers, next: 0, frames, current: Vec::new(), used: 0 })
    }

    /// The next frame's data, verified by its checksum; `None` at the end.
    ///
    /// # Errors
    /// `InvalidData` naming the frame's offset where it is damaged.
    pub fn next_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.next == self.frames {
            return Ok(None);
        }
        let worker = self.workers.get(self.next % WORKERS).ok_or_else(|| bad("no worker"))?;
        self.next += 1;
        worker.recv().map_err(|_| bad("a decompressing thread died"))?.map(Some)
    }
}

impl Read for FrameReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.current.len() {
            match self.next_frame()? {
                Some(frame) => (self.current, self.used) = (frame, 0),
                None => return Ok(0),
            }
        }
        let mut rest = self.current.get(self.used..).unwrap_or_default();
        let n = rest.read(buf)?;
        self.used += n;
        Ok(n)
    }
}

/// Decompresses every `WORKERS`th frame, beginning with frame number `worker`, until the reader is dropped or a frame is
/// damaged.
fn decompress(object: &dyn Ranges, places: &[Place], worker: usize, out: &SyncSender<io::Result<Vec<u8>>>) {
    let run = || -> io::Result<()> {
        let mut zstd = zstd::bulk::Decompressor::new()?;
        let mut packed = Vec::new();
        for place in places.iter().skip(worker).step_by(WORKERS) {
            packed.resize(place.packed as usize, 0);
            let damage = |e: io::Error| bad(format!("frame at offset {}: {e}", place.offset));
            // What could not be read is told from what is damaged by whoever has asked.
            let unread = |e: io::Error| if is_lacking(&e) { e } else { damage(e) };
            object.read_exact_at(&mut packed, place.offset).map_err(unread)?;
            let plain = zstd.decompress(&packed, place.plain as usize).map_err(damage)?;
            if plain.len() != place.plain as usize {
                return Err(damage(bad("is shorter than its seek table says")));
            }
            if out.send(Ok(plain)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    };
    if let Err(e) = run() {
        // The reader may have been dropped; then nobody needs the error.
        let _ = out.send(Err(e));
    }
}

fn seek_table(object: &dyn Ranges, rdb_bytes: u64) -> io::Result<Vec<Place>> {
    let len = object.size()?;
    let mut footer = [0; FOOTER as usize];
    let at = len.checked_sub(FOOTER).ok_or_else(|| bad("too short to be a data object"))?;
    object.read_exact_at(&mut footer, at)?;
    let [n0, n1, n2, n3, descriptor, m0, m1, m2, m3] = footer;
    if u32::from_le_bytes([m0, m1, m2, m3]) != SEEKABLE || descriptor != 0 {
        let encrypted = encrypted_without_key(object);
        return Err(encrypted.unwrap_or_else(|| bad("its seek table is missing or damaged (the file is cut?)")));
    }
    let count = u64::from(u32::from_le_bytes([n0, n1, n2, n3]));
    // Memory is taken for so many: whoever can write there can write any number.
    if count > rdb_bytes.div_ceil(FRAME as u64).saturating_add(1).min(FRAMES_MAX) {
        return Err(bad(format!("its seek table has {count} frames, more than an RDB of {rdb_bytes} bytes")));
    }
    let table_len = count * ENTRY;
    let start = at.checked_sub(table_len + 8).ok_or_else(|| bad("its seek table is longer than the file"))?;
    let mut table = vec![0; usize::try_from(table_len + 8).map_err(|_| bad("seek table too long"))?];
    object.read_exact_at(&mut table, start)?;
    let (numbers, _) = table.as_chunks::<4>();
    let mut numbers = numbers.iter().map(|n| u32::from_le_bytes(*n));
    if numbers.next() != Some(SKIPPABLE) || numbers.next().map(u64::from) != Some(table_len + FOOTER) {
        return Err(bad("its seek table is damaged"));
    }
    let mut places = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    let mut offset = 0;
    while let (Some(packed), Some(plain)) = (numbers.next(), numbers.next()) {
        if plain as usize > FRAME || packed as usize > zstd::zstd_safe::compress_bound(FRAME) {
            return Err(bad(format!("its seek table names an impossible frame at offset {offset}")));
        }
        places.push(Place { offset, packed, plain });
        offset += u64::from(packed);
    }
    if offset != start {
        return Err(bad("its seek table does not fit the data"));
    }
    Ok(places)
}
