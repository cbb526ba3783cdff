//! Which owners count as alive: by a lock that ends with its process, and by heartbeats that stop coming, by the database's clock.

use super::places::Place;
use crate::support::{Bench, Redis, files_under, finish, wait};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tair_backup_mcp::state::leases::Leases as _;
use tair_backup_mcp::state::liveness::{Liveness, NOBODY};
use tair_backup_mcp::state::owner::LockFiles;
use tair_backup_mcp::state::sql::Store;
use tair_backup_mcp::state::sql::database::Database as _;
use tair_backup_mcp::state::sql::heartbeats::{Beat, Heartbeats};
use tair_backup_mcp::state::sql::statement::Statement;
use tempfile::TempDir;

/// The contract of both: a process keeps one name, alive from the first call to the last; a stranger's name is not alive.
async fn one_lives_and_strangers_do_not(ours: &dyn Liveness, theirs: &dyn Liveness) {
    let (one, two) = (ours.me().await.unwrap(), theirs.me().await.unwrap());
    assert_ne!(one, two);
    assert_eq!(ours.me().await.unwrap(), one);
    for liveness in [ours, theirs] {
        assert!(liveness.lives(&one).await.unwrap() && liveness.lives(&two).await.unwrap());
        assert!(!liveness.lives(NOBODY).await.unwrap() && !liveness.lives("1-never").await.unwrap());
    }
}

#[tokio::test]
async fn a_lock_file_is_free_at_once_when_its_owner_is_gone() {
    let dir = TempDir::new().unwrap();
    let (ours, theirs) = (LockFiles::new(dir.path().join("run")), LockFiles::new(dir.path().join("run")));
    one_lives_and_strangers_do_not(&ours, &theirs).await;
    let gone = theirs.me().await.unwrap();
    drop(theirs);
    assert!(!ours.lives(&gone).await.unwrap());
}

/// Takes a backup that waits before anything comes, and gives its process once its job is listed.
fn waiting(bench: &Bench, source: &Redis) -> Child {
    source.holds_backups_for(3600);
    let child = bench.spawn(&["create-backup", "--instance-id", "orders", "--json"]);
    wait("the backup to run", Duration::from_secs(30), || {
        bench
            .home()
            .join("state.db")
            .exists()
            .then(|| bench.jobs())
            .filter(|jobs| jobs.first().is_some_and(|job| job["status"] == "running"))
    });
    child
}

fn lock_files(bench: &Bench) -> Vec<PathBuf> {
    let mut found = files_under(&bench.home().join("run"));
    found.retain(|path| path.extension().is_some_and(|end| end == "lock"));
    found
}

/// Whoever removes the lock file of a living process has not killed it: its job stays its own and ends well. Once it is dead, its
/// job is reconciled, with the lock file or without.
#[test]
fn a_missing_lock_file_is_no_proof_of_death() {
    let source = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&source);
    let child = waiting(&bench, &source);
    assert_eq!(lock_files(&bench).len(), 1);
    std::fs::remove_file(&lock_files(&bench)[0]).unwrap();
    for _ in 0..2 {
        let jobs = bench.jobs();
        assert_eq!((jobs.len(), &jobs[0]["status"]), (1, &"running".into()), "{jobs:?}");
    }
    source.lets_backups_go_on();
    let done = finish(child);
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");

    let mut child = waiting(&bench, &source);
    std::fs::remove_file(&lock_files(&bench)[0]).unwrap();
    child.kill().unwrap();
    // Dead, and not yet waited for: it has its number still.
    wait("the job to be reconciled", Duration::from_secs(30), || {
        (bench.jobs()[0]["code"] == "job.interrupted").then_some(())
    });
    child.wait().unwrap();
}

/// What killed processes left in `run/` is gone after the next one that begins a job, and what is alive stays.
#[test]
fn what_killed_processes_left_goes() {
    let source = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&source);
    let mut child = waiting(&bench, &source);
    child.kill().unwrap();
    child.wait().unwrap();
    let run = bench.home().join("run");
    let (old, new) = (run.join(".restore-00"), run.join(".restore-01"));
    for path in [&old, &new] {
        std::fs::write(path, "").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    std::fs::write(run.join("1-00000000-00000000.lock"), "").unwrap();
    assert_eq!(lock_files(&bench).len(), 2);
    bench.jobs();
    let child = waiting(&bench, &source);
    let alive = lock_files(&bench);
    assert!(alive.len() == 1 && alive[0].to_str().unwrap().contains(&child.id().to_string()), "{alive:?}");
    assert!(!old.exists() && new.exists());
    source.lets_backups_go_on();
    assert_eq!(finish(child).code, 0);
    assert!(lock_files(&bench).is_empty());
}

promises! {
    an_owner_is_dead_once_too_many_heartbeats_are_missed,
    heartbeats_are_renewed_by_themselves_until_their_owner_goes,
    a_lease_behind_heartbeats_is_taken_over_from_the_silent,
    a_process_that_has_just_begun_waits_for_the_silent_to_come_back,
    who_holds_something_is_not_forgotten,
}

const HOUR: Duration = Duration::from_secs(3600);

/// Lets what an owner wrote last have been written so much earlier.
async fn set_back(place: &impl Place, owner: &str, by: Duration) {
    place.run(format!("UPDATE owners SET seen_at = seen_at - {} WHERE name = '{owner}'", by.as_millis())).await;
}

/// Polls until an owner is alive, or is not.
async fn becomes(liveness: &dyn Liveness, owner: &str, alive: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while liveness.lives(owner).await.unwrap() != alive {
        assert!(Instant::now() < deadline, "{owner} does not become alive: {alive}");
        // The renewing task runs while somebody waits here.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn an_owner_is_dead_once_too_many_heartbeats_are_missed(place: &impl Place) {
    // An hour of real time passes in no test: nothing is renewed here.
    let beat = Beat { every: HOUR, missed: 3, back_within: Duration::ZERO };
    let (ours, theirs) = (Heartbeats::new(place.database(), beat), Heartbeats::new(place.database(), beat));
    one_lives_and_strangers_do_not(&ours, &theirs).await;
    let one = theirs.me().await.unwrap();
    // Three are missed: the fourth may still be on its way.
    set_back(place, &one, HOUR * 4 - Duration::from_secs(600)).await;
    assert!(ours.lives(&one).await.unwrap());
    set_back(place, &one, Duration::from_secs(600)).await;
    assert!(!ours.lives(&one).await.unwrap());
}

async fn heartbeats_are_renewed_by_themselves_until_their_owner_goes(place: &impl Place) {
    let beat = Beat { every: Duration::from_millis(20), missed: 3, back_within: Duration::ZERO };
    let (ours, theirs) = (Heartbeats::new(place.database(), beat), Heartbeats::new(place.database(), beat));
    let one = theirs.me().await.unwrap();
    for _ in 0..3 {
        // All that was written until now is long ago.
        set_back(place, &one, HOUR).await;
        becomes(&ours, &one, true).await;
    }
    // One that was forgotten while it could not write comes back under its name.
    place.run(format!("DELETE FROM owners WHERE name = '{one}'")).await;
    becomes(&ours, &one, true).await;
    drop(theirs);
    becomes(&ours, &one, false).await;
}

/// The store asks whichever it is given: behind heartbeats a lease is taken over once its holder has been silent for too long.
async fn a_lease_behind_heartbeats_is_taken_over_from_the_silent(place: &impl Place) {
    let beat = Beat { every: HOUR, missed: 1, back_within: Duration::ZERO };
    let of = || {
        let database = place.database();
        Store::with(Arc::clone(&database), Box::new(Heartbeats::new(database, beat)))
    };
    let (silent, next) = (of(), of());
    let lost = silent.acquire("archive/orders").await.unwrap().unwrap();
    assert_eq!(next.acquire("archive/orders").await.unwrap(), None);
    set_back(place, &lost.holder, HOUR * 3).await;
    let taken = next.acquire("archive/orders").await.unwrap().unwrap();
    assert!(taken.epoch > lost.epoch && !silent.renew(&lost).await.unwrap());
}

/// What it reads says that they were silent for long, and not why: the database may be another one's successor, and have heard of nobody.
async fn a_process_that_has_just_begun_waits_for_the_silent_to_come_back(place: &impl Place) {
    let beat = Beat { every: HOUR, missed: 1, back_within: Duration::from_secs(2) };
    let fresh = || Heartbeats::new(place.database(), beat);
    let theirs = fresh();
    let one = theirs.me().await.unwrap();
    set_back(place, &one, HOUR * 3).await;
    // A database that was itself begun just now proves nobody dead.
    tokio::time::sleep(beat.back_within).await;
    let ours = fresh();
    let back = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            place.run("UPDATE owners SET seen_at = seen_at + 1".to_owned()).await;
        }
    };
    tokio::select! {
        lives = ours.lives(&one) => assert!(lives.unwrap(), "it has come back"),
        () = back => {}
    }
    let (ours, asked) = (fresh(), Instant::now());
    assert!(!ours.lives(&one).await.unwrap() && asked.elapsed() >= beat.back_within, "{:?}", asked.elapsed());
    assert!(!ours.lives(NOBODY).await.unwrap() && !ours.lives(&one).await.unwrap());
}

/// Behind an outage of a day every row is a day old.
async fn who_holds_something_is_not_forgotten(place: &impl Place) {
    let beat = Beat { every: HOUR, missed: 1, back_within: Duration::ZERO };
    let database = place.database();
    let ours = Store::with(Arc::clone(&database), Box::new(Heartbeats::new(Arc::clone(&database), beat)));
    assert!(ours.holder("archive/orders").await.unwrap().is_none());
    for name in ["holds", "works", "gone"] {
        place.run(format!("INSERT INTO owners (name, seen_at) VALUES ('{name}', 1)")).await;
    }
    place.run("INSERT INTO leases (name, holder, epoch, renewed_at) VALUES ('a', 'holds', 1, 1)".to_owned()).await;
    let job = "INSERT INTO jobs (id, provider, kind, instance_id, backup_id, status, phase, stage, owner, exclusive, created_at) \
        VALUES ('rj-1', 'local', 'restore', 'orders', 'b-1', 'running', 'working', '', 'works', TRUE, 1)";
    place.run(job.to_owned()).await;
    ours.acquire("archive/orders").await.unwrap().unwrap();
    let left = Statement::new("SELECT name FROM owners WHERE seen_at = 1 ORDER BY name");
    let left = database.read(left).await.unwrap();
    let left: Vec<String> = left.iter().map(|row| row.get("name").unwrap()).collect();
    assert_eq!(left, ["holds", "works"]);
}
