//! `copy_to`: every set that somebody asked for, or that a policy takes, has a copy at the second place soon; a second place that does not answer
//! changes nothing of the backup; and what expires on the vault expires there.

use super::contract::content;
use super::{Place, metadata};
use crate::support::log::{LONG, Service, service_log, signed_vault};
use crate::support::s3::{self, Fate, Line};
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tair_backup_mcp::config::Config;
use tair_backup_mcp::model::backup::{BackupSet, ManifestDigest, Mode, Origin};
use tair_backup_mcp::model::calendar::usual;
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::provider::local::vault_copy::{Copier, Progress};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::ingest::Metadata;
use tair_backup_mcp::vault::signing::Signing;

fn protection(bench: &Bench) -> Value {
    bench.json(&["describe-instances", "--instance-id", "orders"])["instances"][0]["protection"].clone()
}

fn doctor(bench: &Bench) -> Value {
    let said: Value = serde_json::from_slice(&bench.command(&["doctor", "--json"]).output().unwrap().stdout).unwrap();
    said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "second copy").unwrap().clone()
}

/// A backup succeeds while the second place refuses everything, and is copied when it takes something again, by one of two services; what was
/// taken for a restore is not copied. Whoever looks is told how old the newest copy is.
#[test]
fn each_set_has_a_copy_soon() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let (prefix, open) = (s3::prefix(), Arc::new(AtomicBool::new(false)));
    let opens = Arc::clone(&open);
    let line =
        Line::to(
            s3::port(),
            move |_| {
                if opens.load(Ordering::SeqCst) { Fate::Pass } else { Fate::error(403, "AccessDenied") }
            },
        );
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let top = "copy_to = \"elsewhere\"\nmetrics_file = \"figures.prom\"\n";
    let mut bench = Bench::new(&format!("{top}{}", unattended(&redis, &format!("copy_to = \"{url}\""))));
    bench.env = s3::environment(s3::KEY.1);
    let services = [Service::start(&bench), Service::start(&bench)];
    let first = bench.backup();
    wait("a failure to be told", LONG, || service_log(&bench).contains("not all of its sets are at").then_some(()));
    let told = protection(&bench);
    assert!(text(&told["copy"]).starts_with("not known: ") && told["copied_until"].is_null(), "{told}");
    assert_eq!(doctor(&bench)["status"], "fail");
    assert_eq!(bench.jobs().iter().filter(|job| job["status"] == "succeeded").count(), 1);

    open.store(true, Ordering::SeqCst);
    let copied = |id: &str| {
        wait("the copy", LONG, || {
            Some(protection(&bench)).filter(|told| told["copy"].as_str().is_some_and(|copy| copy.contains(id)))
        })
    };
    let told = copied(&format!("has {first}, the newest"));
    assert_eq!(told["copied_until"], told["last_backup_at"], "{told}");
    redis.run(&["SET", "a", "2"]);
    let second = bench.backup();
    copied(&format!("has {second}, the newest"));
    assert_eq!(doctor(&bench)["status"], "pass");
    redis.run(&["SET", "a", "3"]);
    let restored = bench.restore(&first);
    assert_eq!(restored.code, 0, "{restored:?}");
    let third = bench.backup();
    copied(&format!("has {third}, the newest"));
    let figure = wait("the figure", LONG, || {
        let text = std::fs::read_to_string(bench.dir.path().join("figures.prom")).unwrap_or_default();
        let name = "tair_backup_last_copied_success_timestamp_seconds{instance=\"orders\"} ";
        text.lines().find_map(|line| line.strip_prefix(name)?.parse::<i64>().ok()).filter(|at| *at > 0)
    });
    assert!((Timestamp::now().as_second() - figure).abs() < 300, "{figure}");
    for service in services {
        assert_eq!(service.ask_to_end(), Some(0));
    }
    let (here, there) = (Vault::new(bench.home().join("vault")).store(), s3::store_at(s3::port(), &prefix));
    let mut ids = there.folders("orders").unwrap();
    ids.sort();
    assert_eq!(ids, [first, second, third]);
    for id in ids {
        for name in ["data.rdb.zst", "manifest.json"] {
            let name = format!("orders/{id}/{name}");
            assert!(content(&*here, &name) == content(&*there, &name), "{name}");
        }
    }
    assert!(here.folders("orders").unwrap().len() > 3, "no safety backup was taken");
    assert!(!bench.dir.path().join("elsewhere").exists(), "the instance's own place comes first");
}

/// A set of a mode that was begun so many days ago.
fn lay(place: &Place, id: &str, mode: Mode, days: i64) -> BackupSet {
    let origin = Origin::Capture { address: String::new() };
    let staged = place.run(place.vault.ingest("orders", id, origin, super::RDB, |_, rest| rest.is_empty())).unwrap();
    let started_at = Timestamp::now() - SignedDuration::from_hours(24 * days);
    place.run(staged.commit(Metadata { mode, started_at, ..metadata() })).unwrap()
}

/// At the second place goes what the policy keeps no longer and the vault has no more: of each week one stays, and what somebody asked for.
#[test]
fn what_expires_here_expires_there() {
    let bench = Bench::new("copy_to = \"second\"\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    let config = Config::load(Some(bench.home()), Some(bench.dir.path().join("config.toml")), false).unwrap();
    let state: Arc<dyn State> = Arc::new(Sqlite::new(&bench.home()));
    let copier = Copier::of(&config, &state, "orders").unwrap();
    let here = Place::on(|_| signed_vault(&bench));
    let nobodys = Place::on(|_| Vault::new(bench.dir.path().join("second")));
    let signing = Arc::new(Signing::new(&bench.home(), Vec::new(), false));
    let there = Place::on(|_| nobodys.vault.clone().signed(signing));
    // Three days in a row, five weeks ago, of which two at least are of one week.
    let id = |n: i64| format!("b-2026010{n}T000000Z-aaaaaa");
    let weekday = i64::from(Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).weekday().to_monday_zero_offset());
    let monday = weekday + 35;
    let newest = lay(&here, &id(9), Mode::Automated, 0);
    for (n, mode, days) in [
        (1, Mode::Automated, monday),
        (2, Mode::Automated, monday - 1),
        (3, Mode::Automated, monday - 2),
        (4, Mode::Automated, monday - 3),
        (5, Mode::Manual, monday),
    ] {
        lay(&there, &id(n), mode, days);
    }
    // What nobody has signed takes no one's place.
    lay(&nobodys, &id(6), Mode::Automated, monday - 4);
    // One of them the vault has still.
    lay(&here, &id(2), Mode::Automated, monday - 1);
    // Of another this home knows that its manifest was replaced.
    lay(&here, &id(8), Mode::Manual, 0);
    let digest = ManifestDigest { sha256: "of another".into(), signed_by: None };
    here.run(state.set_manifest("orders", &id(8), Some(&digest))).unwrap();
    let mut known = std::collections::BTreeSet::new();
    let brought = here.run(copier.bring("orders", &mut known, &Progress::default()));
    // It was laid at another moment than its copy: a manifest of another set, which stays.
    assert_eq!(brought.unwrap_err().code, "copy.conflict");
    assert!(known.contains(&newest.id) && !known.contains(&id(2)) && !known.contains(&id(8)), "{known:?}");
    let left = |policy: &BackupPolicy| {
        let gone = here.run(copier.expire("orders", policy)).unwrap();
        let mut ids: Vec<String> = there.list(&[]).into_iter().map(|(id, _)| id).collect();
        ids.sort();
        (gone, ids)
    };
    let all: Vec<String> = [1, 2, 3, 4, 5, 6, 9].map(id).into();
    assert_eq!(left(&BackupPolicy::none()), (0, all));
    // The newest of its week stays, what the vault has, and what is no policy's.
    let stays: Vec<String> = [2, 4, 5, 9].map(id).into();
    assert_eq!(left(&usual()), (3, stays.clone()));
    assert_eq!(left(&usual()), (0, stays));
    let records = bench.run(&["audit"]);
    assert_eq!(records.out.matches("backup.expired").count(), 3, "{records:?}");
}
