//! Moments that are asked for at once are built one after the other: none takes the memory that another was told is free.

use super::server::{Era, WITHIN, Wire};
use crate::support::recorder::Recorder;
use crate::support::{Bench, Redis, Reply, text, unattended, wait};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Servers of our own that are there.
fn scratch(bench: &Bench) -> usize {
    std::fs::read_dir(bench.home().join("scratch")).map_or(0, Iterator::count)
}

/// The process of a server of our own, once there is one.
fn server(bench: &Bench) -> u32 {
    let scratch = bench.home().join("scratch");
    wait("a server of our own", Duration::from_secs(30), || {
        std::fs::read_dir("/proc").unwrap().find_map(|process| {
            let process = process.ok()?.path();
            let ours = std::fs::read_link(process.join("cwd")).ok()?.starts_with(&scratch);
            let program = std::fs::read_to_string(process.join("comm")).ok()?;
            let pid = process.file_name()?.to_str()?.parse().ok()?;
            (ours && program.starts_with("redis-server")).then_some(pid)
        })
    })
}

/// Begins a call of `restore_instance`.
fn restores(wire: &mut Wire, arguments: &Value) -> u64 {
    wire.begin("tools/call", json!({ "name": "restore_instance", "arguments": arguments }))
}

/// The structured results of calls that were begun, in the order in which they end.
fn results(wire: &Wire, mut ids: Vec<u64>) -> Vec<Value> {
    let mut results = Vec::new();
    while !ids.is_empty() {
        let message = wire.next();
        if let Some(at) = ids.iter().position(|id| message["id"] == *id) {
            ids.swap_remove(at);
            results.push(message["result"]["structuredContent"].clone());
        }
    }
    results
}

/// Plans that are asked for at once are all compared, and never are two servers there for it. While another moment is being built that takes
/// its time a plan does not wait for longer than it may, and says why it has not compared.
#[test]
fn moments_are_built_one_at_a_time() {
    let (orders, staging) = (Redis::start("redis-7.0", &[]), Redis::start("redis-7.0", &[]));
    orders.run(&["SET", "now", "1"]);
    staging.run(&["SET", "now", "1"]);
    let more = format!("[[instance]]\nid = \"staging\"\nurl = \"{}\"\n", staging.url());
    let config = format!("{}{more}", unattended(&orders, ""));
    let bench = Bench::new(&config);
    let base = bench.backup();
    let recorder = Recorder::behind(&bench, &orders, &base);
    orders.run(&["EVAL", "for i = 1, 100000 do redis.call('SET', 'k' .. i % 100, i) end", "0"]);
    recorder.catch_up(&orders);
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    orders.run(&["FLUSHALL"]);
    recorder.catch_up(&orders);
    recorder.stop();
    // It is the safety backup of all the plans.
    bench.backup();
    let serve = || Wire::of(bench.command_beside("redis-7.0", &["serve"]), Era::Handshake, false);
    let whole = json!({ "instance_id": "orders", "restore_time": at });

    let mut wire = serve();
    let ids = (0..3).map(|_| restores(&mut wire, &whole)).collect();
    let over = AtomicBool::new(false);
    let (plans, most) = std::thread::scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::SeqCst) {
                most = most.max(scratch(&bench));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        });
        let plans = results(&wire, ids);
        over.store(true, Ordering::SeqCst);
        (plans, most.join().unwrap())
    });
    for plan in &plans {
        assert_eq!(plan["impact"]["keys"]["added"], 101, "{plan}");
    }
    assert_eq!(most, 1);
    drop(wire);

    // A drill on a server that would load for ever makes room, and says so.
    let loads = bench.dir.path().join("loads");
    let script = "case $1 in --version) echo 'Redis server v=7.0.15';; *) exec /bin/sleep 1000;; esac";
    std::fs::write(&loads, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&loads, std::fs::Permissions::from_mode(0o700)).unwrap();
    bench.configure(&format!("server_programs = [\"{}\"]\n{config}", loads.display()));
    let mut wire = serve();
    let drill = json!({ "instance_id": "orders", "backup_id": base, "level": "drill", "wait_seconds": 0 });
    wire.call("verify_backup", drill);
    wait("the drill's server", WITHIN, || (scratch(&bench) == 1).then_some(()));
    let plan = wire.call("restore_instance", whole.clone());
    assert_eq!(plan["structuredContent"]["impact"]["keys"]["added"], 101, "{plan}");
    let job = wait("the drill to end", WITHIN, || {
        bench.jobs().into_iter().find(|job| job["kind"] == "verification" && job["status"] != "running")
    });
    assert!(job["status"] == "failed" && text(&job["message"]).contains("made room"), "{job}");
    drop(wire);

    bench.configure(&config.replace("[guard]\n", "[guard]\nimpact_seconds = 2\n"));
    let mut wire = serve();
    let mut some = json!({
        "instance_id": "staging", "source_instance_id": "orders", "restore_time": at, "filter_key": "k1.*",
    });
    some["confirmation_token"] =
        wire.call("restore_instance", some.clone())["structuredContent"]["confirmation_token"].clone();
    restores(&mut wire, &some);
    let building = server(&bench).to_string();
    let signal = |name: &str| assert!(Command::new("kill").args(["-s", name, &building]).status().unwrap().success());
    signal("STOP");
    let plan = wire.call("restore_instance", whole.clone());
    let told = &plan["structuredContent"]["impact"]["keys"]["not_compared"];
    assert_eq!(told["compared_percent"], 0, "{plan}");
    assert!(text(&told["why"]).contains("another moment is being built"), "{plan}");
    signal("CONT");
    wait("the job", WITHIN, || {
        let jobs = bench.jobs();
        let ended = jobs.iter().find(|job| job["kind"] == "restore" && job["status"] != "running")?;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        Some(())
    });
    assert_eq!((staging.run(&["GET", "k10"]), scratch(&bench)), (Reply::Text("99910".into()), 0));
}
