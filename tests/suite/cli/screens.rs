//! Every screen at 80 and at 200 columns: no line is longer than that, colours move nothing, and each is what is in `tests/fixtures/screens`.
//!
//! `UPDATE_SCREENS=1` writes those files; the difference shows what a person will see.

use crate::support::root;
use serde_json::{Value, json};
use tair_backup_mcp::cli::render::{self, screen::Screen};

const WIDTHS: [usize; 2] = [80, 200];

/// A screen's name, and how it is drawn.
type Drawn = (&'static str, Box<dyn Fn(&Screen) -> String>);

fn reply(name: &'static str, verb: &'static str, json: Value) -> Drawn {
    (name, Box::new(move |screen| render::reply(screen, verb, &json)))
}

fn drawn(name: &'static str, draw: fn(&Screen, &Value) -> String, json: Value) -> Drawn {
    (name, Box::new(move |screen| draw(screen, &json)))
}

fn instances() -> Value {
    json!({ "total": 3, "instances": [
        { "instance_id": "orders", "status": "running", "engine": "redis", "engine_version": "7.0.15",
          "address": "redis://10.0.0.5:6379", "keys": 1_204_331, "used_memory": 8_589_934_592_u64, "confirmation": "person",
          "unreadable": ["CONFIG GET"], "other_shards": ["redis://10.0.0.7:6379", "redis://10.0.0.8:6379", "redis://10.0.0.9:6379"],
          "protection": { "last_backup_at": "2026-11-23T06:15:00Z", "shrunk": "keys 1,204,331 → 12", "newest": newest(), "backups": 12, "not_recoverable": "every change since 2026-11-23T09:29:58Z",
            "verified": "b-20261123T061500Z-3f9a1c by a drill, 2026-11-23T06:20:00Z", "backup_policy": "within 02:00Z-03:00Z, kept for 14 days",
            "log": { "on": true, "archiver": "tair-backup-mcp run (process 4711 of backup-1)", "archived_until": "2026-11-23T09:29:58Z",
              "window": { "start_time": "2026-11-16T02:00:00Z", "end_time": "2026-11-23T09:29:58Z" }, "total_gaps": 1,
              "gaps": [{ "from": "2026-11-20T01:00:00Z", "to": "2026-11-20T01:05:00Z", "cause": "the source's backlog was too small" }] } } },
        { "instance_id": "carts", "status": "unreachable", "address": "redis://10.0.0.6:6379", "confirmation": "token",
          "reason": "cannot connect to 10.0.0.6:6379: connection refused (os error 111); the server may be down, or a firewall is in the way",
          "protection": { "backups": 0, "not_recoverable": "everything: there is no backup", "log": { "on": true } } },
        { "instance_id": "clone-look", "status": "running", "engine": "valkey", "engine_version": "8.1.4", "address": "redis://127.0.0.1:40123",
          "keys": 955, "used_memory": 2_097_152, "confirmation": "person",
          "clone_of": { "instance_id": "orders", "backup_id": "b-20261123T061500Z-3f9a1c", "restore_time": "2026-11-23T09:00:00.123Z",
            "ends_at": "2026-11-24T06:15:00Z" },
          "protection": { "backups": 0, "not_recoverable": "everything: it is a clone" } },
    ] })
}

fn newest() -> Value {
    json!([{ "mode": "manual", "backup_id": "b-20261123T061500Z-3f9a1c", "age_seconds": 11_700, "status": "drilled" },
        { "mode": "safety", "backup_id": "b-20261121T021000Z-a0b1c2", "age_seconds": 199_200, "status": "deep" }])
}

fn backups() -> Value {
    json!({ "total": 3, "start_time": "2026-11-16T09:30:00Z", "end_time": "2026-11-23T09:30:00Z", "newest": newest(), "backups": [
        { "backup_id": "b-20261123T061500Z-3f9a1c", "status": "drilled", "mode": "manual", "taken_at": "2026-11-23T06:15:00Z", "keys": 1_204_331,
          "rdb_bytes": 734_003_200, "stored_bytes": 210_763_776, "note": "before the release of the new checkout, which rewrites every cart" },
        { "backup_id": "b-20261122T021000Z-0c1d2e", "status": "damaged", "mode": "automated", "taken_at": "2026-11-22T02:10:00Z",
          "damage": "data.rdb.zst is 1048576 bytes, the manifest says 210763776: somebody has cut it" },
        { "backup_id": "b-20261121T021000Z-a0b1c2", "status": "deep", "mode": "safety", "taken_at": "2026-11-21T02:10:00Z", "keys": 12,
          "rdb_bytes": 2048, "stored_bytes": 900, "shrunk": "keys 4,331 → 12",
          "needed_by": ["restore rj-20261121T021500Z-ffeedd of orders, which it undoes"] },
    ] })
}

fn destructive() -> Value {
    json!({ "total": 2, "start_time": "2026-11-22T09:30:00Z", "end_time": "2026-11-23T09:30:00Z", "destructive": {
        "searched_from": "2026-11-22T09:30:00Z", "searched_to": "2026-11-23T09:29:58Z", "message": "The newest is shown first.",
        "events": [
            { "at": "2026-11-23T09:12:44.120Z", "command": "FLUSHALL", "commands": 1, "keys": 1_204_331, "position": "t-20261122T210000Z-3f9a1c/0/7340032" },
            { "at": "2026-11-23T08:00:01.004Z", "database": 0, "command": "DEL", "commands": 1200, "keys": 70_122, "key_prefix": "session:eu:",
              "position": "t-20261122T210000Z-3f9a1c/0/5242880", "note": "a run of commands of one kind; some of these keys may have been written again since" },
        ],
        "gaps": [{ "from": "2026-11-20T01:00:00Z", "to": "2026-11-20T01:05:00Z", "cause": "the source's backlog was too small" }],
        "restore_instance": { "instance_id": "orders", "before_position": "t-20261122T210000Z-3f9a1c/0/7340032" },
    } })
}

fn jobs() -> Value {
    json!({ "jobs": [
        { "job_id": "rj-20261123T091500Z-1f2e3d", "kind": "restore", "instance_id": "orders", "status": "running", "progress": 0.426,
          "started_at": "2026-11-23T09:15:00Z", "stage": "sending" },
        { "job_id": "bj-20261123T061500Z-3f9a1c", "kind": "backup", "instance_id": "orders", "status": "succeeded",
          "started_at": "2026-11-23T06:15:00Z", "stage": "done", "progress": 1.0, "duration_seconds": 95.4, "message": "1204331 keys, 700.0 MiB, 201.0 MiB stored, verified: SHA-256, CRC64, structure" },
        { "job_id": "bj-20261122T061500Z-aa0011", "kind": "backup", "instance_id": "carts", "status": "failed",
          "started_at": "2026-11-22T06:15:00Z", "stage": "connecting", "message": "cannot connect to 10.0.0.6:6379: connection refused" },
    ], "total": 12, "page_number": 1, "plans": [
        { "plan_id": "p-5f3a91c0", "act": "restore_instance", "instance_id": "orders", "status": "waiting", "expires_at": "2026-11-23T09:45:00Z",
          "next": "a person runs: /usr/local/bin/tair-backup-mcp --home /var/lib/tair-backup-mcp approve" },
        { "plan_id": "p-0a1b2c3d", "act": "create_instance_from_backup", "instance_id": "orders", "status": "lapsed", "expires_at": "2026-11-23T08:15:00Z" },
    ] })
}

fn policy() -> Value {
    json!({ "preferred_backup_time": "02:00Z-03:00Z", "backup_retention_period": 14, "enable_backup_log": true,
        "preferred_backup_period": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
        "preferred_next_backup_time": "2026-11-24T02:41:00Z", "backup_log_start_time": "2026-11-16T02:00:00Z",
        "persistence": { "save": "3600 1 300 100 60 10000", "appendonly": true, "appendfsync": "everysec", "last_save": "failed",
          "last_save_time": "2026-11-23T06:00:00Z", "changes_since_last_save": 1204, "last_rewrite": "ok", "last_write": "ok",
          "aof_current_size": 3_221_225_472_u64, "aof_base_size": 1_073_741_824, "aof_growth_percentage": 200 } })
}

fn plan() -> Value {
    json!({
        "status": "confirmation_required", "hint": "Call restore_instance again with the same arguments and this confirmation_token; the person will then be asked.",
        "message": "Nothing has been changed. Show the impact to the person. RESTORE OVERWRITES DATA.",
        "next_actions": ["restore_instance with the same arguments and confirmation_token"],
        "confirmation_token": "rt1-2MboAn0M", "expires_at": "2026-11-23T09:45:00Z",
        "plan": { "act": "restore_instance", "instance_id": "orders", "address": "redis://10.0.0.5:6379", "backup_id": "b-20261123T061500Z-3f9a1c",
          "way": "replication", "way_meaning": "atomic", "plan_id": "p-5f3a91c0",
          "estimate": { "seconds": 40, "from": "last restore", "meanwhile": "clients read and write what is there now until the cutover" },
          "safety_backup_id": "b-20261123T093012Z-fdd30d", "confirmation": "person",
          "taken_at": "2026-11-23T06:15:00Z", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" },
        "prechecks": [
            { "name": "instance_ready", "status": "pass", "detail": "redis 7.0.15 serves, 412 keys (db0 412)" },
            { "name": "backup_verified", "status": "pass", "detail": "1204331 keys: SHA-256, CRC64, structure and the inside of every value verified now" },
            { "name": "write_traffic", "status": "warn", "detail": "124.50 writes per second over 1.0 s; what is written before the cutover is lost, and is counted and kept" },
            { "name": "safety_backup", "status": "pass", "detail": "b-20261123T093012Z-fdd30d, 412 keys, taken for this plan" },
        ],
        "impact": {
            "now": "412 keys (db0 412), 1.1 MiB", "after": "1204331 keys (db0 1204331) as of 2026-11-23T06:15:00Z",
            "lost": "all of what is there now, and every change since 2026-11-23T06:15:00Z",
            "way_back": "restore_instance of orders with backup_id b-20261123T093012Z-fdd30d, which holds what is there now",
            "keys": keys(),
        },
    })
}

fn keys() -> Value {
    json!({ "lost": 1204, "changed": 310, "added": 1_202_817, "untouched": 40, "expired": 2, "rows_left_out": 3,
        "rows": [
            { "db": 0, "prefix": "session:eu:", "lost": 1200, "changed": 10, "added": 1_202_000 },
            { "db": 0, "prefix": "cart:items:with:a:long:prefix:", "changed": 300, "added": 800 },
            { "db": 1, "lost": 4, "added": 17 },
        ],
        "largest_lost": [{ "db": 0, "key": "session:eu:1", "bytes": 2048 }],
        "not_compared": { "compared_percent": 60, "why": "the time allowed (impact_seconds) was over, so that these figures are of what was compared" } })
}

fn outcome() -> Value {
    json!({ "status": "succeeded", "job_id": "rj-20261123T091500Z-1f2e3d", "human_verified": true,
        "message": "restored: 1204331 keys, as many as in the backup in every database; 12 write commands were accepted after the safety backup, and are kept",
        "next_actions": ["to get back: restore_instance of orders with backup_id b-20261123T093012Z-fdd30d"],
        "plan": plan()["plan"] })
}

fn doctor() -> Value {
    json!({ "warned": 2, "failed": 1, "instances": [
        { "instance_id": "orders", "status": "warn",
          "line": "protected since 2026-11-16T02:00:00Z, up to 2026-11-23T09:29:50Z, to the second; last drill 3d ago; not protected: what is written since 2026-11-23T09:29:50Z (10s ago)" },
        { "instance_id": "carts", "status": "fail", "next": "Start the server, or correct the url in the configuration.",
          "line": "NOT PROTECTED: there is no backup; last drill never; FAILED: reachable" },
    ], "checks": [
        { "name": "home", "status": "pass", "detail": "/var/lib/tair-backup-mcp: a directory for its owner alone, 812.4 GiB free" },
        { "name": "reachable", "status": "pass", "detail": "redis://10.0.0.5:6379: redis 7.0.15, master, as user operator", "instance_id": "orders" },
        { "name": "log backlog", "status": "warn", "instance_id": "orders", "next": "CONFIG SET repl-backlog-size 512mb",
          "detail": "the backlog of 1.0 MiB would hold 3 seconds of what is written now (0.3 MiB a second); an outage that is longer leaves a gap" },
        { "name": "cluster shards", "status": "warn", "instance_id": "orders",
          "next": "add to the configuration file:\n[[instance]]\nid = \"orders-shard-2\"\nurl = \"redis://10.0.0.7:6379\"\npassword_file = \"/etc/tair-backup-mcp/orders.password\"",
          "detail": "1 of 2 shards are not configured here, so nothing backs them up: redis://10.0.0.7:6379; this one has 8192 of 16384 slots" },
        { "name": "reachable", "status": "fail", "instance_id": "carts", "next": "Start the server, or correct the url in the configuration.",
          "detail": "cannot connect to 10.0.0.6:6379: connection refused (os error 111)" },
    ] })
}

fn retention() -> Value {
    json!({ "log_segments": 14, "sets": [
        { "backup_id": "b-20261123T061500Z-3f9a1c", "mode": "manual", "taken_at": "2026-11-23T06:15:00Z", "stored_bytes": 210_763_776, "goes": false,
          "why": "manual: it stays until somebody deletes it" },
        { "backup_id": "b-20261108T021000Z-0c1d2e", "mode": "automated", "taken_at": "2026-11-08T02:10:00Z", "stored_bytes": 209_715_200, "goes": true,
          "why": "15 days older than the newest, kept for 14" },
        { "backup_id": "b-20261107T021000Z-a0b1c2", "mode": "automated", "goes": false,
          "why": "its moment is not known, and what may be the only way back of a moment of the log is never deleted" },
    ] })
}

fn prunable() -> Value {
    json!({ "instance_id": "orders", "goes": 1, "bytes": 210_763_776, "backups": [
        { "backup_id": "b-20261123T061500Z-3f9a1c", "mode": "manual", "taken_at": "2026-11-23T06:15:00Z", "stored_bytes": 210_763_776, "goes": false,
          "why": "keep-last 1: no sound set of its mode is newer" },
        { "backup_id": "b-20261108T021000Z-0c1d2e", "mode": "manual", "taken_at": "2026-11-08T02:10:00Z", "stored_bytes": 210_763_776, "goes": true,
          "why": "no rule keeps it" },
        { "backup_id": "b-20261107T021000Z-a0b1c2", "mode": "automated", "taken_at": "2026-11-07T02:10:00Z", "stored_bytes": 900, "goes": false,
          "why": "taken by the policy, which lets it go" },
    ] })
}

fn pruned() -> Value {
    json!({ "status": "failed", "message": "1 of 2 backups deleted, 1 retained; 201.0 MiB freed", "backups": [
        { "backup_id": "b-20261108T021000Z-0c1d2e", "status": "deleted", "freed_bytes": 210_763_776 },
        { "backup_id": "b-20261109T021000Z-1c1d2e", "status": "retained", "freed_bytes": 0,
          "why": "its bucket keeps it until 2026-12-09T02:10:00Z, and nobody can shorten that" },
    ] })
}

fn plans() -> Drawn {
    let rows = [
        [
            "p-5f3a91c0",
            "waiting",
            "stdio:claude-code",
            "restore_instance",
            "orders",
            "2026-11-23T09:30:15Z",
            "2026-11-23T09:45:15Z",
            "restore of orders from b-20261123T093012Z-fdd30d",
        ],
        [
            "p-0a1b2c3d",
            "lapsed",
            "local",
            "create_instance_from_backup",
            "orders",
            "2026-11-23T08:00:00Z",
            "2026-11-23T08:15:00Z",
            "new instance from orders, b-20261122T020000Z-1a2b3c",
        ],
    ];
    let rows = rows.map(|row| row.map(str::to_owned));
    ("approve", Box::new(move |screen| render::listed_plans(screen, rows.clone())))
}

fn audit() -> Drawn {
    let rows = [
        [
            "2026-11-23T09:30:15Z",
            "planned",
            "orders",
            "stdio:claude-code",
            "p-5f3a91c0",
            "restore of orders from b-20261123T061500Z-3f9a1c, plan 9f86d081…",
        ],
        [
            "2026-11-23T09:31:02Z",
            "restore.started",
            "orders",
            "local",
            "p-5f3a91c0",
            "by terminal: job rj-20261123T093102Z-1f2e3d",
        ],
        [
            "2026-11-23T09:40:00Z",
            "backup.expired",
            "orders",
            "retention",
            "",
            "b-20261108T021000Z-0c1d2e: 15 days older than the newest, kept for 14",
        ],
    ];
    let rows = rows.map(|row| row.map(str::to_owned));
    ("audit", Box::new(move |screen| render::records(screen, rows.clone())))
}

fn compared() -> Value {
    json!({ "keys": keys(),
        "from": { "instance_id": "orders", "moment": "2026-11-23T06:15:00.000Z", "backup_id": "b-20261123T061500Z-3f9a1c" },
        "to": { "instance_id": "staging", "moment": "2026-11-23T09:30:00.000Z" } })
}

fn screens() -> Vec<Drawn> {
    let verified = json!({ "status": "failed", "job_id": "vj-20261123T063000Z-0f0e0d", "backup_id": "b-20261122T021000Z-0c1d2e",
        "message": "data.rdb.zst is 1048576 bytes, the manifest says 210763776: somebody has cut it",
        "hint": "Restore another set; take a new backup if there is none that is whole." });
    let begun = json!({ "status": "running", "backup_job_id": "bj-20261123T061500Z-3f9a1c", "message": "sending: 128.0 MiB of about 700.0 MiB",
        "estimate": { "seconds": 95, "from": "last backup", "meanwhile": "clients read and write as always" } });
    let created = json!({ "status": "succeeded", "backup_job_id": "bj-20261123T061500Z-3f9a1c", "backup_id": "b-20261123T061500Z-3f9a1c",
        "message": "1204331 keys, 700.0 MiB, 201.0 MiB stored, verified: SHA-256, CRC64, structure and the inside of every value" });
    vec![
        reply("instances", "describe_instances", instances()),
        reply("backups", "describe_backups", backups()),
        reply("destructive", "describe_backups", destructive()),
        reply("jobs", "describe_jobs", jobs()),
        reply("policy", "describe_backup_policy", policy()),
        reply("begun", "create_backup", begun),
        reply("created", "create_backup", created),
        reply("verified", "verify_backup", verified),
        reply("plan", "restore_instance", plan()),
        drawn("question", render::before_question, plan()),
        drawn("outcome", render::after_question, outcome()),
        drawn("compare", render::compared, compared()),
        drawn("doctor", render::checks, doctor()),
        drawn("retention", render::verdicts, retention()),
        drawn("prune", render::prunable, prunable()),
        drawn("pruned", render::pruned, pruned()),
        plans(),
        audit(),
    ]
}

/// A text without its colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').unwrap().1)
}

#[test]
fn every_screen_fits_and_is_as_it_was() {
    let folder = root().join("tests/fixtures/screens");
    let update = std::env::var_os("UPDATE_SCREENS").is_some();
    if update {
        std::fs::create_dir_all(&folder).unwrap();
    }
    let mut wrong = Vec::new();
    for (name, draw) in screens() {
        for width in WIDTHS {
            let shown = draw(&Screen::new(Some(width), false)) + "\n";
            for line in shown.lines().filter(|line| line.chars().count() > width) {
                wrong.push(format!("{name} has a line of more than {width} columns: {line}"));
            }
            let coloured = draw(&Screen::new(Some(width), true)) + "\n";
            assert_eq!(plain(&coloured), shown, "{name} at {width}: colours move something");
            let path = folder.join(format!("{name}.{width}.txt"));
            if update {
                std::fs::write(&path, &shown).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            if kept != shown {
                wrong.push(format!(
                    "{} is another, run with UPDATE_SCREENS=1 if that is meant:\n{shown}",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What fits in 200 columns has every column; in 80 the same sets are there with fewer, and what is said of them below.
#[test]
fn a_narrow_screen_has_fewer_columns_and_the_same_rows() {
    let at = |width| render::reply(&Screen::new(width, false), "describe_backups", &backups());
    let (whole, wide, narrow) = (at(None), at(Some(200)), at(Some(80)));
    assert_eq!(whole.lines().next(), wide.lines().next());
    for head in ["RDB", "STORED", "NOTE"] {
        assert!(wide.contains(head), "{wide}");
    }
    let first = narrow.lines().next().unwrap();
    assert!(!first.contains("RDB") && first.contains("STATUS"), "{narrow}");
    for said in [
        "b-20261121T021000Z-a0b1c2",
        "damaged",
        "\n    before the release",
        "\n    SHRUNK: keys 4,331 → 12; needed by restore",
    ] {
        assert!(narrow.contains(said), "{said}: {narrow}");
    }
}
