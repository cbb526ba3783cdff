//! Moves every expiry of an RDB by the same time, while its bytes stream on: of keys, and of the fields of hashes. The trailer is made
//! anew; all else stays as it is.
//!
//! It must not vouch for more than the walk does, and must not hold more than one encoded hash.

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};

use super::Tap;
use super::deep::Deep;
use super::error::RdbError;
use super::statistics::{Checksum, KeyStatistics};
use super::walk::Walk;

/// Bytes that go on at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of the trailer.
const TRAILER_BYTES: usize = 8;

/// Walks an RDB and hands it on with every expiry moved by so many milliseconds, forward or back. The statistics are of what was read.
///
/// # Errors
/// As of [`walk`](super::walk()); [`RdbError::TooLarge`] where an encoded hash with expiring fields is longer than 16 MiB.
pub fn shift<R: Read>(
    src: R,
    by_ms: i64,
    out: impl FnMut(Vec<u8>) -> io::Result<()>,
) -> Result<KeyStatistics, RdbError> {
    let tap = Anew { out, pending: Vec::new(), digest: Digest::new(CrcAlgorithm::Crc64Redis) };
    let walked = Walk::run(src, tap, (), Deep::new(None, None), Some(by_ms)).map_err(|e| *e)?;
    let statistics = walked.statistics;
    walked.tap.end(statistics.checksum).map_err(|source| RdbError::Sink { offset: statistics.bytes, source })?;
    Ok(statistics)
}

/// Moves the expiries of fields within a RESTORE payload: type byte, value, version, checksum. A payload of any other type comes back as
/// it was.
///
/// # Errors
/// As of [`shift`], and where the payload is too short to be one.
pub fn shift_payload(payload: &[u8], by_ms: i64) -> Result<Vec<u8>, RdbError> {
    let cut_off = || RdbError::Truncated { offset: payload.len() as u64 };
    let (body, footer) = payload.len().checked_sub(10).and_then(|n| payload.split_at_checked(n)).ok_or_else(cut_off)?;
    let (version, _) = footer.split_first_chunk::<2>().ok_or_else(cut_off)?;
    let (type_byte, value) = body.split_first().ok_or_else(cut_off)?;
    if !(22..=25).contains(type_byte) {
        return Ok(payload.to_vec());
    }
    let head = match u16::from_le_bytes(*version) {
        version @ ..80 => format!("REDIS{version:04}"),
        version => format!("VALKEY{version:03}"),
    };
    // As an RDB of this one entry, whose key is empty, without a checksum.
    let begin: &[u8] = &[*type_byte, 0];
    let end: &[u8] = &[255, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut moved = Vec::with_capacity(payload.len());
    shift(head.as_bytes().chain(begin).chain(value).chain(end), by_ms, |chunk| {
        moved.extend_from_slice(&chunk);
        Ok(())
    })?;
    let value = moved.get(head.len() + begin.len()..moved.len().saturating_sub(end.len())).ok_or_else(cut_off)?;
    let mut out = Vec::with_capacity(value.len() + 11);
    out.push(*type_byte);
    out.extend_from_slice(value);
    out.extend_from_slice(version);
    let mut digest = Digest::new(CrcAlgorithm::Crc64Redis);
    digest.update(&out);
    out.extend_from_slice(&digest.finalize().to_le_bytes());
    Ok(out)
}

/// Hands bytes on, and ends them with a checksum of their own.
struct Anew<F> {
    out: F,
    /// Bytes that have not gone on. The last of them may be the trailer.
    pending: Vec<u8>,
    digest: Digest,
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Anew<F> {
    fn end(mut self, checksum: Checksum) -> io::Result<()> {
        let trailer = self.pending.len().saturating_sub(TRAILER_BYTES);
        self.digest.update(self.pending.get(..trailer).unwrap_or_default());
        if checksum == Checksum::Verified {
            self.pending.truncate(trailer);
            self.pending.extend_from_slice(&self.digest.finalize().to_le_bytes());
        }
        (self.out)(self.pending)
    }
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Tap for Anew<F> {
    fn bytes(&mut self, block: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(block);
        if self.pending.len() < CHUNK_BYTES {
            return Ok(());
        }
        let held = self.pending.split_off(self.pending.len() - TRAILER_BYTES);
        let ready = std::mem::replace(&mut self.pending, held);
        self.digest.update(&ready);
        (self.out)(ready)
    }
}
