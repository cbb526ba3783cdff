//! The shape of every value type: where its bytes end. Nothing is decoded.
//!
//! A type is here only if its layout is certain for that dialect and version; all others are refused by name. Guessing
//! would put the walk out of step, and what comes after would be counted as something it is not.

use std::io::Read;

use super::error::{RdbError, RdbResult};
use super::input::Input;
use super::statistics::{Dialect, Tally};
use super::string::Blob;
use super::{Tap, Visitor};

/// Dialect and version, which decide the meaning of a type byte or an opcode.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) dialect: Dialect,
    pub(super) version: u16,
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

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    /// Passes over a value of type `type_byte`, whose first byte is next; the type byte itself is at `at`.
    #[inline]
    pub(super) fn skip_value(&mut self, type_byte: u8, at: u64, format: Format, tally: &mut Tally) -> RdbResult<()> {
        match type_byte {
            0 => self.skip_string(),
            10 | 12 | 13 => self.skip_blob(Blob::Ziplist),
            11 => self.skip_blob(Blob::Intset),
            16 | 17 | 20 => self.skip_blob(Blob::Listpack),
            _ => self.skip_large(type_byte, at, format, tally),
        }
    }

    fn skip_large(&mut self, type_byte: u8, at: u64, format: Format, tally: &mut Tally) -> RdbResult<()> {
        match type_byte {
            1 | 2 => {
                let n = self.count()?;
                self.skip_strings(n)
            }
            4 => {
                for _ in 0..self.count()? {
                    self.skip_strings(2)?;
                }
                Ok(())
            }
            3 => self.skip_zset_of_text(),
            5 => {
                for _ in 0..self.count()? {
                    self.skip_string()?;
                    self.skip(8)?;
                }
                Ok(())
            }
            7 => {
                let id = self.count()?;
                if !tally.module(unpack_name(id >> 10, 9)) {
                    return self.corrupt("more module types than a server can have");
                }
                self.skip_module()
            }
            9 => self.skip_blob(Blob::Zipmap),
            14 => {
                for _ in 0..self.count()? {
                    self.skip_blob(Blob::Ziplist)?;
                }
                Ok(())
            }
            18 => self.skip_quicklist(),
            15 => self.skip_stream(1),
            19 => self.skip_stream(2),
            21 => self.skip_stream(3),
            // Valkey 9: field, value, expiry in milliseconds (−1: none).
            22 if format.valkey_from(80) => {
                for _ in 0..self.count()? {
                    self.skip_strings(2)?;
                    self.skip(8)?;
                }
                Ok(())
            }
            // Redis 7.4: earliest expiry, then per field its expiry relative to that, field, value.
            24 if format.redis_from(12) => {
                self.skip(8)?;
                for _ in 0..self.count()? {
                    self.count()?;
                    self.skip_strings(2)?;
                }
                Ok(())
            }
            25 if format.redis_from(12) => {
                self.skip(8)?;
                self.skip_blob(Blob::Listpack)
            }
            26 if format.redis_from(13) => self.skip_stream(4),
            27 if format.redis_from(14) => self.skip_stream(5),
            _ => Err(Box::new(RdbError::UnsupportedType {
                type_byte,
                offset: at,
                dialect: format.dialect,
                version: format.version,
            })),
        }
    }

    /// Sorted sets up to Redis 3.2: each score is text with its length, or one byte for what is not finite.
    fn skip_zset_of_text(&mut self) -> RdbResult<()> {
        for _ in 0..self.count()? {
            self.skip_string()?;
            match self.byte()? {
                253..=255 => {}
                n => self.skip(u64::from(n))?,
            }
        }
        Ok(())
    }

    /// Each node is one plain element (1) or a listpack (2).
    fn skip_quicklist(&mut self) -> RdbResult<()> {
        for _ in 0..self.count()? {
            match self.count()? {
                1 => self.skip_string()?,
                2 => self.skip_blob(Blob::Listpack)?,
                _ => return self.corrupt("a list node of a kind that does not exist"),
            }
        }
        Ok(())
    }

    /// Streams; `edition` 1 to 5 are types 15, 19, 21, 26, 27.
    fn skip_stream(&mut self, edition: u8) -> RdbResult<()> {
        for _ in 0..self.count()? {
            self.skip_exactly(16, "a stream node whose key is not a stream id")?;
            self.skip_blob(Blob::Listpack)?;
        }
        // Length and last id; from edition 2 first id, highest deleted id, entries added.
        for _ in 0..if edition >= 2 { 8 } else { 3 } {
            self.count()?;
        }
        for _ in 0..self.count()? {
            self.skip_consumer_group(edition)?;
        }
        if edition >= 4 {
            self.skip_producers()?;
        }
        Ok(())
    }

    fn skip_consumer_group(&mut self, edition: u8) -> RdbResult<()> {
        self.skip_string()?;
        // Last id; from edition 2 entries read.
        for _ in 0..if edition >= 2 { 3 } else { 2 } {
            self.count()?;
        }
        for _ in 0..self.count()? {
            // Pending entry: id, delivery time, delivery count.
            self.skip(16 + 8)?;
            self.count()?;
        }
        for _ in 0..self.count()? {
            self.skip_string()?;
            // Seen time; from edition 3 active time.
            self.skip(if edition >= 3 { 16 } else { 8 })?;
            self.skip_ids()?;
        }
        // From edition 5 the entries given back by XNACK, owned by no consumer.
        if edition >= 5 { self.skip_ids() } else { Ok(()) }
    }

    /// A count and that many raw stream ids.
    fn skip_ids(&mut self) -> RdbResult<()> {
        let n = self.count()?;
        match n.checked_mul(16) {
            Some(bytes) => self.skip(bytes),
            None => self.corrupt("more stream ids than can be"),
        }
    }

    /// Idempotent producers: duration, limit, per producer its name and its (id, stream id) pairs, two totals.
    fn skip_producers(&mut self) -> RdbResult<()> {
        self.count()?;
        self.count()?;
        for _ in 0..self.count()? {
            self.skip_string()?;
            for _ in 0..self.count()? {
                self.skip_string()?;
                self.count()?;
                self.count()?;
            }
        }
        self.count()?;
        self.count()?;
        Ok(())
    }

    /// What a module wrote: each part says what it is, so it can be passed over without the module.
    pub(super) fn skip_module(&mut self) -> RdbResult<()> {
        loop {
            match self.count()? {
                0 => return Ok(()),
                1 | 2 => {
                    self.count()?;
                }
                3 => self.skip(4)?,
                4 => self.skip(8)?,
                5 => self.skip_string()?,
                _ => return self.corrupt("a module value with a part of a kind that does not exist"),
            }
        }
    }

    /// Module data outside the key space: module id, when to load it, parts.
    pub(super) fn skip_module_aux(&mut self, tally: &mut Tally) -> RdbResult<()> {
        let id = self.count()?;
        if self.count()? != 2 {
            return self.corrupt("module data does not say when it is to be loaded");
        }
        self.count()?;
        if !tally.module(unpack_name(id >> 10, 9)) {
            return self.corrupt("more module types than a server can have");
        }
        self.skip_module()
    }

    /// Metadata that modules attached to the next key (Redis 8.6): per class its 32-bit spec and parts.
    pub(super) fn skip_key_meta(&mut self, tally: &mut Tally) -> RdbResult<()> {
        for _ in 0..self.count()? {
            let spec = u32::from_le_bytes(self.array()?);
            if !tally.module(format!("META-{}", unpack_name(u64::from(spec >> 8), 4))) {
                return self.corrupt("more module types than a server can have");
            }
            self.skip_module()?;
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
