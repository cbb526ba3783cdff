//! Instances: those that answer with their figures, those that do not with the reason, and how far each could be recovered.

use crate::guard::flow::app;
use crate::schedule::service::DAILY;
use crate::support::backup_set::put_set;
use crate::support::{Bench, Redis, Reply, finish, text, unattended, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::time::Duration;
use tair_backup_mcp::model::backup::Mode;

/// One that is away does not hide the other; a search finds by a part of the id; protection is told from the sets there are.
#[test]
fn figures_reasons_and_protection() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    redis.run_in(3, &["SET", "b", "2"]);
    let away = "[[instance]]\nid = \"carts\"\nurl = \"redis://127.0.0.1:1\"\n";
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n{away}", redis.url()));
    let reply = bench.json(&["describe-instances"]);
    assert_eq!(reply["total"], 2);
    let row = |id: &str| reply["instances"].as_array().unwrap().iter().find(|i| i["instance_id"] == id).unwrap();
    let (orders, carts) = (row("orders"), row("carts"));
    assert_eq!((&orders["status"], &orders["keys"]), (&"running".into(), &2.into()), "{orders}");
    assert_eq!(orders["databases"].as_array().unwrap().len(), 2, "{orders}");
    assert_eq!((&orders["engine"], &orders["confirmation"]), (&"redis".into(), &"person".into()), "{orders}");
    assert!(text(&orders["protection"]["not_recoverable"]).starts_with("everything"), "{orders}");
    assert_eq!(carts["status"], "unreachable");
    assert!(text(&carts["reason"]).contains("127.0.0.1:1"), "{carts}");

    let backup = bench.backup();
    let found = bench.json(&["describe-instances", "--search", "rder"]);
    assert_eq!((&found["total"], found["instances"].as_array().unwrap().len()), (&1.into(), 1), "{found}");
    let protection = &found["instances"][0]["protection"];
    assert_eq!((&protection["backups"], &protection["damaged"]), (&1.into(), &0.into()), "{protection}");
    assert_eq!(protection["last_backup_id"], backup.as_str());
    let none = bench.json(&["describe-instances", "--search", "nothing"]);
    assert_eq!((&none["total"], &none["instances"]), (&0.into(), &serde_json::json!([])), "{none}");
    let zero = bench.run(&["describe-instances", "--page-number", "0"]);
    assert!(zero.code == 2 && zero.err.contains("[arguments.invalid]"), "{zero:?}");
}

/// A set that was taken while the clock was ahead is not the last backup, for whoever asks, nor the one that is drilled: another came since.
#[tokio::test]
async fn a_set_that_is_dated_ahead_is_not_the_last_backup() {
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n{DAILY}"));
    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    let ahead = now + hour * (24 * 400);
    put_set(&bench, "b-20990101T000000Z-000001", Mode::Automated, (ahead, None), ("i", 0)).await;
    let last = put_set(&bench, "b-20260101T000000Z-000002", Mode::Automated, (now - hour, None), ("i", 0)).await.id;
    let protection = bench.json(&["describe-instances"])["instances"][0]["protection"].clone();
    assert_eq!(protection["last_backup_id"], last.as_str(), "{protection}");
    assert_eq!(protection["newest"][0]["backup_id"], last.as_str(), "{protection}");
    let listed = bench.json(&["describe-backups", "--instance-id", "orders"]);
    assert_eq!(listed["newest"][0]["backup_id"], last.as_str(), "{listed}");
    // The instance is away, which the doctor says by its exit code.
    let said: Value = serde_json::from_slice(&bench.command(&["doctor", "--json"]).output().unwrap().stdout).unwrap();
    let check = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "last backup").unwrap();
    assert!(text(&check["detail"]).starts_with(&last), "{check}");
    let (_, history) = app(&bench).provider.scheduled("orders").await.unwrap().unwrap();
    assert_eq!(history.drills.newest.unwrap().0, last);
}

/// A backup that came from a replica may lack more than what was written since, and is not said to have all until then.
#[test]
fn a_backup_from_a_replica_may_lag() {
    let master = Redis::start("redis-7.0", &[]);
    let replica = Redis::start("redis-7.0", &["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    wait("the replica", Duration::from_secs(30), || (replica.info("master_link_status") == "up").then_some(()));
    for (more, lags) in [(String::new(), false), (format!("backup_from = \"{}\"", replica.url()), true)] {
        let bench = Bench::new(&unattended(&master, &more));
        bench.backup();
        let told = bench.json(&["describe-instances"])["instances"][0]["protection"]["not_recoverable"].clone();
        let told = text(&told);
        let from = format!("{}, which the backup was taken from, had not received", replica.url());
        assert!(told.starts_with("every change since ") && told.contains(&from) == lags, "{told}");
    }
}

/// A Sentinel that was named in the place of a server is recognised wherever its address is used, and its masters are told.
#[test]
fn a_sentinel_names_its_masters() {
    let redis = Redis::start("redis-7.0", &[]);
    // INFO has another name for what it is on each.
    for kind in ["redis-7.0", "valkey-8.1"] {
        let sentinel = Redis::start(kind, &["{dir}/sentinel.conf", "--sentinel"]);
        sentinel.run(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &redis.port.to_string(), "1"]);
        let told = format!("is a Sentinel, which has no data; its masters are: mymaster = {}", redis.url());
        let next = format!("name the master instead of the Sentinel: {}", redis.url());
        let bench = Bench::unattended(&sentinel);
        let row = bench.json(&["describe-instances"])["instances"][0].clone();
        assert!(row["status"] == "unreachable" && text(&row["reason"]).contains(&told), "{kind}: {row}");
        // No policy is offered for it, and none is taken.
        assert!(row["protection"].get("backup_policy").is_none(), "{kind}: {row}");
        let policy = ["modify-backup-policy", "--instance-id", "orders", "--preferred-backup-time", "02:00Z-03:00Z"];
        let refused = bench.run(&policy);
        assert!(refused.code == 5 && refused.err.contains("[instance.sentinel]"), "{kind}: {refused:?}");
        assert!(refused.err.contains(&next), "{kind}: {refused:?}");
        let made = bench.run(&["create-backup", "--instance-id", "orders", "--json"]).json();
        assert_eq!((&made["status"], &made["code"]), (&"failed".into(), &"instance.sentinel".into()), "{kind}: {made}");
        assert!(made.to_string().contains(&told) && made.to_string().contains(&next), "{kind}: {made}");
        for command in [&["doctor"][..], &["init", "--force", "--url", &sentinel.url()]] {
            let done = bench.run(command);
            assert!(
                done.code == 5 && done.out.contains(&told) && done.out.contains(&next),
                "{kind}, {command:?}: {done:?}"
            );
            let offers =
                ["modify-backup-policy --", "create-backup --", "as long as `"].map(|step| done.out.contains(step));
            assert_eq!(offers, [false; 3], "{kind}, {command:?}: {done:?}");
        }
        // With the password of the server that it watches, which it does not know.
        let bench = Bench::new(&unattended(&sentinel, "password = \"pw\""));
        let row = bench.json(&["describe-instances"])["instances"][0].clone();
        assert!(text(&row["reason"]).contains(&told), "{kind}: {row}");
    }
}

/// An instance whose user has no more rights than a backup needs runs, and what cannot be read is named, with what to grant.
#[test]
fn few_rights_are_enough_to_be_running() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let least = ["ACL", "SETUSER", "bk", "reset", "on", ">pw", "+psync", "+replconf", "+ping"];
    for (more, denied) in [(&["+info", "+command"][..], false), (&[][..], true)] {
        redis.run(&[&least[..], more].concat());
        let bench = Bench::new(&unattended(&redis, "username = \"bk\"\npassword = \"pw\""));
        let row = bench.json(&["describe-instances"])["instances"][0].clone();
        for (field, wanted) in
            [("status", "running"), ("engine", "redis"), ("role", "master"), ("architecture", "standalone")]
        {
            assert_eq!(row[field], wanted, "{row}");
        }
        assert!(text(&row["engine_version"]).starts_with("7.0"), "{row}");
        let doctor = bench.run(&["doctor"]);
        if denied {
            assert_eq!((&row["unreadable"], row.get("keys")), (&serde_json::json!(["INFO"]), None), "{row}");
            assert!(doctor.out.contains("ACL SETUSER bk +info +command"), "{doctor:?}");
        } else {
            assert_eq!((row.get("unreadable"), &row["keys"]), (None, &1.into()), "{row}");
            assert!(doctor.out.contains("ACL SETUSER bk +config|get"), "{doctor:?}");
        }
        assert!(!doctor.out.contains("fail  reachable"), "{doctor:?}");
        bench.backup();
    }
}

/// A node of a cluster tells of the shards that are no instances, and the doctor what to write; once it is written, nothing is told.
#[test]
fn shards_that_are_no_instances_are_named() {
    let nodes = [0, 1].map(|_| Redis::start("redis-7.0", &["--cluster-enabled", "yes"]));
    nodes[0].run(&["CLUSTER", "ADDSLOTSRANGE", "0", "8191"]);
    nodes[1].run(&["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"]);
    nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &nodes[1].port.to_string()]);
    wait("the cluster", Duration::from_secs(60), || {
        let known = |node: &Redis| matches!(node.run(&["CLUSTER", "SLOTS"]), Reply::List(all) if all.len() == 2);
        nodes.iter().all(known).then_some(())
    });
    let bench = Bench::unattended(&nodes[0]);
    let row = bench.json(&["describe-instances"])["instances"][0].clone();
    assert_eq!(row["other_shards"], serde_json::json!([nodes[1].url()]), "{row}");
    assert_eq!(row["architecture"], "cluster shard (8192 of 16384 slots)", "{row}");
    let doctor = bench.run(&["doctor"]);
    let lines = format!("id = \"orders-shard-2\"\nurl = \"{}\"\n", nodes[1].url());
    let told: Vec<&str> = doctor.out.lines().map(|line| line.trim_start_matches([' ', '-', '>'])).collect();
    assert!(told.join("\n").contains(&format!("[[instance]]\n{lines}")), "{doctor:?}");
    bench.configure(&unattended(&nodes[0], &format!("[[instance]]\n{lines}")));
    let all = bench.json(&["describe-instances"])["instances"].clone();
    assert!(all.as_array().unwrap().iter().all(|row| row.get("other_shards").is_none()), "{all}");
    let doctor = bench.run(&["doctor"]);
    assert!(doctor.out.contains("each of the 2 is an instance here"), "{doctor:?}");
}

/// A backup that is taken is no replica of the instance; a server that follows it is one.
#[test]
fn a_backup_that_is_taken_is_no_replica() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let replicas = || bench.json(&["describe-instances"])["instances"][0]["replicas"].clone();
    let attached = |n: &str| {
        wait("a replica", Duration::from_secs(30), || (redis.info("connected_slaves") == n).then_some(()));
    };
    redis.holds_backups_for(600);
    let child = bench.spawn(&["create-backup", "--instance-id", "orders"]);
    attached("1");
    assert_eq!(replicas(), 0);
    let _replica = Redis::start("redis-7.0", &["--replicaof", &format!("127.0.0.1 {}", redis.port)]);
    attached("2");
    assert_eq!(replicas(), 1);
    redis.lets_backups_go_on();
    assert_eq!(finish(child).code, 0);
}
