//! The RDB's entries as RESTORE commands: the blocking half of a restore by commands.
//!
//! It must not decode values: the bytes of an RDB value are the bytes of a RESTORE payload, between a type byte and a footer.
//! It must not keep a large value in memory: such a value goes through a nameless file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use crc_fast::{CrcAlgorithm, Digest};
use tokio::sync::mpsc;

use super::frame::{Frame, RestoreCommand, Sent};
use super::some::{Gathered, Only, Wanted};
use crate::config::nameless::nameless;
use crate::redis::keys::names::Names;
use crate::redis::rdb::payload::{LOWEST_FOOTER, lowest_footer};
use crate::redis::rdb::{EntryHead, Visitor};
use crate::redis::replica::scan::OURS;
use crate::redis::resp::encode;

/// A value of more bytes goes through a file.
const VALUE_IN_MEMORY_MAX: usize = 1 << 20;
/// Bytes of a frame: small commands are sent together.
const FRAME_BYTES: usize = 256 << 10;
/// A key that expires within so many milliseconds may have expired by the time that the server reads it, and by the server's clock.
const ABOUT_TO_MS: i64 = 60_000;
/// Hashes whose fields have an expiry, in either format.
const EXPIRING_FIELDS: std::ops::RangeInclusive<u8> = 22..=25;
/// Bytes of all function libraries that are put in place in one command.
const LIBRARIES_BYTES_MAX: usize = 64 << 20;
/// What stands before a function library in an RDB.
const LIBRARY_OPCODE: u8 = 245;
/// Bytes of a key by which the key is named in a refusal.
const KEY_NAME_MAX: usize = 80;

/// Turns entries into commands. Blocking: an encoder belongs on a worker thread, never on the runtime's.
#[derive(Debug)]
pub struct RestoreEncoder {
    to: mpsc::Sender<Frame>,
    rdb_version: u16,
    spool_dir: PathBuf,
    /// The database that the connection is in; `None` before the first key of a load that is placed elsewhere.
    db: Option<u64>,
    /// Where the keys of each database go; `None` for their own.
    places: Option<BTreeMap<u64, u64>>,
    /// Function libraries that are gathered and not loaded one by one.
    libraries: Vec<u8>,
    may_expire: u64,
    /// The current key, between command head and payload.
    key: Vec<u8>,
    /// Arguments after the payload, encoded as RESP.
    options: Vec<u8>,
    option_count: usize,
    ttl: i64,
    value: Vec<u8>,
    spool: Option<File>,
    /// Bytes of type and value so far, spooled bytes included.
    len: u64,
    crc: Digest,
    wire: Vec<u8>,
    ends: Vec<Sent>,
    begun: bool,
    expired: u64,
    /// Which keys alone are restored; `None` for all.
    only: Option<Only>,
    /// Whether the current entry is none of those.
    passed_over: bool,
    /// The version in the current payload's footer.
    footer: u16,
}

impl RestoreEncoder {
    /// `rdb_version` is the version of the data; `spool_dir` must have room for the largest value.
    #[must_use]
    pub fn new(to: mpsc::Sender<Frame>, rdb_version: u16, spool_dir: PathBuf) -> Self {
        Self {
            to,
            rdb_version,
            spool_dir,
            db: Some(0),
            places: None,
            libraries: Vec::new(),
            may_expire: 0,
            key: Vec::new(),
            options: Vec::new(),
            option_count: 0,
            ttl: 0,
            value: Vec::new(),
            spool: None,
            len: 0,
            crc: Digest::new(CrcAlgorithm::Crc64Redis),
            wire: Vec::new(),
            ends: Vec::new(),
            begun: false,
            expired: 0,
            only: None,
            passed_over: false,
            footer: rdb_version,
        }
    }

    /// The same, for some of the keys, each with the lowest footer that its type allows. Function libraries are passed over.
    #[must_use]
    pub fn some(self, wanted: Wanted) -> Self {
        let names = Names::new(self.spool_dir.clone());
        Self { only: Some(Only::new(wanted, names)), rdb_version: LOWEST_FOOTER, ..self }
    }

    /// The same, for keys that are loaded into other databases than their own, and libraries that are put in place in one.
    #[must_use]
    pub fn beside(self, places: BTreeMap<u64, u64>) -> Self {
        Self { places: Some(places), db: None, ..self }
    }

    /// Keys so far whose expiry had passed, or was about to, when they were sent. A server takes such a key and keeps nothing, and
    /// does not count it as expired.
    #[must_use]
    pub const fn expired(&self) -> u64 {
        self.expired
    }

    /// Sends the remaining bytes and the end frame. Only for a walk that reached its end.
    ///
    /// # Errors
    /// When the other side has given up.
    pub fn finish(mut self) -> io::Result<()> {
        self.begin()?;
        self.flush()?;
        if !self.libraries.is_empty() {
            let libraries = std::mem::take(&mut self.libraries);
            self.send(Frame::Libraries(libraries))?;
        }
        self.send(Frame::End { may_expire: self.may_expire })
    }

    /// [`Self::finish`] of some of the keys, with what is known of them; `None` where all were sent.
    ///
    /// # Errors
    /// As of [`Self::finish`], and those of the file of the names.
    pub fn finish_some(mut self) -> io::Result<Option<Gathered>> {
        let (only, may_expire) = (self.only.take(), self.may_expire);
        self.finish()?;
        let Some(Only { gathered: Gathered { sent, counts, soonest_ms, expired, names, .. }, .. }) = only else {
            return Ok(None);
        };
        Ok(Some(Gathered { sent, counts, may_expire, soonest_ms, expired, names: names.seal()? }))
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            self.send(Frame::Begin { rdb_version: self.rdb_version })?;
        }
        Ok(())
    }

    fn send(&self, frame: Frame) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the target stopped taking commands");
        self.to.blocking_send(frame).map_err(gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.wire.is_empty() && self.ends.is_empty() {
            return Ok(());
        }
        let wire = std::mem::replace(&mut self.wire, Vec::with_capacity(FRAME_BYTES + (FRAME_BYTES >> 2)));
        let ends = std::mem::take(&mut self.ends);
        self.send(Frame::Bytes { wire, ends })
    }

    fn ended(&mut self, command: RestoreCommand, bytes: usize) -> io::Result<()> {
        self.ends.push(Sent { command, bytes });
        if self.wire.len() >= FRAME_BYTES { self.flush() } else { Ok(()) }
    }

    /// Adds a library as an RDB has one: opcode, length, source.
    fn gather(&mut self, code: &[u8]) -> io::Result<()> {
        let length = u32::try_from(code.len()).map_err(io::Error::other)?;
        if self.libraries.len() + code.len() > LIBRARIES_BYTES_MAX {
            return Err(io::Error::other("the function libraries are too large to be put in place at once"));
        }
        self.libraries.extend_from_slice(&[LIBRARY_OPCODE, 0x80]);
        self.libraries.extend_from_slice(&length.to_be_bytes());
        self.libraries.extend_from_slice(code);
        Ok(())
    }

    /// Sends a spooled value, too large for memory, in pieces.
    fn unspool(&mut self, mut file: File) -> io::Result<()> {
        file.rewind()?;
        loop {
            let mut piece = Vec::with_capacity(FRAME_BYTES);
            (&mut file).take(FRAME_BYTES as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Ok(());
            }
            self.flush()?;
            self.wire = piece;
        }
    }
}

impl Visitor for RestoreEncoder {
    const WANTS_VALUES: bool = true;
    const WANTS_KEYS: bool = true;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        self.passed_over = self.only.as_mut().is_some_and(|only| !only.wants(head));
        if self.passed_over {
            return Ok(());
        }
        if head.has_meta {
            // The plan refuses such data; to drop the metadata silently would be worse than to stop.
            return Err(io::Error::other("a key carries metadata of a module, which commands cannot restore"));
        }
        self.begin()?;
        let db = match &self.places {
            None => head.db,
            Some(places) => *places.get(&head.db).ok_or_else(|| {
                io::Error::other(format!("the set has keys in database {}, which its counts do not tell of", head.db))
            })?,
        };
        if self.db != Some(db) {
            self.db = Some(db);
            // In a frame of its own, whose reply is waited for: were it refused, the keys behind it would go into another database.
            self.flush()?;
            encode(&mut self.wire, &[b"SELECT", db.to_string().as_bytes()]);
            let bytes = self.wire.len();
            self.ended(RestoreCommand::Select(db), bytes)?;
            self.flush()?;
        }
        self.may_expire += u64::from(head.expiry_ms.is_some() || EXPIRING_FIELDS.contains(&head.type_byte));
        self.key.clear();
        self.footer = self.rdb_version;
        if let Some(Only { wanted, gathered }) = &mut self.only {
            self.key.extend_from_slice(wanted.matcher.prefix());
            self.footer = lowest_footer(wanted.dialect, head.type_byte);
            // When fields expire is inside of the value.
            let fields = EXPIRING_FIELDS.contains(&head.type_byte).then_some(i64::MIN);
            let soonest = fields.or(head.expiry_ms).unwrap_or(i64::MAX);
            gathered.soonest_ms = gathered.soonest_ms.min(soonest);
        }
        self.key.extend_from_slice(head.key);
        // A moment before 1970 would be refused as invalid; 1 is as expired as it gets.
        self.ttl = head.expiry_ms.map_or(0, |t| t.max(1));
        let soon = jiff::Timestamp::now().as_millisecond().saturating_add(ABOUT_TO_MS);
        self.expired += u64::from(head.expiry_ms.is_some_and(|t| t <= soon));
        self.options.clear();
        self.option_count = 0;
        let eviction = match (head.idle, head.freq) {
            (Some(idle), _) => Some(("IDLETIME", idle)),
            (None, Some(freq)) => Some(("FREQ", u64::from(freq))),
            (None, None) => None,
        };
        if let Some((name, number)) = eviction {
            let number = number.to_string();
            self.options.extend_from_slice(
                format!("${}\r\n{name}\r\n${}\r\n{number}\r\n", name.len(), number.len()).as_bytes(),
            );
            self.option_count = 2;
        }
        self.value.clear();
        self.spool = None;
        self.len = 0;
        self.crc = Digest::new(CrcAlgorithm::Crc64Redis);
        self.value(&[head.type_byte])
    }

    fn value(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.passed_over {
            return Ok(());
        }
        self.crc.update(piece);
        self.len += piece.len() as u64;
        if self.value.len() + piece.len() > VALUE_IN_MEMORY_MAX {
            if self.spool.is_none() {
                self.spool = Some(nameless(&self.spool_dir, "restore")?);
            }
            if let Some(file) = &mut self.spool {
                file.write_all(&self.value)?;
                file.write_all(piece)?;
            }
            self.value.clear();
        } else {
            self.value.extend_from_slice(piece);
        }
        Ok(())
    }

    fn entry_end(&mut self) -> io::Result<()> {
        if self.passed_over {
            return Ok(());
        }
        let [write, _] = OURS;
        let (name, replaces) = match &mut self.only {
            Some(only) => (write, only.push(self.db.unwrap_or_default(), &self.key, self.ttl > 0)?),
            None => (&b"RESTORE"[..], true),
        };
        let version = self.footer.to_le_bytes();
        self.crc.update(&version);
        let crc = self.crc.finalize().to_le_bytes();
        let ttl = self.ttl.to_string();
        let count = 5 + usize::from(replaces) + self.option_count;
        let head = format!("*{count}\r\n$7\r\n");
        let key = format!("\r\n${}\r\n", self.key.len());
        let middle = format!("\r\n${}\r\n{ttl}\r\n${}\r\n", ttl.len(), self.len + 10);
        for part in [head.as_bytes(), name, key.as_bytes(), &self.key] {
            self.wire.extend_from_slice(part);
        }
        self.wire.extend_from_slice(middle.as_bytes());
        if let Some(mut file) = self.spool.take() {
            file.write_all(&self.value)?;
            self.unspool(file)?;
        } else {
            self.wire.extend_from_slice(&self.value);
        }
        self.value.clear();
        self.wire.extend_from_slice(&version);
        self.wire.extend_from_slice(&crc);
        self.wire.extend_from_slice(b"\r\n$6\r\nABSTTL\r\n");
        self.wire.extend_from_slice(if replaces { b"$7\r\nREPLACE\r\n" } else { b"" });
        self.wire.extend_from_slice(&self.options);
        let name = self.key.get(..self.key.len().min(KEY_NAME_MAX)).unwrap_or_default().into();
        let bytes = usize::try_from(self.len).unwrap_or(usize::MAX).saturating_add(self.key.len() + 100);
        self.ended(if replaces { RestoreCommand::Key(name) } else { RestoreCommand::NewKey(name) }, bytes)
    }

    fn empty_entry(&mut self) -> io::Result<()> {
        // What servers pass over when they load it they refuse as a command.
        self.value.clear();
        self.spool = None;
        Ok(())
    }

    fn function(&mut self, code: &[u8]) -> io::Result<()> {
        if self.only.is_some() {
            return Ok(());
        }
        self.begin()?;
        if self.places.is_some() {
            return self.gather(code);
        }
        encode(&mut self.wire, &[b"FUNCTION", b"LOAD", b"REPLACE", code]);
        self.ended(RestoreCommand::Function, code.len() + 60)
    }
}

/// The end of a DUMP payload, after type and value: the RDB version, and the CRC64 of all before it.
pub(super) fn footer(body: &[u8], rdb_version: u16) -> [u8; 10] {
    let mut crc = Digest::new(CrcAlgorithm::Crc64Redis);
    crc.update(body);
    let version = rdb_version.to_le_bytes();
    crc.update(&version);
    let mut out = [0; 10];
    for (to, from) in out.iter_mut().zip(version.into_iter().chain(crc.finalize().to_le_bytes())) {
        *to = from;
    }
    out
}
