//! Making a set, whatever its data comes from: the data is walked, hashed, compressed and staged while it arrives, then committed.
//!
//! The data is written under its final name from its first byte on. The manifest makes it a set; the manifest is put last and only
//! where there is none, behind its signature. No folder is renamed, so that a store without folders can be used too. A crash before the commit leaves
//! data without a manifest, which is listed as damaged until the dead job is reconciled and the data discarded
//! ([`Vault::discard_staging`]); a crash after the commit leaves a whole set.

use crate::config::blocking::blocking;
use crate::model::backup::{BackupSet, Depth, ManifestDigest, Mode, Origin, Proof};
use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use crate::model::slots::HeldSlots;
use crate::redis::rdb;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::{Checksum, KeyStatistics};
use crate::redis::rdb::unique::Unique;
use crate::vault::frames::{FrameReader, FrameWriter};
use crate::vault::layout::{DATA, MANIFEST, object};
use crate::vault::manifest::{self, Manifest};
use crate::vault::store::{Upload, read_whole};
use crate::vault::{LONGEST_MANIFEST, Vault, data_of, delete, vault_fault, worker};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::sync::Arc;

/// Longest end mark that may follow an RDB: that of a replication stream has 40 bytes.
const END_MARK_BYTES_MAX: u64 = 40;

/// Why no set could be made of the data.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The data is no RDB that this program can vouch for, or could not be written: the walker says which.
    #[error(transparent)]
    Rdb(#[from] RdbError),
    /// The data is an RDB followed by other bytes than its end mark.
    #[error("it is followed by something else than its end")]
    Follows,
    /// The data could not be read to its end.
    #[error(transparent)]
    Read(io::Error),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] Fault),
}

/// What the data itself does not tell about the set: who asked, and where and when the data was captured.
#[derive(Debug)]
pub struct Metadata {
    /// Who asked for the set.
    pub mode: Mode,
    /// Free text of the caller who asked.
    pub note: String,
    /// The source's engine: `redis` or `valkey`.
    pub engine: String,
    /// The source's version, as its INFO writes it.
    pub version: String,
    /// The source's `run_id`.
    pub run_id: String,
    /// The source's replication id at the moment captured.
    pub replication_id: String,
    /// The source's replication offset in bytes at the moment captured.
    pub replication_offset: u64,
    /// The version that was announced to the source as our own.
    pub announced_version: Option<String>,
    /// The source's count of write commands read just before the moment captured.
    pub write_calls: Option<u64>,
    /// The slots whose keys the source held whole at the moment captured.
    pub held: Option<HeldSlots>,
    /// When the capture began.
    pub started_at: Timestamp,
    /// When retention may delete the set; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Until when the set may not be deleted; `None` without a lock.
    pub locked_until: Option<Timestamp>,
}

/// Data on the vault, whole and walked, that is no set yet. Dropping it without a commit removes the data.
#[derive(Debug)]
pub struct Ingest {
    staging: Staged,
    origin: Origin,
    statistics: KeyStatistics,
    sha256: String,
    stored_bytes: u64,
}

/// The folder of a set that is being made. Dropping it blocks: that happens on the thread that ingests, or after a commit
/// that failed.
#[derive(Debug)]
struct Staged {
    vault: Vault,
    instance_id: String,
    backup_id: String,
    /// Whether the folder is a set's or another writer's by now and must not be removed.
    disowned: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.disowned {
            // What stays behind here goes in a sweep once its job has failed, or when that is found dead.
            let _ = delete::discard(&self.vault, &self.instance_id, &self.backup_id);
        }
    }
}

impl Vault {
    /// Reads an RDB to its end, stages it as the data of a set, and reports its statistics. `ends` judges the bytes after
    /// the RDB, given the RDB's length: none in a file, a mark in a replication stream. The work is done on a thread of its
    /// own.
    ///
    /// # Errors
    /// [`IngestError`], and then no data is kept.
    pub async fn ingest(
        &self,
        instance_id: &str,
        backup_id: &str,
        origin: Origin,
        from: impl Read + Send + 'static,
        ends: impl FnOnce(u64, &[u8]) -> bool + Send + 'static,
    ) -> Result<Ingest, IngestError> {
        let (vault, instance_id, backup_id) = (self.clone(), instance_id.to_owned(), backup_id.to_owned());
        worker::at_low_priority("capture", move || stage(vault, instance_id, backup_id, origin, from, ends)).await?
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
    // Only from here on is the folder ours: where the name is taken, the folder is another writer's.
    let upload = vault.store.upload_new(&name).map_err(failed)?;
    let mut staging = Staged { vault: vault.clone(), instance_id, backup_id, disowned: false };
    let mut frames = FrameWriter::<Box<dyn Upload>>::new(upload).map_err(failed)?;
    let mut sha = Sha256::new();
    let tap = |block: &[u8]| {
        sha.update(block);
        frames.push(block)
    };
    let mut unique = Unique::new(vault.spill_dir());
    let walked = rdb::walk_unique(from, tap, (), &mut unique)?;
    let (mut rest, from) = (walked.rest, walked.src);
    // One byte more than an end mark has: a source that never ends must not fill our memory.
    from.take(END_MARK_BYTES_MAX + 1).read_to_end(&mut rest).map_err(IngestError::Read)?;
    if !ends(walked.statistics.bytes, &rest) {
        return Err(IngestError::Follows);
    }
    let statistics = walked.statistics;
    let (upload, stored_bytes) = frames.finish().map_err(failed)?;
    upload.finish().map_err(|e| {
        staging.disowned = e.kind() == io::ErrorKind::AlreadyExists;
        failed(e)
    })?;
    if unique.needs_second_walk().map_err(failed)? {
        // The source has sent its data once; what is staged is the same.
        let staged =
            vault.store.open(&name).and_then(|data| FrameReader::new(data, statistics.bytes)).map_err(failed)?;
        rdb::walk_unique(staged, (), (), &mut unique)?;
    }
    Ok(Ingest { staging, origin, statistics, sha256: hex(&sha.finalize()), stored_bytes })
}

impl Ingest {
    /// The RDB's statistics.
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
        let _ = blocking(move || {
            drop(self);
            Ok(())
        })
        .await;
    }

    /// Puts the manifest: the point from which the set exists.
    ///
    /// # Errors
    /// `vault.failed`, and then there is no set, or another had the name first and is as it was, or the set is there and may not
    /// outlast a power cut: the message says which. A put that was not answered may take effect later, and make it a set.
    pub async fn commit(self, of: Metadata) -> Result<BackupSet, Fault> {
        blocking(move || self.commit_blocking(of)).await
    }

    fn commit_blocking(self, metadata: Metadata) -> Result<BackupSet, Fault> {
        let Self { mut staging, origin, statistics, sha256, stored_bytes } = self;
        let mut set = BackupSet {
            id: staging.backup_id.clone(),
            instance_id: staging.instance_id.clone(),
            mode: metadata.mode,
            note: metadata.note,
            engine: metadata.engine,
            version: metadata.version,
            run_id: metadata.run_id,
            replication_id: metadata.replication_id,
            replication_offset: metadata.replication_offset,
            announced_version: metadata.announced_version,
            write_calls: metadata.write_calls,
            started_at: metadata.started_at,
            finished_at: Timestamp::now(),
            rdb_version: statistics.rdb_version,
            rdb_bytes: statistics.bytes,
            sha256,
            stored_bytes,
            counts: manifest::counts(&statistics),
            functions: statistics.functions,
            used_memory: statistics.aux("used-mem").and_then(|m| m.parse().ok()).unwrap_or_default(),
            types: statistics.types,
            expires_at: metadata.expires_at,
            locked_until: metadata.locked_until,
            origin,
            held: metadata.held,
            proof: Some(Proof { depth: Depth::Deep, crc64: statistics.checksum == Checksum::Verified }),
            manifest: None,
        };
        let store = Arc::clone(&staging.vault.store);
        let (data, name) = (data_of(&set), object(&set.instance_id, &set.id, MANIFEST));
        // Who took us for dead may have removed the data, or put their own in its place, which is not ours to remove.
        let bytes = store.open(&data).and_then(|data| data.size());
        if !bytes.as_ref().is_ok_and(|bytes| *bytes == set.stored_bytes) {
            staging.disowned = true;
            let why = format!("what was written is not there any more ({} bytes)", set.stored_bytes);
            return Err(vault_fault(
                "commit",
                &store.place(&data),
                bytes.err().unwrap_or_else(|| io::Error::other(why)),
            ));
        }
        // What keeps the data keeps the manifest, which is put after it, at least as long.
        match store.lock(&data) {
            Ok(lock) => set.locked_until = set.locked_until.max(lock.map(|lock| lock.until)),
            Err(e) => tracing::warn!("until when {} is locked is not known: {e}", store.place(&data)),
        }
        let json = Manifest::of(&set).map_err(|e| vault_fault("put", &store.place(&name), e.into()))?;
        // Before the manifest: a set is never there without its signature. Where another's is there, so is another's data.
        let signed_by = staging.vault.put_signature(&set, &json, &mut staging.disowned)?;
        set.manifest = Some(ManifestDigest { sha256: hex(&Sha256::digest(&json)), signed_by, remembered: false });
        // From here on the manifest may be there, or come to be there, whatever is answered, and then what it needs must stay. Where it does not
        // come, the next sweep takes the data, for its job has failed. Where another's is there, the folder is that set's.
        staging.disowned = true;
        let Err(e) = store.put_new(&name, &json) else { return Ok(set) };
        let is_there = || read_whole(&*store, &name, LONGEST_MANIFEST).is_ok_and(|there| there == json);
        if e.kind() != io::ErrorKind::AlreadyExists && is_there() {
            let message =
                format!("the set is whole and listed, but may not outlast a power cut: {}: {e}", store.place(&name));
            return Err(Fault::new(Kind::Unexpected, "vault.failed", message)
                .hint("Check the disk of the home directory, then take another backup.")
                .because(e));
        }
        Err(vault_fault("put", &store.place(&name), e))
    }
}
