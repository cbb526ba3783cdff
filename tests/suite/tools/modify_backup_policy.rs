//! Changes of the backup policy: what is not to be done is refused before anything is planned, and what lowers protection takes a yes.

use crate::support::{Bench, Done, Redis, text, unattended, wait};
use serde_json::{Value, json};
use std::time::Duration;

fn persistence(bench: &Bench) -> Value {
    bench.json(&["describe-backup-policy", "--instance-id", "orders"])["persistence"].clone()
}

/// A change of `orders`, with further arguments.
fn change(bench: &Bench, more: &[&str]) -> Done {
    bench.run(&[&["modify-backup-policy", "--instance-id", "orders", "--json"][..], more].concat())
}

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
    let policy = || {
        let mut policy = bench.json(&["describe-backup-policy", "--instance-id", "orders"]);
        policy.as_object_mut().unwrap().remove("now").unwrap();
        policy
    };
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

/// What the server keeps on its disk is raised at a call and lowered with a yes alone, is read back, and survives a restart where the server has a
/// file to write it into.
#[test]
fn persistence_is_raised_at_a_call_and_lowered_with_a_yes() {
    for kind in ["redis-7.0", "valkey-9.1"] {
        let redis = Redis::start(kind, &["{dir}/server.conf"]);
        let bench = Bench::unattended(&redis);
        redis.run(&["SET", "a", "1"]);
        let before = persistence(&bench);
        assert_eq!((&before["save"], &before["appendonly"]), (&json!(""), &json!(false)), "{kind}: {before}");
        assert_eq!(
            (&before["appendfsync"], &before["last_save"]),
            (&json!("everysec"), &json!("ok")),
            "{kind}: {before}"
        );
        assert_eq!(before["changes_since_last_save"], 1, "{kind}: {before}");
        assert!(before["last_rewrite"].is_null() && before["unknown"].is_null(), "{kind}: {before}");
        let raise = ["--save", " 3600 1  300 100", "--appendonly", "true", "--appendfsync", "always"];
        let raise =
            [&raise[..], &["--auto-aof-rewrite-percentage", "50", "--auto-aof-rewrite-min-size", "1048576"]].concat();
        let done = change(&bench, &raise).json();
        let message = text(&done["message"]);
        assert_eq!(done["status"], "succeeded", "{kind}: {done}");
        assert!(message.contains("into its configuration file") && message.contains("(fork) has written"), "{message}");
        let file = std::fs::read_to_string(redis.dir.path().join("server.conf")).unwrap();
        for line in ["appendonly yes", "appendfsync always", "auto-aof-rewrite-percentage 50"] {
            assert!(file.lines().any(|l| l == line), "{kind}: {line}: {file}");
        }
        assert_eq!((redis.setting("save"), redis.setting("appendonly")), ("3600 1 300 100".into(), "yes".into()));
        let raised = persistence(&bench);
        assert_eq!(raised["save"], "3600 1 300 100", "{kind}: {raised}");
        assert_eq!(raised["auto_aof_rewrite_min_size"], 1_048_576, "{kind}: {raised}");
        assert_eq!((&raised["last_rewrite"], &raised["last_write"]), (&json!("ok"), &json!("ok")), "{kind}: {raised}");
        assert!(
            raised["aof_base_size"].as_u64() > Some(0) && raised["rewrite_in_progress"].is_null(),
            "{kind}: {raised}"
        );
        assert!(!text(&change(&bench, &raise).json()["message"]).contains("set on the server"), "{kind}");
        for lower in [["--appendonly", "false"], ["--appendfsync", "everysec"], ["--save", "3600 1"], ["--save", ""]] {
            let planned = change(&bench, &lower).json();
            assert_eq!(planned["status"], "confirmation_required", "{kind}: {lower:?}: {planned}");
            assert_eq!(persistence(&bench)["save"], "3600 1 300 100", "a plan changes nothing");
        }
        // A plan is for what was in force.
        let lower = ["--save", "", "--appendonly", "false"];
        let confirm = |token: &str| change(&bench, &[&lower[..], &["--confirmation-token", token]].concat());
        let stale = change(&bench, &lower).json();
        assert!(text(&stale["impact"]["lost"]).contains("no append-only file"), "{stale}");
        redis.run(&["CONFIG", "SET", "appendfsync", "no"]);
        let refused = confirm(&text(&stale["confirmation_token"]));
        assert!(refused.code != 0 && redis.setting("appendonly") == "yes", "{kind}: {refused:?}");
        let planned = change(&bench, &lower).json();
        let done = confirm(&text(&planned["confirmation_token"])).json();
        assert_eq!(done["status"], "succeeded", "{kind}: {done}");
        assert!(text(&done["message"]).contains("read back"), "{done}");
        assert_eq!((redis.setting("save"), redis.setting("appendonly")), (String::new(), "no".into()), "{kind}");
        let shown = bench.run(&["describe-backup-policy", "--instance-id", "orders"]).out;
        assert!(shown.contains("RDB        none by itself") && shown.contains("AOF        off"), "{shown}");
        assert_eq!(bench.run(&["audit"]).out.matches("policy.changed").count(), 2, "{kind}");
    }
}

/// Without a file a restart forgets what is set, and that is said with what to write where. What is refused halfway is put back.
#[test]
fn what_a_restart_forgets_is_said_and_what_is_refused_is_put_back() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let done = change(&bench, &["--appendfsync", "always"]).json();
    let message = text(&done["message"]);
    assert!(message.contains("a restart of it forgets that") && message.contains("appendfsync always"), "{message}");
    // A file where the server wants a directory: it cannot begin an append-only file.
    std::fs::write(redis.dir.path().join("appendonlydir"), "").unwrap();
    let wrong = ["--auto-aof-rewrite-percentage", "7", "--save", "60 1", "--appendonly", "true"];
    let refused = change(&bench, &wrong);
    assert!(refused.code != 0 && refused.err.contains("[policy.setting_refused]"), "{refused:?}");
    for part in ["appendonly", "save, auto-aof-rewrite-percentage", "put back", "all is as it was"] {
        assert!(refused.err.contains(part), "{part}: {refused:?}");
    }
    assert_eq!((redis.setting("save"), redis.setting("auto-aof-rewrite-percentage")), (String::new(), "100".into()));
    assert_eq!(bench.run(&["audit"]).out.matches("policy.changed").count(), 1);
    for wrong in [["--save", "60"], ["--save", "0 1"], ["--appendfsync", "often"]] {
        refused_by(&change(&bench, &wrong), "backup.policy_invalid");
    }
}

fn refused_by(done: &Done, stable: &str) {
    assert!(done.code != 0 && done.err.contains(&format!("[{stable}]")) && done.err.contains("hint: "), "{done:?}");
}

/// Where CONFIG is not to be had, what INFO tells is told and the rest is said to be unknown; a change is refused with the next step, and the rest of
/// the policy works.
#[test]
fn without_config_the_rest_is_told() {
    for (args, user) in [(&[][..], "narrow:pw@"), (&["--rename-command", "CONFIG", ""], "")] {
        let redis = Redis::start("valkey-9.1", args);
        redis.run(&["ACL", "SETUSER", "narrow", "on", ">pw", "~*", "&*", "+@all", "-config"]);
        let url = format!("redis://{user}127.0.0.1:{}", redis.port);
        let bench =
            Bench::new(&format!("[guard]\nconfirmation = \"token\"\n[[instance]]\nid = \"orders\"\nurl = \"{url}\"\n"));
        let found = persistence(&bench);
        assert_eq!((&found["appendonly"], &found["last_save"]), (&json!(false), &json!("ok")), "{found}");
        let unknown = text(&found["unknown"]);
        assert!(
            found["save"].is_null() && unknown.contains("CONFIG GET") && unknown.contains("+config|get"),
            "{found}"
        );
        refused_by(&change(&bench, &["--appendonly", "true"]), "policy.no_config");
        refused_by(&change(&bench, &["--appendonly", "false"]), "policy.no_config");
        assert_eq!(change(&bench, &["--preferred-backup-time", "02:00Z-03:00Z"]).json()["status"], "succeeded");
    }
    // Nor does a server that is away hide the policy.
    let mut redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    redis.kill();
    let found = wait("the server to be gone", Duration::from_secs(10), || {
        Some(persistence(&bench)).filter(|found| found["unknown"].is_string())
    });
    assert!(found["appendonly"].is_null() && text(&found["unknown"]).contains("cannot connect"), "{found}");
}
