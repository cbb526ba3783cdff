//! Requests that ask: is it protected, why does nothing happen, what was done, what is at that address, how long would it take.

use super::scene::{Scene, agrees, runs};
use crate::support::{Bench, terminal, text};
use serde_json::{Value, json};

/// "Is staging protected?" It says what would be lost, and the call that has it backed up every day.
pub fn is_it_protected(scene: &mut Scene) {
    let ask = json!({ "instance_id": "staging" });
    let look = |scene: &mut Scene| scene.call("describe_instances", ask.clone())["instances"][0]["protection"].clone();
    let before = look(scene);
    assert!(!text(&before["not_recoverable"]).is_empty(), "{before}");
    let policy = text(&before["backup_policy"]);
    assert!(policy.starts_with("none: "), "{policy}");
    let changed = scene.take(&policy);
    assert_eq!(changed["status"], "succeeded", "{changed}");
    let after = look(scene);
    assert!(!text(&after["backup_policy"]).starts_with("none"), "{after}");
}

/// "Is orders protected?" on a server that takes no backups by itself: the answer to the policy, and the look at it afterwards, name the command that
/// has to be at work for it.
pub fn who_keeps_the_promise(scene: &mut Scene) {
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", scene.orders.url()));
    scene.elsewhere(&bench, |scene| {
        let look = |scene: &mut Scene| {
            let told = scene.call("describe_instances", json!({ "instance_id": "orders" }));
            text(&told["instances"][0]["protection"]["backup_policy"])
        };
        let before = look(scene);
        let changed = scene.take(&before);
        assert_eq!(changed["status"], "succeeded", "{changed}");
        for told in [text(&changed["hint"]), look(scene)] {
            let (_, needs) = told.split_once("as long as `").unwrap_or_else(|| panic!("{told}"));
            let (command, _) = needs.split_once("` is at work").unwrap_or_else(|| panic!("{told}"));
            assert!(command.ends_with(" run"), "{told}");
            let help = runs(&format!("{command} --help"));
            assert!(help.code == 0 && help.out.contains("policies ask for"), "{help:?}");
        }
    });
}

/// "I approved it, and nothing happens." The yes was given in another home: that says where it looked, and the agent sees that the plan still waits, and
/// the command that finds it.
pub fn nothing_happens(scene: &mut Scene) {
    let made = scene.call("create_backup", json!({ "instance_id": "staging", "wait_seconds": 60 }));
    let arguments = json!({ "instance_id": "staging", "backup_id": made["backup_id"] });
    let plan = scene.plan("delete_backup", &arguments);
    let elsewhere = Bench::new("");
    let seen = terminal(&elsewhere, &[], &["approve"]);
    let told = format!("Nothing waits for approval in {}.", elsewhere.home().display());
    assert!(seen.code == 0 && seen.out.contains(&told), "{seen:?}");
    let refused = scene.echo("delete_backup", &arguments, &plan);
    assert_eq!(refused["status"], "approval_required", "{refused}");
    let look = |scene: &mut Scene, status: &str| -> Value {
        let jobs = scene.call("describe_jobs", json!({ "instance_id": "staging", "page_size": 1 }));
        let plans = jobs["plans"].as_array().unwrap_or_else(|| panic!("{jobs}"));
        let ours = plans.iter().find(|row| row["plan_id"] == plan["plan"]["plan_id"]);
        let ours = ours.unwrap_or_else(|| panic!("{jobs}"));
        assert_eq!(ours["status"], status, "{jobs}");
        ours["next"].clone()
    };
    agrees(&look(scene, "waiting"), "staging");
    // Whoever has lost the token gets it again, and nobody is asked twice.
    let next = text(&look(scene, "approved"));
    assert!(next.starts_with("delete_backup again, with confirmation_token"), "{next}");
    let again = scene.plan("delete_backup", &arguments);
    assert_eq!(again["plan"]["plan_id"], plan["plan"]["plan_id"], "{again}");
    let done = scene.echo("delete_backup", &arguments, &again);
    assert_eq!((&done["status"], &done["human_verified"]), (&"succeeded".into(), &true.into()), "{done}");
}

/// "What did the agent do since yesterday?" Its jobs; and the audit, which has every plan, every yes and who asked, for the person at a terminal.
pub fn what_was_done(scene: &mut Scene) {
    let listed = scene.call("describe_jobs", json!({}));
    let jobs = listed["jobs"].as_array().unwrap();
    assert!(jobs.len() == 10 && listed["total"].as_u64() >= Some(10), "{listed}");
    assert!(jobs.iter().all(|job| job["started_at"].is_string() && job["kind"].is_string()), "{listed}");
    let audit = scene.bench.run(&["audit", "--since", "yesterday", "--json"]);
    assert_eq!(audit.code, 0, "{audit:?}");
    let records: Vec<Value> = audit.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in ["planned", "no_channel", "approved", "restore.succeeded", "backup.succeeded"] {
        assert!(records.iter().any(|record| record["event"] == event), "no {event}: {audit:?}");
    }
    let planned: Vec<&Value> = records.iter().filter(|record| record["event"] == "planned").collect();
    assert!(planned.len() > 5 && planned.iter().all(|record| record["caller"] == "local"), "{audit:?}");
}

/// "Why is watch unreachable, and is our cluster backed up?" A Sentinel names its masters, and a node of a cluster the shards that nobody configured:
/// written into the configuration as they are told, both run.
pub fn sentinel_and_cluster(scene: &mut Scene) {
    let watch = scene.call("describe_instances", json!({ "instance_id": "watch" }))["instances"][0].clone();
    let reason = text(&watch["reason"]);
    let (_, masters) = reason.split_once("its masters are: mymaster = ").unwrap_or_else(|| panic!("{watch}"));
    let master = masters.split([' ', ',', ';']).next().unwrap();
    // What has no data is offered no policy, and gets none.
    assert!(watch["protection"].get("backup_policy").is_none(), "{watch}");
    let policy = json!({ "instance_id": "watch", "preferred_backup_time": "02:00Z-03:00Z" });
    let refused = scene.call("modify_backup_policy", policy);
    assert_eq!(refused["code"], "instance.sentinel", "{refused}");
    assert!(text(&refused["hint"]).contains(master), "{refused}");
    let shard = scene.call("describe_instances", json!({ "instance_id": "shard" }))["instances"][0].clone();
    assert_eq!(shard["other_shards"], json!([scene.nodes[1].url()]), "{shard}");
    // It is the very shard that the Sentinel watches.
    assert_eq!(shard["other_shards"], json!([master]), "{watch}");
    let instance = |id: &str, url: &str| format!("[[instance]]\nid = \"{id}\"\nurl = \"{url}\"\n");
    let told = text(&shard["other_shards"][0]);
    let all = Bench::new(&[instance("shard", &scene.nodes[0].url()), instance("shard-2", &told)].concat());
    let rows = all.json(&["describe-instances"])["instances"].as_array().unwrap().clone();
    let whole = |row: &Value| row["status"] == "running" && row.get("other_shards").is_none();
    assert!(rows.len() == 2 && rows.iter().all(whole), "{rows:?}");
}

/// "How long would it take to go back to the backup?" The first call of a restore says so, and does nothing.
pub fn how_long(scene: &mut Scene) {
    let before = scene.staging.digest();
    let arguments =
        json!({ "instance_id": "staging", "source_instance_id": "orders", "backup_id": scene.backup.as_str() });
    let plan = scene.plan("restore_instance", &arguments);
    let estimate = &plan["plan"]["estimate"];
    assert!(estimate["seconds"].as_u64() >= Some(1) && !text(&estimate["from"]).is_empty(), "{plan}");
    assert!(text(&estimate["meanwhile"]).contains("READONLY"), "{plan}");
    assert_eq!(scene.staging.digest(), before);
}
