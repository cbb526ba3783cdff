//! What the doctor says of the source of a log: whether it bears an outage, a burst, a slow replica and another clock; of the room here; and of a
//! configuration that is to be mended.

use crate::support::log::Witness;
use crate::support::preload::Preload;
use crate::support::{Bench, Redis, text, unattended};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A source whose log is to be kept, and a home for that.
struct Source {
    redis: Redis,
    bench: Bench,
    preload: Option<Preload>,
    /// A server without a replica does not count what it writes.
    _witness: Witness,
}

/// A finding: its status, what was found, what to do next.
type Found = (String, String, String);

impl Source {
    fn with(backlog: &str, limits: &str, more: &str) -> Self {
        let redis = Redis::start("redis-7.0", &[]);
        let bench = Bench::new(&unattended(&redis, &format!("enable_backup_log = true\n[backup_log]\n{more}")));
        let source = Self { _witness: Witness::attach(&redis), redis, bench, preload: None };
        source.set("repl-backlog-size", backlog);
        source.set("client-output-buffer-limit", limits);
        source
    }

    fn set(&self, name: &str, value: &str) {
        assert_eq!(self.redis.run(&["CONFIG", "SET", name, value]).text(), "OK", "{name} {value}");
    }

    /// What the doctor finds under these names.
    fn finds<const N: usize>(&self, names: [&str; N]) -> [Found; N] {
        let mut command = self.bench.command(&["doctor", "--json"]);
        if let Some(preload) = &self.preload {
            preload.give(&mut command);
        }
        let said: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        names.map(|name| {
            let mut checks = said["checks"].as_array().unwrap().iter();
            let found = checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {said}"));
            (text(&found["status"]), text(&found["detail"]), found["next"].as_str().unwrap_or_default().to_owned())
        })
    }

    fn finds_of(&self, name: &str) -> Found {
        let [found] = self.finds([name]);
        found
    }
}

/// A backlog and limits, what the doctor wants of the backlog, and what it says that the limits do.
type Case = (&'static str, &'static str, Option<&'static str>, Option<&'static str>);

const CASES: [Case; 7] = [
    // A backlog that is enough where nothing is written, and limits as a server has them.
    ("64mb", "replica 256mb 64mb 60", None, None),
    ("64mb", "replica 0 0 0", None, None),
    ("1mb", "slave 256mb 64mb 60", Some("repl-backlog-size 64mb"), None),
    ("64mb", "replica 32mb 0 0", None, Some("that is 32.0 MiB behind:")),
    // A replica that stays behind is dropped as well.
    ("64mb", "replica 256mb 8mb 60", None, Some("that stays 8.0 MiB behind for 60 s:")),
    ("64mb", "replica 256mb 32mb 5", None, Some("that stays 32.0 MiB behind for 5 s:")),
    ("512mb", "replica 8mb 4mb 60", None, Some("that is 8.0 MiB behind, or stays 4.0 MiB behind for 60 s:")),
];

fn judged((size, limits, wanted, dropped): Case) {
    let source = Source::with(size, limits, "");
    let [backlog, found] = source.finds(["log backlog", "log limits"]);
    assert_eq!(backlog.0 == "warn", wanted.is_some(), "{size}: {backlog:?}");
    assert!(backlog.2.contains(wanted.unwrap_or_default()), "{size}: {backlog:?}");
    let (status, detail, next) = found;
    assert_eq!(status == "warn", dropped.is_some(), "{limits}: {detail}");
    assert!(detail.contains(dropped.unwrap_or_default()), "{limits}: {detail}");
    // What is said to be done is enough.
    if let Some(said) = next.split('"').nth(1) {
        source.set("client-output-buffer-limit", said);
        let found = source.finds_of("log limits");
        assert_eq!(found.0, "pass", "{said}: {found:?}");
    }
}

/// The backlog against what is written, here some megabytes a second, and against the outage that is to be borne.
fn measured() {
    let source = Source::with("64mb", "replica 256mb 64mb 60", "");
    let stop = AtomicBool::new(false);
    let (small, large) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let value = "x".repeat(100_000);
            while !stop.load(Ordering::SeqCst) {
                source.redis.run(&["SET", "large", &value]);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let small = source.finds_of("log backlog");
        if let Some(size) = small.2.strip_prefix("CONFIG SET repl-backlog-size ") {
            source.set("repl-backlog-size", size);
        }
        let large = source.finds_of("log backlog");
        stop.store(true, Ordering::SeqCst);
        (small, large)
    });
    let (status, detail, _) = &small;
    let holds = |detail: &str| detail.split("hold ").nth(1)?.split(' ').next()?.parse::<u64>().ok();
    assert!(status == "warn" && holds(detail).is_some_and(|seconds| seconds < 60), "{small:?}");
    assert!(large.0 == "pass" && holds(&large.1).is_some_and(|seconds| seconds >= 60), "{large:?}");
}

/// Clocks that are further apart than two seconds, either way; and replicas that count.
fn apart() {
    let mut source = Source::with("64mb", "replica 256mb 64mb 60", "");
    source.preload = Some(Preload::new());
    for (ahead, status) in [(1500, "pass"), (3500, "warn"), (-3500, "warn")] {
        source.preload.as_ref().unwrap().clock_ahead_ms(ahead);
        let found = source.finds_of("log clock");
        assert_eq!(found.0, status, "{ahead}: {found:?}");
    }
    source.set("min-replicas-to-write", "1");
    let (status, detail, _) = source.finds_of("log limits");
    assert!(status == "warn" && detail.contains("min-replicas-to-write is 1"), "{detail}");
}

/// Room for what may wait for the vault.
fn room(megabytes: u32, status: &str, told: &str) {
    let source = Source::with("64mb", "replica 0 0 0", &format!("spool_megabytes = {megabytes}\n"));
    let found = source.finds_of("log room");
    assert!(found.0 == status && found.1.contains(told), "{found:?}");
}

#[test]
fn a_source_that_would_drop_the_log_is_told() {
    std::thread::scope(|scope| {
        for case in CASES {
            scope.spawn(move || judged(case));
        }
        scope.spawn(measured);
        scope.spawn(apart);
        scope.spawn(|| room(32, "pass", "for the 32.0 MiB that may wait"));
        scope.spawn(|| room(16_777_216, "warn", "16.0 TiB may wait for the vault"));
    });
}

/// What of the configuration is to be mended is a warning with what to type; the file itself is read all the same.
#[test]
fn a_secret_that_others_can_read_is_warned_of() {
    let bench = Bench::new("");
    let file = bench.dir.path().join("config.toml");
    for (mode, status) in [(0o644, "warn"), (0o600, "pass")] {
        bench.configure("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\npassword = \"s3cret\"\n");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let said: Value =
            serde_json::from_slice(&bench.command(&["doctor", "--json"]).output().unwrap().stdout).unwrap();
        let all = said["checks"].as_array().unwrap().iter().filter(|check| check["name"] == "configuration");
        let found: Vec<&Value> = all.collect();
        let typed = found.iter().find_map(|check| check["next"].as_str());
        assert_eq!(found.last().unwrap()["status"], status, "{mode:o}: {found:?}");
        assert_eq!(
            typed.is_some_and(|next| next == format!("chmod 600 {}", file.display())),
            status == "warn",
            "{found:?}"
        );
        assert!(!said.to_string().contains("s3cret"), "{said}");
    }
}
