//! Changes of the backup policy: what is not to be done is refused before anything is planned, and what lowers protection takes a yes.

use crate::support::{Bench, Redis, unattended};

/// The call is refused with this code, and says what to do instead.
fn refused(bench: &Bench, args: &[&str], stable: &str) {
    let done = bench.run(&[args, &["--instance-id", "orders"]].concat());
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")), "{args:?}: {done:?}");
    assert!(done.err.contains("hint: "), "{args:?}: {done:?}");
}

/// What no policy has is refused, and so is a part of one where there is none; a call that names no change is none.
#[test]
fn what_cannot_be_changed_is_said() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    for wrong in [
        ["--preferred-backup-time", "02:00Z-04:00Z"],
        ["--preferred-backup-time", "02:30Z-03:30Z"],
        ["--backup-retention-period", "30"],
        ["--preferred-backup-period", "Monday"],
    ] {
        refused(&bench, &[&["modify-backup-policy"][..], &wrong].concat(), "backup.policy_invalid");
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

/// A policy begins whole, keeps what is not named, and is lowered with a yes alone.
#[test]
fn a_policy_is_raised_at_a_call_and_lowered_with_a_yes() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let call = |more: &[&str]| bench.json(&[&["modify-backup-policy", "--instance-id", "orders"][..], more].concat());
    let policy = || bench.json(&["describe-backup-policy", "--instance-id", "orders"]);
    assert_eq!(call(&["--preferred-backup-time", "02:00Z-03:00Z"])["status"], "succeeded");
    let daily = policy();
    assert_eq!(daily["preferred_backup_period"].as_array().unwrap().len(), 7, "{daily}");
    assert_eq!(daily["backup_retention_period"], 7, "{daily}");
    // Within the hour, at the share of it that this instance has.
    assert!(daily["preferred_next_backup_time"].as_str().unwrap().ends_with("T02:15:32Z"), "{daily}");
    assert_eq!(call(&["--backup-retention-period", "30", "--enable-backup-log", "true"])["status"], "succeeded");
    let raised = policy();
    assert_eq!(
        (&raised["preferred_backup_time"], &raised["backup_retention_period"]),
        (&"02:00Z-03:00Z".into(), &30.into())
    );
    for lower in [["--backup-retention-period", "29"], ["--preferred-backup-period", "Monday,Thursday"]] {
        let planned = call(&lower);
        assert_eq!(planned["status"], "confirmation_required", "{planned}");
        assert_eq!(policy(), raised, "a plan changes nothing");
    }
    let fewer = ["--preferred-backup-period", "Monday,thursday"];
    let token = call(&fewer)["confirmation_token"].as_str().unwrap().to_owned();
    let done = call(&[&fewer[..], &["--confirmation-token", &token]].concat());
    assert_eq!(done["status"], "succeeded", "{done}");
    let lowered = policy();
    assert_eq!(lowered["preferred_backup_period"], serde_json::json!(["Monday", "Thursday"]), "{lowered}");
    assert_eq!((&lowered["backup_retention_period"], &lowered["enable_backup_log"]), (&30.into(), &true.into()));
}

/// The file's calendar stands, and is not stored: without it the policy is what was set before.
#[test]
fn the_files_calendar_stands() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let policy = || bench.json(&["describe-backup-policy", "--instance-id", "orders"]);
    let set = ["modify-backup-policy", "--instance-id", "orders", "--preferred-backup-time", "05:00Z-06:00Z"];
    assert_eq!(bench.json(&set)["status"], "succeeded");
    let in_file = "preferred_backup_time = \"01:00Z-02:00Z\"\npreferred_backup_period = [\"friday\"]\nbackup_retention_period = 60\n";
    bench.configure(&unattended(&redis, in_file));
    let of_the_file = policy();
    assert_eq!(of_the_file["preferred_backup_period"], serde_json::json!(["Friday"]), "{of_the_file}");
    assert_eq!(
        (&of_the_file["preferred_backup_time"], &of_the_file["backup_retention_period"]),
        (&"01:00Z-02:00Z".into(), &60.into())
    );
    refused(&bench, &["modify-backup-policy", "--backup-retention-period", "90"], "policy.set_in_file");
    // The log is not in the file, and so can be set.
    assert_eq!(
        bench.json(&["modify-backup-policy", "--instance-id", "orders", "--enable-backup-log", "true"])["status"],
        "succeeded"
    );
    bench.configure(&unattended(&redis, ""));
    let stored = policy();
    assert_eq!(
        (&stored["preferred_backup_time"], &stored["enable_backup_log"]),
        (&"05:00Z-06:00Z".into(), &true.into()),
        "{stored}"
    );
    for wrong in [
        "preferred_backup_time = \"1:00Z-2:00Z\"\n",
        "backup_retention_period = 7\n",
        "preferred_backup_time = \"01:00Z-02:00Z\"\nbackup_retention_period = 6\n",
    ] {
        bench.configure(&unattended(&redis, wrong));
        let refused = bench.run(&["describe-instances"]);
        assert!(refused.code == 2 && refused.err.contains("config.invalid"), "{wrong}: {refused:?}");
    }
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
