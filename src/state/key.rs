//! The guard's signing key on disk: 32 random bytes that only this user can read.

use crate::config::durable::put_new;
use crate::config::home::{file_fault, private_dir};
use crate::guard::token::Key;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::random;
use crate::state::owner::lock_exclusive;
use std::path::Path;

/// Reads the key, or makes one where there is none.
///
/// # Errors
/// `home.failed`; `guard.key` when the file is not a key: it is never replaced silently.
pub fn load_or_make(home: &Path) -> Result<Key, Fault> {
    private_dir(home)?;
    let _lock = lock_exclusive(&home.join("state.lock"))?;
    let path = home.join("guard.key");
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map(Key).map_err(|_| {
            Fault::new(Kind::Unexpected, "guard.key", format!("{} is not a key of 32 bytes", path.display()))
                .hint("Move the file away; a new key is made, and tokens from before are refused.")
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let key = random::<32>()?;
            put_new(&path, &key).map_err(|e| file_fault("write", &path, e))?;
            Ok(Key(key))
        }
        Err(e) => Err(file_fault("read", &path, e)),
    }
}
