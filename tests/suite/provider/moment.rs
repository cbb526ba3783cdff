//! Restores to a moment: the set and the commands behind it, to the last one, or no restore; and the way back of a restore under
//! writes, to the last write that was accepted.

use crate::support::{Bench, Done, MATRIX, Redis, Reply, accepted_after, finish, text, wait};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

fn to_cutover<'a>(job: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore-instance", "--instance-id", "orders", "--before-position", job, "--json"][..], more].concat()
}

/// Both calls of a restore to the cutover of another.
pub fn back(bench: &Bench, job: &str) -> Done {
    let planned = bench.run(&to_cutover(job, &[]));
    assert_eq!(planned.code, 0, "{planned:?}");
    let token = text(&planned.json()["confirmation_token"]);
    bench.run(&to_cutover(job, &["--confirmation-token", &token]))
}

fn check<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let checks = plan["prechecks"].as_array().unwrap_or_else(|| panic!("{plan}"));
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {plan}"))
}

/// Writes transactions one after the other until the server refuses one, or it is to stop; how many it accepted, once the first was.
fn write_until_refused(port: u16, started: &mpsc::Sender<()>, stop: &AtomicBool) -> u64 {
    let mut to = TcpStream::connect(("127.0.0.1", port)).unwrap();
    to.set_nodelay(true).unwrap();
    let mut from = BufReader::new(to.try_clone().unwrap());
    for n in 1.. {
        let words = format!("MULTI\r\nSET n {n}\r\nRPUSH list {n}\r\nEXEC\r\n");
        to.write_all(words.as_bytes()).unwrap();
        let mut replies = String::new();
        // OK, two QUEUED; then *2, OK and a length, or one line that refuses.
        for _ in 0..4 {
            from.read_line(&mut replies).unwrap();
        }
        if replies.contains("-READONLY") {
            return n - 1;
        }
        for _ in 0..2 {
            from.read_line(&mut replies).unwrap();
        }
        if n == 1 {
            started.send(()).unwrap();
        }
        if stop.load(Ordering::SeqCst) {
            return n;
        }
    }
    unreachable!()
}

/// A restore under writes, and its reply; how many transactions were accepted before it took over.
fn restored_under_writes(redis: &Redis, bench: &Bench, backup: &str) -> (Value, u64) {
    for _ in 0..5 {
        let stop = AtomicBool::new(false);
        let (done, accepted) = std::thread::scope(|scope| {
            let (started, begun) = mpsc::channel();
            let stop = &stop;
            let writer = scope.spawn(move || write_until_refused(redis.port, &started, stop));
            begun.recv().unwrap();
            let done = bench.restore(backup);
            stop.store(true, Ordering::SeqCst);
            (done, writer.join().unwrap())
        });
        // A target drops its replicas where it is told to follow another, the tail with what was on its way among them. It is untouched,
        // and another plan is to be made.
        if done.json()["code"] == "restore.tail_lost" {
            redis.run(&["DEL", "n", "list"]);
            continue;
        }
        assert_eq!(done.code, 0, "{done:?}");
        return (done.json(), accepted);
    }
    panic!("the tail was lost each time")
}

/// A target that was restored under writes and keeps an append-only file, its bench, the job, and the data then.
fn restored() -> (Redis, Bench, String, String) {
    let redis = Redis::start("redis-7.0", &["--appendonly", "yes"]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let (reply, _) = restored_under_writes(&redis, &bench, &backup);
    let job = text(&reply["job_id"]);
    let before = redis.digest();
    (redis, bench, job, before)
}

fn tail_of(bench: &Bench, job: &str) -> PathBuf {
    bench.home().join("tails").join(job).with_extension("resp")
}

/// On every engine the call that a restore under writes ends with brings back the last transaction that was accepted before the
/// cutover, whole; and the restore to there can itself be undone.
#[test]
fn the_way_back_ends_at_the_last_accepted_write() {
    for kind in MATRIX {
        let redis = Redis::start(kind, &[]);
        redis.fill(0, 1);
        let bench = Bench::unattended(&redis);
        let backup = bench.backup();
        let intact = redis.digest();
        let (reply, accepted) = restored_under_writes(&redis, &bench, &backup);
        let (message, job) = (text(&reply["message"]), text(&reply["job_id"]));
        assert!(accepted_after(&message).unwrap() > 0, "{kind}: {message}");
        assert_eq!(redis.digest(), intact, "{kind}");
        let call = format!("restore_instance with instance_id orders and before_position {job}");
        assert_eq!(reply["next_actions"][0], format!("to get back: {call}"), "{kind}");
        assert!(message.contains(&format!("{call} returns to the last of them")), "{kind}: {message}");
        redis.run(&["SET", "since", "1"]);

        let planned = bench.run(&to_cutover(&job, &[])).json();
        assert_eq!(check(&planned, "restore_time")["status"], "pass", "{planned}");
        assert_eq!(check(&planned, "log_replay")["status"], "pass", "{planned}");
        assert_eq!(planned["plan"]["base_backup_id"], reply["plan"]["safety_backup_id"]);
        let done = back(&bench, &job);
        assert_eq!(done.code, 0, "{kind}: {done:?}");
        let message = text(&done.json()["message"]);
        assert!(message.contains("applied all") && message.contains("refused none"), "{message}");
        assert_eq!(redis.run(&["GET", "n"]), Reply::Text(accepted.to_string()), "{kind}: {message}");
        assert_eq!(redis.run(&["LLEN", "list"]), Reply::Int(i64::try_from(accepted).unwrap()), "{kind}");
        assert_eq!(redis.run(&["EXISTS", "since"]), Reply::Int(0), "{kind}");

        // Nothing was written before the second cutover but what the safety backup has.
        let undone = bench.restore(&text(&done.json()["plan"]["safety_backup_id"]));
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!(redis.run(&["EXISTS", "since"]), Reply::Int(1), "{kind}");
    }
}

/// What the target does not know is found for the plan; what it refuses ends the restore as none, by name, with the way back; a tail
/// that is not the planned one is not sent.
#[test]
fn a_log_that_the_target_would_not_apply_is_not_restored() {
    let (mut redis, bench, job, before) = restored();

    let tail = tail_of(&bench, &job);
    let whole = std::fs::read(&tail).unwrap();
    let planned = bench.run(&to_cutover(&job, &[])).json();
    let append = |more: &str| std::fs::write(&tail, [&whole[..], more.as_bytes()].concat()).unwrap();
    append("*5\r\n$3\r\nSET\r\n$1\r\nn\r\n$1\r\n1\r\n$2\r\nNO\r\n$4\r\nSUCH\r\n");
    let token = text(&planned["confirmation_token"]);
    let changed = bench.run(&to_cutover(&job, &["--confirmation-token", &token])).json();
    assert_eq!(changed["status"], "plan_changed", "{changed}");
    assert_eq!(redis.digest(), before);

    let refused = back(&bench, &job);
    let said = refused.json();
    assert_eq!((&said["status"], &said["code"]), (&"failed".into(), &"restore.command_refused".into()), "{said}");
    let message = text(&said["message"]);
    assert!(message.contains("refused 1 commands of the log (set)") && message.contains("NOT restored"), "{message}");
    let safety = text(&said["plan"]["safety_backup_id"]);
    assert!(text(&said["hint"]).contains(&safety), "{said}");
    assert_eq!(redis.info("role"), "master");
    assert_eq!(bench.restore(&safety).code, 0);
    assert_eq!(redis.digest(), before, "the way back of a restore that was none");

    append("*1\r\n$4\r\nPI");
    let damaged = bench.run(&to_cutover(&job, &[]));
    assert!(damaged.code == 6 && damaged.err.contains("[restore.tail_damaged]"), "{damaged:?}");

    append("");
    redis.restart_with(&["--rename-command", "RPUSH", "HIDDEN"]);
    let blocked = bench.run(&to_cutover(&job, &[])).json();
    assert_eq!(blocked["status"], "blocked", "{blocked}");
    let replay = check(&blocked, "log_replay");
    assert!(replay["status"] == "block" && text(&replay["detail"]).contains("does not know RPUSH"), "{replay}");
}

/// A restore that is none of this instance's, of which nothing is kept, or whose tail was cut, has no cutover to return to; and
/// positions exclude the other ways to name a source.
#[test]
fn what_is_no_moment_is_refused() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let unknown = bench.run(&to_cutover("rj-20260101T000000Z-aaaaaa", &[]));
    assert!(unknown.code == 4 && unknown.err.contains("[job.not_found]"), "{unknown:?}");
    for bad in ["", "b-1", "t-1/0", "t-1/0/x", "rj- 1", "../x"] {
        let refused = bench.run(&to_cutover(bad, &[]));
        assert!(refused.code == 2, "{bad}: {refused:?}");
    }
    for more in [["--backup-id", &backup], ["--restore-time", "2026-11-23T06:15:00.123Z"]] {
        let refused = bench.run(&to_cutover("rj-20260101T000000Z-aaaaaa", &more));
        assert!(refused.code == 2 && refused.err.contains("[arguments.invalid]"), "{refused:?}");
    }
    let (reply, _) = restored_under_writes(&redis, &bench, &backup);
    let job = text(&reply["job_id"]);
    std::fs::remove_file(tail_of(&bench, &job)).unwrap();
    let blocked = bench.run(&to_cutover(&job, &[])).json();
    assert_eq!(blocked["status"], "blocked", "{blocked}");
    assert!(text(&check(&blocked, "restore_time")["detail"]).contains("not all that was written"), "{blocked}");
}

/// A target or a process of ours that ends while the log is replayed leaves no restore that is called one: the end says what the
/// target holds, and the way back brings what was there.
#[test]
fn what_ends_half_way_is_no_restore() {
    // More than is applied at a blow.
    const COMMANDS: u64 = 600_000;
    for (of_target, code) in [(true, "restore.replay_broken"), (false, "job.interrupted")] {
        let (mut redis, bench, job, before) = restored();
        let mut tail = std::fs::OpenOptions::new().append(true).open(tail_of(&bench, &job)).unwrap();
        let sets: String = (0..COMMANDS)
            .map(|i| format!("*3\r\n$3\r\nSET\r\n$1\r\nn\r\n${}\r\n{i}\r\n", i.to_string().len()))
            .collect();
        tail.write_all(sets.as_bytes()).unwrap();
        let token = text(&bench.run(&to_cutover(&job, &[])).json()["confirmation_token"]);
        let mut child = bench.spawn(&to_cutover(&job, &["--confirmation-token", &token]));
        // The old data has another value there, and the last command of the log has its last.
        let half = |reply: std::io::Result<Reply>| {
            let n = reply.ok()?.text().parse::<u64>().ok()?;
            let follows = redis.try_run(&["INFO", "replication"]).ok()?.text().contains("role:slave");
            (follows && (COMMANDS / 100..COMMANDS - 1).contains(&n)).then_some(())
        };
        wait("the log to be half way in", Duration::from_secs(100), || half(redis.try_run(&["GET", "n"])));
        if of_target {
            redis.kill();
            let ended = finish(child).json();
            assert_eq!((&ended["status"], &ended["code"]), (&"failed".into(), &code.into()), "{ended}");
            redis.restart();
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let jobs = bench.jobs();
        let last = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
        assert_eq!((&last["status"], &last["code"]), (&"failed".into(), &code.into()), "{last}");
        let safety =
            last["hint"].as_str().unwrap().split("backup_id ").nth(1).unwrap().trim_end_matches(['.', ' ']).to_owned();
        if !of_target {
            assert!(text(&last["message"]).contains("NOT restored"), "{last}");
        }
        assert_eq!(redis.info("role"), "master");
        let undone = bench.restore(&safety);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!(redis.digest(), before, "{code}");
    }
}
