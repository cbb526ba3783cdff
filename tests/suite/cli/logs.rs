//! The log and the audit, as an operator reads them: what is done for whom is one line each, for people or for programs, without colours, statements
//! or tokens; a level that is none is refused.

use crate::guard::flow::{Nobody, Silent, app};
use crate::support::{Bench, Done, Redis, finish, text};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::sqlite::SqlitePool;
use std::path::PathBuf;
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::tools::{self, ToolCall};

fn run(bench: &Bench, filter: &str, args: &[&str]) -> Done {
    finish(bench.command(args).env("TAIR_BACKUP_MCP_LOG", filter).spawn().unwrap())
}

#[test]
fn a_level_that_is_none_is_refused() {
    let bench = Bench::new("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    for bad in ["loud", "warn,tair_backup_mcp=loud"] {
        let done = run(&bench, bad, &["describe-jobs"]);
        assert!(done.code == 2 && done.err.contains("[config.invalid]") && done.err.contains("loud"), "{done:?}");
        assert!(done.err.contains("off, error, warn, info, debug or trace") && done.out.is_empty(), "{done:?}");
    }
    let format = run(&bench, "info", &["describe-jobs", "--log-format", "yaml"]);
    assert!(format.code == 2 && format.err.contains("text") && format.err.contains("json"), "{format:?}");
    for good in ["", "debug", "warn,tair_backup_mcp=debug"] {
        assert_eq!(run(&bench, good, &["completions", "bash"]).code, 0, "{good:?}");
    }
}

/// Both calls of a restore at `info`: every step is a line, with what it is about and for whom, and those of one plan are found by it.
#[test]
fn every_step_is_one_line() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let mut log = String::new();
    let mut call = |args: &[&str]| {
        let done = run(&bench, "info", args);
        assert_eq!(done.code, 0, "{done:?}");
        log += &done.err;
        done.json()
    };
    let of = ["--instance-id", "orders", "--json"];
    let made = call(&[&["create-backup"][..], &of].concat());
    let backup = text(&made["backup_id"]);
    let planned = call(&[&["restore-instance", "--backup-id", &backup][..], &of].concat());
    let token = text(&planned["confirmation_token"]);
    let done = call(&Bench::echo(&backup, &token));
    for line in log.lines() {
        let at = line.split_whitespace().next().unwrap();
        assert!(at.parse::<Timestamp>().is_ok() && line.contains(" tair_backup_mcp"), "{line}");
    }
    assert!(!log.contains('\u{1b}') && !log.contains(&token) && !log.contains("SELECT"), "{log}");
    let field = |line: &str, name: &str| {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let line = |event: &str| {
        let found = log.lines().find(|line| line.contains(&format!("tair_backup_mcp::audit: {event} ")));
        let line = found.unwrap_or_else(|| panic!("{event}: {log}"));
        assert_eq!((field(line, "instance"), field(line, "caller")), ("orders".into(), "local".into()), "{line}");
        line.to_owned()
    };
    for event in ["backup.started", "backup.succeeded"] {
        assert_eq!(field(&line(event), "job"), text(&made["backup_job_id"]), "{event}");
    }
    let plan = field(&line("planned"), "plan");
    assert!(plan.starts_with("p-") && plan.len() == 10, "{log}");
    for event in ["approved", "redeemed", "restore.started", "restore.succeeded"] {
        assert_eq!(field(&line(event), "plan"), plan, "{event}");
    }
    assert_eq!(field(&line("restore.succeeded"), "job"), text(&done["job_id"]));
    // The token is used up: a refusal is a line too.
    let again = run(&bench, "info", &Bench::echo(&backup, &token));
    assert!(again.code == 3 && again.err.contains("tair_backup_mcp::audit: refused "), "{again:?}");
    assert!(again.err.contains("confirm.used") && !again.err.contains(&token), "{again:?}");
    // Statements are logged only for who asks for them.
    let debug = run(&bench, "debug", &["describe-jobs"]);
    assert!(debug.code == 0 && !debug.err.contains("SELECT"), "{debug:?}");
    let named = run(&bench, "warn,sqlx=debug", &["describe-jobs"]);
    assert!(named.err.contains("SELECT") && !named.err.contains(&token), "{named:?}");
}

/// For programs each line is an object, wherever the option stands.
#[test]
fn the_log_is_json_where_that_is_asked_for() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let backup = ["create-backup", "--instance-id", "orders", "--json"];
    let format = ["--log-format", "json"];
    for args in [[&format[..], &backup].concat(), [&backup[..], &format].concat()] {
        let done = run(&bench, "info", &args);
        let lines: Vec<Value> = done.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            let at: Timestamp = text(&line["timestamp"]).parse().unwrap();
            assert!(Timestamp::now().duration_since(at).as_secs().abs() < 120, "{line}");
            assert!(text(&line["timestamp"]).ends_with('Z') && line["level"].is_string(), "{line}");
        }
        let ended = lines.iter().find(|line| line["fields"]["message"] == "backup.succeeded").unwrap();
        assert_eq!((&ended["target"], &ended["level"]), (&"tair_backup_mcp::audit".into(), &"INFO".into()), "{ended}");
        let (fields, made) = (&ended["fields"], done.json());
        assert_eq!((&fields["job"], &fields["instance"]), (&made["backup_job_id"], &"orders".into()), "{ended}");
        assert!(text(&fields["detail"]).contains(&text(&made["backup_id"])), "{ended}");
    }
}

/// The audit has backups and downloads too, for whom and to where, and what of them was refused; of a moment on, and of one instance.
#[test]
fn the_audit_has_backups_and_downloads() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let download = ["download-backup", "--instance-id", "orders", "--backup-id", &backup];
    let loaded = bench.json(&download);
    let (path, sha256) = (text(&loaded["path"]), text(&loaded["sha256"]));
    assert_eq!(bench.run(&[&download[..], &["--directory", "/etc"]].concat()).code, 3);
    std::fs::write(bench.home().join("downloads/other.rdb"), "something else").unwrap();
    assert_eq!(bench.run(&[&download[..], &["--file-name", "other.rdb"]].concat()).code, 3);
    let audit = |more: &[&str]| -> Vec<Value> {
        let done = bench.run(&[&["audit", "--json"][..], more].concat());
        assert_eq!(done.code, 0, "{done:?}");
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = audit(&[]);
    let events: Vec<String> = all.iter().map(|line| text(&line["event"])).collect();
    let of_a_download =
        ["backup.downloading", "backup.downloaded", "refused", "backup.downloading", "backup.not_downloaded"];
    assert_eq!(events, [&["backup.started", "backup.succeeded"][..], &of_a_download].concat(), "{all:?}");
    assert!(all.iter().all(|line| line["caller"] == "local" && line["instance_id"] == "orders"), "{all:?}");
    let detail = |n: usize| text(&all[n]["detail"]);
    assert!(detail(0).contains(&backup) && detail(1).contains(&backup), "{all:?}");
    assert!(detail(2).contains(&backup) && detail(2).ends_with(&path), "{all:?}");
    assert!(detail(3).contains(&path) && detail(3).contains(&sha256), "{all:?}");
    assert!(detail(4).contains("download.outside_roots") && detail(6).contains("download.exists"), "{all:?}");
    assert_eq!(audit(&["--since", &text(&all[0]["at"])]).len(), 7);
    assert_eq!(audit(&["--since", &text(&all[0]["at"]), "--limit", "2"]).len(), 2);
    assert!(audit(&["--since", "2999-01-01T00:00Z"]).is_empty());
    let none = bench.run(&["audit", "--instance-id", "carts"]);
    assert!(none.code == 4 && none.err.contains("[instance.not_found]") && none.out.is_empty(), "{none:?}");
    let bad = bench.run(&["audit", "--since", "when it was"]);
    assert!(bad.code == 2 && bad.err.contains("[time.bad_format]"), "{bad:?}");
    // The table has the caller, and of a digest its beginning.
    let table = bench.run(&["audit"]).out;
    assert!(table.contains("CALLER") && table.contains("local") && table.contains(&path), "{table}");
    assert!(!table.contains(&sha256) && table.contains(&format!("{}…", &sha256[..8])), "{table}");
}

/// All from a moment on is read page by page, and none of it is left out or told twice; a table a page.
#[tokio::test]
async fn a_long_audit_is_printed_page_by_page() {
    let bench = Bench::new("[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:1\"\n");
    assert_eq!(bench.run(&["audit"]).code, 0);
    let pool = SqlitePool::connect(&format!("sqlite://{}", bench.home().join("state.db").display())).await.unwrap();
    let many = "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)
        INSERT INTO audit (at, event, caller, instance_id, nonce, detail)
        SELECT 1790000000000 + i, 'asked', 'local', CASE i % 2 WHEN 0 THEN 'orders' ELSE 'carts' END, '', i FROM n";
    sqlx::query(many).execute(&pool).await.unwrap();
    pool.close().await;
    let details = |more: &[&str]| -> Vec<u32> {
        let done = bench.run(&[&["audit", "--json", "--since", "2026-01-01T00:00Z"][..], more].concat());
        assert_eq!(done.code, 0, "{done:?}");
        let lines = done.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| text(&line["detail"]).parse().unwrap()).collect()
    };
    assert_eq!(details(&[]), (0..2500).collect::<Vec<_>>());
    assert_eq!(details(&["--instance-id", "orders"]), (0..2500).step_by(2).collect::<Vec<_>>());
    assert_eq!(details(&["--limit", "3"]), [2497, 2498, 2499]);
    let table = bench.run(&["audit", "--since", "2026-01-01T00:00Z"]).out;
    assert_eq!((table.matches("CALLER").count(), table.matches("asked").count()), (3, 2500), "{table}");
}

/// While the audit takes no lines, an agent gets no file, and is told who does; a person at the command line gets it, is told that the audit has it not, and the
/// log has what it lacks. What is refused is refused by its own code.
#[tokio::test]
async fn what_the_audit_cannot_have_only_a_person_gets() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let pool = SqlitePool::connect(&format!("sqlite://{}", bench.home().join("state.db").display())).await.unwrap();
    let full = "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    sqlx::query(full).execute(&pool).await.unwrap();
    pool.close().await;

    let app = app(&bench);
    let caller = Caller::mcp();
    let call = ToolCall { app: &app, caller: &caller, person: &Nobody, progress: &Silent };
    let arguments = json!({ "instance_id": "orders", "backup_id": backup });
    let Err(refused) = tools::run(&call, "download_backup", arguments).await else { panic!("an agent got it") };
    assert_eq!(refused.code, "state.failed", "{refused:?}");
    assert!(refused.hint.contains("A person gets it") && refused.hint.contains(" download-backup"), "{refused:?}");
    let file = bench.home().join("downloads").join(format!("{backup}.rdb"));
    assert!(!file.exists());

    let download = ["download-backup", "--instance-id", "orders", "--backup-id", &backup];
    let done = bench.run(&[&download[..], &["--json"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let reply = done.json();
    assert_eq!(PathBuf::from(text(&reply["path"])), file);
    assert!(file.exists() && text(&reply["warning"]).starts_with("not in the audit"), "{reply}");
    for event in ["backup.downloading", "backup.downloaded"] {
        let line = done.err.lines().find(|line| line.contains(&format!("{event} is not in the audit")));
        assert!(line.is_some_and(|line| line.contains(&backup)), "{event}: {done:?}");
    }
    let told = bench.run(&download);
    assert!(told.code == 0 && told.out.contains("WARNING: not in the audit"), "{told:?}");
    let outside = bench.run(&[&download[..], &["--directory", "/etc"]].concat());
    assert!(outside.code == 3 && outside.err.contains("[download.outside_roots]"), "{outside:?}");
}
