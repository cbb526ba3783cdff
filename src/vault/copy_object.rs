//! Copies one object to another store as it stands: under the same name, whole or not at all, and never over what has that name.
//!
//! Memory is bounded, whatever an object has.

use crate::vault::store::{Store, Upload};
use crate::vault::watch::Watch;
use blake3::{Hash, Hasher};
use std::io::{self, Write as _};

/// Bytes that are read and written at once.
const PIECE: u64 = 1 << 20;
/// How a name begins, and how it ends, under which a directory has what is being written.
const WRITTEN: (char, &str) = ('.', ".new");

/// Which side did not do what it was asked, or that what came was refused.
#[derive(Debug)]
pub enum NotCopied {
    /// It could not be read.
    Read(io::Error),
    /// It could not be written.
    Write(io::Error),
    /// It is not what it should be; why, as part of a sentence.
    Refused(String),
}

/// Reads an object piece by piece.
///
/// # Errors
/// Those of the store, those of `each`, and where `watch` was stopped.
pub fn each_piece(
    from: &dyn Store,
    name: &str,
    watch: &Watch,
    mut each: impl FnMut(&[u8]) -> Result<(), NotCopied>,
) -> Result<(), NotCopied> {
    let object = from.open(name).map_err(NotCopied::Read)?;
    let (size, mut at) = (object.size().map_err(NotCopied::Read)?, 0);
    let mut block = vec![0; PIECE.min(size) as usize];
    while at < size {
        let n = PIECE.min(size - at);
        let piece = block.get_mut(..n as usize).unwrap_or_default();
        object.read_exact_at(piece, at).map_err(NotCopied::Read)?;
        watch.count(n).map_err(NotCopied::Read)?;
        each(piece)?;
        at += n;
    }
    Ok(())
}

/// Writes what an object has to another store, where it has no name before it is finished. `each` sees what passes.
///
/// # Errors
/// As [`each_piece`].
pub fn fill(
    from: &dyn Store,
    to: &dyn Store,
    name: &str,
    watch: &Watch,
    mut each: impl FnMut(&[u8]) -> Result<(), NotCopied>,
) -> Result<Box<dyn Upload>, NotCopied> {
    let mut upload = to.upload_whole(name).map_err(NotCopied::Write)?;
    each_piece(from, name, watch, |piece| {
        each(piece)?;
        upload.write_all(piece).map_err(NotCopied::Write)
    })?;
    Ok(upload)
}

/// Completes an object. `false`: another has the name.
///
/// # Errors
/// Those of the store.
pub fn finish(upload: Box<dyn Upload>) -> Result<bool, NotCopied> {
    match upload.finish() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        finished => finished.map(|()| true).map_err(NotCopied::Write),
    }
}

/// The digest of an object.
///
/// # Errors
/// As [`each_piece`].
pub fn digest(of: &dyn Store, name: &str, watch: &Watch) -> Result<Hash, NotCopied> {
    let mut hasher = Hasher::new();
    each_piece(of, name, watch, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(hasher.finalize())
}

/// Copies an object of which nothing is known but its bytes, and reads it back. `Some(false)`: it was there already, equal; `None`: what has the
/// name there is another.
///
/// # Errors
/// As [`each_piece`]; [`NotCopied::Refused`] where it was put, and read back as another.
pub fn copy(
    from: &dyn Store,
    to: &dyn Store,
    name: &str,
    watch: &Watch,
    there: bool,
) -> Result<Option<bool>, NotCopied> {
    let mut hasher = Hasher::new();
    let put = !there && {
        let upload = fill(from, to, name, watch, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        finish(upload)?
    };
    let ours = if put { hasher.finalize() } else { digest(from, name, watch)? };
    let equal = digest(to, name, watch).map_err(of_destination)? == ours;
    match (put, equal) {
        (true, false) => {
            // It is ours, and of no use to anybody.
            let _ = to.delete(name);
            Err(NotCopied::Refused("was read back as something else than was put".to_owned()))
        }
        (put, true) => Ok(Some(put)),
        (false, false) => Ok(None),
    }
}

/// What could not be read where it was put is no fault of what is copied.
fn of_destination(failed: NotCopied) -> NotCopied {
    match failed {
        NotCopied::Read(e) => NotCopied::Write(e),
        failed => failed,
    }
}

/// Whether a name is that of what is being written, or of what a killed process has left of it.
#[must_use]
pub fn is_being_written(name: &str) -> bool {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    file.starts_with(WRITTEN.0) && file.ends_with(WRITTEN.1)
}
