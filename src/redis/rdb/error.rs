//! What can be wrong with an RDB, each with the offset of the byte.
//!
//! Errors are for whoever decides about the whole set; nothing here retries, logs, or guesses a repair.

use std::io;

use super::statistics::Dialect;

/// Why a walk ended early. Offsets count from the first byte of the magic.
#[derive(Debug, thiserror::Error)]
pub enum RdbError {
    /// The source ended inside the RDB; `offset` is the number of bytes there were.
    #[error("the RDB is cut off after {offset} bytes")]
    Truncated {
        /// How many bytes the source gave.
        offset: u64,
    },
    /// The first nine bytes are neither `REDIS` and four digits nor `VALKEY` and three.
    #[error("not an RDB: the first bytes are {found:?}")]
    BadMagic {
        /// The nine bytes, as text, lossy.
        found: String,
    },
    /// The magic is known, the version is not: its layout may differ, so nothing is assumed.
    #[error("{dialect} RDB version {version} is not one this program can read")]
    UnsupportedVersion {
        /// Whose format the magic announces.
        dialect: Dialect,
        /// The version in the header.
        version: u16,
    },
    /// A value type whose layout is not known in this dialect and version; its end cannot be found without guessing.
    #[error("value type {type_byte} at byte {offset} is not known in {dialect} RDB version {version}")]
    UnsupportedType {
        /// The type byte.
        type_byte: u8,
        /// Where the type byte is.
        offset: u64,
        /// Whose format the magic announces.
        dialect: Dialect,
        /// The version in the header.
        version: u16,
    },
    /// An opcode that this dialect and version does not have, or whose layout is not known.
    #[error("opcode {opcode} at byte {offset} is not known in {dialect} RDB version {version}")]
    BadOpcode {
        /// The opcode.
        opcode: u8,
        /// Where the opcode is.
        offset: u64,
        /// Whose format the magic announces.
        dialect: Dialect,
        /// The version in the header.
        version: u16,
    },
    /// A length whose first byte has no meaning.
    #[error("byte {byte:#04x} at {offset} does not begin a length")]
    BadLength {
        /// The byte.
        byte: u8,
        /// Offset of the byte.
        offset: u64,
    },
    /// Something that would have to be held in memory whole is larger than the walker agrees to hold.
    #[error("{what} at byte {offset} has {length} bytes, more than the {limit} this program handles")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Offset of the first byte of what is too large.
        offset: u64,
        /// The length that the RDB announces.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// More databases have keys than are counted apart. A server may have as many: its setting has no bound.
    #[error("more than {limit} databases have keys at byte {offset}, and this program counts no more")]
    TooManyDatabases {
        /// Where the first one begins that is not counted.
        offset: u64,
        /// The limit.
        limit: usize,
        /// The version in the header.
        version: u16,
    },
    /// The structure contradicts itself.
    #[error("damaged at byte {offset}: {what}")]
    Corrupt {
        /// Where the contradiction was met.
        offset: u64,
        /// The contradiction, for a message.
        what: &'static str,
    },
    /// The CRC64 trailer does not fit the bytes before it.
    #[error("CRC64 at byte {offset} is {found:016x}, the bytes before it give {expected:016x}")]
    ChecksumMismatch {
        /// What the bytes before the trailer give.
        expected: u64,
        /// What the trailer says.
        found: u64,
        /// Where the trailer begins.
        offset: u64,
    },
    /// Reading from the source failed.
    #[error("reading the RDB failed at byte {offset}")]
    Source {
        /// How many bytes had been read.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The tap or the visitor refused; the RDB may be fine.
    #[error("passing the RDB on failed at byte {offset}")]
    Sink {
        /// How far the walk had come.
        offset: u64,
        /// What the tap or the visitor said.
        source: io::Error,
    },
}

/// Result of one step of the walk. The error is boxed: the hot functions return in registers only if it is one pointer wide.
pub(super) type RdbResult<T> = Result<T, Box<RdbError>>;
