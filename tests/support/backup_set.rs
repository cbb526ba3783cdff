//! Backup sets that no server was asked for: as the program knows them, for tests of what is judged from sets alone, and small ones on a vault.

use super::Bench;
use super::log::signed_vault;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tair_backup_mcp::model::backup::{BackupSet, Mode, Origin};
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::Metadata;

/// A set of the instance `orders` that was taken in no time, and is on no vault.
pub fn backup_set(id: &str, mode: Mode, at: Timestamp) -> BackupSet {
    BackupSet {
        id: id.into(),
        instance_id: "orders".into(),
        mode,
        note: String::new(),
        engine: "redis".into(),
        version: "7.0.15".into(),
        run_id: String::new(),
        replication_id: String::new(),
        replication_offset: 0,
        write_calls: None,
        started_at: at,
        finished_at: at,
        rdb_version: 10,
        rdb_bytes: 1,
        sha256: String::new(),
        stored_bytes: 1,
        counts: BTreeMap::new(),
        functions: 0,
        used_memory: 0,
        types: BTreeMap::new(),
        expires_at: None,
        locked_until: None,
        origin: Origin::Capture { address: String::new() },
        held: None,
        proof: None,
        announced_version: None,
        manifest: None,
    }
}

/// Puts a set of one key of the instance `orders` on a bench's vault: begun and expiring at these moments, at this position of a history.
pub async fn put_set(
    bench: &Bench,
    id: &str,
    mode: Mode,
    times: (Timestamp, Option<Timestamp>),
    position: (&str, u64),
) -> BackupSet {
    put_set_on(&signed_vault(bench), id, mode, times, position).await
}

/// The same on another vault.
pub async fn put_set_on(
    vault: &Vault,
    id: &str,
    mode: Mode,
    (started_at, expires_at): (Timestamp, Option<Timestamp>),
    (replication_id, replication_offset): (&str, u64),
) -> BackupSet {
    const RDB: &[u8] = include_bytes!("../fixtures/vault/one_key.rdb");
    let origin = Origin::Import { file: "one_key.rdb".into(), sha256: String::new() };
    let staged = vault.ingest("orders", id, origin, RDB, |_, rest| rest.is_empty()).await.unwrap();
    let metadata = Metadata {
        mode,
        note: String::new(),
        engine: "redis".into(),
        version: "7.0.15".into(),
        run_id: "r".into(),
        replication_id: replication_id.into(),
        replication_offset,
        announced_version: None,
        write_calls: None,
        held: None,
        started_at,
        expires_at,
        locked_until: None,
    };
    staged.commit(metadata).await.unwrap()
}
