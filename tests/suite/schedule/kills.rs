//! Services that share a store are killed at moments that dice choose, among them right behind a manifest and before the job's end: each window
//! has one backup all the same, never two and never none.

use super::service::{DAILY, set_clock};
use crate::support::log::{LONG, Service, service_log};
use crate::support::postgres::{Database, state_line};
use crate::support::preload::Preload;
use crate::support::{Bench, Dice, Redis, text, unattended, wait};
use serde_json::Value;
use std::collections::BTreeSet;

/// More steps than are taken between two kills.
const ALL: i64 = 1 << 20;
/// Windows in which somebody is killed. With those before and behind them they are fewer days than retention keeps.
const WINDOWS: i64 = 3;
/// Most kills in one window: as many failures are tried again within the minutes that the clock is set ahead by.
const KILLS: usize = 2;

#[test]
fn of_two_services_some_are_killed_at_random() {
    some_are_killed_at_random(2, None);
}

#[test]
fn of_five_services_some_are_killed_at_random() {
    some_are_killed_at_random(5, None);
}

#[test]
fn of_two_services_with_state_on_postgresql_some_are_killed_at_random() {
    some_are_killed_at_random(2, Some(&Database::new()));
}

#[test]
fn of_five_services_with_state_on_postgresql_some_are_killed_at_random() {
    some_are_killed_at_random(5, Some(&Database::new()));
}

/// Services on one store, whose clock is set and of which one dies behind a step.
struct Scene<'a> {
    bench: Bench,
    preload: Preload,
    services: Vec<Service>,
    database: Option<&'a Database>,
}

impl<'a> Scene<'a> {
    fn new(redis: &Redis, count: usize, database: Option<&'a Database>) -> Self {
        let bench = Bench::new(&format!("{}{}", state_line(database), unattended(redis, DAILY)));
        let preload = Preload::new();
        // Behind the window of that day, which is taken late.
        set_clock(&preload, 0, 12, 0);
        let services = (0..count).map(|_| Service::with(&bench, &preload)).collect();
        Self { bench, preload, services, database }
    }

    fn set_clock(&self, day: i64, minute: i8) {
        set_clock(&self.preload, day, 12, minute);
    }

    /// Manifests that are there, whatever the jobs say.
    fn manifests(&self) -> usize {
        let Ok(sets) = std::fs::read_dir(self.bench.home().join("vault/orders")) else { return 0 };
        sets.filter(|set| set.as_ref().unwrap().path().join("manifest.json").exists()).count()
    }

    /// Whether no job is without an end. Whoever looks ends those of the dead.
    fn is_at_rest(&self) -> bool {
        self.bench.jobs().iter().all(|job| job["status"] != "running")
    }

    /// Waits until so many sets are there and no job runs.
    fn taken(&self, sets: usize) {
        let taken = || (self.manifests() >= sets && self.is_at_rest()).then_some(());
        wait(&format!("backup {sets}"), LONG * 2, taken);
    }

    /// Waits until a service has died, which is replaced as by whoever watches over services, or until so many sets are there; whether one died.
    fn one_dies(&mut self, sets: usize) -> bool {
        let died = wait("a service to die, or a backup", LONG * 2, || {
            let over = self.manifests() >= sets && self.is_at_rest();
            // Whoever died before its job had an end is seen to be dead now.
            let dead = self.services.iter_mut().position(Service::is_over);
            (over || dead.is_some()).then_some(dead)
        });
        self.preload.dies_behind(0);
        // It may have died since.
        let Some(at) = died.or_else(|| self.services.iter_mut().position(Service::is_over)) else { return false };
        let dead = self.services.remove(at);
        if let Some(database) = self.database {
            // Only the dead: who lives may be at work.
            let pid = dead.pid();
            database.run(&format!("UPDATE owners SET seen_at = seen_at - 3600000 WHERE name LIKE '{pid}-%'"));
        }
        self.services.push(Service::with(&self.bench, &self.preload));
        true
    }
}

fn some_are_killed_at_random(count: usize, database: Option<&Database>) {
    let mut dice = Dice::new(&format!("services of {count} that are killed"));
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let mut scene = Scene::new(&redis, count, database);
    scene.taken(1);
    // A window in which nobody dies says how many steps there are to die behind.
    scene.preload.dies_behind(ALL);
    scene.set_clock(1, 0);
    scene.taken(2);
    let steps = usize::try_from(ALL - scene.preload.steps_left()).unwrap();
    assert!(steps > 2, "a backup takes {steps} steps");
    let (mut windows, mut deaths) = (2, 0);
    for day in 2..2 + WINDOWS {
        let kills = 1 + dice.below(KILLS);
        let mut minute = 0;
        for kill in 0..kills {
            let before = scene.manifests();
            if kill == 0 && day == 2 {
                println!("day {day}: killed behind the manifest");
                scene.preload.dies_behind_the_next_manifest();
                scene.set_clock(day, minute);
                assert!(
                    scene.one_dies(windows + 1),
                    "a manifest is put, and nobody died: {}",
                    service_log(&scene.bench)
                );
                assert_eq!(scene.manifests(), before + 1, "it died behind a manifest");
                deaths += 1;
            } else {
                let step = 1 + dice.below(steps);
                scene.preload.dies_behind(i64::try_from(step).unwrap());
                scene.set_clock(day, minute);
                let died = scene.one_dies(windows + 1);
                println!("day {day}: killed behind step {step} of about {steps}: {died}");
                deaths += usize::from(died);
            }
            wait("the dead to be accounted for", LONG * 2, || scene.is_at_rest().then_some(()));
            // What failed is tried again within this time. A clock that is set has all look at once, also where there is a set already.
            minute += 10;
        }
        scene.set_clock(day, minute);
        windows += 1;
        scene.taken(windows);
    }
    // With the next window everybody has looked once more, and whoever wanted a second set of an earlier one has taken it.
    windows += 1;
    scene.set_clock(2 + WINDOWS, 0);
    scene.taken(windows);
    let Scene { bench, services, .. } = scene;
    for service in services {
        assert_eq!(service.ask_to_end(), Some(0));
    }
    let (sets, jobs) = (bench.backups(), bench.jobs());
    // Each says for which window it was taken.
    let due = |set: &Value| text(&set["note"]).rsplit(' ').next().unwrap().to_owned();
    let of_windows: BTreeSet<String> = sets.iter().map(due).collect();
    assert_eq!((sets.len(), of_windows.len()), (windows, windows), "{sets:?}\n{jobs:?}\n{}", service_log(&bench));
    let ended =
        |how: &str| jobs.iter().filter(|job| job["kind"] == "backup" && job["status"] == how).collect::<Vec<_>>();
    let made: BTreeSet<String> = ended("succeeded").iter().map(|job| text(&job["backup_id"])).collect();
    let listed: BTreeSet<String> = sets.iter().map(|set| text(&set["backup_id"])).collect();
    assert_eq!((ended("succeeded").len(), made), (windows, listed), "{jobs:?}");
    assert!(ended("failed").len() <= deaths, "{deaths} were killed: {jobs:?}");
    assert!(bench.left_over().is_empty(), "{:?}", bench.left_over());
}
