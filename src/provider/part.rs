//! The part file of a download: written beside the place that the file will have, found again after a crash, and never taken for
//! ours by its name. Blocking.
//!
//! Which part is ours a record in the home says: the file by device, inode and birth. So a file of somebody else, a link, or a file
//! that took the name later is left alone, and another name is used. A crash leaves a part and its record; the next download to that
//! place goes on with both.

pub mod dir;

use crate::config::durable::{self, name_new, private_file};
use crate::config::home::private_dir;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::{hex, random};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Longest record, in bytes.
const RECORD_MAX: u64 = 4096;
/// Names tried before a directory counts as one in which no file can be made.
const NAMES_TRIED: u32 = 4;

/// A part file, open for this call alone.
#[derive(Debug)]
pub struct Part {
    /// The file, locked.
    pub file: File,
    /// The name that the file has until it is whole.
    pub path: PathBuf,
    record: PathBuf,
}

/// What tells a file from every other.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    /// Name of the file, in the directory of the download.
    name: String,
    device: u64,
    inode: u64,
    /// When the file was made, in nanoseconds since 1970, where the file system tells: an inode is used again for another file.
    born: Option<u64>,
}

impl Identity {
    fn of(name: String, meta: &Metadata) -> Self {
        let since = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let born = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Self { name, device: meta.dev(), inode: meta.ino(), born }
    }
}

impl Part {
    /// Opens the part of a download to `to` that an earlier call began, or begins one. `records` is the directory of the records.
    ///
    /// # Errors
    /// `download.busy`, `download.failed`, `home.failed`.
    pub fn open(records: &Path, to: &Path) -> Result<Self, Fault> {
        match Self::left(records, to)? {
            Some(part) => Ok(part),
            None => Self::begin(records, to),
        }
    }

    /// Removes what an earlier call left, where the file itself is there by now.
    pub fn sweep(records: &Path, to: &Path) {
        if let Ok(Some(part)) = Self::left(records, to) {
            part.discard();
        }
    }

    /// The part that an earlier call left; `None` where there is none that is certainly ours.
    fn left(records: &Path, to: &Path) -> Result<Option<Self>, Fault> {
        let record = record_of(records, to);
        let Some(known) = read(&record) else { return Ok(None) };
        let path = to.with_file_name(&known.name);
        let Ok(file) = durable::open_regular(&path, true) else { return Ok(None) };
        lock(&file, &path, to)?;
        let meta = file.metadata().map_err(|e| failed("read", &path, e))?;
        let part = Self { file, path, record };
        // With a second name its bytes are somebody else's too; and whoever had the lock may have been done with it meanwhile.
        let ours = meta.nlink() == 1 && Identity::of(known.name.clone(), &meta) == known && part.has_its_name();
        let ours = ours && (known.born.is_some() || begins_as_an_rdb(&part.file));
        Ok(ours.then_some(part))
    }

    /// Makes a file under a name that no file has, and records it.
    fn begin(records: &Path, to: &Path) -> Result<Self, Fault> {
        private_dir(records)?;
        let (name, path, file) = new_beside(to, private_file)?;
        Self { file, path, record: record_of(records, to) }.recorded(name, Self::discard)
    }

    /// The part, recorded; where that fails it is discarded. A home without room keeps nothing from another disk: there the part goes on
    /// without a record, and what a crash leaves of it is nobody's.
    fn recorded(self, name: String, discard: impl FnOnce(Self)) -> Result<Self, Fault> {
        match self.record(name) {
            Ok(()) => Ok(self),
            Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(self),
            Err(e) => {
                let fault = failed("record", &self.path, e);
                discard(self);
                Err(fault)
            }
        }
    }

    fn record(&self, name: String) -> io::Result<()> {
        self.file.lock()?;
        let json = serde_json::to_vec(&Identity::of(name, &self.file.metadata()?))?;
        durable::replace(&self.record, &json)
    }

    /// Bytes that the part has.
    ///
    /// # Errors
    /// `download.failed`.
    pub fn length(&self) -> Result<u64, Fault> {
        self.file.metadata().map(|meta| meta.len()).map_err(|e| failed("read", &self.path, e))
    }

    /// Gives the part, which is whole, the name of the download.
    ///
    /// # Errors
    /// `AlreadyExists` where another file has that name, and then nothing of the part is left; after any other the part is kept.
    pub fn place(self, to: &Path) -> io::Result<()> {
        match name_new(&self.file, &self.path, to) {
            Ok(()) => {
                self.forget();
                Ok(())
            }
            Err(e) => {
                if e.kind() == io::ErrorKind::AlreadyExists {
                    self.discard();
                }
                Err(e)
            }
        }
    }

    /// Removes the part: nobody has any use for it.
    pub fn discard(self) {
        if self.has_its_name() {
            let _ = std::fs::remove_file(&self.path);
        }
        self.forget();
    }

    /// Whether its name still is that of this file, and not of one that took its place.
    fn has_its_name(&self) -> bool {
        let (Ok(there), Ok(ours)) = (std::fs::symlink_metadata(&self.path), self.file.metadata()) else { return false };
        (there.dev(), there.ino()) == (ours.dev(), ours.ino())
    }

    /// Removes the record, unless another call has written its own.
    fn forget(&self) {
        let name = self.path.file_name().map(|name| name.to_string_lossy());
        if read(&self.record).is_some_and(|known| Some(known.name.as_str()) == name.as_deref()) {
            let _ = std::fs::remove_file(&self.record);
        }
    }
}

/// A failure of a download's own file.
#[must_use]
pub fn failed(what: &str, path: &Path, e: io::Error) -> Fault {
    Fault::new(Kind::Unexpected, "download.failed", format!("cannot {what} {}: {e}", path.display()))
        .hint("Check room and rights; call download_backup again to resume where it stopped.")
        .because(e)
}

/// Where a home records which part files are its own.
#[must_use]
pub fn parts(home: &Path) -> PathBuf {
    home.join("parts")
}

fn record_of(records: &Path, to: &Path) -> PathBuf {
    let digest = hex(&Sha256::digest(to.as_os_str().as_bytes()));
    records.join(format!("{}.json", digest.get(..32).unwrap_or_default()))
}

/// Makes what `make` makes beside a place, under a name that nothing has.
fn new_beside<T>(to: &Path, make: impl Fn(&Path) -> io::Result<T>) -> Result<(String, PathBuf, T), Fault> {
    let plain = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut name = format!(".{plain}.part");
    for _ in 1..NAMES_TRIED {
        let path = to.with_file_name(&name);
        match make(&path) {
            Ok(made) => return Ok((name, path, made)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                name = format!(".{plain}.{}.part", hex(&random::<4>()?));
            }
            Err(e) => return Err(failed("write", &path, e)),
        }
    }
    Err(failed("write", &to.with_file_name(&name), io::ErrorKind::AlreadyExists.into()))
}

/// Locks a part against other calls.
fn lock(part: &File, path: &Path, to: &Path) -> Result<(), Fault> {
    match part.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(busy(to)),
        Err(TryLockError::Error(e)) => Err(failed("lock", path, e)),
    }
}

/// Reads a record; one that cannot be read says nothing.
fn read(record: &Path) -> Option<Identity> {
    let mut text = String::new();
    durable::open_regular(record, false).ok()?.take(RECORD_MAX).read_to_string(&mut text).ok()?;
    let known: Identity = serde_json::from_str(&text).ok()?;
    // A part lies beside its place.
    (Path::new(&known.name).file_name() == Some(known.name.as_ref())).then_some(known)
}

fn begins_as_an_rdb(file: &File) -> bool {
    let mut head = [0; 5];
    match std::os::unix::fs::FileExt::read_at(file, &mut head, 0) {
        Ok(0) => true,
        Ok(n) => head.get(..n).is_some_and(|head| b"REDIS".starts_with(head) || b"VALKEY".starts_with(head)),
        Err(_) => false,
    }
}

fn busy(to: &Path) -> Fault {
    Fault::new(Kind::Provider, "download.busy", format!("{} is being written by another call", to.display()))
        .hint("Wait for it, then call again.")
        .retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    //! A part is gone on with where it is the very file that an earlier call began, and nothing else is touched.
    use super::Part;
    use std::io::Write as _;
    use std::path::{Path, PathBuf};

    /// A directory, one in it for records, and a place of that name beside that.
    pub(super) fn places_for(name: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (records, to) = (dir.path().join("records"), dir.path().join("there").join(name));
        std::fs::create_dir(dir.path().join("there")).unwrap();
        (dir, records, to)
    }

    pub(super) fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
        places_for("set.rdb")
    }

    fn interrupted(records: &Path, to: &Path) -> PathBuf {
        let mut part = Part::open(records, to).unwrap();
        part.file.write_all(b"REDIS0011").unwrap();
        part.path
    }

    #[test]
    fn what_an_earlier_call_left_is_gone_on_with_and_placed() {
        let (_dir, records, to) = places();
        let left = interrupted(&records, &to);
        let part = Part::open(&records, &to).unwrap();
        assert_eq!((&part.path, part.length().unwrap()), (&left, 9));
        assert_eq!(Part::open(&records, &to).unwrap_err().code, "download.busy");
        part.place(&to).unwrap();
        assert_eq!((names(to.parent().unwrap()), names(&records).len()), (vec!["set.rdb".to_owned()], 0));
        // The place is taken now: the next one leaves nothing behind.
        std::fs::remove_file(&to).unwrap();
        let part = Part::open(&records, &to).unwrap();
        std::fs::write(&to, "another's").unwrap();
        assert_eq!(part.place(&to).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!((names(to.parent().unwrap()), names(&records).len()), (vec!["set.rdb".to_owned()], 0));
        assert_eq!(std::fs::read(&to).unwrap(), b"another's");
    }

    /// Whatever lies under the name of a part and is not the recorded file stays as it is: a file, a link, a second name, a file that
    /// took the place of ours.
    #[test]
    fn nothing_is_ours_by_its_name() {
        let precious = "somebody else's";
        for case in ["a file", "a link", "a pipe", "a second name", "a successor", "a copy"] {
            let (dir, records, to) = places();
            let (name, victim) = (to.with_file_name(".set.rdb.part"), dir.path().join("victim"));
            std::fs::write(&victim, precious).unwrap();
            if ["a second name", "a successor", "a copy"].contains(&case) {
                assert_eq!(interrupted(&records, &to), name, "{case}");
            }
            match case {
                "a file" => std::fs::write(&name, precious).unwrap(),
                "a link" => std::os::unix::fs::symlink(&victim, &name).unwrap(),
                "a pipe" => assert!(std::process::Command::new("mkfifo").arg(&name).status().unwrap().success()),
                "a second name" => {
                    std::fs::hard_link(&name, dir.path().join("second")).unwrap();
                }
                "a successor" => {
                    std::fs::remove_file(&name).unwrap();
                    std::fs::write(&name, precious).unwrap();
                }
                _ => {
                    std::fs::copy(&name, dir.path().join("copy")).unwrap();
                    std::fs::rename(dir.path().join("copy"), &name).unwrap();
                }
            }
            let before = (std::fs::symlink_metadata(&name).unwrap().len(), std::fs::read(&victim).unwrap());
            let mut part = Part::open(&records, &to).unwrap();
            assert_ne!(part.path, name, "{case}");
            part.file.write_all(b"REDIS0011 and more").unwrap();
            part.place(&to).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), b"REDIS0011 and more", "{case}");
            let after = (std::fs::symlink_metadata(&name).unwrap().len(), std::fs::read(&victim).unwrap());
            assert_eq!(before, after, "{case}");
            assert_eq!(names(to.parent().unwrap()), [".set.rdb.part", "set.rdb"], "{case}");
        }
    }

    /// A part whose name somebody took meanwhile is not removed by that name.
    #[test]
    fn a_name_that_was_taken_is_not_removed() {
        let (_dir, records, to) = places();
        let part = Part::open(&records, &to).unwrap();
        let path = part.path.clone();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another's").unwrap();
        part.discard();
        assert_eq!(std::fs::read(&path).unwrap(), b"another's");
        assert!(names(&records).is_empty());
    }
}
