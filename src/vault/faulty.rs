//! Tests of what the vault does where its store fails, or changes, in the middle of something.

use crate::config::encryption::{Encryption, KeySource};
use crate::model::backup::{Mode, Origin};
use crate::model::fault::Fault;
use crate::vault::Vault;
use crate::vault::disk::Disk;
use crate::vault::encrypted::Encrypted;
use crate::vault::ingest::{Ingest, Metadata};
use crate::vault::staging::Staging;
use crate::vault::store::{Ranges, Store, Upload};
use crate::vault::watch::Watch;
use async_trait::async_trait;
use jiff::Timestamp;
use rustix::io::Errno;
use std::io::{self, Write as _};
use std::sync::Arc;
use tempfile::TempDir;

/// When a [`Faulty`] store acts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// Once an object is put, which is then told to have failed.
    Put,
    /// Before an object is put, which is then told to have failed and comes to be there later.
    Late,
    /// Before the data of a set is opened: the set is deleted.
    Open,
    /// When the data of a set is opened: that fails so.
    Opening(Errno),
    /// When folders are looked for: that fails so.
    Folders(Errno),
    /// When [`FOREIGN`] is listed: that fails so.
    Listing(Errno),
    /// When the first byte of the data of a set is read: that fails so.
    Reading(Errno),
}

/// An object whose first byte cannot be read.
struct Unreadable(Arc<dyn Ranges>, Errno);

impl Ranges for Unreadable {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset == 0 { Err(self.1.into()) } else { self.0.read_exact_at(buf, offset) }
    }
}

/// A disk on which something happens.
#[derive(Debug)]
struct Faulty {
    disk: Disk,
    at: At,
}

impl Store for Faulty {
    fn upload_new(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        self.disk.upload_new(name)
    }

    fn upload_whole(&self, name: &str) -> io::Result<Box<dyn Upload>> {
        self.disk.upload_whole(name)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.at == At::Late {
            let mut late = self.disk.upload_whole(LATE)?;
            late.write_all(bytes)?;
            late.finish()?;
            return Err(io::Error::other("there was no answer"));
        }
        self.disk.put_new(name, bytes)?;
        if self.at == At::Put { Err(io::Error::other("the folder was not brought to the disk")) } else { Ok(()) }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn Ranges>> {
        if let Some(set) = name.strip_suffix("/data.rdb.zst").filter(|_| self.at == At::Open) {
            let _ = self.disk.rename(&format!("{set}/manifest.json"), &format!("{set}/manifest.json.deleting"));
            self.disk.delete(name)?;
        }
        match self.at {
            At::Opening(errno) if name.ends_with(".zst") => Err(errno.into()),
            At::Reading(errno) if name.ends_with(".zst") => Ok(Arc::new(Unreadable(self.disk.open(name)?, errno))),
            _ => self.disk.open(name),
        }
    }

    fn each_watched(&self, prefix: &str, watch: &Watch, found: &mut dyn FnMut(&str)) -> io::Result<()> {
        match self.at {
            At::Listing(errno) if prefix == FOREIGN => Err(errno.into()),
            _ => self.disk.each_watched(prefix, watch, found),
        }
    }

    fn folders(&self, prefix: &str) -> io::Result<Vec<String>> {
        if let At::Folders(errno) = self.at { Err(errno.into()) } else { self.disk.folders(prefix) }
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        self.disk.has(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.disk.delete(name)
    }

    fn deleted(&self, folder: &str) -> io::Result<()> {
        self.disk.deleted(folder)
    }

    fn prune(&self, folder: &str) {
        self.disk.prune(folder);
    }

    fn free(&self) -> io::Result<Option<u64>> {
        self.disk.free()
    }

    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }
}

const RDB: &[u8] = include_bytes!("../../tests/fixtures/vault/one_key.rdb");
/// Where an object lies that comes late.
const LATE: &str = "late";
/// The folder of a disk that is none of ours.
const FOREIGN: &str = "lost+found";
const ID: &str = "b-20260101T000000Z-aaaaaa";

fn on(dir: &TempDir, at: At) -> Vault {
    let root = dir.path().join("vault");
    Vault { store: Arc::new(Faulty { disk: Disk::new(root.clone()), at }), spill_dir: root, signing: None }
}

async fn staged(vault: &Vault) -> Ingest {
    let origin = Origin::Capture { address: String::new() };
    vault.ingest("orders", ID, origin, RDB, |_, rest| rest.is_empty()).await.unwrap()
}

fn metadata() -> Metadata {
    Metadata {
        mode: Mode::Manual,
        note: String::new(),
        engine: "redis".into(),
        version: "7.0.15".into(),
        run_id: String::new(),
        replication_id: String::new(),
        replication_offset: 0,
        announced_version: None,
        write_calls: None,
        held: None,
        started_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        locked_until: None,
    }
}

/// What is listed is not told to be gone, nor taken away.
#[tokio::test]
async fn a_set_whose_manifest_is_there_is_there() {
    let dir = TempDir::new().unwrap();
    let vault = on(&dir, At::Put);
    let fault = staged(&vault).await.commit(metadata()).await.unwrap_err();
    assert_eq!(fault.code, "vault.failed");
    assert_eq!(fault.message.split(',').next(), Some("the set is whole and listed"));
    let set = vault.find("orders", ID, &()).await.unwrap();
    vault.verify(&set).await.unwrap();
}

/// Every job has failed.
struct AllFailed;

#[async_trait]
impl Staging for AllFailed {
    async fn of(&self, _: &str) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    async fn given_up(&self, _: &str) -> Result<Vec<String>, Fault> {
        Ok(vec![ID.to_owned()])
    }
}

/// A manifest whose put was not answered may come to be there when its job has failed long since: its data is there then. Where it does not come,
/// nothing stays.
#[tokio::test]
async fn what_a_late_manifest_needs_stays() {
    for comes in [true, false] {
        let dir = TempDir::new().unwrap();
        let vault = on(&dir, At::Late);
        assert_eq!(staged(&vault).await.commit(metadata()).await.unwrap_err().code, "vault.failed");
        if comes {
            vault.store.rename(LATE, &format!("orders/{ID}/manifest.json")).unwrap();
        }
        vault.sweep("orders", &AllFailed).await.unwrap();
        if comes {
            let set = vault.find("orders", ID, &()).await.unwrap();
            vault.verify(&set).await.unwrap();
        } else {
            assert_eq!(vault.store.list("orders").unwrap(), Vec::<String>::new());
        }
    }
}

/// A set that another process deletes while it is listed is not damaged: it is gone.
#[tokio::test]
async fn a_set_deleted_while_it_is_listed_is_not_damaged() {
    let dir = TempDir::new().unwrap();
    let whole = Vault::new(dir.path().join("vault"));
    staged(&whole).await.commit(metadata()).await.unwrap();
    assert_eq!(whole.list("orders", &()).await.unwrap().len(), 1);
    assert!(on(&dir, At::Open).list("orders", &()).await.unwrap().is_empty());
}

/// A set is not damaged for what the machine lacks, or does not let us read; a sector that the disk cannot read is damage of it.
#[tokio::test]
async fn what_says_nothing_of_a_set_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let whole = Vault::new(dir.path().join("vault"));
    staged(&whole).await.commit(metadata()).await.unwrap();
    let set = whole.find("orders", ID, &()).await.unwrap();
    for (errno, code) in [
        (Errno::MFILE, "vault.failed"),
        (Errno::NOMEM, "vault.failed"),
        (Errno::ACCESS, "vault.unreadable"),
        (Errno::IO, "backup.damaged"),
    ] {
        assert_eq!(on(&dir, At::Opening(errno)).find("orders", ID, &()).await.unwrap_err().code, code, "{errno}");
        for at in [At::Opening(errno), At::Reading(errno)] {
            let vault = on(&dir, at);
            for fault in [
                vault.verify(&set).await.unwrap_err(),
                vault.verify_bytes(&set, &Arc::default()).await.unwrap_err(),
                vault.stored_digest(&set).await.unwrap_err(),
                vault.open_known(&set, "").await.unwrap_err(),
            ] {
                assert_eq!(fault.code, code, "{at:?}: {fault:?}");
            }
        }
    }
}

/// A folder that may not be looked into is told from one that cannot be read.
#[tokio::test]
async fn what_may_not_be_listed() {
    let dir = TempDir::new().unwrap();
    let asked = async |vault: Vault| vault.may_be_listed(FOREIGN).await.map_err(|fault| fault.code);
    assert_eq!(asked(Vault::new(dir.path().join("vault"))).await, Ok(true));
    assert_eq!(asked(on(&dir, At::Folders(Errno::ACCESS))).await, Ok(false));
    assert_eq!(asked(on(&dir, At::Folders(Errno::IO))).await, Err("vault.failed"));
}

/// A vault with a passphrase gets its key also on a disk that has a folder into which nobody else may look; what cannot be read is no such folder.
#[tokio::test]
async fn a_key_is_made_beside_what_may_not_be_listed() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("vault").join(FOREIGN)).unwrap();
    std::fs::write(dir.path().join("words"), "words").unwrap();
    let how = Encryption { recipients: Vec::new(), key: KeySource::PassphraseFile(dir.path().join("words")) };
    for (errno, is_made) in [(Errno::IO, false), (Errno::ACCESS, true)] {
        let plain = on(&dir, At::Listing(errno));
        let vault = Vault { store: Arc::new(Encrypted::new(plain.store, how.clone())), ..plain };
        let origin = Origin::Capture { address: String::new() };
        let staged = vault.ingest("orders", ID, origin, RDB, |_, rest| rest.is_empty()).await;
        assert_eq!(staged.is_ok(), is_made, "{errno}");
        assert_eq!(dir.path().join("vault/key.age").exists(), is_made, "{errno}");
    }
}
