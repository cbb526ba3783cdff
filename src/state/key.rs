//! The guard's signing key on disk: 32 random bytes that only this user can read.
//!
//! No lock is taken: the file appears whole under its name, and of processes that make one at once the first has the name.

use crate::config::durable::{open_regular, put_new};
use crate::config::home::{file_fault, private_dir};
use crate::guard::token::Key;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::random;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// Length of the key, in bytes.
const KEY_BYTES: u64 = 32;

/// Reads the key, or makes it where there is none. Blocking.
///
/// # Errors
/// `home.failed`; `guard.key` when the file is not a key: it is never replaced silently.
pub fn load_or_make(home: &Path) -> Result<Key, Fault> {
    let path = home.join("guard.key");
    if let Some(key) = load(&path)? {
        return Ok(key);
    }
    private_dir(home)?;
    let key = random::<32>()?;
    match put_new(&path, &key) {
        Ok(()) => Ok(Key(key)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            load(&path)?.ok_or_else(|| file_fault("read", &path, ErrorKind::NotFound.into()))
        }
        Err(e) => Err(file_fault("write", &path, e)),
    }
}

fn load(path: &Path) -> Result<Option<Key>, Fault> {
    let read = open_regular(path, false).and_then(|file| {
        let mut bytes = Vec::new();
        // One byte more shows that a file is too long.
        file.take(KEY_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    match read {
        Ok(bytes) => bytes.try_into().map(|bytes| Some(Key(bytes))).map_err(|_| {
            Fault::new(Kind::Unexpected, "guard.key", format!("{} is not a key of 32 bytes", path.display()))
                .hint("Move the file away; a new key is made, and tokens from before are refused.")
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(file_fault("read", path, e)),
    }
}
