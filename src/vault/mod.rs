//! The vault: backup sets at rest. `<instance_id>/<backup_id>/{data.rdb.zst, manifest.json, manifest.json.minisig}` on a store: a disk, or a
//! bucket.
//!
//! A set exists from the moment its manifest is put, which is done last and never over another, to the moment the manifest is
//! renamed, which a deletion does first. Data without a manifest is a set that a job is making, or damage: the caller says which,
//! for the vault knows no jobs. Manifests are the truth. Every method does its blocking work on threads of its own.

mod age_keys;
pub mod bucket;
pub mod copy;
pub mod copy_object;
mod delete;
mod disk;
pub mod encrypted;
#[cfg(test)]
mod faulty;
pub mod frames;
pub mod hashing;
pub mod ingest;
pub mod lacking;
pub mod layout;
pub mod locking;
pub mod manifest;
mod minisign;
mod owner;
mod parts;
pub mod probe;
pub mod signed;
pub mod signing;
pub mod staging;
pub mod store;
mod verify;
pub mod watch;
mod worker;
mod writeback;

use crate::config::blocking::blocking;
use crate::config::denied::Denied;
use crate::config::encryption::Encryption;
use crate::config::vault::VaultPlace;
use crate::model::backup::{BackupSet, DamagedSet, all_readable};
use crate::model::fault::{Fault, Kind};
use crate::model::text::{clean, clean_to, quoted};
use bucket::Bucket;
use bucket::keys::AccessKeys;
use disk::Disk;
use encrypted::Encrypted;
use frames::FrameReader;
use layout::{DATA, Folder, MANIFEST, folder, object};
use manifest::Manifest;
use signing::{Judged, Signing};
use staging::Staging;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{Store, read_whole};
use worker::in_parallel;

/// Longest manifest in bytes; a longer file is none of ours. One of as many databases as are counted takes some 5 MB.
const LONGEST_MANIFEST: u64 = 8 << 20;

/// Longest reason why a set is damaged, in characters: it names a path.
const REASON_MAX: usize = 600;

/// Backup sets on one store.
#[derive(Debug, Clone)]
pub struct Vault {
    store: Arc<dyn Store>,
    /// A directory of this machine for nameless files.
    spill_dir: PathBuf,
    /// Who signs manifests; `None`: nobody, and signatures are not looked at.
    signing: Option<Arc<Signing>>,
}

/// The fault of a failed operation on the vault.
fn vault_fault(what: &str, place: &str, e: io::Error) -> Fault {
    lacked(what, place, &e).because(e)
}

fn lacked(what: &str, place: &str, e: &io::Error) -> Fault {
    if let Some(denied) = Denied::of(e, Path::new(place)) {
        let message = format!("cannot {what} {place}: {denied}");
        return Fault::new(Kind::Unexpected, "vault.unreadable", message).hint(denied.hint());
    }
    let hint = match lacking::hint(e) {
        Some(hint) => hint,
        None if lacking::is_for_want_of_a_key(e) => {
            "Name the key in [encryption] of the configuration (identity_file, or the passphrase); it says nothing of what lies there."
        }
        None if e.kind() == io::ErrorKind::StorageFull => "The disk of the vault is full; free space on it.",
        None => {
            "Check that the directory of the vault (in the home, --home) is there, has room and belongs to this user."
        }
    };
    Fault::new(Kind::Unexpected, "vault.failed", format!("cannot {what} {place}: {e}")).hint(hint)
}

/// The fault of stored data that differs from what was written.
fn damaged(place: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Damaged, "backup.damaged", format!("{place}: {why}"))
        .hint("This set cannot be used; choose another from describe_backups. Nothing was sent to any instance.")
}

/// The fault of what could not be read: damage, unless it says nothing of what is stored.
fn unreadable(place: &str, why: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
    let why = why.into();
    match lacking::lacking(&*why) {
        Some(e) => lacked("read", place, e).because(why),
        None => damaged(place, why),
    }
}

/// Name of a set's data object.
fn data_of(set: &BackupSet) -> String {
    object(&set.instance_id, &set.id, DATA)
}

impl Vault {
    /// The vault in a directory, which is made when something is first written.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { store: Arc::new(Disk::new(root.clone())), spill_dir: root, signing: None }
    }

    /// The vault of a configuration. Touches nothing. A bucket is called by `keys`, without them by its own chain of credentials;
    /// `spill_dir` is for nameless files where the vault is no directory. What is written is encrypted where `encryption` says for whom.
    #[must_use]
    pub fn at(
        place: &VaultPlace,
        spill_dir: PathBuf,
        keys: Option<Arc<dyn AccessKeys>>,
        encryption: Option<&Encryption>,
    ) -> Self {
        let plain = match place {
            VaultPlace::Directory(root) => Self::new(root.clone()),
            VaultPlace::Bucket(place) => {
                Self { store: Arc::new(Bucket::new(place.clone(), keys)), spill_dir, signing: None }
            }
        };
        match encryption {
            None => plain,
            Some(how) => Self { store: Arc::new(Encrypted::new(plain.store, how.clone())), ..plain },
        }
    }

    /// The store, for what lies beside the sets: the log.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The place of a set's manifest, for messages.
    #[must_use]
    pub fn manifest_place(&self, set: &BackupSet) -> String {
        self.store.place(&object(&set.instance_id, &set.id, MANIFEST))
    }

    /// Whether the folder of an instance may be looked into. One that somebody else has made beside ours may not, such as the `lost+found` of a disk.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn may_be_listed(&self, instance_id: &str) -> Result<bool, Fault> {
        let (vault, instance_id) = (self.clone(), instance_id.to_owned());
        blocking(move || match vault.store.folders(&instance_id) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(e) => Err(vault_fault("read", &vault.store.place(&instance_id), e)),
        })
        .await
    }

    /// Whether each request is a journey, which may come to nothing after minutes.
    #[must_use]
    pub fn is_far(&self) -> bool {
        self.store.at_once() > 1
    }

    /// Where files without a name are made.
    fn spill_dir(&self) -> PathBuf {
        self.spill_dir.clone()
    }

    /// The fault of a set whose data differs from what was written; `why` is part of a sentence about the data.
    #[must_use]
    pub fn damaged(&self, set: &BackupSet, why: impl std::fmt::Display) -> Fault {
        damaged(&self.store.place(&data_of(set)), why)
    }

    /// The fault of a set whose data could not be read: [`Self::damaged`], unless that says nothing of the set.
    #[must_use]
    pub fn unreadable(&self, set: &BackupSet, why: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        unreadable(&self.store.place(&data_of(set)), why)
    }

    /// The names under an instance, by folder.
    async fn folders(&self, instance_id: &str) -> Result<BTreeMap<String, Vec<String>>, Fault> {
        let (vault, of) = (self.clone(), instance_id.to_owned());
        blocking(move || vault.by_folder(&of).map_err(|e| vault_fault("read", &vault.store.place(&of), e))).await
    }

    /// The same, blocking.
    fn by_folder(&self, instance_id: &str) -> io::Result<BTreeMap<String, Vec<String>>> {
        let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        self.store.each(instance_id, &mut |name| {
            let (id, object) = name.split_once('/').unwrap_or((name, ""));
            folders.entry(id.to_owned()).or_default().push(object.to_owned());
        })?;
        Ok(folders)
    }

    /// All sets of an instance, newest first; those that cannot be read are listed as damaged, not left out. Data without a
    /// manifest is one of those, unless `staging` says that a job is making it.
    ///
    /// # Errors
    /// `vault.failed`; `vault.unreadable`, also for one set that this user may not read; those of `staging`.
    pub async fn list(
        &self,
        instance_id: &str,
        staging: &dyn Staging,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        self.list_all(instance_id, staging).await.and_then(all_readable)
    }

    /// [`Self::list`] for whoever only shows what there is: a set that this user may not read hides no other, and is listed as such.
    ///
    /// # Errors
    /// `vault.failed`; those of `staging`.
    pub async fn list_all(
        &self,
        instance_id: &str,
        staging: &dyn Staging,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        self.judged(|| self.listed(instance_id, staging)).await
    }

    async fn listed(
        &self,
        instance_id: &str,
        staging: &dyn Staging,
    ) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let (mut ids, mut without_manifest) = (Vec::new(), Vec::new());
        for (id, names) in self.folders(instance_id).await? {
            match folder(&names) {
                _ if id.starts_with('.') => {}
                Folder::Set => ids.push(id),
                Folder::Staging => without_manifest.push(id),
                Folder::Deleting | Folder::Nothing => {}
            }
        }
        if !without_manifest.is_empty() {
            let in_the_making = staging.of(instance_id).await?;
            ids.extend(without_manifest.into_iter().filter(|id| !in_the_making.contains(id)));
        }
        let (vault, instance_id) = (self.clone(), instance_id.to_owned());
        blocking(move || {
            let mut sets = vault.read_all(&instance_id, &ids)?;
            sets.sort_by_key(|set| std::cmp::Reverse(order(set)));
            Ok(sets)
        })
        .await
    }

    /// Reads sets, those that are damaged or not to be read as such; without those that are gone.
    fn read_all(&self, instance_id: &str, ids: &[String]) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let read = |id: &String| match self.read(instance_id, id) {
            // The set was deleted or discarded since its folder was listed.
            Ok(None) => Ok(None),
            Ok(Some(set)) => Ok(Some(Ok(set))),
            // Deleted while it was read: its manifest was there, and its data no more.
            Err(_) if self.is_gone(instance_id, id) => Ok(None),
            // Whatever lies there has its name from anybody.
            Err(fault) if fault.kind == Kind::Damaged || lacking::is_denied(&fault) => {
                let unreadable = (fault.kind != Kind::Damaged).then(|| fault.hint.clone());
                Ok(Some(Err(DamagedSet { id: clean(id), reason: clean_to(&fault.message, REASON_MAX), unreadable })))
            }
            Err(fault) => Err(fault),
        };
        Ok(in_parallel(ids, self.store.at_once(), read)?.into_iter().flatten().collect())
    }

    /// Whether what lies there says that there is no set any more.
    fn is_gone(&self, instance_id: &str, backup_id: &str) -> bool {
        let names = self.store.list(&layout::set(instance_id, backup_id));
        names.is_ok_and(|names| matches!(folder(&names), Folder::Deleting | Folder::Nothing))
    }

    /// Reads a set that is made by nobody; `None` where there is none.
    fn read(&self, instance_id: &str, backup_id: &str) -> Result<Option<BackupSet>, Fault> {
        let name = object(instance_id, backup_id, MANIFEST);
        let place = self.store.place(&name);
        let manifest = || read_whole(&*self.store, &name, LONGEST_MANIFEST);
        let text = match manifest() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let names = self.store.list(&layout::set(instance_id, backup_id)).map_err(|e| unreadable(&place, e))?;
                match folder(&names) {
                    Folder::Deleting | Folder::Nothing => return Ok(None),
                    // The manifest was put since, by the job that made the set.
                    Folder::Set => manifest().map_err(|e| unreadable(&place, e))?,
                    Folder::Staging => {
                        return Err(damaged(&place, "is not there: data without a manifest, made by no running job"));
                    }
                }
            }
            text => text.map_err(|e| unreadable(&place, e))?,
        };
        self.set_of((instance_id, backup_id), &text, None).map(Some)
    }

    /// The set of a manifest that was read, and whose signature was judged already or is now.
    fn set_of(
        &self,
        (instance_id, backup_id): (&str, &str),
        text: &[u8],
        judged: Option<Judged>,
    ) -> Result<BackupSet, Fault> {
        let place = self.store.place(&object(instance_id, backup_id, MANIFEST));
        let mut set = Manifest::read(text).map_err(|why| damaged(&place, why))?;
        if set.id != backup_id || set.instance_id != instance_id {
            return Err(damaged(&place, format!("says it is {} of {}", quoted(&set.id), quoted(&set.instance_id))));
        }
        let bytes = self.stored_size(&set).map_err(|e| self.unreadable(&set, e))?;
        if bytes != set.stored_bytes {
            return Err(self.damaged(&set, format!("has {bytes} bytes, {} were written", set.stored_bytes)));
        }
        set.manifest = Some(self.vouched_for((instance_id, backup_id), text, judged)?);
        Ok(set)
    }

    /// Bytes of a set's data as its manifest counts them: of what is encrypted those within, which takes no key.
    fn stored_size(&self, set: &BackupSet) -> io::Result<u64> {
        let data = self.store.open(&data_of(set))?;
        match data.size()? {
            bytes if bytes == set.stored_bytes => Ok(bytes),
            // Where the configuration names no key it may be an age file, which has more.
            _ => encrypted::plain_size(&*data),
        }
    }

    /// Finds one set. A set that `staging` says is being made counts as not found.
    ///
    /// # Errors
    /// `backup.not_found`, of which [`Self::hint_of_missing`] knows more; `backup.damaged`, `backup.tampered`, `backup.untrusted`; `vault.failed`; those of
    /// `staging`.
    pub async fn find(&self, instance_id: &str, backup_id: &str, staging: &dyn Staging) -> Result<BackupSet, Fault> {
        match self.judged(|| self.found(instance_id, backup_id, staging)).await? {
            Some(set) => Ok(set),
            None => Err(owner::not_found(instance_id, backup_id)),
        }
    }

    /// Reads one set; `None` where there is none, or it is being made.
    async fn found(
        &self,
        instance_id: &str,
        backup_id: &str,
        staging: &dyn Staging,
    ) -> Result<Option<BackupSet>, Fault> {
        let read = async || {
            let (vault, instance_id, backup_id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
            blocking(move || vault.read(&instance_id, &backup_id)).await
        };
        match read().await {
            // Damage, or a set that is not complete yet. Read again, for the set may have been completed in between.
            Err(_) if staging.of(instance_id).await?.iter().any(|id| id == backup_id) => {
                Ok(read().await.unwrap_or(None))
            }
            Err(_) => read().await,
            found => found,
        }
    }

    /// Bytes that may still be written to the vault; `None` where nothing limits them.
    ///
    /// # Errors
    /// `vault.failed`.
    pub async fn free(&self) -> Result<Option<u64>, Fault> {
        let vault = self.clone();
        blocking(move || vault.store.free().map_err(|e| vault_fault("look at", &vault.store.place(""), e))).await
    }

    /// Opens the data of a set for reading, frame by frame, each verified by its checksum. The object opened is the one
    /// read, whatever takes its name meanwhile; the reader itself blocks.
    ///
    /// # Errors
    /// `backup.damaged`; `vault.failed` where it could not be read.
    pub async fn open_data(&self, set: &BackupSet) -> Result<FrameReader, Fault> {
        let (vault, set) = (self.clone(), set.clone());
        blocking(move || vault.read_data(&set).map_err(|e| vault.unreadable(&set, e))).await
    }

    /// [`Self::open_data`] for whoever is on a thread that may block, and says itself what could not be read.
    ///
    /// # Errors
    /// Those of the store; `InvalidData` where the object is damaged.
    pub fn read_data(&self, set: &BackupSet) -> io::Result<FrameReader> {
        self.store.open(&data_of(set)).and_then(|data| FrameReader::new(data, set.rdb_bytes))
    }
}

/// The sort key of listed sets. The id begins with the time to the second, so it orders damaged sets too; within a second
/// the set's own time does.
fn order(set: &Result<BackupSet, DamagedSet>) -> (Option<String>, Option<jiff::Timestamp>, String) {
    let (id, at) = match set {
        Ok(set) => (&set.id, Some(set.started_at)),
        Err(damaged) => (&damaged.id, None),
    };
    (id.split_inclusive('Z').next().map(str::to_owned), at, id.clone())
}
