//! The backup policy of an instance of our own: none until it gets one, and whether its log is on.

use crate::support::{Bench, Redis, text};

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
