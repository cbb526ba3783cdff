//! Backups of sources as they are: every version with every type, those that cannot save or are busy for a while, and those that
//! never end.

use crate::support::source::{FakeSource, MARK, marked};
use crate::support::{Bench, MATRIX, Redis, Reply, finish, program, text, unattended, wait, write_over};
use crate::vault::{RDB, metadata};
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::backup::Origin;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::Metadata;

fn configured(source: &FakeSource, more: &str) -> Bench {
    Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n{more}\n", source.url()))
}

fn backed_up(bench: &Bench) -> Value {
    bench.run(&["create-backup", "--instance-id", "orders", "--wait-seconds", "120", "--json"]).json()
}

/// The manifest of the only set.
fn manifest(bench: &Bench, backup: &str) -> Value {
    let path = bench.home().join("vault/orders").join(backup).join("manifest.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A backup from a replica that has not seen all of its instance's writes says so, by how much; one that has says nothing.
#[test]
fn a_replica_that_is_behind_is_told() {
    let master = Redis::start("redis-7.0", &[]);
    let replica = Redis::start("redis-7.0", &["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    wait("the replica", Duration::from_secs(30), || (replica.info("master_link_status") == "up").then_some(()));
    let bench = Bench::new(&unattended(&master, &format!("backup_from = \"{}\"", replica.url())));
    master.run(&["SET", "a", "1"]);
    wait("the write", Duration::from_secs(30), || (replica.run(&["GET", "a"]).text() == "1").then_some(()));
    let even = backed_up(&bench);
    assert!(even["status"] == "succeeded" && !text(&even["message"]).contains("behind"), "{even}");
    // A replica whose writes are paused does not apply its master's stream.
    replica.run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    master.run(&["SET", "b", &"x".repeat(5000)]);
    let behind = backed_up(&bench);
    assert!(text(&behind["message"]).contains("taken from a replica that was 4.9 KiB behind"), "{behind}");
}

/// Every version with every type that it has, in both framings: a set that the server's own checker takes, with all its keys, and the
/// format that it is in. Only a Valkey from 9.0 on was told a version.
#[test]
fn every_version_with_every_type() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || {
                let source = Redis::start(kind, &[]);
                source.fill(1, 1);
                for diskless in ["yes", "no"] {
                    source.run(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
                    let bench = Bench::unattended(&source);
                    let backup = bench.backup();
                    let manifest = manifest(&bench, &backup);
                    let keys: u64 =
                        (0..16).map(|db| source.run_in(db, &["DBSIZE"]).text().parse::<u64>().unwrap()).sum();
                    let counted =
                        manifest["rdb"]["databases"].as_array().unwrap().iter().map(|db| db["keys"].as_u64().unwrap());
                    assert_eq!(counted.sum::<u64>(), keys, "{kind}");
                    let (version, announced) = match kind {
                        "redis-6.2" => (9, None),
                        "redis-7.0" => (10, None),
                        "valkey-8.1" => (11, None),
                        "valkey-9.1" => (80, Some("9.1.0")),
                        _ => (12, None),
                    };
                    assert_eq!(manifest["rdb"]["version"], version, "{kind}");
                    assert_eq!(manifest["replication"]["announced_version"].as_str(), announced, "{kind}");
                    let file = bench.json(&["download-backup", "--instance-id", "orders", "--backup-id", &backup]);
                    let checked = Command::new(program(kind, "check-rdb")).arg(text(&file["path"])).output().unwrap();
                    assert!(checked.status.success(), "{kind}: {}", String::from_utf8_lossy(&checked.stdout));
                }
            });
        }
    });
}

/// A source that refuses writes, for its disk fails it, is backed up; the result says what is wrong with it. One that saves well is
/// not spoken of.
#[test]
fn a_source_that_cannot_save_is_backed_up() {
    for kind in ["redis-7.0", "valkey-9.1"] {
        let source = Redis::start(kind, &["--enable-protected-configs", "yes", "--save", "3600 1"]);
        source.run(&["SET", "a", "1"]);
        let bench = Bench::unattended(&source);
        let well = backed_up(&bench);
        assert!(!text(&well["message"]).contains("SAVE"), "{well}");
        let gone = source.dir.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        source.run(&["CONFIG", "SET", "dir", gone.to_str().unwrap()]);
        std::fs::remove_dir(&gone).unwrap();
        wait("the save to fail", Duration::from_secs(30), || {
            // Refused while the child of the backup is still there.
            source.try_run(&["BGSAVE"]).ok()?;
            (source.info("rdb_last_bgsave_status") == "err").then_some(())
        });
        assert!(source.try_run(&["PING"]).unwrap().text().starts_with("MISCONF"));
        let made = backed_up(&bench);
        assert_eq!(made["status"], "succeeded", "{made}");
        for part in ["1 keys", "verified", "CANNOT SAVE", "MISCONF", "read its log"] {
            assert!(text(&made["message"]).contains(part), "{part}: {made}");
        }
        let checked = bench.run(&["doctor"]);
        assert!(checked.code == 0 && checked.out.contains("rdb_last_bgsave_status"), "{checked:?}");
        // Where writes are not refused for it, INFO tells all the same.
        source.run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        let made = backed_up(&bench);
        assert!(text(&made["message"]).contains("rdb_last_bgsave_status"), "{made}");
    }
}

/// A source that goes on after its mark, as Redis 7.0.0 to 7.0.5 do, gives a set at once.
#[test]
fn a_source_that_goes_on_after_its_mark() {
    for behind in [&b"\n"[..], b"*1\r\n$4\r\nPING\r\n"] {
        let source = FakeSource::start(
            |_| None,
            move |tcp| {
                marked(tcp)?;
                tcp.write_all(&[RDB, MARK, behind].concat())?;
                loop {
                    std::thread::sleep(Duration::from_millis(200));
                    tcp.write_all(behind)?;
                }
            },
        );
        let bench = configured(&source, "");
        let made = backed_up(&bench);
        assert_eq!(made["status"], "succeeded", "{made}");
    }
}

/// A source that only lives, and one whose data is none, end the job, so that nobody joins one that runs for ever.
#[test]
fn a_source_that_never_sends_its_data() {
    for (first, seconds, code) in
        [("", 1, "capture.no_data"), ("REDIS", 1, "capture.no_data"), ("no RDB at all", 8, "capture.damaged")]
    {
        let source = FakeSource::start(
            |_| None,
            move |tcp| {
                if !first.is_empty() {
                    marked(tcp)?;
                    tcp.write_all(first.as_bytes())?;
                }
                loop {
                    tcp.write_all(b"\n")?;
                    std::thread::sleep(Duration::from_millis(400));
                }
            },
        );
        let bench = configured(&source, &format!("no_data_seconds = {seconds}"));
        let begun = Instant::now();
        for _ in 0..2 {
            let made = backed_up(&bench);
            assert_eq!((&made["status"], &made["code"]), (&"failed".into(), &code.into()), "{first}: {made}");
            assert_eq!(made["joined"], false);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{first}: {:?}", begun.elapsed());
        assert!(bench.backups().is_empty() && bench.left_over().is_empty());
    }
    let source = FakeSource::start(|_| None, |_| Ok(()));
    let refused = configured(&source, "no_data_seconds = 0").run(&["describe-instances"]);
    assert!(
        refused.code == 2 && refused.err.contains("no_data_seconds is 0, and must be between 1 and 86400"),
        "{refused:?}"
    );
}

/// The stages that the only job of a bench had while `child` ran.
fn stage_with(bench: &Bench, part: &str) {
    wait(part, Duration::from_secs(15), || {
        bench.jobs().first().is_some_and(|job| job.to_string().contains(part)).then_some(())
    });
}

/// A script that ends, clients that leave: the backup waits for them, tells why, and is taken.
#[test]
fn what_passes_is_waited_for() {
    let source = Redis::start("redis-7.0", &["--busy-reply-threshold", "1"]);
    source.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&source);
    let create = ["create-backup", "--instance-id", "orders", "--json"];
    let script = std::thread::scope(|scope| {
        let script = scope.spawn(|| source.try_run(&["EVAL", "while true do end", "0"]));
        wait("the script to run", Duration::from_secs(15), || {
            source.try_run(&["PING"]).unwrap().text().starts_with("BUSY").then_some(())
        });
        let child = bench.spawn(&create);
        stage_with(&bench, "busy running a script");
        source.run(&["SCRIPT", "KILL"]);
        let made = finish(child);
        assert_eq!(made.json()["status"], "succeeded", "{made:?}");
        script.join().unwrap().unwrap()
    });
    assert!(matches!(script, Reply::Error(_)));

    let source = Redis::start("redis-7.0", &["--maxclients", "2"]);
    let bench = Bench::new(&unattended(&source, ""));
    let held = wait("two clients", Duration::from_secs(15), || {
        let two = [0, 1].map(|_| std::net::TcpStream::connect(("127.0.0.1", source.port)).unwrap());
        source.try_run(&["PING"]).map_or(true, |r| r.text().contains("max number")).then_some(two)
    });
    let child = bench.spawn(&create);
    stage_with(&bench, "as many clients as it takes");
    drop(held);
    let made = finish(child);
    assert_eq!(made.json()["status"], "succeeded", "{made:?}");
}

/// A source that hands out no data says so at once, with a code of its own.
#[test]
fn a_source_without_psync() {
    let source = Redis::start("redis-7.0", &["--rename-command", "PSYNC", ""]);
    let bench = Bench::unattended(&source);
    let begun = Instant::now();
    let made = backed_up(&bench);
    assert_eq!((&made["status"], &made["code"]), (&"failed".into(), &"instance.no_replication".into()), "{made}");
    assert!(begun.elapsed() < Duration::from_secs(10), "nothing is waited for");
}

/// A set that was taken while the clock was ahead is listed, unless a range is asked for that ends before it.
#[test]
fn a_set_of_a_clock_that_was_ahead_is_listed() {
    let source = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&source);
    bench.backup();
    let vault = Vault::new(bench.home().join("vault"));
    let origin = Origin::Import { file: "one_key.rdb".into(), sha256: "of the file".into() };
    let ahead = Timestamp::now().checked_add(72.hours()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let staged = vault.ingest("orders", "b-ahead", origin, RDB, |_, rest| rest.is_empty()).await.unwrap();
        staged.commit(Metadata { started_at: ahead, ..metadata() }).await.unwrap();
    });
    let listed = bench.backups();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0]["backup_id"], "b-ahead");
    let now = Timestamp::now().checked_add(1.hours()).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let asked = bench.json(&["describe-backups", "--instance-id", "orders", "--end-time", &now]);
    assert_eq!(asked["total"], 1, "{asked}");
}

/// A set that was taken while the clock was ahead is no fresh safety backup, whatever else speaks for it.
#[test]
fn a_set_of_a_clock_that_was_ahead_is_not_used_again() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    redis.run(&["SET", "a", "1"]);
    let (backup, _) = (bench.backup(), redis.run(&["SET", "a", "2"]));
    let fresh = bench.backup();
    let safety = || text(&bench.ask(&backup).json()["plan"]["safety_backup_id"]);
    assert_eq!(safety(), fresh, "nothing was written since");
    let path = bench.home().join("vault/orders").join(&fresh).join("manifest.json");
    let mut manifest = manifest(&bench, &fresh);
    manifest["started_at"] = Timestamp::now().checked_add(1.hours()).unwrap().to_string().into();
    write_over(&path, serde_json::to_vec(&manifest).unwrap());
    let another = safety();
    assert!(another != fresh && another != backup && !another.is_empty(), "{another}");
}
