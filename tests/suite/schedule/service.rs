//! The service takes the backups that a policy asks for, each once, however many processes there are and whatever the clock does; and what
//! the policy lets go, goes, and nothing else.

use crate::support::log::{LONG, Service};
use crate::support::preload::Preload;
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::Value;
use tair_backup_mcp::model::backup::{Mode, Origin};
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::Metadata;

const DAILY: &str = "preferred_backup_time = \"02:00Z-03:00Z\"\n";

#[test]
fn of_two_services_one_takes_each_backup_and_a_missed_one_late() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&unattended(&redis, DAILY));
    let preload = Preload::new();
    let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
    let set_clock = |days: i64, hour: i8, minute: i8| {
        let day = tomorrow.checked_add(days.days()).unwrap();
        let at = day.at(hour, minute, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        preload.clock_ahead_ms(at.as_millisecond() - Timestamp::now().as_millisecond());
    };
    let taken = |n: usize| {
        wait("the backup that is due", LONG, || Some(bench.backups()).filter(|sets| sets.len() >= n)).swap_remove(0)
    };
    // What was missed before the services began is taken late.
    set_clock(0, 12, 0);
    let services = [Service::with(&bench, &preload), Service::with(&bench, &preload)];
    let first = taken(1);
    assert!(first["mode"] == "automated" && text(&first["note"]).contains("late"), "{first}");
    // The next one in its window, at the share of the window that this instance has.
    set_clock(1, 2, 16);
    let second = taken(2);
    assert!(text(&second["note"]).ends_with("T02:15:32Z") && !text(&second["note"]).contains("late"), "{second}");
    // Three windows were slept through: one backup makes up for them.
    set_clock(4, 20, 0);
    let third = taken(3);
    assert!(text(&third["note"]).contains("late"), "{third}");
    for service in services {
        assert_eq!(service.ask_to_end(), Some(0));
    }
    assert_eq!(bench.backups().len(), 3);
    let jobs = bench.jobs();
    assert_eq!(jobs.iter().filter(|job| job["kind"] == "backup").count(), 3, "{jobs:?}");
}

/// Puts an automated set on a bench's vault, begun so many days ago.
async fn put(bench: &Bench, n: u8, started_at: Timestamp) -> String {
    const RDB: &[u8] = include_bytes!("../../fixtures/vault/one_key.rdb");
    let id = format!("b-20260101T000000Z-{n:06}");
    let origin = Origin::Import { file: "one_key.rdb".into(), sha256: String::new() };
    let vault = Vault::new(bench.home().join("vault"));
    let staged = vault.ingest("orders", &id, origin, RDB, |_, rest| rest.is_empty()).await.unwrap();
    let metadata = Metadata {
        mode: Mode::Automated,
        note: String::new(),
        engine: "redis".into(),
        version: "7.0.15".into(),
        run_id: "r".into(),
        replication_id: "i".into(),
        replication_offset: 0,
        announced_version: None,
        write_calls: None,
        held: None,
        started_at,
        expires_at: None,
        locked_until: None,
    };
    staged.commit(metadata).await.unwrap();
    id
}

#[tokio::test]
async fn what_the_policy_lets_go_is_told_and_goes() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, ""));
    let now = Timestamp::now();
    let days = |n: i64| SignedDuration::from_hours(24 * n);
    // A Wednesday five weeks ago, so that the days around it are of its week.
    let monday = i64::from(now.to_zoned(TimeZone::UTC).weekday().to_monday_zero_offset());
    let wednesday = now - days(monday + 35 - 2);
    let goes = put(&bench, 1, wednesday - days(1)).await;
    let of_its_week = put(&bench, 2, wednesday).await;
    let young = put(&bench, 3, now - days(6)).await;
    let newest = put(&bench, 4, now).await;
    let told =
        |bench: &Bench| bench.json(&["retention", "--instance-id", "orders"])["sets"].as_array().unwrap().clone();
    assert!(told(&bench).iter().all(|set| set["goes"] == false), "without a policy nothing goes");
    // A policy that would let sets go takes a yes.
    let policy = ["modify-backup-policy", "--instance-id", "orders", "--preferred-backup-time", "02:00Z-03:00Z"];
    let planned = bench.json(&policy);
    assert_eq!(planned["status"], "confirmation_required", "{planned}");
    assert!(text(&planned["impact"]["lost"]).contains("4 are there"), "{planned}");
    bench.configure(&unattended(&redis, DAILY));
    let rows = told(&bench);
    let of = |id: &str| rows.iter().find(|row| row["backup_id"] == id).unwrap();
    assert_eq!(rows.iter().filter(|row| row["goes"] == true).count(), 1, "{rows:?}");
    assert!(of(&goes)["goes"] == true && text(&of(&goes)["why"]).contains("older"), "{rows:?}");
    assert!(text(&of(&of_its_week)["why"]).contains("one a week"), "{rows:?}");
    assert!(text(&of(&young)["why"]).contains("7 days newer") && of(&newest)["goes"] == false, "{rows:?}");
    assert_eq!(told(&bench).len(), 4, "to tell deletes nothing");
    // Any command that looks at jobs is a start.
    bench.jobs();
    let left: Vec<Value> = told(&bench);
    assert!(left.len() == 3 && left.iter().all(|row| row["backup_id"] != goes.as_str()), "{left:?}");
    assert!(bench.run(&["audit"]).out.contains("backup.expired"));
}
