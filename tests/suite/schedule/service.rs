//! The service takes the backups that a policy asks for, each once, however many processes there are and whatever the clock does; and what
//! the policy lets go, goes, and nothing else.

use crate::support::backup_set::put_set;
use crate::support::log::{LONG, Service, archive};
use crate::support::postgres::{Database, state_line};
use crate::support::preload::Preload;
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tair_backup_mcp::archive::{NewTimeline, SealLimits};
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::job::JobStatus;
use tair_backup_mcp::model::verification::{Level, Look};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::postgres::Postgres;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::state::verifications::Verifications as _;

pub const DAILY: &str = "preferred_backup_time = \"02:00Z-03:00Z\"\n";

/// Sets the clock to an hour of the day that is so many days behind tomorrow.
pub fn set_clock(preload: &Preload, days: i64, hour: i8, minute: i8) {
    let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
    let at = tomorrow.checked_add(days.days()).unwrap().at(hour, minute, 0, 0);
    let at = at.to_zoned(TimeZone::UTC).unwrap().timestamp();
    preload.clock_ahead_ms(at.as_millisecond() - Timestamp::now().as_millisecond());
}

#[test]
fn of_two_services_one_takes_each_backup_and_a_missed_one_late() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&format!("metrics_file = \"figures.prom\"\n{}", unattended(&redis, DAILY)));
    let preload = Preload::new();
    let set_clock = |days: i64, hour: i8, minute: i8| set_clock(&preload, days, hour, minute);
    let taken = |n: usize| {
        wait("the backup that is due", LONG, || Some(bench.backups()).filter(|sets| sets.len() >= n)).swap_remove(0)
    };
    // What was missed before the services began is taken late.
    set_clock(0, 12, 0);
    let drilling = || Service::drilling(&bench, &preload, "redis-7.0");
    let services = [drilling(), drilling()];
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
    // The newest set waits for its drill no longer than the instance's share.
    set_clock(4, 20, 16);
    let drills = || bench.jobs().into_iter().filter(|job| job["kind"] == "verification").collect::<Vec<_>>();
    let drill = wait("the drill", LONG, || drills().into_iter().find(|job| job["status"] != "running"));
    assert_eq!((&drill["status"], &drill["backup_id"]), (&"succeeded".into(), &third["backup_id"]), "{drill}");
    // Figures follow. None is zero of what has succeeded, and of what has not all are.
    let figures = bench.dir.path().join("figures.prom");
    let figure = |name: &str| {
        let text = std::fs::read_to_string(&figures).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("tair_backup_{name} ")))?.to_owned();
        Some(value.parse::<i64>().unwrap())
    };
    let seconds = |at: &Value| at.as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
    let of = |name: &str, kind: &str| figure(&format!("{name}_timestamp_seconds{{instance=\"orders\"{kind}}}"));
    let made = wait("the figure of the drill", LONG, || {
        of("last_drill", "").filter(|at| *at > 0).and_then(|_| of("last_verified_success", ",kind=\"automated\""))
    });
    assert!(made >= seconds(&third["taken_at"]), "{made}: {third}");
    assert!(of("last_success", ",kind=\"automated\"") >= Some(made), "{third}");
    assert_eq!(
        (of("last_success", ",kind=\"manual\""), figure("damaged_sets{instance=\"orders\"}")),
        (Some(0), Some(0))
    );
    for service in services {
        assert_eq!(service.ask_to_end(), Some(0));
    }
    assert_eq!(bench.backups().len(), 3);
    let jobs = bench.jobs();
    assert_eq!(jobs.iter().filter(|job| job["kind"] == "backup").count(), 3, "{jobs:?}");
    // A week is not over.
    assert_eq!(drills().len(), 1, "{jobs:?}");
    // Whoever reads the audit sees that nobody had asked for them.
    let audit = bench.run(&["audit", "--json", "--limit", "1000"]).out;
    let records: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| records.iter().filter(|r| r["event"] == event && r["caller"] == "schedule").count();
    let ends = ["backup.started", "backup.succeeded", "verification.started", "verification.succeeded"].map(of);
    assert_eq!(ends, [3, 3, 1, 1], "{audit}");
}

/// Of five services the one that takes the backup is killed at it, time and again: another takes it over, so that each window has one set, none
/// has two, and nothing half is left.
#[test]
fn whoever_takes_a_backup_is_killed_and_another_takes_it() {
    whoever_takes_it_is_killed(None);
}

#[test]
fn whoever_takes_a_backup_is_killed_and_another_takes_it_with_state_on_postgresql() {
    whoever_takes_it_is_killed(Some(&Database::new()));
}

fn whoever_takes_it_is_killed(database: Option<&Database>) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&format!("{}{}", state_line(database), unattended(&redis, DAILY)));
    let preload = Preload::new();
    let noon = |days: i64, minute: i8| set_clock(&preload, days, 12, minute);
    noon(0, 0);
    let mut services: Vec<Service> = (0..5).map(|_| Service::with(&bench, &preload)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store: Arc<dyn State> = match database {
        None => Arc::new(Sqlite::new(&bench.home())),
        Some(database) => Arc::new(Postgres::new(&database.state_url(), &bench.home())),
    };
    for day in 0..2 {
        redis.holds_backups_for(3600);
        noon(i64::try_from(day).unwrap(), 0);
        let (job, taker) = wait("a backup to be under way", LONG, || {
            let jobs = runtime.block_on(store.jobs(Some("orders"))).unwrap();
            let job = jobs.into_iter().find(|job| job.status == JobStatus::Running)?;
            let lease = runtime.block_on(store.holder("backup/orders")).unwrap()?;
            Some((job.id, lease.holder))
        });
        let pid: u32 = taker.split('-').next().unwrap().parse().unwrap();
        let at = services.iter().position(|service| service.pid() == pid).unwrap();
        services.remove(at).kill();
        // Those that live say so in time.
        if let Some(database) = database {
            database.run(&format!("UPDATE owners SET seen_at = seen_at - 3600000 WHERE name = '{taker}'"));
        }
        // Its end is written by the clock of then: a backup that fails at five past would be tried again a minute later.
        wait("its job to be ended", LONG, || {
            bench.jobs().iter().any(|one| one["job_id"] == job.as_str() && one["status"] == "failed").then_some(())
        });
        assert_eq!(bench.backups().len(), day, "it was killed before there was a set");
        redis.lets_backups_go_on();
        // A clock that is set has all look at once.
        noon(i64::try_from(day).unwrap(), 5);
        // The set is there a moment before its job is over, which is not the next day's.
        let over = || bench.jobs().iter().all(|job| job["status"] != "running");
        wait("another to take it", LONG * 2, || (bench.backups().len() > day && over()).then_some(()));
    }
    for service in services {
        assert_eq!(service.ask_to_end(), Some(0));
    }
    let sets = bench.backups();
    assert_eq!(sets.len(), 2, "{sets:?}");
    let jobs = bench.jobs();
    let ended = |how: &str| jobs.iter().filter(|job| job["kind"] == "backup" && job["status"] == how).count();
    let backups = jobs.iter().filter(|job| job["kind"] == "backup").count();
    assert_eq!((ended("succeeded"), ended("failed"), backups), (2, 2, 4), "{jobs:?}");
    assert!(bench.left_over().is_empty(), "{:?}", bench.left_over());
}

/// Puts an automated set on a bench's vault, begun at a moment and at a position of a history.
pub async fn put(bench: &Bench, n: u8, started_at: Timestamp, position: (&str, u64)) -> String {
    let id = format!("b-20260101T000000Z-{n:06}");
    put_set(bench, &id, Mode::Automated, (started_at, None), position).await;
    id
}

/// Puts sets that somebody asked for, and that stay, on a bench's vault, one of each of the eight days before a moment: with one of that moment they
/// show that a week has passed since the first. Their ids.
pub async fn put_days(bench: &Bench, now: Timestamp) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 1..=8 {
        let id = format!("b-20260102T000000Z-{n:06}");
        put_set(bench, &id, Mode::Manual, (now - days(n), None), ("another", 0)).await;
        ids.push(id);
    }
    ids
}

/// Puts a log on a bench's vault, with a command at each of these moments; the offsets behind them.
pub fn put_log(bench: &Bench, moments: &[Timestamp]) -> Vec<u64> {
    let new = NewTimeline {
        instance_id: "orders".into(),
        shard: 0,
        opened_at: moments[0],
        replid: "i".into(),
        offset: 0,
        database: Some(0),
        restored_from: None,
    };
    let archive = archive(bench);
    let timeline = archive.open_timeline(new).unwrap();
    // Each becomes a segment.
    let limits = SealLimits { bytes: 1, age: Duration::from_secs(3600) };
    let mut writer = archive.writer(&timeline, limits).unwrap();
    let mut append = |at: &Timestamp| {
        writer.append(b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n", *at, SignedDuration::ZERO).unwrap();
        writer.offset()
    };
    let offsets = moments.iter().map(&mut append).collect();
    writer.seal_now().unwrap();
    writer.sealer().seal().unwrap();
    offsets
}

/// A Wednesday five weeks ago, so that the days around it are of its week.
pub fn wednesday(now: Timestamp) -> Timestamp {
    let monday = i64::from(now.to_zoned(TimeZone::UTC).weekday().to_monday_zero_offset());
    now - days(monday + 35 - 2)
}

pub fn days(n: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * n)
}

/// A policy whose last window is over since eleven hours.
pub fn long_over(now: Timestamp) -> String {
    let hour = now.to_zoned(TimeZone::UTC).hour().checked_add(12).unwrap() % 24;
    format!("preferred_backup_time = \"{hour:02}:00Z-{:02}:00Z\"\n", hour + 1)
}

fn rows(bench: &Bench) -> Vec<Value> {
    bench.json(&["retention", "--instance-id", "orders"])["sets"].as_array().unwrap().clone()
}

/// A set of which the policy says nothing any more stays as long as moments that are kept lead back to it alone. A backup that nobody has
/// taken in its window is told.
#[tokio::test]
async fn what_kept_moments_lead_back_to_stays() {
    let redis = Redis::start("redis-7.0", &[]);
    let now = Timestamp::now();
    let bench = Bench::new(&unattended(&redis, &long_over(now)));
    let wednesday = wednesday(now);
    let offsets = put_log(&bench, &[wednesday - days(1), wednesday, now - days(7), now - days(1)]);
    let old = put(&bench, 1, wednesday - days(1), ("i", 0)).await;
    put(&bench, 2, wednesday, ("another", 0)).await;
    put_days(&bench, now).await;
    let told = || text(&bench.json(&["describe-instances"])["instances"][0]["protection"]["backup_policy"]);
    let late = || (told().contains("is not taken"), bench.run(&["doctor"]).out.contains("is not taken"));
    assert_eq!(late(), (true, true), "{}", told());
    put(&bench, 3, now, ("another", 0)).await;
    assert_eq!(late(), (false, false), "{}", told());
    let of_old = || rows(&bench).into_iter().find(|row| row["backup_id"] == old.as_str()).unwrap();
    assert!(of_old()["goes"] == false && text(&of_old()["why"]).contains("lead back to it alone"), "{}", of_old());
    // Of a position that lies a day before the first moment that is kept.
    let later = put(&bench, 4, now - days(9), ("i", offsets[1])).await;
    assert_eq!(of_old()["goes"], true, "{}", of_old());
    // One in which a fault was found stands in for none.
    let look =
        Look { at: now, server: None, sha256: String::new(), fault: Some("frame 1 is not what was written".into()) };
    Sqlite::new(&bench.home()).set_verified("orders", &later, Level::Checksum, &look).await.unwrap();
    assert_eq!(of_old()["goes"], false, "{}", of_old());
}

/// What is older than the policy keeps goes of the log behind a backup, also where no set goes.
#[tokio::test]
async fn a_backup_is_what_lets_the_log_go() {
    let redis = Redis::start("redis-7.0", &[]);
    let now = Timestamp::now();
    let bench = Bench::new(&unattended(&redis, &long_over(now)));
    let offsets = put_log(&bench, &[60, 30, 20, 1].map(|n| now - days(n)));
    put(&bench, 1, now - days(60), ("i", 0)).await;
    put(&bench, 2, now - days(30), ("i", offsets[1])).await;
    put_days(&bench, now).await;
    let segments = || archive(&bench).coverage("orders", 0).unwrap().runs[0].segments.len();
    let service = Service::start(&bench);
    wait("the log to go", LONG, || (segments() == 3).then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));
    assert_eq!((rows(&bench).len(), segments()), (11, 3));
}

#[tokio::test]
async fn what_the_policy_lets_go_is_told_and_goes() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::new(&unattended(&redis, ""));
    let now = Timestamp::now();
    let wednesday = wednesday(now);
    let hour = SignedDuration::from_hours(1);
    let moments = [wednesday - days(1), wednesday - hour, wednesday, wednesday + hour, now - days(6), now - hour];
    let offsets = put_log(&bench, &moments);
    let goes = put(&bench, 1, wednesday - days(1), ("i", 0)).await;
    let of_its_week = put(&bench, 2, wednesday, ("i", offsets[1])).await;
    let young = put(&bench, 3, now - days(6), ("i", offsets[3])).await;
    let newest = put(&bench, 4, now, ("i", offsets[5])).await;
    put_days(&bench, now).await;
    let of_the_log = || bench.json(&["retention", "--instance-id", "orders"])["log_segments"].clone();
    let segments = || archive(&bench).coverage("orders", 0).unwrap().runs[0].segments.len();
    assert!(rows(&bench).iter().all(|set| set["goes"] == false), "without a policy nothing goes");
    assert_eq!((of_the_log(), segments()), (0.into(), 6));
    // A policy that would let sets go takes a yes.
    let policy = ["modify-backup-policy", "--instance-id", "orders", "--preferred-backup-time", "02:00Z-03:00Z"];
    let planned = bench.json(&policy);
    assert_eq!(planned["status"], "confirmation_required", "{planned}");
    assert!(text(&planned["impact"]["lost"]).contains("4 are there"), "{planned}");
    bench.configure(&unattended(&redis, DAILY));
    let told = rows(&bench);
    let of = |id: &str| told.iter().find(|row| row["backup_id"] == id).unwrap();
    assert_eq!(told.iter().filter(|row| row["goes"] == true).count(), 1, "{told:?}");
    assert!(of(&goes)["goes"] == true && text(&of(&goes)["why"]).contains("older"), "{told:?}");
    assert!(text(&of(&of_its_week)["why"]).contains("one a week"), "{told:?}");
    assert!(text(&of(&young)["why"]).contains("7 days newer") && of(&newest)["goes"] == false, "{told:?}");
    // All moments of the last week begin with the set that is on the log since five weeks.
    assert_eq!(of_the_log(), 3);
    assert_eq!((rows(&bench).len(), segments()), (12, 6), "to tell deletes nothing");
    // Any command that looks at jobs is a start.
    bench.jobs();
    let left = rows(&bench);
    assert!(left.len() == 11 && left.iter().all(|row| row["backup_id"] != goes.as_str()), "{left:?}");
    assert_eq!(segments(), 3);
    let audit = bench.run(&["audit"]).out;
    assert!(audit.contains("backup.expired") && audit.contains("log.pruned"), "{audit}");
}

/// A clock that goes 40 days ahead, and the late backup that is taken at once by it: nothing goes, neither sets of the week before, nor the log, nor what
/// somebody asked for and is to be kept for some days, nor what undoes a restore. It goes once later sets show that the time has passed.
#[tokio::test]
async fn a_clock_that_goes_ahead_lets_nothing_go() {
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n{DAILY}"));
    // The clock is ahead now, and will be put right.
    let now = Timestamp::now();
    let before = now - days(40);
    let offsets = put_log(&bench, &[before - days(7), before - days(3), before - days(1), before]);
    for n in 0..8 {
        let position = if n == 0 { ("i", 0) } else { ("another", 0) };
        put(&bench, n, before - days(i64::from(7 - n)), position).await;
    }
    let own = |n: u8| format!("b-20260103T000000Z-{n:06}");
    put_set(&bench, &own(1), Mode::Manual, (before - days(2), Some(before + days(28))), ("another", 0)).await;
    put_set(&bench, &own(2), Mode::Safety, (before - days(1), Some(before + days(6))), ("another", 0)).await;
    put(&bench, 8, now, ("i", offsets[3])).await;
    let told = || bench.json(&["retention", "--instance-id", "orders"]);
    let goes = |told: &Value| told["sets"].as_array().unwrap().iter().filter(|row| row["goes"] == true).count();
    let first = told();
    assert_eq!((goes(&first), &first["log_segments"]), (0, &0.into()), "{first}");
    assert!(first.to_string().contains("the clock alone may be wrong"), "{first}");
    // Any command that looks at jobs is a start.
    bench.jobs();
    assert_eq!(rows(&bench).len(), 11);
    assert!(!bench.run(&["audit"]).out.contains("backup.expired"));
    // It was right: forty days have passed, and sets were taken.
    put_days(&bench, now).await;
    let later = told();
    let went =
        |id: &str| later["sets"].as_array().unwrap().iter().any(|row| row["backup_id"] == id && row["goes"] == true);
    assert!(went(&own(2)) && !went(&own(1)), "a week is shown, and four are not: {later}");
    assert!(goes(&later) > 5, "{later}");
}

/// A set that nobody has signed and this home does not remember stands in for no other, whatever it says of itself: whoever can only put objects
/// on the vault has retention delete none.
#[tokio::test]
async fn what_nobody_vouches_for_stands_in_for_nothing() {
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n{DAILY}"));
    let now = Timestamp::now();
    let (wednesday, second) = (wednesday(now), SignedDuration::from_secs(1));
    let of_its_week = put(&bench, 1, wednesday, ("i", 0)).await;
    let kept = put(&bench, 2, now - days(9) - second, ("i", 0)).await;
    put(&bench, 3, now - days(9), ("i", 0)).await;
    put(&bench, 4, now - days(5), ("i", 0)).await;
    put_days(&bench, now).await;
    let forged = [(5, wednesday + days(1)), (6, now)];
    for (n, at) in forged {
        let id = put(&bench, n, at, ("i", 0)).await;
        std::fs::remove_file(bench.home().join("vault/orders").join(&id).join("manifest.json.minisig")).unwrap();
    }
    let goes = || {
        let rows = rows(&bench);
        let of = |id: &str| rows.iter().any(|row| row["backup_id"] == id && row["goes"] == true);
        (of(&of_its_week), of(&kept))
    };
    assert_eq!(goes(), (false, false), "{:?}", rows(&bench));
    put(&bench, 7, wednesday + days(1), ("i", 0)).await;
    assert!(goes().0, "one that is signed takes its place: {:?}", rows(&bench));
}
