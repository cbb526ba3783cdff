//! Deletion of backups: only after a plan was echoed that says what else is lost, for ever, and never another set than the one
//! planned.

use crate::support::{Bench, Done, Redis, text};
use crate::vault::Place;
use tair_backup_mcp::vault::Vault;

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

    // One that nobody vouches for stands in for no other.
    let another = Place::on(|_| Vault::new(bench.home().join("vault"))).set("b-20260101T000000Z-aaaaaa");
    let listed = bench.json(&["describe-backups", "--instance-id", "orders", "--backup-id", &another.id]);
    assert_eq!(listed["backups"][0]["status"], "unverified", "{listed}");
    let last = delete(&bench, &kept, &[]).json();
    let checks = last["prechecks"].as_array().unwrap();
    let others = checks.iter().find(|c| c["name"] == "other_backups").unwrap();
    assert_eq!(others["status"], "warn", "the last backup is warned of: {last}");
    let audit = bench.run(&["audit"]).out;
    assert!(audit.contains("backup.deleted") && audit.contains(&gone), "{audit}");
}

/// A set that undoes a restore says so where it is listed, and in the plan of its deletion: who agrees to that knows what is lost.
#[test]
fn what_counts_on_a_set_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "later", "write"]);
    let manual = bench.backup();
    let needed = |id: &str| {
        let rows = bench.backups();
        let row = rows.iter().find(|b| b["backup_id"] == id).unwrap_or_else(|| panic!("no {id}: {rows:?}"));
        row["needed_by"].to_string()
    };
    assert_eq!((needed(&backup), needed(&manual)), ("null".into(), "null".into()));

    // A plan counts on the set that it restores, and on the one that undoes it, whoever took that.
    let token = bench.token(&backup);
    for id in [&backup, &manual] {
        assert!(needed(id).contains("plan of ") && needed(id).contains(&backup), "{}", needed(id));
    }
    let planned = delete(&bench, &manual, &[]).json();
    assert!(text(&planned["impact"]["lost"]).contains("can no longer be carried out"), "{planned}");

    let done = bench.run(&Bench::echo(&backup, &token));
    assert_eq!(done.code, 0, "{done:?}");
    let job = text(&done.json()["job_id"]);
    assert_eq!(needed(&backup), "null", "no plan waits any more");
    assert!(needed(&manual).contains(&format!("restore {job} of ")), "{}", needed(&manual));
    let planned = delete(&bench, &manual, &[]).json();
    let lost = text(&planned["impact"]["lost"]);
    assert!(lost.contains(&job) && lost.contains("can no longer be undone"), "{lost}");
    let checks = planned["prechecks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["name"] == "dependents").unwrap();
    assert!(check["status"] == "warn" && text(&check["detail"]).contains(&job), "{check}");
    // Deleted all the same by a yes: the set is somebody's own.
    let token = text(&planned["confirmation_token"]);
    let gone = delete(&bench, &manual, &["--confirmation-token", &token]);
    assert_eq!((gone.code, ids(&bench)), (0, vec![backup]), "{gone:?}");
}

/// A safety backup is listed as one with its end, and deleted like any other, by a yes to what is lost with it. What the plan
/// that counted on it is left with is no way back.
#[test]
fn a_safety_backup_can_be_deleted() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "later", "write"]);
    let planned = bench.ask(&backup).json();
    let (safety, token) = (text(&planned["plan"]["safety_backup_id"]), text(&planned["confirmation_token"]));
    let rows = bench.backups();
    let row = rows.iter().find(|b| b["backup_id"] == safety.as_str()).unwrap();
    assert_eq!(row["mode"], "safety", "{row}");
    let before = redis.digest();
    let plan = delete(&bench, &safety, &[]).json();
    assert_eq!(plan["status"], "confirmation_required", "{plan}");
    assert!(text(&plan["impact"]["lost"]).contains("can no longer be carried out"), "{plan}");
    let gone = delete(&bench, &safety, &["--confirmation-token", &text(&plan["confirmation_token"])]);
    assert_eq!((gone.code, ids(&bench)), (0, vec![backup.clone()]), "{gone:?}");
    let void = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((void.code, redis.digest()), (3, before), "{void:?}");
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
