//! One buffer between the source and the walk: bytes come in once, are parsed in place, and leave once, in order, to
//! the checksum, the tap and (inside a value) the visitor.
//!
//! It must not read ahead of need: the peer may stay silent after the RDB's last byte. The buffer must not grow: a string
//! that is longer streams through it.

use std::io::{ErrorKind, Read};

use crc_fast::{CrcAlgorithm, Digest};

use super::error::{RdbError, RdbResult};
use super::lzf::NO_LZF;
use super::{Tap, Visitor};

/// Size of the buffer: small enough for the second-level cache between the read, the parse and the checksum.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// Most contiguous bytes that `ensure` can fetch.
pub(super) const CONTIGUOUS_BYTES_MAX: usize = BUFFER_BYTES / 2;

pub(super) struct Input<R, T, V> {
    pub(super) src: R,
    pub(super) tap: T,
    pub(super) visitor: V,
    /// Always `BUFFER_BYTES` long.
    pub(super) buf: Vec<u8>,
    /// Next byte to parse. `done <= pos <= end <= buf.len()`.
    pub(super) pos: usize,
    /// End of the bytes read.
    end: usize,
    /// End of the bytes already given to the checksum and the tap.
    done: usize,
    /// Inside a value that the visitor wants: start of the bytes that the visitor has not been given yet.
    piece: Option<usize>,
    /// Offset of `buf[0]` in the RDB.
    base: u64,
    digest: Digest,
    /// Whether parsed bytes go to the checksum; not so for the trailer.
    pub(super) summing: bool,
    /// By how many milliseconds expiries are moved in what goes to the tap.
    pub(super) shift_ms: Option<i64>,
    /// Whether parsed bytes do not go to the tap, for something else will in their place.
    pub(super) muted: bool,
}

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    pub(super) fn new(src: R, tap: T, visitor: V) -> Self {
        let digest = Digest::new(CrcAlgorithm::Crc64Redis);
        let buf = vec![0; BUFFER_BYTES];
        Self {
            src,
            tap,
            visitor,
            buf,
            pos: 0,
            end: 0,
            done: 0,
            piece: None,
            base: 0,
            digest,
            summing: true,
            shift_ms: None,
            muted: false,
        }
    }

    /// Offset of the next byte to parse.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The checksum of everything flushed so far.
    pub(super) fn crc64(&self) -> u64 {
        self.digest.finalize()
    }

    /// The bytes read beyond the parsed ones.
    pub(super) fn rest(&self) -> &[u8] {
        self.buf.get(self.pos..self.end).unwrap_or_default()
    }

    #[cold]
    pub(super) fn corrupt<X>(&self, what: &'static str) -> RdbResult<X> {
        Err(Box::new(RdbError::Corrupt { offset: self.offset(), what }))
    }

    /// The error of compressed bytes that began at an offset: the same, however far they were followed.
    #[cold]
    pub(super) fn no_lzf(offset: u64) -> Box<RdbError> {
        Box::new(RdbError::Corrupt { offset, what: NO_LZF })
    }

    #[cold]
    pub(super) fn sink(&self, source: std::io::Error) -> Box<RdbError> {
        Box::new(RdbError::Sink { offset: self.offset(), source })
    }

    /// The visitor's value begins at the next byte.
    #[inline]
    pub(super) fn begin_value(&mut self) {
        self.piece = Some(self.pos);
    }

    /// The visitor's value ended with the last byte parsed.
    #[inline]
    pub(super) fn end_value(&mut self) -> RdbResult<()> {
        self.hand_piece()?;
        self.piece = None;
        Ok(())
    }

    fn hand_piece(&mut self) -> RdbResult<()> {
        let Some(from) = self.piece else { return Ok(()) };
        let piece = self.buf.get(from..self.pos).unwrap_or_default();
        self.piece = Some(self.pos);
        if piece.is_empty() {
            return Ok(());
        }
        self.visitor.value(piece).map_err(|e| self.sink(e))
    }

    /// Gives all parsed bytes to the checksum and the tap, in one block.
    pub(super) fn flush(&mut self) -> RdbResult<()> {
        self.hand_piece()?;
        let block = self.buf.get(self.done..self.pos).unwrap_or_default();
        if block.is_empty() {
            return Ok(());
        }
        self.done = self.pos;
        if self.summing {
            self.digest.update(block);
        }
        if self.muted {
            return Ok(());
        }
        self.tap.bytes(block).map_err(|e| self.sink(e))
    }

    /// Gives the tap other bytes in the place of those that were parsed since the last flush.
    pub(super) fn instead(&mut self, bytes: &[u8]) -> RdbResult<()> {
        self.muted = true;
        self.flush()?;
        self.muted = false;
        self.tap.bytes(bytes).map_err(|e| self.sink(e))
    }

    /// Reads once, so that at least one more byte is available; makes room for `want` contiguous bytes first.
    #[cold]
    #[inline(never)]
    fn fill(&mut self, want: usize) -> RdbResult<()> {
        // Compacting on every short read would cut the checksum's blocks to the size of the reads.
        if BUFFER_BYTES - self.pos < want || BUFFER_BYTES - self.end < BUFFER_BYTES / 16 {
            self.flush()?;
            self.buf.copy_within(self.pos..self.end, 0);
            self.base += self.pos as u64;
            self.end -= self.pos;
            self.piece = self.piece.map(|_| 0);
            (self.pos, self.done) = (0, 0);
        }
        let read = self.base + self.end as u64;
        loop {
            let room = self.buf.get_mut(self.end..).unwrap_or_default();
            let most = room.len();
            match self.src.read(room) {
                Ok(0) => return Err(Box::new(RdbError::Truncated { offset: read })),
                // A source that claims more than it was offered is broken, but must not break the invariant.
                Ok(n) => {
                    self.end += n.min(most);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Box::new(RdbError::Source { offset: read, source })),
            }
        }
    }

    /// Makes sure that `n` (at most `CONTIGUOUS_BYTES_MAX`) bytes are available, without consuming them.
    #[inline]
    pub(super) fn ensure(&mut self, n: usize) -> RdbResult<()> {
        while self.end - self.pos < n {
            self.fill(n)?;
        }
        Ok(())
    }

    /// The next byte.
    #[inline]
    pub(super) fn byte(&mut self) -> RdbResult<u8> {
        self.ensure(1)?;
        let Some(&byte) = self.buf.get(self.pos) else { return self.corrupt("the buffer lost a byte") };
        self.pos += 1;
        Ok(byte)
    }

    /// The byte at `ahead` of the next one, which `ensure` must have fetched.
    #[inline]
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        self.buf.get(self.pos + ahead).copied().unwrap_or(0)
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> RdbResult<[u8; N]> {
        self.ensure(N)?;
        let Some(bytes) = self.buf.get(self.pos..).and_then(<[u8]>::first_chunk::<N>) else {
            return self.corrupt("the buffer lost bytes");
        };
        let bytes = *bytes;
        self.pos += N;
        Ok(bytes)
    }

    /// Passes over `n` bytes; they go to the checksum, the tap and the visitor like all others.
    #[inline]
    pub(super) fn skip(&mut self, n: u64) -> RdbResult<()> {
        let available = self.end - self.pos;
        if n <= available as u64 {
            self.pos += n as usize;
            return Ok(());
        }
        self.skip_far(n)
    }

    #[cold]
    #[inline(never)]
    fn skip_far(&mut self, mut n: u64) -> RdbResult<()> {
        loop {
            let available = self.end - self.pos;
            if n <= available as u64 {
                self.pos += n as usize;
                return Ok(());
            }
            n -= available as u64;
            self.pos = self.end;
            self.fill(1)?;
        }
    }

    /// The next bytes, at least one and at most `n` of them, which are thereby taken.
    #[inline]
    pub(super) fn part(&mut self, n: u64) -> RdbResult<&[u8]> {
        self.ensure(1)?;
        let from = self.pos;
        self.pos += (self.end - from).min(usize::try_from(n).unwrap_or(usize::MAX));
        Ok(self.buf.get(from..self.pos).unwrap_or_default())
    }

    /// Copies the next `n` bytes, which may be more than the buffer holds, into `out` (cleared first). `out` grows as
    /// bytes really arrive, so a length that is wrong costs nothing.
    pub(super) fn collect(&mut self, mut n: usize, out: &mut Vec<u8>) -> RdbResult<()> {
        out.clear();
        while n > 0 {
            self.ensure(1)?;
            let available = self.rest();
            let part = available.get(..n.min(available.len())).unwrap_or_default();
            out.extend_from_slice(part);
            let taken = part.len();
            n -= taken;
            self.pos += taken;
        }
        Ok(())
    }
}
