//! What goes wrong beside the source: a vault that is slow, hangs or fails, a spool without room, a clock that is set. Each has its
//! declared end, and none of them stops the reading of the source for longer than it has to.

use super::collector::{KIND, causes, logging};
use crate::support::disk::SmallDisk;
use crate::support::log::{
    LONG, Load, Service, Wire, Witness, archived_to, begun, coverage, log_of, log_until, position, second, service_log,
};
use crate::support::preload::Preload;
use crate::support::{Bench, Redis, text, wait};
use serde_json::Value;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::log::GapCause;

/// Behind a gap the new stream is read at once, however much of the old one the vault has not taken yet; that comes there all the same.
#[test]
fn the_old_spool_goes_to_the_vault_beside_the_new_stream() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "16kb", "--client-output-buffer-limit", "replica 0 0 0"]);
    let (wire, preload) = (Wire::to(&redis), Preload::new());
    let bench = logging(&wire.url(), "");
    let _service = Service::with(&bench, &preload);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    preload.vault_takes(Duration::from_millis(800));
    // Ten segments and more wait for the vault.
    let value = "x".repeat(100_000);
    for n in 0..110 {
        redis.run(&["SET", &format!("key:{}", n % 10), &value]);
        std::thread::sleep(Duration::from_millis(10));
    }
    let spooled = position(&redis).1;
    let seen = || service_log(&bench).matches("the log has a gap").count();
    // From here on: a reader that is slow before has lost nothing.
    redis.run(&["CONFIG", "SET", "client-output-buffer-limit", "replica 1mb 0 0"]);
    wire.close();
    for n in 0..20 {
        redis.run(&["SET", &format!("lost:{n}"), &"x".repeat(4000)]);
    }
    wire.open();
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        redis.run(&["SET", "new", &"x".repeat(20_000)]);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(seen(), 1, "{}", service_log(&bench));
    preload.vault_takes(Duration::ZERO);
    archived_to(&bench, position(&redis).1);
    wait("the old spool", LONG, || {
        let coverage = coverage(&bench);
        (coverage.runs.first()?.last() >= spooled).then_some(())
    });
    let coverage = coverage(&bench);
    assert_eq!((coverage.runs.len(), coverage.holes.len(), coverage.gaps.len()), (2, 0, 1), "{}", service_log(&bench));
    // The gap begins where the log before it ends, to the byte and to the millisecond.
    let (gap, before) = (&coverage.gaps[0], &coverage.runs[0]);
    assert_eq!((gap.after_offset, gap.from, gap.cause), (before.last(), before.until(), GapCause::BacklogOverrun));
}

/// A vault that hangs holds no process that is asked to end. What waits is said, stays in the spool, and goes to the vault later.
#[test]
fn a_vault_that_hangs_does_not_hold_the_end() {
    let (redis, preload) = (Redis::start(KIND, &[]), Preload::new());
    let bench = logging(&redis.url(), "");
    let service = Service::with(&bench, &preload);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    preload.vault_hangs();
    redis.run(&["SET", "b", "1"]);
    let written = position(&redis).1;
    std::thread::sleep(Duration::from_secs(3));
    let asked = Instant::now();
    assert_eq!(service.ask_to_end(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert!(service_log(&bench).contains("stay in the spool"), "{}", service_log(&bench));
    let _service = Service::start(&bench);
    archived_to(&bench, written);
    assert_eq!(log_of(&bench)["total_gaps"], 0, "{}", service_log(&bench));
}

/// A command that is larger than the spool can never be taken: a gap that names its size, and the log goes on behind a new base.
#[test]
fn a_command_larger_than_the_spool_is_a_gap() {
    let redis = Redis::start(KIND, &["--repl-backlog-size", "64mb"]);
    let bench = logging(&redis.url(), "");
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    // One that fits into the spool only where it is empty is no gap.
    redis.run(&["SET", "b", &"x".repeat(12 << 20)]);
    archived_to(&bench, position(&redis).1);
    redis.run(&["SET", "c", &"x".repeat(20 << 20)]);
    let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    assert_eq!(causes(&log), ["spool_full"], "{}", service_log(&bench));
    let sets = bench.backups().len();
    redis.run(&["SET", "d", "1"]);
    archived_to(&bench, position(&redis).1);
    let coverage = coverage(&bench);
    assert!(coverage.gaps[0].detail.contains("larger than the spool"), "{:?}", coverage.gaps);
    assert_eq!(coverage.runs.len(), 2);
    // Another base waits: a source that writes such commands all the time does not fork all the time.
    redis.run(&["SET", "e", &"x".repeat(20 << 20)]);
    wait("the second", LONG, || {
        (service_log(&bench).matches("larger than spool_megabytes").count() == 2).then_some(())
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(bench.backups().len(), sets);
}

/// A source that is shut down in good order says what its history was, and where it does the log goes on without a gap.
#[test]
fn a_source_that_was_shut_down_is_gone_on_with() {
    let mut redis = Redis::start(KIND, &["--shutdown-timeout", "0"]);
    let bench = logging(&redis.url(), "");
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    archived_to(&bench, position(&redis).1);
    // It ends before it answers.
    let _ = redis.try_run(&["SHUTDOWN", "SAVE"]);
    redis.restart();
    redis.run(&["SET", "b", "1"]);
    archived_to(&bench, position(&redis).1);
    let log = log_of(&bench);
    assert_eq!(log["total_gaps"], 0, "{log}\n{}", service_log(&bench));
}

/// While the spool is full the log can be set off.
#[test]
fn a_full_spool_does_not_hold_the_log_on() {
    let (redis, preload) = (Redis::start(KIND, &["--repl-backlog-size", "64mb"]), Preload::new());
    let bench = logging(&redis.url(), "");
    let config = std::fs::read_to_string(bench.dir.path().join("config.toml")).unwrap();
    bench.configure(&config.replace("enable_backup_log = true", ""));
    let set = |on: &str, more: &[&str]| {
        let call = ["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", on];
        bench.json(&[&call[..], more].concat())
    };
    set("true", &[]);
    let _service = Service::with(&bench, &preload);
    log_until(&bench, "an archiver", |log| log["archived_until"].is_string());
    preload.vault_hangs();
    let load = Load::on(&redis);
    let value = "x".repeat(1 << 20);
    for n in 0..20 {
        redis.run(&["SET", &format!("key:{n}"), &value]);
    }
    drop(load);
    wait("the spool to be full", LONG, || service_log(&bench).contains("is full").then_some(()));
    let token = set("false", &[])["confirmation_token"].as_str().unwrap().to_owned();
    set("false", &["--confirmation-token", &token]);
    wait("the link to end", LONG, || (redis.info("connected_slaves") == "0").then_some(()));
    preload.vault_takes(Duration::ZERO);
    log_until(&bench, "the end of the log", |log| log["archiver"].is_null());
}

/// A clock that is set back and ahead under running writes: everything comes to the vault, and each step is a gap with its cause.
#[test]
fn a_clock_that_is_set_is_a_gap_and_stops_nothing() {
    let (redis, preload) = (Redis::start(KIND, &[]), Preload::new());
    let bench = logging(&redis.url(), "");
    let service = Service::with(&bench, &preload);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    for (n, hours) in [-1, 1, 0].into_iter().enumerate() {
        preload.clock_ahead_ms(hours * 3_600_000);
        redis.run(&["SET", "b", &n.to_string()]);
        archived_to(&bench, position(&redis).1);
        let found: Vec<_> = coverage(&bench).gaps.iter().map(|gap| gap.cause).collect();
        assert_eq!(found, vec![GapCause::ClockStep; n + 1], "{}", service_log(&bench));
    }
    let coverage_before = coverage(&bench);
    // Killed while the log's times stand still: they do not go back for that.
    service.kill();
    let _service = Service::with(&bench, &preload);
    redis.run(&["SET", "c", "1"]);
    archived_to(&bench, position(&redis).1);
    let after = coverage(&bench);
    assert_eq!((after.runs.len(), after.holes.len()), (1, 0));
    assert!(after.runs[0].until() >= coverage_before.runs[0].until());
    assert!(after.gaps.iter().all(|gap| gap.cause == GapCause::ClockStep), "{:?}", after.gaps);
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.out.contains("clock_step") && doctor.out.contains("stand still until"), "{doctor:?}");
}

/// Another base is taken by the number of small commands behind the last, whose bytes would ask for none, and by the age of the last;
/// no other is.
#[test]
fn a_base_follows_by_commands_and_by_age() {
    let (redis, preload) = (Redis::start(KIND, &[]), Preload::new());
    let bench = Bench::new(&format!(
        "[backup_log]\nseal_seconds = 1\nbase_hours = 1\nbase_replay_minutes = 0\nbase_apart_minutes = 0\n\
         [[instance]]\nid = \"orders\"\nurl = \"{}\"\nenable_backup_log = true\n",
        redis.url()
    ));
    let service = Service::with(&bench, &preload);
    let bases = |count: usize| {
        wait(&format!("{count} bases"), LONG, || (bench.backups().len() == count).then_some(()));
    };
    bases(1);
    let (_, begun) = position(&redis);
    let write = |count: usize| {
        redis.try_all(&vec![vec!["INCR".to_owned(), "a".to_owned()]; count]).unwrap();
        let (_, reached) = position(&redis);
        archived_to(&bench, reached);
        reached - begun
    };
    // Less than a millisecond's worth, and more.
    write(500);
    let bytes = write(900);
    assert!(bytes < 40_000, "by {bytes} bytes a base would be due too");
    bases(2);
    write(100);
    preload.clock_ahead_ms(3_700_000);
    bases(3);
    assert_eq!(service.ask_to_end(), Some(0));
    let notes: Vec<Value> = bench.backups().iter().map(|set| set["note"].clone()).collect();
    assert_eq!(notes, vec![Value::from("taken as a base of the log"); 3], "{}", service_log(&bench));
}

/// With `backup_from` the replica gives the base and the log: the instance itself forks for neither, nor does either of the two when the
/// archiver comes again. Where the replica is gone the log goes on from the instance, and nothing is missing.
#[test]
fn a_replica_gives_the_log() {
    let master = Redis::start(KIND, &[]);
    let mut replica = Redis::start(KIND, &["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    wait("the replica", LONG, || (replica.info("master_link_status") == "up").then_some(()));
    let forks = |redis: &Redis| redis.info("total_forks").parse::<u64>().unwrap();
    let replicas = || [&master, &replica].map(|redis| redis.info("connected_slaves"));
    let (before, of_replica) = (forks(&master), forks(&replica));
    let bench = logging(&master.url(), &format!("backup_from = \"{}\"", replica.url()));
    let service = Service::start(&bench);
    begun(&bench, &master);
    assert_eq!((bench.backups().len(), forks(&master), forks(&replica)), (1, before, of_replica + 1));
    assert_eq!(replicas(), ["1", "1"], "{}", service_log(&bench));
    // The doctor judges the server that is followed.
    replica.run(&["CONFIG", "SET", "repl-backlog-size", "64mb"]);
    let backlog = || {
        let said: Value = serde_json::from_str(&bench.run(&["doctor", "--json"]).out).unwrap();
        let found: Vec<String> = said["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["name"] == "log backlog")
            .map(|check| text(&check["status"]))
            .collect();
        found
    };
    assert_eq!(backlog(), ["pass"]);

    service.kill();
    master.run_in(3, &["SET", "meanwhile", "1"]);
    let _service = Service::start(&bench);
    master.run(&["SET", "a", "2"]);
    archived_to(&bench, position(&master).1);
    assert_eq!(
        (replicas(), forks(&replica)),
        (["1", "1"].map(String::from), of_replica + 1),
        "{}",
        service_log(&bench)
    );

    replica.kill();
    master.run(&["SET", "a", "3"]);
    archived_to(&bench, position(&master).1);
    assert_eq!(backlog(), ["warn"], "the instance's own is small");
    let (log, coverage) = (log_of(&bench), coverage(&bench));
    assert_eq!((&log["total_gaps"], coverage.runs.len(), coverage.holes.len()), (&0.into(), 1, 0), "{log}");
    assert_eq!((bench.backups().len(), forks(&master)), (1, before), "{}", service_log(&bench));

    // The base that came from the replica leads to what the instance held.
    let (base, at) = (bench.backups()[0]["backup_id"].clone(), second());
    master.run(&["FLUSHALL"]);
    archived_to(&bench, position(&master).1);
    let call = ["restore-instance", "--instance-id", "orders", "--restore-time", &at];
    let planned = bench.json(&call);
    assert_eq!(planned["plan"]["base_backup_id"], base, "{planned}");
    let token = planned["confirmation_token"].as_str().unwrap();
    let done = bench.run(&[&call[..], &["--confirmation-token", token]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        (master.run(&["GET", "a"]).text(), master.run_in(3, &["GET", "meanwhile"]).text()),
        ("3".into(), "1".into())
    );
}

/// A log that begins behind a set of the instance, as a safety backup is, follows the replica all the same.
#[test]
fn a_log_behind_a_set_of_the_instance_follows_the_replica() {
    let master = Redis::start(KIND, &[]);
    let replica = Redis::start(KIND, &["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    wait("the replica", LONG, || (replica.info("master_link_status") == "up").then_some(()));
    let bench = logging(&master.url(), &format!("backup_from = \"{}\"", replica.url()));
    let manual = bench.backup();
    bench.json(&["restore-instance", "--instance-id", "orders", "--backup-id", &manual]);
    let forks = || [&master, &replica].map(|redis| redis.info("total_forks"));
    let before = forks();
    let _service = Service::start(&bench);
    log_until(&bench, "a window", |log| {
        master.run_in(3, &["RPUSH", "a", "1"]);
        log["window"].is_object()
    });
    archived_to(&bench, position(&master).1);
    let replicas = [&master, &replica].map(|redis| redis.info("connected_slaves"));
    let sets = bench.backups().len();
    assert_eq!((sets, forks(), replicas), (2, before, ["1", "1"].map(String::from)), "{}", service_log(&bench));
}

/// The set that a log begins with is needed by it: who deletes it hears which moments go, and the doctor says when there are none.
#[test]
fn a_set_that_the_log_needs_says_so() {
    let redis = Redis::start(KIND, &[]);
    let bench = logging(&redis.url(), "");
    // Without a link a source keeps no backlog to attach in.
    let _witness = Witness::attach(&redis);
    let manual = bench.backup();
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    archived_to(&bench, position(&redis).1);
    assert_eq!(bench.backups().len(), 1, "{}", service_log(&bench));
    let call = ["delete-backup", "--instance-id", "orders", "--backup-id", &manual];
    let plan = bench.json(&call);
    let checks = plan["prechecks"].as_array().unwrap();
    let needed = checks.iter().find(|check| check["name"] == "dependents").unwrap();
    assert_eq!(needed["status"], "warn", "{plan}");
    assert!(needed["detail"].as_str().unwrap().contains("none of its moments can be restored any more"), "{plan}");
    assert!(plan["impact"]["lost"].as_str().unwrap().contains("the log from"), "{plan}");
    let token = plan["confirmation_token"].as_str().unwrap().to_owned();
    assert_eq!(bench.json(&[&call[..], &["--confirmation-token", &token]].concat())["status"], "succeeded");
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.out.contains("it has no base"), "{doctor:?}");
}

/// The spool's disk has hardly any room, or none at all from one write to the next: reading stops, the source is not stopped, what is missing
/// is a gap of that cause, and with room the log goes on. What others need of the disk is left to them.
#[test]
fn a_spool_without_a_disk() {
    for free in [24 << 20, 0] {
        let (redis, preload) = (Redis::start(KIND, &["--repl-backlog-size", "1mb"]), Preload::new());
        let bench = logging(&redis.url(), "");
        let Some(disk) = SmallDisk::at(&bench.home().join("spool"), 100) else { return };
        let _service = Service::with(&bench, &preload);
        redis.run(&["SET", "a", "1"]);
        log_until(&bench, "a window", |log| log["window"].is_object());
        preload.vault_hangs();
        disk.fill_but(free);
        let deadline = Instant::now() + LONG;
        while !service_log(&bench).contains("hardly any room") && !service_log(&bench).contains("No space left") {
            redis.run(&["SET", "b", &"x".repeat(200_000)]);
            assert!(Instant::now() < deadline, "{free}: {}", service_log(&bench));
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = || tair_backup_mcp::config::durable::free(&bench.home().join("spool")).unwrap();
        assert!(free == 0 || left() > 16 << 20, "{} bytes are left", left());
        // More than the backlog holds.
        for n in 0..20 {
            redis.run(&["SET", &format!("lost:{n}"), &"x".repeat(200_000)]);
        }
        disk.clear();
        preload.vault_takes(Duration::ZERO);
        let log = log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
        assert_eq!(causes(&log), ["spool_full"], "{free}: {}", service_log(&bench));
        redis.run(&["SET", "c", "1"]);
        archived_to(&bench, position(&redis).1);
        let coverage = coverage(&bench);
        assert_eq!((coverage.runs.len(), coverage.holes.len()), (2, 0), "{free}: {}", service_log(&bench));
    }
}

/// The vault's disk is full: nothing more goes there, and none of what it keeps for jobs and plans is taken; the spool has it, what is wrong
/// is said, a backup is refused beforehand, and with room all of it goes there without a gap.
#[test]
fn a_vault_without_a_disk() {
    let redis = Redis::start(KIND, &[]);
    redis.fill(2, 1);
    let bench = logging(&redis.url(), "");
    let Some(disk) = SmallDisk::at(&bench.home().join("vault"), 100) else { return };
    let _service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    archived_to(&bench, position(&redis).1);
    disk.fill_but(12 << 20);
    for n in 0..8 {
        redis.run(&["SET", &format!("b:{n}"), &"x".repeat(300_000)]);
    }
    let written = position(&redis).1;
    wait("the refusal", LONG, || {
        service_log(&bench)
            .contains("The disk is full")
            .then_some(())
            .or_else(|| service_log(&bench).contains("the vault takes nothing of the log").then_some(()))
    });
    assert!(tair_backup_mcp::config::durable::free(&bench.home().join("vault")).unwrap() >= 12 << 20);
    let backup = bench.backups()[0]["backup_id"].as_str().unwrap().to_owned();
    let planned = bench.ask(&backup);
    let checks = planned.json()["prechecks"].as_array().unwrap().clone();
    let safety = checks.iter().find(|check| check["name"] == "safety_backup").unwrap();
    assert!(safety["status"] == "block" && safety["detail"].as_str().unwrap().contains("room"), "{planned:?}");
    disk.clear();
    archived_to(&bench, written);
    assert_eq!(log_of(&bench)["total_gaps"], 0, "{}", service_log(&bench));
}
