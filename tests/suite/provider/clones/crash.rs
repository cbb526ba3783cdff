//! Whatever dies, our process, the keeper or the server: no process, port or file of a clone is left, what is whole is known to the next
//! start, and the life of a clone ends also where nothing of this program runs.

use super::set;
use crate::support::clones::{Cloned, bench, is_alive, signal};
use crate::support::{Bench, Dice, Redis, Reply, finish, text, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(30);

fn spawn(bench: &Bench, echo: &[String]) -> std::process::Child {
    bench.spawn(&echo.iter().map(String::as_str).collect::<Vec<_>>())
}

/// By what clones have ended, as the audit has it, oldest first.
fn ended_by(bench: &Bench) -> Vec<String> {
    let lines = bench.run(&["audit", "--json", "--limit", "500"]).out;
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["event"] == "clone.ended").map(|line| text(&line["caller"])).collect()
}

/// The job that is listed first, reconciled.
fn last_job(bench: &Bench) -> serde_json::Value {
    let jobs = bench.json(&["describe-jobs", "--instance-id", "orders"])["jobs"].as_array().unwrap().clone();
    jobs.into_iter().find(|job| job["kind"] == "clone").unwrap()
}

/// Our process killed at points all through the making: then the clone is whole, its job says so, and it can be looked at; or nothing of
/// it is left, and its job has failed.
#[test]
fn our_process_is_killed_at_any_point() {
    const POINTS: u32 = 10;
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(12, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let keys = redis.run(&["DBSIZE"]);
    let source = set(&backup);
    let begun = Instant::now();
    let first = bench.cloned(&source);
    let whole = begun.elapsed();
    assert_eq!(bench.delete_clone(&first.id).code, 0);
    let (mut dice, mut interrupted, mut aim) = (Dice::new("our_process_is_killed_at_any_point"), 0, 1.0);
    for delay in dice.spread(whole, POINTS) {
        let echo = bench.clone_echo(&source);
        let delay = delay.mul_f64(aim);
        let mut child = spawn(&bench, &echo);
        // Not a guess: the moment is what the test is about.
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        let when = format!("killed after {delay:?} of {whole:?}");
        let before = bench.json(&["describe-jobs", "--instance-id", "orders"]);
        let job = before["jobs"].as_array().unwrap().iter().find(|job| job["kind"] == "clone").unwrap().clone();
        assert_ne!(job["status"], "running", "{when}: {job}");
        let listed = bench.listed_clones();
        if job["status"] == "succeeded" {
            aim *= 0.85;
            if let [row] = &listed[..] {
                let id = text(&row["instance_id"]);
                let port = text(&row["address"]).rsplit(':').next().unwrap().parse().unwrap();
                let dir = bench.home().join("clones").join(&id);
                let clone = Cloned { id, port, dir, message: String::new() };
                assert_eq!(clone.ask(&["DBSIZE"]), keys, "{when}");
                let processes = clone.processes();
                assert_eq!(bench.delete_clone(&clone.id).code, 0, "{when}");
                clone.assert_gone(&processes, &when);
            } else {
                // It had not been begun: the job that is listed is an earlier one.
                assert!(listed.is_empty(), "{when}: {listed:?}");
            }
        } else {
            interrupted += 1;
            assert_eq!(job["code"], "job.interrupted", "{when}: {job}");
            assert!(listed.is_empty(), "{when}: {listed:?}");
        }
        bench.assert_no_clones(&when);
    }
    println!("{interrupted} of {POINTS} points met the making of a clone");
    assert!(interrupted >= POINTS / 8, "the points did not meet the making");
    // And nothing keeps the next from being made.
    let clone = bench.cloned(&source);
    assert_eq!(bench.delete_clone(&clone.id).code, 0);
}

/// A server that is killed takes its clone with it, and its data goes without another command; a keeper that is killed leaves the clone,
/// which the next command knows, and ends in its time; and one that hangs is ended too.
#[test]
fn the_clones_own_processes_are_killed() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(1, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let make = || {
        let clone = bench.cloned(&set(&backup));
        let processes = clone.processes();
        (clone, processes)
    };

    let (clone, processes) = make();
    signal(clone.server(), "KILL");
    clone.assert_ended(&processes, "when its server was killed");
    assert!(bench.listed_clones().is_empty());
    clone.assert_gone(&processes, "when a command has looked");
    assert_eq!(ended_by(&bench), ["server"]);

    // Both at once: nobody is left who would remove the files, but the next command.
    let (clone, processes) = make();
    let (server, keeper) = (clone.server(), clone.keeper());
    for pid in [keeper, server] {
        signal(pid, "KILL");
    }
    wait("both to end", WITHIN, || (!is_alive(server) && !is_alive(keeper)).then_some(()));
    assert!(clone.dir.exists());
    assert!(bench.listed_clones().is_empty());
    clone.assert_gone(&processes, "when both were killed");
    assert_eq!(ended_by(&bench), ["server", "server"]);

    // Without its keeper it is a clone all the same, and the next look ends it when its life is over.
    let (clone, processes) = make();
    let keeper = clone.keeper();
    signal(keeper, "KILL");
    wait("the keeper to end", WITHIN, || (!is_alive(keeper)).then_some(()));
    assert_eq!(bench.listed_clones().len(), 1);
    clone.ends_at(Timestamp::now() - SignedDuration::from_secs(1));
    assert!(bench.listed_clones().is_empty());
    clone.assert_gone(&processes, "when its life was over");
    assert_eq!(ended_by(&bench), ["server", "server", "lifetime"]);

    // One that answers nobody.
    let (clone, processes) = make();
    signal(clone.server(), "STOP");
    let done = bench.delete_clone(&clone.id);
    assert_eq!(done.code, 0, "{done:?}");
    clone.assert_gone(&processes, "when it hung");
    bench.assert_no_clones("at the end");
}

/// Nobody has to run for a clone to end: its keeper ends it. And a person who removes its directory ends it as well.
#[test]
fn a_clone_ends_by_itself() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let clone = bench.cloned(&set(&backup));
    let processes = clone.processes();
    let of = &bench.listed_clones()[0]["clone_of"];
    let ends: Timestamp = text(&of["ends_at"]).parse().unwrap();
    let left = ends.duration_since(Timestamp::now());
    assert!(left > SignedDuration::from_mins(23 * 60) && left <= SignedDuration::from_hours(24), "{left}");
    clone.ends_at(Timestamp::now() - SignedDuration::from_secs(1));
    clone.assert_ended(&processes, "by itself");
    bench.assert_no_clones("when a command has looked");
    assert_eq!(ended_by(&bench), ["lifetime"]);

    let clone = bench.cloned(&set(&backup));
    let processes = clone.processes();
    std::fs::remove_dir_all(&clone.dir).unwrap();
    clone.assert_gone(&processes, "when its directory was removed");
    bench.assert_no_clones("at the end");
}

/// A clone that the service made outlives it, and ends in its time though nothing of this program runs but its keeper. Of its name nothing is
/// left, so that it is given again.
#[test]
fn a_services_clone_ends_without_it() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let mut service = bench.command(&["serve"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let mut call = |token: Option<String>| {
        let arguments = json!({ "instance_id": "orders", "backup_id": backup, "instance_name": "look", "confirmation_token": token });
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        });
        let params = json!({ "name": "create_instance_from_backup", "arguments": arguments, "_meta": meta });
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        writeln!(service.stdin.as_mut().unwrap(), "{request}").unwrap();
        loop {
            let message: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if message["id"] == 1 {
                return message["result"]["structuredContent"].clone();
            }
        }
    };
    let planned = call(None);
    let done = call(Some(text(&planned["confirmation_token"])));
    assert_eq!(done["status"], "succeeded", "{planned} {done}");
    let clone = bench.told(&text(&done["message"]));
    let processes = clone.processes();
    signal(service.id(), "KILL");
    service.wait().unwrap();
    assert_eq!(clone.ask(&["PING"]), Reply::Text("PONG".into()), "it outlives the service");
    clone.ends_at(Timestamp::now() + SignedDuration::from_millis(300));
    clone.assert_ended(&processes, "without the service");
    let again = bench.cloned(&["--backup-id", &backup, "--instance-name", "look"]);
    assert_eq!((&again.id, bench.delete_clone(&again.id).code), (&clone.id, 0));
    bench.assert_no_clones("at the end");
}

/// Clones that hang past their life are ended together, and keep no list waiting one after another.
#[test]
fn hung_clones_are_ended_at_once() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let clones: Vec<_> = (0..3).map(|_| bench.cloned(&set(&backup))).collect();
    let processes: Vec<_> = clones.iter().flat_map(Cloned::processes).collect();
    for pid in &processes {
        signal(*pid, "STOP");
    }
    for clone in &clones {
        clone.ends_at(Timestamp::now() - SignedDuration::from_secs(1));
    }
    let begun = Instant::now();
    assert!(bench.listed_clones().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for clone in &clones {
        clone.assert_gone(&processes, "though it hung");
    }
    assert_eq!(ended_by(&bench), ["lifetime"; 3]);
}

/// A restore into a clone whose process died with the clone is over, and the clone's name is not given to another, which would be taken
/// for it.
#[test]
fn a_restore_into_a_clone_that_is_gone_is_over() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(20, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let named = ["--backup-id", backup.as_str(), "--instance-name", "look"];
    let clone = bench.cloned(&named);
    let mine = bench.json(&["create-backup", "--instance-id", &clone.id]);
    let mine = text(&mine["backup_id"]);
    let restore = ["restore-instance", "--instance-id", &clone.id, "--backup-id", &mine, "--json"];
    let token = text(&bench.run(&restore).json()["confirmation_token"]);
    let mut child = bench.spawn(&[&restore[..], &["--confirmation-token", &token]].concat());
    let restores = || {
        let jobs = bench.json(&["describe-jobs", "--instance-id", &clone.id])["jobs"].as_array().unwrap().clone();
        jobs.into_iter().find(|job| job["kind"] == "restore")
    };
    wait("the restore to begin", WITHIN, || restores().map(|_| ()));
    signal(child.id(), "KILL");
    child.wait().unwrap();
    let processes = clone.processes();
    signal(clone.server(), "KILL");
    clone.assert_ended(&processes, "with its server");
    wait("the restore to be over", WITHIN, || restores().filter(|job| job["status"] != "running"));
    let job = restores().unwrap();
    assert_eq!((&job["status"], &job["code"]), (&"failed".into(), &"job.interrupted".into()), "{job}");
    assert!(text(&job["message"]).contains("the clone has ended"), "{job}");
    let again = bench.plan_clone(&named);
    assert!(again.code == 2 && again.err.contains("[clone.exists]"), "{again:?}");
}

/// How many in a row; a hundred where they are asked for.
fn in_a_row() -> usize {
    std::env::var("CLONES").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// Many in a row, each ended in another way, leave nothing behind.
#[test]
fn many_in_a_row_leave_nothing() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let mut ended = Vec::new();
    for n in 0..in_a_row() {
        let clone = bench.cloned(&set(&backup));
        let processes = clone.processes();
        assert_eq!(processes.len(), 2);
        match n % 4 {
            0 => assert_eq!(bench.delete_clone(&clone.id).code, 0),
            1 => clone.ends_at(Timestamp::now()),
            2 => signal(clone.server(), "KILL"),
            _ => {
                signal(clone.keeper(), "KILL");
                clone.ends_at(Timestamp::now());
            }
        }
        ended.push((clone, processes));
    }
    assert!(bench.listed_clones().is_empty());
    for (clone, processes) in &ended {
        clone.assert_ended(processes, "in a row");
    }
    bench.assert_no_clones("in a row");
    let jobs = bench.json(&["describe-jobs"]);
    assert!(jobs["jobs"].as_array().unwrap().iter().all(|job| job["status"] == "succeeded"), "{jobs}");
}

/// A signal while a clone is made lets it come to its end, as all that a person said yes to.
#[test]
fn a_signal_does_not_cut_it_off() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(20, 5);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let echo = bench.clone_echo(&set(&backup));
    let child = spawn(&bench, &echo);
    wait("a clone to be begun", WITHIN, || (!bench.clone_dirs().is_empty()).then_some(()));
    signal(child.id(), "TERM");
    finish(child);
    assert_eq!(last_job(&bench)["status"], "succeeded");
    let id = text(&bench.listed_clones()[0]["instance_id"]);
    assert_eq!(bench.delete_clone(&id).code, 0);
    bench.assert_no_clones("at the end");
}
