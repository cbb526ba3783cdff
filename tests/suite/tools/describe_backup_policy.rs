//! The backup policy: only the cloud has one, and an instance of our own says so.

use crate::support::{Bench, Redis};

/// Nothing takes backups of an instance of our own by itself: that is a refusal with the next step, not an empty policy.
#[test]
fn an_instance_of_our_own_has_none() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let done = bench.run(&["describe-backup-policy", "--instance-id", "orders"]);
    assert!(done.code != 0 && done.err.contains("[policy.unsupported]"), "{done:?}");
    assert!(done.err.contains("hint: ") && done.err.contains("create_backup"), "{done:?}");
    let json = bench.run(&["describe-backup-policy", "--instance-id", "orders", "--json"]).json();
    assert_eq!(json["code"], "policy.unsupported");
    let unknown = bench.run(&["describe-backup-policy", "--instance-id", "order"]);
    assert!(unknown.code == 4 && unknown.err.contains("Did you mean orders"), "{unknown:?}");
}
