//! Files that last: bytes are on the disk under their name, whole, or the name is as it was before.
//!
//! Each file is written under another name in the same directory, synced, renamed in one step, and then the directory is synced.
//! No other module writes a file that must survive a power cut. Blocking.

use crate::model::ids::{hex, random};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

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
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Syncs a directory: the names in it are then on the disk.
///
/// # Errors
/// What the file system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes a private file under a name that no file has.
///
/// # Errors
/// What the file system says; `AlreadyExists` where the name is taken, and then that file is unchanged.
pub fn put_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temporary(path, bytes, |file, written| name_new(file, written, path))
}

/// Writes a private file in place of the file of that name, if there is one.
///
/// # Errors
/// What the file system says; the name then holds the old content whole, or the new.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temporary(path, bytes, |file, written| {
        file.sync_all()?;
        std::fs::rename(written, path)?;
        sync_parent(path)
    })
}

/// Gives a file that is written its final name, never one that another file has.
///
/// # Errors
/// What the file system says; `AlreadyExists` where the name is taken.
pub fn name_new(file: &File, written: &Path, to: &Path) -> io::Result<()> {
    file.sync_all()?;
    // A link, not a rename: a rename would replace a file that took the name meanwhile.
    std::fs::hard_link(written, to)?;
    // A crash before this line leaves a second name of the same file, which harms nobody. Another process may have removed it.
    match std::fs::remove_file(written) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    sync_parent(to)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// The temporary name under which the bytes are written first: hidden by its dot, and never shared by two writers.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}.new", hex(&random::<8>().map_err(io::Error::other)?))))
}

fn write_temporary(path: &Path, bytes: &[u8], place: impl FnOnce(&File, &Path) -> io::Result<()>) -> io::Result<()> {
    let written = temporary_name(path)?;
    let done = private_file(&written).and_then(|mut file| {
        file.write_all(bytes)?;
        place(&file, &written)
    });
    if done.is_err() {
        // The file was not named, or has its final name besides this temporary one.
        let _ = std::fs::remove_file(&written);
    }
    done
}

#[cfg(test)]
mod tests {
    //! A named file always has whole content, and no temporary file stays.
    use super::{put_new, replace};
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

    /// Of many writers that take one name at once, one gets it, and the file has that writer's content, whole.
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
