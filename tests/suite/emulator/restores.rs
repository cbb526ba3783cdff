//! Restores through the emulated API, in place; the lock around them and the traffic before them, on a real server.

use crate::support::emulator::Emulator;
use crate::support::{Bench, Redis, Reply, unattended, wait, write_over};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use tair_backup_mcp::model::time::written;

fn stage(emulate: &str) -> (Redis, Bench) {
    let redis = Redis::start("redis-8.0", &[]);
    let bench = Bench::new(&unattended(&redis, &format!("emulate = {{ {emulate} }}")));
    (redis, bench)
}

fn ago(seconds: i64) -> String {
    written(Timestamp::now() - SignedDuration::from_secs(seconds))
}

/// The data is restored; meanwhile the instance is `BackupRecovering`, and the audit says who delegated the restore.
#[test]
fn a_restore_brings_the_data_back() {
    let (redis, bench) = stage("");
    redis.fill(5, 5);
    let emulator = Emulator::start(&bench, &["--fault", "slow,action=RestoreInstance,seconds=2"]);
    let before = redis.digest();
    let number = emulator.backup("orders")["BackupId"].to_string();
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "other", "data"]);
    let params = [("InstanceId", "orders"), ("BackupId", number.as_str()), ("RestoreType", "0")];
    let reply = emulator.call("RestoreInstance", &params).ok();
    assert_eq!(reply.as_object().unwrap().keys().collect::<Vec<_>>(), ["RequestId"]);
    assert_eq!(emulator.status("orders"), "BackupRecovering");
    for (action, more) in [("RestoreInstance", &params[1..]), ("CreateBackup", &[])] {
        let reply = emulator.call(action, &[&params[..1], more].concat());
        assert_eq!(reply.refused(), (403, "IncorrectDBInstanceState".into()), "{action}");
    }
    assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
    assert_eq!(redis.digest(), before);
    assert_eq!((redis.info("role").as_str(), redis.info("connected_slaves").as_str()), ("master", "0"));
    let audit = bench.run(&["audit", "--json"]).out;
    for needle in ["emulator: testAKID", "delegated by a signed caller", "restore.succeeded"] {
        assert!(audit.contains(needle), "{needle}: {audit}");
    }
}

/// A call that contradicts the reference is refused with the cloud's code, and the data stays.
#[test]
fn restores_are_refused_as_the_cloud_refuses_them() {
    let (redis, bench) = stage("");
    redis.run(&["SET", "a", "1"]);
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    redis.run(&["SET", "a", "2"]);
    let now = ago(0);
    let set = ("BackupId", number.as_str());
    let of = |params: &[(&str, &str)]| {
        emulator.call("RestoreInstance", &[&[("InstanceId", "orders")], params].concat()).refused()
    };
    let missing = emulator.call("RestoreInstance", &[("InstanceId", "orders")]);
    assert_eq!(missing.refused(), (400, "MissingParameter".into()));
    assert_eq!(missing.json()["Message"], "Missing Required Param: BackupId or RestoreTime or RestoreType.");
    let (moment, at) = (("RestoreType", "1"), ("RestoreTime", now.as_str()));
    for unfit in [
        &[set, moment][..],
        &[set, at],
        &[set, moment, at],
        &[moment],
        &[at],
        &[("RestoreType", "0")],
        &[set, ("RestoreType", "2")],
        &[set, ("FilterKey", "h.*llo")],
    ] {
        assert_eq!(of(unfit), (400, "ResroreParamNotMatch".into()), "{unfit:?}");
    }
    assert_eq!(of(&[moment, ("RestoreTime", "yesterday")]), (400, "InvalidRestoreTime.Format".into()));
    assert_eq!(of(&[("BackupId", "1")]), (400, "InvalidBackupSetID.NotFound".into()));
    assert_eq!(of(&[moment, at]), (400, "ServiceNotSupport".into()));
    let policy = |log: &str| {
        let days = ("PreferredBackupPeriod", "Monday");
        let params =
            [("InstanceId", "orders"), days, ("PreferredBackupTime", "05:00Z-06:00Z"), ("EnableBackupLog", log)];
        emulator.call("ModifyBackupPolicy", &params)
    };
    assert_eq!(policy("1").refused(), (400, "InstanceType.NotSupport".into()));
    policy("0").ok();
    assert_eq!(redis.run(&["GET", "a"]).text(), "2");
    drop(emulator);

    // A damaged set is no source.
    let id = bench.backups()[0]["backup_id"].as_str().unwrap().to_owned();
    let data = bench.home().join("vault/orders").join(id).join("data.rdb.zst");
    let mut bytes = std::fs::read(&data).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    write_over(&data, bytes);
    bench.configure(&unattended(&redis, "emulate = { flashback = true }"));
    let emulator = Emulator::start(&bench, &[]);
    let of = |params: &[(&str, &str)]| {
        emulator.call("RestoreInstance", &[&[("InstanceId", "orders")], params].concat()).refused()
    };
    assert_eq!(of(&[set]), (400, "IncorrectBackupSetState".into()));
    assert_eq!(emulator.status("orders"), "Normal");
    // With the feature, but without an archive.
    assert_eq!(of(&[moment, at]), (400, "InvalidBinlog.NotValid".into()));
    let ahead = ago(-60);
    assert_eq!(of(&[moment, ("RestoreTime", &ahead)]).1, "InvalidRestoreTime.Format");
    assert_eq!(of(&[moment, at, ("TimeShift", &ago(60))]).1, "InvalidRestoreTime.Format");
    assert_eq!(redis.run(&["GET", "a"]).text(), "2");
    drop(emulator);

    for other in ["generation = \"cloud_native\"", "single = true"] {
        bench.configure(&unattended(&redis, &format!("emulate = {{ {other} }}")));
        let emulator = Emulator::start(&bench, &[]);
        let reply = emulator.call("RestoreInstance", &[("InstanceId", "orders"), set]);
        assert_eq!(reply.refused(), (400, "ServiceNotSupport".into()), "{other}");
    }
    assert_eq!(redis.run(&["GET", "a"]).text(), "2");
}

/// The lock keeps writes out on the server itself, lets a restore through, outlives the process, and unlocking puts the
/// setting back.
#[test]
fn a_write_lock_is_real() {
    let (redis, bench) = stage("");
    redis.run(&["SET", "a", "1"]);
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    redis.run(&["SET", "a", "2"]);
    let id = [("DBInstanceId", "orders"), ("LockReason", "a restore")];
    let write = || redis.try_run(&["SET", "b", "1"]).unwrap();
    for _ in 0..2 {
        let reply = emulator.call("LockDBInstanceWrite", &id).ok();
        assert_eq!((&reply["DBInstanceName"], &reply["LockReason"]), (&json!("orders"), &json!("a restore")));
    }
    assert!(matches!(write(), Reply::Error(e) if e.starts_with("NOREPLICAS")));
    assert_eq!(redis.run(&["GET", "a"]).text(), "2");
    emulator.call("RestoreInstance", &[("InstanceId", "orders"), ("BackupId", &number)]).ok();
    assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
    assert_eq!(redis.run(&["GET", "a"]).text(), "1");
    assert!(matches!(write(), Reply::Error(e) if e.starts_with("NOREPLICAS")));
    // The log reminds of the lock at the end and at the start.
    let reminded = |log: &str| log.lines().filter(|line| line.contains("locked for writes")).count();
    assert_eq!(reminded(&emulator.end("-TERM").1), 1);
    let emulator = Emulator::start(&bench, &[]);
    for _ in 0..2 {
        emulator.call("UnlockDBInstanceWrite", &id[..1]).ok();
    }
    assert_eq!(write(), Reply::Text("OK".into()));
    assert_eq!(redis.setting("min-replicas-to-write"), "0");
    assert_eq!(reminded(&emulator.end("-TERM").1), 1, "at the start, and not at the end");
    let audit = bench.run(&["audit", "--json"]).out;
    for event in ["write.locked", "write.unlocked"] {
        assert!(audit.contains(&format!("\"event\":\"{event}\"")), "{event}: {audit}");
    }
}

/// Locking and unlocking are tasks: listed under the number that the reply gives, done when the list says so and not before, and
/// carried out in the order of their calls.
#[test]
fn a_lock_is_a_task() {
    let (redis, bench) = stage("");
    let slow = "slow,action=LockDBInstanceWrite,seconds=2";
    let fails = "task_fails,action=UnlockDBInstanceWrite";
    let emulator = Emulator::start(&bench, &["--fault", slow, "--fault", fails]);
    let call = |action: &str| emulator.call(action, &[("DBInstanceId", "orders")]).ok()["TaskId"].as_i64().unwrap();
    let locked = || matches!(redis.try_run(&["SET", "b", "1"]).unwrap(), Reply::Error(_));
    let now = jiff::Timestamp::now();
    let (from, to) = (now - jiff::SignedDuration::from_hours(1), now + jiff::SignedDuration::from_hours(1));
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (from, to) = (time(from), time(to));
    let range = [("FromStartTime", from.as_str()), ("ToStartTime", to.as_str()), ("InstanceId", "orders")];
    let status = |task: i64| {
        let listed = emulator.call("DescribeHistoryTasks", &range).ok();
        let row = listed["Items"].as_array().unwrap().iter().find(|row| row["TaskId"] == format!("t-{task}")).cloned();
        row.unwrap_or_else(|| panic!("{task}: {listed}"))["Status"].as_str().unwrap().to_owned()
    };
    let lock = call("LockDBInstanceWrite");
    assert_eq!((status(lock).as_str(), locked()), ("Running", false));
    // Fails once the lock is there, for its turn comes then.
    let unlock = call("UnlockDBInstanceWrite");
    assert_eq!((status(lock).as_str(), locked()), ("Succeed", true));
    wait("the unlocking to fail", Duration::from_secs(10), || (status(unlock) == "Failed").then_some(()));
    assert!(locked());
    let again = call("UnlockDBInstanceWrite");
    assert_eq!((status(again).as_str(), locked()), ("Succeed", false));
    assert!(lock != unlock && unlock != again);
    // And found by its number, and by its type.
    let found = |more: &[(&str, &str)]| {
        let listed = emulator.call("DescribeHistoryTasks", &[&range[..], more].concat()).ok();
        listed["TotalCount"].as_i64().unwrap()
    };
    let (this, kind) = (format!("t-{lock}"), ("TaskType", "UnlockDBInstanceWrite"));
    assert_eq!((found(&[]), found(&[("TaskId", &this)]), found(&[kind])), (3, 1, 2));
    assert_eq!((found(&[("TaskId", &this), kind]), found(&[("TaskId", "t-1")])), (0, 0));
}

/// The server decides whether it is locked, not the record; and concurrent calls leave the operator's setting in place.
#[test]
fn a_lock_is_what_the_server_says() {
    let (redis, bench) = stage("");
    let emulator = Emulator::start(&bench, &[]);
    let setting = || redis.setting("min-replicas-to-write");
    let set = |value: &str| redis.run(&["CONFIG", "SET", "min-replicas-to-write", value]);
    let call = |action: &str| emulator.call(action, &[("DBInstanceId", "orders")]).ok();
    // A lock without a record is lifted.
    set("1000000");
    call("UnlockDBInstanceWrite");
    assert_eq!(setting(), "0");
    // The operator's setting is put back, and one made meanwhile is left alone.
    set("2");
    call("LockDBInstanceWrite");
    assert_eq!(setting(), "1000000");
    call("UnlockDBInstanceWrite");
    assert_eq!(setting(), "2");
    call("LockDBInstanceWrite");
    set("3");
    call("UnlockDBInstanceWrite");
    assert_eq!(setting(), "3");
    // Many at once: whichever came last, the setting is the lock's or the operator's, and unlocking puts the operator's back.
    std::thread::scope(|scope| {
        for n in 0..12 {
            scope.spawn(move || call(if n % 2 == 0 { "LockDBInstanceWrite" } else { "UnlockDBInstanceWrite" }));
        }
    });
    call("UnlockDBInstanceWrite");
    assert_eq!(setting(), "3");
}

/// Killed in the middle of a restore: the next process reconciles the job, and the instance can be restored again.
#[test]
fn a_restore_survives_a_kill() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    redis.fill(40, 5);
    let good = redis.digest();
    let emulator = Emulator::start(&bench, &[]);
    let number = emulator.backup("orders")["BackupId"].to_string();
    redis.run(&["FLUSHALL"]);
    redis.run(&["SET", "other", "data"]);
    let bad = redis.digest();
    let params = [("InstanceId", "orders"), ("BackupId", number.as_str())];
    emulator.call("RestoreInstance", &params).ok();
    // The call is answered once the job has begun.
    drop(emulator);
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
    let now = redis.digest();
    assert!([&good, &bad].contains(&&now), "neither the old data nor the set's");
    assert_eq!(redis.info("role"), "master");
    emulator.call("RestoreInstance", &params).ok();
    assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
    assert_eq!(redis.digest(), good);
}

/// Writes show as `PutQps`, reads do not, and zeros are not reported.
#[test]
fn write_traffic_is_measured() {
    let (redis, bench) = stage("");
    redis.run(&["SET", "a", "1"]);
    let emulator = Emulator::start(&bench, &[]);
    let ask = |emulator: &Emulator, keys: &str| -> Value {
        let (from, to) = (ago(300), ago(-1));
        let params = [
            ("InstanceId", "orders"),
            ("StartTime", from.as_str()),
            ("EndTime", to.as_str()),
            ("IntervalForHistory", "01m"),
            ("MonitorKeys", keys),
        ];
        let reply = emulator.call("DescribeHistoryMonitorValues", &params).ok();
        serde_json::from_str(reply["MonitorHistory"].as_str().unwrap()).unwrap()
    };
    let history = |keys: &str| ask(&emulator, keys);
    let sum = |history: &Value, metric: &str| -> f64 {
        let moments = history.as_object().unwrap().values();
        moments.filter_map(|values| values[metric].as_str()?.parse::<f64>().ok()).sum()
    };
    let reply = history("UsedQPS");
    assert!(reply.as_object().unwrap().values().all(|values| values.get("PutQps").is_none()), "{reply}");
    let reply = wait("reads to show", Duration::from_secs(30), || {
        (0..50).for_each(|_| assert_eq!(redis.run(&["GET", "a"]).text(), "1"));
        Some(history("UsedQPS")).filter(|reply| sum(reply, "GetQps") > 0.0)
    });
    assert!(sum(&reply, "PutQps") == 0.0, "{reply}");
    let reply = wait("writes to show", Duration::from_secs(30), || {
        (0..50).for_each(|_| assert_eq!(redis.run(&["SET", "a", "1"]).text(), "OK"));
        Some(history("UsedQPS")).filter(|reply| sum(reply, "PutQps") > 0.0)
    });
    for at in reply.as_object().unwrap().keys() {
        assert_eq!(at.parse::<Timestamp>().unwrap().as_second() % 5, 0, "{at}");
    }
    assert!(sum(&reply, "TotalQps") > 0.0);
    let keys = history("Redis_Basic_Monitor,UsedMemory");
    let latest = keys.as_object().unwrap().values().next_back().unwrap();
    assert!(latest["Keys"] == "1" && latest["UsedMemory"].is_string(), "{keys}");
    assert_eq!(history("UsedQPS$db"), json!({}));
    drop(emulator);

    // A cluster has the sum over its shards under that name.
    bench.configure(&unattended(&redis, "emulate = { architecture = \"cluster\" }"));
    let emulator = Emulator::start(&bench, &[]);
    wait("writes of a cluster to show", Duration::from_secs(30), || {
        (0..50).for_each(|_| assert_eq!(redis.run(&["SET", "a", "1"]).text(), "OK"));
        (sum(&ask(&emulator, "UsedQPS$db"), "PutQps") > 0.0).then_some(())
    });
}
