//! A download's file: written beside its place, resumed where it stopped, verified, and put in place without ever
//! replacing another file. Blocking.

use crate::config::durable::open_regular;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::provider::Downloaded;
use crate::provider::part::{Part, failed};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

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
    let (mut sha, mut file, mut buf) = (Sha256::new(), open_regular(path, false)?, vec![0; CHUNK]);
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

/// Writes what `from` gives to `to`. `records` is the directory in which part files are recorded.
///
/// # Errors
/// `download.exists`, `download.busy`, `download.failed`; whatever reading fails with, as `backup.damaged`.
pub fn write(
    mut from: impl Read,
    records: &Path,
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
        listed_bytes: None,
    };
    if already_there(to, wanted)? {
        Part::sweep(records, to);
        return Ok(done(true));
    }
    let mut part = Part::open(records, to)?;
    let mut sha = Sha256::new();
    let (mut buf, mut old) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut total, mut resuming) = (0_u64, true);
    loop {
        let n = match from.read(&mut buf) {
            Ok(n) => n,
            Err(e) => {
                // What a damaged set gave so far is of no use to anybody, and must not be taken for a backup.
                part.discard();
                return Err(read_fault(e));
            }
        };
        let Some(new) = buf.get(..n).filter(|b| !b.is_empty()) else { break };
        sha.update(new);
        if resuming {
            // The part that an earlier attempt wrote is kept up to the first difference, and rewritten from there on.
            let had = read_up_to(&mut part.file, &mut old, n).map_err(|e| failed("read", &part.path, e))?;
            if had != n || old.get(..n) != Some(new) {
                resuming = false;
                let cut = part.file.seek(SeekFrom::Start(total)).and_then(|_| part.file.set_len(total));
                cut.map_err(|e| failed("resume", &part.path, e))?;
            }
        }
        if !resuming {
            part.file.write_all(new).map_err(|e| failed("write", &part.path, e))?;
        }
        total += n as u64;
        on_bytes(total, wanted.bytes);
    }
    if total != wanted.bytes || hex(&sha.finalize()) != wanted.sha256 {
        part.discard();
        let why = "its content does not have the SHA-256 of its manifest";
        return Err(read_fault(io::Error::new(io::ErrorKind::InvalidData, why)));
    }
    part.file.set_len(total).map_err(|e| failed("finish", &part.path, e))?;
    match part.place(to) {
        Ok(()) => Ok(done(false)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => already_there(to, wanted).map(done),
        Err(e) => Err(failed("finish", to, e)),
    }
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
