//! Whether a file that came from the cloud is a sound RDB: its beginning, its structure, that nothing is in it twice, its checksum.
//! Blocking.

use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::provider::part::failed;
use crate::redis::rdb;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::Checksum;
use crate::redis::rdb::unique::Unique;
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
    // Where the set itself has found room there is room for what is remembered of its keys.
    let mut unique = Unique::new(path.parent().unwrap_or(Path::new(".")).to_owned());
    let tap = |block: &[u8]| {
        sha.update(block);
        Ok(())
    };
    let mut walked = rdb::walk_unique(file, tap, (), &mut unique).map(|w| w.statistics);
    if walked.is_ok() && unique.needs_second_walk().map_err(|e| failed("remember the keys of", path, e))? {
        file.rewind().map_err(unreadable)?;
        walked = rdb::walk_unique(file, (), (), &mut unique).map(|w| w.statistics);
    }
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
            | RdbError::BadOpcode { version, .. }
            | RdbError::TooManyDatabases { version, .. }),
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
        // What cannot be kept on our side is not damage of the set.
        Err(RdbError::Sink { source, .. }) => Err(failed("remember the keys of", path, source)),
        Err(e) => Err(damaged(id, e)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! A file with a key twice is damaged, whatever its structure and checksum say: a server exits on it.
    use super::prove;
    use std::io::Write as _;

    #[test]
    fn a_key_twice_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        for (keys, sound) in [("ab", true), ("aba", false)] {
            let mut rdb = b"REDIS0010".to_vec();
            for key in keys.bytes() {
                rdb.extend([0, 1, key, 1, b'v']);
            }
            rdb.extend([255, 0, 0, 0, 0, 0, 0, 0, 0]);
            let path = dir.path().join(keys);
            let mut file = std::fs::File::options().create_new(true).read(true).write(true).open(&path).unwrap();
            file.write_all(&rdb).unwrap();
            let proven = prove(&file, &path, "1", rdb.len() as u64);
            assert_eq!(proven.is_ok(), sound, "{keys}");
            if let Err(fault) = proven {
                assert_eq!(fault.code, "backup.damaged", "{fault:?}");
            }
        }
    }
}
