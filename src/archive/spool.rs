//! Files of the spool: what was received and is not on the vault yet, as append-only files of this machine. One file becomes one segment.
//!
//! A record is whole or not there: its checksum covers its place in the history as well, so that nothing older is taken for it. A
//! file begins between two transactions, and only the newest may end within one. What stands behind the last whole record of the
//! newest file was never called spooled.

use crate::config::durable;
use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// First bytes of a file.
const MAGIC: &[u8; 8] = b"TBSPOOL1";
/// Bytes before those of a record: their length, when they came, their precision, and the checksum.
const HEAD: usize = 4 + 8 + 8 + 8;
/// Most bytes of the stream in a record.
pub(super) const RECORD_MAX: usize = 1 << 20;
const EXTENSION: &str = ".spool";
/// Stands for the place of a file's header in its checksum.
const NO_OFFSET: u64 = u64::MAX;

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub timeline: String,
    pub shard: u16,
    pub replid: String,
    /// Offset in the history of its first byte.
    pub first: u64,
    /// The database selected there.
    pub database: Option<u64>,
    /// When the last bytes before it came.
    pub since_ms: i64,
}

/// Bytes as they came.
#[derive(Debug)]
pub(super) struct Record {
    pub bytes: Vec<u8>,
    pub ms: i64,
    pub precision_ms: u64,
}

/// The path of a file by its number.
fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}{EXTENSION}"))
}

/// The files of a spool by their number, oldest first.
pub(super) fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_suffix(EXTENSION).and_then(|n| n.parse().ok()) {
            found.push((number, path(dir, number)));
        }
    }
    found.sort();
    Ok(found)
}

/// Takes a file that is damaged out of the spool, without removing it.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    std::fs::rename(path, path.with_extension("damaged"))?;
    path.parent().map_or(Ok(()), durable::sync_dir)
}

/// A lock, until it is dropped; the system drops it with the process.
#[derive(Debug)]
pub(super) struct Lock(File);

impl std::ops::Deref for Lock {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A program that is being started at this moment has the file open as well, until it runs: closed alone, it would stay locked.
        let _ = self.0.unlock();
    }
}

/// Takes a lock; `None` where somebody has it.
pub(super) fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = match durable::private_file(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => durable::open_regular(path, true)?,
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock(file))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(e),
    }
}

fn encoded(out: &mut Vec<u8>, offset: u64, ms: i64, precision_ms: u64, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = checksum(offset, len, ms.to_le_bytes(), precision_ms.to_le_bytes(), bytes);
    out.extend(len);
    out.extend(ms.to_le_bytes());
    out.extend(precision_ms.to_le_bytes());
    out.extend(crc.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn checksum(offset: u64, len: [u8; 4], ms: [u8; 8], precision_ms: [u8; 8], bytes: &[u8]) -> u64 {
    let mut crc = Digest::new(CrcAlgorithm::Crc64Redis);
    for part in [offset.to_le_bytes().as_slice(), &len, &ms, &precision_ms, bytes] {
        crc.update(part);
    }
    crc.finalize()
}

/// A file that is being appended to.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    path: PathBuf,
    len: u64,
    buffer: Vec<u8>,
}

impl SpoolFile {
    /// Makes a file, which has its header or does not exist.
    pub fn create(dir: &Path, number: u64, header: &Header) -> io::Result<Self> {
        let mut bytes = MAGIC.to_vec();
        encoded(&mut bytes, NO_OFFSET, 0, 0, &serde_json::to_vec(header)?);
        let path = path(dir, number);
        durable::put_new(&path, &bytes)?;
        Self::open(path, bytes.len() as u64)
    }

    /// Opens a file to go on behind `len` bytes; what stands there is dropped.
    pub fn open(path: PathBuf, len: u64) -> io::Result<Self> {
        let file = durable::open_regular(&path, true)?;
        let mut spool = Self { file, path, len, buffer: Vec::new() };
        spool.truncate(len)?;
        Ok(spool)
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record whose bytes begin at an offset of the history. After an error the file must be truncated before it is used.
    pub fn append(&mut self, offset: u64, ms: i64, precision_ms: u64, bytes: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        encoded(&mut self.buffer, offset, ms, precision_ms, bytes);
        self.file.write_all(&self.buffer)?;
        self.len += self.buffer.len() as u64;
        Ok(())
    }

    /// Drops what stands behind a length.
    pub fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.seek(SeekFrom::Start(len))?;
        self.len = len;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads the records of a file.
#[derive(Debug)]
pub(super) struct Records {
    file: BufReader<File>,
    pub header: Header,
    /// Bytes of the file that were read.
    pub at: u64,
    size: u64,
    /// Offset in the history behind the last record.
    pub offset: u64,
}

impl Records {
    /// Opens a file. `InvalidData`: its header is not what was written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = durable::open_regular(path, false)?;
        let size = file.metadata()?.len();
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut magic = [0; MAGIC.len()];
        let at = magic.len() as u64;
        if size < at || file.read_exact(&mut magic).is_err() || &magic != MAGIC {
            return Err(bad(0, "is no file of a spool"));
        }
        let header =
            Header { timeline: String::new(), shard: 0, replid: String::new(), first: 0, database: None, since_ms: 0 };
        let mut records = Self { file, header, at, size, offset: NO_OFFSET };
        let record = records.next()?.ok_or_else(|| bad(at, "its header is missing"))?;
        records.header = serde_json::from_slice(&record.bytes).map_err(|_| bad(at, "its header cannot be read"))?;
        records.offset = records.header.first;
        Ok(records)
    }

    /// The next record; `None` where the file ends behind a whole one. `InvalidData`: what follows is no whole record.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        if self.at == self.size {
            return Ok(None);
        }
        let left = self.size - self.at;
        let torn = || bad(self.at, "is not what was written");
        if left < HEAD as u64 {
            return Err(torn());
        }
        let mut head = [0; HEAD];
        self.file.read_exact(&mut head)?;
        let [l0, l1, l2, l3, m0, m1, m2, m3, m4, m5, m6, m7, rest @ ..] = head;
        let [p0, p1, p2, p3, p4, p5, p6, p7, crc @ ..] = rest;
        let (len, ms, precision) =
            ([l0, l1, l2, l3], [m0, m1, m2, m3, m4, m5, m6, m7], [p0, p1, p2, p3, p4, p5, p6, p7]);
        let bytes = u32::from_le_bytes(len) as usize;
        if bytes > RECORD_MAX || bytes as u64 > left - HEAD as u64 {
            return Err(torn());
        }
        let mut record = vec![0; bytes];
        self.file.read_exact(&mut record)?;
        if checksum(self.offset, len, ms, precision, &record) != u64::from_le_bytes(crc) {
            return Err(torn());
        }
        self.at += (HEAD + bytes) as u64;
        self.offset = self.offset.wrapping_add(bytes as u64);
        let (ms, precision_ms) = (i64::from_le_bytes(ms), u64::from_le_bytes(precision));
        Ok(Some(Record { bytes: record, ms, precision_ms }))
    }
}

fn bad(at: u64, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("offset {at}: {why}"))
}
