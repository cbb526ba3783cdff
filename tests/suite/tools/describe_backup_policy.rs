//! The backup policy of an instance of our own: no calendar, and whether its log is on.

use crate::support::{Bench, Redis};

/// Nothing takes backups of an instance of our own by a calendar, and nothing is made up for it.
#[test]
fn an_instance_of_our_own_has_no_calendar() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let json = bench.json(&["describe-backup-policy", "--instance-id", "orders"]);
    assert_eq!(json, serde_json::json!({ "enable_backup_log": false }));
    let unknown = bench.run(&["describe-backup-policy", "--instance-id", "order"]);
    assert!(unknown.code == 4 && unknown.err.contains("Did you mean orders"), "{unknown:?}");
}
