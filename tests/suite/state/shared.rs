//! Two processes with homes of their own on one PostgreSQL and one vault are one service: what one plans the other confirms, and what one
//! leaves behind when it dies the other takes over.

use super::postgres::Line;
use crate::provider::cutover::{Proxy, Tap, switches};
use crate::support::postgres::{Database, url};
use crate::support::{Bench, Redis, Reply, finish, text, unattended, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn pair(redis: &Redis) -> (Database, [Bench; 2]) {
    pair_with(redis, "")
}

/// Two homes on one database, with one vault; `more` are further lines of the instance.
fn pair_with(redis: &Redis, more: &str) -> (Database, [Bench; 2]) {
    let database = Database::new();
    let config = format!("state = \"{}\"\n\n{}", database.url(), unattended(redis, more));
    let benches = [Bench::new(&config), Bench::new(&config)];
    let vault = benches[0].home().join("vault");
    for home in benches.each_ref().map(Bench::home) {
        std::fs::create_dir(home).unwrap();
    }
    std::fs::create_dir(&vault).unwrap();
    std::os::unix::fs::symlink(&vault, benches[1].home().join("vault")).unwrap();
    (database, benches)
}

#[test]
fn a_plan_of_one_is_confirmed_on_the_other_once() {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    let (_database, [one, two]) = pair_with(&redis, "restore_way = \"commands\"");
    redis.run(&["SET", "a", "1"]);
    // What is that large passes through a file, whose directory nothing else has made.
    redis.run(&["SETRANGE", "large", "2097152", "x"]);
    let backup = one.backup();
    redis.run(&["SET", "a", "2"]);
    assert_eq!(text(&two.backups()[0]["backup_id"]), backup);
    // Another machine would not find a clone in its own home.
    let clone = two.run(&["create-instance-from-backup", "--instance-id", "orders", "--backup-id", &backup]);
    assert!(clone.code == 2 && clone.err.contains("clone.shared_state"), "{clone:?}");
    let token = one.token(&backup);
    let done = two.run(&Bench::echo(&backup, &token));
    assert_eq!((done.code, redis.run(&["GET", "a"]).text().as_str()), (0, "1"), "{done:?}");
    for bench in [&one, &two] {
        let again = bench.run(&Bench::echo(&backup, &token));
        assert!(again.code == 3 && again.err.contains("confirm.used"), "{again:?}");
        let jobs = bench.jobs();
        assert_eq!(jobs.iter().filter(|job| job["kind"] == "restore").count(), 1, "{jobs:?}");
    }
    // Nothing of the state is on this machine.
    for bench in [&one, &two] {
        let there = ["state.db", "guard.key"].map(|name| bench.home().join(name).exists());
        assert_eq!(there, [false, false]);
    }
}

#[test]
fn a_job_of_a_process_that_died_is_taken_over() {
    let redis = Redis::start("redis-7.0", &[]);
    let (database, [one, two]) = pair(&redis);
    redis.holds_backups_for(3600);
    let mut dying = one.spawn(&["create-backup", "--instance-id", "orders", "--json"]);
    wait("the backup to run", Duration::from_secs(30), || {
        two.jobs().first().filter(|job| job["status"] == "running").map(drop)
    });
    dying.kill().unwrap();
    dying.wait().unwrap();
    let jobs = two.jobs();
    assert_eq!(jobs[0]["status"], "running", "until it was silent for long it may live: {jobs:?}");
    // As if it had been.
    database.run("UPDATE owners SET seen_at = seen_at - 3600000");
    wait("the job to be taken over", Duration::from_secs(40), || {
        (two.jobs()[0]["code"] == "job.interrupted").then_some(())
    });
    redis.lets_backups_go_on();
    let next = two.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert_eq!((next.code, &next.json()["status"]), (0, &"succeeded".into()), "{next:?}");
    assert_eq!(one.jobs().len(), 2);
}

/// A process that stood still for so long that another took its restore over writes no further once it goes on, not even what it has sent: the
/// next restore may have begun.
#[test]
fn a_restore_that_was_taken_over_is_stopped() {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    let (database, [one, two]) = pair_with(&redis, "restore_way = \"commands\"");
    let backup = populated(&redis, &one);
    let token = one.token(&backup);
    let late = one.spawn(&Bench::echo(&backup, &token));
    wait("keys to be written", Duration::from_secs(60), || (held(&redis) > 0).then_some(()));
    let process = Pid::from_child(&late);
    kill_process(process, Signal::STOP).unwrap();
    database.run("UPDATE owners SET seen_at = seen_at - 3600000");
    wait("the restore to be taken over", Duration::from_secs(40), || {
        (two.jobs()[0]["code"] == "job.interrupted").then_some(())
    });
    let written = held(&redis);
    assert!(written < KEYS, "all was written before the process stood still");
    kill_process(process, Signal::CONT).unwrap();
    let done = finish(late);
    assert!(done.code != 0 && done.json()["code"] == "job.interrupted", "{done:?}");
    assert_eq!(held(&redis), written, "{done:?}");
    let next = two.restore(&backup);
    assert_eq!((next.code, held(&redis)), (0, KEYS), "{next:?}");
}

/// A process that can write to its target and not to the state is taken for dead by the others: it stops before they may do that.
#[test]
fn a_restore_that_is_cut_off_from_the_state_alone_is_stopped() {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    let (database, [one, two]) = pair_with(&redis, "restore_way = \"commands\"");
    let line = Line::to(database.port());
    let backup = populated(&redis, &one);
    let token = one.token(&backup);
    let url = url(line.port, &database.name);
    one.configure(&format!("state = \"{url}\"\n\n{}", unattended(&redis, "restore_way = \"commands\"")));
    let late = one.spawn(&Bench::echo(&backup, &token));
    wait("keys to be written", Duration::from_secs(60), || (held(&redis) > 0).then_some(()));
    // Whoever writes waits for as long as this test takes.
    redis.run(&["CLIENT", "PAUSE", "120000", "WRITE"]);
    line.down();
    let writes = || redis.run(&["CLIENT", "LIST"]).text().contains("cmd=restore");
    assert!(writes());
    let cut = Instant::now();
    wait("the process to stop", Duration::from_secs(60), || (!writes()).then_some(()));
    assert!(cut.elapsed() < Duration::from_secs(20), "others had taken it for dead after {:?}", cut.elapsed());
    redis.run(&["CLIENT", "UNPAUSE"]);
    let written = held(&redis);
    assert!(written < KEYS);
    line.up();
    // It could not follow its job, and says how that ended once it can.
    let done = finish(late);
    assert_eq!((held(&redis), &two.jobs()[0]["code"]), (written, &"job.cut_off".into()), "{done:?}");
}

/// A state that goes away once the target refuses writes is waited for no longer than a moment: the target is taken off with its old data, long
/// before the process must take itself for dead.
#[test]
fn a_target_that_refuses_writes_does_not_wait_for_the_state() {
    let (redis, database) = (Redis::start("redis-7.0", &[]), Database::new());
    let line = Arc::new(Line::to(database.port()));
    let (armed, cut) = (Arc::new(AtomicBool::new(false)), Arc::clone(&line));
    let ready = Arc::clone(&armed);
    let tap: Tap = Arc::new(move |bytes| {
        if ready.load(Ordering::SeqCst) && switches(bytes) {
            cut.down();
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&format!("state = \"{}\"\n\n{}", url(line.port, &database.name), proxy.config()));
    redis.run(&["SET", "a", "1"]);
    let backup = bench.backup();
    redis.run(&["SET", "a", "2"]);
    let token = bench.token(&backup);
    armed.store(true, Ordering::SeqCst);
    let late = bench.spawn(&Bench::echo(&backup, &token));
    wait("the target to follow", Duration::from_secs(60), || (redis.info("role") == "slave").then_some(()));
    let refuses = Instant::now();
    wait("the target to be taken off", Duration::from_secs(60), || (redis.info("role") == "master").then_some(()));
    assert!(refuses.elapsed() < Duration::from_secs(10), "it refused writes for {:?}", refuses.elapsed());
    assert_eq!(redis.run(&["GET", "a"]).text(), "2");
    line.up();
    let done = finish(late);
    assert_eq!(bench.jobs()[0]["code"], "job.cut_off", "{done:?}");
}

const KEYS: i64 = 150_000;

/// A backup of that many keys, which are gone.
fn populated(redis: &Redis, bench: &Bench) -> String {
    redis.run(&["DEBUG", "POPULATE", &KEYS.to_string(), "k", "60"]);
    let backup = bench.backup();
    redis.run(&["FLUSHALL"]);
    backup
}

fn held(redis: &Redis) -> i64 {
    match redis.run(&["DBSIZE"]) {
        Reply::Int(keys) => keys,
        other => panic!("{other:?}"),
    }
}
