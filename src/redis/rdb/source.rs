//! Where the inside of a container is read from: bytes at hand, bytes that stream through the buffer, or LZF that is unpacked on the
//! way. The checks of the encodings are written once, over all three.
//!
//! It must not hold more than a window: a container may be larger than the memory of this machine.

use std::io::Read;

use super::error::{RdbError, RdbResult};
use super::input::Input;
use super::lzf::{self, DISTANCE_MAX, OPERANDS_MAX, RUN_MAX, Step};
use super::{Tap, Visitor};

/// Longest name that is hashed at once, by a hash that wants it whole; longer ones come in parts, and have SipHash. Which of the two is the
/// name's length alone, for the same name may come in one form and in another. Who makes a file does not know the key of either.
pub(super) const AT_ONCE_MAX: usize = 256;

const TOO_LONG: &str = "an element is longer than the encoded container around it";

/// How a text is hashed, whether it is at hand or comes in parts: the same text has the same hash.
pub(super) trait Hashing {
    /// A hash that has not ended.
    type Long;
    /// One that has.
    type Hash;

    /// Of a text that is at hand.
    fn whole(&self, bytes: &[u8]) -> Self::Hash;

    /// Begins that of a text of more than [`AT_ONCE_MAX`] bytes.
    fn begin(&self) -> Self::Long;

    /// Goes on with the next part.
    fn write(&self, long: &mut Self::Long, part: &[u8]);

    /// Ends it.
    fn end(&self, long: Self::Long) -> Self::Hash;
}

/// Bytes of a container, front to back.
pub(super) trait Source {
    /// Bytes still to come.
    fn left(&self) -> u64;

    /// The next bytes, at least one and at most `n` of them, which are thereby taken. Never called with none left or asked for.
    fn take(&mut self, n: u64) -> RdbResult<&[u8]>;

    /// Where in the RDB this is: of a container at hand, where it begins.
    fn at(&self) -> u64;

    /// The error of a contradiction met here.
    #[cold]
    fn corrupt(&self, what: &'static str) -> Box<RdbError> {
        Box::new(RdbError::Corrupt { offset: self.at(), what })
    }

    /// The next `N` bytes.
    #[inline]
    fn array<const N: usize>(&mut self) -> RdbResult<[u8; N]> {
        let mut out = [0; N];
        if self.left() < N as u64 {
            return Err(self.corrupt("an encoded container ends inside an element"));
        }
        self.copy(&mut out)?;
        Ok(out)
    }

    /// Fills `out` with the next bytes, so many of which there must be.
    fn copy(&mut self, out: &mut [u8]) -> RdbResult<()> {
        let mut filled = 0;
        self.each(out.len() as u64, |part| {
            for (to, from) in out.iter_mut().skip(filled).zip(part) {
                *to = *from;
            }
            filled += part.len();
        })
    }

    /// The next byte.
    #[inline]
    fn byte(&mut self) -> RdbResult<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes the next `n` bytes, in as many parts as they come in.
    #[inline]
    fn each(&mut self, mut n: u64, mut part_of: impl FnMut(&[u8])) -> RdbResult<()> {
        if self.left() < n {
            return Err(self.corrupt(TOO_LONG));
        }
        while n > 0 {
            let part = self.take(n)?;
            n -= part.len() as u64;
            part_of(part);
        }
        Ok(())
    }

    /// Passes over the next `n` bytes.
    #[inline]
    fn pass(&mut self, n: u64) -> RdbResult<()> {
        self.each(n, |_| ())
    }

    /// Takes the next `n` bytes as a text to be hashed.
    #[inline]
    fn hash<H: Hashing>(&mut self, n: u64, by: &H) -> RdbResult<H::Hash> {
        if n > AT_ONCE_MAX as u64 {
            let mut long = by.begin();
            self.each(n, |part| by.write(&mut long, part))?;
            return Ok(by.end(long));
        }
        let mut text = [0; AT_ONCE_MAX];
        let text = text.get_mut(..n as usize).unwrap_or_default();
        self.copy(text)?;
        Ok(by.whole(text))
    }
}

/// Bytes at hand; `at` is where they are in the RDB.
pub(super) struct Held<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: u64,
}

impl<'a> Held<'a> {
    /// The next `n` bytes.
    #[inline]
    fn whole(&mut self, n: u64) -> RdbResult<&'a [u8]> {
        let Some((taken, rest)) = usize::try_from(n).ok().and_then(|n| self.bytes.split_at_checked(n)) else {
            return Err(self.corrupt(TOO_LONG));
        };
        self.bytes = rest;
        Ok(taken)
    }
}

impl Source for Held<'_> {
    #[inline]
    fn left(&self) -> u64 {
        self.bytes.len() as u64
    }

    #[inline]
    fn take(&mut self, n: u64) -> RdbResult<&[u8]> {
        let n = self.bytes.len().min(usize::try_from(n).unwrap_or(usize::MAX));
        let (taken, rest) = self.bytes.split_at_checked(n).unwrap_or((self.bytes, &[]));
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> RdbResult<[u8; N]> {
        let Some((out, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(self.corrupt("an encoded container ends inside an element"));
        };
        self.bytes = rest;
        Ok(*out)
    }

    #[inline]
    fn each(&mut self, n: u64, mut part_of: impl FnMut(&[u8])) -> RdbResult<()> {
        part_of(self.whole(n)?);
        Ok(())
    }

    #[inline]
    fn hash<H: Hashing>(&mut self, n: u64, by: &H) -> RdbResult<H::Hash> {
        Ok(by.whole(self.whole(n)?))
    }

    fn at(&self) -> u64 {
        self.at
    }
}

/// The next `left` bytes of the RDB itself.
pub(super) struct Raw<'a, R, T, V> {
    pub(super) input: &'a mut Input<R, T, V>,
    pub(super) left: u64,
}

impl<R: Read, T: Tap, V: Visitor> Source for Raw<'_, R, T, V> {
    fn left(&self) -> u64 {
        self.left
    }

    fn take(&mut self, n: u64) -> RdbResult<&[u8]> {
        let part = self.input.part(n.min(self.left))?;
        self.left -= part.len() as u64;
        Ok(part)
    }

    fn at(&self) -> u64 {
        self.input.offset()
    }
}

/// Bytes unpacked at once, beside those that back references may reach.
const WINDOW_BYTES: usize = 4 * DISTANCE_MAX;

/// LZF, unpacked through a window.
pub(super) struct Unpacked<'a, R, T, V> {
    input: &'a mut Input<R, T, V>,
    /// Where the packed bytes begin.
    begin: u64,
    /// Packed bytes not read yet.
    packed: u64,
    /// Unpacked bytes not handed out yet, those in the window included.
    left: u64,
    window: Vec<u8>,
    /// What of the window has been handed out.
    used: usize,
}

impl<'a, R: Read, T: Tap, V: Visitor> Unpacked<'a, R, T, V> {
    pub(super) fn new(input: &'a mut Input<R, T, V>, packed: u64, unpacked: u64) -> Self {
        let begin = input.offset();
        Self { input, begin, packed, left: unpacked, window: Vec::with_capacity(WINDOW_BYTES + RUN_MAX), used: 0 }
    }

    /// The packed data ended with the unpacked.
    pub(super) fn finish(self) -> RdbResult<()> {
        if self.packed > 0 || self.left > 0 { Err(self.bad()) } else { Ok(()) }
    }

    #[cold]
    fn bad(&self) -> Box<RdbError> {
        Input::<R, T, V>::no_lzf(self.begin)
    }

    fn fill(&mut self) -> RdbResult<()> {
        if self.window.len() > WINDOW_BYTES - DISTANCE_MAX {
            self.window.drain(..self.window.len() - DISTANCE_MAX);
            self.used = self.window.len();
        }
        while self.packed > 0 && self.window.len() < WINDOW_BYTES {
            let control = self.input.byte()?;
            self.packed -= 1;
            let ahead = self.packed.min(OPERANDS_MAX as u64) as usize;
            self.input.ensure(ahead)?;
            let next = |at| if at < ahead { self.input.peek(at) } else { 0 };
            match Step::read(control, [next(0), next(1)]) {
                Step::Literal(n) => {
                    self.packed = self.packed.checked_sub(n as u64).ok_or_else(|| self.bad())?;
                    let mut n = n as u64;
                    while n > 0 {
                        let part = self.input.part(n)?;
                        self.window.extend_from_slice(part);
                        n -= part.len() as u64;
                    }
                }
                Step::Back { run, distance, operands } => {
                    self.packed = self.packed.checked_sub(operands as u64).ok_or_else(|| self.bad())?;
                    self.input.skip(operands as u64)?;
                    if !lzf::repeat(&mut self.window, run, distance) {
                        return Err(self.bad());
                    }
                }
            }
            if (self.window.len() - self.used) as u64 > self.left {
                return Err(self.bad());
            }
        }
        let unpacked = (self.window.len() - self.used) as u64;
        if unpacked == 0 || (self.packed == 0 && unpacked != self.left) {
            return Err(self.bad());
        }
        Ok(())
    }
}

impl<R: Read, T: Tap, V: Visitor> Source for Unpacked<'_, R, T, V> {
    fn left(&self) -> u64 {
        self.left
    }

    fn take(&mut self, n: u64) -> RdbResult<&[u8]> {
        if self.used == self.window.len() {
            self.fill()?;
        }
        let from = self.used;
        self.used = self.window.len().min(from + usize::try_from(n).unwrap_or(usize::MAX).min(WINDOW_BYTES * 2));
        self.left = self.left.saturating_sub((self.used - from) as u64);
        Ok(self.window.get(from..self.used).unwrap_or_default())
    }

    fn at(&self) -> u64 {
        self.input.offset()
    }
}
