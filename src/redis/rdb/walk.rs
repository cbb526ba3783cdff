//! The walk itself: header, opcodes, keys, end, trailer.
//!
//! Opcodes are looked up by dialect and version, because the same number means different things in Redis and Valkey.

use std::io::Read;

use super::deep::Deep;
use super::error::{RdbError, RdbResult};
use super::input::Input;
use super::source::Hashing as _;
use super::statistics::{Checksum, DATABASES_MAX, Dialect, Tally};
use super::string::{Scratch, Text};
use super::unique::Scope;
use super::value::{Content, Format};
use super::{EntryHead, Tap, Visitor, Walked, expiry, library};

/// The newest Redis version whose opcodes and types are known; those without a known layout are refused one by one.
const NEWEST_REDIS: u16 = 15;
/// Valkey's own versions begin here, clear of those that Redis took.
const OLDEST_VALKEY: u16 = 80;
/// The newest Valkey version whose opcodes and types are known.
const NEWEST_VALKEY: u16 = 81;
/// Versions before this have no trailer.
const CHECKSUM_SINCE_VERSION: u16 = 5;

/// Longest key that is handed to a visitor, and longest function library. Held in memory whole, hence the limit.
pub(super) const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest AUX name or value that is kept; `lua` in old files can hold whole scripts.
const AUX_TEXT_BYTES_MAX: u64 = 4096;
/// How many AUX fields are kept.
const AUX_FIELDS_MAX: usize = 64;
/// A database may announce so many keys more than it has: room for them harms no server.
const ANNOUNCED_SLACK: u64 = 1 << 20;
/// A decoding vector that grew past this is given back after use.
const SCRATCH_BYTES_KEPT: usize = 1024 * 1024;

/// Attributes of the next key, from the opcodes before it.
#[derive(Default)]
struct Pending {
    expiry_ms: Option<i64>,
    idle: Option<u64>,
    freq: Option<u8>,
    has_meta: bool,
}

/// What the byte at the place of an opcode or a type turned out to be.
enum Met {
    End,
    Handled,
    Key,
}

pub(super) struct Walk<'u, R, T, V> {
    input: Input<R, T, V>,
    format: Format,
    tally: Tally,
    scratch: Scratch,
    pending: Pending,
    deep: Deep<'u>,
    /// Most keys that the current database announced.
    announced: u64,
}

impl<'u, R: Read, T: Tap, V: Visitor> Walk<'u, R, T, V> {
    /// `shift_ms`: by how much expiries are moved in what goes to the tap.
    pub(super) fn run(
        src: R,
        tap: T,
        visitor: V,
        mut deep: Deep<'u>,
        shift_ms: Option<i64>,
    ) -> RdbResult<Walked<R, T, V>> {
        if let Some(unique) = &mut deep.unique {
            unique.begin();
        }
        let mut input = Input::new(src, tap, visitor);
        input.shift_ms = shift_ms;
        let format = header(&mut input)?;
        let (tally, scratch, pending) = (Tally::new(), Scratch::default(), Pending::default());
        let mut walk = Self { input, format, tally, scratch, pending, deep, announced: 0 };
        loop {
            let at = walk.input.offset();
            let byte = walk.input.byte()?;
            match walk.opcode(byte, at)? {
                Met::End => {
                    walk.end_database()?;
                    return walk.finish();
                }
                Met::Handled => {}
                Met::Key => walk.entry(byte, at)?,
            }
        }
    }

    #[inline]
    fn opcode(&mut self, byte: u8, at: u64) -> RdbResult<Met> {
        match byte {
            0..=241 => return Ok(Met::Key),
            252 => self.pending.expiry_ms = Some(i64::from_le_bytes(self.input.time(expiry::key)?)),
            253 => {
                let seconds = i32::from_le_bytes(self.input.time(expiry::key_in_seconds)?);
                self.pending.expiry_ms = Some(i64::from(seconds) * 1000);
            }
            248 => self.pending.idle = Some(self.input.count()?),
            249 => self.pending.freq = Some(self.input.byte()?),
            255 => return Ok(Met::End),
            _ => return self.rare_opcode(byte, at),
        }
        Ok(Met::Handled)
    }

    #[cold]
    fn rare_opcode(&mut self, byte: u8, at: u64) -> RdbResult<Met> {
        let Format { dialect, version } = self.format;
        match byte {
            254 => {
                let db = self.input.count()?;
                self.end_database()?;
                if !self.tally.select(db) {
                    let offset = self.input.offset();
                    return Err(Box::new(RdbError::TooManyDatabases { offset, limit: DATABASES_MAX, version }));
                }
            }
            251 => {
                let (keys, expires) = (self.input.count()?, self.input.count()?);
                self.announced = self.announced.max(keys.max(expires));
            }
            250 => self.aux()?,
            247 => {
                self.tally.opcodes.insert(byte);
                self.input.skip_module_aux(&mut self.deep, &mut self.tally)?;
            }
            245 if version >= 10 => self.function()?,
            244 if version >= 12 => {
                self.tally.opcodes.insert(byte);
                self.input.count()?;
                let (keys, expires) = (self.input.count()?, self.input.count()?);
                self.announced = self.announced.max(keys.max(expires));
            }
            243 if self.format.redis_from(13) => {
                self.tally.opcodes.insert(byte);
                self.pending.has_meta = true;
                self.input.skip_key_meta(&mut self.deep, &mut self.tally)?;
            }
            // A slot migration under way: its name and the slot ranges.
            243 if self.format.valkey_from(OLDEST_VALKEY) => {
                self.tally.opcodes.insert(byte);
                self.input.skip_string()?;
                for _ in 0..self.input.count()? {
                    self.input.count()?;
                    self.input.count()?;
                }
            }
            _ => return Err(Box::new(RdbError::BadOpcode { opcode: byte, offset: at, dialect, version })),
        }
        Ok(Met::Handled)
    }

    /// No more keys of this database follow. A server makes room for as many as were announced, and exits where there is no such room.
    fn end_database(&mut self) -> RdbResult<()> {
        let seen = self.tally.current.keys + self.tally.empty_keys;
        if std::mem::take(&mut self.announced) > ANNOUNCED_SLACK + 2 * seen {
            return self.input.corrupt("the database before has by far not as many keys as it announced");
        }
        Ok(())
    }

    /// One key and its value; the type byte has just been read.
    #[inline]
    fn entry(&mut self, type_byte: u8, at: u64) -> RdbResult<()> {
        if !self.format.has_type(type_byte) {
            let Format { dialect, version } = self.format;
            return Err(Box::new(RdbError::UnsupportedType { type_byte, offset: at, dialect, version }));
        }
        let watched = V::WANTS_KEYS || V::WANTS_VALUES;
        let scope = Scope::keys(self.tally.current.db);
        let mut name = None;
        if V::WANTS_KEYS {
            let key = self.required_text("a key")?;
            if let Some(unique) = &self.deep.unique {
                name = Some(unique.within(scope).whole(self.input.show(&key, &self.scratch)));
            }
            self.announce(type_byte, &key)?;
        } else {
            match &self.deep.unique {
                Some(unique) => name = Some(self.input.hash(&unique.within(scope), &mut self.deep.unpacked)?),
                None => self.input.skip_string()?,
            }
            if watched {
                self.scratch.text.clear();
                self.announce(type_byte, &Text::Scratch)?;
            }
        }
        if V::WANTS_VALUES {
            self.input.begin_value();
        }
        if let Some(contents) = &mut self.deep.contents {
            contents.begin();
        }
        let from = self.input.offset();
        let content = self.input.value(type_byte, &mut self.deep, &mut self.tally)?;
        let length = self.input.offset() - from;
        if V::WANTS_VALUES {
            self.input.end_value()?;
        }
        let expiry_ms = std::mem::take(&mut self.pending).expiry_ms;
        if content == Content::Empty {
            self.tally.empty_keys += 1;
            return if watched { self.input.visitor.empty_entry().map_err(|e| self.input.sink(e)) } else { Ok(()) };
        }
        if let Some(contents) = &self.deep.contents {
            let value = contents.value(type_byte, length);
            self.input.visitor.contents(value).map_err(|e| self.input.sink(e))?;
        }
        if watched {
            self.input.visitor.entry_end().map_err(|e| self.input.sink(e))?;
        }
        if let (Some(name), Some(unique)) = (name, self.deep.unique.as_deref_mut()) {
            match unique.push_key(name) {
                Ok(true) => {}
                Ok(false) => return self.input.corrupt("the key before is in its database twice"),
                Err(e) => return Err(self.input.sink(e)),
            }
        }
        self.tally.largest_value = self.tally.largest_value.max(length);
        self.tally.current.keys += 1;
        if let Some(at) = expiry_ms {
            self.tally.expiry(at);
        }
        if let Some(count) = self.tally.types.get_mut(usize::from(type_byte)) {
            *count += 1;
        }
        Ok(())
    }

    fn announce(&mut self, type_byte: u8, key: &Text) -> RdbResult<()> {
        // Spelled out instead of `show`: the visitor is borrowed from the same input.
        let key = match key {
            Text::Buffered(n) => {
                self.input.buf.get(self.input.pos.saturating_sub(*n)..self.input.pos).unwrap_or_default()
            }
            Text::Scratch | Text::Omitted(_) => self.scratch.text.as_slice(),
        };
        let Pending { expiry_ms, idle, freq, has_meta } = self.pending;
        let db = self.tally.current.db;
        let visited = self.input.visitor.key(&EntryHead { db, key, type_byte, expiry_ms, idle, freq, has_meta });
        visited.map_err(|e| self.input.sink(e))?;
        if self.scratch.text.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch.text = Vec::new();
        }
        Ok(())
    }

    fn aux(&mut self) -> RdbResult<()> {
        let name = self.aux_text()?;
        let value = self.aux_text()?;
        if self.tally.aux.len() < AUX_FIELDS_MAX {
            self.tally.aux.push((name, value));
        }
        Ok(())
    }

    /// A short string as text. One that is too long to be worth keeping is passed over.
    fn aux_text(&mut self) -> RdbResult<String> {
        match self.input.text(&mut self.scratch, AUX_TEXT_BYTES_MAX)? {
            Text::Omitted(_) => Ok(String::new()),
            text => Ok(String::from_utf8_lossy(self.input.show(&text, &self.scratch)).into_owned()),
        }
    }

    /// A string that the visitor wants whole: too long is an error.
    #[inline]
    fn required_text(&mut self, what: &'static str) -> RdbResult<Text> {
        let offset = self.input.offset();
        match self.input.text(&mut self.scratch, TEXT_BYTES_MAX)? {
            Text::Omitted(length) => Err(Box::new(RdbError::TooLarge { what, offset, length, limit: TEXT_BYTES_MAX })),
            text => Ok(text),
        }
    }

    fn function(&mut self) -> RdbResult<()> {
        self.tally.functions += 1;
        let text = if V::WANTS_FUNCTIONS {
            self.required_text("a function library")?
        } else {
            self.input.text(&mut self.scratch, TEXT_BYTES_MAX)?
        };
        if let Text::Omitted(_) = text {
            return Ok(());
        }
        // Spelled out instead of `show`, as for a key.
        let code = match text {
            Text::Buffered(n) => {
                self.input.buf.get(self.input.pos.saturating_sub(n)..self.input.pos).unwrap_or_default()
            }
            Text::Scratch | Text::Omitted(_) => self.scratch.text.as_slice(),
        };
        let valkey =
            self.format.dialect == Dialect::Valkey || self.tally.aux.iter().any(|(name, _)| name == "valkey-ver");
        let name = library::name(code, valkey).or_else(|what| self.input.corrupt(what))?;
        if let Some(unique) = self.deep.unique.as_deref_mut().filter(|_| !name.is_empty()) {
            match unique.push_key(unique.within(Scope::LIBRARIES).whole(name)) {
                Ok(true) => {}
                Ok(false) => return self.input.corrupt("a function library is there twice"),
                Err(e) => return Err(self.input.sink(e)),
            }
        }
        if V::WANTS_FUNCTIONS {
            let visited = self.input.visitor.function(code);
            visited.map_err(|e| self.input.sink(e))?;
        }
        if self.scratch.text.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch.text = Vec::new();
        }
        Ok(())
    }

    /// After the end opcode: checks the trailer, and hands out what was read past it.
    fn finish(mut self) -> RdbResult<Walked<R, T, V>> {
        self.input.flush()?;
        let expected = self.input.crc64();
        self.input.summing = false;
        let mut checksum = Checksum::Absent;
        if self.format.version >= CHECKSUM_SINCE_VERSION {
            let offset = self.input.offset();
            let found = u64::from_le_bytes(self.input.array()?);
            if found != 0 {
                if found != expected {
                    return Err(Box::new(RdbError::ChecksumMismatch { expected, found, offset }));
                }
                checksum = Checksum::Verified;
            }
            self.input.flush()?;
        }
        let mut statistics = self.tally.into_statistics(self.format.dialect, self.format.version, expected, checksum);
        statistics.bytes = self.input.offset();
        let rest = self.input.rest().to_vec();
        let Input { src, tap, visitor, .. } = self.input;
        Ok(Walked { statistics, rest, src, tap, visitor })
    }
}

/// Nine bytes: `REDIS` and four digits, or `VALKEY` and three.
fn header<R: Read, T: Tap, V: Visitor>(input: &mut Input<R, T, V>) -> RdbResult<Format> {
    let magic: [u8; 9] = input.array()?;
    let parsed = if let Some(digits) = magic.strip_prefix(b"REDIS") {
        number(digits).map(|version| (Dialect::Redis, version))
    } else if let Some(digits) = magic.strip_prefix(b"VALKEY") {
        number(digits).map(|version| (Dialect::Valkey, version))
    } else {
        None
    };
    let Some((dialect, version)) = parsed else {
        return Err(Box::new(RdbError::BadMagic { found: String::from_utf8_lossy(&magic).into_owned() }));
    };
    let known = match dialect {
        Dialect::Redis => (1..=NEWEST_REDIS).contains(&version),
        Dialect::Valkey => (OLDEST_VALKEY..=NEWEST_VALKEY).contains(&version),
    };
    if known {
        Ok(Format { dialect, version })
    } else {
        Err(Box::new(RdbError::UnsupportedVersion { dialect, version }))
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |n, d| d.is_ascii_digit().then(|| n * 10 + u16::from(d - b'0')))
}
