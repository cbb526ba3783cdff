//! `manifest.json`: the description of a set, in a form that outlives this version. The file is the truth; any index is a cache.
//!
//! Format 2 is written; format 1, which had no origin, no announced version, no lock and no predecessor, is read as well. The
//! checksum of both is SHA-256 over the manifest's own compact JSON, its fields in the order in which they stand, with the
//! checksum's value empty: a changed byte anywhere is damage, not another set.

use crate::model::backup::{BackupSet, Depth, Mode, Origin, Proof};
use crate::model::ids::hex;
use crate::model::text::{clean, clean_to, quoted};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Most values in a manifest, each of which takes some dozens of bytes of memory: of 65,000 databases, of each range of slots, and some more.
const VALUES_MAX: usize = 400_000;
/// Format that is written. A reader refuses a later one.
const FORMAT: u64 = 2;
/// The oldest format that is read.
const OLDEST: u64 = 1;
/// The first format with the set's origin.
const WITH_ORIGIN: u64 = 2;

/// The manifest, field by field as written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u64,
    backup_id: String,
    instance_id: String,
    mode: String,
    note: String,
    server: Server,
    replication: Replication,
    started_at: Timestamp,
    finished_at: Timestamp,
    expires_at: Option<Timestamp>,
    #[serde(default)]
    locked_until: Option<Timestamp>,
    #[serde(default)]
    origin: Option<OriginRecord>,
    rdb: Rdb,
    data: Data,
    /// Digest of the preceding manifest, once manifests are chained. Null until then.
    #[serde(default)]
    previous: Option<String>,
    checksum: String,
}

/// [`Origin`], as written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum OriginRecord {
    Capture { address: String },
    Import { file: String, sha256: String },
    Copy { instance_id: String, backup_id: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Server {
    engine: String,
    version: String,
    run_id: String,
    write_calls: Option<u64>,
    used_memory: u64,
    /// [`BackupSet::held`], absent where it is not known, and in manifests of versions that recorded none, which pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slots: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Replication {
    id: String,
    offset: u64,
    #[serde(default)]
    announced_version: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Rdb {
    version: u16,
    bytes: u64,
    sha256: String,
    databases: Vec<Database>,
    functions: u64,
    types: BTreeMap<u8, u64>,
    /// Absent in manifests of versions that recorded none, which pass over it where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<ProofRecord>,
}

/// [`Proof`], as written.
#[derive(Debug, Serialize, Deserialize)]
struct ProofRecord {
    depth: String,
    crc64: bool,
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
    /// The manifest of a set, as bytes to be put on the vault.
    ///
    /// # Errors
    /// None in practice: a manifest holds only strings, numbers and plain lists.
    pub fn of(set: &BackupSet) -> serde_json::Result<Vec<u8>> {
        let manifest = Self {
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
                slots: set.held.as_ref().map(serde_json::to_value).transpose()?,
            },
            replication: Replication {
                id: set.replication_id.clone(),
                offset: set.replication_offset,
                announced_version: set.announced_version.clone(),
            },
            started_at: set.started_at,
            finished_at: set.finished_at,
            expires_at: set.expires_at,
            locked_until: set.locked_until,
            origin: Some(OriginRecord::of(&set.origin)),
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
                proof: set.proof.map(|p| ProofRecord { depth: p.depth.as_str().into(), crc64: p.crc64 }),
            },
            data: Data { file: crate::vault::layout::DATA.into(), compression: "zstd".into(), bytes: set.stored_bytes },
            previous: None,
            checksum: String::new(),
        };
        let mut json = serde_json::to_value(manifest)?;
        let checksum = checksum(&json);
        if let Some(field) = json.get_mut("checksum") {
            *field = checksum.into();
        }
        serde_json::to_vec_pretty(&json)
    }

    /// Parses a manifest into its set.
    ///
    /// # Errors
    /// What cannot be understood, as part of a sentence about the manifest.
    pub fn read(text: &[u8]) -> Result<BackupSet, String> {
        // Before anybody has judged who wrote it.
        if values(text) > VALUES_MAX {
            return Err(format!("has more values than a manifest can have ({VALUES_MAX})"));
        }
        let mut json: Value = serde_json::from_slice(text).map_err(|e| clean(&e.to_string()))?;
        let format = json.get("format").and_then(Value::as_u64).ok_or("does not say which format it has")?;
        if !(OLDEST..=FORMAT).contains(&format) {
            return Err(format!("manifest format {format} is not known to this version"));
        }
        let written = json.get_mut("checksum").map_or(Value::Null, |field| std::mem::replace(field, "".into()));
        if written != checksum(&json) {
            return Err("is not what was written: its checksum differs".into());
        }
        let manifest: Self = serde_json::from_value(json).map_err(|e| clean(&e.to_string()))?;
        manifest.into_set()
    }

    fn into_set(self) -> Result<BackupSet, String> {
        let origin = match self.origin {
            Some(record) => record.origin(),
            None if self.format < WITH_ORIGIN => Origin::Capture { address: String::new() },
            None => return Err("does not say how its set came to be".into()),
        };
        if self.data.file != crate::vault::layout::DATA || self.data.compression != "zstd" {
            return Err(format!(
                "data object {} ({}) is not known to this version",
                quoted(&self.data.file),
                quoted(&self.data.compression)
            ));
        }
        let mode = Mode::parse(&self.mode)
            .ok_or_else(|| format!("mode {} is not known to this version", quoted(&self.mode)))?;
        Ok(BackupSet {
            id: self.backup_id,
            instance_id: self.instance_id,
            mode,
            // Whoever can write to the vault can write a checksum too.
            note: clean(&self.note),
            engine: clean(&self.server.engine),
            version: clean(&self.server.version),
            run_id: clean(&self.server.run_id),
            replication_id: clean(&self.replication.id),
            replication_offset: self.replication.offset,
            write_calls: self.server.write_calls,
            started_at: self.started_at,
            finished_at: self.finished_at,
            rdb_version: self.rdb.version,
            rdb_bytes: self.rdb.bytes,
            sha256: clean(&self.rdb.sha256),
            stored_bytes: self.data.bytes,
            counts: self.rdb.databases.into_iter().map(|d| (d.db, (d.keys, d.expires))).collect(),
            functions: self.rdb.functions,
            used_memory: self.server.used_memory,
            types: self.rdb.types,
            expires_at: self.expires_at,
            locked_until: self.locked_until,
            origin,
            // What only a later version can read is not known to this one.
            held: self.server.slots.and_then(|slots| serde_json::from_value(slots).ok()),
            // A depth that only a later version knows proves nothing to this one.
            proof: self.rdb.proof.and_then(|p| Some(Proof { depth: Depth::parse(&p.depth)?, crc64: p.crc64 })),
            announced_version: self.replication.announced_version.as_deref().map(clean),
            manifest: None,
        })
    }
}

impl OriginRecord {
    fn of(origin: &Origin) -> Self {
        match origin.clone() {
            Origin::Capture { address } => Self::Capture { address },
            Origin::Import { file, sha256 } => Self::Import { file, sha256 },
            Origin::Copy { instance_id, backup_id } => Self::Copy { instance_id, backup_id },
        }
    }

    fn origin(self) -> Origin {
        match self {
            Self::Capture { address } => Origin::Capture { address: clean(&address) },
            Self::Import { file, sha256 } => Origin::Import { file: clean_to(&file, PATH_MAX), sha256: clean(&sha256) },
            Self::Copy { instance_id, backup_id } => {
                Origin::Copy { instance_id: clean(&instance_id), backup_id: clean(&backup_id) }
            }
        }
    }
}

/// Longest path in a manifest, in characters.
const PATH_MAX: usize = 4096;

/// Values in a JSON text, or some more.
fn values(text: &[u8]) -> usize {
    let (mut values, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => values += 1,
            _ => {}
        }
    }
    values
}

/// Checksum of a manifest whose `checksum` field is empty.
fn checksum(json: &Value) -> String {
    hex(&Sha256::digest(json.to_string()))
}

/// Keys per database as the walker counted them, in the form of the model.
#[must_use]
pub fn counts(statistics: &crate::redis::rdb::statistics::KeyStatistics) -> crate::model::instance::Counts {
    statistics.dbs.iter().map(|d| (d.db, (d.keys, d.expires))).collect()
}
