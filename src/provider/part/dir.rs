//! The part of a download that becomes a directory: written beside its place, put there whole by one rename, and known by a record as
//! a part file is. Blocking.
//!
//! Nothing is gone on with: what a crash left goes when the next call to that place begins.

use super::{Identity, Part, failed, lock, new_beside, read, record_of};
use crate::config::durable;
use crate::config::home::private_dir;
use crate::model::fault::Fault;
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory that is being written, by this call alone.
#[derive(Debug)]
pub struct PartDir(Part);

impl PartDir {
    /// Begins the directory of a download to `to`, and removes what an earlier call left. `records` is the directory of the records.
    ///
    /// # Errors
    /// `download.busy`, `download.failed`, `home.failed`.
    pub fn begin(records: &Path, to: &Path) -> Result<Self, Fault> {
        // Another name than that of a file's record.
        let record = record_of(records, &to.join(""));
        if let Some(left) = Self::left(&record, to)? {
            left.discard();
        }
        private_dir(records)?;
        let (name, path, ()) = new_beside(to, |path| DirBuilder::new().mode(0o700).create(path))?;
        let file = open(&path).map_err(|e| failed("open", &path, e))?;
        Part { file, path, record }.recorded(name, |part| Self(part).discard()).map(Self)
    }

    /// The directory that an earlier call left; `None` where there is none that is certainly ours.
    fn left(record: &Path, to: &Path) -> Result<Option<Self>, Fault> {
        let Some(known) = read(record) else { return Ok(None) };
        let path = to.with_file_name(&known.name);
        let Ok(file) = open(&path) else { return Ok(None) };
        lock(&file, &path, to)?;
        let meta = file.metadata().map_err(|e| failed("read", &path, e))?;
        let part = Part { file, path, record: record.to_owned() };
        // Without a birth another directory could have the inode, and all that is in it would be lost.
        let ours = known.born.is_some() && Identity::of(known.name.clone(), &meta) == known && part.has_its_name();
        Ok(ours.then_some(Self(part)))
    }

    /// The directory, by the name that it has until it is whole.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.0.path
    }

    /// Gives the directory, in which all is synced, the name of the download.
    ///
    /// # Errors
    /// `AlreadyExists` where something else has that name. Nothing of the part is left then, nor after any other.
    pub fn place(self, to: &Path) -> io::Result<()> {
        let named = durable::name_new_dir(&self.0.file, &self.0.path, to);
        self.discard();
        named
    }

    /// Removes the part, where it still has its own name.
    pub fn discard(self) {
        if self.0.has_its_name() {
            let _ = std::fs::remove_dir_all(&self.0.path);
        }
        self.0.forget();
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    //! What a crash left goes with the next call, unless it may be somebody else's; nothing is replaced.
    use super::PartDir;
    use crate::provider::part::tests::{names, places_for};
    use std::path::{Path, PathBuf};

    fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
        places_for("aof")
    }

    fn interrupted(records: &Path, to: &Path) -> PathBuf {
        let part = PartDir::begin(records, to).unwrap();
        std::fs::create_dir(part.path().join("in")).unwrap();
        std::fs::write(part.path().join("in/half"), "half").unwrap();
        part.path().clone()
    }

    #[test]
    fn what_an_earlier_call_left_goes() {
        let (_dir, records, to) = places();
        let left = interrupted(&records, &to);
        assert!(left.join("in/half").exists());
        let part = PartDir::begin(&records, &to).unwrap();
        assert_eq!((part.path(), names(&left).len()), (&left, 0));
        assert_eq!(PartDir::begin(&records, &to).unwrap_err().code, "download.busy");
        std::fs::write(part.path().join("whole"), "").unwrap();
        part.place(&to).unwrap();
        assert_eq!((names(to.parent().unwrap()), names(&records).len()), (vec!["aof".to_owned()], 0));
        // The place is taken now: the next one leaves nothing behind.
        let part = PartDir::begin(&records, &to).unwrap();
        assert_eq!(part.place(&to).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!((names(to.parent().unwrap()), names(&records).len()), (vec!["aof".to_owned()], 0));
        assert!(to.join("whole").exists());
    }

    /// Whatever lies under the name of a part and is not the recorded directory stays as it is.
    #[test]
    fn nothing_is_ours_by_its_name() {
        for case in ["a directory", "a successor", "a link"] {
            let (dir, records, to) = places();
            let name = to.with_file_name(".aof.part");
            let theirs = dir.path().join("theirs");
            std::fs::create_dir(&theirs).unwrap();
            std::fs::write(theirs.join("precious"), "").unwrap();
            if case != "a directory" {
                assert_eq!(interrupted(&records, &to), name);
                std::fs::rename(&name, dir.path().join("ours")).unwrap();
            }
            match case {
                "a link" => std::os::unix::fs::symlink(&theirs, &name).unwrap(),
                _ => std::fs::rename(&theirs, &name).unwrap(),
            }
            let part = PartDir::begin(&records, &to).unwrap();
            assert_ne!(part.path(), &name, "{case}");
            part.place(&to).unwrap();
            assert!(name.join("precious").exists() && to.is_dir(), "{case}");
        }
    }
}
