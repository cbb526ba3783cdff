//! The RDB walker: reads a Redis or Valkey snapshot once, from front to back, and reports its contents and whether it is
//! sound, while the same bytes stream on to be stored, hashed or sent.
//!
//! A bad RDB kills the server that loads it, or waits in it for the first command that reads it. So the inside of every value is checked:
//! every length and opcode, every element of an encoded container, every compressed string, what a stream says of itself, the CRC64
//! of the whole; and with [`walk_unique`] that no key, member or function library is there twice. What a module wrote is followed, not
//! understood, and the code of a function library is not compiled.
//!
//! It must not: guess a layout it does not know (the dialects of Redis and Valkey use the same numbers for different
//! things), panic on any input, allocate by lengths found in the data, or ask the source for bytes behind the end.
//! Memory is about a megabyte, plus at most two strings of 16 MiB where a visitor is handed a key that long or a function library
//! is, plus what [`unique::Unique`] holds.
//!
//! The call blocks; run it on a thread that may.

pub mod checksum;
pub mod compat;
pub mod contents;
pub mod error;
pub mod payload;
pub mod shift;
pub mod statistics;
pub mod unique;

mod deep;
mod expiry;
mod input;
mod library;
mod listpack;
mod lzf;
mod source;
mod spill;
mod stream;
mod string;
mod value;
mod walk;

use std::io::{self, Read};

use self::error::RdbError;
use self::statistics::KeyStatistics;

/// Sees every byte of the RDB exactly once, in order, trailer included, in blocks of up to 256 KiB.
///
/// Bytes come as they are parsed, before the rest of the RDB is known to be sound: a tap must not pass them on where damage
/// would hurt. An error stops the walk as [`RdbError::Sink`].
pub trait Tap {
    /// The next block.
    ///
    /// # Errors
    /// Whatever makes going on pointless, such as a full disk.
    fn bytes(&mut self, block: &[u8]) -> io::Result<()>;
}

impl Tap for () {
    fn bytes(&mut self, _block: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Tap for F {
    fn bytes(&mut self, block: &[u8]) -> io::Result<()> {
        self(block)
    }
}

/// An entry before its value: all that precedes the value in the RDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHead<'a> {
    /// The database of the key.
    pub db: u64,
    /// The key, decompressed, numbers as decimal text. Empty if [`Visitor::WANTS_KEYS`] is false.
    pub key: &'a [u8],
    /// The type byte, which a DUMP payload begins with.
    pub type_byte: u8,
    /// When the key expires: milliseconds since 1970, UTC.
    pub expiry_ms: Option<i64>,
    /// Seconds since the key was last used, where the server evicts by LRU.
    pub idle: Option<u64>,
    /// How often the key was used, where the server evicts by LFU.
    pub freq: Option<u8>,
    /// Whether modules attached metadata to the key (Redis 8.6). Such metadata is not among the value's bytes: a DUMP
    /// payload built from them restores the key without it.
    pub has_meta: bool,
}

/// Receives the entries. An error from any method stops the walk as [`RdbError::Sink`].
///
/// Calls come as `key`, `value` any number of times, `entry_end` or `empty_entry`; if neither keys nor values are wanted, none of them.
/// What has been visited is not vouched for until [`walk`] returns.
pub trait Visitor {
    /// Whether value bytes are forwarded; the walk is faster without.
    const WANTS_VALUES: bool;
    /// Whether keys are decoded; a key longer than 16 MiB is then [`RdbError::TooLarge`].
    const WANTS_KEYS: bool;
    /// Whether function libraries are handed over; the same limit as for keys.
    const WANTS_FUNCTIONS: bool = true;

    /// An entry begins.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn key(&mut self, _head: &EntryHead<'_>) -> io::Result<()> {
        Ok(())
    }

    /// The next part of the value as it is written. A DUMP payload is the type byte, all parts, the RDB version as two
    /// bytes and the CRC64 of all that as eight, both little-endian.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn value(&mut self, _piece: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// What the value holds; only in [`walk_contents`], before `entry_end`.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn contents(&mut self, _value: contents::Value) -> io::Result<()> {
        Ok(())
    }

    /// The value is complete.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn entry_end(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The value is complete and has no elements: servers pass over such a key when they load it, and refuse it as RESTORE.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn empty_entry(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A function library's source, decompressed: what FUNCTION LOAD takes.
    ///
    /// # Errors
    /// Whatever makes going on pointless.
    fn function(&mut self, _code: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

impl Visitor for () {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = false;
    const WANTS_FUNCTIONS: bool = false;
}

/// A walk that reached the end, with the source, tap and visitor that were lent to it.
#[derive(Debug)]
pub struct Walked<R, T, V> {
    /// The statistics of the RDB.
    pub statistics: KeyStatistics,
    /// Bytes that the source gave beyond the RDB's last byte in the same read; the rest of the stream is still in `src`. For
    /// a file that holds one RDB, any byte here or left in `src` means damage.
    pub rest: Vec<u8>,
    /// The source, positioned behind `rest`.
    pub src: R,
    /// The tap, which has had every byte.
    pub tap: T,
    /// The visitor, which has had every entry.
    pub visitor: V,
}

/// The name of the module type that a value of type 7 begins with; `None` where the bytes are too few, or none of such a value.
#[must_use]
pub fn module_of(value: &[u8]) -> Option<String> {
    value::module_of(value)
}

/// Walks one RDB from its first byte to its last. Reads only when the next byte needed is not there, so a peer that
/// goes silent after the RDB does not hold it up.
///
/// # Errors
/// See [`RdbError`]; each has the offset in the RDB.
pub fn walk<R: Read, T: Tap, V: Visitor>(src: R, tap: T, visitor: V) -> Result<Walked<R, T, V>, RdbError> {
    walk::Walk::run(src, tap, visitor, deep::Deep::new(None, None), None).map_err(|e| *e)
}

/// As [`walk`], and remembers in `unique` what may be there only once. Whoever calls this asks
/// [`needs_second_walk`](unique::Unique::needs_second_walk) afterwards, and walks again if so.
///
/// # Errors
/// See [`RdbError`]; of a second walk also [`RdbError::Corrupt`] where something is there twice.
pub fn walk_unique<R: Read, T: Tap, V: Visitor>(
    src: R,
    tap: T,
    visitor: V,
    unique: &mut unique::Unique,
) -> Result<Walked<R, T, V>, RdbError> {
    walk::Walk::run(src, tap, visitor, deep::Deep::new(Some(unique), None), None).map_err(|e| *e)
}

/// As [`walk`], and tells the visitor of every value what it holds, made with `key`; a field of a hash that expires by `at_ms`, in milliseconds
/// since 1970, does not count. Costs as much as [`walk_unique`], whose question is not asked.
///
/// # Errors
/// See [`RdbError`].
pub fn walk_contents<R: Read, T: Tap, V: Visitor>(
    src: R,
    tap: T,
    visitor: V,
    key: &contents::ContentKey,
    at_ms: i64,
) -> Result<Walked<R, T, V>, RdbError> {
    let deep = deep::Deep::new(None, Some(contents::Contents::new(key, at_ms)));
    walk::Walk::run(src, tap, visitor, deep, None).map_err(|e| *e)
}
