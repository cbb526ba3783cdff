//! The file of an exported state: written private and whole under a name that nothing has, and read twice, to its end before the first row
//! is taken over. Blocking work is done beside the thread that serves; no more than some lines are in memory.

use crate::config::blocking::blocking;
use crate::config::durable::{Whole, open_regular};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::state::portable::form::{self, FORM, Header, LINE_MAX, Read, TABLES, Trailer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{Receiver, Sender};

fn failed(what: &str, path: &Path, e: io::Error) -> Fault {
    Fault::new(Kind::Unexpected, "state.export_failed", format!("cannot {what} {}: {e}", path.display()))
        .hint("Name a plain file that this user may use, in a folder that is there, on a disk with room.")
        .because(e)
}

fn exists(path: &Path) -> Fault {
    Fault::new(Kind::Refused, "state.export_exists", format!("{} is there already; it stays as it is", path.display()))
        .hint("Name a file that is not there yet, or remove that one first.")
}

/// Writes lines into a new file until `None` comes, and the trailer behind them. Where the lines end without that, nothing is left.
///
/// # Errors
/// `state.export_exists`, `state.export_failed`.
pub async fn write(path: PathBuf, mut lines: Receiver<Option<String>>) -> Result<(), Fault> {
    blocking(move || {
        if path.symlink_metadata().is_ok() {
            return Err(exists(&path));
        }
        let mut write = || -> io::Result<()> {
            let mut out = BufWriter::new(Whole::begin(&path)?);
            let mut digest = Sha256::new();
            loop {
                match lines.blocking_recv() {
                    Some(Some(line)) => {
                        let line = format!("{line}\n");
                        digest.update(&line);
                        out.write_all(line.as_bytes())?;
                    }
                    Some(None) => break,
                    None => return Err(ErrorKind::Interrupted.into()),
                }
            }
            let trailer = serde_json::to_string(&Trailer { sha256: hex(&digest.finalize()) })?;
            writeln!(out, "{trailer}")?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.name()
        };
        write()
            .map_err(|e| if e.kind() == ErrorKind::AlreadyExists { exists(&path) } else { failed("write", &path, e) })
    })
    .await
}

/// A file that was read to its end and found whole.
#[derive(Debug)]
pub struct Checked {
    file: File,
    path: PathBuf,
    /// Its first line.
    pub header: Header,
    /// The digest of its trailer.
    pub sha256: String,
}

impl Checked {
    /// Reads a file to its end.
    ///
    /// # Errors
    /// `state.export_damaged`, `state.export_failed`, `state.newer`.
    pub async fn open(path: &Path) -> Result<Self, Fault> {
        let path = path.to_owned();
        blocking(move || {
            let file = open_regular(&path, false).map_err(|e| failed("read", &path, e))?;
            let (header, sha256) = scan(&file, &path, |_| Ok(()))?;
            Ok(Self { file, path, header, sha256 })
        })
        .await
    }

    /// Hands its rows over. What was changed since the file was opened is noticed at its end, so that nothing may last before this
    /// returns.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn rows(self, to: Sender<Read>) -> Result<(), Fault> {
        blocking(move || {
            let gone = |_| failed("read", &self.path, ErrorKind::Interrupted.into());
            let (header, sha256) = scan(&self.file, &self.path, |row| to.blocking_send(row).map_err(gone))?;
            if (&header, &sha256) != (&self.header, &self.sha256) {
                return Err(damaged(&self.path, 0, "it was changed while it was read"));
            }
            Ok(())
        })
        .await
    }
}

fn damaged(path: &Path, at: u64, why: &str) -> Fault {
    let message = format!("{} is no whole export of a state: at byte {at}, {why}", path.display());
    Fault::new(Kind::Damaged, "state.export_damaged", message)
        .hint("Copy it anew from where it was written, or export anew; nothing was imported.")
}

/// The lines of a file, each with where it begins.
struct Lines<'a> {
    from: BufReader<&'a File>,
    path: &'a Path,
    begins: u64,
    ends: u64,
}

impl Lines<'_> {
    /// The next line, with its end; `None` behind the last.
    fn next(&mut self) -> Result<Option<String>, Fault> {
        let mut line = Vec::new();
        self.begins = self.ends;
        // With its end, and one byte more, which shows that it is too long.
        let limit = LINE_MAX as u64 + 2;
        let read = self.from.by_ref().take(limit).read_until(b'\n', &mut line);
        self.ends += read.map_err(|e| failed("read", self.path, e))? as u64;
        if line.is_empty() {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(self.damaged("a line has no end"));
        }
        String::from_utf8(line).map(Some).map_err(|_| self.damaged("this is no text"))
    }

    fn damaged(&self, why: &str) -> Fault {
        damaged(self.path, self.begins, why)
    }

    fn header(&mut self) -> Result<(Header, String), Fault> {
        let line = self.next()?.ok_or_else(|| self.damaged("it is empty"))?;
        let no_header = || self.damaged("the header is missing: this is a file of something else");
        let value: Value = serde_json::from_str(&line).map_err(|_| no_header())?;
        let form = value.get("tair_backup_mcp_state").and_then(Value::as_u64).ok_or_else(no_header)?;
        if form > FORM.into() {
            let message = format!(
                "{} was written by a later version (form {form}, this program knows {FORM})",
                self.path.display()
            );
            return Err(Fault::new(Kind::Unexpected, "state.newer", message).hint("Import it with the later program."));
        }
        let header: Header = serde_json::from_value(value).map_err(|_| no_header())?;
        Ok((header, line))
    }
}

/// Reads a file from its beginning to its end, and hands over each row. Returns its header and its digest.
fn scan(
    mut file: &File,
    path: &Path,
    mut each: impl FnMut(Read) -> Result<(), Fault>,
) -> Result<(Header, String), Fault> {
    file.rewind().map_err(|e| failed("read", path, e))?;
    let mut lines = Lines { from: BufReader::new(file), path, begins: 0, ends: 0 };
    let (header, first) = lines.header()?;
    let mut digest = Sha256::new_with_prefix(&first);
    let held = TABLES.iter().filter(|table| table.since <= header.tair_backup_mcp_state);
    let mut rows: BTreeMap<String, u64> = held.map(|table| (table.name.to_owned(), 0)).collect();
    loop {
        let line = lines.next()?.ok_or_else(|| lines.damaged("it ends before its trailer"))?;
        if line.starts_with(Trailer::BEGINS) {
            let trailer: Trailer = serde_json::from_str(&line).map_err(|_| lines.damaged("this is no trailer"))?;
            let found = hex(&digest.finalize());
            if trailer.sha256 != found {
                return Err(
                    lines.damaged(&format!("the trailer has the digest {}, and the file {found}", trailer.sha256))
                );
            }
            if rows != header.rows {
                return Err(lines.damaged("there are not as many rows as the header says"));
            }
            if lines.next()?.is_some() {
                return Err(lines.damaged("something stands behind the trailer"));
            }
            return Ok((header, found));
        }
        digest.update(&line);
        let row = form::read(&line).map_err(|why| lines.damaged(&why))?;
        match rows.get_mut(row.table.name) {
            Some(n) => *n += 1,
            None => return Err(lines.damaged(&format!("its form has no table {}", row.table.name))),
        }
        each(row)?;
    }
}
