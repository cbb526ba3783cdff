//! Files without a name: room on a disk that is given back when the file is closed, also after a crash. Nothing here is synced, for none of
//! it lasts. Blocking.

use crate::model::ids::{hex, random};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Makes a file in a directory; `what` it is for is in its name for the moment that it has one.
///
/// # Errors
/// What the disk refuses.
pub fn nameless(dir: &Path, what: &str) -> io::Result<File> {
    let path = dir.join(format!(".{what}-{}", hex(&random::<8>().map_err(io::Error::other)?)));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path).map(|()| file)
}

/// Reads a file from its beginning, whoever else reads it: its handles share one position, which this leaves alone.
#[derive(Debug)]
pub struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl FromStart {
    /// A reader of its own.
    #[must_use]
    pub fn of(file: &Arc<File>) -> Self {
        Self { file: Arc::clone(file), at: 0 }
    }
}

impl Read for FromStart {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(to, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    //! A file has no name, and two readers of it are in nobody's way.
    use super::*;
    use std::io::Write as _;

    #[test]
    fn readers_are_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = nameless(dir.path(), "test").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        file.write_all(b"abcd").unwrap();
        let file = Arc::new(file);
        let (mut one, mut other, mut all) = (FromStart::of(&file), FromStart::of(&file), String::new());
        one.read_exact(&mut [0; 3]).unwrap();
        other.read_to_string(&mut all).unwrap();
        assert_eq!(all, "abcd");
        one.read_to_string(&mut all).unwrap();
        assert_eq!(all, "abcdd");
    }
}
