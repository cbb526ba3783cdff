//! A set that an earlier version wrote, kept as it was written, still verifies, restores and downloads.

use super::Place;
use crate::support::{Bench, Redis, text};
use std::path::Path;
use tair_backup_mcp::model::backup::Origin;

const ID: &str = "b-20261125T181537Z-ce6cde";

fn lay(vault: &Path) {
    let from = crate::support::root().join("tests/fixtures/vault/format1/orders").join(ID);
    let to = vault.join("orders").join(ID);
    std::fs::create_dir_all(&to).unwrap();
    for name in ["data.rdb.zst", "manifest.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn format_1_is_read() {
    let place = Place::new();
    lay(&place.dir.path().join("vault"));
    let set = place.run(place.vault.find("orders", ID, &())).unwrap();
    assert_eq!(set.note, "written by format 1");
    assert_eq!(set.origin, Origin::Capture { address: String::new() });
    assert_eq!((set.locked_until, set.announced_version.as_deref(), set.proof), (None, None, None));
    assert_eq!((set.replication_id.len(), set.replication_offset, set.write_calls), (40, 0, Some(8)));
    let statistics = place.run(place.vault.verify(&set)).unwrap();
    assert_eq!((statistics.keys(), statistics.bytes), (8, set.rdb_bytes));
    // No manifest holds the digest by which a restore knows a file again, so it is there for every set.
    let digest = place.run(place.vault.stored_digest(&set)).unwrap();
    assert!(place.run(place.vault.open_known(&set, &digest)).unwrap().is_some());

    // What the format did not know does not count as written by it, and its checksum still guards the rest.
    let path = place.path(ID, "manifest.json");
    let written = std::fs::read_to_string(&path).unwrap();
    for (old, new) in [
        ("written by format 1", "written by somebody"),
        ("\"expires_at\"", "\"locked_until\": \"2999-01-01T00:00:00Z\",\n  \"expires_at\""),
        ("\"format\": 1", "\"format\": 2"),
        ("\"format\": 1", "\"format\": 3"),
        ("\"format\": 1", "\"format\": 0"),
        ("\"format\": 1,", ""),
    ] {
        assert!(written.contains(old));
        std::fs::write(&path, written.replace(old, new)).unwrap();
        let fault = place.run(place.vault.find("orders", ID, &())).unwrap_err();
        assert_eq!(fault.code, "backup.damaged", "{new}");
        println!("{new}: {}", fault.message);
    }
    std::fs::write(&path, &written).unwrap();
    place.run(place.vault.find("orders", ID, &())).unwrap();
}

#[test]
fn format_1_restores_and_downloads() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "old", "data"]);
    let bench = Bench::unattended(&redis);
    lay(&bench.home().join("vault"));
    let listed = bench.backups();
    // Nobody has signed it, and this home does not remember it: whoever can put objects on the vault may have written what it says of itself.
    assert_eq!((&listed[0]["status"], &listed[0]["keys"]), (&"unverified".into(), &8.into()), "{listed:?}");
    bench.json(&["verify-backup", "--instance-id", "orders", "--backup-id", ID, "--level", "checksum"]);
    assert_eq!(bench.backups()[0]["status"], "verified");
    let got = bench.json(&["download-backup", "--instance-id", "orders", "--backup-id", ID]);
    let file = std::fs::read(text(&got["path"])).unwrap();
    assert!(file.starts_with(b"REDIS0010") && file.len() == 433, "{got}");
    let done = bench.restore(ID);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(redis.run(&["GET", "greeting"]).text(), "hello");
    assert_eq!(redis.run(&["GET", "old"]).text(), "");
    assert_eq!(redis.run(&["DBSIZE"]).text(), "7");
}
