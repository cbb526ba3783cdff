//! Restores: planned, echoed and done, to the byte; and what they cannot be asked for is refused before anything is read.

use crate::support::{Bench, Redis, text};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// A plan changes nothing; its echo brings back what the set holds; and the plan names the set that undoes it.
#[test]
fn a_plan_and_its_echo() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let (intact, backup) = (redis.digest(), bench.backup());
    redis.run(&["SET", "marker", "written since"]);
    let damaged = redis.digest();
    let plan = bench.ask(&backup).json();
    assert_eq!(plan["status"], "confirmation_required", "{plan}");
    assert_eq!(redis.digest(), damaged, "a plan changes nothing");
    let estimate = &plan["plan"]["estimate"];
    assert!(estimate["seconds"].as_u64() >= Some(1) && estimate["from"] == "size", "{estimate}");
    assert!(text(&estimate["meanwhile"]).contains("writes are refused (READONLY)"), "{estimate}");
    let safety = text(&plan["plan"]["safety_backup_id"]);
    let done = bench.run(&Bench::echo(&backup, &text(&plan["confirmation_token"])));
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
    assert_eq!(redis.digest(), intact);
    // What that took tells how long the next one takes.
    let back = bench.restore(&safety).json();
    assert_eq!((&back["status"], &back["plan"]["estimate"]["from"]), (&"succeeded".into(), &"last restore".into()));
    assert_eq!(redis.digest(), damaged, "the safety backup brings back what the restore overwrote");
}

/// What only the cloud can do, or nobody could show to a person, is refused on an instance of our own.
#[test]
fn what_cannot_be_asked_for_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let long = "x".repeat(161);
    let moment = ["restore-instance", "--restore-time", "2026-11-23T06:15:00Z"];
    refused(&bench, &[&moment[..], &["--filter-key", &long]].concat(), "arguments.invalid");
    refused(&bench, &[&moment[..], &["--filter-key", "user:\u{202e}.*"]].concat(), "arguments.invalid");
    refused(&bench, &moment, "restore.no_flashback");
    let set = ["restore-instance", "--backup-id", "b-1"];
    for wrong in ["", "a\u{202e}", &"p".repeat(65)] {
        refused(&bench, &[&set[..], &["--filter-key", "user:.*", "--add-prefix", wrong]].concat(), "arguments.invalid");
    }
    // The way back has to name the keys in the target.
    for (list, prefix) in [("^user:.*$", "r:"), ("user:.*", "a,b"), (&"k".repeat(150), "restored:")] {
        refused(&bench, &[&set[..], &["--filter-key", list, "--add-prefix", prefix]].concat(), "arguments.invalid");
    }
    refused(&bench, &[&set[..], &["--filter-key", "^user:.*$"]].concat(), "backup.not_found");
    refused(&bench, &[&set[..], &["--filter-key", "user:["]].concat(), "backup.not_found");
    refused(&bench, &[&set[..], &["--source-instance-id", "nobody"]].concat(), "instance.not_found");
    refused(&bench, &[&set[..], &["--time-shift", "now"]].concat(), "arguments.invalid");
    refused(&bench, &["restore-instance"], "arguments.invalid");
    // The type that the cloud's own command takes says no more than the other arguments do.
    for args in [
        &["--restore-type", "1", "--backup-id", "b-1"][..],
        &["--restore-type", "0", "--restore-time", "2026-11-23T06:15:00Z"],
        &["--restore-type", "2", "--backup-id", "b-1"],
        &["--restore-type", "1"],
        &["--restore-type", "0"],
    ] {
        refused(&bench, &[&["restore-instance"], args].concat(), "arguments.invalid");
    }
    let agent = ["--user-agent", "AlibabaCloud-Agent-Skills/alibabacloud-tair-agent-skills"];
    refused(&bench, &[&moment[..], &["--restore-type", "1"], &agent].concat(), "restore.no_flashback");
    refused(
        &bench,
        &[&["restore-instance", "--restore-type", "0", "--backup-id", "b-1"], &agent[..]].concat(),
        "backup.not_found",
    );
    refused(&bench, &[&moment[..], &["--backup-id", "b-1"]].concat(), "arguments.invalid");
}
