//! A link on which nothing comes: what it held up on its way says by how much earlier than it came it may have been written, and so does what
//! the replica that gives a log got late; a silence in which nothing was written says nothing of what comes behind it.

use super::collector::{KIND, logging};
use crate::support::log::{LONG, Service, Wire, archived_to, begun, coverage, log_of, position, service_log};
use crate::support::{Bench, Redis, text, wait};
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Longer than what is behind a silence is believed to have been written when it came.
const SILENCE: Duration = Duration::from_millis(15_500);

/// By how much earlier than they came the bytes right before an offset may have been written, in milliseconds.
fn precision(bench: &Bench, offset: u64) -> u64 {
    let coverage = coverage(bench);
    let run = coverage.runs.last().unwrap();
    let of_it = run.segments.iter().filter(|segment| segment.first < offset && offset <= segment.last);
    of_it.map(|segment| segment.precision_ms).max().unwrap()
}

#[test]
fn what_a_silent_link_held_up_is_late_and_what_an_idle_source_writes_is_not() {
    // One says nothing for an hour while nobody writes to it. The other writes more than its backlog holds: a link that was made anew would
    // miss it.
    let idle = Redis::start(KIND, &["--repl-ping-replica-period", "3600"]);
    let redis = Redis::start(KIND, &["--repl-backlog-size", "16kb"]);
    let wire = Wire::to(&redis);
    let of_both = [(&idle, logging(&idle.url(), "")), (&redis, logging(&wire.url(), ""))];
    let _services = of_both.each_ref().map(|(_, bench)| Service::start(bench));
    for (redis, bench) in &of_both {
        begun(bench, redis);
    }
    let [(_, of_idle), (_, bench)] = &of_both;
    wire.hold();
    let silent = Instant::now();
    for n in 0..200 {
        redis.run(&["SET", &format!("key:{n}"), &"x".repeat(400)]);
    }
    let held = position(&redis).1;
    let within = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    wait("a silence", LONG, || (silent.elapsed() > SILENCE).then_some(()));
    wire.let_go();
    for (redis, bench) in &of_both {
        redis.run(&["SET", "b", "1"]);
        archived_to(bench, position(redis).1);
    }
    assert_eq!(precision(of_idle, position(&idle).1), 0, "{}", service_log(of_idle));
    let late = precision(bench, held);
    assert!(u128::from(late) >= SILENCE.as_millis(), "{late}: {}", service_log(bench));
    let call = ["restore-instance", "--instance-id", "orders", "--restore-time", &within, "--json"];
    let planned = bench.run(&call).json();
    let checks = planned["prechecks"].as_array().unwrap();
    let moment = checks.iter().find(|check| check["name"] == "restore_time").unwrap();
    assert!(moment["status"] == "block" && text(&moment["detail"]).contains("does not tell when"), "{planned}");
    for (_, bench) in &of_both {
        assert_eq!(log_of(bench)["total_gaps"], 0, "{}", service_log(bench));
        assert!(!service_log(bench).contains("the link"), "{}", service_log(bench));
    }
}

#[test]
fn what_a_replica_got_late_is_late() {
    let master = Redis::start(KIND, &[]);
    let wire = Wire::to(&master);
    let replica = Redis::start(KIND, &["--replicaof", &format!("127.0.0.1 {}", wire.port)]);
    wait("the replica", LONG, || (replica.info("master_link_status") == "up").then_some(()));
    let bench = logging(&master.url(), &format!("backup_from = \"{}\"", replica.url()));
    let service = Service::start(&bench);
    begun(&bench, &master);
    service.kill();
    wait("the end of the link", LONG, || (replica.info("connected_slaves") == "0").then_some(()));
    wire.hold();
    let written = Instant::now();
    master.run(&["SET", "meanwhile", "1"]);
    let offset = position(&master).1;
    let _service = Service::start(&bench);
    wait("the replica to be followed", LONG, || (replica.info("connected_slaves") == "1").then_some(()));
    let late = written.elapsed();
    wire.let_go();
    archived_to(&bench, offset);
    let precision = precision(&bench, offset);
    assert!(u128::from(precision) >= late.as_millis(), "{precision}, {late:?}: {}", service_log(&bench));
    assert_eq!(log_of(&bench)["total_gaps"], 0, "{}", service_log(&bench));
}
