//! What is told of windows and gaps is what can be restored: the first and the last millisecond of each window, and none beyond.

use crate::provider::moments::state::State;
use crate::provider::moments::{restore, written};
use crate::support::log::{
    LONG, Service, Wire, archived_to, coverage, log_of, log_until, position, received, second, service_log,
};
use crate::support::{Bench, Redis, text, wait};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;
use tair_backup_mcp::model::backup::BackupSet;
use tair_backup_mcp::model::time::written_ms;
use tair_backup_mcp::vault::Vault;

/// The sets of the vault, by the library.
fn sets(bench: &Bench) -> Vec<BackupSet> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let vault = Vault::new(bench.home().join("vault"));
    runtime.block_on(vault.list("orders", &())).unwrap().into_iter().map(Result::unwrap).collect()
}

/// Waits until the log has so many bases. What is written while one is being put down lies before the moment from which it leads.
fn bases(bench: &Bench, wanted: usize) {
    wait("a base", LONG, || (sets(bench).len() == wanted).then_some(()));
}

/// What the check of a plan says that is refused for its moment.
fn refused(bench: &Bench, ms: i64) -> String {
    let done = bench.run(&["restore-instance", "--instance-id", "orders", "--json", "--restore-time", &written(ms)]);
    assert_eq!(done.code, 3, "{}: {done:?}", written(ms));
    let plan: Value = done.json();
    let check = plan["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "restore_time").unwrap();
    text(&check["detail"])
}

/// Restores to a moment, at which there must be this.
fn restored(bench: &Bench, redis: &Redis, at: &str, then: &State) {
    let done = restore(bench, "--restore-time", at);
    assert_eq!(done.code, 0, "{at}: {done:?}");
    let there = State::read(redis);
    if let Err(differs) = then.same_as(&there, Timestamp::now().as_millisecond(), 0) {
        panic!("{at}: {differs}\n{}\n{}", done.out, service_log(bench));
    }
}

/// Writes, until the log reaches beyond a whole second, or there would be none in the window.
fn write(bench: &Bench, redis: &Redis, what: &str) {
    let until = Timestamp::now().as_millisecond() / 1000 + 1;
    for n in 0.. {
        redis.run(&["RPUSH", what, &n.to_string()]);
        if Timestamp::now().as_millisecond() / 1000 > until {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    received(bench, redis);
}

/// A moment as a refusal names it, whole seconds with their fraction too.
fn to_the_ms(ms: i64) -> String {
    written_ms(Timestamp::from_millisecond(ms).unwrap())
}

/// A backlog that was overrun, and a source that was started anew: three windows with a gap before each but the first. Each edge is
/// restored, and a millisecond beyond is refused with its neighbours.
#[test]
fn every_edge_is_where_it_is_told() {
    let mut redis = Redis::start("redis-7.0", &["--repl-backlog-size", "16kb"]);
    let wire = Wire::to(&redis);
    let bench = Bench::new(&format!(
        "[guard]\nconfirmation = \"token\"\n[backup_log]\nseal_seconds = 1\n[[instance]]\nid = \"orders\"\nurl = \"{}\"\n\
         enable_backup_log = true\n",
        wire.url()
    ));
    redis.run(&["SET", "old", "1"]);
    let service = Service::start(&bench);
    let mut states = vec![State::read(&redis)];
    received(&bench, &redis);
    bases(&bench, 1);
    write(&bench, &redis, "first");
    states.push(State::read(&redis));

    wire.close();
    for n in 0..100 {
        redis.run(&["SET", &format!("key:{n}"), &"x".repeat(1000)]);
    }
    states.push(State::read(&redis));
    wire.open();
    log_until(&bench, "a gap", |log| log["total_gaps"] == 1);
    bases(&bench, 2);
    write(&bench, &redis, "second");
    states.push(State::read(&redis));

    wire.close();
    redis.restart();
    redis.run(&["SET", "new", "1"]);
    states.push(State::read(&redis));
    wire.open();
    log_until(&bench, "another gap", |log| log["total_gaps"] == 2);
    bases(&bench, 3);
    write(&bench, &redis, "third");
    states.push(State::read(&redis));
    assert_eq!(service.ask_to_end(), Some(0), "{}", service_log(&bench));
    wait("the archiver to end", LONG, || log_of(&bench)["archiver"].is_null().then_some(()));

    let (windows, gaps, told) =
        (coverage(&bench).windows(&sets(&bench)).unwrap(), coverage(&bench).gaps, log_of(&bench));
    assert_eq!((windows.len(), gaps.len(), &told["total_gaps"]), (3, 2, &2.into()), "{windows:?} {gaps:?} {told}");
    let causes = told["gaps"].as_array().unwrap().iter().map(|gap| text(&gap["cause"])).collect::<Vec<_>>();
    assert_eq!(causes, ["source_restarted", "backlog_overrun"], "{told}");
    let edges: Vec<(i64, i64)> = windows.iter().map(|w| (w.from.as_millisecond(), w.to.as_millisecond())).collect();
    for (n, (from, to)) in edges.iter().copied().enumerate() {
        let before = refused(&bench, from - 1);
        assert!(before.contains(&format!("{} (after)", to_the_ms(from))), "{n}: {before}");
        assert_eq!(before.contains("(before)"), n > 0, "{n}: {before}");
        let after = refused(&bench, to + 1);
        assert!(after.contains(&format!("{} (before)", to_the_ms(to))), "{n}: {after}");
        assert_eq!(after.contains("(after)"), n + 1 < edges.len(), "{n}: {after}");
        if n > 0 {
            // The gap is all that lies between two windows, and no more.
            let gap = &gaps[n - 1];
            assert_eq!((gap.from.as_millisecond(), gap.to.as_millisecond()), (edges[n - 1].1, from), "{gap:?}");
        }
    }
    // A target's own history goes on from one restore to the next, which the log that was read does not mind.
    for (n, (from, to)) in edges.iter().copied().enumerate() {
        restored(&bench, &redis, &written(from), &states[2 * n]);
        restored(&bench, &redis, &written(to), &states[2 * n + 1]);
    }
    // What is told in whole seconds lies within, of every window; the seconds around it do not.
    let rows: Vec<&Value> = told["earlier_windows"].as_array().unwrap().iter().rev().chain([&told["window"]]).collect();
    assert_eq!(rows.len(), edges.len(), "{told}");
    for (window, (from, to)) in rows.iter().zip(&edges) {
        for (edge, beyond) in [("start_time", -1000), ("end_time", 1000)] {
            let at = text(&window[edge]);
            let ms = at.parse::<Timestamp>().unwrap().as_millisecond();
            assert!((*from..=*to).contains(&ms) && !(*from..=*to).contains(&(ms + beyond)), "{window}: {edges:?}");
            // What a whole window's edges restore is known by now; a plan says whether these seconds would be.
            let plan = bench.run(&["restore-instance", "--instance-id", "orders", "--json", "--restore-time", &at]);
            assert_eq!(plan.code, 0, "{at}: {plan:?}");
        }
    }
    let protection =
        bench.json(&["describe-instances", "--instance-id", "orders"])["instances"][0]["protection"].clone();
    assert_eq!(protection["backup_log_start_time"], rows[0]["start_time"], "{protection}");
    assert_eq!(
        text(&protection["not_recoverable"]),
        format!(
            "what was before {}, in a gap of the log or between two of its 3 windows, or is after {}",
            text(&rows[0]["start_time"]),
            text(&rows[2]["end_time"])
        )
    );
}

/// A failover that was followed: one window without a gap, of which each second is restored exactly, on both sides of it and from either side
/// to the other.
#[test]
fn a_followed_failover_is_restored_second_by_second() {
    let kind = "redis-7.0";
    let (mut old, new) = (Redis::start(kind, &[]), Redis::start(kind, &[]));
    new.run(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]);
    wait("the replica", LONG, || (new.info("master_link_status") == "up").then_some(()));
    let wire = Wire::to(&old);
    let bench = Bench::new(&format!(
        "[guard]\nconfirmation = \"token\"\n[backup_log]\nseal_seconds = 1\n[[instance]]\nid = \"orders\"\nurl = \"{}\"\n\
         enable_backup_log = true\n",
        wire.url()
    ));
    let service = Service::start(&bench);
    log_until(&bench, "a window", |log| log["window"].is_object());
    let mut seconds: Vec<_> = (0..3).map(|n| second_behind(&bench, &old, &format!("old:{n}"))).collect();
    // The last second is behind what was received before it, and before this.
    old.run(&["SET", "edge", "1"]);
    archived_to(&bench, position(&old).1);
    wait("the replica", LONG, || (position(&new) == position(&old)).then_some(()));
    let (history, _) = position(&old);
    old.kill();
    new.run(&["REPLICAOF", "NO", "ONE"]);
    wire.lead_to(&new);
    wait("the archiver", LONG, || (new.info("connected_slaves") == "1").then_some(()));
    seconds.extend((0..3).map(|n| second_behind(&bench, &new, &format!("new:{n}"))));
    new.run(&["SET", "edge", "2"]);
    archived_to(&bench, position(&new).1);
    let log = log_of(&bench);
    assert_eq!((&log["total_gaps"], coverage(&bench).runs.len()), (&0.into(), 1), "{log}\n{}", service_log(&bench));
    assert_ne!(position(&new).0, history);
    assert_eq!(service.ask_to_end(), Some(0), "{}", service_log(&bench));
    for n in [2, 3, 0, 5, 1, 4] {
        let (at, then) = &seconds[n];
        restored(&bench, &new, at, then);
    }
}

/// Writes, waits until the vault has all of it, and gives the second that begins then, with what there is.
fn second_behind(bench: &Bench, redis: &Redis, what: &str) -> (String, State) {
    for n in 0..20 {
        redis.run(&["RPUSH", what, &n.to_string()]);
    }
    redis.run(&["SET", "newest", what, "PX", "90000000"]);
    archived_to(bench, position(redis).1);
    (second(), State::read(redis))
}
