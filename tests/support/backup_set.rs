//! A backup set as the program knows it, for tests of what is judged from sets alone. There is none such on any vault.

use jiff::Timestamp;
use std::collections::BTreeMap;
use tair_backup_mcp::model::backup::{BackupSet, Mode, Origin};

/// A set of the instance `orders` that was taken in no time.
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
    }
}
