//! Restore in every way and from every version to every version: the data arrives equal, or the plan says why it cannot and
//! the target is as it was.

use crate::support::{
    Bench, Done, KINDS, MATRIX, Redis, Reply, finish, free_port, run_by_socket, text, unattended, wait,
};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// A check of a reply by its name.
fn check<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let checks = reply["prechecks"].as_array().unwrap_or_else(|| panic!("no prechecks: {reply}"));
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {reply}"))
}

/// The plan is blocked by this check, with these parts in its detail.
fn blocked(asked: &Done, name: &str, parts: &[&str]) {
    assert_eq!((asked.code, &asked.json()["status"]), (3, &"blocked".into()), "{asked:?}");
    let reply = asked.json();
    assert_eq!(check(&reply, name)["status"], "block", "{reply}");
    let detail = text(&check(&reply, name)["detail"]);
    for part in parts {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert!(reply["confirmation_token"].is_null(), "{reply}");
    println!("blocked by {name}: {detail}");
}

fn succeeded(done: &Done) -> Value {
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
    done.json()
}

/// A backup of `source` in a bench that then has `target` in its place, as after a machine was replaced.
fn moved(source: &Redis, target: &Redis, more: &str) -> (Bench, String) {
    let bench = Bench::unattended(source);
    let backup = bench.backup();
    bench.configure(&unattended(target, more));
    (bench, backup)
}

/// What must be the same on servers that write their values differently: types, expiries, and values by reading commands.
fn facts(redis: &Redis) -> Vec<String> {
    let mut facts = facts_of_any(redis, |db, key| redis.run_in(db, &["PEXPIRETIME", key]).text());
    facts.push(redis.run(&["FCALL", "fill_len", "1", "text:44"]).text());
    facts
}

/// The same for what Redis 6.2 has: no functions, and the time of an expiry is told as what is left of it.
fn facts_since_6_2(redis: &Redis) -> Vec<String> {
    let script = "local left, now = redis.call('PTTL', KEYS[1]), redis.call('TIME') \
                  return left < 0 and left or math.floor((left + now[1] * 1000 + now[2] / 1000) / 1000 + 0.5)";
    facts_of_any(redis, |db, key| redis.run_in(db, &["EVAL", script, "1", key]).text())
}

fn facts_of_any(redis: &Redis, expires: impl Fn(u64, &str) -> String) -> Vec<String> {
    let mut facts = redis.statistics();
    let read: [&[&str]; 14] = [
        &["GET", "int:9223372036854775807"],
        &["GET", "compressible:1000"],
        &["LRANGE", "list:numbers", "0", "-1"],
        &["LLEN", "list:plain"],
        &["SORT", "set:listpack", "ALPHA"],
        &["SMISMEMBER", "set:intset64", "99000000000000000", "1"],
        &["HGET", "hash:listpack", "field 7"],
        &["HLEN", "hash:hashtable"],
        &["ZRANGE", "zset:scores", "0", "-1", "WITHSCORES"],
        &["XLEN", "stream:groups"],
        &["XPENDING", "stream:groups", "workers"],
        &["PFCOUNT", "hll:dense"],
        &["BITCOUNT", "bitmap"],
        &["GEODIST", "geo", "Palermo", "Catania"],
    ];
    for db in [0, 1, 3, 15] {
        for command in read {
            facts.push(format!("db{db} {command:?} {:?}", redis.run_in(db, command)));
        }
        for key in ["expiring:string", "expiring:hash", "expiring:list", "int:0", "geo"] {
            let kind = redis.run_in(db, &["TYPE", key]).text();
            facts.push(format!("db{db} {key} {kind} {}", expires(db, key)));
        }
    }
    facts
}

/// Whether a server of one kind loads what another wrote. Each loads its own format and older ones of its own line; Redis 7.4 and
/// Valkey 9.0 each went ways of their own from RDB 11, the last that both have.
fn crosses(from: &str, to: &str) -> bool {
    match from {
        "redis-6.2" => true,
        "redis-7.0" => to != "redis-6.2",
        "valkey-8.1" => ["redis-8.0", "redis-8.2", "valkey-8.1", "valkey-9.1"].contains(&to),
        "redis-8.0" | "redis-8.2" => ["redis-8.0", "redis-8.2"].contains(&to),
        _ => from == to,
    }
}

/// Each version to each: equal, or blocked with the reason and the target as it was.
#[test]
fn every_version_to_every_version() {
    // They wait for their servers most of the time.
    std::thread::scope(|scope| {
        for from in MATRIX {
            scope.spawn(move || to_every_version(from));
        }
    });
}

fn to_every_version(from: &str) {
    let version = |kind: &str| kind.split('-').next_back().unwrap().to_owned();
    let source = Redis::start(from, &[]);
    source.fill(5, 1);
    let bench = Bench::unattended(&source);
    let backup = bench.backup();
    for to in MATRIX {
        let target = Redis::start(to, &[]);
        target.run(&["SET", "old", "data"]);
        let old = target.digest();
        bench.configure(&unattended(&target, ""));
        let asked = bench.ask(&backup);
        if !crosses(from, to) {
            blocked(&asked, "engine_compatible", &["RDB version", &version(to)]);
            assert_eq!((target.digest(), target.info("role")), (old, "master".into()));
            continue;
        }
        assert_eq!(asked.code, 0, "{from} to {to}: {asked:?}");
        let token = text(&asked.json()["confirmation_token"]);
        let reply = succeeded(&bench.run(&Bench::echo(&backup, &token)));
        let facts = if from == "redis-6.2" { facts_since_6_2 } else { facts };
        assert_eq!(facts(&target), facts(&source), "{from} to {to}");
        if from == to {
            assert_eq!(target.digest(), source.digest(), "{from} to {to}");
        }
        if from == to || KINDS.contains(&from) && KINDS.contains(&to) {
            // The way back is a set of what was there.
            let safety = text(&reply["plan"]["safety_backup_id"]);
            succeeded(&bench.restore(&safety));
            assert_eq!(target.digest(), old, "{from} to {to}: the way back");
        }
        println!("{from} to {to}: {}", reply["message"]);
    }
}

/// Certificates of an authority of our own for 127.0.0.1.
fn certificates(dir: &std::path::Path) {
    let script = r#"set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > ext
  openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.crt
done"#;
    let out = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("openssl must be on PATH");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Over TLS, with our authority and our certificate; without them the instance is unreachable and says why.
#[test]
fn over_tls() {
    let dir = tempfile::TempDir::new().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "yes", "--tls-cert-file", &file("server.crt")]
        .map(str::to_owned);
    let (key, ca) = (file("server.key"), file("ca.crt"));
    let args: Vec<&str> =
        tls.iter().map(String::as_str).chain(["--tls-key-file", &key, "--tls-ca-cert-file", &ca]).collect();
    let redis = Redis::start("redis-7.0", &args);
    redis.fill(0, 1);
    let intact = redis.digest();
    let config = |more: &str| {
        format!(
            "[guard]\nconfirmation = \"token\"\n[[instance]]\nid = \"orders\"\nurl = \"rediss://127.0.0.1:{port}\"\n{more}"
        )
    };
    let bench = Bench::new(&config(""));
    let failed = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert_eq!((failed.code, &failed.json()["code"]), (5, &"instance.tls".into()), "{failed:?}");
    let more = ["ca.crt", "client.crt", "client.key"].map(file);
    bench.configure(&config(&format!(
        "tls_ca_file = {:?}\ntls_cert_file = {:?}\ntls_key_file = {:?}\n",
        more[0], more[1], more[2]
    )));
    let backup = bench.backup();
    redis.run(&["FLUSHALL"]);
    // What comes by TLS goes back by TLS: a replica of ours would fetch it in clear.
    let plan = bench.ask(&backup);
    assert_eq!(plan.json()["plan"]["way"], "commands");
    assert!(
        ["in clear", "atomic: keys are written one by one into empty databases"]
            .iter()
            .all(|told| plan.out.contains(told)),
        "{plan:?}"
    );
    succeeded(&bench.restore(&backup));
    assert_eq!(redis.digest(), intact);
    assert!(!redis.log().contains("MASTER <-> REPLICA"), "{}", redis.log());
    let settings = format!(
        "tls_ca_file = {:?}\ntls_cert_file = {:?}\ntls_key_file = {:?}\nallow_plain_replication = true\n",
        more[0], more[1], more[2]
    );
    bench.configure(&config(&settings));
    redis.run(&["FLUSHALL"]);
    let plan = bench.ask(&backup);
    assert_eq!(plan.json()["plan"]["way"], "replication");
    assert!(plan.out.contains("IN CLEAR"), "{plan:?}");
    succeeded(&bench.restore(&backup));
    assert_eq!(redis.digest(), intact);
    assert!(redis.log().contains("MASTER <-> REPLICA"), "{}", redis.log());
}

/// Through a socket file, for capture and for restore.
#[test]
fn through_a_socket_file() {
    let redis = Redis::start("valkey-8.1", &["--unixsocket", "{dir}/s"]);
    redis.fill(0, 1);
    let intact = redis.digest();
    let socket = redis.dir.path().join("s");
    let bench = Bench::new(&format!(
        "[guard]\nconfirmation = \"token\"\n[[instance]]\nid = \"orders\"\nurl = \"unix://{}\"\n",
        socket.display()
    ));
    let backup = bench.backup();
    assert_eq!(run_by_socket(&socket, &["FLUSHALL"]).unwrap(), Reply::Text("OK".into()));
    succeeded(&bench.restore(&backup));
    assert_eq!(redis.digest(), intact);
    assert_eq!(redis.info("role"), "master");
}

/// With a password, from a file; and a user who may do no more than capture can do that, and learns what a restore needs.
#[test]
fn with_a_password_and_with_the_least_rights() {
    let redis = Redis::start("redis-8.0", &["--requirepass", "s3cret word"]);
    redis.fill(0, 1);
    let intact = redis.digest();
    redis.run(&["ACL", "SETUSER", "bk", "on", ">pw", "+psync", "+replconf", "+ping"]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let config = |more: &str| {
        format!("[guard]\nconfirmation = \"token\"\n[[instance]]\nid = \"orders\"\nurl = \"{url}\"\n{more}\n")
    };
    let bench = Bench::new(&config("username = \"bk\"\npassword = \"pw\""));
    let backup = bench.backup();
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "marker", "1"]);
    let before = redis.digest();
    let asked = bench.ask(&backup);
    assert_eq!((asked.code, &asked.json()["code"]), (5, &"instance.denied".into()), "{asked:?}");
    assert!(text(&asked.json()["hint"]).contains("+info"), "{asked:?}");
    assert_eq!(redis.digest(), before);
    bench.configure(&config("password = \"wrong\""));
    assert_eq!(bench.ask(&backup).json()["code"], "instance.auth");
    std::fs::write(bench.dir.path().join("pw"), "s3cret word\n").unwrap();
    bench.configure(&config("password_file = \"pw\""));
    let done = bench.restore(&backup);
    succeeded(&done);
    assert_eq!(redis.digest(), intact);
    // No password of any kind is on the vault, in the state store or in what was said.
    let spoken =
        format!("{done:?} {:?} {:?}", bench.run(&["audit", "--json"]), bench.run(&["describe-jobs", "--json"]));
    assert!(!spoken.contains("s3cret"));
    for entry in std::fs::read_dir(bench.home()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "{}", path.display());
    }
}

/// A target whose limit is too small for the set is not asked to take it.
#[test]
fn a_target_without_room_is_blocked() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(20, 1);
    let target = Redis::start("redis-7.0", &["--maxmemory", "10mb"]);
    target.run(&["SET", "old", "data"]);
    let old = target.digest();
    let (bench, backup) = moved(&source, &target, "");
    blocked(&bench.ask(&backup), "room_for_data", &["maxmemory is 10.0 MiB"]);
    assert_eq!(target.digest(), old);
}

/// A replica is not restored; its master is named.
#[test]
fn a_replica_is_blocked_and_its_master_named() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(0, 1);
    let replica = Redis::start("redis-7.0", &[]);
    let (bench, backup) = moved(&source, &replica, "");
    replica.run(&["REPLICAOF", "127.0.0.1", &source.port.to_string()]);
    wait("the link", Duration::from_secs(30), || (replica.info("master_link_status") == "up").then_some(()));
    blocked(&bench.ask(&backup), "instance_ready", &[&format!("replica of 127.0.0.1:{}", source.port)]);
    assert_eq!((replica.info("role"), replica.digest()), ("slave".into(), source.digest()));
}

/// A set that uses a database which the target does not have.
#[test]
fn too_few_databases_are_blocked() {
    let source = Redis::start("redis-7.0", &[]);
    source.run(&["SET", "a", "1"]);
    source.run_in(3, &["SET", "b", "1"]);
    let target = Redis::start("redis-7.0", &["--databases", "1"]);
    target.run(&["SET", "old", "data"]);
    let old = target.digest();
    for way in ["", "restore_way = \"commands\""] {
        let (bench, backup) = moved(&source, &target, way);
        blocked(&bench.ask(&backup), "engine_compatible", &["database 3"]);
        assert_eq!(target.digest(), old);
    }
}

/// A node of a cluster is filled by commands, the plan says that this is not atomic, and keys of other nodes' slots block it.
#[test]
fn a_cluster_node_by_commands() {
    let source = Redis::start("redis-7.0", &["--databases", "1"]);
    source.fill(5, 1);
    for kind in KINDS {
        let node = Redis::start(kind, &["--cluster-enabled", "yes"]);
        node.run(&["CLUSTER", "ADDSLOTSRANGE", "0", "8000"]);
        let (bench, backup) = moved(&source, &node, "");
        blocked(&bench.ask(&backup), "engine_compatible", &["keys of the set belong to slots"]);
        node.run(&["CLUSTER", "ADDSLOTSRANGE", "8001", "16383"]);
        wait("the cluster", Duration::from_secs(30), || {
            matches!(node.try_run(&["SET", "old", "data"]).ok()?, Reply::Text(_)).then_some(())
        });
        let asked = bench.ask(&backup);
        let plan = asked.json();
        assert_eq!((asked.code, &plan["plan"]["way"]), (0, &"commands".into()), "{asked:?}");
        assert!(text(&plan["plan"]["way_meaning"]).starts_with("NOT atomic"), "{plan}");
        assert_eq!(check(&plan, "restore_way")["status"], "warn", "{plan}");
        let token = text(&plan["confirmation_token"]);
        succeeded(&bench.run(&Bench::echo(&backup, &token)));
        assert_eq!(node.statistics(), source.statistics(), "{kind}");
        if kind == "redis-7.0" {
            assert_eq!(node.digest(), source.digest());
        }
    }
}

/// By commands each version takes back all that it has, fields that expire and its own encodings among them.
#[test]
fn by_commands_on_every_version() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || {
                let (source, target) = (Redis::start(kind, &[]), Redis::start(kind, &[]));
                source.fill(0, 1);
                target.run(&["SET", "old", "data"]);
                let (bench, backup) = moved(&source, &target, "restore_way = \"commands\"");
                let reply = succeeded(&bench.restore(&backup));
                assert_eq!(reply["plan"]["way"], "commands", "{kind}");
                let facts = if kind == "redis-6.2" { facts_since_6_2 } else { facts };
                assert_eq!(facts(&target), facts(&source), "{kind}");
                assert_eq!(target.digest(), source.digest(), "{kind}");
            });
        }
    });
}

/// By configuration any target is filled by commands, beside its old data where it has empty databases: a failure half way leaves
/// that as it was. With too few databases it is emptied first, and the failure says that a part is there, and the way back.
#[test]
fn by_commands_when_configured() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(30, 1);
    for beside in [true, false] {
        by_commands(&source, beside);
    }
}

fn by_commands(source: &Redis, beside: bool) {
    let target = Redis::start("valkey-8.1", &[]);
    if !beside {
        for db in 4..15 {
            target.run_in(db, &["SET", "in the way", "1"]);
        }
    }
    target.run(&["SET", "old", "data"]);
    let old = target.digest();
    let (bench, backup) = moved(source, &target, "restore_way = \"commands\"");
    let asked = bench.ask(&backup).json();
    let atomic = text(&asked["plan"]["way_meaning"]).starts_with("atomic");
    assert_eq!((&asked["plan"]["way"], atomic), (&"commands".into(), beside), "{asked}");
    if !beside {
        assert!(text(&check(&asked, "restore_way")["detail"]).contains("too few empty databases"), "{asked}");
    }
    let reply = succeeded(&bench.restore(&backup));
    assert_eq!(facts(&target), facts(source));
    let safety = text(&reply["plan"]["safety_backup_id"]);
    succeeded(&bench.restore(&safety));
    assert_eq!(target.digest(), old);
    let token = bench.token(&backup);
    let child = bench.spawn(&Bench::echo(&backup, &token));
    wait("some keys to be written", Duration::from_secs(60), || {
        // The first database that is empty, in the set and in the target; it has a mark before it has keys.
        let keys = target.run_in(if beside { 2 } else { 0 }, &["DBSIZE"]);
        let begun = if beside { matches!(keys, Reply::Int(n) if n > 1) } else { keys != Reply::Int(1) };
        begun.then(|| target.run(&["CLIENT", "KILL", "TYPE", "normal"]))
    });
    let done = finish(child);
    let reply = done.json();
    println!("{reply}");
    let code = if beside { "restore.not_cut_over" } else { "restore.partial" };
    assert_eq!((done.code, &reply["status"], &reply["code"]), (5, &"failed".into(), &code.into()), "{done:?}");
    if beside {
        assert!(text(&reply["message"]).contains("still has its old data"), "{reply}");
        assert_eq!((target.digest(), target.statistics()), (old, vec!["db0:keys=1,expires=0".to_owned()]));
        return;
    }
    assert!(
        text(&reply["message"]).contains("only a part") && text(&reply["hint"]).contains("safety backup"),
        "{reply}"
    );
    succeeded(&bench.restore(&text(&reply["plan"]["safety_backup_id"])));
    assert_eq!(target.digest(), old);
}

/// A target that cannot reach us is left as it was, and the job says so.
#[test]
fn a_target_that_cannot_reach_us_is_untouched() {
    let target = Redis::start("redis-7.0", &["--masterauth", "own", "--replica-read-only", "no"]);
    target.fill(0, 1);
    let bench = Bench::new(&unattended(&target, &format!("announce = \"nowhere.invalid:{}\"", free_port())));
    let backup = bench.backup();
    target.run(&["SET", "marker", "1"]);
    let before = target.digest();
    let done = bench.restore(&backup);
    println!("{}", done.out);
    assert_eq!((done.code, &done.json()["status"]), (5, &"failed".into()), "{done:?}");
    assert!(text(&done.json()["hint"]).contains("safety backup"), "{done:?}");
    assert_eq!(target.digest(), before);
    let now = ["masterauth", "masteruser", "repl-diskless-load", "replica-read-only"].map(|s| target.setting(s));
    assert_eq!(now, ["own", "", "disabled", "no"].map(str::to_owned));
    assert_eq!(target.info("role"), "master");
}

/// What a succeeded restore put in is on the target's disk: killed at that moment, the target comes back with it, whether it keeps
/// an append-only file or saves.
#[test]
fn a_restored_target_may_crash_at_once() {
    // Written before it is acknowledged: under everysec a write waits for a sync that runs, and a kill loses it.
    let append_only = ["--appendonly", "yes", "--appendfsync", "always"];
    let saves = ["--save", "3600 1"];
    for (kind, args, where_it_is) in KINDS.into_iter().flat_map(|kind| {
        [(kind, &append_only[..], "on its disk, in the append-only file"), (kind, &saves[..], "on its disk, saved")]
    }) {
        let mut target = Redis::start(kind, args);
        target.fill(2, 1);
        let bench = Bench::unattended(&target);
        let intact = target.digest();
        let backup = bench.backup();
        target.run(&["FLUSHALL"]);
        target.run(&["SET", "marker", "1"]);
        if args == saves {
            // The capture's own child may still be there.
            wait("the target to save", Duration::from_secs(30), || {
                (target.try_run(&["SAVE"]).unwrap() == Reply::Text("OK".into())).then_some(())
            });
        }
        let reply = succeeded(&bench.restore(&backup));
        target.restart();
        assert_eq!(target.digest(), intact, "{kind} {args:?}");
        assert!(text(&reply["message"]).ends_with(where_it_is), "{kind} {args:?}: {reply}");
        assert_eq!(target.setting("appendonly"), if args == saves { "no" } else { "yes" });
        // Both moments are kept, in their order.
        let job =
            bench.run(&["describe-jobs", "--job-id", &text(&reply["job_id"]), "--json"]).json()["jobs"][0].clone();
        assert!(text(&job["started_at"]) <= text(&job["serving_at"]), "{job}");
        assert!(text(&job["serving_at"]) <= text(&job["finished_at"]), "{job}");
    }
}

/// A save that runs when the restored data goes into service began before that: it is waited for, and another one is made. Whatever the
/// first wrote, a crash right after the end comes back with the restored data.
#[test]
fn a_save_that_runs_at_the_promotion_is_not_the_one() {
    for way in ["", "restore_way = \"commands\""] {
        let mut target = Redis::start("redis-7.0", &["--save", "3600 100000"]);
        target.run(&["DEBUG", "POPULATE", "2000", "k", "100"]);
        let bench = Bench::new(&unattended(&target, way));
        let (intact, backup) = (target.digest(), bench.backup());
        target.run(&["SET", "marker", "1"]);
        let token = bench.token(&backup);
        wait("no save", Duration::from_secs(30), || (target.info("rdb_bgsave_in_progress") == "0").then_some(()));
        // Its child takes some four seconds, and no later one does.
        target.run(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]);
        let saves: u64 = target.info("rdb_saves").parse().unwrap();
        target.run(&["BGSAVE"]);
        target.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        let reply = succeeded(&bench.run(&Bench::echo(&backup, &token)));
        if !way.is_empty() {
            // By replication a server ends its save when it loads.
            assert_eq!(target.info("rdb_saves").parse::<u64>().unwrap(), saves + 2, "{reply}");
        }
        target.restart();
        assert_eq!(target.digest(), intact, "{way}: {reply}");
    }
}

/// A target that keeps nothing on disk is not made to, and the reply says where the data is.
#[test]
fn a_target_without_a_disk_says_so() {
    let target = Redis::start("redis-7.0", &[]);
    target.fill(0, 1);
    let bench = Bench::unattended(&target);
    let backup = bench.backup();
    let reply = succeeded(&bench.restore(&backup));
    assert!(text(&reply["message"]).ends_with("in memory only, for the instance keeps nothing on disk"), "{reply}");
    assert!(!target.dir.path().join("dump.rdb").exists());
}

/// A target that serves the restored data and cannot save it is no success: a crash would bring back the data from before.
#[test]
fn a_target_that_cannot_save_is_no_success() {
    for way in ["", "restore_way = \"commands\""] {
        let target = Redis::start("redis-7.0", &["--save", "3600 1", "--enable-protected-configs", "yes"]);
        target.fill(0, 1);
        let bench = Bench::new(&unattended(&target, way));
        let (backup, intact) = (bench.backup(), target.digest());
        target.run(&["SET", "marker", "1"]);
        let gone = target.dir.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        target.run(&["CONFIG", "SET", "dir", gone.to_str().unwrap()]);
        std::fs::remove_dir(&gone).unwrap();
        let done = bench.restore(&backup);
        let reply = done.json();
        assert_eq!((&reply["status"], &reply["code"]), (&"failed".into(), &"restore.not_on_disk".into()), "{done:?}");
        assert!(text(&reply["hint"]).contains("BGSAVE") && text(&reply["hint"]).contains("safety backup"), "{reply}");
        assert_eq!(target.digest(), intact, "{reply}");

        // Of some keys it says no more than that.
        target.run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        let call =
            ["restore-instance", "--instance-id", "orders", "--backup-id", &backup, "--filter-key", "marker", "--json"];
        let token = text(&bench.run(&call).json()["confirmation_token"]);
        let reply = bench.run(&[&call[..], &["--confirmation-token", &token]].concat()).json();
        assert_eq!(reply["code"], "restore.not_on_disk", "{reply}");
        assert!(text(&reply["message"]).starts_with("the target took the keys that match, but that is not"), "{reply}");
    }
}

/// Somebody writes: the plan tells of it with the measured rate, and is blocked only where the operator says so.
#[test]
fn write_traffic_is_told_with_its_figure() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                redis.run(&["INCR", "counter"]);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let asked = bench.ask(&backup);
        let strict = unattended(&redis, "").replace("[guard]\n", "[guard]\nmax_writes_per_second = 0\n");
        bench.configure(&strict);
        let refused = bench.ask(&backup);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        blocked(&refused, "write_traffic", &["writes per second over 1.0 s", "0 allowed"]);
        let hint = text(&refused.json()["hint"]);
        let file = bench.dir.path().join("config.toml").display().to_string();
        assert!(hint.contains(&format!("max_writes_per_second = 0 of [guard] in {file}")), "{hint}");
        assert_eq!(asked.code, 0, "{asked:?}");
        assert_eq!(check(&asked.json(), "write_traffic")["status"], "warn", "{asked:?}");
        let detail = text(&check(&asked.json(), "write_traffic")["detail"]);
        let rate: f64 = detail.split(' ').next().unwrap().parse().unwrap();
        assert!((5.0..60.0).contains(&rate), "{detail}");
    });
}

/// What would stop a restore by commands half way stops its plan: by then the target would be empty.
#[test]
fn what_commands_cannot_carry_is_blocked() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", &"k".repeat(17 << 20), "v"]);
    let bench = Bench::new(&unattended(&redis, "restore_way = \"commands\""));
    let backup = bench.backup();
    let before = redis.digest();
    blocked(&bench.ask(&backup), "engine_compatible", &["a key", "16777216"]);
    assert_eq!(redis.digest(), before);
}

/// A target that is full of what is about to be deleted can be restored by commands.
#[test]
fn a_full_target_takes_commands() {
    let redis = Redis::start("redis-7.0", &["--maxmemory-policy", "noeviction"]);
    redis.run(&["SET", "good", "1"]);
    let bench = Bench::new(&unattended(&redis, "restore_way = \"commands\""));
    let (backup, good) = (bench.backup(), redis.digest());
    for n in 0..40 {
        redis.run(&["SET", &format!("bulk:{n}"), &"x".repeat(1 << 20)]);
    }
    redis.run(&["CONFIG", "SET", "maxmemory", "30mb"]);
    assert!(matches!(redis.try_run(&["SET", "more", "1"]).unwrap(), Reply::Error(e) if e.starts_with("OOM")));
    succeeded(&bench.restore(&backup));
    assert_eq!(redis.digest(), good);
}

/// Valkey 9.1 brings its scripting engine as a module, `lua`; that has no data, and is no reason to restore in another way than as a
/// whole.
#[test]
fn a_module_without_data_leaves_the_restore_whole() {
    let redis = Redis::start("valkey-9.1", &[]);
    let loaded = format!("{:?}", redis.run(&["MODULE", "LIST"]));
    assert!(loaded.contains("lua"), "this server has no such module: {loaded}");
    redis.fill(20, 5);
    let bench = Bench::unattended(&redis);
    let (backup, good) = (bench.backup(), redis.digest());
    redis.run(&["FLUSHALL"]);
    let plan = bench.ask(&backup);
    assert_eq!(plan.json()["plan"]["way"], "replication", "{plan:?}");
    succeeded(&bench.restore(&backup));
    assert_eq!(redis.digest(), good);
}
