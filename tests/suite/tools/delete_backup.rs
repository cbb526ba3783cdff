//! Deletion of backups: only manual ones, only after a plan was echoed, for ever, and never another set than the one planned.

use crate::support::{Bench, Done, Redis, text};
use serde_json::Value;

fn delete(bench: &Bench, backup: &str, more: &[&str]) -> Done {
    bench.run(&[&["delete-backup", "--instance-id", "orders", "--backup-id", backup, "--json"], more].concat())
}

fn ids(bench: &Bench) -> Vec<String> {
    bench.backups().iter().map(|b| text(&b["backup_id"])).collect()
}

/// A plan changes nothing; its echo deletes that set and no other; the token is then redeemed and the set unknown.
#[test]
fn a_manual_set_is_deleted_once_planned() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let (kept, gone) = (bench.backup(), bench.backup());
    let planned = delete(&bench, &gone, &[]);
    let plan = planned.json();
    assert_eq!((planned.code, &plan["status"]), (0, &"confirmation_required".into()), "{planned:?}");
    assert_eq!(plan["plan"]["act"], "delete_backup");
    assert!(text(&plan["impact"]["way_back"]).starts_with("none"), "{plan}");
    assert_eq!(ids(&bench).len(), 2, "a plan deletes nothing");
    let token = text(&plan["confirmation_token"]);

    let other = delete(&bench, &kept, &["--confirmation-token", &token]);
    assert_eq!((other.code, &other.json()["code"]), (3, &"confirm.mismatch".into()), "{other:?}");
    let restore = bench.run(&Bench::echo(&gone, &token));
    assert_eq!(restore.json()["code"], "confirm.mismatch", "a token to delete restores nothing: {restore:?}");

    let done = delete(&bench, &gone, &["--confirmation-token", &token]);
    assert_eq!((done.code, &done.json()["status"]), (0, &"succeeded".into()), "{done:?}");
    assert_eq!(ids(&bench), std::slice::from_ref(&kept));
    assert!(bench.left_over().is_empty(), "nothing of it is left");
    let again = delete(&bench, &gone, &["--confirmation-token", &token]);
    assert_eq!(again.code, 3, "{again:?}");
    assert_eq!(delete(&bench, &gone, &[]).code, 4, "it is unknown now");

    let last = delete(&bench, &kept, &[]).json();
    let checks = last["prechecks"].as_array().unwrap();
    let others = checks.iter().find(|c| c["name"] == "other_backups").unwrap();
    assert_eq!(others["status"], "warn", "the last backup is warned of: {last}");
    let audit = bench.run(&["audit"]).out;
    assert!(audit.contains("backup.deleted") && audit.contains(&gone), "{audit}");
}

/// What undoes a restore cannot be deleted: the plan is blocked, and there is no token.
#[test]
fn a_safety_backup_is_kept() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "later", "write"]);
    let planned = bench.ask(&backup).json();
    let safety = text(&planned["plan"]["safety_backup_id"]);
    assert_ne!(safety, backup);
    let refused = delete(&bench, &safety, &[]);
    let reply = refused.json();
    assert_eq!((refused.code, &reply["status"]), (3, &"blocked".into()), "{refused:?}");
    assert!(reply["confirmation_token"] == Value::Null && text(&reply["message"]).contains("only manual"), "{reply}");
    assert!(ids(&bench).contains(&safety));
}

/// With a person required and none there, nothing is deleted.
#[test]
fn without_a_person_nothing_is_deleted() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let backup = bench.backup();
    let token = text(&delete(&bench, &backup, &[]).json()["confirmation_token"]);
    let echoed = delete(&bench, &backup, &["--confirmation-token", &token]);
    assert_eq!((echoed.code, &echoed.json()["code"]), (3, &"person.no_channel".into()), "{echoed:?}");
    assert_eq!(ids(&bench), [backup]);
    let read_only = bench.run(&["--read-only", "delete-backup", "--instance-id", "orders", "--backup-id", "b-1"]);
    assert!(read_only.code == 3 && read_only.err.contains("mode.read_only"), "{read_only:?}");
}
