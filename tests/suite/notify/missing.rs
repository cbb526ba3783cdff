//! What does not succeed is told although nothing fails that could be: a backup that was due and is missing, once, and that it is over; and what
//! is missing of a log.

use super::{KEY, Listener, telling};
use crate::state::contract::new;
use crate::support::log::{LONG, Service, begun, service_log};
use crate::support::preload::Preload;
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::job::{JobKind, Phase};
use tair_backup_mcp::state::jobs::{JobStore as _, NewJob};

/// A clock that is moved on while something is waited for, some minutes at a time: each time all instances are looked at.
struct Moved {
    preload: Preload,
    ahead_ms: i64,
    moved: Instant,
}

impl Moved {
    /// At noon of tomorrow.
    fn to_noon() -> Self {
        let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
        let noon = tomorrow.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
        let mut clock = Self { preload: Preload::new(), ahead_ms: 0, moved: Instant::now() };
        clock.by(noon.as_millisecond() - Timestamp::now().as_millisecond());
        clock
    }

    fn by(&mut self, ms: i64) {
        self.ahead_ms += ms;
        self.preload.clock_ahead_ms(self.ahead_ms);
        self.moved = Instant::now();
    }

    /// Waits, and moves the clock on by so many minutes every other second.
    fn until<T>(&mut self, what: &str, minutes: i64, mut found: impl FnMut() -> Option<T>) -> T {
        wait(what, LONG, || {
            found().or_else(|| {
                if self.moved.elapsed() > Duration::from_secs(2) {
                    self.by(minutes * 60_000);
                }
                None
            })
        })
    }
}

#[tokio::test]
async fn a_backup_that_is_missing_is_told_once_and_when_it_is_over() {
    let mut redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    redis.kill();
    let listener = Listener::answering();
    let daily = "preferred_backup_time = \"02:00Z-03:00Z\"\n";
    let bench = Bench::new(&format!("[notify]\n{}\n{}", listener.named(), unattended(&redis, daily)));
    let store = telling(&bench).await;
    // What a dead process left, and nobody here can reconcile: it has no end that would be told.
    let left = NewJob { provider: "elsewhere", exclusive: false, ..new("rj-left", JobKind::Restore, "orders") };
    store.begin(left).await.unwrap();
    store.release("rj-left", Phase::Interrupted, "interrupted; the target is away").await.unwrap();
    let left = NewJob { provider: "elsewhere", exclusive: false, ..new("bj-left", JobKind::Backup, "users") };
    store.begin(left).await.unwrap();
    store.release("bj-left", Phase::Interrupted, "interrupted; its vault is away").await.unwrap();
    let mut clock = Moved::to_noon();
    let service = Service::with(&bench, &clock.preload);
    let interrupted = clock.until("the interrupted restore", 3, || listener.told_of("restore_uncertain").pop());
    assert_eq!(
        (&interrupted["job_id"], &interrupted["message"]),
        (&"rj-left".into(), &"interrupted; the target is away".into()),
        "{interrupted}"
    );
    // Its set may be whole yet.
    let unknown = clock.until("the interrupted backup", 3, || listener.told_of("backup_uncertain").pop());
    assert_eq!(unknown["job_id"], "bj-left", "{unknown}");
    let told_failed = |told: &Value| told["job_id"] == "bj-left" && told["event"] == "backup_failed";
    assert!(!listener.told().iter().any(told_failed), "{:?}", listener.told());
    // It is given some minutes to take what was missed.
    let overdue = clock.until("the alarm", 3, || listener.told_of("backup_overdue").pop());
    let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
    assert_eq!(text(&overdue["since"]), format!("{tomorrow}T02:15:32Z"), "{overdue}");
    let message = text(&overdue["message"]);
    assert!(message.contains("orders that was due at") && message.ends_with("there is none"), "{message}");
    wait("the monitor to hear of it", LONG, || {
        listener.pings().1.iter().any(|body| body.starts_with("backup_overdue orders: ")).then_some(())
    });
    assert!(!listener.told_of("backup_failed").is_empty(), "the attempts fail too");
    assert_eq!(listener.pings().0, 0);
    service.kill();

    // Another process, a day later: it is the same alarm, until a backup is taken.
    clock.by(24 * 3_600_000);
    let service = Service::with(&bench, &clock.preload);
    let failed = listener.told_of("backup_failed").len();
    clock.until("another attempt", 10, || (listener.told_of("backup_failed").len() > failed).then_some(()));
    redis.restart();
    let recovered = clock.until("the alarm to be over", 10, || listener.told_of("backup_recovered").pop());
    assert_eq!((&recovered["since"], &recovered["instance_id"]), (&overdue["since"], &"orders".into()), "{recovered}");
    wait("the monitor to hear of it", LONG, || (listener.pings().0 > 0).then_some(()));
    // From here on the monitor hears of each backup, beside each drill.
    let of_backups = || {
        let drilled = |job: &&Value| job["kind"] == "verification" && job["status"] == "succeeded";
        listener.pings().0.saturating_sub(bench.jobs().iter().filter(drilled).count())
    };
    let pings = listener.pings().0;
    clock.until("the next day's backup", 240, || (of_backups() > pings).then_some(()));
    let count = |event: &str| listener.told_of(event).len();
    assert_eq!((count("backup_overdue"), count("backup_recovered")), (1, 1), "{:?}", listener.told());

    // Of a vault that cannot be listed no backup is due for the schedule, so that none fails: it is missing all the same.
    let failed = count("backup_failed");
    let vault = bench.home().join("vault");
    std::fs::rename(&vault, bench.home().join("away")).unwrap();
    std::fs::write(&vault, "").unwrap();
    clock.by(26 * 3_600_000);
    let unlisted = clock.until("the alarm of the vault", 10, || listener.told_of("backup_overdue").get(1).cloned());
    let message = text(&unlisted["message"]);
    assert!(
        message.contains("; the last began at ") && message.contains("; its backups cannot be listed: "),
        "{message}"
    );
    assert_eq!(service.ask_to_end(), Some(0));
    let counts = ["backup_overdue", "backup_recovered", "backup_failed", "restore_uncertain"].map(count);
    assert_eq!(counts, [2, 1, failed, 1], "{:?}", listener.told());

    std::fs::remove_file(&vault).unwrap();
    std::fs::rename(bench.home().join("away"), &vault).unwrap();
    // Of an instance that is not there any more nobody would take it back, and the monitor would hear of no success for ever.
    bench.configure(&format!(
        "[notify]\n{}[[instance]]\nid = \"users\"\nurl = \"redis://127.0.0.1:1\"\n",
        listener.named()
    ));
    let service = Service::with(&bench, &clock.preload);
    let over = wait("the alarm to be taken back", LONG, || listener.told_of("backup_recovered").get(1).cloned());
    assert_eq!(text(&over["message"]), "orders is not configured any more", "{over}");
    assert_eq!(service.ask_to_end(), Some(0));
    assert_eq!(listener.told_of("backup_succeeded").len(), 0, "a success is told to the monitor alone");
    assert!(!service_log(&bench).contains(KEY), "{}", service_log(&bench));
}

#[tokio::test]
async fn a_gap_is_told_once() {
    let redis = Redis::start("redis-7.0", &[]);
    let listener = Listener::answering();
    let log = "enable_backup_log = true\n\n[backup_log]\nseal_seconds = 1\n";
    let bench = Bench::new(&format!("[notify]\n{}\n{}", listener.named(), unattended(&redis, log)));
    telling(&bench).await;
    let mut clock = Moved { preload: Preload::new(), ahead_ms: 0, moved: Instant::now() };
    let service = Service::with(&bench, &clock.preload);
    begun(&bench, &redis);
    // Moments that a clock leaves out are one.
    clock.by(90_000);
    let gap = clock.until("the gap", 2, || {
        redis.run(&["SET", "a", "2"]);
        listener.told_of("log_gap").pop()
    });
    assert!(text(&gap["message"]).contains("(clock_step)"), "{gap}");
    let moment = |field: &str| text(&gap[field]).parse::<Timestamp>().unwrap();
    let long = moment("at").duration_since(moment("since"));
    assert!((80..=600).contains(&long.as_secs()), "{gap}");
    assert_eq!(service.ask_to_end(), Some(0));
    // Whoever looks anew has seen it.
    let service = Service::with(&bench, &clock.preload);
    clock.by(90_000);
    let gaps = listener.told_of("log_gap").len();
    clock.until("another", 2, || {
        redis.run(&["SET", "a", "3"]);
        (listener.told_of("log_gap").len() > gaps).then_some(())
    });
    assert_eq!(service.ask_to_end(), Some(0));
    let mut told: Vec<String> = listener.told_of("log_gap").iter().map(|told| text(&told["message"])).collect();
    told.sort();
    let all = told.len();
    told.dedup();
    assert_eq!(told.len(), all, "{told:?}");
}
