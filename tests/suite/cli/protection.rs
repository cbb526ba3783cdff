//! `doctor` as an alarm for cron: what nobody made up for in time fails, what was never promised is a warning, and a line of each instance says
//! how far it is protected.

use crate::schedule::service::{days, long_over, put, put_log};
use crate::support::backup_set::put_set;
use crate::support::{Bench, Redis, text, unattended, write_over};
use jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, SystemTime};
use tair_backup_mcp::model::backup::Mode;

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
    assert!(text(&late["next"]).ends_with(" run` takes it, for as long as it runs"), "{late}");

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

/// Of damaged sets the newest is a failure: whoever restores would be the first to find out. Without a policy, too; of any other set the vault's own
/// check fails.
#[tokio::test]
async fn a_newest_set_that_is_damaged_fails() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let now = Timestamp::now();
    // Of a damaged set its id alone tells when it was taken.
    for (older, newer, is_newest) in [(1, 2, false), (3, 4, true)] {
        let ids = [older, newer].map(|day| format!("b-2026010{day}T000000Z-000001"));
        for id in &ids {
            put_set(&bench, id, Mode::Automated, (now, None), ("i", 0)).await;
        }
        let [older, newer] = &ids;
        let damaged = if is_newest { newer } else { older };
        write_over(&bench.home().join("vault/orders").join(damaged).join("manifest.json"), "{");
        let (code, found) = doctor(&bench);
        let failed = if is_newest { &["damaged backups"][..] } else { &[] };
        assert_eq!((code, &found["failed"]), (5, &serde_json::json!(failed)), "{found}");
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
    // What a tool has switched on just now is on since then, however old the file is.
    let other = Bench::new(&unattended(&redis, &long_over(now)));
    other.json(&["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", "true"]);
    written_days_ago(&other, 2);
    let (code, by_tool) = doctor(&other);
    assert_eq!((code, &by_tool["failed"]), (5, &serde_json::json!(["backup policy"])), "{by_tool}");
    bench.configure(&unattended(&redis, "enable_backup_log = true"));
    let offsets = put_log(&bench, &[now - days(3), now - days(2), now - days(1)]);
    put(&bench, 1, now - days(3), ("i", offsets[0])).await;
    // It has only been on again since the file was written.
    let (_, again) = doctor(&bench);
    assert_eq!(again["failed"], serde_json::json!([]), "{again}");
    written_days_ago(&bench, 2);
    let (code, left) = doctor(&bench);
    assert_eq!(
        (code, &left["failed"], &left["precision"]),
        (5, &serde_json::json!(["log"]), &"second".into()),
        "{left}"
    );
}
