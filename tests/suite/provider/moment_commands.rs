//! Restores to a moment of a target that cannot follow us: a server of our own is brought to the moment, and the target is given what it
//! held then, by commands. The digest is that of the source at the moment; nothing of it is left behind, whatever ends it.

use crate::provider::moment_log::now;
use crate::support::recorder::Recorder;
use crate::support::{Bench, Done, Redis, Reply, finish, text, unattended, wait};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const HIDDEN: [&str; 3] = ["--rename-command", "REPLICAOF", "NOBODYS"];

/// Runs the program where the server program of one kind is the only one.
fn spawn(bench: &Bench, kind: &str, args: &[&str]) -> Child {
    let args = [&["restore-instance", "--instance-id", "orders", "--json"][..], args].concat();
    bench.command_beside(kind, &args).spawn().unwrap()
}

/// Both calls. The plan, and how it ended.
fn restore<'a>(bench: &Bench, kind: &str, source: impl AsRef<[&'a str]>) -> (Value, Done) {
    let source = source.as_ref();
    let planned = finish(spawn(bench, kind, source));
    assert_eq!(planned.code, 0, "{kind}: {planned:?}");
    let token = text(&planned.json()["confirmation_token"]);
    let done = finish(spawn(bench, kind, &[source, &["--confirmation-token", &token]].concat()));
    (planned.json(), done)
}

fn check(plan: &Value, name: &str) -> Value {
    let checks = plan["prechecks"].as_array().unwrap_or_else(|| panic!("{plan}"));
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {plan}")).clone()
}

/// Directories of servers of our own that are there.
fn scratch(bench: &Bench) -> usize {
    std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count)
}

fn work(redis: &Redis, kind: &str, n: u64) {
    let number = n.to_string();
    let all = [
        vec!["SET", "text", &number],
        vec!["SET", "timed", "v", "PX", "90000000"],
        vec!["EXPIRE", "old-0", "90000"],
        vec!["RPUSH", "list", &number, "x"],
        vec!["HSET", "hash", &number, "v"],
        vec!["ZADD", "zset", &number, &number],
        vec!["XADD", "stream", "*", "f", &number],
        vec!["PFADD", "hll", &number],
        vec!["MULTI"],
        vec!["INCR", "in-a-transaction"],
        vec!["SADD", "set", &number],
        vec!["EXEC"],
        vec!["DEL", "old-1"],
        vec!["COPY", "hash", "copy", "DB", "2", "REPLACE"],
        vec!["SWAPDB", "3", "4"],
        vec!["SELECT", "3"],
        vec!["SET", "elsewhere", &number],
    ];
    let owned: Vec<Vec<String>> = all.iter().map(|c| c.iter().map(|w| (*w).to_owned()).collect()).collect();
    redis.try_all(&owned).unwrap();
    if kind != "redis-6.2" && n == 3 {
        redis.run(&["FUNCTION", "LOAD", "#!lua name=later\nredis.register_function('g', function() return 1 end)"]);
    }
}

/// On every dialect: to a moment, to right before a position, in the place of the old data or beside it, and where a Sentinel watches.
#[test]
fn a_target_that_cannot_follow_us_is_given_the_moment() {
    std::thread::scope(|scope| {
        for (kind, hidden, beside) in [
            ("redis-6.2", true, true),
            ("redis-7.0", true, false),
            ("valkey-9.1", true, true),
            ("redis-7.0", false, true),
        ] {
            scope.spawn(move || given(kind, hidden, beside));
        }
    });
}

fn given(kind: &str, hidden: bool, beside: bool) {
    // With as many databases as there is work in there is none to load beside.
    let mut args = vec!["--repl-backlog-size", "64mb", "--databases", if beside { "16" } else { "5" }];
    args.extend(if hidden { &HIDDEN[..] } else { &[] });
    let redis = Redis::start(kind, &args);
    redis.fill(1, 1);
    redis.run(&["MSET", "old-0", "1", "old-1", "1"]);
    let bench = Bench::unattended(&redis);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    let watching = (!hidden).then(|| {
        let mut sentinel = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
        sentinel.write_all(b"SUBSCRIBE __sentinel__:hello\r\n").unwrap();
        assert!(sentinel.read(&mut [0; 64]).unwrap() > 0);
        sentinel
    });
    for n in 0..50 {
        work(&redis, kind, n);
    }
    if !beside {
        for db in 1..5 {
            redis.run_in(db, &["SET", "taken", "1"]);
        }
    }
    recorder.catch_up(&redis);
    let at = now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let (digest, statistics) = (redis.digest(), redis.statistics());
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "after", "1"]);
    recorder.catch_up(&redis);
    recorder.stop();

    let (plan, done) = restore(&bench, kind, ["--restore-time", &at]);
    assert_eq!(done.code, 0, "{kind}: {done:?}");
    assert_eq!(plan["plan"]["way"], "commands", "{plan}");
    assert_eq!(text(&plan["plan"]["way_meaning"]).starts_with("NOT atomic"), !beside, "{plan}");
    assert!(plan["plan"]["built_on"].is_string(), "{plan}");
    assert_eq!(
        (&check(&plan, "log_replay")["status"], &check(&plan, "room_here")["status"]),
        (&"pass".into(), &"pass".into())
    );
    assert_eq!((&redis.digest(), &redis.statistics()), (&digest, &statistics), "{kind}: {done:?}");
    let message = text(&done.json()["message"]);
    assert!(message.contains("a server of our own applied all") && message.contains("refused none"), "{message}");
    assert_eq!(scratch(&bench), 0, "{kind}");

    redis.run(&["SET", "again", "1"]);
    let position = text(&plan["plan"]["position"]);
    let (_, done) = restore(&bench, kind, ["--before-position", &position]);
    assert_eq!(done.code, 0, "{kind}: {done:?}");
    assert_eq!(redis.digest(), digest, "{kind}: {done:?}");

    // And back: the safety backup of the first restore has what was there.
    let undone = bench.restore(&text(&done.json()["plan"]["safety_backup_id"]));
    assert_eq!(undone.code, 0, "{kind}: {undone:?}");
    assert_eq!(redis.run(&["EXISTS", "again"]), Reply::Int(1), "{kind}");
    drop(watching);
}

/// Counts until the count falls: the data was replaced. The last number that was accepted.
fn count(redis: &Redis, stop: &AtomicBool) -> u64 {
    let mut last = 0;
    while !stop.load(Ordering::SeqCst) {
        match redis.run(&["INCR", "n"]) {
            Reply::Int(n) if u64::try_from(n).unwrap() <= last => return last,
            Reply::Int(n) => last = u64::try_from(n).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    last
}

/// The end of a restore by commands under writes names the call that returns to the last of them, and the call does that.
#[test]
fn the_way_back_ends_at_the_last_accepted_write() {
    for kind in ["redis-6.2", "redis-7.0", "valkey-9.1"] {
        let redis = Redis::start(kind, &[&["--repl-backlog-size", "64mb"][..], &HIDDEN].concat());
        redis.fill(1, 1);
        let bench = Bench::unattended(&redis);
        let backup = bench.backup();
        let stop = AtomicBool::new(false);
        let (reply, accepted) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| count(&redis, &stop));
            wait("a count", Duration::from_secs(30), || (redis.run(&["GET", "n"]).text().len() > 1).then_some(()));
            let (_, done) = restore(&bench, kind, ["--backup-id", &backup]);
            stop.store(true, Ordering::SeqCst);
            assert_eq!(done.code, 0, "{kind}: {done:?}");
            (done.json(), writer.join().unwrap())
        });
        let (message, job) = (text(&reply["message"]), text(&reply["job_id"]));
        assert!(message.contains(&format!("before_position {job} returns to the last of them")), "{kind}: {message}");
        let (plan, done) = restore(&bench, kind, ["--before-position", &job]);
        assert_eq!(done.code, 0, "{kind}: {done:?}");
        assert!(plan["plan"]["built_on"].is_string(), "{plan}");
        assert_eq!(redis.run(&["GET", "n"]), Reply::Text(accepted.to_string()), "{kind}: {message}");
        assert_eq!(scratch(&bench), 0, "{kind}");
    }
}

/// A log of so many commands that building takes a while.
fn long(args: &[&str]) -> (Redis, Bench, String, String) {
    let redis = Redis::start("redis-7.0", &[&["--repl-backlog-size", "256mb"][..], args].concat());
    redis.fill(1, 1);
    let bench = Bench::new(&unattended(&redis, ""));
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    redis.run(&["EVAL", "for i = 1, 400000 do redis.call('SET', 'k' .. i % 100, i) end", "0"]);
    recorder.catch_up(&redis);
    let at = now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "now", "1"]);
    recorder.catch_up(&redis);
    recorder.stop();
    let digest = redis.digest();
    (redis, bench, at, digest)
}

/// Killed or interrupted while the moment is built, the program leaves no server, no file and no port, and the target as it was.
#[test]
fn what_ends_the_building_leaves_nothing() {
    let (redis, bench, at, digest) = long(&HIDDEN);
    for signal in ["KILL", "INT"] {
        let source = ["--restore-time", at.as_str()];
        let token = text(&finish(spawn(&bench, "redis-7.0", &source)).json()["confirmation_token"]);
        let mut child = spawn(&bench, "redis-7.0", &[&source[..], &["--confirmation-token", &token]].concat());
        // The second call asks no such server before it builds.
        bench.await_scratch_server();
        let kill = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        child.wait().unwrap();
        wait("nothing to be left", Duration::from_secs(20), || (scratch(&bench) == 0).then_some(()));
        let home = bench.home().display().to_string();
        let servers = std::fs::read_dir("/proc").unwrap().filter_map(|process| {
            let dir = std::fs::read_link(process.ok()?.path().join("cwd")).ok()?;
            dir.starts_with(&home).then_some(dir)
        });
        assert_eq!(servers.collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new(), "{signal}");
        let jobs = bench.jobs();
        let last = jobs.iter().find(|job| job["kind"] == "restore").unwrap();
        // What the person said yes to is carried out before an interrupted program ends; one that is killed has not touched the target.
        let carried_out = signal == "INT" && last["status"] == "succeeded";
        assert!(carried_out || last["status"] == "failed", "{signal}: {last}");
        assert_eq!(redis.digest() == digest, !carried_out, "{signal}: {last}");
    }
    let (_, done) = restore(&bench, "redis-7.0", ["--restore-time", &at]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(redis.run(&["GET", "k0"]), Reply::Text("400000".into()));
}

/// The log's moment now, between two writes.
fn moment_of(recorder: &Recorder, redis: &Redis) -> String {
    recorder.catch_up(redis);
    let at = now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    // What comes later is received later.
    std::thread::sleep(Duration::from_millis(5));
    at
}

/// The plan knows no more of a moment than the set that it begins with. Libraries that the user may not load, and data that has no room,
/// are found when it has been built: the target keeps what it has, where all of it would be replaced and where some keys would.
#[test]
fn a_moment_that_the_target_cannot_take_leaves_it_as_it_was() {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    redis.run(&["SET", "then", "1"]);
    let bench = Bench::new(&unattended(&redis, "restore_way = \"commands\""));
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    redis.run(&["FUNCTION", "LOAD", "#!lua name=later\nredis.register_function('g', function() return 1 end)"]);
    let with_library = moment_of(&recorder, &redis);
    redis.run(&["FUNCTION", "FLUSH"]);
    redis.run(&["EVAL", "for i = 1, 30 do redis.call('SET', 'large:' .. i, string.rep('x', 1048576)) end", "0"]);
    let large = moment_of(&recorder, &redis);
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "now", "1"]);
    recorder.catch_up(&redis);
    recorder.stop();
    let now = redis.digest();
    let refused = |source: &[&str], way: &str, told: &str| {
        let (plan, done) = restore(&bench, "redis-7.0", source);
        assert!(text(&plan["plan"]["way_meaning"]).contains(way), "{plan}");
        let failed = done.json();
        assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"plan.changed".into()), "{failed}");
        let message = text(&failed["message"]);
        assert!(message.contains("the target was not touched") && message.contains(told), "{told}: {message}");
        assert_eq!(redis.digest(), now, "{failed}");
    };
    redis.run(&["ACL", "SETUSER", "default", "-function|load", "-swapdb"]);
    refused(&["--restore-time", &with_library], "NOT atomic", "+function|load");
    redis.run(&["ACL", "SETUSER", "default", "+@all"]);
    redis.run(&["CONFIG", "SET", "maxmemory", "20mb"]);
    refused(&["--restore-time", &large], "NOT atomic", "maxmemory is 20.0 MiB");
    refused(&["--restore-time", &large, "--filter-key", "large:.*"], "", "maxmemory is 20.0 MiB");
    let (_, done) = restore(&bench, "redis-7.0", ["--restore-time", &large, "--filter-key", "large:1"]);
    assert_eq!(done.code, 0, "{done:?}");
    redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    let (_, done) = restore(&bench, "redis-7.0", ["--restore-time", &large]);
    assert_eq!((done.code, redis.run(&["DBSIZE"])), (0, Reply::Int(31)), "{done:?}");
}

/// Without a program that writes what the target takes, or with one that does not know a command of the log, the plan says what is
/// lacking, and nothing is touched.
#[test]
fn what_is_lacking_is_told() {
    for (kind, ours, told) in [
        ("redis-7.0", "redis-8.2", "put the redis-server or valkey-server"),
        ("redis-7.0", "redis-6.2", "put the redis-server or valkey-server"),
        ("redis-8.2", "redis-8.0", "does not know XDELEX"),
    ] {
        let redis = Redis::start(kind, &[&["--repl-backlog-size", "64mb"][..], &HIDDEN].concat());
        redis.run(&["XADD", "stream", "1-1", "f", "v"]);
        let bench = Bench::unattended(&redis);
        let recorder = Recorder::behind(&bench, &redis, &bench.backup());
        redis.run(&["SET", "text", "1"]);
        if kind == "redis-8.2" {
            redis.run(&["XDELEX", "stream", "IDS", "1", "1-1"]);
        }
        recorder.catch_up(&redis);
        let at = now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        recorder.stop();
        let blocked = finish(spawn(&bench, ours, &["--restore-time", &at])).json();
        assert_eq!(blocked["status"], "blocked", "{ours}: {blocked}");
        let replay = check(&blocked, "log_replay");
        assert!(replay["status"] == "block" && text(&replay["detail"]).contains(told), "{ours}: {replay}");
    }
}
