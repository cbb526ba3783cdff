//! An RDB whose expiries were moved is what its server would have written had every expiry been later: the same keys, every expiry of
//! a key and of a field of a hash later by the same time, its checksum right, and a server loads it.

use crate::support::{Redis, program, run_by_socket};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::endpoint::Address;
use tair_backup_mcp::redis::rdb::compat::{Flavor, Server};
use tair_backup_mcp::redis::rdb::shift::{shift, shift_payload};
use tair_backup_mcp::redis::rdb::statistics::Checksum;
use tair_backup_mcp::redis::rdb::{EntryHead, Visitor, walk};
use tair_backup_mcp::redis::resp::Value;
use tair_backup_mcp::redis::scratch::program::Program;
use tair_backup_mcp::redis::scratch::{ScratchDir, ScratchServer};

/// In a while, in milliseconds since 1970.
const AT: i64 = 4_102_444_800_123;
const BY: i64 = 86_400_457;

#[derive(Default)]
struct Expiries(BTreeMap<Vec<u8>, Option<i64>>);

impl Visitor for Expiries {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        self.0.insert([head.db.to_string().as_bytes(), head.key].concat(), head.expiry_ms);
        Ok(())
    }
}

fn moved(rdb: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let statistics = shift(rdb, BY, |chunk| {
        out.extend_from_slice(&chunk);
        Ok(())
    });
    assert_eq!(statistics.unwrap().bytes, rdb.len() as u64);
    out
}

fn fill(redis: &Redis, kind: &str) -> Vec<(&'static str, String)> {
    let at = (AT + 7).to_string();
    redis.fill(1, 1);
    for n in 0..50 {
        redis.run(&["SET", &format!("e{n}"), &"x".repeat(n * 300)]);
        redis.run(&["PEXPIREAT", &format!("e{n}"), &(AT + n as i64).to_string()]);
    }
    redis.run_in(3, &["SADD", "other", "a", "b"]);
    redis.run_in(3, &["PEXPIREAT", "other", &at]);
    let mut fields = Vec::new();
    if kind != "redis-6.2" && kind != "redis-7.0" {
        // As one block, compressed or not, and as a table; with fields that do not expire between.
        for (hash, count, value) in
            [("block", 3, "v".to_owned()), ("packed", 40, "same ".repeat(8)), ("table", 900, "v".to_owned())]
        {
            for n in 0..count {
                redis.run(&["HSET", hash, &format!("f{n}"), &value]);
                if n % 3 != 0 {
                    let at = (AT + n).to_string();
                    redis.run(&["HPEXPIREAT", hash, &at, "FIELDS", "1", &format!("f{n}")]);
                }
                fields.push((hash, format!("f{n}")));
            }
        }
    }
    fields
}

#[tokio::test]
async fn every_expiry_is_moved_and_nothing_else() {
    for kind in ["redis-6.2", "redis-7.0", "redis-8.0", "redis-8.2", "valkey-9.1"] {
        let redis = Redis::start(kind, &["--databases", "16"]);
        let fields = fill(&redis, kind);
        redis.run(&["SAVE"]);
        let rdb = std::fs::read(redis.dir.path().join("dump.rdb")).unwrap();
        let later = moved(&rdb);
        let (before, after) = (walk(&rdb[..], (), Expiries::default()), walk(&later[..], (), Expiries::default()));
        let (before, after) = (before.unwrap(), after.unwrap());
        assert_eq!(after.statistics.checksum, Checksum::Verified, "{kind}");
        assert_eq!((&before.statistics.dbs, before.statistics.types), (&after.statistics.dbs, after.statistics.types));
        let expected: BTreeMap<_, _> = before.visitor.0.into_iter().map(|(k, at)| (k, at.map(|at| at + BY))).collect();
        assert_eq!(after.visitor.0, expected, "{kind}");

        let parent = tempfile::tempdir().unwrap();
        let dir = ScratchDir::new(parent.path()).unwrap();
        dir.dump().unwrap().write_all(&later).unwrap();
        let server = Server { flavor: Flavor::Redis, major: if kind == "redis-6.2" { 6 } else { 7 }, minor: 2 };
        let program = Program { path: program(kind, "server"), server, name: kind.to_owned() };
        let scratch = ScratchServer::start(&program, dir, 16, Duration::from_secs(30)).await.unwrap();
        let Address::Unix(socket) = scratch.endpoint().address.clone() else { panic!() };
        let socket: PathBuf = socket;
        let ask = |args: &[&str]| run_by_socket(&socket, args).unwrap().text();
        for (hash, field) in &fields {
            let ask_for = ["HPEXPIRETIME", hash, "FIELDS", "1", field];
            let was = redis.run(&ask_for).text();
            let is = ask(&ask_for);
            let number = |text: &str| text.parse::<i64>().unwrap();
            let expected = if number(&was) < 0 { number(&was) } else { number(&was) + BY };
            assert_eq!(number(&is), expected, "{kind}: {hash} {field}");
        }
        for hash in ["block", "packed", "table"] {
            assert_eq!(ask(&["HLEN", hash]), redis.run(&["HLEN", hash]).text(), "{kind}: {hash}");
        }
        scratch.stop().await;
    }
}

/// The payload of a hash whose fields expire is moved as the same hash in an RDB is; that of anything else is not touched.
#[tokio::test]
async fn payloads_are_moved() {
    assert!(shift_payload(b"short", 1).is_err());
    for kind in ["redis-8.0", "valkey-9.1"] {
        let redis = Redis::start(kind, &[]);
        let fields = fill(&redis, kind);
        let mut conn = Conn::open(&redis.endpoint(), Duration::from_secs(10)).await.unwrap();
        for hash in ["block", "packed", "table", "e7"] {
            let dumped = conn.cmd_str(&["DUMP", hash]).await.unwrap();
            let Value::Bulk(payload) = &dumped else { panic!("{dumped:?}") };
            let later = shift_payload(payload, BY).unwrap();
            if hash == "e7" {
                assert_eq!(&later, payload);
            }
            conn.cmd(&[b"RESTORE", format!("later {hash}").as_bytes(), b"0", &later]).await.unwrap();
        }
        for (hash, field) in &fields {
            let ask =
                |hash: &str| redis.run(&["HPEXPIRETIME", hash, "FIELDS", "1", field]).text().parse::<i64>().unwrap();
            let (was, is) = (ask(hash), ask(&format!("later {hash}")));
            assert_eq!(is, if was < 0 { was } else { was + BY }, "{kind}: {hash} {field}");
        }
    }
}

#[test]
fn what_is_no_rdb_is_told_and_what_cannot_go_on_ends_it() {
    assert!(shift(&b"REDIS0009\xff"[..], 1, |_| Ok(())).is_err());
    let rdb = b"REDIS0009\xff\0\0\0\0\0\0\0\0";
    assert!(shift(&rdb[..], 1, |_| Err(io::Error::other("full"))).is_err());
    let mut same = Vec::new();
    shift(&rdb[..], 1, |chunk| {
        same.extend_from_slice(&chunk);
        Ok(())
    })
    .unwrap();
    assert_eq!(same, rdb, "a trailer that says nothing goes on to say nothing");
}
