//! `time_shift`: what keys and fields had left to live at a moment they have left from the one that is given, whether the set or the log
//! set their expiry, and on servers that replicate expiries as they came; without it what has expired since is told and gone.

use crate::provider::moment_log::now;
use crate::support::recorder::Recorder;
use crate::support::{Bench, MATRIX, Redis, Reply, text, wait};
use jiff::Timestamp;
use std::time::Duration;

fn call<'a>(source: [&'a str; 2], more: &[&'a str]) -> Vec<&'a str> {
    [&["restore-instance", "--instance-id", "orders", "--json"][..], &source, more].concat()
}

/// When a key, or a field of a hash, expires, in milliseconds since 1970, within what it takes to ask.
fn expiry(redis: &Redis, key: &str, field: Option<&str>) -> i64 {
    let now = Timestamp::now().as_millisecond();
    let left = match field {
        None => redis.run(&["PTTL", key]),
        Some(field) => redis.run(&["HPTTL", key, "FIELDS", "1", field]),
    };
    left.text().parse::<i64>().unwrap() + now
}

/// Milliseconds that a question, or the way of a command into the log, may take on a busy machine.
const ABOUT: i64 = 1500;

#[test]
fn what_was_left_to_live_is_left_to_live() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || shifted(kind));
        }
    });
}

fn shifted(kind: &str) {
    let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
    let bench = Bench::unattended(&redis);
    let mut keys: Vec<(&str, Option<&str>)> = Vec::new();
    let mut set = |words: &str, key: &'static str, field: Option<&'static str>| {
        let done = redis.try_run(&words.split(' ').collect::<Vec<_>>()).unwrap();
        // What a server lacks it refuses.
        if !matches!(done, Reply::Error(_)) {
            keys.push((key, field));
        }
    };
    set("SET base v PX 90000", "base", None);
    set("SET forever v", "forever", None);
    redis.run(&["HSET", "of-base", "f", "1", "g", "2"]);
    set("HPEXPIRE of-base 80000 FIELDS 1 f", "of-base", Some("f"));
    // It expires while the test waits.
    redis.run(&["SET", "gone", "v", "PX", "12000"]);
    redis.run(&["SET", "dead", "v", "PX", "1"]);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    set("SET px v PX 90000", "px", None);
    set("SET ex v EX 91", "ex", None);
    set("SETEX setex 92 v", "setex", None);
    set("PSETEX psetex 93000 v", "psetex", None);
    redis.run(&["SET", "expire", "1"]);
    set("EXPIRE expire 94", "expire", None);
    redis.run(&["MSET", "getex", "1", "pexpire", "1", "expireat", "1"]);
    set("GETEX getex PX 95000", "getex", None);
    set("PEXPIRE pexpire 96000", "pexpire", None);
    set("PEXPIREAT expireat 4102444800000", "expireat", None);
    set("COPY base copied", "copied", None);
    set("HSETEX in-log EX 97 FIELDS 1 f v", "in-log", Some("f"));
    redis.run(&["HSET", "later", "f", "1"]);
    set("HEXPIRE later 98 FIELDS 1 f", "later", Some("f"));
    redis.run(&["SET", "gone-too", "v", "PX", "12000"]);
    recorder.catch_up(&redis);
    let moment = now();
    let then: Vec<i64> = keys.iter().map(|(key, field)| expiry(&redis, key, *field)).collect();
    redis.run(&["FLUSHALL"]);
    recorder.catch_up(&redis);
    recorder.stop();
    let at = moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let source = ["--restore-time", at.as_str()];

    wait("keys to expire", Duration::from_secs(30), || {
        (Timestamp::now().as_millisecond() > moment.as_millisecond() + 13_000).then_some(())
    });
    let told = bench.run(&call(source, &[])).json();
    let check = told["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "time_shift").unwrap().clone();
    assert!(check["status"] == "warn" && text(&check["detail"]).contains("up to 1 keys"), "{kind}: {check}");
    let after = text(&told["impact"]["after"]);
    assert!(after.contains("up to 1 keys") && after.contains("up to 1 expiries that the log sets"), "{kind}: {after}");

    let to = Timestamp::now();
    let shift = to.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let more = ["--time-shift", shift.as_str()];
    let planned = bench.run(&call(source, &more)).json();
    let token = text(&planned["confirmation_token"]);
    let done = bench.run(&call(source, &[&more[..], &["--confirmation-token", &token]].concat()));
    assert_eq!(done.code, 0, "{kind}: {done:?}");
    let by = to.as_millisecond() - moment.as_millisecond();
    for ((key, field), was) in keys.iter().zip(then) {
        let is = expiry(&redis, key, *field);
        if *key == "forever" {
            assert_eq!(redis.run(&["PTTL", key]), Reply::Int(-1), "{kind}");
        } else {
            assert!((is - was - by).abs() < ABOUT, "{kind}: {key} {field:?} has {} ms more than it had", is - was - by);
        }
    }
    let has = |key: &str| redis.run(&["EXISTS", key]) == Reply::Int(1);
    let late = Timestamp::now().as_millisecond() - to.as_millisecond();
    if late < 11_000 {
        assert!(has("gone") && has("gone-too"), "{kind}: after {late} ms");
    }
    assert!(!has("dead"), "{kind}: what had expired at the moment stays expired");

    // And without it they are gone.
    let planned = bench.run(&call(source, &[])).json();
    let token = text(&planned["confirmation_token"]);
    let done = bench.run(&call(source, &["--confirmation-token", &token]));
    assert_eq!(done.code, 0, "{kind}: {done:?}");
    assert!(!has("gone") && !has("gone-too") && has("base") && has("px"), "{kind}");
}

/// A payload in the log whose times cannot be moved, for it is larger than what is held, refuses the plan: nobody is asked, and nothing is
/// touched. Without `time_shift` it goes as it is.
#[test]
fn what_cannot_be_moved_refuses_the_plan() {
    let redis = Redis::start("redis-8.2", &["--repl-backlog-size", "256mb", "--rdbcompression", "no"]);
    let bench = Bench::unattended(&redis);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    let value = "x".repeat(1 << 20);
    for n in 0..66 {
        redis.run(&["HSET", "large", &format!("f{n}"), &format!("{n}{value}")]);
    }
    redis.run(&["HPEXPIREAT", "large", "4102444800000", "FIELDS", "1", "f1"]);
    let kept = redis.run(&["HSTRLEN", "large", "f1"]);
    // As a client that moves keys does.
    let moves =
        "local payload = redis.call('DUMP', KEYS[1]) redis.call('RESTORE', KEYS[2], 0, payload) return #payload";
    let Reply::Int(bytes) = redis.run(&["EVAL", moves, "2", "large", "copy"]) else { panic!("a length") };
    recorder.catch_up(&redis);
    let moment = now();
    redis.run(&["DEL", "large", "copy"]);
    recorder.catch_up(&redis);
    recorder.stop();
    let at = moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let source = ["--restore-time", at.as_str()];
    assert!(bytes > 64 << 20, "{bytes} bytes, which fit");
    let refused = bench.run(&call(source, &["--time-shift", "2100-01-01T00:00:00Z"]));
    assert!(refused.code == 2 && refused.err.contains("[restore.not_movable]"), "{refused:?}");
    assert!(bench.jobs().iter().all(|job| job["kind"] != "restore"), "{:?}", bench.jobs());
    let asked = bench.run(&call(source, &[]));
    assert_eq!(asked.code, 0, "{asked:?}");
    let done = bench.run(&call(source, &["--confirmation-token", &text(&asked.json()["confirmation_token"])]));
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
    assert_eq!(redis.run(&["HSTRLEN", "copy", "f1"]), kept);
}
