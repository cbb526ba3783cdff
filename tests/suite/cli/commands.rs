//! The command line: its output is the tool's own result, its exit codes tell the kind of failure, and damage on the vault harms
//! nothing.

use crate::support::{Bench, Done, Redis, files_under, finish, text, wait, write_over};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tair_backup_mcp::mcp::contract;
use tair_backup_mcp::tools::registry;

fn bench() -> (Redis, Bench) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    (redis, bench)
}

/// Checks that a value fits its schema, with no key that the schema does not name.
fn fits(value: &Value, schema: &Value, at: &str) {
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    let wanted = schema["type"].as_str().unwrap_or(kind);
    assert!(wanted == kind || (wanted, kind) == ("number", "integer"), "{at} is {kind}, the schema says {wanted}");
    for (key, inner) in value.as_object().into_iter().flatten() {
        // What has no names of its own may have any; a plan has further details by name.
        if schema["properties"].is_null() || !schema["additionalProperties"].is_null() {
            continue;
        }
        let known = &schema["properties"][key];
        assert!(known.is_object(), "{at}.{key} is not in the schema");
        fits(inner, known, &format!("{at}.{key}"));
    }
    for inner in value.as_array().into_iter().flatten() {
        fits(inner, &schema["items"], &format!("{at}[]"));
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at} = {value}");
    }
}

fn fits_tool(verb: &str, value: &Value) {
    fits(value, &contract::reply(registry::find(verb).unwrap()), verb);
}

fn refused(done: &Done, code: i32, stable: &str) {
    assert_eq!(done.code, code, "{stable}: {done:?}");
    assert!(done.err.starts_with("error: ") && done.err.contains(&format!("[{stable}]")), "{stable}: {done:?}");
}

/// With `--json` every subcommand prints exactly what the tool's schema promises, on standard output and nothing else there.
#[test]
fn json_is_the_tools_result() {
    let (redis, bench) = bench();
    let id = ["--instance-id", "orders"];
    let made = bench.json(&["create-backup", "--instance-id", "orders", "--note", "nightly"]);
    fits_tool("create_backup", &made);
    let backup = text(&made["backup_id"]);
    for (verb, more) in [
        ("describe_instances", vec![]),
        ("describe_instances", id.to_vec()),
        ("describe_backups", id.to_vec()),
        ("describe_backups", [&id[..], &["--backup-id", &backup]].concat()),
        ("download_backup", [&id[..], &["--backup-id", &backup]].concat()),
        ("describe_jobs", vec![]),
        ("describe_jobs", vec!["--job-id", made["backup_job_id"].as_str().unwrap()]),
        ("restore_instance", [&id[..], &["--backup-id", &backup]].concat()),
    ] {
        let name = verb.replace('_', "-");
        let reply = bench.json(&[&[name.as_str()], &more[..]].concat());
        fits_tool(verb, &reply);
        if verb == "restore_instance" {
            let done = bench.run(&Bench::echo(&backup, reply["confirmation_token"].as_str().unwrap()));
            fits_tool(verb, &done.json());
        }
        // For people the same call prints something else, and no braces.
        let human = bench.run(&[&[name.as_str()], &more[..]].concat());
        assert!(human.code == 0 && !human.out.contains('{') && !human.out.is_empty(), "{human:?}");
    }
    let down = Bench::new("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    let away = down.json(&["describe-instances"]);
    fits_tool("describe_instances", &away);
    assert_eq!(away["instances"][0]["status"], "unreachable");
    for line in bench.run(&["audit", "--json"]).out.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    drop(redis);
}

/// Usage, not found, refused: each with its exit code, its stable code, and a hint that names the nearest right thing.
#[test]
fn exit_codes() {
    let (redis, bench) = bench();
    let backup = bench.backup();
    let before = redis.digest();
    let orders = ["--instance-id", "orders"];
    let of = |args: &[&str], more: &[&str]| bench.run(&[args, more].concat());
    refused(&of(&["create-backup", "--instance-id", "order"], &[]), 4, "instance.not_found");
    assert!(of(&["create-backup", "--instance-id", "order"], &[]).err.contains("Did you mean orders"));
    refused(&of(&["create-backup", "--instance-id", "../orders"], &[]), 2, "instance.bad_id");
    refused(&of(&["create-backup", "--wait-seconds", "4000"], &orders), 2, "arguments.invalid");
    refused(&of(&["describe-backups", "--backup-id", "b-none"], &orders), 4, "backup.not_found");
    refused(&of(&["describe-backups", "--backup-id", "../../x"], &orders), 2, "backup.bad_id");
    refused(&of(&["describe-backups", "--page-size", "0"], &orders), 2, "arguments.invalid");
    refused(&of(&["download-backup", "--backup-id", "b-none"], &orders), 4, "backup.not_found");
    refused(&of(&["restore-instance", "--backup-id", "b-none"], &orders), 4, "backup.not_found");
    refused(&of(&["describe-jobs", "--job-id", "bj-none"], &[]), 4, "job.not_found");
    for bad in ["soon", "2026-13-01T00:00Z", "2026-11-23T06:15:00", "2026-13-23", "1700000000", ""] {
        refused(&of(&["describe-backups", "--start-time", bad], &orders), 2, "time.bad_format");
    }
    let hint = of(&["describe-backups", "--start-time", "2026-11-23T06:15:00"], &orders).err;
    assert!(hint.contains("2026-11-23T06:15:00Z"), "{hint}");
    // A day is no moment to go back to.
    refused(&of(&["restore-instance", "--restore-time", "yesterday"], &orders), 2, "time.bad_format");
    // Nobody is asked here, so that the second call is another command's: a distance would mean another moment there.
    let apart = of(&["restore-instance", "--restore-time", "2h ago"], &orders);
    refused(&apart, 2, "time.bad_format");
    assert!(apart.err.contains("in both calls alike: 2"), "{apart:?}");
    // As agents call it.
    bench.json(&["describe_jobs"]);
    for good in ["2026-11-01T00:00Z", "2026-11-01T00:00:30Z", "2026-11-01T08:00:00+08:00", "2026-11-01", "2h ago"] {
        bench.json(&["describe-backups", "--instance-id", "orders", "--start-time", good]);
    }
    let swapped = ["--start-time", "2026-11-02T00:00Z", "--end-time", "2026-11-01T00:00Z"];
    refused(&bench.run(&[&["describe-backups"], &orders[..], &swapped].concat()), 2, "arguments.invalid");
    for bad in [
        &["no-such-command"][..],
        &["create-backup"],
        &["create-backup", "orders", "--instance-id", "carts"],
        &["restore-instance", "--yes"],
        &["completions", "tcsh"],
        &["--json", "demo"],
    ] {
        assert_eq!(bench.run(bad).code, 2, "{bad:?}");
    }
    // --read-only stands before the subcommand and refuses whatever changes something, and nothing else.
    for name in ["create-backup", "restore-instance"] {
        let more: &[&str] = if name == "restore-instance" { &["--backup-id", &backup] } else { &[] };
        refused(&bench.run(&[&["--read-only", name], &orders[..], more].concat()), 3, "mode.read_only");
    }
    bench.json(&["--read-only", "describe-backups", "--instance-id", "orders"]);
    assert_eq!((bench.jobs().len(), redis.digest()), (1, before));
    drop(redis);
    refused(&of(&["restore-instance", "--backup-id", &backup], &orders), 5, "instance.unreachable");
    let failed = bench.run(&["create-backup", "--instance-id", "orders", "--json"]);
    assert_eq!((failed.code, &failed.json()["status"]), (5, &"failed".into()), "{failed:?}");
}

/// An instance is named by its place, options stand on either side, a time by its day or distance is told as it was read, and `--quiet` keeps
/// that to itself.
#[test]
fn the_line_as_people_type_it() {
    let (_redis, bench) = bench();
    let made = bench.run(&["--json", "create-backup", "orders", "--note", "typed"]);
    assert_eq!((made.code, &made.json()["status"]), (0, &"succeeded".into()), "{made:?}");
    let listed = bench.run(&["--json", "describe-backups", "orders", "--start-time", "today", "--end-time", "today"]);
    let reply = listed.json();
    let (start, end) = (text(&reply["start_time"]), text(&reply["end_time"]));
    assert!(start.ends_with("T00:00:00Z") && end.ends_with("T23:59:59Z") && start[..10] == end[..10], "{reply}");
    assert!(listed.err.contains(&format!("note: --start-time today is {start}\n")), "{listed:?}");
    let quiet = bench.run(&["-q", "describe-backups", "orders", "--start-time", "2h ago", "--json"]);
    assert!(quiet.err.is_empty() && quiet.json()["total"] == 1, "{quiet:?}");
    for (verb, field) in [("describe-jobs", "jobs"), ("describe-instances", "instances")] {
        let rows = bench.json(&[verb, "orders"]);
        assert_eq!(rows[field].as_array().unwrap().len(), 1, "{verb}: {rows}");
    }
    // As wide as COLUMNS says; a pipe alone has no limit and no colours.
    let wide = bench.run(&["describe-backups", "orders"]).out;
    assert!(wide.lines().next().unwrap().ends_with("NOTE") && !wide.contains('\u{1b}'), "{wide}");
    let narrow = bench.command(&["describe-backups", "orders"]).env("COLUMNS", "60").output().unwrap();
    let narrow = String::from_utf8_lossy(&narrow.stdout).into_owned();
    assert!(narrow.lines().all(|line| line.chars().count() <= 60) && narrow.contains("\n    typed\n"), "{narrow}");
}

/// A configuration that is wrong is refused with its line and the nearest right key.
#[test]
fn configuration_mistakes() {
    let bench = Bench::new("");
    let cases = [
        ("[guard]\nconfirmaton = \"token\"\n", "line 2", "Did you mean `confirmation`?"),
        ("[[instance]]\nid = \"a\"\nurl = \"redis://x:1\"\npasword = \"x\"\n", "line 4", "Did you mean `password`?"),
        ("download_root = []\n", "line 1", "Did you mean `download_roots`?"),
        ("[guard]\nconfirmation = \"persn\"\n", "line 2", "Did you mean `person`?"),
        ("[[instance]]\nid = \"a\"\n", "url", ""),
        ("[[instance]]\nid = \"a b\"\nurl = \"redis://x:1\"\n", "not an instance id", ""),
        ("[[instance]]\nid = \"a\"\nurl = \"http://x:1\"\n", "redis://host:6379", ""),
        ("[guard]\nmax_writes_per_second = -1.0\n", "0 or more", ""),
        ("[guard]\ntoken_minutes = 0\n", "between 1 and 1440", ""),
        ("instance = [", "line 1", ""),
        ("vault = \"gs://backups\"\n", "another kind of store", ""),
        ("vault = \"oss://backups\"\n", "neither region nor endpoint", ""),
        ("vault = \"\"\n", "vault is empty", ""),
        (
            "[[instance]]\nid = \"a\"\nurl = \"redis://x:1\"\ntls_keyfile = \"x\"\n",
            "line 4",
            "Did you mean `tls_key_file`?",
        ),
        ("[[instance]]\nid = \"a\"\nurl = \"redis://x:1\"\ntls_ca_file = \"x\"\n", "rediss://", ""),
        ("[[instance]]\nid = \"a\"\nurl = \"redis://x:1\"\nannounce = \"10.0.0.9:port\"\n", "host:port", ""),
    ];
    for (config, says, hint) in cases {
        bench.configure(config);
        let done = bench.run(&["describe-instances"]);
        refused(&done, 2, "config.invalid");
        assert!(done.err.contains(says) && done.err.contains(hint), "{config}: {done:?}");
    }
    std::fs::remove_file(bench.dir.path().join("config.toml")).unwrap();
    refused(&bench.run(&["describe-instances"]), 2, "config.missing");
    assert!(!bench.home().exists(), "nothing is made before the configuration is right");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x01;
    write_over(path, bytes);
}

/// Damage anywhere in a set's data: a restore is blocked and names file and offset, a download refuses with exit code 6, and
/// neither leaves anything behind. A cut file is named by the listing already.
#[test]
fn damaged_data() {
    let (redis, bench) = bench();
    let backup = bench.backup();
    redis.run(&["SET", "marker", "written since"]);
    let before = redis.digest();
    let path = bench.home().join("vault/orders").join(&backup).join("data.rdb.zst");
    let good = std::fs::read(&path).unwrap();
    let download = ["download-backup", "--instance-id", "orders", "--backup-id", &backup];
    let verify = ["verify-backup", "--instance-id", "orders", "--backup-id", &backup];
    // Not within a frame's header, where a byte may say how to decompress and change nothing of what comes out.
    for at in [0, 100, good.len() / 3, good.len() / 2, good.len() - 30, good.len() - 1] {
        flip(&path, at);
        let planned = bench.ask(&backup);
        assert_eq!((planned.code, &planned.json()["status"]), (3, &"blocked".into()), "byte {at}: {planned:?}");
        assert!(
            planned.out.contains("data.rdb.zst") && planned.out.contains("backup_verified"),
            "byte {at}: {planned:?}"
        );
        refused(&bench.run(&download), 6, "backup.damaged");
        assert!(files_under(&bench.home().join("downloads")).is_empty(), "byte {at}: something half written is left");
        write_over(&path, &good);
        // The plan has remembered what it found, and only a look as deep lifts that.
        assert_eq!(bench.run(&verify).code, 0, "byte {at}");
    }
    for length in [0, 8, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        let listed = bench.backups();
        let set = listed.iter().find(|b| b["backup_id"] == backup.as_str()).unwrap();
        assert_eq!(set["status"], "damaged", "{set}");
        assert!(text(&set["damage"]).contains("data.rdb.zst"), "{set}");
        let one = bench.json(&["describe-backups", "--instance-id", "orders", "--backup-id", &backup]);
        assert_eq!(one["backups"][0]["status"], "damaged");
        refused(&bench.run(&download), 6, "backup.damaged");
        refused(
            &bench.run(&["restore-instance", "--instance-id", "orders", "--backup-id", &backup]),
            6,
            "backup.damaged",
        );
        assert!(files_under(&bench.home().join("downloads")).is_empty());
    }
    let protection = bench.json(&["describe-instances"])["instances"][0]["protection"].clone();
    assert_eq!(protection["damaged"], 1, "{protection}");
    assert_eq!(redis.digest(), before);
    write_over(&path, &good);
    assert_eq!(bench.restore(&backup).code, 0);
}

/// A manifest with any byte flipped is named as damaged, wherever the byte is, unless it is still the same manifest.
#[test]
fn damaged_manifest() {
    use tair_backup_mcp::model::backup::BackupSet;
    use tair_backup_mcp::vault::Vault;
    let (_redis, bench) = bench();
    let backup = bench.backup();
    let path = bench.home().join("vault/orders").join(&backup).join("manifest.json");
    let good = std::fs::read(&path).unwrap();
    let vault = Vault::new(bench.home().join("vault"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Its digest as an object is another with each byte.
    let find = || runtime.block_on(vault.find("orders", &backup, &())).map(|set| BackupSet { manifest: None, ..set });
    let whole = format!("{:?}", find().unwrap());
    let mut unnoticed = Vec::new();
    for at in 0..good.len() {
        flip(&path, at);
        if let Ok(set) = find()
            && format!("{set:?}") != whole
        {
            unnoticed.push(String::from_utf8_lossy(&good[at.saturating_sub(20)..good.len().min(at + 5)]).into_owned());
        }
        write_over(&path, &good);
    }
    assert!(
        unnoticed.is_empty(),
        "{} of {} bytes change the set unnoticed: {unnoticed:?}",
        unnoticed.len(),
        good.len()
    );
    flip(&path, good.len() / 2);
    let listed = bench.backups();
    assert!(listed[0]["status"] == "damaged" && text(&listed[0]["damage"]).contains("manifest.json"), "{listed:?}");
    for verb in ["download-backup", "restore-instance"] {
        refused(&bench.run(&[verb, "--instance-id", "orders", "--backup-id", &backup]), 6, "backup.damaged");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(bench.backups()[0]["status"], "damaged");
}

/// Ctrl-C during a backup leaves no data of the set, prints so, and the job has ended.
#[test]
fn ctrl_c_during_a_backup() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(60, 1);
    let bench = Bench::unattended(&redis);
    let child = bench.spawn(&["create-backup", "--instance-id", "orders"]);
    wait("the backup to run", Duration::from_secs(30), || {
        bench.home().join("state.db").exists().then(|| bench.jobs()).filter(|j| !j.is_empty())
    });
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let done = finish(child);
    assert_eq!(done.code, 130, "{done:?}");
    assert!(done.err.contains("stopping") && done.err.contains("cancelled"), "{done:?}");
    let jobs = bench.jobs();
    assert_eq!((&jobs[0]["status"], &jobs[0]["code"]), (&"failed".into(), &"job.cancelled".into()), "{jobs:?}");
    assert!(bench.backups().is_empty() && bench.left_over().is_empty());
    bench.backup();
}

/// Completions for shells name the subcommands, and need no home.
#[test]
fn completions() {
    for shell in ["bash", "zsh", "fish"] {
        let bench = Bench::new("nonsense");
        let done = bench.run(&["completions", shell]);
        assert!(done.code == 0 && done.out.contains("restore-instance"), "{shell}: {done:?}");
        assert!(!bench.home().exists());
    }
}
