//! Instances: those that answer with their figures, those that do not with the reason, and how far each could be recovered.

use crate::support::{Bench, Redis, text, unattended, wait};
use std::time::Duration;

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
