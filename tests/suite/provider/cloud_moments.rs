//! Data flashback of the cloud's instances, from the tools to the data: a moment is planned with its window, restored in place behind a
//! proven safety backup or into a new instance, and refused with its neighbours where it cannot be.

use super::cloud::{Cloud, ID, Ours, redis};
use crate::support::log::second;
use crate::support::text;
use jiff::Timestamp;
use serde_json::{Value, json};
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::tools::{create_instance_from_backup, modify_backup_policy, restore_instance};

fn check(plan: &Value, name: &str) -> Value {
    let checks = plan["prechecks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}: {plan:#}")).clone()
}

/// Switches data flashback on, which lowers nothing and so takes one call, and tells since when it is.
fn switch_on(ours: &Ours) -> String {
    let on = json!({"instance_id": ID, "enable_backup_log": true});
    let changed = ours.tool(&on, modify_backup_policy::run).unwrap();
    assert_eq!(changed["status"], "succeeded", "{changed:#}");
    let policy = ours.policy(ID);
    assert_eq!(policy["enable_backup_log"], true);
    text(&policy["backup_log_start_time"])
}

/// A moment is restored once, whatever becomes of the call's reply, and what was there before is in the safety backup.
#[test]
fn a_moment_is_restored_in_place() {
    let server = redis(50);
    let cloud = Cloud::start(&[(ID, &server, "flashback = true")]);
    let ours = Ours::new(&cloud);
    let since = switch_on(&ours);
    server.run(&["SET", "a", "good", "PX", "600000"]);
    let expires = || server.run(&["PEXPIRETIME", "a"]).text().parse::<i64>().unwrap();
    let expiry = expires();
    let (before, at) = (server.digest(), second());
    server.run(&["FLUSHALL"]);
    server.run(&["SET", "a", "bad"]);
    let damaged = server.digest();

    // Outside the window nothing is planned and no safety backup taken; the neighbour is named.
    let sets = ours.sets(ID).len();
    for (moment, near) in
        [("2024-01-15T10:30:00Z", format!("{since} (after)")), (&at.replace('Z', ".500Z"), format!("{at} (before)"))]
    {
        let refused = ours.tool(&json!({"instance_id": ID, "restore_time": moment}), restore_instance::run).unwrap();
        let detail = text(&check(&refused, "restore_time")["detail"]);
        assert!(refused["status"] == "blocked" && detail.contains(&near), "{refused:#}");
    }
    assert_eq!(ours.sets(ID).len(), sets);

    let shift = second();
    let args = json!({
        "instance_id": ID, "restore_time": at, "restore_type": "1", "write_fence": true, "time_shift": shift
    });
    cloud.inject(&json!({"kind": "cut_after", "action": "RestoreInstance"}));
    let (plan, done) = ours.guarded(&args, restore_instance::run);
    let told = check(&plan, "restore_time");
    assert!(told["status"] == "pass" && text(&told["detail"]).contains(&since), "{plan:#}");
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(server.digest(), before);
    let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
    assert_eq!(expires(), expiry + ms(&shift) - ms(&at), "TimeShift is sent");
    assert_eq!(server.run(&["SET", "after", "1"]).text(), "OK", "the fence is down");
    // One restore and no other, whatever the reply was; and the way back is the safety backup.
    let theirs = cloud.bench.run(&["audit", "--json"]).out;
    assert_eq!(theirs.matches("\"restore.succeeded\"").count(), 1, "{theirs}");
    let safety = ours.sets(ID).into_iter().find(|set| set.mode == Mode::Manual).unwrap();
    let back = json!({"instance_id": ID, "backup_id": safety.id});
    let (_, done) = ours.guarded(&back, restore_instance::run);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(server.digest(), damaged);
}

/// Some keys of a moment come back alone. The cloud's refusal ends the job, and nothing is overwritten.
#[test]
fn a_refused_moment_changes_nothing() {
    let server = redis(5);
    let cloud = Cloud::start(&[(ID, &server, "flashback = true")]);
    let ours = Ours::new(&cloud);
    switch_on(&ours);
    let (then, at) = (server.run(&["GET", "key:1"]), second());
    for key in ["key:1", "key:2"] {
        server.run(&["SET", key, "changed since"]);
    }
    let before = server.digest();
    let some = json!({"instance_id": ID, "restore_time": at, "filter_key": "key:1"});
    cloud.inject(&json!({"kind": "error", "action": "RestoreInstance", "code": "ServiceNotSupport", "status": 400}));
    let (_, done) = ours.guarded(&some, restore_instance::run);
    assert_eq!(done["status"], "failed", "{done:#}");
    assert!(
        done.to_string().contains("ServiceNotSupport") && done.to_string().contains("Nothing was overwritten"),
        "{done:#}"
    );
    assert_eq!(server.digest(), before);
    let (_, done) = ours.guarded(&some, restore_instance::run);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!(server.run(&["GET", "key:1"]), then);
    assert_eq!(server.run(&["GET", "key:2"]).text(), "changed since");
    // Off takes a person's yes; then no moment is offered any more.
    let (plan, done) = ours.guarded(&json!({"instance_id": ID, "enable_backup_log": false}), modify_backup_policy::run);
    assert!(plan.to_string().contains("flashback goes off"), "{plan:#}");
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let refused = ours.tool(&json!({"instance_id": ID, "restore_time": at}), restore_instance::run).unwrap();
    assert!(refused["status"] == "blocked" && refused.to_string().contains("flashback is off"), "{refused:#}");
}

/// A moment of a cloud-native instance begins a new one, by the call that the refusal names; the source stays as it is.
#[test]
fn a_moment_of_a_cloud_native_instance_begins_a_new_one() {
    let (source, spare) = (redis(80), redis(1));
    let native = "generation = \"cloud_native\", flashback = true";
    let cloud = Cloud::start(&[(ID, &source, native), ("r-spare", &spare, &format!("{native}, spare = true"))]);
    let ours = Ours::new(&cloud);
    switch_on(&ours);
    let (before, at) = (source.digest(), second());
    source.run(&["FLUSHALL"]);
    let now = source.digest();
    let refused = ours.tool(&json!({"instance_id": ID, "restore_time": at}), restore_instance::run).unwrap();
    assert_eq!(refused["status"], "blocked", "{refused:#}");
    let call = text(&refused["next_actions"][0]);
    let arguments = call.strip_prefix("create_instance_from_backup ").unwrap_or_else(|| panic!("{call}"));
    let args: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(args["restore_time"], at);
    let early = json!({"instance_id": ID, "restore_time": "2024-01-15T10:30:00Z"});
    let blocked = ours.tool(&early, create_instance_from_backup::run).unwrap();
    assert!(text(&check(&blocked, "restore_time")["detail"]).contains("(after)"), "{blocked:#}");
    cloud.inject(&json!({"kind": "cut_after", "action": "CreateTairInstance", "times": 1}));
    let (plan, done) = ours.guarded(&args, create_instance_from_backup::run);
    assert_eq!(
        (&check(&plan, "dry_run")["status"], &check(&plan, "restore_time")["status"]),
        (&json!("pass"), &json!("pass"))
    );
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert_eq!((spare.digest(), source.digest()), (before, now));
}
