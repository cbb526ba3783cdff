//! New instances from a backup: what may be named, what the plan says, and what of an instance of the cloud an instance here has not. How clones
//! are made and end is in `provider::clones`.

use crate::support::clones::bench;
use crate::support::{Bench, Redis, text};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// One source, and only known parts of a configuration, may be named; the set must be there.
#[test]
fn what_cannot_be_made_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let verb = "create-instance-from-backup";
    refused(&bench, &[verb, "--backup-id", "b-1"], "backup.not_found");
    refused(&bench, &[verb], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "b-1", "--restore-time", "2026-11-23T06:15:00Z"], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "b-1", "--recover-config-mode", "whitelist,disks"], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "b-1", "--recover-config-mode", "whitelist"], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "../b-1"], "backup.bad_id");
    refused(&bench, &["--read-only", verb, "--backup-id", "b-1"], "mode.read_only");
}

/// The plan says what it costs here, and not that it costs money; that nothing is lost, and how it ends.
#[test]
fn the_plan_says_what_a_clone_costs() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = bench(&redis, "redis-7.0");
    let backup = bench.backup();
    let plan = bench.plan_clone(&["--backup-id", &backup]).json();
    assert_eq!(plan["status"], "confirmation_required", "{plan}");
    let told = plan.to_string();
    assert!(told.contains("THIS COSTS MEMORY AND DISK HERE") && !told.contains("MONEY"), "{told}");
    let names: Vec<String> = plan["prechecks"].as_array().unwrap().iter().map(|c| text(&c["name"])).collect();
    assert_eq!(names, ["backup_verified", "engine_compatible", "room_here"], "{plan}");
    assert!(plan["prechecks"].as_array().unwrap().iter().all(|c| c["status"] == "pass"), "{plan}");
    let impact = &plan["impact"];
    assert_eq!(impact["now"], "orders stays as it is");
    assert!(
        text(&impact["after"]).contains("1 keys (db0 1)") && text(&impact["after"]).contains("gone after 24 hours"),
        "{impact}"
    );
    assert!(text(&impact["lost"]).starts_with("no data; about "), "{impact}");
    assert!(text(&impact["way_back"]).contains("delete-instance"), "{impact}");
    assert!(text(&plan["plan"]["runs_on"]).contains("7.0"), "{plan}");
    assert!(bench.clone_dirs().is_empty(), "a plan makes nothing");
}
