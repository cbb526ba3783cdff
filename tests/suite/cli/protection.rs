//! `doctor` as an alarm for cron: what nobody made up for in time fails, what was never promised is a warning, and a line of each instance says
//! how far it is protected.

use crate::schedule::service::{days, long_over, put, put_log};
use crate::support::{Bench, Redis, text, unattended, write_over};
use jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// What the doctor says of `orders`: its exit code, and the line with its fields.
fn doctor(bench: &Bench) -> (u8, Value) {
    let done = bench.run(&["doctor", "--json"]);
    let said = done.json();
    let line = said["instances"][0].clone();
    assert_eq!(line["instance_id"], "orders", "{said}");
    let of_it = said["checks"].as_array().unwrap().iter().filter(|check| check["instance_id"] == "orders");
    let failed: Vec<&Value> = of_it.filter(|check| check["status"] == "fail").map(|check| &check["name"]).collect();
    assert_eq!(line["failed"].as_array().unwrap().iter().collect::<Vec<_>>(), failed, "{said}");
    (u8::try_from(done.code).unwrap(), line)
}

/// Makes the configuration as old as if it had been written so many days ago.
fn written_days_ago(bench: &Bench, days: u64) {
    let file = std::fs::File::options().write(true).open(bench.dir.path().join("config.toml")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
}

/// A policy that nobody carries out: nothing fails of one that was just written, with a backup or without, and all of it does later.
#[tokio::test]
async fn a_policy_that_nobody_carries_out_fails() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let now = Timestamp::now();
    let bench = Bench::new(&unattended(&redis, &long_over(now)));
    let (code, none) = doctor(&bench);
    assert_eq!(
        (code, &none["status"], &none["next"]),
        (0, &"warn".into(), &"create-backup --instance-id orders".into())
    );
    assert!(text(&none["line"]).starts_with("NOT PROTECTED: there is no backup; last drill never"), "{none}");
    assert!(none["protected_until"].is_null(), "{none}");
    bench.backup();
    let (code, fresh) = doctor(&bench);
    assert_eq!((code, &fresh["precision"]), (0, &"backup".into()), "{fresh}");
    // A window has passed since it was written, and nobody has taken the backup.
    written_days_ago(&bench, 2);
    let (code, late) = doctor(&bench);
    assert_eq!((code, &late["failed"]), (5, &serde_json::json!(["backup policy"])), "{late}");
    assert!(text(&late["next"]).starts_with("tair-backup-mcp run takes it"), "{late}");

    // Long ago it was carried out.
    let bench = Bench::new(&unattended(&redis, &long_over(now)));
    put(&bench, 1, now - days(77), ("i", 0)).await;
    let (code, old) = doctor(&bench);
    assert_eq!((code, &old["failed"]), (5, &serde_json::json!(["backup policy", "drill"])), "{old}");
    let line = text(&old["line"]);
    let parts = [
        format!("protected since {0}, up to {0}, to the moments of its backups; ", text(&old["protected_until"])),
        "last drill never; not protected: what is written since ".to_owned(),
        "(77d ago); FAILED: backup policy, drill".to_owned(),
    ];
    assert!(parts.iter().all(|part| line.contains(part.as_str())), "{line}");
    let shown = bench.run(&["doctor"]);
    assert!(shown.code == 5 && shown.out.starts_with("fail  orders           protected since "), "{shown:?}");

    // Without a policy nobody has promised anything.
    bench.configure(&unattended(&redis, ""));
    let (code, without) = doctor(&bench);
    assert_eq!((code, &without["status"]), (0, &"warn".into()), "{without}");
}

/// Of damaged sets the newest is a failure: whoever restores would be the first to find out.
#[tokio::test]
async fn a_newest_set_that_is_damaged_fails() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let now = Timestamp::now();
    for (n, failed) in [(1, &[][..]), (3, &["damaged backups"][..])] {
        let ids = [put(&bench, n, now, ("i", 0)).await, put(&bench, n + 1, now, ("i", 0)).await];
        let damaged = &ids[usize::from(n == 3)];
        write_over(&bench.home().join("vault/orders").join(damaged).join("manifest.json"), "{");
        let (code, found) = doctor(&bench);
        assert_eq!(found["failed"], serde_json::json!(failed), "{found}");
        assert!(failed.is_empty() || code == 5, "{found}");
    }
}

/// A log that was kept and is not any more is a failure; one that is to be begun is none for a day.
#[tokio::test]
async fn a_log_that_nobody_keeps_fails() {
    let redis = Redis::start("redis-7.0", &[]);
    let now = Timestamp::now();
    let bench = Bench::new(&unattended(&redis, "enable_backup_log = true"));
    let (code, begun) = doctor(&bench);
    assert_eq!((code, &begun["failed"]), (0, &serde_json::json!([])), "{begun}");
    written_days_ago(&bench, 2);
    let (code, never) = doctor(&bench);
    assert_eq!((code, &never["failed"]), (5, &serde_json::json!(["log"])), "{never}");
    bench.configure(&unattended(&redis, "enable_backup_log = true"));
    let offsets = put_log(&bench, &[now - days(3), now - days(2), now - days(1)]);
    put(&bench, 1, now - days(3), ("i", offsets[0])).await;
    let (code, left) = doctor(&bench);
    assert_eq!(
        (code, &left["failed"], &left["precision"]),
        (5, &serde_json::json!(["log"]), &"second".into()),
        "{left}"
    );
}
