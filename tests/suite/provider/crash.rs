//! Whatever dies in the middle, our process, the source or the target: no half set ever lists, no job is left unaccounted
//! for, the target holds all of the old data or all of the new with its own settings, and the next start says which.

use crate::state::places::text_at;
use crate::support::{Bench, Dice, Redis, finish, text, unattended, wait};
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};
use tair_backup_mcp::guard::grant::Orphaned;
use tair_backup_mcp::model::job::{Job, JobKind, JobStatus, RecoveryKind, StoredRecovery};
use tair_backup_mcp::state::jobs::{Begun, JobStore as _, NewJob};
use tair_backup_mcp::state::sqlite::Sqlite;

const POINTS: u32 = 12;
/// How much earlier to aim after a kill that came when the work was done.
const TOO_LATE: f64 = 0.85;
const SETTINGS: [(&str, &str); 4] = [
    ("masterauth", "old-secret"),
    ("masteruser", "olduser"),
    ("repl-diskless-load", "disabled"),
    ("replica-read-only", "no"),
];

/// Starts a target with so much data, whose settings are all other than the default.
fn target(megabytes: u32, seed: u32) -> Redis {
    let target = Redis::start(
        "redis-7.0",
        &[
            "--masterauth",
            "old-secret",
            "--masteruser",
            "olduser",
            "--repl-diskless-load",
            "disabled",
            "--replica-read-only",
            "no",
        ],
    );
    target.fill(megabytes, seed);
    target
}

fn assert_as_before(redis: &Redis, when: &str) {
    assert_eq!(redis.info("role"), "master", "{when}");
    assert_eq!(redis.info("loading"), "0", "{when}");
    for (name, value) in SETTINGS {
        assert_eq!(redis.setting(name), value, "{when}: {name}");
    }
    redis.run(&["SET", "probe", "writable"]);
    redis.run(&["DEL", "probe"]);
}

fn job<'a>(jobs: &'a [Value], id: &str) -> &'a Value {
    jobs.iter().find(|j| j["job_id"] == id).unwrap_or_else(|| panic!("no job {id} in {jobs:?}"))
}

/// Nothing half done is to be seen: jobs are over, sets are whole, what was staged is gone.
fn assert_reconciled(bench: &Bench, when: &str) -> Vec<Value> {
    let jobs = bench.jobs();
    for job in &jobs {
        assert_ne!(job["status"], "running", "{when}: {job}");
        if job["status"] == "failed" {
            assert!(job["code"].is_string() && job["message"].is_string() && job["hint"].is_string(), "{when}: {job}");
        }
    }
    let succeeded: Vec<&Value> = jobs.iter().filter(|j| j["kind"] == "backup" && j["status"] == "succeeded").collect();
    let sets = bench.backups();
    for set in &sets {
        assert_eq!(set["status"], "deep", "{when}: {set}");
        assert!(succeeded.iter().any(|j| j["backup_id"] == set["backup_id"]), "{when}: {set} belongs to no job");
    }
    let audit = bench.run(&["audit", "--json", "--limit", "1000"]).out;
    // Plans leave at most five safety backups an hour.
    let replaced = audit.matches("\"event\":\"backup.replaced\"").count();
    assert_eq!(sets.len(), succeeded.len() - replaced, "{when}: a backup that succeeded does not list");
    assert!(bench.left_over().is_empty(), "{when}: {:?}", bench.left_over());
    jobs
}

/// Our process killed at random points of a capture leaves a whole set or none, and the next process says so.
#[test]
fn killed_during_capture() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(50, 1);
    let bench = Bench::unattended(&source);
    let begun = Instant::now();
    bench.backup();
    let whole = begun.elapsed();
    let mut dice = Dice::new("killed_during_capture");
    let (mut interrupted, mut aim) = (0, 1.0);
    for delay in dice.spread(whole, POINTS) {
        let delay = delay.mul_f64(aim);
        let mut child = bench.spawn(&["create-backup", "--instance-id", "orders"]);
        // Not a guess: the moment is what the test is about.
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let when = format!("killed after {delay:?} of {whole:?}");
        let jobs = assert_reconciled(&bench, &when);
        let last = &jobs[0];
        if last["code"] == "job.interrupted" {
            interrupted += 1;
            assert!(text(&last["message"]).contains("nothing of it is kept"), "{when}: {last}");
        } else {
            // Too late, or the machine is faster than when it was measured: aim earlier.
            aim *= TOO_LATE;
        }
    }
    println!("{interrupted} of {POINTS} points met a capture under way");
    assert!(interrupted >= POINTS / 3, "the points did not meet the capture");
    bench.backup();
    assert_reconciled(&bench, "at the end");
}

/// Our process killed at random points of a restore leaves the target with the old data or the new, whole, serving, on its
/// own settings; and the next process says which, and the way back.
#[test]
fn killed_during_restore() {
    // Enough for the load to be met, and for twenty restores in a row not too much.
    let target = target(12, 2);
    let bench = Bench::unattended(&target);
    let new = target.digest();
    let backup = bench.backup();
    target.run(&["SET", "marker", "written since"]);
    let old = target.digest();
    // Measured more than once, for the first time may be slow and then the points would come too late.
    let (mut whole, mut following) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        target.run(&["SET", "marker", "written since"]);
        let token = bench.token(&backup);
        let begun = Instant::now();
        let child = bench.spawn(&Bench::echo(&backup, &token));
        until_it_follows_us(&target);
        let before = begun.elapsed();
        let done = finish(child);
        whole = whole.min(begun.elapsed());
        following = following.min(begun.elapsed().saturating_sub(before));
        assert_eq!((done.code, target.digest()), (0, new.clone()), "{done:?}");
    }
    let mut dice = Dice::new("killed_during_restore");
    let (mut met, mut replaced, mut aim) = (0, 0, 1.0);
    // Jobs of restores so far: the three above.
    let mut begun = 3;
    // Most of the time goes into verifying; half of the points are within what comes after that.
    let late = dice.spread(following, POINTS).into_iter().map(|d| (true, d));
    let any = dice.spread(whole, POINTS / 2).into_iter().map(|d| (false, d));
    let points: Vec<(bool, Duration)> = late.chain(any).collect();
    for (once_following, delay) in &points {
        target.run(&["SET", "marker", "written since"]);
        assert_eq!(target.digest(), old);
        let token = bench.token(&backup);
        let mut child = bench.spawn(&Bench::echo(&backup, &token));
        if *once_following {
            until_it_follows_us(&target);
        }
        let delay = delay.mul_f64(aim);
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let since = if *once_following { "it followed us" } else { "the start" };
        let when = format!("killed {delay:?} after {since} (of {following:?}, {whole:?})");
        let jobs = assert_reconciled(&bench, &when);
        assert_as_before(&target, &when);
        let now = target.digest();
        assert!(now == old || now == new, "{when}: the target holds neither the old data nor the new");
        let restores: Vec<&Value> = jobs.iter().filter(|j| j["kind"] == "restore").collect();
        let (Some(last), true) = (restores.first(), restores.len() > begun) else {
            println!("{when}: no job had begun");
            assert_eq!(now, old, "{when}");
            continue;
        };
        begun = restores.len();
        let message = last["message"].as_str().unwrap_or_default();
        println!("{when}: {} {}", last["status"], message);
        if message.contains("died") {
            met += 1;
            let said = if message.contains("old data") || message.contains("as it was") { &old } else { &new };
            assert_eq!(&now, said, "{when}: {last}");
        } else {
            aim *= TOO_LATE;
        }
        if message.contains("during this restore") {
            let explained = format!("{message} {}", last["hint"].as_str().unwrap_or_default());
            let (_, way_back) = explained.split_once("backup_id ").unwrap_or_else(|| panic!("{when}: {last}"));
            let id = way_back.trim().trim_end_matches('.');
            assert!(bench.backups().iter().any(|b| b["backup_id"] == id), "{when}: {id} does not list");
        }
        replaced += u32::from(now == new);
    }
    println!("{met} of {} points met a restore under way; {replaced} left the new data", points.len());
    assert!(met >= POINTS / 3, "the points did not meet the restore");
    target.run(&["SET", "marker", "written since"]);
    let done = bench.restore(&backup);
    assert_eq!((done.code, target.digest()), (0, new), "{done:?}");
}

/// A source that dies at any point of a capture: the job fails with a code, and nothing lists.
#[test]
fn source_killed_during_capture() {
    let mut source = Redis::start("redis-7.0", &["--rdbcompression", "no"]);
    source.fill(60, 3);
    source.run(&["SAVE"]);
    let bench = Bench::unattended(&source);
    let begun = Instant::now();
    bench.backup();
    let mut whole = begun.elapsed();
    let (mut failed, mut dice) = (0, Dice::new("source_killed_during_capture"));
    for _ in 0..6 {
        let (begun, delay) = (Instant::now(), whole.mul_f64(dice.share()));
        let child = bench.spawn(&["create-backup", "--instance-id", "orders", "--json"]);
        std::thread::sleep(delay);
        source.kill();
        let done = finish(child);
        let when = format!("source killed after {delay:?} of {whole:?}");
        let jobs = assert_reconciled(&bench, &when);
        if jobs[0]["status"] == "failed" {
            failed += 1;
            println!("{when}: {} {}", jobs[0]["code"], jobs[0]["message"]);
            assert_eq!(done.code, 5, "{when}: {done:?}");
            assert_eq!(done.json()["code"], jobs[0]["code"], "{when}");
        } else {
            assert_eq!(done.code, 0, "{when}: {done:?}");
            // The machine was busy when it was measured; the next one is aimed sooner.
            whole = delay.min(begun.elapsed());
        }
        source.restart();
    }
    assert!(failed >= 3, "the points did not meet the capture");
}

/// Waits until a restore has made the target follow us.
fn until_it_follows_us(target: &Redis) {
    wait("the target to follow us", Duration::from_secs(60), || (target.info("role") == "slave").then_some(()));
}

/// A restore in its middle: the target follows us.
struct Opened {
    target: Redis,
    /// Digest of what the target has on its disk.
    saved: String,
    bench: Bench,
    backup: String,
    child: Child,
}

/// Begins a restore of a target that was saved, and written to since.
fn restoring(seed: u32) -> Opened {
    let target = target(40, seed);
    target.run(&["SAVE"]);
    let saved = target.digest();
    let bench = Bench::unattended(&target);
    let backup = bench.backup();
    target.run(&["SET", "marker", "written since"]);
    let token = bench.token(&backup);
    let child = bench.spawn(&Bench::echo(&backup, &token));
    until_it_follows_us(&target);
    Opened { target, saved, bench, backup, child }
}

/// The target of a process that died while that, which serves by then, wrote to its disk; and its bench.
fn died_while_the_target_saved() -> (Redis, Bench) {
    let target = Redis::start("redis-7.0", &["--save", "3600 100000"]);
    target.run(&["DEBUG", "POPULATE", "2000", "k", "100"]);
    let bench = Bench::unattended(&target);
    let backup = bench.backup();
    target.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let mut child = bench.spawn(&Bench::echo(&backup, &token));
    until_it_follows_us(&target);
    // The save takes some ten seconds.
    target.run(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
    killed_while_it_saves(&target, &mut child);
    (target, bench)
}

/// Kills a restore once its target has what it restores, and writes that to its disk; which is done soon then.
fn killed_while_it_saves(target: &Redis, child: &mut Child) {
    wait("the save", Duration::from_secs(60), || {
        let saves = target.info("role") == "master" && target.info("rdb_bgsave_in_progress") == "1";
        (saves && target.run(&["EXISTS", "marker"]).text() == "0").then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    target.run(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
}

/// What the target evicts from its promotion on is told by whoever finds the restore, also of the time at which nobody looked.
#[test]
fn what_was_evicted_while_nobody_looked_is_told() {
    let (target, bench) = died_while_the_target_saved();
    assert_told(&bench, &evicts(&target));
}

/// Makes a target evict, and says how many keys it has evicted then.
fn evicts(target: &Redis) -> String {
    let limit = target.info("used_memory").parse::<u64>().unwrap() * 9 / 10;
    target.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    target.run(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    target.run(&["SET", "more", "1"]);
    target.run(&["CONFIG", "SET", "maxmemory", "0"]);
    let evicted = target.info("evicted_keys");
    assert_ne!(evicted, "0");
    evicted
}

/// The end of a restore whose process is dead, which waits for the target's save.
fn reconciled(bench: &Bench) -> Value {
    wait("the restore to be reconciled", Duration::from_secs(60), || {
        bench.jobs().into_iter().find(|job| job["kind"] == "restore" && job["status"] != "running")
    })
}

fn assert_told(bench: &Bench, evicted: &str) {
    let job = reconciled(bench);
    assert_eq!((&job["status"], &job["code"]), (&"failed".into(), &"restore.evicted".into()), "{job}");
    let message = text(&job["message"]);
    assert!(message.contains(&format!("the target has evicted {evicted} keys since, to make room")), "{message}");
}

/// The target of a process that died behind a restore by commands, while that wrote to its disk; and its bench.
fn died_behind_commands() -> (Redis, Bench) {
    let target = Redis::start("redis-7.0", &["--databases", "1", "--save", "3600 100000"]);
    target.run(&["DEBUG", "POPULATE", "2000", "k", "100"]);
    let bench = Bench::new(&unattended(&target, "restore_way = \"commands\""));
    let backup = bench.backup();
    target.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    // The save takes some seconds.
    target.run(&["CONFIG", "SET", "rdb-key-save-delay", "1500"]);
    let mut child = bench.spawn(&Bench::echo(&backup, &token));
    killed_while_it_saves(&target, &mut child);
    (target, bench)
}

/// A restore by commands whose process died behind it, while the target wrote to its disk, is no half one.
#[test]
fn a_restore_by_commands_that_was_complete() {
    let (_target, bench) = died_behind_commands();
    let job = reconciled(&bench);
    let message = text(&job["message"]);
    assert_eq!(job["status"], "succeeded", "{job}");
    assert!(message.contains("the target took all of it (2000 keys), and holds 2000 keys now"), "{message}");
    assert!(message.contains("What was there before: "), "{message}");
}

/// Nor is one whole of which the target has evicted something since.
#[test]
fn what_was_evicted_behind_commands_is_told() {
    let (target, bench) = died_behind_commands();
    assert_told(&bench, &evicts(&target));
}

/// By the next start the target has forgotten by which history its data came, as one without replicas does after an hour: it is not said to
/// hold its old data.
#[test]
fn a_target_that_has_forgotten_the_restore() {
    let (target, bench) = died_while_the_target_saved();
    assert_eq!(target.run(&["DEBUG", "CHANGE-REPL-ID"]).text(), "OK");
    let jobs = bench.jobs();
    let job = jobs.iter().find(|job| job["kind"] == "restore").unwrap();
    let message = text(&job["message"]);
    assert_eq!(job["status"], "failed", "{job}");
    assert!(message.contains("had loaded the backup set and holds 2000 keys now"), "{job}");
    assert!(!message.contains("old data"), "{job}");
}

/// A target that dies during a restore and is there again soon: the job fails and says that it was restarted.
#[test]
fn target_killed_and_restarted_during_restore() {
    let Opened { mut target, saved, bench, child, .. } = restoring(4);
    target.restart();
    let done = finish(child);
    assert_eq!(done.code, 5, "{done:?}");
    assert_eq!(done.json()["status"], "failed", "{done:?}");
    let jobs = assert_reconciled(&bench, "after the restart");
    let failed = job(&jobs, &text(&done.json()["job_id"]));
    println!("{failed}");
    assert!(text(&failed["hint"]).contains("safety backup"), "{failed}");
    assert_as_before(&target, "after the restart");
    assert_eq!(target.digest(), saved);
}

/// A target that dies during a restore and stays away: the job fails and says that its rollback is pending, the record is
/// kept as long as it takes, no other restore begins meanwhile, and once the target is back the next look rolls it back.
#[test]
fn target_killed_during_restore_and_away() {
    let Opened { mut target, saved, bench, child, backup } = restoring(5);
    let one_time = target.setting("masterauth");
    target.kill();
    let done = finish(child);
    let failed = done.json();
    // Whoever waited longer than a call lasts learns where to look.
    assert!(failed["status"] == "failed" || failed["status"] == "started", "{done:?}");
    for _ in 0..2 {
        let jobs = bench.jobs();
        let seen = job(&jobs, &text(&failed["job_id"]));
        println!("{seen}");
        assert_eq!(seen["status"], "failed", "{seen}");
        assert!(text(&seen["stage"]).contains("rollback pending"), "{seen}");
        assert!(seen["code"].is_string() && text(&seen["hint"]).contains("safety backup"), "{seen}");
    }
    // It comes back following the dead address and with the one-time password, as one that rewrites its configuration would.
    target.restart();
    target.run(&["CONFIG", "SET", "masterauth", &one_time]);
    let jobs = bench.jobs();
    let seen = job(&jobs, &text(&failed["job_id"]));
    println!("{seen}");
    assert_eq!((&seen["status"], &seen["stage"]), (&"failed".into(), &Value::Null), "{seen}");
    assert!(text(&seen["message"]).contains("restarted since"), "{seen}");
    assert_as_before(&target, "reconciled");
    assert_eq!(target.digest(), saved);
    // However often it is looked at, it began, failed and was rolled back once.
    bench.jobs();
    let audit = bench.run(&["audit", "--json"]).out;
    let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_job = lines.filter(|line| text(&line["detail"]).contains(&text(&failed["job_id"])));
    let events: Vec<String> = of_job.map(|line| text(&line["event"])).collect();
    assert_eq!(events, ["restore.started", "restore.failed", "restore.rolled_back"], "{audit}");
    let done = bench.restore(&backup);
    assert_eq!(done.code, 0, "{done:?}");
}

/// Target and process both die: the job stays in sight as interrupted while the target is away, and is reconciled once it is back.
#[tokio::test]
async fn target_and_process_killed_during_restore() {
    let Opened { mut target, saved, bench, mut child, .. } = restoring(6);
    target.kill();
    child.kill().unwrap();
    child.wait().unwrap();
    // Of a process that only stood still whoever takes its restore over ends the connection by which it acts.
    let record = text_at(&bench.home(), "SELECT recovery FROM jobs WHERE kind = 'restore'").await;
    let record: Value = serde_json::from_str(&record).unwrap();
    assert!(record["client_id"].is_i64(), "{record}");
    for _ in 0..2 {
        let jobs = bench.jobs();
        let restore = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
        println!("{restore}");
        assert_eq!(restore["status"], "running", "{restore}");
        assert!(text(&restore["stage"]).contains("interrupted"), "{restore}");
    }
    // Nothing new begins on an instance whose state is not known.
    let busy = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert_eq!((busy.code, &busy.json()["code"]), (5, &"job.busy".into()), "{busy:?}");
    target.restart();
    let jobs = assert_reconciled(&bench, "after the restart");
    let restore = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
    println!("{restore}");
    assert_eq!(restore["code"], "job.interrupted", "{restore}");
    assert!(text(&restore["message"]).contains("restarted since"), "{restore}");
    assert_as_before(&target, "reconciled");
    assert_eq!(target.digest(), saved);
}

/// Two processes on one home: the second joins the backup that the first takes, looks at jobs without adopting those of a
/// living process, and both end with the same set.
#[test]
fn two_processes_join_and_adopt_nothing_alive() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(80, 7);
    let bench = Bench::unattended(&source);
    let first = bench.spawn(&["create-backup", "--instance-id", "orders", "--json", "--note", "first"]);
    let running = wait("the first backup to run", Duration::from_secs(30), || {
        bench.home().join("state.db").exists().then(|| bench.jobs()).filter(|j| !j.is_empty())
    });
    assert_eq!(running[0]["status"], "running", "a look from another process must not reconcile it: {running:?}");
    let days = "--backup-retention-period";
    let second = bench.spawn(&["create-backup", "--instance-id", "orders", "--json", "--note", "second", days, "7"]);
    let (first, second) = (finish(first).json(), finish(second).json());
    let unused = "the days of this call are not used";
    assert_eq!([&first, &second].map(|reply| text(&reply["message"]).contains(unused)), [false, true], "{second}");
    assert_eq!((&first["joined"], &second["joined"]), (&false.into(), &true.into()), "{first} {second}");
    assert_eq!(first["backup_job_id"], second["backup_job_id"]);
    assert_eq!((&first["status"], &second["status"]), (&"succeeded".into(), &"succeeded".into()), "{first} {second}");
    assert_eq!(first["backup_id"], second["backup_id"]);
    let jobs = assert_reconciled(&bench, "at the end");
    assert_eq!(jobs.len(), 1);
    let set = bench.backups().remove(0);
    assert_eq!((&set["note"], &set["expires_at"]), (&"first".into(), &Value::Null), "{set}");
}

/// Many processes at once on a home that does not exist yet: each works, and one backup comes of it.
#[test]
fn many_processes_on_a_fresh_home() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(40, 8);
    let bench = Bench::unattended(&source);
    let all: Vec<_> = (0..6).map(|_| bench.spawn(&["create-backup", "--instance-id", "orders", "--json"])).collect();
    let mut ids: Vec<String> = all.into_iter().map(|c| text(&finish(c).json()["backup_job_id"])).collect();
    ids.sort();
    ids.dedup();
    // A process that came late begins one of its own.
    println!("{} backups by 6 processes", ids.len());
    assert!(ids.len() < 6, "{ids:?}");
    assert_reconciled(&bench, "at the end");
}

/// Nobody knows what a restore did whose recovery record cannot be read: the job waits for a person with its record, instead of
/// being called over.
#[tokio::test]
async fn a_damaged_recovery_record_is_kept() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let dying = Sqlite::new(&bench.home());
    let new = NewJob {
        id: "rj-1",
        provider: "local",
        kind: JobKind::Restore,
        instance_id: "orders",
        backup_id: "b-1",
        exclusive: true,
        caller: "agent",
        confirmation: "0a1b",
        access: None,
        under: None,
        audit: None,
    };
    let Begun::Started(begun) = dying.begin(new).await.unwrap() else { panic!("a job") };
    let record = StoredRecovery { kind: RecoveryKind::LocalRestore, json: "{\"back\":".into() };
    // Such a record gives the right to roll back, and to nothing else.
    let orphaned = Orphaned::of(&begun, &record).unwrap();
    assert!(orphaned.roll_back().is_ok());
    assert_eq!(orphaned.repeat_order().unwrap_err().code, "act.unsupported");
    let another = StoredRecovery { kind: RecoveryKind::CloudClone, ..record.clone() };
    assert_eq!(Orphaned::of(&begun, &another).unwrap_err().code, "act.unsupported");
    let over = Job { status: JobStatus::Succeeded, ..begun.clone() };
    assert_eq!(Orphaned::of(&over, &record).unwrap_err().code, "act.unsupported");
    dying.save_recovery(&begun.id, &record).await.unwrap();
    drop(dying);
    for _ in 0..2 {
        let jobs = bench.jobs();
        let seen = job(&jobs, "rj-1");
        assert_eq!((&seen["status"], &seen["code"]), (&"failed".into(), &"state.damaged".into()), "{seen}");
        assert!(text(&seen["stage"]).contains("rollback pending"), "{seen}");
        assert!(text(&seen["hint"]).contains("INFO replication"), "{seen}");
    }
    let audit = bench.run(&["audit", "--json"]).out;
    assert_eq!(audit.matches("restore.failed").count(), 1, "{audit}");
    let kept = Sqlite::new(&bench.home()).adopt("local", None).await.unwrap().remove(0);
    assert_eq!(kept.recovery, Some(record));
}
