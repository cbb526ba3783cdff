//! Requests that bring data back: a mistake undone, some keys, all but some keys, and another instance's data.

use super::scene::{Scene, agrees, ends};
use crate::support::log::{archived_to, position};
use crate::support::{Bench, Redis, program, text};
use serde_json::{Value, json};

/// Most tokens of the reply that says that a person has to approve.
const APPROVAL_REQUIRED: usize = 150;

fn get(redis: &Redis, key: &str) -> String {
    redis.run(&["GET", key]).text()
}

/// "All carts of orders are gone! Bring them back." The whole way of an incident: where things are, what destroyed the data, the plan to right before
/// that, the person who has to approve, the restore, and its job.
pub fn undo_a_mistake(scene: &mut Scene) {
    let intact = scene.orders.digest();
    let carts: Vec<String> = (0..40).map(|n| format!("cart:{n}")).collect();
    let delete: Vec<&str> = std::iter::once("DEL").chain(carts.iter().map(String::as_str)).collect();
    scene.orders.run(&delete);
    archived_to(&scene.bench, position(&scene.orders).1);

    let looked = scene.call("describe_instances", json!({ "instance_id": "orders" }));
    assert!(looked["instances"][0]["protection"]["log"]["window"].is_object(), "{looked}");
    let found = scene.call("describe_backups", json!({ "instance_id": "orders", "include": "destructive" }));
    let event = &found["destructive"]["events"][0];
    assert_eq!((&event["command"], &event["keys"], &event["key_prefix"]), (&"DEL".into(), &40.into(), &"cart:".into()));
    let arguments = found["destructive"]["restore_instance"].clone();
    let plan = scene.plan("restore_instance", &arguments);
    assert!(!text(&plan["impact"]["lost"]).is_empty() && plan["plan"]["estimate"]["seconds"].is_u64(), "{plan}");
    let passed: Vec<&str> = plan["passed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(passed.contains(&"safety_backup") && passed.contains(&"backup_verified"), "{plan}");
    let mut others = plan["prechecks"].as_array().into_iter().flatten();
    assert!(others.all(|check| check["status"] != "pass" && check["detail"].is_string()), "{plan}");

    let refused = scene.echo("restore_instance", &arguments, &plan);
    assert_eq!((&refused["status"], &refused["code"]), (&"approval_required".into(), &"person.no_channel".into()));
    let tokens = scene.last_tokens();
    assert!(
        tokens <= APPROVAL_REQUIRED,
        "approval_required: {tokens} tokens of at most {APPROVAL_REQUIRED}: {refused}"
    );
    agrees(&refused["next_actions"][0], "orders");
    let done = scene.echo("restore_instance", &arguments, &plan);
    assert_eq!((&done["status"], &done["human_verified"]), (&"succeeded".into(), &true.into()), "{done}");
    assert!(done["plan"].is_null() && text(&done["next_actions"][0]).contains("to get back: "), "{done}");
    let ended = scene.call("describe_jobs", json!({ "job_id": done["job_id"] }));
    assert_eq!(ended["jobs"][0]["status"], "succeeded", "{ended}");
    assert_eq!(scene.orders.digest(), intact, "{ended}");
}

/// "Get our user:* keys back from the backup, and nothing else." The agent writes the glob as it was told; the plan says what that means as a regular
/// expression, and which one is meant.
pub fn keys_by_a_glob(scene: &mut Scene) {
    for n in 0..10 {
        scene.orders.run(&["DEL", &format!("user:{n}")]);
    }
    scene.orders.run(&["SET", "user:50", "wrong"]);
    scene.orders.run(&["SET", "cart:0", "written since"]);
    let mut arguments = json!({ "instance_id": "orders", "backup_id": scene.backup, "filter_key": "user:*" });
    let first = scene.plan("restore_instance", &arguments);
    let checks = first["prechecks"].as_array().unwrap();
    let warned = checks.iter().find(|check| check["name"] == "filter_key").unwrap_or_else(|| panic!("{first}"));
    let detail = text(&warned["detail"]);
    assert!(warned["status"] == "warn" && detail.contains("looks like a glob"), "{detail}");
    let (_, meant) = detail.split_once("names, write \"").unwrap_or_else(|| panic!("{detail}"));
    arguments["filter_key"] = meant.split('"').next().unwrap().into();
    assert_eq!(arguments["filter_key"], "user:.*", "{detail}");
    // The plan of the glob waits too, and nobody wants it any more.
    scene.agreed("restore_instance", &arguments, "orders");
    assert_eq!([get(&scene.orders, "user:0"), get(&scene.orders, "user:50")], ["user 0", "user 50"]);
    assert_eq!(get(&scene.orders, "cart:0"), "written since", "what was not named is left alone");
}

/// "Go back to New Year's Day of 2020." The log does not reach so far: the refusal says so once, with the moment that can be had, and the call that
/// asks for it works.
pub fn before_the_log(scene: &mut Scene) {
    let asked = json!({ "instance_id": "orders", "restore_time": "2020-01-01T00:00:00Z" });
    let before = scene.orders.digest();
    let refused = scene.call("restore_instance", asked);
    assert_eq!((&refused["status"], &refused["code"]), (&"blocked".into(), &"precheck.blocked".into()), "{refused}");
    assert_eq!(refused["prechecks"], json!([{ "name": "restore_time", "status": "block" }]), "{refused}");
    let next = text(&refused["next_actions"][0]);
    let (_, at) = next.split_once("restore_time ").unwrap_or_else(|| panic!("no moment in {next}"));
    assert!(text(&refused["message"]).contains(at) && refused.get("hint").is_none(), "{refused}");
    let plan = scene.take(&next);
    assert_eq!(plan["status"], "confirmation_required", "{plan}");
    assert_eq!(plan["plan"]["instance_id"], "orders", "{plan}");
    assert_eq!(scene.orders.digest(), before);
}

/// "Fill staging with production's data." A set of another instance: the refusal says whose it is, and how it is named.
pub fn from_production(scene: &mut Scene) {
    let mut arguments = json!({ "instance_id": "staging", "backup_id": scene.backup });
    let refused = scene.call("restore_instance", arguments.clone());
    assert_eq!(refused["code"], "backup.not_found", "{refused}");
    let hint = text(&refused["hint"]);
    assert!(hint.contains("as source_instance_id"), "{hint}");
    let (_, of) = hint.split_once("It is a set of ").unwrap_or_else(|| panic!("{hint}"));
    arguments["source_instance_id"] = of.split(':').next().unwrap().into();
    let (plan, _) = scene.agreed("restore_instance", &arguments, "staging");
    assert_eq!(plan["plan"]["instance_id"], "staging", "{plan}");
    assert_eq!(scene.staging.digest(), scene.orders.digest());
}

/// "Take staging back to nine o'clock", which has no log, and "to the backup b-…", which nobody has. All that there is of it was taken before it was filled,
/// and no hint offers that: the hint says so, and names the call that lists it.
pub fn the_newest_is_a_safety_backup(scene: &mut Scene) {
    let moment = json!({ "instance_id": "staging", "restore_time": "2026-01-01T09:00:00Z" });
    let gone = json!({ "instance_id": "staging", "backup_id": "b-20200101T000000Z-000000" });
    for (arguments, code) in [(moment, "restore.no_flashback"), (gone, "backup.not_found")] {
        let refused = scene.call("restore_instance", arguments);
        assert_eq!(refused["code"], code, "{refused}");
        assert!(refused.get("next_actions").is_none(), "a call that lacks its arguments: {refused}");
        let hint = text(&refused["hint"]);
        assert!(hint.contains("safety backups alone"), "{hint}");
        let listed = scene.take(&hint);
        let sets = listed["backups"].as_array().unwrap();
        assert!(!sets.is_empty() && sets.iter().all(|set| set["mode"] == "safety"), "{listed}");
        assert!(sets.iter().all(|set| !hint.contains(&text(&set["backup_id"]))), "{hint}");
    }
}

/// "Let me look at the backup beside what there is." A clone; and when it is made, the command that ends it, which works as it stands.
pub fn a_clone_and_its_end(scene: &mut Scene) {
    let server = format!("server_programs = [{:?}]\n", program("redis-7.0", "server"));
    let bench = Bench::new(&format!("{server}[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", scene.orders.url()));
    scene.elsewhere(&bench, |scene| {
        let made = scene.call("create_backup", json!({ "instance_id": "orders", "wait_seconds": 60 }));
        let arguments = json!({ "instance_id": "orders", "backup_id": made["backup_id"] });
        let (_, done) = scene.agreed("create_instance_from_backup", &arguments, "orders");
        let next = text(&done["next_actions"][0]);
        let command = next.split('`').nth(1).unwrap_or_else(|| panic!("no command in {next:?}"));
        let id = command.rsplit(' ').next().unwrap();
        assert!(text(&done["message"]).starts_with(&format!("{id} has ")), "{done}");
        let seen = ends(command, id);
        assert!(seen.code == 0 && seen.out.contains("has ended"), "{seen:?}");
        bench.assert_no_clones("when its last step was taken");
    });
}

/// "Restore everything but session:*." There is no expression for "all but": the refusal says that the keys that are meant are named, and where their
/// prefixes are.
pub fn all_but_sessions(scene: &mut Scene) {
    for (key, value) in [("user:1", "wrong"), ("cart:2", "wrong"), ("session:3", "of today")] {
        scene.orders.run(&["SET", key, value]);
    }
    let mut arguments = json!({ "instance_id": "orders", "backup_id": scene.backup, "filter_key": "(?!session:).*" });
    let refused = scene.call("restore_instance", arguments.clone());
    assert_eq!(refused["code"], "restore.filter_key", "{refused}");
    assert!(text(&refused["hint"]).contains("without filter_key changes nothing and names the prefixes"), "{refused}");
    let before = scene.orders.digest();
    let whole = scene.plan("restore_instance", &json!({ "instance_id": "orders", "backup_id": scene.backup }));
    assert_eq!(scene.orders.digest(), before);
    let rows = whole["impact"]["keys"]["rows"].as_array().unwrap_or_else(|| panic!("{whole}"));
    let prefixes = rows.iter().filter_map(|row| row["prefix"].as_str()).filter(|prefix| *prefix != "session:");
    let list: Vec<String> = prefixes.map(|prefix| format!("{prefix}.*")).collect();
    arguments["filter_key"] = Value::from(list.join(","));
    let (plan, _) = scene.agreed("restore_instance", &arguments, "orders");
    assert!(text(&plan["plan"]["keys_matched"]).contains("user:.*: 100 in the source"), "{plan}");
    let now = ["user:1", "cart:2", "session:3"].map(|key| get(&scene.orders, key));
    assert_eq!(now, ["user 1", "cart 2", "of today"]);
}
