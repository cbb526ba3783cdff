//! Backups: waited for or not, joined where one runs already, and bounded in how long a call may wait.

use crate::support::{Bench, Redis, text, wait};
use std::time::Duration;

/// A backup that is not waited for is not cut off: the command ends while the job runs and says how long that takes, and another process sees the
/// set to its end. What is refused is refused by this command.
#[test]
fn a_backup_not_waited_for_is_finished() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(20, 1);
    let bench = Bench::unattended(&redis);
    // Nothing is sent until it is let go: whoever waited would wait for that.
    redis.holds_backups_for(3600);
    let made = bench.json(&["create-backup", "orders", "--wait-seconds", "0"]);
    assert_eq!(made["status"], "running", "{made}");
    assert_eq!(made["estimate"]["from"], "not known yet: no earlier backup of this instance tells", "{made}");
    let told = bench.run(&["create-backup", "orders", "--wait-seconds", "0"]);
    assert!(told.code == 0 && told.out.contains(&text(&made["backup_job_id"])), "{told:?}");
    assert!(told.err.contains("describe-jobs --job-id bj-"), "{told:?}");
    let all = format!("{}{}", told.out, told.err).to_lowercase().replace('_', "-");
    assert_eq!((all.matches("follow it").count(), all.matches("describe-jobs").count()), (1, 1), "{told:?}");
    redis.lets_backups_go_on();
    wait("the set", Duration::from_secs(60), || (bench.jobs()[0]["status"] == "succeeded").then_some(()));
    assert_eq!(bench.backups().len(), 1);
    // What that took tells how long the next one takes; one that has ended needs no estimate.
    let next = bench.json(&["create-backup", "orders", "--wait-seconds", "0"]);
    assert!(next["estimate"]["from"] == "last backup" && next["estimate"]["seconds"].is_u64(), "{next}");
    assert!(bench.json(&["create-backup", "orders"])["estimate"].is_null());
    let refused = bench.run(&["create-backup", "carts", "--wait-seconds", "0"]);
    assert!(refused.code == 4 && refused.err.contains("[instance.not_found]"), "{refused:?}");
    // An instance that the line alone names is known to the other process too.
    let url = ["--url", "away=redis://127.0.0.1:1"];
    let away = bench.run(&[&["create-backup", "away", "--wait-seconds", "0", "--json"], &url[..]].concat());
    assert!(text(&away.json()["backup_job_id"]).starts_with("bj-"), "{away:?}");
}

/// What keeps the other process from its work is told as if this one had failed, for people and for programs.
#[test]
fn what_fails_out_of_sight_is_told() {
    let bench = Bench::new("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    assert_eq!(bench.run(&["audit"]).code, 0);
    for log in ["state.db-wal", "state.db-shm"] {
        std::fs::remove_file(bench.home().join(log)).ok();
    }
    std::fs::write(bench.home().join("state.db"), "this is no database".repeat(500)).unwrap();
    let create = ["create-backup", "orders", "--wait-seconds", "0"];
    let told = bench.run(&create);
    assert!(told.code == 1 && told.err.contains("[state.failed]") && told.out.is_empty(), "{told:?}");
    let program = bench.run(&[&create[..], &["--json"]].concat());
    assert!(program.code == 1 && program.json()["code"] == "state.failed", "{program:?}");
    assert!(program.err.contains("[state.failed]"), "{program:?}");
}

/// Of two calls at once one makes the backup and the other joins it: there is one job and one set.
#[test]
fn a_second_call_joins_the_first() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(20, 1);
    let bench = Bench::unattended(&redis);
    let replies: Vec<_> = std::thread::scope(|threads| {
        let calls = [0, 1].map(|_| threads.spawn(|| bench.json(&["create-backup", "--instance-id", "orders"])));
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let joined = replies.iter().filter(|reply| reply["joined"] == true).count();
    // The second may also have come after the first was done; then it made one of its own.
    assert_eq!(bench.backups().len(), 2 - joined, "{replies:?}");
    assert_eq!(bench.jobs().len(), 2 - joined, "{replies:?}");
    for reply in &replies {
        let listed = bench.backups();
        assert!(listed.iter().any(|set| set["backup_id"] == reply["backup_id"]), "{reply} is not in {listed:?}");
    }
}

/// A note is kept with its set; a wait beyond an hour is refused before anything is begun.
#[test]
fn a_note_is_kept_and_a_wait_is_bounded() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let long = bench.run(&["create-backup", "--instance-id", "orders", "--wait-seconds", "3601"]);
    assert!(long.code == 2 && long.err.contains("at most 3600"), "{long:?}");
    assert!(!bench.home().join("vault/orders").exists() && bench.jobs().is_empty());
    let made = bench.json(&["create-backup", "--instance-id", "orders", "--note", "before the release"]);
    assert_eq!((text(&made["status"]), made["joined"] == false), ("succeeded".into(), true), "{made}");
    assert_eq!(bench.backups()[0]["note"], "before the release");
}

/// A set is kept for the days that are asked for, and otherwise until somebody deletes it; too many are refused before anything is begun.
#[test]
fn a_set_is_kept_for_as_long_as_is_asked_for() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let kept = |days| ["create-backup", "--instance-id", "orders", "--backup-retention-period", days];
    for days in ["0", "3651"] {
        let refused = bench.run(&kept(days));
        assert!(refused.code == 2 && refused.err.contains("1 to 3650 days"), "{refused:?}");
    }
    assert!(bench.jobs().is_empty());
    let made = bench.json(&kept("2"));
    let set = bench.backups().remove(0);
    let until = text(&set["expires_at"]);
    assert!(text(&made["message"]).contains(&format!("kept until {until}")), "{made}");
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let hours = at(&until).duration_since(at(&text(&set["taken_at"]))).as_hours();
    assert!((47..=48).contains(&hours), "{set}");
    let retention = bench.run(&["retention", "--instance-id", "orders"]);
    assert!(retention.code == 0 && retention.out.contains(&format!("kept until {until}")), "{retention:?}");
    bench.backup();
    assert_eq!(bench.backups()[0]["expires_at"], serde_json::Value::Null, "for ever");
}
