//! How far a set is proven, from the capture to the plan: what the replies say, and what becomes of sets that old or odd servers made.

use crate::redis::values::{entry, length, rdb, string};
use crate::support::{Bench, Redis, program, text, unattended, wait};
use crate::vault::metadata;
use serde_json::Value;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tair_backup_mcp::model::backup::Origin;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::Metadata;

pub const ID: &str = "b-20260101T000000Z-aaaaaa";

/// Puts an RDB into the bench's vault as a set of `orders`.
pub fn lay(bench: &Bench, rdb: Vec<u8>) {
    lay_as(bench, ID, rdb, metadata());
}

/// The same under another id, and of another server.
pub fn lay_as(bench: &Bench, id: &str, rdb: Vec<u8>, of: Metadata) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let vault = Vault::new(bench.home().join("vault"));
    let origin = Origin::Import { file: "dump.rdb".into(), sha256: "of the file".into() };
    let staged = vault.ingest("orders", id, origin, Cursor::new(rdb), |_, rest| rest.is_empty());
    runtime.block_on(async { staged.await.unwrap().commit(of).await }).unwrap();
}

/// A call of `restore_instance` by a program that finds this server program and no other.
fn call(bench: &Bench, server: &Path, more: &[&str]) -> Value {
    let args = [&["restore-instance", "--instance-id", "orders", "--backup-id", ID, "--json"], more].concat();
    let out = bench.command(&args).env("TAIR_BACKUP_MCP_SANDBOX_SERVER", server).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

/// A server program of ours, which says that it is a Redis and then does this.
fn pretended(bench: &Bench, does: &str) -> PathBuf {
    let path = bench.dir.path().join("pretended");
    let script = format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'Redis server v=7.0.15'; exit; fi\n{does}\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn check<'a>(reply: &'a Value, name: &str) -> &'a Value {
    reply["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap()
}

/// A set that did not come from a live server with a checksum goes by replication only where a server has loaded it before.
#[test]
fn what_no_live_server_vouches_for_is_loaded_once_or_goes_by_commands() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "old", "data"]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &string(b"v")), true));
    let scratch = || std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count);

    let planned = call(&bench, &program("redis-7.0", "server"), &[]);
    assert_eq!((&planned["plan"]["way"], scratch()), (&"replication".into(), 0), "{planned}");

    let dies = call(&bench, &pretended(&bench, "exit 3"), &[]);
    assert_eq!((&dies["status"], &check(&dies, "backup_verified")["status"]), (&"blocked".into(), &"block".into()));
    assert!(text(&check(&dies, "backup_verified")["detail"]).contains("does not survive"), "{dies}");
    assert_eq!(scratch(), 0);

    // What is there is a program, but none that loads the set.
    let old = pretended(&bench, "exit 3");
    std::fs::write(&old, "#!/bin/sh\necho 'Redis server v=6.2.14'\n").unwrap();
    let args = ["restore-instance", "--instance-id", "orders", "--backup-id", ID, "--json"];
    let run = |more: &[&str]| {
        let args = [&args[..], more].concat();
        let out =
            bench.command(&args).env("TAIR_BACKUP_MCP_SANDBOX_SERVER", &old).env("PATH", "/nowhere").output().unwrap();
        serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    };
    let planned = run(&[]);
    assert_eq!(planned["plan"]["way"], "commands", "{planned}");
    assert!(text(&check(&planned, "restore_way")["detail"]).contains("no server program"), "{planned}");
    // Later looks, which do not read the set again, stay with what was planned.
    let done = run(&["--confirmation-token", &text(&planned["confirmation_token"])]);
    assert_eq!((&done["status"], redis.run(&["GET", "k"]).text()), (&"succeeded".into(), "v".into()), "{done}");
}

/// Whatever ends the program ends the scratch server, and its directory, which holds data, goes as well.
#[test]
fn a_scratch_server_goes_with_a_killed_program() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    lay(&bench, rdb("REDIS0010", &entry(0, "k", &string(b"v")), true));
    let pid_file = bench.dir.path().join("pid");
    let server = pretended(&bench, &format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", pid_file.display()));
    let args = ["restore-instance", "--instance-id", "orders", "--backup-id", ID, "--json"];
    let mut child = bench.command(&args).env("TAIR_BACKUP_MCP_SANDBOX_SERVER", server).spawn().unwrap();
    let within = Duration::from_secs(60);
    let pid = wait("the scratch server", within, || std::fs::read_to_string(&pid_file).ok());
    let scratch = || std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count);
    assert_eq!(scratch(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait("the directory to go", within, || (scratch() == 0).then_some(()));
    let process = Path::new("/proc").join(pid.trim());
    wait("the server to go", within, || (!process.exists()).then_some(()));
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
        let check = check(&planned, "backup_verified");
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
        let planned = call(&bench, &program("redis-7.0", "server"), &[]);
        assert_eq!(planned["plan"]["way"], if way == "auto" { "replication" } else { "commands" }, "{planned}");
        let token = text(&planned["confirmation_token"]);
        let done = call(&bench, &program("redis-7.0", "server"), &["--confirmation-token", &token]);
        assert_eq!(done["status"], "succeeded", "{way}: {done}");
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
