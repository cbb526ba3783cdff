//! Changes of the backup policy: what is not to be done is refused before anything is planned, and what lowers protection takes a yes.

use crate::support::{Bench, Redis, unattended};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// Of an instance of our own the log alone can be set, and a call that names no change is none.
#[test]
fn what_cannot_be_changed_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    for calendar in [["--preferred-backup-time", "02:00Z-03:00Z"], ["--backup-retention-period", "30"]] {
        refused(&bench, &[&["modify-backup-policy"][..], &calendar].concat(), "policy.unsupported");
    }
    refused(&bench, &["modify-backup-policy"], "arguments.invalid");
    refused(&bench, &["--read-only", "modify-backup-policy", "--enable-backup-log", "true"], "mode.read_only");
    assert!(!bench.run(&["audit"]).out.contains("planned"), "nothing was planned");
}

fn log_of(bench: &Bench) -> bool {
    bench.json(&["describe-backup-policy", "--instance-id", "orders"])["enable_backup_log"] == true
}

/// The log goes on at a call and off with a yes alone; both are in the audit.
#[test]
fn the_log_goes_on_at_a_call_and_off_with_a_yes() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let call = |on: &str, more: &[&str]| {
        let set = ["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", on, "--json"];
        bench.run(&[&set[..], more].concat())
    };
    assert!(!log_of(&bench));
    assert_eq!(call("true", &[]).json()["status"], "succeeded");
    assert!(log_of(&bench));
    let planned = call("false", &[]).json();
    assert_eq!(planned["status"], "confirmation_required", "{planned}");
    assert!(planned["impact"]["lost"].as_str().unwrap().contains("flashback goes off"), "{planned}");
    assert!(log_of(&bench), "a plan changes nothing");
    let token = planned["confirmation_token"].as_str().unwrap();
    let done = call("false", &["--confirmation-token", token]);
    assert_eq!(done.json()["status"], "succeeded", "{done:?}");
    assert!(!log_of(&bench));
    let audit = bench.run(&["audit"]).out;
    assert_eq!(audit.matches("policy.changed").count(), 2, "{audit}");
}

/// What the file sets no tool changes, on or off; to name what is in force is no change.
#[test]
fn the_files_word_stands() {
    let redis = Redis::start("redis-7.0", &[]);
    for (on, other) in [("true", "false"), ("false", "true")] {
        let bench = Bench::new(&unattended(&redis, &format!("enable_backup_log = {on}\n")));
        refused(&bench, &["modify-backup-policy", "--enable-backup-log", other], "policy.set_in_file");
        let same = ["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", on];
        assert_eq!(bench.run(&same).code, 0, "{on}");
        assert_eq!(log_of(&bench), on == "true");
    }
}
