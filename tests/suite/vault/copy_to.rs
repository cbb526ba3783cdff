//! `copy_to`: every set that somebody asked for, or that a policy takes, has a copy at the second place soon, and so has the log; a second place
//! that does not answer changes nothing of the backup; what expires on the vault expires there; and what is needed there stays locked.

use super::contract::content;
use super::copy::{go_on, log};
use super::{Place, metadata};
use crate::support::log::{LONG, Service, archived_to, begun, coverage, position, second, service_log, signed_vault};
use crate::support::s3::{self, Fate, Line};
use crate::support::{Bench, Redis, text, unattended, wait, write_over};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tair_backup_mcp::archive::{Archive, NewTimeline};
use tair_backup_mcp::config::Config;
use tair_backup_mcp::model::backup::{BackupSet, ManifestDigest, Mode, Origin};
use tair_backup_mcp::model::calendar::usual;
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::provider::local::vault_copy::{Copier, Progress};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::copy::SetCopy;
use tair_backup_mcp::vault::ingest::Metadata;
use tair_backup_mcp::vault::manifest::Manifest;
use tair_backup_mcp::vault::signing::Signing;
use tair_backup_mcp::vault::store::Store;
use tair_backup_mcp::vault::watch::Watch;

fn protection(bench: &Bench) -> Value {
    bench.json(&["describe-instances", "--instance-id", "orders"])["instances"][0]["protection"].clone()
}

fn doctor(bench: &Bench) -> Value {
    let said: Value = serde_json::from_slice(&bench.command(&["doctor", "--json"]).output().unwrap().stdout).unwrap();
    said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "second copy").unwrap().clone()
}

/// A backup succeeds while the second place refuses everything, and is copied when it takes something again, by one of two services; what was
/// taken for a restore is not copied. Whoever looks is told how old the newest copy is. A set that is damaged, and never copied, keeps no other from
/// it, and none from expiring there.
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
    let (here, there) = (
        Place::on(|_| Vault::new(bench.home().join("vault"))),
        Place::on(|dir| s3::vault_at(s3::port(), &prefix, dir)),
    );
    let damaged = lay(&here, "b-20260101T000000Z-aaaaaa", Mode::Manual, 3);
    let path = bench.home().join("vault/orders").join(&damaged.id).join("data.rdb.zst");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write_over(&path, bytes);
    let expired = Metadata { mode: Mode::Automated, expires_at: Some(Timestamp::UNIX_EPOCH), ..metadata() };
    let staged = there.staged("b-20260102T000000Z-bbbbbb").unwrap();
    let expired = there.run(staged.commit(expired)).unwrap();
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
    // By their objects: this server lists a folder for a while after the last of them.
    let sets = |store: &dyn Store| -> BTreeSet<String> {
        let names = store.list("orders").unwrap();
        names.iter().filter_map(|name| name.split('/').next().map(str::to_owned)).collect()
    };
    wait("the copy that has expired to go", LONG, || {
        (!sets(&*there.vault.store()).contains(&expired.id)).then_some(())
    });
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
    let ids = sets(&*there);
    assert_eq!(ids, BTreeSet::from([first, second, third]));
    for id in ids {
        for name in ["data.rdb.zst", "manifest.json"] {
            let name = format!("orders/{id}/{name}");
            assert!(content(&*here, &name) == content(&*there, &name), "{name}");
        }
    }
    assert!(here.folders("orders").unwrap().len() > 4, "no safety backup was taken");
    assert!(!bench.dir.path().join("elsewhere").exists(), "the instance's own place comes first");
}

/// Of two that copy to one place none takes away what the other's manifest needs; and where data is gone beneath a manifest all the same, that is
/// found, and the next copy puts it.
#[test]
fn two_may_copy_to_one_place() {
    let here = Place::new();
    let set = here.set("b-20260101T000000Z-aaaaaa");
    let (data, manifest) = (format!("orders/{}/data.rdb.zst", set.id), format!("orders/{}/manifest.json", set.id));
    let bytes = std::fs::read(here.path(&set.id, "manifest.json")).unwrap();
    let copy = |to: &Place, watch: &Arc<Watch>| here.run(here.vault.copy_set(&to.vault, "orders", &set.id, watch));

    // While this one reads back what it has put the other puts the manifest, and then this one is broken off.
    let (prefix, watch) = (s3::prefix(), Arc::<Watch>::default());
    let direct = s3::store_at(s3::port(), &prefix);
    let (other, stops) = (Arc::clone(&direct), Arc::clone(&watch));
    let line = Line::to(s3::port(), move |request| {
        if request.is("GET", "data.rdb.zst") && !stops.is_stopped() {
            other.put_new(&manifest, &bytes).unwrap();
            stops.stop();
        }
        Fate::Pass
    });
    let to = Place::on(|spill| s3::vault_at(line.port, &prefix, spill));
    copy(&to, &watch).unwrap_err();
    to.run(to.vault.verify(&set)).unwrap();
    let is_copied = || here.run(here.vault.is_copied(&to.vault, "orders", &set.id)).unwrap();
    assert!(is_copied());
    direct.delete(&data).unwrap();
    assert!(!is_copied());
    assert_eq!(copy(&to, &Arc::default()).unwrap(), SetCopy::Copied);
    assert!(is_copied());

    // Right before the manifest is put the other takes back the data that this one found there.
    let prefix = s3::prefix();
    let other = s3::store_at(s3::port(), &prefix);
    let line = Line::to(s3::port(), move |request| {
        if request.is("PUT", "manifest.json") {
            other.delete(&data).unwrap();
        }
        Fate::Pass
    });
    let to = Place::on(|spill| s3::vault_at(line.port, &prefix, spill));
    assert_eq!(copy(&to, &Arc::default()).unwrap(), SetCopy::Copied);
    to.run(to.vault.verify(&set)).unwrap();
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
    // What was taken since shows that a week has passed.
    let since = |n: i64| format!("b-2026011{n}T000000Z-aaaaaa");
    for n in 0..3 {
        lay(&there, &since(n), Mode::Manual, monday - 5 - 7 * n);
    }
    let with_those = |ids: &[i64]| -> Vec<String> { ids.iter().copied().map(id).chain((0..3).map(since)).collect() };
    // What nobody has signed takes no one's place.
    lay(&nobodys, &id(6), Mode::Automated, monday - 4);
    // One of them the vault has still.
    lay(&here, &id(2), Mode::Automated, monday - 1);
    // Of another this home knows that its manifest was replaced.
    lay(&here, &id(8), Mode::Manual, 0);
    let digest = ManifestDigest { sha256: "of another".into(), signed_by: None, remembered: true };
    here.run(state.set_manifest("orders", &id(8), Some(&digest))).unwrap();
    let mut known = std::collections::BTreeSet::new();
    let brought = here.run(copier.bring("orders", &mut known, &Progress::default()));
    // It was laid at another moment than its copy: a manifest of another set, which stays.
    assert_eq!(brought.unwrap_err().code, "copy.conflict");
    assert!(known.contains(&newest.id) && !known.contains(&id(2)) && !known.contains(&id(8)), "{known:?}");
    let expire = |policy: &BackupPolicy| {
        let listed = here.run(copier.there("orders")).unwrap();
        here.run(copier.expire(&listed, policy))
    };
    let left = |policy: &BackupPolicy| {
        let gone = expire(policy).unwrap();
        let mut ids: Vec<String> = there.list(&[]).into_iter().map(|(id, _)| id).collect();
        ids.sort();
        (gone, ids)
    };
    let all = with_those(&[1, 2, 3, 4, 5, 6, 9]);
    assert_eq!(left(&BackupPolicy::none()), (0, all));
    // One that cannot be deleted keeps no other from it.
    let in_the_way = bench.dir.path().join("second/orders").join(id(3)).join("manifest.json.deleting");
    std::fs::create_dir_all(in_the_way.join("something")).unwrap();
    assert_eq!(expire(&usual()).unwrap_err().code, "vault.failed");
    std::fs::remove_dir_all(&in_the_way).unwrap();
    // The newest of its week stays, what the vault has, and what is no policy's.
    let stays = with_those(&[2, 4, 5, 9]);
    assert_eq!(left(&usual()), (1, stays.clone()));
    assert_eq!(left(&usual()), (0, stays));
    let records = bench.run(&["audit"]);
    assert_eq!(records.out.matches("backup.expired").count(), 3, "{records:?}");
}

/// Where the second place locks, the locks of a set and of the log that are needed there, and over soon, are extended by the period for which that
/// bucket locks; not that of what goes, nor of what somebody keeps. What has expired there, and is locked, is retained, which is no failure.
#[test]
fn what_is_needed_there_stays_locked() {
    const BUCKET: &str = "second-locked";
    const NEEDED: &str = "b-20260101T000000Z-aaaaaa";
    const ASKED: &str = "b-20260102T000000Z-bbbbbb";
    const GOES: &str = "b-20260103T000000Z-cccccc";
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["SET", "a", "1"]);
    let url = format!("s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{}", s3::port());
    let policy = "preferred_backup_time = \"02:00Z-03:00Z\"\nbackup_retention_period = 7";
    let mut bench = Bench::new(&unattended(&redis, &format!("copy_to = \"{url}\"\n{policy}")));
    bench.env = s3::environment(s3::KEY.1);
    let state: Arc<dyn State> = Arc::new(Sqlite::new(&bench.home()));
    let here = Place::on(|_| Vault::new(bench.home().join("vault")));
    // It locks nothing by itself as yet, or no lock could be over soon.
    s3::make_lockable(BUCKET);
    let there = Place::on(|spill| s3::vault_in(BUCKET, &prefix, s3::KEY, spill));

    let (now, hour) = (Timestamp::now(), SignedDuration::from_hours(1));
    for (id, mode, hours, expires_at) in [
        (NEEDED, Mode::Automated, 23, None),
        (ASKED, Mode::Manual, 23, None),
        (GOES, Mode::Manual, 25, Some(Timestamp::UNIX_EPOCH)),
    ] {
        let at = now - hour * hours;
        let staged = here.staged(id).unwrap();
        let set = here.run(staged.commit(Metadata { mode, started_at: at, expires_at, ..metadata() })).unwrap();
        // As if it had been complete then: what is young is locked for long.
        let manifest = Manifest::of(&BackupSet { finished_at: at, ..set }).unwrap();
        write_over(&bench.home().join("vault/orders").join(id).join("manifest.json"), manifest);
    }
    for set in here.run(here.vault.list("orders", &())).unwrap() {
        let set = set.unwrap();
        here.run(state.set_manifest("orders", &set.id, set.manifest.as_ref())).unwrap();
        let copied = here.run(here.vault.copy_set(&there.vault, "orders", &set.id, &Arc::default()));
        assert_eq!(copied.unwrap(), SetCopy::Copied);
    }
    let archive = Archive::new(&here.vault, here.dir.path().join("spool"));
    let new = NewTimeline {
        instance_id: "orders".into(),
        shard: 0,
        opened_at: now - hour * 23,
        replid: metadata().replication_id,
        offset: metadata().replication_offset,
        database: Some(0),
        restored_from: None,
    };
    go_on(&archive, &archive.open_timeline(new).unwrap(), 0..2);
    let log_there = Archive::new(&there.vault, there.dir.path().join("none"));
    let copied = archive.copy_log(&log_there, "orders", false, &Watch::default(), &mut |_, _| ()).unwrap();
    assert_eq!(copied.copied, 3, "{copied:?}");

    let (store, soon) = (there.vault.store(), now + hour);
    let objects = |folder: &str| -> Vec<String> {
        store.list(folder).unwrap().into_iter().map(|name| format!("{folder}/{name}")).collect()
    };
    let (sets, log) = (objects("orders"), objects(".log/orders"));
    assert_eq!((sets.len(), log.len()), (6, 3), "{sets:?} {log:?}");
    sets.iter().chain(&log).for_each(|name| s3::lock_in(BUCKET, &format!("{prefix}/{name}"), soon));
    s3::lock_from_now_on(BUCKET, 1);
    std::fs::remove_dir_all(bench.home().join("vault/orders").join(GOES)).unwrap();

    let service = Service::start(&bench);
    // What has expired is looked at last.
    let retained = format!("backup {GOES} is locked until");
    wait("what has expired to be retained", LONG, || service_log(&bench).contains(&retained).then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));
    let told = service_log(&bench);
    assert!(!told.contains("could not be extended") && !told.contains("could not be deleted"), "{told}");
    assert_eq!(told.matches("is extended until").count(), 1, "{told}");
    assert!(told.contains("the locks of 3 objects of its log"), "{told}");
    let ends = |name: &String| store.lock(name).unwrap().unwrap().until.as_second();
    // How long the bucket locks is found out by trying, to some seconds.
    let (from, to) = (now + hour * 24, Timestamp::now() + hour * 24 + SignedDuration::from_secs(30));
    for name in sets.iter().filter(|name| name.contains(NEEDED)).chain(&log) {
        assert!((from.as_second()..=to.as_second()).contains(&ends(name)), "{name}: {} {from} {to}", ends(name));
    }
    for name in sets.iter().filter(|name| !name.contains(NEEDED)) {
        assert_eq!(ends(name), soon.as_second(), "{name}");
    }
    assert!(there.list(&[]).contains(&(GOES.to_owned(), true)), "{told}");
}

/// The log there goes on with that of the vault, in one piece: what was pruned here before it was copied is no hole there, and what was pruned
/// behind that stays. The segment at which a copy may have been broken off is read there, once.
#[test]
fn the_log_goes_on_there() {
    let bench = Bench::new("copy_to = \"second\"\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    let config = Config::load(Some(bench.home()), Some(bench.dir.path().join("config.toml")), false).unwrap();
    let state: Arc<dyn State> = Arc::new(Sqlite::new(&bench.home()));
    let copier = || Copier::of(&config, &state, "orders").unwrap();
    let here = Place::on(|_| Vault::new(bench.home().join("vault")));
    let place = bench.dir.path().join("second");
    let there = Archive::new(&Vault::new(place.clone()), bench.dir.path().join("none"));
    let bring = |copier: &Copier| {
        let copied = here.run(copier.bring_log("orders", &Progress::default())).unwrap();
        assert_eq!((copied.damaged, copied.gone), (0, 0), "{copied:?}");
        (copied.copied, copied.conflicts)
    };
    let covered = |of: &Archive| {
        let coverage = of.coverage("orders", 0).unwrap();
        assert!(coverage.holes.is_empty() && coverage.runs.len() == 1, "{coverage:?}");
        coverage.runs[0].segments.clone()
    };
    let (archive, timeline) = log(&here.vault, here.dir.path(), 4);
    let prefix = format!(".log/orders/0/{}", timeline.id);
    let prune = |segments: usize| {
        let (all, store) = (covered(&archive), here.vault.store());
        let marks = store.list(&prefix).unwrap().into_iter().filter(|name| name.starts_with("pruned-"));
        marks.for_each(|name| store.delete(&format!("{prefix}/{name}")).unwrap());
        let mark = format!("{prefix}/pruned-{:020}.json", all[segments - 1].last);
        store.put_new(&mark, b"{}\n").unwrap();
        all[..segments].iter().for_each(|segment| store.delete(&format!("{prefix}/{segment}")).unwrap());
    };
    let copying = copier();
    assert_eq!(bring(&copying), (4 + 4, 0));
    assert_eq!(covered(&there), covered(&archive));
    let first = covered(&there);

    prune(1);
    // One that pruning cannot have put says nothing there either.
    here.vault.store().put_new(&format!("{prefix}/pruned-18446744073709551615.json"), b"{}\n").unwrap();
    go_on(&archive, &timeline, 4..6);
    assert_eq!(bring(&copying), (2, 0));
    assert_eq!(covered(&there), [&first[..1], &covered(&archive)[..]].concat());
    assert_eq!(there.check("orders", 0).unwrap(), (6, Vec::new()));

    // Nothing was copied for so long that what came meanwhile is gone.
    go_on(&archive, &timeline, 6..9);
    prune(7);
    assert_eq!(bring(&copying), (2, 0), "the mark, and the last segment");
    assert_eq!(covered(&there), covered(&archive));
    assert_eq!(there.check("orders", 0).unwrap(), (1, Vec::new()));

    let last = place.join(&prefix).join(covered(&archive)[0].to_string());
    let mut bytes = std::fs::read(&last).unwrap();
    bytes[12] ^= 1;
    write_over(&last, bytes);
    assert_eq!(bring(&copying), (0, 0));
    assert_eq!(bring(&copier()), (0, 1), "another process does not know that it was read");
}

/// Where the vault is lost, a moment of the log is restored from the second place alone; how far that leads was told before.
#[test]
fn a_moment_is_restored_from_the_copy_alone() {
    let redis = Redis::start("redis-7.0", &[]);
    let of = |place: &str| {
        let instance = unattended(&redis, "enable_backup_log = true");
        format!("{place} = \"second\"\n[backup_log]\nseal_seconds = 1\n{instance}")
    };
    let bench = Bench::new(&of("copy_to"));
    let service = Service::start(&bench);
    begun(&bench, &redis);
    redis.run(&["SET", "a", "2"]);
    let at = second();
    redis.run(&["SET", "a", "3"]);
    archived_to(&bench, position(&redis).1);
    let told = wait("the log to be copied", LONG, || {
        let told = protection(&bench);
        told["copied_until"].as_str().is_some_and(|until| until >= at.as_str()).then_some(told)
    });
    assert!(text(&told["copy"]).contains("the log behind it up to"), "{told}");
    assert_eq!(doctor(&bench)["status"], "pass");
    let there = Archive::new(&Vault::new(bench.dir.path().join("second")), bench.dir.path().join("none"));
    let reached = coverage(&bench).runs.last().unwrap().last();
    wait("all of it", LONG, || (there.coverage("orders", 0).unwrap().runs.last()?.last() >= reached).then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));

    std::fs::remove_dir_all(bench.home().join("vault")).unwrap();
    bench.configure(&of("vault"));
    let verified = bench.run(&["vault", "verify", "--deep"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let call = ["restore-instance", "--instance-id", "orders", "--restore-time", &at];
    let planned = bench.json(&call);
    let token = text(&planned["confirmation_token"]);
    let done = bench.run(&[&call[..], &["--confirmation-token", &token]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(redis.run(&["GET", "a"]).text(), "2");
}
