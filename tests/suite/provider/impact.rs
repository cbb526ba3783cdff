//! What becomes of keys, as plans and `compare-backups` tell it: what a naive difference of two real servers' states says, for sets and for
//! moments; what was not compared says so; and nothing is left of the comparing.

use crate::support::keys::{Held, difference, held, work};
use crate::support::recorder::Recorder;
use crate::support::{Bench, Dice, Done, Redis, files_under, finish, text, unattended};
use serde_json::Value;
use std::time::Duration;

/// Rounds on each kind of server; `IMPACT_ROUNDS` in the environment makes them more.
fn rounds() -> u64 {
    std::env::var("IMPACT_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2)
}

/// Counts and rows are those of the naive difference.
fn assert_told(told: &Value, now: &Held, then: &Held, what: &str) {
    let (total, rows) = difference(now, then);
    let count = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
    let counts = ["lost", "changed", "added", "untouched"].map(|name| count(told, name));
    assert_eq!(counts, [total.lost, total.changed, total.added, total.untouched], "{what}: {told}");
    assert!(told["not_compared"].is_null(), "{what}: {told}");
    let shown: Vec<_> = told["rows"].as_array().into_iter().flatten().collect();
    let plain = |prefix: &str| prefix.ends_with(':') && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':');
    for ((db, prefix), counts) in rows.iter().filter(|((_, prefix), _)| plain(prefix)) {
        let row = shown.iter().find(|row| row["db"] == *db && row["prefix"] == **prefix);
        // A table that is full leaves some out, and says how many.
        let Some(row) = row else {
            assert!(counts.different() == 0 || told["rows_left_out"].is_u64(), "{what}: no {db} {prefix}: {told}");
            continue;
        };
        let of_row = ["lost", "changed", "added"].map(|name| count(row, name));
        assert_eq!(of_row, [counts.lost, counts.changed, counts.added], "{what}: {db} {prefix}: {told}");
    }
    // Whatever keys are called, each name is one line, is short, and has nothing in it that is not seen.
    for name in shown.iter().filter_map(|row| row["prefix"].as_str()) {
        assert!(name.chars().count() <= 80 && !name.chars().any(char::is_control), "{what}: {name:?}");
        assert!(!name.contains('\u{202e}'), "{what}: {name:?}");
    }
}

/// Scratch servers, nameless files that have a name, and what a capture stages.
fn assert_nothing_left(bench: &Bench) {
    let scratch = std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count);
    let hidden = files_under(&bench.home().join("run"))
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .count();
    assert_eq!((scratch, hidden, bench.left_over().len()), (0, 0, 0));
}

fn impact(planned: &Done) -> Value {
    assert_eq!(planned.code, 0, "{planned:?}");
    planned.json()["impact"]["keys"].clone()
}

/// A plan under a prefix is told as any: the keys that match, as they would be called, with what is called so now, of which nothing goes.
fn assert_told_beside(redis: &Redis, bench: &Bench, first: &str, then: &Held, kind: &str) {
    let (matches, prefix) = (|key: &[u8]| key.starts_with(b"user:") || key.starts_with(b"s:"), "old.");
    for n in 0..30 {
        redis.run(&["COPY", &format!("user:{n}"), &format!("old.user:{n}")]);
    }
    // One of the set's keys is not called so now, one is another.
    let mut known = then.keys().filter(|(db, key)| *db == 0 && key.starts_with(b"user:")).map(|(_, key)| key);
    let mut next = || format!("old.{}", String::from_utf8_lossy(known.next().unwrap()));
    redis.run(&["DEL", &next()]);
    redis.run(&["MSET", &next(), "another", "old.user:none", "stays", "old.cart:1", "is not meant"]);
    let plan = ["restore-instance", "--instance-id", "orders", "--backup-id", first, "--json"];
    let plan = bench.run(&[&plan[..], &["--filter-key", "user:.*,s:.*", "--add-prefix", prefix]].concat());
    let called = |(db, key): &(u64, Vec<u8>)| (*db, [prefix.as_bytes(), key].concat());
    let wanted: Held =
        then.iter().filter(|(key, _)| matches(&key.1)).map(|(key, v)| (called(key), v.clone())).collect();
    let is_called = |(_, key): &(u64, Vec<u8>)| key.strip_prefix(prefix.as_bytes()).is_some_and(matches);
    let there: Held = held(redis).into_iter().filter(|(key, _)| is_called(key)).collect();
    let after: Held = there.clone().into_iter().chain(wanted).collect();
    let (total, _) = difference(&there, &after);
    assert!(total.lost == 0 && total.untouched > 0 && total.changed > 0 && total.added > 0, "{kind}: {total:?}");
    assert_told(&impact(&plan), &there, &after, kind);
}

/// Random pairs of sets: the plan tells what the naive difference is, and `compare-backups` the same in both directions.
#[test]
fn a_plan_tells_the_naive_difference() {
    let dice = Dice::new("impact of sets");
    std::thread::scope(|scope| {
        for (at, kind) in ["redis-7.0", "redis-8.0", "valkey-8.1"].into_iter().enumerate() {
            let mut dice = dice.nth(at as u64);
            scope.spawn(move || {
                for _ in 0..rounds() {
                    let redis = Redis::start(kind, &[]);
                    let bench = Bench::unattended(&redis);
                    work(&redis, &mut dice, 400);
                    let (then, first) = (held(&redis), bench.backup());
                    work(&redis, &mut dice, 200);
                    let (now, second) = (held(&redis), bench.backup());
                    assert_told(&impact(&bench.ask(&first)), &now, &then, kind);
                    let compare = |from: &str, to: &str| {
                        bench.run(&["compare-backups", "--instance-id", "orders", from, to, "--json"])
                    };
                    for (from, to, was, is) in [(&first, &second, &then, &now), (&second, &first, &now, &then)] {
                        let done = compare(from, to);
                        assert_eq!(done.code, 1, "{kind}: {done:?}");
                        assert_told(&done.json()["keys"], was, is, kind);
                    }
                    // What it holds now is what the later set has; and no job, and no set, comes of looking.
                    let jobs = bench.jobs().len();
                    let live = compare(&second, "now");
                    assert_eq!((live.code, &live.json()["equal"]), (0, &true.into()), "{kind}: {live:?}");
                    assert_eq!(bench.jobs().len(), jobs);
                    work(&redis, &mut dice, 50);
                    let live = compare(&second, "now");
                    assert_told(&live.json()["keys"], &now, &held(&redis), kind);
                    assert_told_beside(&redis, &bench, &first, &then, kind);
                    assert_nothing_left(&bench);
                }
            });
        }
    });
}

/// The same for moments: the plan of a restore to one, and two moments, or a moment and a set, compared.
#[test]
fn a_moment_is_compared_too() {
    let dice = Dice::new("impact of moments");
    std::thread::scope(|scope| {
        for (at, kind) in ["redis-7.0", "valkey-8.1"].into_iter().enumerate() {
            let mut dice = dice.nth(at as u64);
            scope.spawn(move || {
                for _ in 0..rounds() {
                    let redis = Redis::start(kind, &["--repl-backlog-size", "64mb"]);
                    let bench = Bench::unattended(&redis);
                    work(&redis, &mut dice, 200);
                    let base = held(&redis);
                    let backup = bench.backup();
                    let recorder = Recorder::behind(&bench, &redis, &backup);
                    let mut moments = Vec::new();
                    for _ in 0..2 {
                        work(&redis, &mut dice, 150);
                        recorder.catch_up(&redis);
                        let at = crate::provider::moment_log::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
                        moments.push((at, held(&redis)));
                        // What comes later is received later.
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    redis.run(&["SET", "user:last", "1"]);
                    recorder.catch_up(&redis);
                    recorder.stop();
                    let run = |args: &[&str]| finish(bench.command_beside(kind, args).spawn().unwrap());
                    let (first, second) = (&moments[0], &moments[1]);
                    let plan =
                        run(&["restore-instance", "--instance-id", "orders", "--restore-time", &first.0, "--json"]);
                    assert_told(&impact(&plan), &held(&redis), &first.1, kind);
                    let compare =
                        |from: &str, to: &str| run(&["compare-backups", "--instance-id", "orders", from, to, "--json"]);
                    assert_told(&compare(&first.0, &second.0).json()["keys"], &first.1, &second.1, kind);
                    assert_told(&compare(&backup, &second.0).json()["keys"], &base, &second.1, kind);
                    assert_eq!(compare(&second.0, &second.0).code, 0);
                    assert_nothing_left(&bench);
                }
            });
        }
    });
}

/// A key of the set whose expiry passes before it would serve never appears, and one that is there and expires is lost to nobody.
#[test]
fn what_expires_by_then_is_neither_added_nor_lost() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["MSET", "user:1", "1", "user:2", "2"]);
    // It is of the set, however long that takes.
    redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    redis.run(&["SET", "soon:1", "1", "PX", "1500"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
    redis.run(&["DEL", "user:1"]);
    crate::support::wait("the key to expire", Duration::from_secs(30), || {
        (redis.run(&["EXISTS", "soon:1"]).text() == "0").then_some(())
    });
    let keys = impact(&bench.ask(&backup));
    let counts = ["lost", "changed", "added", "untouched", "expired"].map(|name| keys[name].as_u64().unwrap());
    assert_eq!(counts, [0, 0, 1, 1, 1], "{keys}");
}

/// A backup, and a moment of the log behind it that lies between two writes.
fn recorded(redis: &Redis, bench: &Bench) -> (String, String) {
    let backup = bench.backup();
    let recorder = Recorder::behind(bench, redis, &backup);
    redis.run(&["SET", "user:1", "1"]);
    recorder.catch_up(redis);
    let at = crate::provider::moment_log::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    std::thread::sleep(Duration::from_millis(5));
    redis.run(&["SET", "user:2", "1"]);
    recorder.catch_up(redis);
    recorder.stop();
    (backup, at)
}

/// A moment behind a set with more databases than servers usually have is built and compared, and so is a clone of it.
#[test]
fn a_moment_of_many_databases() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb", "--databases", "5000"]);
    redis.run_in(4000, &["SET", "user:0", "1"]);
    let bench = crate::support::clones::bench(&redis, "redis-7.0");
    let (backup, at) = recorded(&redis, &bench);
    let args = ["compare-backups", "--instance-id", "orders", &backup, &at, "--json"];
    let done = finish(bench.command_beside("redis-7.0", &args).spawn().unwrap());
    assert_eq!(
        (done.code, &done.json()["keys"]["added"], &done.json()["keys"]["untouched"]),
        (1, &1.into(), &1.into()),
        "{done:?}"
    );
    let clone = bench.cloned(&["--restore-time", &at]);
    let same = bench.run(&[
        "compare-backups",
        "--instance-id",
        "orders",
        &backup,
        "now",
        "--to-instance-id",
        &clone.id,
        "--json",
    ]);
    assert_eq!(same.json()["keys"]["added"], done.json()["keys"]["added"], "{same:?}");
    assert_eq!(bench.delete_clone(&clone.id).code, 0);
    assert_nothing_left(&bench);
}

/// Where the time is too short, no program is here, or the operator wants none of it, the plan goes on, and says what was not compared.
#[test]
fn what_is_not_compared_is_said() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    redis.fill(20, 1);
    let bench = Bench::unattended(&redis);
    let (backup, at) = recorded(&redis, &bench);
    let plan = |source: [&str; 2]| {
        let args = [&["restore-instance", "--instance-id", "orders", "--json"][..], &source].concat();
        let mut command = bench.command(&args);
        let done = finish(command.env("PATH", "/nowhere").spawn().unwrap());
        assert_eq!((done.code, &done.json()["status"]), (0, &"confirmation_required".into()), "{done:?}");
        done.json()["impact"]["keys"].clone()
    };
    let nothing = |keys: &Value, why: &str| {
        assert_eq!(keys["not_compared"]["compared_percent"], 0, "{keys}");
        assert!(text(&keys["not_compared"]["why"]).contains(why), "{why}: {keys}");
        assert!(keys["lost"].is_null() && keys["rows"].is_null(), "{keys}");
    };
    nothing(&plan(["--restore-time", &at]), "no program here loads");
    assert!(plan(["--backup-id", &backup])["lost"].is_u64());

    let guard = |line: &str| unattended(&redis, "").replace("[guard]\n", &format!("[guard]\n{line}\n"));
    bench.configure(&guard("impact_seconds = 0"));
    assert!(plan(["--backup-id", &backup]).is_null());
    assert_nothing_left(&bench);
}

/// A comparison that is ended by a signal, while a moment is built, leaves nothing behind either.
#[test]
fn an_ended_comparison_leaves_nothing() {
    let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
    redis.fill(30, 1);
    let bench = Bench::unattended(&redis);
    let (backup, at) = recorded(&redis, &bench);
    let args = ["compare-backups", "--instance-id", "orders", &backup, &at];
    for signal in ["-INT", "-KILL"] {
        let child = bench.command_beside("redis-7.0", &args).spawn().unwrap();
        let scratch = bench.home().join("scratch");
        let there = || std::fs::read_dir(&scratch).map_or(0, Iterator::count);
        bench.await_scratch_server();
        std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let done = finish(child);
        assert_ne!(done.code, 0, "{done:?}");
        crate::support::wait("the directory to go", Duration::from_secs(30), || (there() == 0).then_some(()));
        assert_nothing_left(&bench);
    }
    // And while it receives what the instance holds.
    redis.run(&["CONFIG", "SET", "repl-diskless-sync-delay", "60"]);
    let replicas = || redis.info("connected_slaves");
    for signal in ["-INT", "-KILL"] {
        let child = bench.command(&["compare-backups", "--instance-id", "orders", &backup]).spawn().unwrap();
        crate::support::wait("the replica", Duration::from_secs(30), || (replicas() == "1").then_some(()));
        std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert_ne!(finish(child).code, 0);
        crate::support::wait("the replica to go", Duration::from_secs(30), || (replicas() == "0").then_some(()));
        assert_nothing_left(&bench);
    }
}
