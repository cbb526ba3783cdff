//! Whether a file that came from the cloud is a sound RDB: its beginning, its structure, its checksum. Blocking.

use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::provider::part::failed;
use crate::redis::rdb;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::Checksum;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Seek as _;
use std::path::Path;

/// Damage, found in what the cloud gave.
pub(super) fn damaged(id: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Damaged, "backup.damaged", format!("the file of backup {id} is damaged: {why}"))
        .hint("Nothing was put in place. Call download_backup once more, or choose another set with describe_backups.")
}

/// Whether bytes begin as an RDB does.
#[must_use]
pub fn has_magic(head: &[u8]) -> bool {
    let digits = head
        .strip_prefix(b"REDIS")
        .map(|rest| (rest, 4))
        .or_else(|| head.strip_prefix(b"VALKEY").map(|rest| (rest, 3)));
    digits.is_some_and(|(rest, n)| rest.len() >= n && rest.iter().take(n).all(u8::is_ascii_digit))
}

/// A sound file: its SHA-256, and whether a checksum of its own says so.
pub(super) struct Sound {
    /// SHA-256 of the whole file, lower-case hexadecimal.
    pub(super) sha256: String,
    /// The RDB format version that the file begins with.
    pub(super) rdb_version: u16,
    /// Whether the file ends with a checksum that holds.
    pub(super) checksum: Checksum,
}

/// Walks a whole file.
pub(super) fn prove(mut file: &File, path: &Path, id: &str, bytes: u64) -> Result<Sound, Fault> {
    let unreadable = |e| failed("read", path, e);
    let len = file.metadata().map_err(unreadable)?.len();
    if len != bytes {
        return Err(damaged(id, format!("{len} bytes have arrived of {bytes}")));
    }
    file.rewind().map_err(unreadable)?;
    let mut sha = Sha256::new();
    let walked = rdb::walk(
        file,
        |block: &[u8]| {
            sha.update(block);
            Ok(())
        },
        (),
    )
    .map(|w| w.statistics);
    match walked {
        Ok(statistics) if statistics.bytes != bytes => {
            Err(damaged(id, format!("its RDB ends after {} of {bytes} bytes", statistics.bytes)))
        }
        Ok(statistics) => Ok(Sound {
            sha256: hex(&sha.finalize()),
            rdb_version: statistics.rdb_version,
            checksum: statistics.checksum,
        }),
        // Tair has types of its own, whose layout nobody publishes; the checksum is the same everywhere.
        Err(
            e @ (RdbError::UnsupportedVersion { version, .. }
            | RdbError::UnsupportedType { version, .. }
            | RdbError::BadOpcode { version, .. }),
        ) => {
            file.rewind().map_err(unreadable)?;
            let mut sha = Sha256::new();
            let tap = |block: &[u8]| {
                sha.update(block);
                Ok(())
            };
            match rdb::checksum::checksum(file, tap).map_err(|e| damaged(id, e))? {
                Checksum::Absent => Err(damaged(id, format!("{e}, and it has no checksum"))),
                checksum @ Checksum::Verified => {
                    tracing::warn!(backup = id, "the file's structure is not known ({e}); its CRC64 holds");
                    Ok(Sound { sha256: hex(&sha.finalize()), rdb_version: version, checksum })
                }
            }
        }
        Err(e) => Err(damaged(id, e)),
    }
}
