//! The figures that are written for Prometheus while the vault is away: those of before stay, over a restart too, and an alarm has something to
//! look at in any case.

use crate::support::log::{LONG, Service};
use crate::support::{Bench, Redis, unattended, wait};

/// A figure of the instance `orders`, by its name and by its labels behind the instance.
fn figure(bench: &Bench, name: &str, more: &str) -> Option<i64> {
    let text = std::fs::read_to_string(bench.dir.path().join("figures.prom")).unwrap_or_default();
    let head = format!("tair_backup_{name}{{instance=\"orders\"{more}}} ");
    text.lines().find_map(|line| line.strip_prefix(&head)).map(|value| value.parse().unwrap())
}

#[test]
fn figures_outlive_a_restart_and_say_that_they_cannot_be_read() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::new(&format!("metrics_file = \"figures.prom\"\n{}", unattended(&redis, "")));
    bench.backup();
    let made = || figure(&bench, "last_success_timestamp_seconds", ",kind=\"manual\"");
    let read = |wanted: i64| {
        wait("a file that says whether it was read", LONG, || {
            figure(&bench, "read_success", "").filter(|read| *read == wanted)
        })
    };
    let service = Service::start(&bench);
    read(1);
    let known = made();
    assert!(known.is_some_and(|at| at > 0), "{known:?}");
    assert_eq!(service.ask_to_end(), Some(0));

    // What nobody can list, from the start of a process on.
    let (vault, away) = (bench.home().join("vault"), bench.home().join("away"));
    std::fs::rename(&vault, &away).unwrap();
    std::fs::write(&vault, "").unwrap();
    let service = Service::start(&bench);
    read(0);
    assert_eq!(made(), known);
    assert_eq!(service.ask_to_end(), Some(0));

    // Without figures of before there are none, and that is told too.
    std::fs::remove_file(bench.dir.path().join("figures.prom")).unwrap();
    let service = Service::start(&bench);
    read(0);
    assert_eq!(made(), None);
    assert_eq!(service.ask_to_end(), Some(0));

    std::fs::remove_file(&vault).unwrap();
    std::fs::rename(&away, &vault).unwrap();
    let service = Service::start(&bench);
    read(1);
    assert_eq!(made(), known);
    assert_eq!(service.ask_to_end(), Some(0));
}
