//! How many elements of a set its target would unpack: small containers are stored packed, and a server whose own settings allow
//! fewer elements in a packed one keeps them in a table, which takes many times the memory.
//!
//! Only headers are read. What cannot be told from a header is estimated from the container's length.

use crate::redis::limits::Limits;
use crate::redis::rdb::{EntryHead, Visitor};
use std::io;

/// Bytes of a value that are enough for the header of its container.
const HEAD_BYTES: usize = 64;
/// Bytes of the container's own header that are read.
const HEADER_BYTES: usize = 10;
/// Bytes that an element of a packed container takes at the least, where the number of elements is not told.
const ELEMENT_BYTES_MIN: u64 = 3;
/// A packed container with more elements than two bytes can say.
const COUNT_NOT_TOLD: u64 = 0xffff;

/// Counts what a target with these limits would unpack.
pub struct Packing {
    limits: Limits,
    type_byte: u8,
    head: Vec<u8>,
    /// Elements, each with what belongs to it (a field's value, a member's score).
    pub unpacked: u64,
}

impl Packing {
    /// For a target with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, type_byte: 0, head: Vec::with_capacity(HEAD_BYTES), unpacked: 0 }
    }

    /// The target's limit for the container that is being read; `None` where it is of a type that stays as it is, or the limit is
    /// not known.
    fn limit(&self) -> Option<u64> {
        match self.type_byte {
            13 | 16 => self.limits.packed_hash,
            12 | 17 => self.limits.packed_zset,
            20 => self.limits.packed_set,
            11 => self.limits.packed_integers,
            _ => None,
        }
    }
}

impl Visitor for Packing {
    const WANTS_VALUES: bool = true;
    const WANTS_KEYS: bool = false;
    const WANTS_FUNCTIONS: bool = false;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        self.type_byte = head.type_byte;
        self.head.clear();
        Ok(())
    }

    fn value(&mut self, piece: &[u8]) -> io::Result<()> {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len()).min(piece.len());
        self.head.extend_from_slice(piece.get(..wanted).unwrap_or_default());
        Ok(())
    }

    fn entry_end(&mut self) -> io::Result<()> {
        if let Some(limit) = self.limit()
            && let Some(elements) = elements(self.type_byte, &self.head)
            && elements > limit
        {
            self.unpacked += elements;
        }
        Ok(())
    }
}

/// Elements of a packed container, from the first bytes of its value.
fn elements(type_byte: u8, head: &[u8]) -> Option<u64> {
    let mut rest = head;
    let (length, header) = match length(&mut rest)? {
        Length::Plain(length) => (length, rest.get(..HEADER_BYTES.min(rest.len()))?.to_vec()),
        Length::Compressed => {
            let Length::Plain(_) = self::length(&mut rest)? else { return None };
            let Length::Plain(length) = self::length(&mut rest)? else { return None };
            (length, literals(rest))
        }
    };
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let digits = header.get(at..at + bytes)?;
        Some(digits.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    };
    let (told, pair) = match type_byte {
        11 => (number(4, 4), 1),
        12 | 13 => (number(8, 2), 2),
        17 | 16 => (number(4, 2), 2),
        _ => (number(4, 2), 1),
    };
    let told = told.filter(|n| type_byte == 11 || *n != COUNT_NOT_TOLD);
    Some(told.unwrap_or(length / ELEMENT_BYTES_MIN) / pair)
}

enum Length {
    Plain(u64),
    Compressed,
}

/// A length as an RDB writes one.
fn length(from: &mut &[u8]) -> Option<Length> {
    let (first, rest) = from.split_first()?;
    let low = u64::from(first & 63);
    let bytes = match (first >> 6, first) {
        (0, _) => 0,
        (1, _) => 1,
        (2, 0x80) => 4,
        (2, 0x81) => 8,
        (3, 0xc3) => {
            *from = rest;
            return Some(Length::Compressed);
        }
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(bytes)?;
    *from = rest;
    let start = if bytes == 1 {
        low
    } else if bytes == 0 {
        return Some(Length::Plain(low));
    } else {
        0
    };
    Some(Length::Plain(digits.iter().fold(start, |n, b| n << 8 | u64::from(*b))))
}

/// The first bytes that LZF's leading literals spell out, as many as a header needs.
fn literals(mut from: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    while let Some((run, rest)) = from.split_first() {
        if *run >= 32 || out.len() >= HEADER_BYTES {
            break;
        }
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*run) + 1));
        out.extend_from_slice(bytes);
        from = rest;
    }
    out
}

#[cfg(test)]
mod tests {
    //! Counts of elements are read from the headers of all packed containers, compressed ones included, and from no others.
    use super::elements;

    #[test]
    fn elements_are_read_from_headers() {
        // A listpack of 300 bytes with 120 elements, its length in fourteen bits.
        let listpack = [0x41, 44, 44, 1, 0, 0, 120, 0, 1];
        assert_eq!(elements(16, &listpack), Some(60));
        assert_eq!(elements(20, &listpack), Some(120));
        let ziplist = [40, 40, 0, 0, 0, 30, 0, 0, 0, 8, 0, 1];
        assert_eq!((elements(13, &ziplist), elements(12, &ziplist)), (Some(4), Some(4)));
        let intset = [0x80, 0, 1, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(elements(11, &intset), Some(256));
        // Twenty bytes of LZF stand for 300; ten of them are literal.
        let packed = [0xc3, 20, 0x41, 44, 9, 44, 1, 0, 0, 120, 0, 1, 2, 3, 4, 0xe0];
        assert_eq!(elements(17, &packed), Some(60));
        // No literal says how many: the length does.
        assert_eq!(elements(20, &[0xc3, 20, 0x41, 44, 0xe0, 0]), Some(100));
        // More than two bytes can say.
        assert_eq!(elements(20, &[0x41, 44, 44, 1, 0, 0, 0xff, 0xff, 1]), Some(100));
        assert_eq!((elements(16, &[]), elements(16, &[0xc0, 1])), (None, None));
    }
}
