//! Data flashback through the emulated API: what was written is archived, and any second of it is brought back, in place or into a new
//! instance; what is outside is refused by the cloud's codes.

use crate::support::emulator::Emulator;
use crate::support::log::second;
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::time::Duration;
use tair_backup_mcp::model::time::written;

fn flashback(emulator: &Emulator, on: &str) {
    let params = [
        ("InstanceId", "orders"),
        ("PreferredBackupPeriod", "Monday"),
        ("PreferredBackupTime", "05:00Z-06:00Z"),
        ("EnableBackupLog", on),
    ];
    emulator.call("ModifyBackupPolicy", &params).ok();
}

fn policy(emulator: &Emulator) -> Value {
    emulator.call("DescribeBackupPolicy", &[("InstanceId", "orders")]).ok()
}

/// A restore to a second brings its data back, and the way back is a second as well; both go on being archived.
#[test]
fn any_second_is_brought_back() {
    for kind in ["redis-6.2", "valkey-9.1"] {
        let redis = Redis::start(kind, &[]);
        let bench = Bench::new(&unattended(&redis, "emulate = { flashback = true }"));
        redis.fill(3, 7);
        let emulator = Emulator::start(&bench, &[]);
        flashback(&emulator, "1");
        let shown = policy(&emulator);
        let since = text(&shown["BackupLogStartTime"]);
        assert_eq!(shown["EnableBackupLog"], 1);
        let attribute = emulator.call("DescribeInstanceAttribute", &[("InstanceId", "orders")]).ok();
        assert_eq!(attribute["Instances"]["DBInstanceAttribute"][0]["BackupLogStartTime"], since.as_str());

        redis.run(&["SET", "a", "good"]);
        let good = redis.digest();
        let before = second();
        redis.run(&["FLUSHALL"]);
        redis.run(&["SET", "b", "bad"]);
        let bad = redis.digest();
        let after = second();
        let restore = |at: &str| {
            let params = [("InstanceId", "orders"), ("RestoreType", "1"), ("RestoreTime", at)];
            emulator.call("RestoreInstance", &params).ok();
            assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
        };
        restore(&before);
        assert_eq!(redis.digest(), good, "{kind}");
        restore(&after);
        assert_eq!(redis.digest(), bad, "{kind}: the way back");
        assert_eq!(redis.info("role"), "master");
        assert_eq!(policy(&emulator)["BackupLogStartTime"], since.as_str(), "the window begins where it did");
        // What was written behind the restores is archived too.
        redis.run(&["SET", "c", "later"]);
        let later = redis.digest();
        let at = wait("a second that the log has again", Duration::from_secs(60), || {
            let at = second();
            let params = [("InstanceId", "orders"), ("RestoreType", "1"), ("RestoreTime", at.as_str())];
            let reply = emulator.call("RestoreInstance", &params);
            if reply.status == 200 {
                Some(at)
            } else {
                (reply.refused().1 == "InvalidBinlog.NotValid").then_some(())?;
                None
            }
        });
        assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal", "{at}");
        assert_eq!(redis.digest(), later, "{kind}");
        let audit = bench.run(&["audit", "--json"]).out;
        assert!(audit.contains("delegated by a signed caller") && audit.contains(&before), "{audit}");
    }
}

/// The cloud's own example: what had so long to live at the moment has as long from `TimeShift` on.
#[test]
fn times_to_live_count_on_from_the_time_shift() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, "emulate = { flashback = true }"));
    let emulator = Emulator::start(&bench, &[]);
    flashback(&emulator, "1");
    redis.run(&["SET", "a", "1", "PX", "600000"]);
    redis.run(&["SET", "b", "1"]);
    let expires = || redis.run(&["PEXPIRETIME", "a"]).text().parse::<i64>().unwrap();
    let (before, at) = (expires(), second());
    redis.run(&["FLUSHALL"]);
    // Two seconds on, at least.
    let (_, shift) = (second(), second());
    let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
    let moved = ms(&shift) - ms(&at);
    let params =
        [("InstanceId", "orders"), ("RestoreType", "1"), ("RestoreTime", at.as_str()), ("TimeShift", shift.as_str())];
    emulator.call("RestoreInstance", &params).ok();
    assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
    assert_eq!((expires(), redis.run(&["PTTL", "b"]).text()), (before + moved, "-1".into()));
    assert!(moved >= 2000, "{moved}");
}

/// `FilterKey` as the cloud documents it: the expressions match whole keys, those that match become what they were, those of them that
/// were not there are gone, all others stay, and time counts on from `TimeShift`. A call right behind another is taken.
#[test]
fn some_keys_go_back() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, "emulate = { flashback = true }"));
    let emulator = Emulator::start(&bench, &[]);
    flashback(&emulator, "1");
    redis.run(&["MSET", "hllo", "then", "hello", "then", "heello", "then", "key:1", "then", "other", "then"]);
    redis.run(&["SET", "hillo", "then", "PX", "600000"]);
    let at = second();
    redis
        .run(&["MSET", "hllo", "now", "hello", "now", "heello", "now", "hallo", "now", "key:1", "now", "other", "now"]);
    redis.run(&["DEL", "hillo"]);
    let (_, shift) = (second(), second());
    let params = |filter: &'static str| {
        let (at, shift) = (at.clone(), shift.clone());
        [
            ("InstanceId", "orders".to_owned()),
            ("RestoreType", "1".to_owned()),
            ("RestoreTime", at),
            ("TimeShift", shift),
            ("FilterKey", filter.to_owned()),
        ]
    };
    // As a client that knows only this kind of server: a server of our own is built like it.
    for filter in ["h.?llo", "key:1,session:*"] {
        let params = params(filter);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        emulator.call("RestoreInstance", &params).ok();
    }
    assert_eq!(emulator.leaves("orders", "BackupRecovering"), "Normal");
    let of = |key: &str| redis.run(&["GET", key]).text();
    assert_eq!(
        ["hllo", "hello", "hillo", "hallo", "heello", "key:1", "other"].map(of),
        ["then", "then", "then", "", "now", "then", "now"]
    );
    let left: i64 = redis.run(&["PTTL", "hillo"]).text().parse().unwrap();
    assert!(left > 590_000, "{left} ms from the time shift on");
    let audit = bench.run(&["audit", "--json"]).out;
    assert!(audit.contains("only keys that match h.?llo"), "{audit}");
}

/// What is outside the window, of the wrong form, or not served is refused by the cloud's codes, and the data stays.
#[test]
fn a_moment_outside_is_refused() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, "emulate = { flashback = true }"));
    let emulator = Emulator::start(&bench, &[]);
    let ago = |seconds: i64| written(Timestamp::now() - SignedDuration::from_secs(seconds));
    let of = |more: &[(&str, &str)]| {
        let base = [("InstanceId", "orders"), ("RestoreType", "1")];
        emulator.call("RestoreInstance", &[&base, more].concat()).refused()
    };
    assert_eq!(of(&[("RestoreTime", &ago(0))]), (400, "InvalidBinlog.NotValid".into()), "flashback is off");
    assert_eq!(policy(&emulator).get("BackupLogStartTime"), None);
    flashback(&emulator, "1");
    redis.run(&["SET", "a", "1"]);
    let inside = second();
    let since: Timestamp = text(&policy(&emulator)["BackupLogStartTime"]).parse().unwrap();
    let early = written(since - SignedDuration::from_secs(1));
    let halves = inside.replace('Z', ".500Z");
    let long = format!("a,{}", "b".repeat(161));
    for (params, code) in [
        (&[("RestoreTime", early.as_str())][..], "InvalidBinlog.NotValid"),
        (&[("RestoreTime", "2024-01-15T10:30Z")], "InvalidBinlog.NotValid"),
        (&[("RestoreTime", &ago(-60))], "InvalidRestoreTime.Format"),
        (&[("RestoreTime", &halves)], "InvalidRestoreTime.Format"),
        (&[("RestoreTime", &inside), ("TimeShift", &early)], "InvalidRestoreTime.Format"),
        (&[("RestoreTime", &inside), ("TimeShift", &ago(-60))], "InvalidRestoreTime.Format"),
        (&[("RestoreTime", &inside), ("FilterKey", "a[")], "InvalidParameter"),
        (&[("RestoreTime", &inside), ("FilterKey", &long)], "InvalidParameter"),
        (&[("FilterKey", "a.*")], "ResroreParamNotMatch"),
    ] {
        assert_eq!(of(params), (400, code.into()), "{params:?}");
    }
    assert_eq!((redis.run(&["GET", "a"]).text(), emulator.status("orders").as_str()), ("1".into(), "Normal"));
    // Off, nothing of the past is offered; on again, it is: what was archived stays.
    flashback(&emulator, "0");
    assert_eq!(policy(&emulator)["EnableBackupLog"], 0);
    assert_eq!(of(&[("RestoreTime", &inside)]).1, "InvalidBinlog.NotValid");
    let audit = bench.run(&["audit", "--json"]).out;
    assert!(audit.contains("enable_backup_log false") && audit.contains("approved"), "lowering is recorded: {audit}");
}

/// What the operator's file says of the log, no call changes.
#[test]
fn the_operators_own_word_on_the_log_holds() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, "enable_backup_log = true\nemulate = { flashback = true }"));
    let emulator = Emulator::start(&bench, &[]);
    assert_eq!(policy(&emulator)["EnableBackupLog"], 1);
    let off = [
        ("InstanceId", "orders"),
        ("PreferredBackupPeriod", "Monday"),
        ("PreferredBackupTime", "05:00Z-06:00Z"),
        ("EnableBackupLog", "0"),
    ];
    assert_eq!(emulator.call("ModifyBackupPolicy", &off).refused(), (400, "ServiceNotSupport".into()));
    assert_eq!(policy(&emulator)["PreferredBackupTime"], "02:00Z-03:00Z", "half of a change");
    flashback(&emulator, "1");
    assert_eq!(policy(&emulator)["PreferredBackupTime"], "05:00Z-06:00Z");
}

/// A new instance begins with another's data of a second; killed meanwhile, it is that or an error, and the source stays as it is.
#[test]
fn a_spare_begins_with_a_second() {
    let (source, spares) = (Redis::start("redis-7.0", &[]), [(); 2].map(|()| Redis::start("redis-7.0", &[])));
    let mut config = unattended(&source, "emulate = { generation = \"cloud_native\", flashback = true }");
    for (n, spare) in spares.iter().enumerate() {
        config.push_str(&format!(
            "\n[[instance]]\nid = \"spare-{n}\"\nurl = \"{}\"\nemulate = {{ spare = true, flashback = true }}\n",
            spare.url()
        ));
        spare.run(&["SET", "old", "data"]);
    }
    let bench = Bench::new(&config);
    source.fill(2, 5);
    let emulator = Emulator::start(&bench, &[]);
    flashback(&emulator, "1");
    source.run(&["SET", "a", "1"]);
    let good = source.digest();
    let at = second();
    source.run(&["FLUSHALL"]);
    let now = source.digest();
    let create = |emulator: &Emulator, more: &[(&str, &str)]| {
        let base = [
            ("RegionId", "cn-beijing"),
            ("SrcDBInstanceId", "orders"),
            ("InstanceClass", "tair.rdb.1g"),
            ("InstanceType", "tair_rdb"),
            ("VpcId", "vpc-1"),
            ("VSwitchId", "vsw-1"),
            ("ChargeType", "PostPaid"),
        ];
        emulator.call("CreateTairInstance", &[&base, more].concat())
    };
    for (moment, code) in [
        ("2024-01-15T10:30:00Z", "InvalidBinlog.NotValid"),
        ("2049-01-15T10:30:00Z", "InvalidRestoreTime.Format"),
        (&at, "DryRunOperation"),
    ] {
        assert_eq!(create(&emulator, &[("RestoreTime", moment), ("DryRun", "true")]).refused().1, code);
    }
    let made = |reply: Value| text(&reply["InstanceId"]);
    let id = made(create(&emulator, &[("RestoreTime", &at), ("ClientToken", "once")]).ok());
    assert_eq!(emulator.leaves(&id, "Creating"), "Normal");
    assert_eq!(made(create(&emulator, &[("RestoreTime", &at), ("ClientToken", "once")]).ok()), id);
    assert_eq!((spares[0].digest(), source.digest()), (good.clone(), now.clone()));

    // In place only classic ones are restored.
    let in_place = [("InstanceId", "orders"), ("RestoreType", "1"), ("RestoreTime", at.as_str())];
    assert_eq!(emulator.call("RestoreInstance", &in_place).refused(), (400, "ServiceNotSupport".into()));

    let id = made(create(&emulator, &[("RestoreTime", &at)]).ok());
    drop(emulator);
    let emulator = Emulator::start(&bench, &[]);
    match emulator.leaves(&id, "Creating").as_str() {
        "Normal" => assert_eq!(spares[1].digest(), good),
        status => assert_eq!(status, "Error"),
    }
    assert_eq!(spares[1].info("role"), "master");
    assert_eq!(source.digest(), now);
}
