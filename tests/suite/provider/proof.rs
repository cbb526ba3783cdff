//! How far a set is proven, from the capture to the plan: what the replies say, and what becomes of sets that old or odd servers made.

use crate::redis::values::{entry, length, rdb, string};
use crate::support::{Bench, Redis, text, unattended};
use crate::vault::metadata;
use std::io::Cursor;
use tair_backup_mcp::model::backup::Origin;
use tair_backup_mcp::vault::Vault;

const ID: &str = "b-20260101T000000Z-aaaaaa";

/// Puts an RDB into the bench's vault as a set of `orders`.
fn lay(bench: &Bench, rdb: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let vault = Vault::new(bench.home().join("vault"));
    let origin = Origin::Import { file: "dump.rdb".into(), sha256: "of the file".into() };
    let staged = vault.ingest("orders", ID, origin, Cursor::new(rdb), |_, rest| rest.is_empty());
    runtime.block_on(async { staged.await.unwrap().commit(metadata()).await }).unwrap();
}

#[test]
fn a_set_without_crc64_says_so_wherever_it_is_called_verified() {
    for (checksum, said) in [("no", "without CRC64"), ("yes", "CRC64 held")] {
        let redis = Redis::start("redis-7.0", &["--rdbchecksum", checksum]);
        redis.run(&["SET", "a", "1"]);
        let bench = Bench::unattended(&redis);
        let made = bench.json(&["create-backup", "--instance-id", "orders"]);
        assert!(text(&made["message"]).contains(&format!("verified (deep, {said})")), "{made}");
        let listed = bench.backups();
        assert_eq!(text(&listed[0]["verified"]), format!("deep, {said}"), "{listed:?}");
        let planned = bench.ask(&text(&made["backup_id"])).json();
        let checks = planned["prechecks"].as_array().unwrap();
        let check = checks.iter().find(|c| c["name"] == "backup_verified").unwrap();
        assert_eq!(check["status"], if checksum == "no" { "warn" } else { "pass" }, "{check}");
        assert_eq!(text(&check["detail"]).contains("WITHOUT CRC64"), checksum == "no", "{check}");
    }
}

/// Old servers wrote keys without elements; every server passes over them, so they are neither counted nor missed.
#[test]
fn a_set_with_empty_containers_is_restored_in_both_ways() {
    let empty = [
        entry(0, "a", &string(b"1")),
        entry(4, "hash", &length(0)),
        entry(18, "list", &length(0)),
        [&[252][..], &4_102_444_800_000_u64.to_le_bytes(), &entry(2, "set", &length(0))].concat(),
        entry(0, "z", &string(b"1")),
    ];
    for way in ["auto", "commands"] {
        let redis = Redis::start("redis-7.0", &[]);
        redis.run(&["SET", "old", "data"]);
        let bench = Bench::new(&unattended(&redis, &format!("restore_way = \"{way}\"")));
        lay(&bench, rdb("REDIS0010", &empty.concat(), true));
        let listed = bench.json(&["describe-backups", "--instance-id", "orders", "--backup-id", ID]);
        assert_eq!(listed["backups"][0]["keys"], 2, "{listed}");
        let done = bench.restore(ID);
        assert_eq!(done.code, 0, "{way}: {done:?}");
        assert_eq!(
            (redis.run(&["DBSIZE"]).text(), redis.run(&["GET", "old"]).text()),
            ("2".into(), String::new()),
            "{way}"
        );
        assert_eq!(
            redis.run(&["PTTL", "z"]).text(),
            "-1",
            "{way}: the expiry of a key that is passed over is not the next one's"
        );
    }
}

/// A server exits where a database is selected that it does not have, also without a key in it.
#[test]
fn a_database_that_is_only_selected_counts() {
    let redis = Redis::start("redis-7.0", &["--databases", "16"]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &[&[254, 0x40, 100, 254, 0][..], &entry(0, "k", &string(b"v"))].concat(), true));
    let asked = bench.ask(ID);
    assert_eq!((asked.code, &asked.json()["status"]), (3, &"blocked".into()), "{asked:?}");
    assert!(asked.out.contains("database 100"), "{asked:?}");
    assert_eq!(redis.run(&["PING"]).text(), "PONG");
}
