//! Tests of the vault: making, listing and deleting sets, and the remains of crashes.

mod another_user;
mod bucket;
mod bucket_crash;
mod contract;
mod copy;
mod copy_to;
mod crash;
mod damage;
mod disk_faults;
mod encrypted;
mod files;
mod format1;
mod frames;
mod known;
mod locks;
mod oss;
mod sets;
pub mod signed;

use jiff::Timestamp;
use std::future::Future;
use tair_backup_mcp::guard::grant::{Delete, Expired, Grant};
use tair_backup_mcp::model::backup::{BackupSet, DamagedSet, Mode, Origin};
use tair_backup_mcp::model::slots::HeldSlots;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::{IngestError, Metadata};
use tempfile::TempDir;

/// An RDB of one key, whole, with its checksum.
pub const RDB: &[u8] = include_bytes!("../../fixtures/vault/one_key.rdb");

/// A vault in a directory of its own.
pub struct Place {
    pub dir: TempDir,
    pub vault: Vault,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    pub fn new() -> Self {
        Self::on(|dir| Vault::new(dir.join("vault")))
    }

    /// A vault anywhere, with a directory of its own here.
    pub fn on(vault: impl FnOnce(&std::path::Path) -> Vault) -> Self {
        let dir = TempDir::new().unwrap();
        let vault = vault(dir.path());
        Self { dir, vault, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Data staged, and not committed yet.
    pub fn staged(&self, id: &str) -> Result<tair_backup_mcp::vault::ingest::Ingest, IngestError> {
        let origin = Origin::Import { file: "one_key.rdb".into(), sha256: "of the file".into() };
        self.run(self.vault.ingest("orders", id, origin, RDB, |_, rest| rest.is_empty()))
    }

    /// A whole set.
    pub fn set(&self, id: &str) -> BackupSet {
        let staged = self.staged(id).unwrap();
        self.run(staged.commit(metadata())).unwrap()
    }

    /// All that lists, by id: whole ones with `true`. The ids of `made` are being made.
    pub fn list(&self, made: &[&str]) -> Vec<(String, bool)> {
        let made = Made(made.iter().map(|id| (*id).to_owned()).collect());
        let listed = self.run(self.vault.list("orders", &made)).unwrap();
        listed
            .into_iter()
            .map(|set| set.map_or_else(|DamagedSet { id, .. }| (id, false), |BackupSet { id, .. }| (id, true)))
            .collect()
    }

    /// Names in the folder of a set, or of the instance where the id is empty.
    pub fn names(&self, id: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("vault/orders").join(id)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub fn path(&self, id: &str, name: &str) -> std::path::PathBuf {
        self.dir.path().join("vault/orders").join(id).join(name)
    }
}

/// These sets are being made.
pub struct Made(pub Vec<String>);

#[async_trait::async_trait]
impl tair_backup_mcp::vault::staging::Staging for Made {
    async fn of(&self, instance_id: &str) -> Result<Vec<String>, tair_backup_mcp::model::fault::Fault> {
        assert_eq!(instance_id, "orders");
        Ok(self.0.clone())
    }

    async fn given_up(&self, _: &str) -> Result<Vec<String>, tair_backup_mcp::model::fault::Fault> {
        Ok(Vec::new())
    }
}

/// Of these sets the jobs have failed.
pub struct GivenUp(pub Vec<String>);

#[async_trait::async_trait]
impl tair_backup_mcp::vault::staging::Staging for GivenUp {
    async fn of(&self, _: &str) -> Result<Vec<String>, tair_backup_mcp::model::fault::Fault> {
        Ok(Vec::new())
    }

    async fn given_up(&self, instance_id: &str) -> Result<Vec<String>, tair_backup_mcp::model::fault::Fault> {
        assert_eq!(instance_id, "orders");
        Ok(self.0.clone())
    }
}

pub fn metadata() -> Metadata {
    Metadata {
        mode: Mode::Manual,
        note: "a note".into(),
        engine: "redis".into(),
        version: "7.0.15".into(),
        run_id: "run".into(),
        replication_id: "replid".into(),
        replication_offset: 42,
        announced_version: Some("8.1.0".into()),
        write_calls: Some(1),
        held: Some(HeldSlots::Node { id: "n".into(), epoch: 3, ranges: vec![(0, 5), (7, 7)] }),
        started_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        locked_until: None,
    }
}

/// The right to delete sets of an instance: retention's verdict on one that has expired.
pub fn expired(set: &BackupSet) -> Grant<Delete> {
    let set = BackupSet { expires_at: Some(Timestamp::UNIX_EPOCH), ..set.clone() };
    Expired::of(&set, Timestamp::now()).unwrap().delete()
}
