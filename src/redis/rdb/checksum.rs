//! The trailer's checksum alone, for files whose structure is not known: the trailer is the same in every dialect.
//!
//! An agreeing checksum says nothing about what is in the file, only that the file is as its server wrote it.

use super::Tap;
use super::error::RdbError;
use super::statistics::Checksum;
use crc_fast::{CrcAlgorithm, Digest};
use std::io::Read;

/// Bytes of the trailer.
const TRAILER_BYTES: usize = 8;
/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;

/// Reads a source to its end and compares its last eight bytes with the CRC64 of all before them.
///
/// # Errors
/// [`RdbError::Truncated`], [`RdbError::ChecksumMismatch`], [`RdbError::Source`], [`RdbError::Sink`].
pub fn checksum(mut src: impl Read, mut tap: impl Tap) -> Result<Checksum, RdbError> {
    let mut crc = Digest::new(CrcAlgorithm::Crc64Redis);
    let (mut buf, mut held, mut offset) = (vec![0; READ_BYTES], Vec::new(), 0_u64);
    loop {
        let n = src.read(&mut buf).map_err(|source| RdbError::Source { offset, source })?;
        let Some(new) = buf.get(..n).filter(|b| !b.is_empty()) else { break };
        tap.bytes(new).map_err(|source| RdbError::Sink { offset, source })?;
        offset += n as u64;
        // The last eight bytes so far may be the trailer; all before them are not.
        held.extend_from_slice(new);
        let summed = held.len().saturating_sub(TRAILER_BYTES);
        crc.update(held.get(..summed).unwrap_or_default());
        held.drain(..summed);
    }
    let trailer: [u8; TRAILER_BYTES] = held.try_into().map_err(|_| RdbError::Truncated { offset })?;
    let (found, expected) = (u64::from_le_bytes(trailer), crc.finalize());
    match found {
        0 => Ok(Checksum::Absent),
        found if found == expected => Ok(Checksum::Verified),
        found => Err(RdbError::ChecksumMismatch { expected, found, offset: offset - TRAILER_BYTES as u64 }),
    }
}
