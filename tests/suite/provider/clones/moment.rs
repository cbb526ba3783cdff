//! Clones of a moment: what the instance held then, by its own digest, on every engine; and what is no moment is no clone.

use super::digest;
use super::servers::with_script;
use crate::provider::moment_log::now;
use crate::support::clones::{bench, signal};
use crate::support::recorder::Recorder;
use crate::support::{Bench, MATRIX, Redis, Reply, text, unattended, wait};
use std::time::Duration;

/// A bench whose log has a moment that is over, as it is written.
fn with_moment(kind: &str, work: impl Fn(&Redis)) -> (Redis, Bench, String) {
    let redis = Redis::start(kind, &["--repl-backlog-size", "256mb"]);
    redis.fill(1, 9);
    let bench = bench(&redis, kind);
    let recorder = Recorder::behind(&bench, &redis, &bench.backup());
    work(&redis);
    recorder.catch_up(&redis);
    let at = now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let then = redis.digest();
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "after", "1"]);
    recorder.catch_up(&redis);
    recorder.stop();
    std::fs::write(redis.dir.path().join("then"), then).unwrap();
    (redis, bench, at)
}

/// On every engine a clone of the moment before a FLUSHALL has the digest of then, says which moment it is, and the source is not touched.
#[test]
fn a_clone_of_a_moment_holds_what_was_there() {
    std::thread::scope(|scope| {
        for kind in MATRIX {
            scope.spawn(move || {
                let (redis, bench, at) = with_moment(kind, |redis| {
                    for n in 0..200 {
                        redis.run(&["RPUSH", "list", &n.to_string()]);
                        redis.run_in(3, &["SET", &format!("k{n}"), "v", "PX", "90000000"]);
                    }
                    redis.run(&["EVAL", "redis.call('DEL', 'list') redis.call('SADD', 'set', 'a', 'b')", "0"]);
                });
                let then = std::fs::read_to_string(redis.dir.path().join("then")).unwrap();
                let now = redis.digest();
                let source = ["--restore-time", at.as_str()];
                let plan = bench.plan_clone(&source).json();
                let status = |name: &str| {
                    let all = plan["prechecks"].as_array().unwrap_or_else(|| panic!("{plan}"));
                    text(&all.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {plan}"))["status"])
                };
                for name in ["backup_verified", "engine_compatible", "restore_time", "log_replay", "room_here"] {
                    assert_eq!(status(name), "pass", "{kind} {name}: {plan}");
                }
                let clone = bench.cloned(&source);
                let row = bench.listed_clones()[0].clone();
                assert_eq!(text(&row["clone_of"]["restore_time"]), at, "{kind}: {row}");
                assert_eq!(digest(&bench, kind, &clone), then, "{kind}");
                assert_eq!(redis.digest(), now, "{kind}: the source is as it was");
                assert_eq!(bench.delete_clone(&clone.id).code, 0, "{kind}");
                bench.assert_no_clones(kind);
            });
        }
    });
}

/// What has expired since the moment may be missing, and is counted as such; a key whose expiry is still to come may not.
#[test]
fn only_what_has_expired_may_be_missing() {
    let until = std::cell::Cell::new(jiff::Timestamp::MIN);
    let (redis, bench, at) = with_moment("redis-7.0", |redis| {
        until.set(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8));
        redis.run(&["SET", "soon", "1", "PXAT", &until.get().as_millisecond().to_string()]);
        redis.run(&["SET", "later", "1", "PX", "90000000"]);
    });
    wait("an expiry", Duration::from_secs(20), || (jiff::Timestamp::now() > until.get()).then_some(()));
    let source = ["--restore-time", at.as_str()];
    let clone = bench.cloned(&source);
    assert!(clone.message.contains(", for 1 had an expiry that has passed since,"), "{}", clone.message);

    // A server that loads the same without the one that has not expired.
    assert_eq!(clone.as_admin(&["DEL", "later"]), Reply::Int(1));
    assert_eq!(clone.as_admin(&["SAVE"]), Reply::Text("OK".into()));
    let less = bench.dir.path().join("less.rdb");
    std::fs::copy(clone.dir.join("dump.rdb"), &less).unwrap();
    assert_eq!(bench.delete_clone(&clone.id).code, 0);
    let lossy = with_script(&redis, &format!("[ -e clone.json ] && cat {less:?} > dump.rdb"));
    let script = lossy.dir.path().join("redis-server");
    bench.configure(&format!("server_programs = [{script:?}]\n{}", unattended(&redis, "")));
    let echo = bench.clone_echo(&source);
    let done = bench.run(&echo.iter().map(String::as_str).collect::<Vec<_>>());
    let reply = done.json();
    assert_eq!((&reply["status"], &reply["code"]), (&"failed".into(), &"clone.failed".into()), "{reply}");
    bench.assert_no_clones("that lacked a key");
}

/// A moment that the log does not reach is no clone, and the nearest is named; a process killed while it builds leaves nothing.
#[test]
fn what_is_no_moment_is_no_clone() {
    let (redis, bench, at) = with_moment("redis-7.0", |redis| {
        redis.run(&["EVAL", "for i = 1, 300000 do redis.call('SET', 'k' .. i % 100, i) end", "0"]);
    });
    let blocked = bench.plan_clone(&["--restore-time", "2020-01-01T00:00:00Z"]).json();
    assert_eq!(blocked["status"], "blocked", "{blocked}");
    assert!(text(&blocked["prechecks"][0]["detail"]).contains("nearest"), "{blocked}");
    // The call that is named works: it is the nearest moment of this very log.
    let call = text(&blocked["next_actions"][0]);
    let near = call.strip_prefix("create_instance_from_backup with instance_id orders and restore_time ").unwrap();
    assert_eq!(bench.plan_clone(&["--restore-time", near]).json()["status"], "confirmation_required", "{blocked}");
    let now = redis.digest();
    let scratch = || std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count);
    let source = ["--restore-time", at.as_str()];
    let echo = bench.clone_echo(&source);
    let mut child = bench.spawn(&echo.iter().map(String::as_str).collect::<Vec<_>>());
    bench.await_scratch_server();
    signal(child.id(), "KILL");
    child.wait().unwrap();
    wait("nothing to be left", Duration::from_secs(30), || (scratch() == 0).then_some(()));
    let jobs = bench.json(&["describe-jobs"])["jobs"].as_array().unwrap().clone();
    let job = jobs.iter().find(|job| job["kind"] == "clone").unwrap();
    assert_eq!(job["code"], "job.interrupted", "{job}");
    bench.assert_no_clones("when our process was killed");
    assert_eq!(redis.digest(), now);
}
