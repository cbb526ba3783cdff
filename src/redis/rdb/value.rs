//! The shape of every value type, and what its elements are. Nothing is decoded that need not be.
//!
//! A type is here only if its layout is certain for that dialect and version; all others are refused by name. Guessing
//! would put the walk out of step, and what comes after would be counted as something it is not.

use std::io::Read;

use super::contents::score_bits;
use super::deep::{Deep, FIELD_EXPIRY_MAX, NO_SCORE, Rows, Shape, is_score, score_of};
use super::error::RdbResult;
use super::input::Input;
use super::statistics::{Dialect, Tally};
use super::{Tap, Visitor, expiry};

/// Dialect and version, which decide the meaning of a type byte or an opcode.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) dialect: Dialect,
    pub(super) version: u16,
}

/// The name of the module type that a value of type 7 begins with: a length of 64 bits, whose upper 54 spell it.
pub(super) fn module_of(value: &[u8]) -> Option<String> {
    let (id, _) = value.strip_prefix(&[0x81])?.split_first_chunk::<8>()?;
    Some(unpack_name(u64::from_be_bytes(*id) >> 10, 9))
}

impl Format {
    pub(super) fn redis_from(self, version: u16) -> bool {
        self.dialect == Dialect::Redis && self.version >= version
    }

    pub(super) fn valkey_from(self, version: u16) -> bool {
        self.dialect == Dialect::Valkey && self.version >= version
    }
}

/// Module ids hold nine characters of six bits and ten bits of version.
const MODULE_NAME_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The last `length` six-bit characters of `packed`.
fn unpack_name(packed: u64, length: u32) -> String {
    let character = |i: u32| {
        let index = (packed >> (6 * (length - 1 - i))) & 63;
        MODULE_NAME_CHARACTERS.get(index as usize).map_or('?', |c| char::from(*c))
    };
    (0..length).map(character).collect()
}

impl Format {
    /// Whether the layout of a value type is certain in this dialect and version.
    pub(super) fn has_type(self, type_byte: u8) -> bool {
        match type_byte {
            0..=5 | 7 | 9..=21 => true,
            22 => self.valkey_from(80),
            24 | 25 => self.redis_from(12),
            26 => self.redis_from(13),
            27 => self.redis_from(14),
            _ => false,
        }
    }
}

/// Whether a value holds anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Some,
    /// A container without elements, which older servers wrote: every server passes over its key.
    Empty,
}

impl Content {
    #[inline]
    fn of(elements: u64) -> Self {
        if elements == 0 { Self::Empty } else { Self::Some }
    }
}

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    /// Checks a value of type `type_byte`, one of [`Format::has_type`], whose first byte is next.
    #[inline]
    pub(super) fn value(&mut self, type_byte: u8, deep: &mut Deep<'_>, tally: &mut Tally) -> RdbResult<Content> {
        let shape = match type_byte {
            0 => {
                let text = self.element(deep)?;
                deep.next(text, 0);
                return Ok(Content::Some);
            }
            9 => Shape::Zipmap,
            10 => Shape::Ziplist(Rows::List),
            11 => Shape::Intset,
            12 => Shape::Ziplist(Rows::Zset),
            13 => Shape::Ziplist(Rows::Hash),
            16 => Shape::Listpack(Rows::Hash),
            17 => Shape::Listpack(Rows::Zset),
            20 => Shape::Listpack(Rows::Set),
            25 => {
                if let Some(by_ms) = self.shift_ms {
                    return self.moved_listpack(by_ms, deep).map(Content::of);
                }
                self.skip(8)?;
                Shape::Listpack(Rows::HashTtl)
            }
            _ => return self.large_value(type_byte, deep, tally),
        };
        self.blob(shape, deep).map(Content::of)
    }

    fn large_value(&mut self, type_byte: u8, deep: &mut Deep<'_>, tally: &mut Tally) -> RdbResult<Content> {
        let edition = match type_byte {
            15 => 1,
            19 => 2,
            21 => 3,
            26 => 4,
            27 => 5,
            7 => {
                let id = self.count()?;
                if !tally.module(unpack_name(id >> 10, 9)) {
                    return self.corrupt("more module types than a server can have");
                }
                deep.next(id, 0);
                return self.module(deep).map(|()| Content::Some);
            }
            14 | 18 => return self.quicklist(type_byte, deep),
            _ => return self.elements(type_byte, deep),
        };
        // A stream without entries is one.
        self.stream(edition, deep).map(|()| Content::Some)
    }

    /// Containers that are written element by element.
    fn elements(&mut self, type_byte: u8, deep: &mut Deep<'_>) -> RdbResult<Content> {
        let mut earliest = 0;
        if type_byte == 24 {
            let found = self.time(expiry::earliest)?;
            // What goes on must be times, too.
            earliest = u64::from_le_bytes(self.shift_ms.map_or(found, |by_ms| expiry::earliest(found, by_ms)));
        }
        let count = self.count()?;
        if type_byte == 1 {
            for _ in 0..count {
                let text = self.element(deep)?;
                deep.next(text, 0);
            }
            return Ok(Content::of(count));
        }
        let group = deep.open();
        for _ in 0..count {
            let mut expiry_ms = 0;
            // Redis 7.4: when the field expires, counted from one before the earliest; 0 for never.
            if type_byte == 24 {
                let after = self.count()?;
                if after > 0 {
                    expiry_ms = earliest.saturating_add(after - 1);
                    if expiry_ms > FIELD_EXPIRY_MAX {
                        return self.corrupt("the expiry of a field is no time");
                    }
                }
            }
            let name = self.member(group, deep)?;
            let value = match type_byte {
                4 | 24 => self.element(deep)?,
                3 => self.text_score(deep.contents.is_some())?,
                5 => self.score()?,
                // Valkey 9: value, expiry in milliseconds (−1: none).
                22 => {
                    let value = self.element(deep)?;
                    expiry_ms = match i64::from_le_bytes(self.time(expiry::field)?) {
                        -1 => 0,
                        expiry => match u64::try_from(expiry) {
                            // One of 1970 has expired as the next has, and is not "never".
                            Ok(expiry) => expiry.max(1),
                            Err(_) => return self.corrupt("the expiry of a field is no time"),
                        },
                    };
                    value
                }
                _ => 0,
            };
            deep.field(name, value, expiry_ms);
        }
        self.close(group, deep)?;
        Ok(Content::of(count))
    }

    /// The bits of a score.
    fn score(&mut self) -> RdbResult<u64> {
        let score = f64::from_le_bytes(self.array()?);
        if score.is_nan() { self.corrupt(NO_SCORE) } else { Ok(score_bits(score)) }
    }

    /// Sorted sets up to Redis 3.2: each score is text with its length, or one byte for what is not finite. Its bits, if they are wanted.
    fn text_score(&mut self, wanted: bool) -> RdbResult<u64> {
        match self.byte()? {
            254 => Ok(score_bits(f64::INFINITY)),
            255 => Ok(score_bits(f64::NEG_INFINITY)),
            253 => self.corrupt(NO_SCORE),
            n => {
                let n = usize::from(n);
                self.ensure(n)?;
                let text = self.rest().get(..n).unwrap_or_default();
                if !is_score(text) {
                    return self.corrupt(NO_SCORE);
                }
                let bits = if wanted { score_bits(score_of(text)) } else { 0 };
                self.skip(n as u64)?;
                Ok(bits)
            }
        }
    }

    /// Each node is a ziplist, or from Redis 7 on one plain element (1) or a listpack (2).
    fn quicklist(&mut self, type_byte: u8, deep: &mut Deep<'_>) -> RdbResult<Content> {
        let mut elements = 0_u64;
        for _ in 0..self.count()? {
            let kind = if type_byte == 14 { 0 } else { self.count()? };
            elements = elements.saturating_add(match kind {
                0 if type_byte == 14 => self.blob(Shape::Ziplist(Rows::List), deep)?,
                1 => {
                    let from = self.offset();
                    let text = self.element(deep)?;
                    deep.next(text, 0);
                    // One byte is the length of an empty string.
                    if self.offset() - from == 1 {
                        return self.corrupt("a list node without an element");
                    }
                    1
                }
                2 => self.blob(Shape::Listpack(Rows::List), deep)?,
                _ => return self.corrupt("a list node of a kind that does not exist"),
            });
        }
        Ok(Content::of(elements))
    }

    /// What a module wrote: each part says what it is, so it can be passed over without the module.
    fn module(&mut self, deep: &mut Deep<'_>) -> RdbResult<()> {
        loop {
            let kind = self.count()?;
            let part = match kind {
                0 => return Ok(()),
                1 | 2 => self.count()?,
                3 => u64::from(u32::from_le_bytes(self.array()?)),
                4 => u64::from_le_bytes(self.array()?),
                5 => self.element(deep)?,
                _ => return self.corrupt("a module value with a part of a kind that does not exist"),
            };
            deep.next(kind, part);
        }
    }

    /// Module data outside the key space: module id, when to load it, parts.
    pub(super) fn skip_module_aux(&mut self, deep: &mut Deep<'_>, tally: &mut Tally) -> RdbResult<()> {
        let id = self.count()?;
        if self.count()? != 2 {
            return self.corrupt("module data does not say when it is to be loaded");
        }
        self.count()?;
        if !tally.module(unpack_name(id >> 10, 9)) {
            return self.corrupt("more module types than a server can have");
        }
        self.module(deep)
    }

    /// Metadata that modules attached to the next key (Redis 8.6): per class its 32-bit spec and parts.
    pub(super) fn skip_key_meta(&mut self, deep: &mut Deep<'_>, tally: &mut Tally) -> RdbResult<()> {
        for _ in 0..self.count()? {
            let spec = u32::from_le_bytes(self.array()?);
            if !tally.module(format!("META-{}", unpack_name(u64::from(spec >> 8), 4))) {
                return self.corrupt("more module types than a server can have");
            }
            self.module(deep)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::unpack_name;

    #[test]
    fn module_ids_spell_their_names() {
        let id = b"ReJSON-RL".iter().fold(0u64, |id, c| {
            id << 6 | super::MODULE_NAME_CHARACTERS.iter().position(|n| n == c).unwrap_or(0) as u64
        });
        assert_eq!(unpack_name(id, 9), "ReJSON-RL");
    }
}
