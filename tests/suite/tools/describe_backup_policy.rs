//! The backup policy of an instance of our own: none until it gets one, and whether its log is on.

use crate::support::{Bench, Redis, text, unattended};

/// Nothing takes backups of an instance that was given no policy, nothing is made up for it, and where its protection is told that is said.
#[test]
fn an_instance_without_a_policy_says_so() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let mut json = bench.json(&["describe-backup-policy", "--instance-id", "orders"]);
    assert!(json["persistence"].take().is_object());
    json.as_object_mut().unwrap().remove("now").unwrap();
    assert_eq!(json, serde_json::json!({ "enable_backup_log": false, "persistence": null }));
    let unknown = bench.run(&["describe-backup-policy", "--instance-id", "order"]);
    assert!(unknown.code == 4 && unknown.err.contains("Did you mean orders"), "{unknown:?}");
    let told = || text(&bench.json(&["describe-instances"])["instances"][0]["protection"]["backup_policy"]);
    let none = told();
    let call = "modify_backup_policy with instance_id orders and preferred_backup_time 02:00Z-03:00Z";
    assert!(none.starts_with("none") && none.contains(call), "{none}");
    let checked = || bench.run(&["doctor"]).out;
    let command = "modify-backup-policy --instance-id orders --preferred-backup-time 02:00Z-03:00Z";
    assert!(checked().contains(command), "{}", checked());
    // What they say is what does it.
    let done = bench.run(&command.split(' ').collect::<Vec<_>>());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(told().contains("02:00Z-03:00Z") && !checked().contains(command), "{}", told());
}

/// Where no server schedules, whatever tells of the next backup names the command that has to be at work for it; where one does, nothing is said.
#[test]
fn a_promise_names_what_keeps_it() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let change =
        |hour: &str| bench.json(&["modify-backup-policy", "--instance-id", "orders", "--preferred-backup-time", hour]);
    let told = || {
        let row = bench.json(&["describe-instances"])["instances"][0]["protection"]["backup_policy"].clone();
        [text(&row), bench.run(&["doctor"]).out]
    };
    let needs = format!("as long as `{} --home ", env!("CARGO_BIN_EXE_tair-backup-mcp"));
    let changed = change("02:00Z-03:00Z");
    assert!(
        text(&changed["hint"]).contains(&needs) && text(&changed["hint"]).contains(" run` is at work"),
        "{changed}"
    );
    for told in told() {
        assert!(told.contains(&needs) && told.contains(" run` is at work"), "{told}");
    }
    bench.configure(&format!("background = true\n{}", unattended(&redis, "")));
    let changed = change("03:00Z-04:00Z");
    assert!(changed["status"] == "succeeded" && changed.get("hint").is_none(), "{changed}");
    for told in told() {
        assert!(told.contains("03:00Z-04:00Z") && !told.contains("as long as `"), "{told}");
    }
}
