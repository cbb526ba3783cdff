//! Lengths and strings: the two forms everything else in an RDB is built of.
//!
//! Strings are passed over wherever nobody asked for them; only keys, AUX fields and functions are ever decoded.

use std::io::Read;

use super::error::{RdbError, RdbResult};
use super::input::{CONTIGUOUS_BYTES_MAX, Input};
use super::lzf::{NO_LZF, OPERANDS_MAX, Step};
use super::source::{Source as _, Unpacked};
use super::{Tap, Visitor, lzf};

/// Longest string or container that is unpacked whole; longer ones are unpacked through a window.
const UNPACKED_BYTES_MAX: u64 = 256 * 1024;

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

/// A whole number as decimal text, on the stack.
pub(super) struct Decimal {
    text: [u8; 20],
    from: usize,
}

impl Decimal {
    #[inline]
    pub(super) fn of(number: i64) -> Self {
        let (mut text, mut from, mut rest) = ([b'-'; 20], 20, number.unsigned_abs());
        for (at, digit) in text.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            (from, rest) = (at, rest / 10);
            if rest == 0 {
                break;
            }
        }
        // The twenty places have room for the sign: the lowest number has nineteen digits.
        Self { text, from: from - usize::from(number < 0) }
    }

    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(self.from..).unwrap_or_default()
    }
}

/// Vectors for strings that cannot be shown in place; they keep their capacity, bounded by the limits of `text`.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) text: Vec<u8>,
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
    pub(super) fn lzf_lengths(&mut self) -> RdbResult<(u64, u64)> {
        let (packed, unpacked) = (self.count()?, self.count()?);
        if packed == 0 || unpacked == 0 || unpacked / lzf::MAX_RATIO > packed {
            return self.corrupt("the lengths of a compressed string cannot both be right");
        }
        Ok((packed, unpacked))
    }

    /// Passes over a string. One that is compressed is followed through its packed form, for a server that cannot unpack it exits.
    #[inline]
    pub(super) fn skip_string(&mut self) -> RdbResult<()> {
        match self.len()? {
            Len::Plain(n) => self.skip(n),
            Len::Special(3) => {
                let (packed, unpacked) = self.lzf_lengths()?;
                self.skip_lzf(packed, unpacked)
            }
            Len::Special(kind) => self.skip(1 << kind),
        }
    }

    fn skip_lzf(&mut self, packed: u64, unpacked: u64) -> RdbResult<()> {
        if packed > CONTIGUOUS_BYTES_MAX as u64 {
            return self.skip_far_lzf(packed, unpacked);
        }
        self.ensure(packed as usize)?;
        let bytes = self.rest().get(..packed as usize).unwrap_or_default();
        if !lzf::is_sound(bytes, unpacked) {
            return self.corrupt(NO_LZF);
        }
        self.skip(packed)
    }

    #[cold]
    fn skip_far_lzf(&mut self, mut packed: u64, unpacked: u64) -> RdbResult<()> {
        let (begin, mut out) = (self.offset(), 0_u64);
        while packed > 0 {
            let control = self.byte()?;
            packed -= 1;
            let ahead = packed.min(OPERANDS_MAX as u64) as usize;
            self.ensure(ahead)?;
            let (more, taken, reach) = match Step::read(control, [self.peek(0), self.peek(1)]) {
                Step::Literal(n) => (n, n, 0),
                Step::Back { run, distance, operands } => (run, operands, distance),
            };
            if reach as u64 > out || taken as u64 > packed {
                return Err(Self::no_lzf(begin));
            }
            self.skip(taken as u64)?;
            packed -= taken as u64;
            out += more as u64;
            if out > unpacked {
                return Err(Self::no_lzf(begin));
            }
        }
        if out == unpacked { Ok(()) } else { Err(Self::no_lzf(begin)) }
    }

    /// The whole number that a string of such a kind is.
    pub(super) fn number(&mut self, kind: u8) -> RdbResult<i64> {
        Ok(match kind {
            0 => i64::from(i8::from_le_bytes(self.array()?)),
            1 => i64::from(i16::from_le_bytes(self.array()?)),
            _ => i64::from(i32::from_le_bytes(self.array()?)),
        })
    }

    /// Unpacks what is small enough to be held, and passes over it; false, and nothing is passed over, where it is not.
    pub(super) fn unpack(&mut self, packed: u64, length: u64, unpacked: &mut Vec<u8>) -> RdbResult<bool> {
        if packed > CONTIGUOUS_BYTES_MAX as u64 {
            return Ok(false);
        }
        self.ensure(packed as usize)?;
        if length > UNPACKED_BYTES_MAX {
            return Ok(false);
        }
        let bytes = self.rest().get(..packed as usize).unwrap_or_default();
        if !lzf::unpack(bytes, length as usize, unpacked) {
            return self.corrupt(NO_LZF);
        }
        self.skip(packed)?;
        Ok(true)
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
                    self.skip_lzf(packed, unpacked)?;
                    return Ok(Text::Omitted(unpacked.max(packed)));
                }
                if !self.unpack(packed, unpacked, &mut scratch.text)? {
                    scratch.text.clear();
                    let mut source = Unpacked::new(self, packed, unpacked);
                    source.each(unpacked, |part| scratch.text.extend_from_slice(part))?;
                    source.finish()?;
                }
                Ok(Text::Scratch)
            }
            Len::Special(kind) => {
                let number = Decimal::of(self.number(kind)?);
                scratch.text.clear();
                scratch.text.extend_from_slice(number.text());
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

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn whole_numbers_are_spelled() {
        for number in [0, 7, -7, 10, 1_234_567_890_123, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(String::from_utf8_lossy(Decimal::of(number).text()), number.to_string());
        }
    }
}
