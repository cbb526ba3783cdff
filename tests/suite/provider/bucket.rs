//! The whole program on a bucket: a backup, a restore, the log, and what the doctor says. Nothing of the vault is on this machine's disk.

use crate::support::log::{LONG, Service, log_until, service_log};
use crate::support::oss::{Oss, Versioning};
use crate::support::s3::{self, Fate, Held, Line};
use crate::support::{Bench, Redis, text, unattended, wait};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the doctor says of the vault.
fn vault(bench: &Bench) -> Value {
    asked(bench, &["doctor", "--json"])
}

fn asked(bench: &Bench, args: &[&str]) -> Value {
    let said: Value = serde_json::from_slice(&bench.command(args).output().unwrap().stdout).unwrap();
    said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "vault").unwrap().clone()
}

#[test]
fn a_bucket_is_a_vault() {
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.fill(1, 1);
    let log = "enable_backup_log = true\n[backup_log]\nseal_seconds = 1\n";
    let mut bench = Bench::new(&format!("vault = \"{}\"\n{}", s3::url(&prefix), unattended(&redis, log)));
    bench.env = s3::environment("another");
    let refused = vault(&bench);
    assert_eq!(refused["status"], "fail", "{refused}");
    let failed = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert!(failed.code != 0 && !failed.err.contains("another"), "{failed:?}");
    bench.env = s3::environment(s3::KEY.1);
    let store = s3::store_at(s3::port(), &prefix);
    let looked = asked(&bench, &["--read-only", "doctor", "--json"]);
    assert!(looked["status"] == "pass" && store.list("").unwrap().is_empty(), "{looked}");
    let found = vault(&bench);
    assert_eq!(found["status"], "pass", "{found}");
    assert!(text(&found["detail"]).starts_with(&format!("s3://{}/{prefix}: ", s3::BUCKET)), "{found}");

    let (backup, intact) = (bench.backup(), redis.digest());
    redis.run(&["SET", "since", "1"]);
    let restored = bench.restore(&backup);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(redis.digest(), intact);

    let service = Service::start(&bench);
    log_until(&bench, "an archiver", |log| log["archived_until"].is_string());
    redis.run(&["SET", "archived", "1"]);
    assert_eq!(service.ask_to_end(), Some(0));
    let names = store.list(".log/orders").unwrap();
    assert!(names.iter().any(|name| name.ends_with(".seg")), "{names:?}");
    // The one that was asked for, and those that were taken before its restore and for the log.
    let sets = bench.backups();
    assert!(sets.len() >= 2 && sets.iter().all(|set| set["status"] != "damaged"), "{sets:?}");
    assert!(!bench.home().join("vault").exists());
}

/// A store that takes nothing in the time that its url says ends a backup, in bounded time and with what to write; what was there before is whole, and
/// the next backup is taken as if nothing had been.
#[test]
fn a_store_that_is_slower_than_its_time() {
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["SET", "a", "1"]);
    let slow = Arc::new(AtomicBool::new(false));
    let is_slow = Arc::clone(&slow);
    let line = Line::to(s3::port(), move |request| {
        if is_slow.load(Ordering::SeqCst) && request.is("PUT", "data.rdb.zst") {
            return Fate::Silence(Duration::from_secs(20));
        }
        Fate::Pass
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}&timeout_seconds=1", s3::BUCKET, line.port);
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    bench.env = s3::environment(s3::KEY.1);
    let first = bench.backup();
    slow.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let failed = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    // Six attempts of a second each, and the pauses between them.
    assert!(failed.code != 0 && began.elapsed() < Duration::from_secs(60), "{:?}: {failed:?}", began.elapsed());
    let job = bench.jobs().into_iter().find(|job| job["status"] == "failed").unwrap();
    let told = job.to_string();
    assert!(
        told.contains("vault.failed") && told.contains("timed out") && told.contains("timeout_seconds=600"),
        "{job}"
    );
    let puts = line.seen().into_iter().filter(|request| request.is("PUT", "data.rdb.zst")).count();
    assert_eq!(puts, 1 + 6, "one that was taken, and six attempts");
    slow.store(false, Ordering::SeqCst);
    let second = bench.backup();
    let sets: Vec<(String, String)> =
        bench.backups().iter().map(|set| (text(&set["backup_id"]), text(&set["status"]))).collect();
    assert_eq!(sets, [(second, "deep".to_owned()), (first, "deep".to_owned())]);
    let verified = bench.run(&["vault", "verify", "--deep"]);
    assert!(verified.code == 0 && verified.out.contains("2 sets"), "{verified:?}");
}

/// A directory elsewhere is a vault as well, and one on OSS is called as the cloud's API is.
#[test]
fn other_places() {
    let redis = Redis::start("redis-7.0", &[]);
    let mut bench = Bench::new(&format!("vault = \"sets\"\n{}", unattended(&redis, "")));
    let backup = bench.backup();
    let set = bench.dir.path().join("sets/orders").join(backup);
    assert!(set.join("manifest.json").exists() && !bench.home().join("vault").exists());
    assert_eq!(vault(&bench)["status"], "pass");

    let line = Line::to(0, |_| Fate::error(403, "AccessDenied"));
    let url = format!("oss://backups?endpoint=http://127.0.0.1:{}&addressing=path", line.port);
    bench.configure(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    bench.env = vec![
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAItest".into()),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-of-oss".into()),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "token-of-oss".into()),
    ];
    let refused = vault(&bench);
    assert_eq!(refused["status"], "fail", "{refused}");
    assert!(text(&refused["detail"]).contains("AccessDenied"), "{refused}");
    let put = line.seen().into_iter().find(|request| request.method == "PUT").unwrap();
    assert!(put.header("authorization").is_some_and(|by| by.contains("LTAItest")), "{put:?}");
    assert_eq!(put.header("x-oss-security-token"), Some("token-of-oss"), "{put:?}");
}

/// A restore whose process died is brought to its end while the vault is away: its target does not go on following nobody.
#[test]
fn a_vault_that_is_away_keeps_no_target_waiting() {
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["DEBUG", "POPULATE", "2000", "k", "100"]);
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let line = Line::to(s3::port(), move |_| match is_away.load(Ordering::SeqCst) {
        true => Fate::error(403, "AccessDenied"),
        false => Fate::Pass,
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    bench.env = s3::environment(s3::KEY.1);
    let backup = bench.backup();
    redis.run(&["SET", "since", "1"]);
    let token = bench.token(&backup);
    // The load takes seconds.
    redis.run(&["CONFIG", "SET", "key-load-delay", "1000"]);
    let mut child = bench.spawn(&Bench::echo(&backup, &token));
    wait("the target to follow us", LONG, || (redis.info("role") == "slave").then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    away.store(true, Ordering::SeqCst);
    let job = wait("the restore to be reconciled", LONG, || {
        bench.jobs().into_iter().find(|job| job["kind"] == "restore" && job["status"] != "running")
    });
    // What was on its way may have been loaded whole, or not.
    assert_eq!(redis.info("role"), "master", "{job}");
}

/// A backup whose process died once its manifest was put is not called lost while the store does not say what lies there: its job waits until it
/// does, and then the set is one that this home remembers.
#[test]
fn a_store_that_is_away_says_nothing_of_a_backup() {
    let (redis, prefix) = (Redis::start("redis-7.0", &[]), s3::prefix());
    redis.run(&["SET", "a", "1"]);
    let flag = || Arc::new(AtomicBool::new(false));
    let (put, died, back) = (flag(), flag(), flag());
    let (puts, dies, is_back) = (Arc::clone(&put), Arc::clone(&died), Arc::clone(&back));
    let line = Line::to(s3::port(), move |request| {
        if !request.target.contains("/manifest.json") || request.target.contains(".minisig") {
            return Fate::Pass;
        }
        if !puts.load(Ordering::SeqCst) {
            let is_put = request.method == "PUT";
            puts.store(is_put, Ordering::SeqCst);
            return if is_put { Fate::Lose } else { Fate::Pass };
        }
        wait("the process to die", LONG, || dies.load(Ordering::SeqCst).then_some(()));
        if is_back.load(Ordering::SeqCst) { Fate::Pass } else { Fate::error(403, "AccessDenied") }
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    bench.env = s3::environment(s3::KEY.1);
    let mut child = bench.spawn(&["create-backup", "--instance-id", "orders"]);
    let store = s3::store_at(s3::port(), &prefix);
    wait("the manifest to be put", LONG, || {
        store.list("orders").unwrap().iter().any(|name| name.ends_with("/manifest.json")).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    died.store(true, Ordering::SeqCst);
    let waits = bench.jobs().remove(0);
    assert_eq!(waits["status"], "running", "{waits}");
    back.store(true, Ordering::SeqCst);
    let job = wait("the job to end", LONG, || {
        let job = bench.jobs().remove(0);
        (job["status"] != "running").then_some(job)
    });
    assert_eq!(job["status"], "succeeded", "{job}");
    let verified = bench.json(&["vault", "verify"]);
    let records: Vec<&Value> = verified["sets"].as_array().unwrap().iter().map(|set| &set["record"]).collect();
    assert_eq!(records, ["same"], "{verified}");
}

/// The manifest of a backup whose process was killed lands when its job was reconciled and its data discarded: the next sweep of a service removes
/// it. Of a set that was whole, and whose data somebody took away, the manifest stays.
#[test]
fn a_manifest_that_lands_late_is_removed() {
    let (redis, prefix, held) = (Redis::start("redis-7.0", &[]), s3::prefix(), Arc::<Held>::default());
    redis.run(&["SET", "a", "1"]);
    let slow = Arc::new(AtomicBool::new(false));
    let (is_slow, holds) = (Arc::clone(&slow), Arc::clone(&held));
    let line = Line::to(s3::port(), move |request| {
        let of_the_manifest = request.target.split('?').next().unwrap().ends_with("/manifest.json");
        if request.method == "PUT" && of_the_manifest && is_slow.load(Ordering::SeqCst) {
            return Fate::Late(Arc::clone(&holds));
        }
        Fate::Pass
    });
    let url = format!("s3://{}/{prefix}?endpoint=http://127.0.0.1:{}", s3::BUCKET, line.port);
    let mut bench = Bench::new(&format!("vault = \"{url}\"\n{}", unattended(&redis, "")));
    bench.env = s3::environment(s3::KEY.1);
    let store = s3::store_at(s3::port(), &prefix);
    let there = || {
        let mut names = store.list("orders").unwrap();
        names.sort();
        names
    };
    let whole = bench.backup();
    store.delete(&format!("orders/{whole}/data.rdb.zst")).unwrap();
    let stays = there();
    assert!(stays.contains(&format!("{whole}/manifest.json")), "{stays:?}");

    slow.store(true, Ordering::SeqCst);
    let mut child = bench.spawn(&["create-backup", "--instance-id", "orders"]);
    held.await_one();
    child.kill().unwrap();
    child.wait().unwrap();
    let job = wait("the job to end", LONG, || {
        let job = bench.jobs().remove(0);
        (job["status"] != "running").then_some(job)
    });
    assert!(job["status"] == "failed" && job.to_string().contains("nothing of it is kept"), "{job}");
    assert_eq!(there(), stays);
    held.let_through();
    let late: Vec<String> = there().into_iter().filter(|name| !stays.contains(name)).collect();
    assert!(late.len() == 1 && late[0].ends_with("/manifest.json"), "{late:?}");

    let service = Service::start(&bench);
    wait("the manifest to be removed", LONG, || (!there().contains(&late[0])).then_some(()));
    assert_eq!(service.ask_to_end(), Some(0));
    assert_eq!(there(), stays, "{}", service_log(&bench));
}

/// A service tries its vault and the second place when it begins, and tells in its log which of them puts over what is there; of one that obeys it
/// says so.
#[test]
fn a_service_tells_what_a_bucket_does_not_obey() {
    const TOLD: &str = "oss://backups/redis: it puts over an object where it was asked not to. No set is safe there.";
    const OBEYS: &str = "oss://backups/redis was tried: a name is given once";
    let redis = Redis::start("redis-7.0", &[]);
    for (key, versioning, obeys) in
        [("vault", Versioning::Paused, false), ("copy_to", Versioning::Paused, false), ("vault", Versioning::Off, true)]
    {
        let oss = Oss::start(versioning);
        let mut bench = Bench::new(&format!("{key} = \"{}\"\n{}", oss.url(), unattended(&redis, "")));
        bench.env = Oss::environment();
        let service = Service::start(&bench);
        wait("the bucket to be tried", LONG, || {
            let log = service_log(&bench);
            (log.contains(TOLD) || log.contains(OBEYS)).then_some(())
        });
        assert_eq!(service.ask_to_end(), Some(0));
        let log = service_log(&bench);
        let told = [TOLD, OBEYS].map(|what| log.matches(what).count());
        assert_eq!(told, [usize::from(!obeys), usize::from(obeys)], "{key} {versioning:?}: {log}");
    }
}
