//! Databases of earlier versions, made by those versions' own statements: they open, keep their jobs and audit, withdraw plans of
//! another form, and facts that were in texts are in columns. The database of a later version is refused.

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use std::path::Path;
use tair_backup_mcp::guard::ledger::{ConfirmationStatus as Status, Ledger as _};
use tair_backup_mcp::model::fault::Kind;
use tair_backup_mcp::model::job::{JobKind, JobStatus, Phase, RecoveryKind};
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::state::State as _;
use tair_backup_mcp::state::jobs::{Begun, JobStore as _, NewJob};
use tair_backup_mcp::state::liveness::Liveness as _;
use tair_backup_mcp::state::notified::Notified as _;
use tair_backup_mcp::state::owner::LockFiles;
use tair_backup_mcp::state::policies::Policies as _;
use tair_backup_mcp::state::sqlite::Sqlite;
use tempfile::TempDir;

/// The tables of the first program.
const TABLES_1: &str = "
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, status TEXT NOT NULL,
  stage TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  owner TEXT NOT NULL, undo TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL, finished_at INTEGER);
-- One job of a kind at a time for an instance, whichever process asks.
CREATE UNIQUE INDEX IF NOT EXISTS jobs_running ON jobs (instance_id, kind) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
CREATE TABLE IF NOT EXISTS confirmations (
  nonce TEXT PRIMARY KEY, plan TEXT NOT NULL, caller TEXT NOT NULL, standing TEXT NOT NULL,
  wrong_answers INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL, caller TEXT NOT NULL,
  instance_id TEXT NOT NULL, nonce TEXT NOT NULL, detail TEXT NOT NULL);
PRAGMA user_version = 1;
";

/// The tables of the second.
const TABLES_2: &str = "
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, status TEXT NOT NULL,
  stage TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
  code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '', hint TEXT NOT NULL DEFAULT '',
  provider TEXT NOT NULL DEFAULT 'local', owner TEXT NOT NULL, undo TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL, finished_at INTEGER);
-- One job at a time for an instance, whichever process asks.
CREATE UNIQUE INDEX IF NOT EXISTS jobs_running ON jobs (instance_id) WHERE status = 'running';
CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at);
CREATE TABLE IF NOT EXISTS confirmations (
  nonce TEXT PRIMARY KEY, plan TEXT NOT NULL, caller TEXT NOT NULL, standing TEXT NOT NULL,
  wrong_answers INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, event TEXT NOT NULL, caller TEXT NOT NULL,
  instance_id TEXT NOT NULL, nonce TEXT NOT NULL, detail TEXT NOT NULL);
PRAGMA user_version = 2;
";

/// Jobs that version 2 could have left, of a process that is dead; with [`RECORDS_1`] those of version 1.
const JOBS: &str = r#"
INSERT INTO jobs (id, kind, instance_id, backup_id, status, stage, done, total, code, message, hint, owner, undo, created_at, finished_at) VALUES
  ('bj-done', 'backup', 'orders', 'b-1', 'succeeded', 'succeeded', 10, 10, '', '7 keys', '', '11-aa', '', 1790000000000, 1790000001000),
  ('rj-failed', 'restore', 'orders', 'b-1', 'failed', 'failed', 0, 0, 'plan.changed', 'it moved', 'Make a new plan.', '11-aa', '', 1790000002000, 1790000003000),
  ('rj-unsettled', 'restore', 'users', 'b-2', 'failed', 'failed; unsettled; its target cannot be asked yet (away)', 5, 10, 'restore.stalled', 'the target went silent', 'Look at it.', 'nobody',
   '{"back":"restore_instance with backup_id b-0","keys":7,"switch":{"repl_diskless_load":"disabled","masterauth":"old-secret","masteruser":null,"replica_read_only":"yes","host":"127.0.0.1","port":7000,"replid":"ab","run_id":"cd"},"trace":{"caller":"agent","nonce":"0a1b"}}', 1790000004000, 1790000005000),
  ('rj-interrupted', 'restore', 'stock', 'b-3', 'running', 'interrupted; its target cannot be asked yet (away)', 5, 10, '', '', '', 'nobody',
   '{"back":"the way back","keys":7,"switch":null,"trace":{"caller":"agent","nonce":"2c3d"}}', 1790000006000, NULL),
  ('bj-starting', 'backup', 'mail', 'b-4', 'running', 'starting', 0, 0, '', '', '', '11-aa', '', 1790000007000, NULL),
  ('bj-forking', 'backup', 'news', 'b-5', 'running', 'waiting for the source to fork', 0, 0, '', '', '', '11-aa', '', 1790000008000, NULL),
  ('bj-running', 'backup', 'logs', 'b-6', 'running', 'receiving and verifying', 5, 0, '', '', '', '11-aa', '', 1790000009000, NULL);
INSERT INTO audit (at, event, caller, instance_id, nonce, detail) VALUES
  (1790000000000, 'planned', 'agent', 'orders', '0a1b', 'a plan'), (1790000001000, 'redeemed', 'agent', 'orders', '0a1b', 'used');
"#;

/// The form that version 1 gave the records in [`JOBS`]: it named the safety backup, and knew nothing of who had asked.
const RECORDS_1: &str = r#"
UPDATE jobs SET undo = '{"safety_backup_id":"b-0","keys":7,"switch":{"repl_diskless_load":"disabled","masterauth":"old-secret","masteruser":null,"replica_read_only":"yes","host":"127.0.0.1","port":7000,"replid":"ab","run_id":"cd"}}' WHERE id = 'rj-unsettled';
UPDATE jobs SET undo = '{"safety_backup_id":"b-9","keys":7,"switch":null}' WHERE id = 'rj-interrupted';
"#;

async fn made(home: &Path, statements: &[&'static str]) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(home.join("state.db")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    for sql in statements {
        sqlx::raw_sql(*sql).execute(&pool).await.unwrap();
    }
    pool
}

/// What every job of [`JOBS`] must have become.
async fn assert_jobs_kept(store: &Sqlite, asked: bool, back: [&str; 2]) {
    let of = async |id: &str| store.job(id).await.unwrap();
    assert_eq!(store.jobs(None).await.unwrap().len(), 7);
    let done = of("bj-done").await;
    assert_eq!((done.kind, done.status, done.phase), (JobKind::Backup, JobStatus::Succeeded, Phase::Ended));
    assert_eq!((done.message.as_str(), done.stage.as_str(), done.done, done.total), ("7 keys", "succeeded", 10, 10));
    assert_eq!(done.finished_at, Some(Timestamp::from_millisecond(1_790_000_001_000).unwrap()));
    let failed = of("rj-failed").await;
    assert_eq!((failed.status, failed.code.as_str()), (JobStatus::Failed, "plan.changed"));
    assert_eq!((done.failure, failed.failure), (None, Some(Kind::Refused)));
    assert!(failed.stage == "failed" && failed.hint == "Make a new plan." && !failed.needs_reconciliation());
    let pending = of("rj-unsettled").await;
    assert!(pending.rollback_pending && pending.needs_reconciliation(), "{pending:?}");
    assert_eq!(pending.stage, "failed; rollback pending; its target cannot be asked yet (away)");
    let by = |confirmation| if asked { ("agent", confirmation) } else { ("", "") };
    assert_eq!((pending.caller.as_str(), pending.confirmation.as_str()), by("0a1b"));
    assert_eq!((pending.code.as_str(), pending.phase), ("restore.stalled", Phase::Ended));
    assert_eq!(pending.failure, Some(Kind::Provider));
    let interrupted = of("rj-interrupted").await;
    assert_eq!((interrupted.status, interrupted.phase), (JobStatus::Running, Phase::Interrupted));
    assert_eq!((interrupted.caller.as_str(), interrupted.confirmation.as_str()), by("2c3d"));
    assert!(interrupted.needs_reconciliation());
    assert_eq!(of("bj-starting").await.phase, Phase::Starting);
    assert_eq!(of("bj-forking").await.phase, Phase::Forking);
    let running = of("bj-running").await;
    assert_eq!((running.phase, running.stage.as_str()), (Phase::Working, "receiving and verifying"));
    assert!(!running.needs_reconciliation() && running.confirmation.is_empty());
    let events: Vec<_> = store.audit(None, None, 9).await.unwrap().into_iter().map(|r| (r.event, r.nonce)).collect();
    assert_eq!(events, [("planned".into(), "0a1b".into()), ("redeemed".into(), "0a1b".to_owned())]);
    // The rule of one exclusive job holds for the old ones too.
    let new = NewJob {
        id: "bj-new",
        provider: "local",
        kind: JobKind::Backup,
        instance_id: "logs",
        backup_id: "",
        exclusive: true,
        caller: "",
        confirmation: "",
        access: None,
        under: None,
        audit: None,
    };
    let Begun::Joined(joined) = store.begin(new).await.unwrap() else { panic!("two at once") };
    assert_eq!(joined.id, "bj-running");
    // All that a dead process left is there to be reconciled, with its record.
    let mut orphans = store.adopt("local", None).await.unwrap();
    orphans.sort_by(|a, b| a.job.id.cmp(&b.job.id));
    let ids: Vec<&str> = orphans.iter().map(|o| o.job.id.as_str()).collect();
    assert_eq!(ids, ["bj-forking", "bj-running", "bj-starting", "rj-interrupted", "rj-unsettled"]);
    assert!(orphans[..3].iter().all(|o| o.recovery.is_none()), "{orphans:?}");
    for (orphan, back) in orphans[3..].iter().zip(back) {
        let record = orphan.recovery.as_ref().unwrap();
        assert_eq!(record.kind, RecoveryKind::LocalRestore);
        let json: serde_json::Value = serde_json::from_str(&record.json).unwrap();
        assert_eq!((&json["keys"], &json["back"]), (&7.into(), &back.into()));
        assert!(json.get("trace").is_none() && json.get("safety_backup_id").is_none(), "{json}");
    }
    let with_switch: serde_json::Value = serde_json::from_str(&orphans[4].recovery.as_ref().unwrap().json).unwrap();
    assert_eq!(with_switch["switch"]["masterauth"], "old-secret");
}

#[tokio::test]
async fn version_1_keeps_its_jobs_and_audit_and_withdraws_its_plans() {
    let home = TempDir::new().unwrap();
    let plans = "INSERT INTO confirmations (nonce, plan, caller, standing, created_at, expires_at)
        VALUES ('0a', '{}', 'a', 'open', 1790000000000, 9999999999999)";
    made(home.path(), &[TABLES_1, JOBS, RECORDS_1, plans]).await.close().await;
    let store = Sqlite::new(home.path());
    assert!(store.find("0a").await.unwrap().is_none());
    let back = [
        "restore_instance with instance_id stock and backup_id b-9",
        "restore_instance with instance_id users and backup_id b-0",
    ];
    assert_jobs_kept(&store, false, back).await;
    // It opens the second time as it did the first.
    drop(store);
    assert_eq!(Sqlite::new(home.path()).jobs(None).await.unwrap().len(), 7);
}

/// The first program made its tables one by one and wrote its version last: it may have died between any two of these.
#[tokio::test]
async fn what_version_1_left_half_made_opens() {
    let statements: Vec<&'static str> = TABLES_1.trim().split_inclusive(";\n").collect();
    for done in 1..statements.len() {
        let home = TempDir::new().unwrap();
        made(home.path(), &statements[..done]).await.close().await;
        let store = Sqlite::new(home.path());
        assert!(store.jobs(None).await.unwrap().is_empty(), "{done}");
        assert!(store.redeemable().await.unwrap().is_empty() && store.audit(None, None, 9).await.unwrap().is_empty());
    }
}

/// A process of an earlier version that is at work could not write on, and is left alone; once it is gone its job is adopted.
#[tokio::test]
async fn what_a_living_process_uses_is_not_brought_over() {
    for tables in [TABLES_1, TABLES_2] {
        let home = TempDir::new().unwrap();
        let owner = LockFiles::new(home.path().join("run"));
        let name = owner.me().await.unwrap();
        let pool = made(home.path(), &[tables, JOBS]).await;
        sqlx::query("UPDATE jobs SET owner = ? WHERE id = 'bj-running'").bind(&name).execute(&pool).await.unwrap();
        let store = Sqlite::new(home.path());
        let refused = store.jobs(None).await.unwrap_err();
        assert_eq!(refused.code, "state.in_use", "{refused:?}");
        let process = format!("process {} ", std::process::id());
        assert!(refused.message.contains("bj-running") && refused.message.contains(&process), "{refused:?}");
        let at_work = "UPDATE jobs SET undo = '{}', stage = 'writing' WHERE id = 'bj-running'";
        sqlx::raw_sql(at_work).execute(&pool).await.unwrap();
        drop(owner);
        assert_eq!(store.jobs(None).await.unwrap().len(), 7);
        assert_eq!(store.job("bj-running").await.unwrap().stage, "writing");
    }
}

/// The first program let a backup and a restore of one instance run at once, and may have left both.
#[tokio::test]
async fn version_1_with_two_jobs_at_once_on_an_instance_opens() {
    let home = TempDir::new().unwrap();
    let two = "INSERT INTO jobs (id, kind, instance_id, backup_id, status, stage, owner, created_at) VALUES
        ('bj-1', 'backup', 'orders', 'b-1', 'running', 'starting', '11-aa', 1790000000000),
        ('rj-1', 'restore', 'orders', 'b-1', 'running', 'starting', '11-aa', 1790000000001)";
    made(home.path(), &[TABLES_1, two]).await.close().await;
    let store = Sqlite::new(home.path());
    assert_eq!(store.adopt("local", None).await.unwrap().len(), 2);
}

/// A token stands for the digest of its plan's form, which is another by now: no plan of version 2 can be redeemed, and none
/// makes the store unreadable.
#[tokio::test]
async fn version_2_keeps_its_jobs_and_audit_and_withdraws_its_plans() {
    let home = TempDir::new().unwrap();
    let plans = r#"INSERT INTO confirmations (nonce, plan, caller, standing, created_at, expires_at) VALUES
        ('0a', '{"instance_id":"orders","pins":{},"words":{}}', 'a', 'open', 1790000000000, 9999999999999),
        ('0b', '{"instance_id":"orders","pins":{},"words":{}}', 'a', 'approved', 1790000000000, 9999999999999),
        ('0c', '{"instance_id":"orders","pins":{},"words":{}}', 'a', 'spent', 1790000000000, 9999999999999)"#;
    made(home.path(), &[TABLES_2, JOBS, plans]).await.close().await;
    let store = Sqlite::new(home.path());
    assert!(store.redeemable().await.unwrap().is_empty());
    for nonce in ["0a", "0b", "0c"] {
        assert!(store.find(nonce).await.unwrap().is_none(), "{nonce}");
        assert!(!store.transition(nonce, &[Status::Open, Status::Approved], Status::Redeemed).await.unwrap());
    }
    assert_jobs_kept(&store, true, ["the way back", "restore_instance with backup_id b-0"]).await;
}

/// Of processes that open an old database at once, one brings it to this version and all of them work.
#[test]
fn an_old_database_is_brought_over_once() {
    let home = TempDir::new().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async { made(home.path(), &[TABLES_2, JOBS]).await.close().await });
    let all: Vec<_> = (0..6)
        .map(|_| {
            let store = Sqlite::new(home.path());
            std::thread::spawn(move || runtime().block_on(store.jobs(None)).unwrap().len())
        })
        .collect();
    for one in all {
        assert_eq!(one.join().unwrap(), 7);
    }
}

/// A log that was set on when policies had nothing else stays on, and the instance gets no calendar by that.
#[tokio::test]
async fn a_policy_of_before_there_were_calendars_is_kept() {
    let home = TempDir::new().unwrap();
    drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
    let before = [
        "ALTER TABLE jobs DROP COLUMN mode; DROP TABLE log_heads; DROP INDEX confirmations_by_status; DROP INDEX jobs_by_sort; DROP INDEX jobs_by_status; DROP INDEX jobs_to_roll_back;
         DROP TABLE manifests; DROP TABLE notified; DROP INDEX jobs_by_end; ALTER TABLE policies DROP COLUMN preferred_backup_time; ALTER TABLE policies DROP COLUMN preferred_backup_period;
         ALTER TABLE policies DROP COLUMN backup_retention_period; ALTER TABLE policies DROP COLUMN calendar_since",
        "DELETE FROM _sqlx_migrations WHERE version >= 10; PRAGMA user_version = 9",
        "INSERT INTO policies (instance_id, enable_backup_log, changed_at) VALUES ('orders', 1, 1790000000000)",
    ];
    made(home.path(), &before).await.close().await;
    let store = Sqlite::new(home.path());
    let kept = store.stored_policy("orders").await.unwrap().unwrap();
    assert_eq!(kept.policy, BackupPolicy { enable_backup_log: true, ..BackupPolicy::none() });
    assert_eq!(kept.calendar_since, None);
}

/// Jobs of before anybody was told of what fails stay, and so does what they came to.
#[tokio::test]
async fn jobs_of_before_anybody_was_told_are_kept() {
    let home = TempDir::new().unwrap();
    made(home.path(), &[TABLES_2, JOBS]).await.close().await;
    drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
    let before = [
        "ALTER TABLE jobs DROP COLUMN mode; DROP TABLE log_heads; DROP INDEX confirmations_by_status; DROP INDEX jobs_by_sort; DROP INDEX jobs_by_status; DROP INDEX jobs_to_roll_back; DROP TABLE notified; DROP INDEX jobs_by_end",
        "DELETE FROM _sqlx_migrations WHERE version >= 12; PRAGMA user_version = 11",
    ];
    made(home.path(), &before).await.close().await;
    let store = Sqlite::new(home.path());
    assert_eq!(store.jobs(None).await.unwrap().len(), 7);
    let since = Timestamp::from_millisecond(1_790_000_004_000).unwrap();
    let ended: Vec<String> = store.unnoticed_jobs(since).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(ended, ["rj-unsettled"], "it ended behind that moment");
}

/// A backup in the cloud that a plan names stays a safety backup; one that none names does not become one, and a plan that is no JSON is passed over.
#[tokio::test]
async fn safety_backups_of_before_jobs_said_so_are_kept() {
    let home = TempDir::new().unwrap();
    drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
    let before = [
        "ALTER TABLE jobs DROP COLUMN mode; DROP TABLE log_heads; DROP INDEX confirmations_by_status; DELETE FROM _sqlx_migrations WHERE version >= 14; PRAGMA user_version = 13",
        "INSERT INTO jobs (id, provider, kind, instance_id, backup_id, status, phase, stage, owner, exclusive, created_at) VALUES
           ('bj-1', 'tair', 'backup', 'r-1', '71', 'succeeded', 'ended', '', 'nobody', 1, 1),
           ('bj-12', 'tair', 'backup', 'r-1', '72', 'succeeded', 'ended', '', 'nobody', 1, 2)",
        r#"INSERT INTO confirmations (nonce, plan, caller, status, created_at, expires_at) VALUES
           ('0a', '{"safety":{"job_id":"bj-1","backup_id":"71"}}', 'a', 'superseded', 1, 2), ('0b', 'no JSON', 'a', 'superseded', 1, 2)"#,
    ];
    made(home.path(), &before).await.close().await;
    let taken = Sqlite::new(home.path()).taken_for_plans("r-1").await.unwrap();
    assert_eq!(taken.into_iter().collect::<Vec<_>>(), ["71"]);
}

/// The plans that wait are found among all that there ever were, which are kept, by an index.
#[tokio::test]
async fn waiting_plans_are_found_by_an_index() {
    let home = TempDir::new().unwrap();
    drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
    let pool = made(home.path(), &[]).await;
    // As `plans` asks.
    let asked = "EXPLAIN QUERY PLAN SELECT * FROM confirmations WHERE status IN ('open', 'approved')
        AND expires_at > CAST(round(unixepoch('subsec') * 1000) AS INTEGER) - 0 ORDER BY created_at DESC";
    let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(asked).fetch_all(&pool).await.unwrap();
    let found = rows
        .iter()
        .any(|(.., detail)| detail.contains("USING INDEX confirmations_by_status (status=? AND expires_at>?)"));
    assert!(found, "{rows:?}");
}

#[tokio::test]
async fn a_later_version_is_refused() {
    let home = TempDir::new().unwrap();
    drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
    let pool = made(home.path(), &[]).await;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await.unwrap();
    assert_eq!(version, 16, "what the programs before this one look at");
    sqlx::raw_sql("PRAGMA user_version = 17").execute(&pool).await.unwrap();
    let refused = Sqlite::new(home.path()).jobs(None).await.unwrap_err();
    assert_eq!(refused.code, "state.newer", "{refused:?}");
    // Nor one that only its list of migrations tells.
    sqlx::raw_sql(
        "PRAGMA user_version = 0; INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (17, 'later', 1, x'00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let refused = Sqlite::new(home.path()).jobs(None).await.unwrap_err();
    assert_eq!(refused.code, "state.newer", "{refused:?}");
}

/// A word that no version writes is damage, not a default: whoever asks for that job is told, and the others are there all the
/// same.
#[tokio::test]
async fn an_unknown_value_is_damage() {
    for (column, value) in [("kind", "backups"), ("status", "done"), ("phase", ""), ("recovery_kind", "tair")] {
        let home = TempDir::new().unwrap();
        made(home.path(), &[TABLES_2, JOBS]).await.close().await;
        drop(Sqlite::new(home.path()).jobs(None).await.unwrap());
        let pool = made(home.path(), &[]).await;
        let sql = format!("UPDATE jobs SET {column} = ? WHERE id = 'rj-unsettled'");
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(value).execute(&pool).await.unwrap();
        let store = Sqlite::new(home.path());
        // A record is read only by who adopts its job.
        let readable = column == "recovery_kind";
        assert_eq!(store.jobs(None).await.unwrap().len(), if readable { 7 } else { 6 }, "{column}");
        if !readable {
            let damaged = store.job("rj-unsettled").await.unwrap_err();
            assert_eq!(damaged.code, "state.damaged", "{column}: {damaged:?}");
            assert!(damaged.message.contains("rj-unsettled"), "{damaged:?}");
        }
        let adopted: Vec<String> = store.adopt("local", None).await.unwrap().into_iter().map(|o| o.job.id).collect();
        assert_eq!(adopted.len(), 4, "{column}: {adopted:?}");
        assert!(!adopted.iter().any(|id| id == "rj-unsettled"), "{column}: {adopted:?}");
        // Nor is it an error where it is the only one; it stays for a program that can read it.
        assert!(store.adopt("local", None).await.unwrap().is_empty());
        let owner: String =
            sqlx::query_scalar("SELECT owner FROM jobs WHERE id = 'rj-unsettled'").fetch_one(&pool).await.unwrap();
        assert_eq!(owner, "nobody", "{column}");
    }
}
