//! New instances from a backup: only the cloud makes them, and it is billed; an instance of our own is refused.

use crate::support::{Bench, Redis};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// Refused on an instance of our own; and one source, and only known parts of a configuration, may be named.
#[test]
fn what_cannot_be_made_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let verb = "create-instance-from-backup";
    refused(&bench, &[verb, "--backup-id", "b-1"], "clone.unsupported");
    refused(&bench, &[verb], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "b-1", "--restore-time", "2026-11-23T06:15:00Z"], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "b-1", "--recover-config-mode", "whitelist,disks"], "arguments.invalid");
    refused(&bench, &[verb, "--backup-id", "../b-1"], "backup.bad_id");
    refused(&bench, &["--read-only", verb, "--backup-id", "b-1"], "mode.read_only");
}
