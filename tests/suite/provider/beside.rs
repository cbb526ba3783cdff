//! Restores by commands beside the old data, as a job: which targets get one, what a crash leaves, and what the next start says.

use crate::support::{Bench, Redis, Reply, finish, text, unattended, wait};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const COMMANDS: &str = "restore_way = \"commands\"";

fn check(reply: &Value, name: &str) -> String {
    let found = reply["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == name);
    text(&found.unwrap_or_else(|| panic!("no {name}: {reply}"))["detail"])
}

/// A target with other data than its backup, which has some megabytes in several databases.
fn written_since(args: &[&str], more: &str) -> (Redis, Bench, String) {
    let redis = Redis::start("redis-7.0", args);
    redis.run(&["DEBUG", "POPULATE", "40000", "k", "500"]);
    redis.run_in(3, &["SET", "three", "3"]);
    let bench = Bench::new(&unattended(&redis, more));
    let backup = bench.backup();
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "new", "1"]);
    redis.run_in(5, &["SET", "five", "5"]);
    (redis, bench, backup)
}

/// Our process dies while it loads, and while it has only begun: the next one removes what was loaded, and nothing else.
#[test]
fn a_crash_while_loading_leaves_the_old_data() {
    let (redis, bench, backup) = written_since(&[], COMMANDS);
    let (old, counts) = (redis.digest(), redis.statistics());
    for at_least in [1, 2, 2000] {
        let token = bench.token(&backup);
        let mut child = bench.spawn(&Bench::echo(&backup, &token));
        wait("keys beside", Duration::from_secs(60), || {
            matches!(redis.run_in(1, &["DBSIZE"]), Reply::Int(n) if n >= at_least).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let jobs = bench.jobs();
        let job = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
        assert_eq!((&job["status"], &job["code"]), (&"failed".into(), &"job.interrupted".into()), "{job}");
        assert!(text(&job["message"]).contains("holds its old data (2 keys)"), "{job}");
        wait("the databases to be empty", Duration::from_secs(10), || (redis.statistics() == counts).then_some(()));
        assert_eq!(redis.digest(), old);
    }
    let done = bench.restore(&backup);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(redis.statistics(), ["db0:keys=40000,expires=0", "db3:keys=1,expires=0"]);
}

/// A target that Sentinel watches is not made a replica where it can be restored beside its old data.
#[test]
fn a_watched_target_stays_a_master() {
    let (redis, bench, backup) = written_since(&[], "");
    let mut sentinel = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
    sentinel.write_all(b"SUBSCRIBE __sentinel__:hello\r\n").unwrap();
    assert!(sentinel.read(&mut [0; 64]).unwrap() > 0);
    let asked = bench.ask(&backup).json();
    assert_eq!(asked["plan"]["way"], "commands", "{asked}");
    assert!(check(&asked, "restore_way").contains("Sentinel watches it"), "{asked}");
    assert!(text(&asked["plan"]["way_meaning"]).starts_with("atomic"), "{asked}");
    let ready = check(&asked, "instance_ready");
    assert!(!ready.contains("as our replica") && !ready.contains("copy everything"), "it stays a master: {ready}");
    let replid = redis.info("master_replid");
    let done = bench.run(&Bench::echo(&backup, &text(&asked["confirmation_token"])));
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!((redis.statistics().len(), redis.info("master_replid")), (2, replid));
}

/// Where the old data and the new do not fit together, or a right lacks, the target is emptied first, and the plan says why.
#[test]
fn why_a_target_is_emptied_first() {
    let (redis, bench, backup) = written_since(&[], COMMANDS);
    let in_place = |part: &str| {
        let asked = bench.ask(&backup);
        let detail = check(&asked.json(), "restore_way");
        assert!(asked.code == 0 && detail.contains("NOT atomic") && detail.contains(part), "{part}: {asked:?}");
    };
    redis.run(&["DEBUG", "POPULATE", "40000", "live", "500"]);
    let used: u64 = redis.info("used_memory").parse().unwrap();
    for policy in ["allkeys-lru", "noeviction"] {
        redis.run(&["CONFIG", "SET", "maxmemory-policy", policy]);
        redis.run(&["CONFIG", "SET", "maxmemory", &(used + used / 2).to_string()]);
        in_place("does not fit beside the old data");
    }
    assert_eq!((redis.info("evicted_keys"), redis.run(&["DBSIZE"])), ("0".into(), Reply::Int(40_001)));
    redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    redis.run(&["ACL", "SETUSER", "default", "-swapdb"]);
    in_place("needs +swapdb");
    redis.run(&["ACL", "SETUSER", "default", "+@all"]);
    let asked = bench.ask(&backup).json();
    assert!(
        check(&asked, "restore_way").contains("atomic: keys are written one by one into empty databases"),
        "{asked}"
    );
}

/// A plan that was made for loading beside does not fall back to emptying the target: the yes was to something else.
#[test]
fn a_yes_to_loading_beside_is_none_to_emptying() {
    let (redis, bench, backup) = written_since(&["--databases", "8"], COMMANDS);
    let asked = bench.ask(&backup).json();
    let token = text(&asked["confirmation_token"]);
    assert!(text(&asked["plan"]["way_meaning"]).starts_with("atomic"), "{asked}");
    redis.run(&["ACL", "SETUSER", "default", "-swapdb"]);
    let (before, counts) = (redis.digest(), redis.statistics());
    let void = finish(bench.spawn(&Bench::echo(&backup, &token)));
    assert_eq!((void.code, &void.json()["code"]), (3, &"plan.changed".into()), "{void:?}");
    assert!(text(&void.json()["message"]).contains("is commands, in place"), "{void:?}");
    assert_eq!((redis.digest(), redis.statistics()), (before, counts));
}
