//! Changes of the backup policy: what is not to be done is refused before anything is planned.

use crate::support::{Bench, Redis};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// An instance of our own has no policy to change, and a call that names no change is none.
#[test]
fn what_cannot_be_changed_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    refused(&bench, &["modify-backup-policy", "--enable-backup-log", "true"], "policy.unsupported");
    refused(&bench, &["modify-backup-policy"], "arguments.invalid");
    refused(&bench, &["--read-only", "modify-backup-policy", "--enable-backup-log", "true"], "mode.read_only");
    assert!(!bench.run(&["audit"]).out.contains("planned"), "nothing was planned");
}
