//! New instances through the emulated API: a spare instance is handed out, filled with the set, and is an instance from then on.

use crate::support::emulator::Emulator;
use crate::support::{Bench, Redis, text, wait};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// `orders`, and two spare instances.
fn stage(emulate: &str) -> (Redis, [Redis; 2], Bench) {
    let servers = [(); 3].map(|()| Redis::start("redis-7.0", &[]));
    let mut config = String::from("[guard]\nconfirmation = \"person\"\n");
    for (n, server) in servers.iter().enumerate() {
        let (id, how) = if n == 0 { ("orders".to_owned(), emulate) } else { (format!("spare-{n}"), "spare = true") };
        config.push_str(&format!("\n[[instance]]\nid = \"{id}\"\nurl = \"{}\"\nemulate = {{ {how} }}\n", server.url()));
    }
    let [source, one, two] = servers;
    (source, [one, two], Bench::new(&config))
}

/// Dry run, the call, the repeated call, the state until the instance is filled, the data, and a restart.
#[test]
fn a_spare_becomes_a_new_instance() {
    let (source, spares, bench) = stage("generation = \"cloud_native\"");
    source.fill(2, 9);
    spares[0].run(&["SET", "old", "data"]);
    let emulator = Emulator::start(&bench, &["--fault", "slow,action=CreateTairInstance,seconds=2"]);
    let ids = |emulator: &Emulator| {
        let reply = emulator.call("DescribeInstances", &[("RegionId", "cn-beijing")]).ok();
        let rows = reply["Instances"]["KVStoreInstance"].as_array().unwrap().clone();
        rows.iter().map(|row| text(&row["InstanceId"])).collect::<Vec<_>>()
    };
    assert_eq!(ids(&emulator), ["orders"]);
    let hidden = emulator.call("DescribeInstanceAttribute", &[("InstanceId", "spare-1")]);
    assert_eq!(hidden.refused(), (404, "InvalidInstanceId.NotFound".into()));
    let number = emulator.backup("orders")["BackupId"].to_string();
    let order = [
        ("RegionId", "cn-beijing"),
        ("SrcDBInstanceId", "orders"),
        ("BackupId", number.as_str()),
        ("InstanceClass", "tair.rdb.1g"),
        ("InstanceType", "tair_rdb"),
        ("VpcId", "vpc-1"),
        ("VSwitchId", "vsw-1"),
        ("ChargeType", "PostPaid"),
        ("ClientToken", "once"),
    ];
    let create = |more: &[(&str, &str)]| emulator.call("CreateTairInstance", &[&order, more].concat());
    let dry = create(&[("DryRun", "true")]);
    assert_eq!(dry.refused(), (400, "DryRunOperation".into()));
    assert_eq!(ids(&emulator), ["orders"]);
    let made = create(&[("InstanceName", "copy")]).ok();
    assert_eq!((&made["InstanceId"], &made["InstanceStatus"]), (&json!("spare-1"), &json!("Creating")));
    assert_eq!((&made["InstanceName"], &made["Port"]), (&json!("copy"), &json!(spares[0].port)));
    assert_eq!(create(&[("InstanceName", "copy")]).ok()["InstanceId"], "spare-1");
    let other = create(&[("InstanceName", "another")]);
    assert_eq!(other.refused(), (400, "IdempotentParameterMismatch".into()));
    assert_eq!(emulator.status("spare-1"), "Creating");
    assert_eq!(emulator.call("CreateBackup", &[("InstanceId", "spare-1")]).refused().1, "IncorrectDBInstanceState");
    assert_eq!(emulator.leaves("spare-1", "Creating"), "Normal");
    assert_eq!(spares[0].digest(), source.digest());
    assert!(emulator.rows("spare-1", &[]).is_empty(), "a new instance has no sets");
    assert_eq!(emulator.rows("orders", &[]).len(), 1);
    assert!(bench.json(&["describe-backups", "--instance-id", "spare-1"])["backups"].as_array().unwrap().is_empty());

    // The spare's old data is gone, and the audit says who delegated the restore.
    let audit = bench.run(&["audit", "--json"]).out;
    let of_spare: Vec<&str> = audit.split("\"event\"").filter(|line| line.contains("spare-1")).collect();
    let set = text(&bench.backups()[0]["backup_id"]);
    let from = format!("restore of spare-1 from {set} of orders");
    for needle in ["planned", &from, "delegated by a signed caller", "restore.started", "restore.succeeded"] {
        assert!(of_spare.iter().any(|line| line.contains(needle)), "{needle}: {audit}");
    }
    // The set was not copied, so no copy had to be deleted.
    assert!(!audit.contains("backup.deleted"), "{audit}");
    assert!(audit.contains("emulator: testAKID"), "{audit}");

    // The last spare, and none.
    let other: Vec<_> = order[..8].to_vec();
    assert_eq!(emulator.call("CreateTairInstance", &other).ok()["InstanceId"], "spare-2");
    let none = emulator.call("CreateTairInstance", &other);
    assert_eq!(none.refused(), (400, "QuotaExceed.AfterpayInstance".into()));
    assert_eq!(emulator.leaves("spare-2", "Creating"), "Normal");
    drop(emulator);
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(ids(&emulator), ["orders", "spare-1", "spare-2"]);
    assert_eq!(emulator.status("spare-1"), "Normal");
    assert_eq!(
        emulator.call("CreateTairInstance", &[&order[..], &[("InstanceName", "copy")]].concat()).ok()["InstanceId"],
        "spare-1"
    );
    let tasks = [("FromStartTime", "2026-01-01T00:00:00Z"), ("ToStartTime", "2026-01-02T00:00:00Z")];
    assert_eq!(emulator.call("DescribeHistoryTasks", &tasks).ok()["TotalCount"], 0);
    assert_eq!(emulator.backup("spare-1")["BackupStatus"], "Success");
}

/// The id of a new instance from a set of `orders`, by its number.
fn created(emulator: &Emulator, number: &str, token: &str) -> String {
    let order = [
        ("RegionId", "cn-beijing"),
        ("SrcDBInstanceId", "orders"),
        ("BackupId", number),
        ("InstanceClass", "redis.master.small.default"),
        ("Token", token),
    ];
    text(&emulator.call("CreateInstance", &order).ok()["InstanceId"])
}

/// Calls at once with one token make one instance, whichever comes first; with two they make two.
#[test]
fn a_token_makes_one_instance() {
    let (source, _spares, bench) = stage("generation = \"cloud_native\"");
    source.run(&["SET", "a", "1"]);
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    let create = |token: &str| created(&emulator, &number, token);
    let made: Vec<String> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| create("same"))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
    assert_ne!(create("another"), made[0]);
    for id in ["spare-1", "spare-2"] {
        assert_eq!(emulator.leaves(id, "Creating"), "Normal");
    }
}

/// Killed while a spare instance is filled, at any moment: the next process ends the filling as done or failed, no set is
/// left behind, and the source's set stays.
#[test]
fn a_filling_survives_a_kill() {
    let (source, spares, bench) = stage("generation = \"cloud_native\"");
    source.fill(60, 3);
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    let set = text(&bench.backups()[0]["backup_id"]);
    let order = [
        ("RegionId", "cn-beijing"),
        ("SrcDBInstanceId", "orders"),
        ("BackupId", number.as_str()),
        ("InstanceClass", "redis.master.small.default"),
    ];
    let names = |id: &str| -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(bench.home().join("vault").join(id)) else { return Vec::new() };
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    let restores = |id: &str| bench.jobs().into_iter().any(|job| job["kind"] == "restore" && job["instance_id"] == id);
    // Once as soon as the call is answered, before its restore is planned; once when its restore has begun.
    let mut emulator = Some(emulator);
    for (n, begun) in [false, true].into_iter().enumerate() {
        let running = emulator.take().unwrap();
        let id = text(&running.call("CreateInstance", &order).ok()["InstanceId"]);
        if begun {
            wait("the restore", Duration::from_secs(60), || restores(&id).then_some(()));
        }
        drop(running);
        let began = restores(&id);
        let next = Emulator::start(&bench, &[]);
        let status = next.leaves(&id, "Creating");
        if status == "Normal" {
            assert_eq!(spares[n].digest(), source.digest());
        } else {
            assert_eq!(status, "Error", "{id}");
        }
        // A restore that never began has filled nothing.
        assert!(began || status == "Error", "{id} is {status}");
        assert!(names(&id).is_empty(), "{id}: {:?}", names(&id));
        assert_eq!(names("orders"), [set.as_str()]);
        assert_eq!(spares[n].info("role"), "master", "{id}");
        emulator = Some(next);
    }
}

/// A spare instance whose server refuses us is never filled: its status becomes `Error`, and stays so.
#[test]
fn a_spare_that_cannot_be_filled_is_an_error() {
    let (source, spares, bench) = stage("generation = \"cloud_native\"");
    source.fill(2, 3);
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    spares[0].run(&["CONFIG", "SET", "requirepass", "changed"]);
    let order = [
        ("RegionId", "cn-beijing"),
        ("SrcDBInstanceId", "orders"),
        ("BackupId", number.as_str()),
        ("InstanceClass", "redis.master.small.default"),
    ];
    let id = text(&emulator.call("CreateInstance", &order).ok()["InstanceId"]);
    assert_eq!(emulator.leaves(&id, "Creating"), "Error");
    drop(emulator);
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(emulator.status(&id), "Error");
}

/// The reasons for which an order is refused.
#[test]
fn orders_are_checked() {
    let (source, spares, bench) = stage("flashback = true");
    source.run(&["SET", "a", "1"]);
    spares[0].run(&["SET", "old", "data"]);
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    let base = [("RegionId", "cn-beijing"), ("InstanceClass", "tair.rdb.1g"), ("DryRun", "true")];
    let of = |params: &[(&str, &str)]| emulator.call("CreateInstance", &[&base, params].concat()).refused().1;
    let (from, set) = (("SrcDBInstanceId", "orders"), ("BackupId", number.as_str()));
    let at = ("RestoreTime", "2026-01-01T00:00:00Z");
    assert_eq!(of(&[from, set]), "DryRunOperation");
    assert_eq!(of(&[set]), "ServiceNotSupport");
    assert_eq!(of(&[("SrcDBInstanceId", "nobody"), set]), "InvalidInstanceId.NotFound");
    assert_eq!(of(&[from]), "MissingParameter");
    assert_eq!(of(&[from, ("BackupId", "1")]), "InvalidBackupSetID.NotFound");
    assert_eq!(of(&[from, set, at]), "InvalidParameter");
    assert_eq!(of(&[from, at]), "InvalidBackupLogStatus");
    assert_eq!(of(&[from, set, ("ChargeType", "PrePaid")]), "MissingParameter");
    let policy = [
        ("InstanceId", "orders"),
        ("PreferredBackupPeriod", "Monday"),
        ("PreferredBackupTime", "05:00Z-06:00Z"),
        ("EnableBackupLog", "1"),
    ];
    emulator.call("ModifyBackupPolicy", &policy).ok();
    assert_eq!(of(&[from, at]), "InvalidBinlog.NotValid");
    // The default of the one action is not that of the other.
    let tair = [("InstanceType", "tair_rdb"), ("VpcId", "v"), ("VSwitchId", "s"), from, set];
    let reply = emulator.call("CreateTairInstance", &[&base[..], &tair].concat());
    assert_eq!(reply.refused(), (400, "MissingParameter".into()));
    assert_eq!(reply.json()["Message"], "Period is mandatory for this action.");
    let reply = emulator.call("CreateTairInstance", &[&base[..], &tair[..1], &tair[2..]].concat());
    assert!(reply.json()["Message"].as_str().unwrap().contains("VpcId"), "{}", reply.text());
    assert_eq!(spares[0].run(&["GET", "old"]).text(), "data");
}

/// Without spare instances a new instance is a clone: two calls at once make two, each with the set's data; it is an instance from then on, also
/// for the next process, and can be backed up.
#[test]
fn without_spares_a_clone_is_made() {
    let source = Redis::start("redis-7.0", &[]);
    source.fill(1, 9);
    let named = format!("server_programs = [{:?}]\n", crate::support::program("redis-7.0", "server"));
    let config = "[[instance]]\nid = \"orders\"\nemulate = { generation = \"cloud_native\" }\n";
    let bench = Bench::new(&format!("{named}[guard]\nconfirmation = \"token\"\n{config}url = \"{}\"\n", source.url()));
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    let keys = bench.json(&["describe-instances", "--instance-id", "orders"])["instances"][0]["keys"].clone();
    source.run(&["FLUSHALL"]);
    let create = |token: &str| created(&emulator, &number, token);
    let made: Vec<String> = std::thread::scope(|scope| {
        let calls = ["one", "two"].map(|token| scope.spawn(move || create(token)));
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(made[0] != made[1] && made.iter().all(|id| id.starts_with("clone-")), "{made:?}");
    assert_eq!(create("one"), made[0]);
    for id in &made {
        assert_eq!(emulator.leaves(id, "Creating"), "Normal");
        let rows = bench.listed_clones();
        let row = rows.iter().find(|row| row["instance_id"] == id.as_str()).unwrap_or_else(|| panic!("{rows:?}"));
        assert_eq!(row["keys"], keys, "{row}");
    }
    // A process that lives on waits for those that it has started, and keeps none that is dead.
    let third = create("three");
    assert_eq!(emulator.leaves(&third, "Creating"), "Normal");
    assert_eq!(emulator.children().len(), 3);
    assert_eq!(bench.delete_clone(&third).code, 0);
    wait("its end to be noticed", Duration::from_secs(10), || (emulator.children().len() == 2).then_some(()));
    // One that has ended is an instance no more, whoever ended it.
    let listed = |emulator: &Emulator| {
        let reply = emulator.call("DescribeInstances", &[("RegionId", "cn-beijing")]).ok();
        let rows = reply["Instances"]["KVStoreInstance"].as_array().unwrap().clone();
        rows.iter().map(|row| text(&row["InstanceId"])).collect::<BTreeSet<_>>()
    };
    let living = BTreeSet::from([made[0].clone(), made[1].clone(), "orders".to_owned()]);
    assert_eq!(listed(&emulator), living);
    let gone = emulator.call("DescribeInstanceAttribute", &[("InstanceId", &third)]);
    assert_eq!(gone.refused(), (404, "InvalidInstanceId.NotFound".into()));
    drop(emulator);
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(listed(&emulator), living, "the next process knows it too");
    assert_eq!(emulator.status(&made[0]), "Normal");
    assert_eq!(emulator.backup(&made[0])["BackupStatus"], "Success");
    // Its sets are still there, and it is not.
    assert_eq!(bench.delete_clone(&made[0]).code, 0);
    assert_eq!(listed(&emulator), BTreeSet::from([made[1].clone(), "orders".to_owned()]));
    drop(emulator);
    assert_eq!(bench.delete_clone(&made[1]).code, 0);
    bench.assert_no_clones("when they were deleted");
}
