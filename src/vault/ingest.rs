//! How a set comes to be, whatever its data comes from: walked, hashed, compressed and staged while it arrives, then committed.
//!
//! The data lies under its final name from its first byte on. What makes it a set is the manifest, put last and only where there
//! is none: no rename of a folder, so that a store which has none can do it too. A crash before the commit leaves data without a
//! manifest, which whoever finds that its job is dead discards ([`Vault::discard_staging`]) and which lists as damaged until
//! then; a crash after it leaves a whole set.

use crate::model::backup::{BackupSet, Mode, Origin};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::redis::rdb;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::vault::frames::FrameWriter;
use crate::vault::layout::{DATA, MANIFEST, object};
use crate::vault::manifest::{self, Manifest};
use crate::vault::store::{Upload, read_whole};
use crate::vault::{LONGEST_MANIFEST, Vault, data_of, delete, vault_fault, worker};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::sync::Arc;

/// Longest end that may follow an RDB: a replication stream's mark has 40 bytes.
const END: u64 = 40;

/// Why nothing came of data.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It is no RDB that this program can vouch for, or could not be written: the walker says which.
    #[error(transparent)]
    Rdb(#[from] RdbError),
    /// It is an RDB, and something follows that is not its end.
    #[error("it is followed by something else than its end")]
    Follows,
    /// It could not be read to its end.
    #[error(transparent)]
    Read(io::Error),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] Fault),
}

/// What only whoever brings the data knows of the set it becomes.
#[derive(Debug)]
pub struct Metadata {
    /// Who asked.
    pub mode: Mode,
    /// Free text of who asked.
    pub note: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// The source server's version.
    pub version: String,
    /// The source's run id.
    pub run_id: String,
    /// Replication id at the moment captured.
    pub replication_id: String,
    /// Replication offset at the moment captured.
    pub replication_offset: u64,
    /// The version that was announced to the source as our own.
    pub announced_version: Option<String>,
    /// The source's count of write commands read just before the moment captured.
    pub write_calls: Option<u64>,
    /// When the capture began.
    pub started_at: Timestamp,
    /// Until when the set is kept.
    pub expires_at: Option<Timestamp>,
    /// Until when it may not be deleted.
    pub locked_until: Option<Timestamp>,
}

/// Data that lies on the vault, whole and walked, and is no set yet. Dropped without a commit, it takes the data with it.
#[derive(Debug)]
pub struct Ingest {
    staging: Staged,
    origin: Origin,
    statistics: KeyStatistics,
    sha256: String,
    stored_bytes: u64,
}

/// The folder of a set that is being made. Blocking where it is dropped, which is on the thread that ingests, or after a commit
/// that failed.
#[derive(Debug)]
struct Staged {
    vault: Vault,
    instance_id: String,
    backup_id: String,
    /// Nothing of the folder may be removed by us any more.
    over: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.over {
            // What stays behind here goes in a sweep once its job has failed, or when that is found dead.
            let _ = delete::discard(&self.vault, &self.instance_id, &self.backup_id);
        }
    }
}

impl Vault {
    /// Reads an RDB to its end, stages it as the data of a set, and says what is in it. `ends` judges what follows the RDB, given
    /// the RDB's length: nothing in a file, a mark in a replication stream. The work is done on a thread of its own.
    ///
    /// # Errors
    /// [`IngestError`], and then nothing of it is kept.
    pub async fn ingest(
        &self,
        instance_id: &str,
        backup_id: &str,
        origin: Origin,
        from: impl Read + Send + 'static,
        ends: impl FnOnce(u64, &[u8]) -> bool + Send + 'static,
    ) -> Result<Ingest, IngestError> {
        let (vault, instance_id, backup_id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
        worker::giving_way("capture", move || stage(vault, instance_id, backup_id, origin, from, ends)).await?
    }
}

fn stage(
    vault: Vault,
    instance_id: String,
    backup_id: String,
    origin: Origin,
    from: impl Read,
    ends: impl FnOnce(u64, &[u8]) -> bool,
) -> Result<Ingest, IngestError> {
    let name = object(&instance_id, &backup_id, DATA);
    let failed = |e: io::Error| vault_fault("write", &vault.store.place(&name), e);
    // Only from here on is the folder ours: where the name is taken, it is another's.
    let upload = vault.store.upload_new(&name).map_err(failed)?;
    let staging = Staged { vault: vault.clone(), instance_id, backup_id, over: false };
    let mut frames = FrameWriter::<Box<dyn Upload>>::new(upload).map_err(failed)?;
    let mut sha = Sha256::new();
    let tap = |block: &[u8]| {
        sha.update(block);
        frames.push(block)
    };
    let walked = rdb::walk(from, tap, ())?;
    let (mut rest, from) = (walked.rest, walked.src);
    // One byte more than may follow: a source that never ends must not fill our memory.
    from.take(END + 1).read_to_end(&mut rest).map_err(IngestError::Read)?;
    if !ends(walked.statistics.bytes, &rest) {
        return Err(IngestError::Follows);
    }
    let statistics = walked.statistics;
    let (upload, stored_bytes) = frames.finish().map_err(failed)?;
    upload.finish().map_err(failed)?;
    Ok(Ingest { staging, origin, statistics, sha256: hex(&sha.finalize()), stored_bytes })
}

impl Ingest {
    /// What the walk found.
    #[must_use]
    pub const fn statistics(&self) -> &KeyStatistics {
        &self.statistics
    }

    /// SHA-256 of the RDB.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Takes the data away, on a thread of its own: dropping it does that where it is dropped.
    pub async fn discard(self) {
        // What stays behind goes when its job has ended.
        let _ = worker::on_a_thread(move || {
            drop(self);
            Ok(())
        })
        .await;
    }

    /// Puts the manifest: the point from which the set exists.
    ///
    /// # Errors
    /// `vault.failed`, and then there is no set, or another had the name first and is as it was, or the set is there and may not
    /// outlast a power cut: the message says which.
    pub async fn commit(self, of: Metadata) -> Result<BackupSet, Fault> {
        worker::on_a_thread(move || self.commit_blocking(of)).await
    }

    fn commit_blocking(self, of: Metadata) -> Result<BackupSet, Fault> {
        let Self { mut staging, origin, statistics, sha256, stored_bytes } = self;
        let set = BackupSet {
            id: staging.backup_id.clone(),
            instance_id: staging.instance_id.clone(),
            mode: of.mode,
            note: of.note,
            engine: of.engine,
            version: of.version,
            run_id: of.run_id,
            replication_id: of.replication_id,
            replication_offset: of.replication_offset,
            announced_version: of.announced_version,
            write_calls: of.write_calls,
            started_at: of.started_at,
            finished_at: Timestamp::now(),
            rdb_version: statistics.rdb_version,
            rdb_bytes: statistics.bytes,
            sha256,
            stored_bytes,
            counts: manifest::counts(&statistics),
            functions: statistics.functions,
            used_memory: statistics.aux("used-mem").and_then(|m| m.parse().ok()).unwrap_or_default(),
            types: statistics.types,
            expires_at: of.expires_at,
            locked_until: of.locked_until,
            origin,
        };
        let store = Arc::clone(&staging.vault.store);
        let (data, name) = (data_of(&set), object(&set.instance_id, &set.id, MANIFEST));
        // Who took us for dead may have removed the data, or put their own in its place, which is not ours to remove.
        let bytes = store.open(&data).and_then(|data| data.size());
        if !bytes.as_ref().is_ok_and(|bytes| *bytes == set.stored_bytes) {
            staging.over = true;
            let why = format!("what was written is not there any more ({} bytes)", set.stored_bytes);
            return Err(vault_fault(
                "commit",
                &store.place(&data),
                bytes.err().unwrap_or_else(|| io::Error::other(why)),
            ));
        }
        let json = Manifest::of(&set).map_err(|e| vault_fault("put", &store.place(&name), e.into()))?;
        let Err(e) = store.put_new(&name, &json) else {
            staging.over = true;
            return Ok(set);
        };
        // Where another's manifest is there, the folder is that set's.
        staging.over = e.kind() == io::ErrorKind::AlreadyExists;
        if !staging.over && read_whole(&*store, &name, LONGEST_MANIFEST).is_ok_and(|there| there == json) {
            staging.over = true;
            let message =
                format!("the set is whole and listed, but may not outlast a power cut: {}: {e}", store.place(&name));
            return Err(Fault::new(Kind::Unexpected, "vault.failed", message)
                .hint("Check the disk of the home directory, then take another backup.")
                .because(e));
        }
        Err(vault_fault("put", &store.place(&name), e))
    }
}
