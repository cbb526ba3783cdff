//! What a store really obeys, found out by trying: some buckets take a create-only put and overwrite.
//!
//! Two small objects are put, of the same names for ever. One stays, for an archiver may have no right to delete; the other is deleted, or stays
//! as long as a lock keeps it, and is tried again instead of a new one.

use crate::config::blocking::blocking;
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::model::vault_check::Deletion;
use crate::vault::lacking::is_refused;
use crate::vault::store::{SecondPut, read_whole};
use crate::vault::{Vault, vault_fault};
use jiff::{SignedDuration, Timestamp};
use std::io::{self, Write as _};

/// The folder of the object that is put for a probe. No instance's id begins with a dot.
const FOLDER: &str = ".probe";
/// Its name.
const OBJECT: &str = "create-only";
/// Name of the one that is deleted.
const DELETED: &str = "lock";
/// Longest content of it.
const LONGEST: u64 = 1 << 10;

/// What a store obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// A name is given once: a second put fails, and what has the name is as it was.
    pub create_only: bool,
    /// And that although the store takes the second put, and keeps both as versions: the first is what counts here.
    pub first_counts: bool,
    /// What was put is listed at once.
    pub listed: bool,
    /// A range of an object is that range.
    pub ranged: bool,
    /// What comes of deleting.
    pub deletion: Deletion,
}

impl Probe {
    /// What the store does not obey, each as a sentence about it. Empty: sets are safe there.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        let all = [
            (self.create_only, "it puts over an object where it was asked not to"),
            (self.listed, "it does not list what was put"),
            (self.ranged, "a range of an object is another one"),
        ];
        all.into_iter().filter(|(obeyed, _)| !obeyed).map(|(_, what)| what).collect()
    }
}

impl Vault {
    /// Tries the store: puts an object, and again, reads it back, lists it and reads a part of it; puts another, and deletes it.
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

    /// For how long the store locks what is put there now; `None`: not at all, or whoever asks may delete it in spite of that.
    ///
    /// # Errors
    /// As [`Self::probe`].
    pub async fn locks_for(&self) -> Result<Option<SignedDuration>, Fault> {
        Ok(match self.probe().await?.deletion {
            Deletion::LockedFor(period) => Some(period),
            Deletion::Done | Deletion::DoneInSpiteOfALock | Deletion::Refused => None,
        })
    }

    /// Whether the store lets itself be listed: what can be found out without putting anything.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn reach(&self) -> Result<(), Fault> {
        let vault = self.clone();
        blocking(move || {
            let own = vault.store.list(FOLDER).map(drop);
            // A directory that may be entered and not read has that folder all the same, or has it not.
            let listed = own.and_then(|()| if vault.is_far() { Ok(()) } else { vault.store.folders("").map(drop) });
            listed.map_err(|e| vault_fault("list", &vault.store.place(""), e))
        })
        .await
    }

    /// Tries the keys of what is encrypted here: that they are there, and open the newest set of each instance. Nothing is tried where nothing is to be
    /// decrypted.
    ///
    /// # Errors
    /// `vault.failed`, which says what is missing.
    pub async fn try_key(&self) -> Result<(), Fault> {
        let vault = self.clone();
        blocking(move || vault.store.try_key().map_err(|e| vault_fault("decrypt", &vault.store.place(""), e))).await
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
        let condition = store.second_put();
        // Where versions are kept no more, the first of this name may have one, and so still count; what is put from now on is lost.
        let create_only = refused && before == after && condition != SecondPut::Over;
        Ok(Probe {
            create_only,
            first_counts: create_only && condition == SecondPut::Beside,
            listed: store.list(FOLDER)?.iter().any(|listed| listed == OBJECT),
            // Of what is there by now, whatever that is.
            ranged: after.get(middle..) == Some(part.as_slice()),
            deletion: self.try_deleting(first)?,
        })
    }

    fn try_deleting(&self, bytes: &[u8]) -> io::Result<Deletion> {
        let (store, name) = (&*self.store, format!("{FOLDER}/{DELETED}"));
        let now = Timestamp::now();
        // Whether it is gone.
        let delete = || match store.delete(&name) {
            Err(e) if is_refused(&e) => Ok(false),
            deleted => deleted.and_then(|()| store.deleted(FOLDER)).map(|()| true),
        };
        if store.lock(&name)?.is_none_or(|lock| lock.until <= now) {
            // One from before, whose lock is over, says nothing of what is put now.
            delete()?;
            let mut upload = store.upload_whole(&name)?;
            upload.write_all(bytes)?;
            match upload.finish() {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                put => put?,
            }
        }
        let lock = store.lock(&name)?.filter(|lock| lock.until > now);
        Ok(match (delete()?, lock) {
            (true, None) => Deletion::Done,
            (true, Some(_)) => Deletion::DoneInSpiteOfALock,
            (false, None) => Deletion::Refused,
            (false, Some(lock)) => Deletion::LockedFor(lock.until.duration_since(lock.put.unwrap_or(now))),
        })
    }
}
