//! Extends the locks of a set's objects, where a store locks them. Which set needs that is not for the vault to judge.
//!
//! The manifest's lock is extended last: when it lasts until a moment, so do those of all that its set consists of.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::vault::lacking::is_refused;
use crate::vault::layout::{DATA, MANIFEST, SIGNATURE, object};
use crate::vault::{Vault, vault_fault};
use jiff::Timestamp;

/// What came of extending the locks of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extension {
    /// They last until then.
    Done,
    /// Nothing was to be done: nothing locks the set, or it is locked for as long already.
    Needless,
    /// The store does not let whoever asks do that, for this reason.
    Refused(String),
}

impl Vault {
    /// When the lock of a set ends, or has ended, as its store says; `None`: it tells of none.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn lock_ends(&self, set: &BackupSet) -> Result<Option<Timestamp>, Fault> {
        let (vault, name) = (self.clone(), object(&set.instance_id, &set.id, MANIFEST));
        blocking(move || match vault.store.lock(&name) {
            Ok(lock) => Ok(lock.map(|lock| lock.until)),
            Err(e) => Err(vault_fault("ask about the lock of", &vault.store.place(&name), e)),
        })
        .await
    }

    /// Makes the locks of a set's objects last until a moment, to the second. None is shortened, and what has none is not locked.
    ///
    /// # Errors
    /// `vault.failed`, and some may be extended then.
    pub async fn extend_lock(&self, set: &BackupSet, until: Timestamp) -> Result<Extension, Fault> {
        let (vault, set) = (self.clone(), set.clone());
        blocking(move || {
            let mut extension = Extension::Needless;
            for name in [DATA, SIGNATURE, MANIFEST] {
                let name = object(&set.instance_id, &set.id, name);
                match vault.store.extend_lock(&name, until) {
                    Ok(true) => extension = Extension::Done,
                    Ok(false) => {}
                    Err(e) if is_refused(&e) || e.kind() == std::io::ErrorKind::Unsupported => {
                        return Ok(Extension::Refused(e.to_string()));
                    }
                    Err(e) => return Err(vault_fault("extend the lock of", &vault.store.place(&name), e)),
                }
            }
            Ok(extension)
        })
        .await
    }
}
