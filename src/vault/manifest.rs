//! `manifest.json`: what a set is, in a form that outlives this version. The file is the truth; any index is a cache.

use crate::model::backup::{BackupSet, Mode};
use crate::model::ids::hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Version of this shape. A reader refuses a later one.
const FORMAT: u32 = 1;

/// The manifest as written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    backup_id: String,
    instance_id: String,
    mode: String,
    note: String,
    server: Server,
    replication: Replication,
    started_at: Timestamp,
    finished_at: Timestamp,
    expires_at: Option<Timestamp>,
    rdb: Rdb,
    data: Data,
    /// SHA-256 of this manifest's compact JSON with this field empty: a changed byte anywhere is damage, not another set.
    checksum: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Server {
    engine: String,
    version: String,
    run_id: String,
    write_calls: Option<u64>,
    used_memory: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Replication {
    id: String,
    offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rdb {
    version: u16,
    bytes: u64,
    sha256: String,
    databases: Vec<Database>,
    functions: u64,
    types: BTreeMap<u8, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Database {
    db: u64,
    keys: u64,
    expires: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Data {
    file: String,
    compression: String,
    bytes: u64,
}

impl Manifest {
    /// The manifest of a set.
    #[must_use]
    pub fn of(set: &BackupSet) -> Self {
        let mut manifest = Self {
            format: FORMAT,
            backup_id: set.id.clone(),
            instance_id: set.instance_id.clone(),
            mode: set.mode.as_str().into(),
            note: set.note.clone(),
            server: Server {
                engine: set.engine.clone(),
                version: set.version.clone(),
                run_id: set.run_id.clone(),
                write_calls: set.write_calls,
                used_memory: set.used_memory,
            },
            replication: Replication { id: set.replication_id.clone(), offset: set.replication_offset },
            started_at: set.started_at,
            finished_at: set.finished_at,
            expires_at: set.expires_at,
            rdb: Rdb {
                version: set.rdb_version,
                bytes: set.rdb_bytes,
                sha256: set.sha256.clone(),
                databases: set
                    .counts
                    .iter()
                    .map(|(db, (keys, expires))| Database { db: *db, keys: *keys, expires: *expires })
                    .collect(),
                functions: set.functions,
                types: set.types.clone(),
            },
            data: Data { file: super::DATA.into(), compression: "zstd".into(), bytes: set.stored_bytes },
            checksum: String::new(),
        };
        manifest.checksum = manifest.sum();
        manifest
    }

    fn sum(&self) -> String {
        // Only strings, numbers and plain lists: writing them as JSON does not fail.
        hex(&Sha256::digest(serde_json::to_vec(self).unwrap_or_default()))
    }

    /// The set of a manifest.
    ///
    /// # Errors
    /// What is not understood, in words.
    pub fn into_set(mut self) -> Result<BackupSet, String> {
        if self.format != FORMAT {
            return Err(format!("manifest format {} is not known to this version", self.format));
        }
        let checksum = std::mem::take(&mut self.checksum);
        if self.sum() != checksum {
            return Err("is not what was written: its checksum differs".into());
        }
        if self.data.file != super::DATA || self.data.compression != "zstd" {
            return Err(format!(
                "data object {} ({}) is not known to this version",
                self.data.file, self.data.compression
            ));
        }
        let mode = Mode::parse(&self.mode).ok_or_else(|| format!("mode {} is not known to this version", self.mode))?;
        Ok(BackupSet {
            id: self.backup_id,
            instance_id: self.instance_id,
            mode,
            note: self.note,
            engine: self.server.engine,
            version: self.server.version,
            run_id: self.server.run_id,
            replication_id: self.replication.id,
            replication_offset: self.replication.offset,
            write_calls: self.server.write_calls,
            started_at: self.started_at,
            finished_at: self.finished_at,
            rdb_version: self.rdb.version,
            rdb_bytes: self.rdb.bytes,
            sha256: self.rdb.sha256,
            stored_bytes: self.data.bytes,
            counts: self.rdb.databases.into_iter().map(|d| (d.db, (d.keys, d.expires))).collect(),
            functions: self.rdb.functions,
            used_memory: self.server.used_memory,
            types: self.rdb.types,
            expires_at: self.expires_at,
        })
    }
}

/// Keys per database as the walker counted them, in the words of the model.
#[must_use]
pub fn counts(statistics: &crate::redis::rdb::statistics::KeyStatistics) -> crate::model::instance::Counts {
    statistics.dbs.iter().map(|d| (d.db, (d.keys, d.expires))).collect()
}
