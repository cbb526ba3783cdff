//! A store on a disk of this machine: an object is a private file, read-only from its first moment, a prefix a directory.

use crate::config::durable;
use crate::vault::store::{Ranges, Store, Upload};
use crate::vault::watch::Watch;
use crate::vault::writeback::Writeback;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often making a file is tried while another process removes its still empty directory.
const ATTEMPTS: u32 = 8;

/// Levels of folders that are listed under a prefix; what lies deeper is none of ours.
const FOLDERS_DEEP: u32 = 3;

/// A store of objects as files under one directory.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// A store in a directory. Touches nothing yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Runs `make` with an object's path, after making its directory where there is none.
    fn in_dir_of<T>(&self, name: &str, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        let path = self.path(name);
        for _ in 1..ATTEMPTS {
            durable::private_dir(path.parent().unwrap_or(&self.root))?;
            match make(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => return done,
            }
        }
        make(&path)
    }

    /// Brings the names of every directory from a file's up to the root to the disk, and the root's own: each may be new.
    fn sync_up(&self, path: &Path) -> io::Result<()> {
        let within = |dir: &&Path| dir.starts_with(&self.root);
        path.ancestors().skip(1).take_while(within).try_for_each(durable::sync_dir)?;
        self.root.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or(Ok(()), durable::sync_dir)
    }

    fn walk(dir: &Path, prefix: &str, levels: u32, watch: &Watch, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            watch.count(0)?;
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            // A link to a directory is none.
            if levels == 0 || !entry.file_type().is_ok_and(|t| t.is_dir()) {
                found(&name);
                continue;
            }
            match Self::walk(&entry.path(), &format!("{name}/"), levels - 1, watch, found) {
                // The directory was removed since its parent was read.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => found(&name),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

impl Store for Disk {
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        let file = self.in_dir_of(name, durable::write_once_file)?;
        let begin = || -> io::Result<Box<dyn Upload>> {
            // Now, not at the end: whatever refers to the object can rely on its name.
            self.sync_up(&self.path(name))?;
            Ok(Box::new(Writeback::new(file)?))
        };
        begin().inspect_err(|_| {
            // Nobody else knows of it yet.
            let _ = self.delete(name);
            self.prune(name.rsplit_once('/').map_or(name, |(dir, _)| dir));
        })
    }

    fn upload_whole(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        let whole = self.in_dir_of(name, durable::Whole::begin_once)?;
        self.sync_up(&self.path(name))?;
        Ok(Box::new(whole))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        durable::put_once(&self.path(name), bytes)
    }

    /// Opens a plain file. Only the root itself may be a link; what lies under it was made by this program, which makes none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>> {
        let no_link = |e: Errno| if e == Errno::NOTDIR { Errno::LOOP } else { e };
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        let mut at = openat(CWD, &self.root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = openat(&at, plain(folder)?, flags, Mode::empty()).map_err(no_link).map_err(said)?;
        }
        // A pipe must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&at, plain(file)?, flags, Mode::empty()).map_err(said)?;
        Ok(Arc::new(durable::regular(File::from(file))?))
    }

    fn each_watched(&self, prefix: &str, watch: &Watch, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        match Self::walk(&self.path(prefix), "", FOLDERS_DEEP, watch, found) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            // Within a folder it was ended, that folder was named.
            _ => watch.count(0),
        }
    }

    fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(prefix)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(found)
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        match std::fs::symlink_metadata(self.path(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            looked => looked.map(|_| true),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))?;
        self.path(to).parent().map_or(Ok(()), durable::sync_dir)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        absent_is_ok(std::fs::remove_file(self.path(name)))
    }

    fn deleted(&self, folder: &str) -> io::Result<()> {
        absent_is_ok(durable::sync_dir(&self.path(folder)))
    }

    fn prune(&self, folder: &str) {
        // Another process may have put something into it, or removed it; an empty folder harms nobody.
        let _ = std::fs::remove_dir(self.path(folder));
    }

    fn free(&self) -> io::Result<Option<u64>> {
        // The directory is made when something is first written.
        let there = self.root.ancestors().find(|dir| dir.exists()).unwrap_or(&self.root);
        durable::free(there).map(Some)
    }

    fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// A part of a name, which leads nowhere else.
fn plain(part: &str) -> io::Result<&str> {
    if matches!(part, "" | "." | "..") { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(part) }
}

fn said(e: Errno) -> io::Error {
    durable::no_link(e.into())
}

/// Takes what is not there for done.
fn absent_is_ok(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Upload for durable::Whole {
    fn finish(self: Box<Self>) -> io::Result<()> {
        (*self).name()
    }
}

impl Ranges for File {
    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|meta| meta.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }
}
