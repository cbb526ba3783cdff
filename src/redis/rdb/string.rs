//! Lengths and strings: the two forms everything else in an RDB is built of.
//!
//! Strings are passed over wherever nobody asked for them; only keys, AUX fields and functions are ever decoded.

use std::io::Read;

use super::error::{RdbError, RdbResult};
use super::input::{CONTIGUOUS_BYTES_MAX, Input};
use super::{Tap, Visitor, lzf};

/// A length, or the special encoding of a string in its place.
#[derive(Clone, Copy)]
pub(super) enum Len {
    Plain(u64),
    /// 0, 1, 2: an integer of 1, 2, 4 bytes; 3: LZF.
    Special(u8),
}

/// Where a decoded string can be read.
pub(super) enum Text {
    /// In the buffer, just before `pos`; its length.
    Buffered(usize),
    /// In the scratch vector.
    Scratch,
    /// Skipped, because longer than the limit; its length.
    Omitted(u64),
}

/// Encoded containers, whose headers hold their own length.
#[derive(Clone, Copy)]
pub(super) enum Blob {
    Listpack,
    Ziplist,
    Intset,
    Zipmap,
}

/// Vectors for strings that cannot be shown in place; they keep their capacity, bounded by the limits of `text`.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) text: Vec<u8>,
    packed: Vec<u8>,
}

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    #[inline]
    pub(super) fn len(&mut self) -> RdbResult<Len> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Len::Plain(u64::from(first)),
            1 => Len::Plain(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => Len::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            2 if first == 0x81 => Len::Plain(u64::from_be_bytes(self.array()?)),
            3 if first <= 0xc3 => Len::Special(first & 0x3f),
            _ => return Err(Box::new(RdbError::BadLength { byte: first, offset: self.offset().saturating_sub(1) })),
        })
    }

    /// A length where no special encoding may stand.
    #[inline]
    pub(super) fn count(&mut self) -> RdbResult<u64> {
        match self.len()? {
            Len::Plain(n) => Ok(n),
            Len::Special(_) => self.corrupt("an encoded string stands where a length belongs"),
        }
    }

    /// The two lengths of an LZF string: packed, unpacked.
    fn lzf_lengths(&mut self) -> RdbResult<(u64, u64)> {
        let (packed, unpacked) = (self.count()?, self.count()?);
        if packed == 0 || unpacked == 0 || unpacked / lzf::MAX_RATIO > packed {
            return self.corrupt("the lengths of a compressed string cannot both be right");
        }
        Ok((packed, unpacked))
    }

    /// Passes over a string.
    #[inline]
    pub(super) fn skip_string(&mut self) -> RdbResult<()> {
        match self.len()? {
            Len::Plain(n) => self.skip(n),
            Len::Special(3) => {
                let (packed, _) = self.lzf_lengths()?;
                self.skip(packed)
            }
            Len::Special(kind) => self.skip(1 << kind),
        }
    }

    /// Passes over `n` strings.
    #[inline]
    pub(super) fn skip_strings(&mut self, n: u64) -> RdbResult<()> {
        for _ in 0..n {
            self.skip_string()?;
        }
        Ok(())
    }

    /// Passes over a string that must be `n` bytes of plain text (too short to be worth compressing).
    pub(super) fn skip_exactly(&mut self, n: u64, what: &'static str) -> RdbResult<()> {
        match self.len()? {
            Len::Plain(found) if found == n => self.skip(n),
            _ => self.corrupt(what),
        }
    }

    /// Passes over an encoded container. One that is not compressed has to agree with its own header: a server that
    /// meets one that does not, exits.
    #[inline]
    pub(super) fn skip_blob(&mut self, kind: Blob) -> RdbResult<()> {
        let length = match self.len()? {
            Len::Plain(n) => n,
            Len::Special(3) => {
                let (packed, _) = self.lzf_lengths()?;
                return self.skip(packed);
            }
            Len::Special(_) => return self.corrupt("a number stands where an encoded container belongs"),
        };
        let header = match kind {
            Blob::Listpack => 7,
            Blob::Ziplist => 11,
            Blob::Intset => 8,
            Blob::Zipmap => 2,
        };
        if length < header {
            return self.corrupt("an encoded container is shorter than its own header");
        }
        self.ensure(header as usize)?;
        let field =
            |at: usize| u32::from_le_bytes([self.peek(at), self.peek(at + 1), self.peek(at + 2), self.peek(at + 3)]);
        let fits = match kind {
            Blob::Listpack | Blob::Ziplist => u64::from(field(0)) == length,
            Blob::Intset => matches!(field(0), 2 | 4 | 8) && 8 + u64::from(field(0)) * u64::from(field(4)) == length,
            Blob::Zipmap => true,
        };
        if !fits {
            return self.corrupt("an encoded container disagrees with its own header");
        }
        self.skip(length - 1)?;
        let last = self.byte()?;
        if last != 0xff && !matches!(kind, Blob::Intset) {
            return self.corrupt("an encoded container does not end where it says");
        }
        Ok(())
    }

    /// Reads and decodes a string of at most `limit` bytes. Numbers come as decimal text.
    pub(super) fn text(&mut self, scratch: &mut Scratch, limit: u64) -> RdbResult<Text> {
        match self.len()? {
            Len::Plain(n) if n > limit => {
                self.skip(n)?;
                Ok(Text::Omitted(n))
            }
            Len::Plain(n) => {
                let n = n as usize;
                if n <= CONTIGUOUS_BYTES_MAX {
                    self.ensure(n)?;
                    self.pos += n;
                    return Ok(Text::Buffered(n));
                }
                self.collect(n, &mut scratch.text)?;
                Ok(Text::Scratch)
            }
            Len::Special(3) => {
                let (packed, unpacked) = self.lzf_lengths()?;
                if unpacked > limit || packed > limit {
                    self.skip(packed)?;
                    return Ok(Text::Omitted(unpacked.max(packed)));
                }
                let (packed, unpacked) = (packed as usize, unpacked as usize);
                let sound = if packed <= CONTIGUOUS_BYTES_MAX {
                    self.ensure(packed)?;
                    let bytes = self.rest().get(..packed).unwrap_or_default();
                    lzf::unpack(bytes, unpacked, &mut scratch.text)
                } else {
                    self.collect(packed, &mut scratch.packed)?;
                    let sound = lzf::unpack(&scratch.packed, unpacked, &mut scratch.text);
                    // Only what the walk still needs may stay: one string, not two.
                    scratch.packed = Vec::new();
                    sound
                };
                if !sound {
                    return self.corrupt("a compressed string cannot be decompressed");
                }
                if packed <= CONTIGUOUS_BYTES_MAX {
                    self.pos += packed;
                }
                Ok(Text::Scratch)
            }
            Len::Special(kind) => {
                let number = match kind {
                    0 => i64::from(i8::from_le_bytes(self.array()?)),
                    1 => i64::from(i16::from_le_bytes(self.array()?)),
                    _ => i64::from(i32::from_le_bytes(self.array()?)),
                };
                scratch.text.clear();
                scratch.text.extend_from_slice(number.to_string().as_bytes());
                Ok(Text::Scratch)
            }
        }
    }

    /// The bytes a `Text` stands for; valid until the next read.
    #[inline]
    pub(super) fn show<'a>(&'a self, text: &Text, scratch: &'a Scratch) -> &'a [u8] {
        match text {
            Text::Buffered(n) => self.buf.get(self.pos.saturating_sub(*n)..self.pos).unwrap_or_default(),
            Text::Scratch => &scratch.text,
            Text::Omitted(_) => &[],
        }
    }
}
