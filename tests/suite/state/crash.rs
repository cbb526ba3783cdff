//! A process that is killed behind each of its steps that last, one after another: what it commits to the state, what it renames or removes on
//! the vault. Whoever comes next accounts for what it left: never are there two restores of one yes, a token that is used again, a job that
//! nobody ends, or a manifest without data.

use super::places::Place as _;
use super::portable::{fill, rows};
use crate::schedule::service::{DAILY, days, put, put_days, wednesday};
use crate::support::postgres::{Database, state_line};
use crate::support::preload::Preload;
use crate::support::{Bench, Dice, Done, Redis, finish, text, unattended, wait};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

on_each! {
    a_restore_dies_behind_its_steps,
    a_backup_dies_behind_its_steps,
    an_expiry_dies_behind_each_of_its_steps,
    an_import_dies_behind_each_of_its_steps,
}

/// More steps than any process takes.
const ALL: i64 = 1 << 20;
/// Steps that are tried of each act, drawn by the seed; `CRASH_STEPS=all` tries all.
const STEPS: usize = 5;

/// A bench whose processes can be killed.
struct Scene<'a> {
    bench: Bench,
    preload: Preload,
    database: Option<&'a Database>,
}

/// Runs the program and kills it behind a step; whether it came that far.
fn dies(bench: &Bench, preload: &Preload, database: Option<&Database>, step: i64, args: &[&str]) -> (bool, Done) {
    let mut command = bench.command(args);
    preload.give(&mut command);
    preload.dies_behind(step);
    let done = finish(command.spawn().unwrap());
    let died = preload.steps_left() == 0;
    assert_eq!(died, done.code == -1, "behind step {step}: {done:?}");
    if let Some(database) = database {
        database.silence();
    }
    (died, done)
}

impl<'a> Scene<'a> {
    fn new(redis: &Redis, database: Option<&'a Database>, more: &str) -> Self {
        let bench = Bench::new(&format!("{}{}", state_line(database), unattended(redis, more)));
        Self { bench, preload: Preload::new(), database }
    }

    fn dies(&self, step: i64, args: &[&str]) -> (bool, Done) {
        dies(&self.bench, &self.preload, self.database, step, args)
    }

    /// The steps that an act takes which comes to its end, as far as they are tried.
    fn steps(&self, name: &str, args: &[&str]) -> Vec<i64> {
        let (died, done) = self.dies(ALL, args);
        assert!(!died && done.code == 0, "{done:?}");
        let all = ALL - self.preload.steps_left();
        assert!(all > 2, "{name} takes {all} steps");
        if std::env::var_os("CRASH_STEPS").is_some() {
            return (1..=all).collect();
        }
        let (mut dice, last) = (Dice::new(name), usize::try_from(all).unwrap());
        let mut some: Vec<i64> = (0..STEPS).map(|_| 1 + i64::try_from(dice.below(last)).unwrap()).collect();
        some.sort_unstable();
        some.dedup();
        println!("{name}: {some:?} of {all} steps");
        some
    }

    /// The jobs, once whoever looks has reconciled those of the dead: none is without an end.
    fn reconciled(&self, when: &str) -> Vec<Value> {
        // A database that has just come up lets nobody be taken for dead.
        let jobs = wait("the dead to be accounted for", Duration::from_secs(40), || {
            Some(self.bench.jobs()).filter(|jobs| jobs.iter().all(|job| job["status"] != "running"))
        });
        for job in jobs.iter().filter(|job| job["status"] != "succeeded") {
            assert!(job["code"].is_string() && job["message"].is_string(), "{when}: {job}");
        }
        assert!(self.bench.left_over().is_empty(), "{when}: {:?}", self.bench.left_over());
        jobs
    }

    fn audit(&self) -> Vec<Value> {
        let lines = self.bench.run(&["audit", "--json", "--limit", "100000"]).out;
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn restores(jobs: &[Value]) -> usize {
    jobs.iter().filter(|job| job["kind"] == "restore").count()
}

fn a_restore_dies_behind_its_steps(database: Option<&Database>) {
    let redis = Redis::start("redis-7.0", &[]);
    let scene = Scene::new(&redis, database, "");
    let bench = &scene.bench;
    redis.run(&["SET", "a", "old"]);
    let backup = bench.backup();
    redis.run(&["SET", "a", "new"]);
    let token = bench.token(&backup);
    let steps = scene.steps("a restore", &Bench::echo(&backup, &token));
    for step in steps {
        redis.run(&["SET", "a", "new"]);
        let token = bench.token(&backup);
        let before = restores(&bench.jobs());
        let (died, done) = scene.dies(step, &Bench::echo(&backup, &token));
        let when = format!("killed behind step {step} ({died}): {done:?}");
        let begun = restores(&scene.reconciled(&when)) - before;
        let again = bench.run(&Bench::echo(&backup, &token));
        let then = restores(&scene.reconciled(&when)) - before;
        // Either the token was redeemed, and is refused, whatever came of its restore; or it was not, and is good for one.
        match again.code {
            0 => assert_eq!((begun, then), (0, 1), "{when}: {again:?}"),
            3 => assert!(again.err.contains("confirm.used") && then == begun && begun <= 1, "{when}: {again:?}"),
            _ => panic!("{when}: {again:?}"),
        }
        let value = redis.run(&["GET", "a"]).text();
        assert!(value == "old" || begun == 1 || then == 0, "{when}: {value}");
        assert_eq!((redis.info("role").as_str(), redis.info("loading").as_str()), ("master", "0"), "{when}");
    }
    let (mut redeemed, mut ends) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, i32>::new());
    for line in scene.audit() {
        let (event, nonce) = (text(&line["event"]), text(&line["confirmation"]));
        match event.as_str() {
            "redeemed" => *redeemed.entry(nonce).or_default() += 1,
            "restore.started" => *ends.entry(nonce).or_default() += 1,
            "restore.succeeded" | "restore.failed" | "restore.uncertain" => *ends.entry(nonce).or_default() -= 1,
            _ => {}
        }
    }
    assert!(redeemed.values().all(|times| *times == 1), "{redeemed:?}");
    // A restore may have died before it said that it began; none has begun without an end, or ended twice.
    assert!(ends.values().all(|open| (-1..=0).contains(open)), "{ends:?}");
}

fn a_backup_dies_behind_its_steps(database: Option<&Database>) {
    let redis = Redis::start("redis-7.0", &[]);
    let scene = Scene::new(&redis, database, "");
    redis.run(&["SET", "a", "1"]);
    let args = ["create-backup", "--instance-id", "orders", "--json"];
    let mut taken = 1;
    for step in scene.steps("a backup", &args) {
        let (died, done) = scene.dies(step, &args);
        let when = format!("killed behind step {step} ({died}): {done:?}");
        let jobs = scene.reconciled(&when);
        let sets = scene.bench.backups();
        let whole = jobs.iter().filter(|job| job["kind"] == "backup" && job["status"] == "succeeded");
        let mut whole: Vec<&Value> = whole.map(|job| &job["backup_id"]).collect();
        let mut listed: Vec<&Value> = sets.iter().map(|set| &set["backup_id"]).collect();
        whole.sort_by_key(|id| id.to_string());
        listed.sort_by_key(|id| id.to_string());
        assert_eq!(whole, listed, "{when}: {jobs:?}");
        assert!(sets.iter().all(|set| set["status"] == "deep"), "{when}: {sets:?}");
        assert!((taken..=taken + 1).contains(&sets.len()), "{when}: {sets:?}");
        taken = sets.len();
    }
    scene.bench.backup();
    assert_eq!(scene.bench.backups().len(), taken + 1);
}

/// The manifest goes first, then the data: a crash leaves what the next look removes, and never a manifest without data.
fn an_expiry_dies_behind_each_of_its_steps(database: Option<&Database>) {
    let redis = Redis::start("redis-7.0", &[]);
    // Nothing is due before tomorrow's window but what expires.
    let scene = Scene::new(&redis, database, DAILY);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let put = |n: u8, at: Timestamp| runtime.block_on(put(&scene.bench, n, at, ("another", 0)));
    let (now, wednesday) = (Timestamp::now(), wednesday(Timestamp::now()));
    // One of today, and the newest of a week that is long over: an older one of that week goes.
    let mut stays = vec![put(1, now), put(2, wednesday)];
    stays.extend(runtime.block_on(put_days(&scene.bench, now)));
    let vault = scene.bench.home().join("vault/orders");
    let (mut n, mut step, mut died) = (3, 1, true);
    while died {
        let goes = put(n, wednesday - days(1));
        died = scene.dies(step, &["describe-jobs"]).0;
        let when = format!("killed behind step {step} ({died})");
        let [manifest, data] = ["manifest.json", "data.rdb.zst"].map(|name| vault.join(&goes).join(name).exists());
        assert!(data || !manifest, "{when}: a manifest without data");
        scene.reconciled(&when);
        assert!(!vault.join(&goes).exists(), "{when}: something of the set that has expired is left");
        let since = ["--start-time", "2020-01-01T00:00Z", "--page-size", "100"];
        let sets = scene.bench.json(&[&["describe-backups", "--instance-id", "orders"][..], &since].concat());
        let sets = sets["backups"].as_array().unwrap();
        let mut listed: Vec<String> = sets.iter().map(|set| text(&set["backup_id"])).collect();
        listed.sort();
        assert!(listed == stays && sets.iter().all(|set| set["status"] == "deep"), "{when}: {sets:?}");
        (n, step) = (n + 1, step + 1);
    }
    assert!(step > 5, "only {step} steps");
}

/// Of a file all is imported, or nothing: whatever a process has left that died at it, the import is done again, and everything is there once.
fn an_import_dies_behind_each_of_its_steps(database: Option<&Database>) {
    let (files, preload) = (TempDir::new().unwrap(), Preload::new());
    let [file, there] = ["state", "there"].map(|name| files.path().join(name));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let home = TempDir::new().unwrap();
        let from = home.open();
        fill(&from).await;
        from.export(&file).await.unwrap();
    });
    let args = ["state", "import", file.to_str().unwrap(), "--json"];
    let (mut step, mut died) = (1, true);
    while died {
        // An import wants an empty place.
        let own = database.map(|_| Database::new());
        let instance = "[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n";
        let bench = Bench::new(&format!("{}{instance}", state_line(own.as_ref())));
        let done = dies(&bench, &preload, own.as_ref(), step, &args);
        died = done.0;
        let when = format!("killed behind step {step}: {done:?}");
        let again = wait("the dead to be accounted for", Duration::from_secs(40), || {
            let again = bench.run(&args);
            assert!(again.code == 0 || again.err.contains("state.in_use"), "{when}: {again:?}");
            (again.code == 0).then_some(again)
        });
        assert!(died || !again.json()["imported_before"].is_null(), "{when}: {again:?}");
        runtime.block_on(async {
            let store: Arc<dyn State> = match &own {
                Some(database) => database.open(),
                None => Arc::new(Sqlite::new(&bench.home())),
            };
            store.export(&there).await.unwrap();
        });
        assert!(rows(&there) == rows(&file), "{when}: {:?}", rows(&there));
        std::fs::remove_file(&there).unwrap();
        step += 1;
    }
    assert!(step > 2, "an import takes {} steps", step - 2);
}
