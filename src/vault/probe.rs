//! What a store really obeys, found out by trying: some buckets take a create-only put and overwrite.
//!
//! Nothing is deleted for it, for an archiver may have no right to: one small object stays, of one name for ever.

use crate::config::blocking::blocking;
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::vault::store::read_whole;
use crate::vault::{Vault, vault_fault};
use std::io::{self, Write as _};

/// The folder of the object that is put for a probe. No instance's id begins with a dot.
const FOLDER: &str = ".probe";
/// Its name.
const OBJECT: &str = "create-only";
/// Longest content of it.
const LONGEST: u64 = 1 << 10;

/// What a store obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// A name is given once: a second put fails, and what has the name is as it was.
    pub create_only: bool,
    /// What was put is listed at once.
    pub listed: bool,
    /// A range of an object is that range.
    pub ranged: bool,
}

impl Vault {
    /// Tries the store: puts an object, and again, reads it back, lists it and reads a part of it.
    ///
    /// # Errors
    /// `vault.failed` where one of that cannot be done; `system.no_randomness`.
    pub async fn probe(&self) -> Result<Probe, Fault> {
        let (first, second) = (hex(&random::<16>()?), hex(&random::<16>()?));
        let vault = self.clone();
        blocking(move || {
            let tried = vault.try_all(first.as_bytes(), second.as_bytes());
            tried.map_err(|e| vault_fault("try", &vault.store.place(""), e))
        })
        .await
    }

    /// Whether the store lets itself be listed: what can be found out without putting anything.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn reach(&self) -> Result<(), Fault> {
        let vault = self.clone();
        blocking(move || {
            vault.store.list(FOLDER).map(|_| ()).map_err(|e| vault_fault("list", &vault.store.place(""), e))
        })
        .await
    }

    fn try_all(&self, first: &[u8], second: &[u8]) -> io::Result<Probe> {
        let (store, name) = (&*self.store, format!("{FOLDER}/{OBJECT}"));
        let taken = |put: io::Result<()>| match put {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            put => put.map(|()| false),
        };
        // It is there from an earlier probe, or from now on.
        let mut upload = store.upload_whole(&name)?;
        upload.write_all(first)?;
        taken(upload.finish())?;
        let before = read_whole(store, &name, LONGEST)?;
        let refused = taken(store.put_new(&name, second))?;
        let after = read_whole(store, &name, LONGEST)?;
        let middle = before.len() / 2;
        let mut part = vec![0; before.len() - middle];
        store.open(&name)?.read_exact_at(&mut part, middle as u64)?;
        Ok(Probe {
            create_only: refused && before == after,
            listed: store.list(FOLDER)?.iter().any(|listed| listed == OBJECT),
            // Of what is there by now, whatever that is.
            ranged: after.get(middle..) == Some(part.as_slice()),
        })
    }
}
