//! A download's file: written beside its place, resumed where it stopped, verified, and put in place without ever
//! replacing another file. Blocking.

use crate::config::durable::name_new;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::provider::Downloaded;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// The RDB that is wanted, known before it comes.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Bytes that the RDB has.
    pub bytes: u64,
    /// SHA-256 of the RDB, in hexadecimal.
    pub sha256: &'a str,
    /// The RDB's format version.
    pub rdb_version: u16,
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut sha, mut file, mut buf) = (Sha256::new(), File::open(path)?, vec![0; CHUNK]);
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(hex(&sha.finalize())),
            n => sha.update(buf.get(..n).unwrap_or_default()),
        }
    }
}

/// Whether the wanted file has its name already.
///
/// # Errors
/// `download.exists` where something else has its name.
pub fn already_there(to: &Path, wanted: Known<'_>) -> Result<bool, Fault> {
    let Ok(meta) = std::fs::symlink_metadata(to) else { return Ok(false) };
    if meta.is_file()
        && meta.len() == wanted.bytes
        && sha256_of(to).map_err(|e| failed("read", to, e))? == wanted.sha256
    {
        return Ok(true);
    }
    Err(taken(to))
}

/// Writes what `from` gives to `to`.
///
/// # Errors
/// `download.exists`, `download.busy`, `download.failed`; whatever reading fails with, as `backup.damaged`.
pub fn write(
    mut from: impl Read,
    to: &Path,
    wanted: Known<'_>,
    read_fault: impl Fn(io::Error) -> Fault,
    on_bytes: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<Downloaded, Fault> {
    let done = |already_there| Downloaded {
        bytes: wanted.bytes,
        sha256: wanted.sha256.into(),
        rdb_version: wanted.rdb_version,
        already_there,
    };
    if already_there(to, wanted)? {
        return Ok(done(true));
    }
    let part = part_of(to);
    let mut file = open_part(&part)?;
    // What a damaged set gave so far is of no use to anybody, and must not be taken for a backup.
    let read_fault = |e: io::Error| {
        let _ = std::fs::remove_file(&part);
        read_fault(e)
    };
    let mut sha = Sha256::new();
    let (mut buf, mut old) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut total, mut resuming) = (0_u64, true);
    loop {
        let n = from.read(&mut buf).map_err(&read_fault)?;
        let Some(new) = buf.get(..n).filter(|b| !b.is_empty()) else { break };
        sha.update(new);
        if resuming {
            // The part that an earlier attempt wrote is kept up to the first difference, and rewritten from there on.
            let had = read_up_to(&mut file, &mut old, n).map_err(|e| failed("read", &part, e))?;
            if had != n || old.get(..n) != Some(new) {
                resuming = false;
                file.seek(SeekFrom::Start(total))
                    .and_then(|_| file.set_len(total))
                    .map_err(|e| failed("resume", &part, e))?;
            }
        }
        if !resuming {
            file.write_all(new).map_err(|e| failed("write", &part, e))?;
        }
        total += n as u64;
        on_bytes(total, wanted.bytes);
    }
    let finish = || -> io::Result<bool> {
        file.set_len(total)?;
        if total != wanted.bytes || hex(&sha.clone().finalize()) != wanted.sha256 {
            return Ok(false);
        }
        name_new(&file, &part, to)?;
        Ok(true)
    };
    match finish() {
        Ok(true) => Ok(done(false)),
        Ok(false) => Err(read_fault(io::Error::new(
            io::ErrorKind::InvalidData,
            "its content does not have the SHA-256 of its manifest",
        ))),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => already_there(to, wanted).map(done),
        Err(e) => Err(failed("finish", to, e)),
    }
}

/// A failure of a download's own file.
#[must_use]
pub fn failed(what: &str, path: &Path, e: io::Error) -> Fault {
    Fault::new(Kind::Unexpected, "download.failed", format!("cannot {what} {}: {e}", path.display()))
        .hint("Check room and rights; call download_backup again to resume where it stopped.")
        .because(e)
}

/// The fault of a download whose name another file has.
#[must_use]
pub fn taken(to: &Path) -> Fault {
    Fault::new(
        Kind::Refused,
        "download.exists",
        format!("{} exists and is not this backup; it is left as it is", to.display()),
    )
    .hint("Give another file_name or directory.")
}

/// Where a file is written until it is whole. No caller can give a name with a dot in front, so a file of such a name is ours.
#[must_use]
pub fn part_of(to: &Path) -> PathBuf {
    to.with_file_name(format!(".{}.part", to.file_name().unwrap_or_default().to_string_lossy()))
}

/// Opens a part file, for this call alone.
///
/// # Errors
/// `download.exists`, `download.busy`, `download.failed`.
pub fn open_part(part: &Path) -> Result<File, Fault> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if std::fs::symlink_metadata(part).is_ok_and(|m| !m.is_file()) {
        return Err(Fault::new(Kind::Refused, "download.exists", format!("{} is not a plain file", part.display()))
            .hint("Give another file_name or directory."));
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(part)
        .map_err(|e| failed("write", part, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::new(
            Kind::Provider,
            "download.busy",
            format!("{} is being written by another call", part.display()),
        )
        .hint("Wait for it, then call again.")
        .retry_after(std::time::Duration::from_secs(5))),
        Err(TryLockError::Error(e)) => Err(failed("lock", part, e)),
    }
}

fn read_up_to(file: &mut File, buf: &mut [u8], n: usize) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buf.get_mut(got..n).filter(|r| !r.is_empty()) {
        match file.read(rest)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}
