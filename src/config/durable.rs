//! Files that last: bytes are on the disk under their name, whole, or the name is as it was before.
//!
//! Each file is written under another name in the same directory, synced, renamed in one step, and then the directory is synced.
//! Files that grow (the spool, a tail, a set on its way to the vault) are synced by those who write them. Blocking.

use crate::model::ids::{hex, random};
#[cfg(target_os = "linux")]
use rustix::fs::AtFlags;
#[cfg(any(target_os = "linux", target_os = "macos"))]
use rustix::fs::CWD;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What the owner alone may read and write.
const PRIVATE: u32 = 0o600;

/// What the owner alone may read, and nobody may open to write.
const WRITE_ONCE: u32 = 0o400;

/// Makes a directory that only this user may enter, and its parents.
///
/// # Errors
/// What the file system says.
pub fn private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a new file that only this user may read.
///
/// # Errors
/// What the file system says; `AlreadyExists` where the name is taken.
pub fn private_file(path: &Path) -> io::Result<File> {
    new_file(path, PRIVATE)
}

/// As [`private_file`], with a file that only this handle can write: it is read-only from its first moment.
///
/// # Errors
/// As [`private_file`].
pub fn write_once_file(path: &Path) -> io::Result<File> {
    new_file(path, WRITE_ONCE)
}

fn new_file(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// Opens a plain file: no link at its end is followed, and no pipe, device or directory is taken for one, nor waited for.
///
/// # Errors
/// What the file system says; `InvalidData` where it is something else than a plain file.
pub fn open_regular(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).write(write).custom_flags(flags.bits().cast_signed()).open(path);
    regular(opened.map_err(no_link)?)
}

/// The file, where it is a plain one.
///
/// # Errors
/// `InvalidData` where it is not.
pub fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidData, NOT_PLAIN)) }
}

/// Says of a link that was not followed what it is: the system's own word for that is a loop.
#[must_use]
pub fn no_link(e: io::Error) -> io::Error {
    if e.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return io::Error::new(io::ErrorKind::InvalidData, NOT_PLAIN);
    }
    e
}

const NOT_PLAIN: &str = "this is a link, a pipe or something else than a plain file, and is not read";

/// Syncs a directory: the names in it are then on the disk.
///
/// # Errors
/// What the file system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Bytes that may still be written to the disk of a directory.
///
/// # Errors
/// What the file system says.
pub fn free(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes that sets and work files must leave free, for jobs, confirmations and the audit.
pub const RESERVE: u64 = 16 << 20;

/// Writes a private file under a name that no file has.
///
/// # Errors
/// What the file system says; `AlreadyExists` where the name is taken, and then that file is unchanged.
pub fn put_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Whole::begin(path)?.filled(bytes)
}

/// As [`put_new`], with a file that nobody writes again.
///
/// # Errors
/// As [`put_new`].
pub fn put_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Whole::begin_once(path)?.filled(bytes)
}

/// A private file that is being written, and gets its name when it is whole, never one that another file has. Dropped before that, it
/// is removed.
#[derive(Debug)]
pub struct Whole {
    file: File,
    written: PathBuf,
    path: PathBuf,
}

impl Whole {
    /// Begins the file, under a name of its own in the same directory.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(path: &Path) -> io::Result<Self> {
        Self::with(path, PRIVATE)
    }

    /// As [`Self::begin`], with a file that nobody else writes, nor again.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin_once(path: &Path) -> io::Result<Self> {
        Self::with(path, WRITE_ONCE)
    }

    fn with(path: &Path, mode: u32) -> io::Result<Self> {
        let written = temporary_name(path)?;
        Ok(Self { file: new_file(&written, mode)?, written, path: path.to_owned() })
    }

    fn filled(mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.name()
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// Those of [`name_new`].
    pub fn name(self) -> io::Result<()> {
        name_new(&self.file, &self.written, &self.path)
    }
}

impl io::Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // The file was not named, or has its final name besides this temporary one.
        let _ = std::fs::remove_file(&self.written);
    }
}

/// Writes a private file in place of the file of that name, if there is one.
///
/// # Errors
/// What the file system says; the name then holds the old content whole, or the new.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, PRIVATE)
}

/// As [`replace`], with a file that everybody may read.
///
/// # Errors
/// As [`replace`].
pub fn replace_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, 0o644)
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut whole = Whole::begin(path)?;
    whole.file.write_all(bytes)?;
    whole.file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    whole.file.sync_all()?;
    std::fs::rename(&whole.written, path)?;
    sync_parent(path)
}

/// Gives a file that is written its final name, never one that another file has.
///
/// # Errors
/// What the file system says; `AlreadyExists` where the name is taken. After any other the file may have its name.
pub fn name_new(file: &File, written: &Path, to: &Path) -> io::Result<()> {
    file.sync_all()?;
    // A link, not a rename: a rename would replace a file that took the name meanwhile.
    match link(file, written, to) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            // A file system without links, such as FAT.
            rename_new(written, to)?;
        }
        linked => {
            linked?;
            // A second name of the same file harms nobody, and others may have removed it: it has its name all the same.
            let _ = std::fs::remove_file(written);
        }
    }
    sync_parent(to)
}

/// Gives a directory that is written its final name, never one that something else has; an empty directory gives way.
///
/// # Errors
/// What the file system says; `AlreadyExists` where the name is taken. After any other the directory may have its name.
pub fn name_new_dir(dir: &File, written: &Path, to: &Path) -> io::Result<()> {
    dir.sync_all()?;
    // What holds something a directory is not renamed over.
    match std::fs::rename(written, to) {
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, e));
        }
        renamed => renamed?,
    }
    sync_parent(to)
}

/// Gives a file a second name: by its handle where that works, so that it is this very file whatever took its first name meanwhile.
fn link(file: &File, written: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd as _;
        let handle = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, handle, CWD, to, AtFlags::SYMLINK_FOLLOW) {
            // There is no /proc, or the file has no name any more.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            linked => return linked.map_err(io::Error::from),
        }
    }
    let _ = file;
    std::fs::hard_link(written, to)
}

/// Renames a file to a name that nobody has, in one step.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Brings the name of a file to the disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        // The working directory has no name in a relative path.
        Some(here) if here.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// The temporary name under which the bytes are written first: hidden by its dot, and never shared by two writers.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}.new", hex(&random::<8>().map_err(io::Error::other)?))))
}

#[cfg(test)]
mod tests {
    //! What has a name keeps its content whole, and nothing stays beside it.
    use super::{name_new_dir, put_new, rename_new, replace};
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_name_is_taken_once_and_its_content_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        put_new(&path, b"first").unwrap();
        assert_eq!(put_new(&path, b"second").unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        replace(&path, b"third").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"third");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
        assert!(put_new(&dir.path().join("none/file"), b"").is_err());
    }

    /// What stands in for a link on a file system that has none.
    #[test]
    fn a_rename_to_a_new_name_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "old");
        std::fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert!(std::fs::read_to_string(&to).unwrap() == "new" && !from.exists());
    }

    /// A directory takes the place of nothing, or of a directory that holds nothing.
    #[test]
    fn a_directory_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["from", "empty", "full"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        for name in ["from/new", "full/old", "file"] {
            std::fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink(path("empty"), path("link")).unwrap();
        let from = std::fs::File::open(path("from")).unwrap();
        for taken in ["full", "file", "link"] {
            let refused = name_new_dir(&from, &path("from"), &path(taken)).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{taken}: {refused}");
        }
        assert!(path("full/old").exists() && path("file").exists() && path("link").is_symlink());
        name_new_dir(&from, &path("from"), &path("empty")).unwrap();
        assert!(path("empty/new").exists() && !path("from").exists());
    }

    /// Of many that take one name at once, one has it, and what it wrote is there whole.
    #[test]
    fn of_many_one_gets_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let content = |n: u8| vec![n; 100_000];
        let won: Vec<u8> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let path = &path;
                        move || put_new(path, &content(n)).map(|()| n)
                    })
                })
                .collect();
            all.into_iter().filter_map(|t| t.join().unwrap().ok()).collect()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), content(won[0]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
