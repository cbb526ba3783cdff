//! The log holds no secret at any level: neither what a session carries nor what it is configured with.

use super::server::{ERAS, Wire, accept};
use crate::support::emulator::{Emulator, KEY, SECRET};
use crate::support::{Bench, Redis, text};
use serde_json::{Value, json};
use std::fs::File;

const PASSWORD: &str = "hunter2-of-the-instance";

/// All texts in a value.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}

/// A whole session in both eras with the log at its finest: a backup, a signed URL, a download, a plan, the person's yes, a restore,
/// here and through the cloud's API; faults on the way, and messages that cannot be read. What the program logs holds no token, no
/// sealed state, no signature, no password, whatever the filter names.
#[test]
fn a_session_at_trace_logs_no_secret() {
    let behind = Redis::start("redis-7.0", &[]);
    behind.run(&["SET", "a", "1"]);
    let served = Bench::new(&format!("[[instance]]\nid = \"r-cloud\"\nurl = \"{}\"\n", behind.url()));
    let emulator = Emulator::start_with(&served, &[], &["--fault-control"]);
    let ours = Redis::start("redis-7.0", &["--requirepass", PASSWORD]);
    ours.run(&["SET", "a", "1"]);
    let bench = Bench::new(&format!(
        "[guard]\nmax_writes_per_second = 1e9\n[[instance]]\nid = \"orders\"\nurl = \"redis://:{PASSWORD}@127.0.0.1:{}\"\n\
         [tair]\nregion = \"cn-hangzhou\"\nendpoint = \"http://127.0.0.1:{}\"\n",
        ours.port, emulator.port
    ));
    let path = bench.dir.path().join("log");
    let mut secrets: Vec<String> = [PASSWORD, SECRET].map(str::to_owned).to_vec();
    let mut answered = 0;
    for (n, era) in ERAS.into_iter().enumerate() {
        let mut command = bench.command(&["serve"]);
        let filter = ["trace", "trace,rmcp=trace,hyper=trace,reqwest=trace,tair_backup_mcp=trace"][n];
        command.env("TAIR_BACKUP_MCP_LOG", filter).env("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY);
        command.env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET).env_remove("ALIBABA_CLOUD_SECURITY_TOKEN");
        command.stderr(File::options().create(true).append(true).open(&path).unwrap());
        let mut wire = Wire::of(command, era, true);
        emulator.inject_all(&json!([{ "kind": "throttle", "action": "DescribeBackups" }]));
        for id in ["r-cloud", "orders"] {
            let made = wire.call("create_backup", json!({ "instance_id": id, "wait_seconds": 120 }));
            let backup = text(&made["structuredContent"]["backup_id"]);
            let arguments = json!({ "instance_id": id, "backup_id": backup, "url_only": true });
            let url = wire.call("download_backup", arguments)["structuredContent"]["url"].clone();
            if id == "r-cloud" {
                let url = text(&url);
                secrets
                    .extend(url.split(['?', '&']).skip(1).filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
                secrets.push(url);
            }
            let name = format!("{id}-{n}.rdb");
            wire.call("download_backup", json!({ "instance_id": id, "backup_id": backup, "file_name": name }));
            let mut arguments = json!({ "instance_id": id, "backup_id": backup });
            let token = loop {
                let plan = wire.call("restore_instance", arguments.clone())["structuredContent"].clone();
                match plan["confirmation_token"].as_str() {
                    Some(token) => break token.to_owned(),
                    None => assert_eq!(plan["status"], "prechecks_pending", "{plan}"),
                }
            };
            secrets.push(token.clone());
            arguments["confirmation_token"] = token.into();
            let (_, pending) = wire.question(&arguments);
            texts(&pending.state, &mut secrets);
            let done = wire.reply(pending, accept(id));
            answered += usize::from(done["human_verified"] == true);
        }
        wire.line(&format!("{{\"id\":1,\"method\":\"x\",\"params\":{{\"t\":\"{PASSWORD}"));
        wire.next();
        let wrong = json!({ "instance_id": "orders", "backup_id": "b-1", "confirmation_token": "rt1-notatokenofours" });
        wire.call("restore_instance", wrong);
        secrets.push("notatokenofours".into());
    }
    assert_eq!(answered, 4, "each yes was heard");
    let (_, theirs) = emulator.end("-INT");
    for (whose, log) in [("ours", std::fs::read_to_string(&path).unwrap()), ("the emulator's", theirs)] {
        for secret in secrets.iter().filter(|secret| secret.len() > 8) {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{whose} log has {secret}: {line:?}");
        }
    }
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(log.contains("tair_backup_mcp"), "nothing was logged at all: {log}");
}
