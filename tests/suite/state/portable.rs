//! The state as a file: it goes from one database to the other and back unchanged; what was redeemed stays so, and nothing that could be
//! confirmed is in two places; a file that is not whole, or a store that is not empty, is refused before anything is written.

use super::contract::{confirmation, new, record};
use super::places::Place;
use crate::support::postgres::Database;
use crate::support::{Bench, Redis, text, unattended, wait};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tair_backup_mcp::guard::ledger::{AuditRecord, ConfirmationStatus as Status};
use tair_backup_mcp::guard::permit;
use tair_backup_mcp::guard::person::{Answer, Channel, Yes, typed_answer};
use tair_backup_mcp::model::calendar::usual;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::model::job::{JobKind, JobStatus, Phase};
use tair_backup_mcp::model::log::LogHead;
use tair_backup_mcp::model::policy::BackupPolicy;
use tair_backup_mcp::model::verification::{Level, Look};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::jobs::JobStore as _;
use tair_backup_mcp::state::portable::Portable as _;
use tair_backup_mcp::state::portable::form::TABLES;
use tair_backup_mcp::state::sql::Store;
use tair_backup_mcp::state::sql::heartbeats::{Beat, Heartbeats};
use tempfile::TempDir;

promises! {
    a_store_at_work_is_not_imported_into,
    a_file_that_is_not_whole_is_refused,
}

/// Fills a store with everything that it keeps.
pub async fn fill(store: &Arc<dyn State>) {
    let failed =
        Fault::new(Kind::Provider, "restore.failed", "the target\nis \"away\" \u{1f4a5}").hint("Bring it back.");
    for (id, instance_id) in [("bj-1", "orders"), ("rj-2", "carts"), ("rj-3", "users"), ("bj-4", "more")] {
        let kind = if id.starts_with('b') { JobKind::Backup } else { JobKind::Restore };
        store.begin(new(id, kind, instance_id)).await.unwrap();
    }
    store
        .finish("bj-1", Ok("well"), Some(AuditRecord::now("restore.succeeded", "a", "orders", "ended")))
        .await
        .unwrap();
    store.save_recovery("rj-2", &record()).await.unwrap();
    store.fail_with_rollback_pending("rj-2", &failed, None).await.unwrap();
    store.save_recovery("rj-3", &record()).await.unwrap();
    store.progress("rj-3", Phase::Working, "at work", 5, 9).await.unwrap();
    store.serving("rj-3", Timestamp::now()).await.unwrap();
    store.progress("bj-4", Phase::Forking, "forks", 0, 0).await.unwrap();
    for nonce in ["redeemed", "open", "approved"] {
        store.open(&confirmation(nonce, nonce, 15)).await.unwrap();
    }
    store.transition("redeemed", &[Status::Open], Status::Redeemed).await.unwrap();
    store.transition("approved", &[Status::Open], Status::Approved).await.unwrap();
    store.count_wrong_answer("open").await.unwrap();
    // More than are written at once.
    for n in 0..120 {
        store
            .record(AuditRecord::now("asked", "a", "orders", format!("{n} of \u{202e} 'many'; \\u0000")))
            .await
            .unwrap();
    }
    set_policy(store, "orders", &usual()).await;
    set_policy(store, "carts", &BackupPolicy { enable_backup_log: true, ..BackupPolicy::none() }).await;
    let look = Look { at: Timestamp::now(), sha256: "of the set".into(), server: Some("Redis 7".into()), fault: None };
    store.set_verified("orders", "b-1", Level::Drill, &look).await.unwrap();
    let broken = Look { fault: Some("cut".into()), server: None, ..look };
    store.set_verified("orders", "b-2", Level::Checksum, &broken).await.unwrap();
    store.set_head(&head(7)).await.unwrap();
}

/// The head of a log that ends at an offset.
pub fn head(offset: u64) -> LogHead {
    LogHead {
        instance_id: "orders".into(),
        shard: 0,
        timeline: "t-1".into(),
        segment: format!("{offset}.seg"),
        offset,
        until: Timestamp::from_second(1_790_000_000).unwrap(),
        digest: "aa".into(),
    }
}

/// The rows of a file, but for what imports have added.
pub fn rows(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let all = text.lines().filter(|line| !line.contains("\"state.imported\"") && !line.starts_with("{\"sha256\""));
    all.skip(1).map(str::to_owned).collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    result.unwrap_err().code
}

fn yes(nonce: &str) -> Yes {
    match typed_answer(&confirmation(nonce, nonce, 15).plan, nonce, Channel::Elicitation) {
        Answer::Yes(yes) => yes,
        _ => panic!("no yes"),
    }
}

#[tokio::test]
async fn from_a_file_to_postgresql_and_back() {
    let (home, server, other_home) = (TempDir::new().unwrap(), Database::new(), TempDir::new().unwrap());
    let files = TempDir::new().unwrap();
    let [first, second, third] = ["1", "2", "3"].map(|name| files.path().join(name));
    let store = home.open();
    fill(&store).await;
    let exported = store.export(&first).await.unwrap();
    assert_eq!((exported.rows["jobs"], exported.rows["confirmations"], exported.rows["audit"]), (4, 3, 121));
    let running: BTreeSet<&str> = exported.running.iter().map(|job| job.job_id.as_str()).collect();
    assert_eq!((running, exported.withdrawn, exported.others), (["rj-3", "bj-4"].into(), 2, 0));
    let key = store.key().await.unwrap().0;
    home.end(store).await;

    let moved = server.open();
    assert_eq!(moved.import(&first).await.unwrap().before, None);
    assert!(moved.import(&first).await.unwrap().before.is_some(), "it is told");
    moved.export(&second).await.unwrap();
    let back = other_home.open();
    assert_eq!(back.import(&second).await.unwrap().before, None);
    back.export(&third).await.unwrap();
    assert_eq!(rows(&first).len(), 133);
    assert_eq!(rows(&first), rows(&second));
    assert_eq!(rows(&second), rows(&third));
    assert_eq!(code(back.import(&third).await), "state.not_empty");

    for store in [&moved, &back] {
        // Of the key each store has its own.
        assert_ne!(store.key().await.unwrap().0, key);
        for nonce in ["redeemed", "open", "approved"] {
            let refused = permit::redeem(&**store, &confirmation(nonce, nonce, 15), yes(nonce)).await;
            assert_eq!(code(refused), "confirm.used", "{nonce}");
        }
        assert!(store.redeemable().await.unwrap().is_empty());
        let jobs = store.jobs(None).await.unwrap();
        assert_eq!(jobs.iter().filter(|job| job.status == JobStatus::Running).count(), 2, "{jobs:?}");
        assert_eq!(store.pending_rollback("carts").await.unwrap().as_deref(), Some("rj-2"));
        let policy = store.stored_policy("orders").await.unwrap().unwrap();
        assert!(policy.policy.has_calendar() && policy.calendar_since.is_some(), "{policy:?}");
        assert_eq!(store.heads(None).await.unwrap(), [head(7)]);
        // Who ran them is no process of this store: each is handed out, with its record.
        let mut orphans = store.adopt("local", None).await.unwrap();
        orphans.sort_by(|a, b| a.job.id.cmp(&b.job.id));
        let found: Vec<_> = orphans.iter().map(|orphan| (orphan.job.id.as_str(), orphan.recovery.clone())).collect();
        assert_eq!(found, [("bj-4", None), ("rj-2", Some(record())), ("rj-3", Some(record()))]);
    }
}

/// Nothing is kept that does not come over, but for what is made anew.
#[tokio::test]
async fn every_column_comes_over() {
    let server = Database::new();
    server.open().jobs(None).await.unwrap();
    let columns = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT IN ('keys', 'leases', 'owners', '_sqlx_migrations')
        AND (table_name, column_name) NOT IN (('jobs', 'owner'), ('audit', 'seq'))";
    let there: BTreeSet<String> = server.texts(columns).into_iter().collect();
    let of = |table: &tair_backup_mcp::state::portable::form::Table| {
        table.columns.iter().map(|(column, _)| format!("{}.{column}", table.name)).collect::<Vec<_>>()
    };
    assert_eq!(TABLES.iter().flat_map(of).collect::<BTreeSet<_>>(), there);
}

async fn set_policy(store: &Arc<dyn State>, instance_id: &str, policy: &BackupPolicy) {
    let under = store.acquire(&format!("policy/{instance_id}")).await.unwrap().unwrap();
    store.set_policy(instance_id, policy, &under).await.unwrap();
    store.give_back(&under).await.unwrap();
}

async fn a_store_at_work_is_not_imported_into(place: &impl Place) {
    let (home, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = files.path().join("state");
    let from = home.open();
    set_policy(&from, "orders", &usual()).await;
    from.export(&file).await.unwrap();
    let (other, store) = (place.open(), place.open());
    other.adopt("local", None).await.unwrap();
    assert_eq!(code(store.import(&file).await), "state.in_use");
    place.end(other).await;
    assert_eq!(store.import(&file).await.unwrap().before, None);
    assert!(store.stored_policy("orders").await.unwrap().is_some());
    set_policy(&store, "carts", &usual()).await;
    // The same file once more is no harm; another one is refused.
    assert!(store.import(&file).await.unwrap().before.is_some());
    from.record(AuditRecord::now("asked", "a", "orders", "")).await.unwrap();
    let newer = files.path().join("newer");
    from.export(&newer).await.unwrap();
    assert_eq!(code(store.import(&newer).await), "state.not_empty");
}

/// What was killed there is waited for before the database is held, which holds still for nobody so long.
#[tokio::test]
async fn what_a_killed_process_has_touched_is_imported_into() {
    let (home, files, database) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Database::new());
    let file = files.path().join("state");
    let from = home.open();
    set_policy(&from, "orders", &usual()).await;
    from.export(&file).await.unwrap();
    let there = database.database();
    let beat = Beat { every: Duration::from_millis(500), missed: 1, back_within: Duration::from_secs(6) };
    let store = Store::with(Arc::clone(&there), Box::new(Heartbeats::new(there, beat)));
    assert!(store.jobs(None).await.unwrap().is_empty());
    database.run("INSERT INTO owners (name, seen_at) VALUES ('1-killed', 1)");
    assert_eq!(store.import(&file).await.unwrap().before, None);
}

/// The same lines with a trailer that is right.
fn signed(lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{body}{{\"sha256\":\"{}\"}}\n", hex(&Sha256::digest(&body)))
}

async fn a_file_that_is_not_whole_is_refused(place: &impl Place) {
    let (home, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (good, bad) = (files.path().join("good"), files.path().join("bad"));
    let from = home.open();
    fill(&from).await;
    from.export(&good).await.unwrap();
    let whole = std::fs::read_to_string(&good).unwrap();
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    let (body, header) = (&lines[..lines.len() - 1], &lines[0]);
    let edited = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = body.to_vec();
        change(&mut lines);
        signed(&lines)
    };
    assert_eq!(edited(&|_| ()), whole);
    let cut = |at: usize| String::from_utf8_lossy(&whole.as_bytes()[..at]).into_owned();
    let without_trailer = whole.len() - lines.last().unwrap().len() - 1;
    let damaged = [
        String::new(),
        "{}\n".into(),
        cut(1),
        cut(header.len()),
        cut(header.len() + 1),
        cut(whole.len() / 2),
        cut(without_trailer),
        cut(whole.len() - 1),
        format!("{whole}\n"),
        whole.replacen("\"well\"", "\"will\"", 1),
        // Whoever changes it and makes the trailer right has changed what the header counts, or what a row is made of.
        edited(&|lines| drop(lines.remove(5))),
        edited(&|lines| lines.insert(5, lines[5].clone())),
        edited(&|lines| lines[2] = lines[2].replace("\"done\":0,", "")),
        edited(&|lines| lines[2] = lines[2].replace("\"done\":0,", "\"done\":\"0\",")),
        edited(&|lines| lines[2] = lines[2].replace("\"done\":0,", "\"done\":0,\"owner\":\"me\",")),
        edited(&|lines| lines[2] = lines[2].replacen("\"jobs\"", "\"owners\"", 1)),
        // A form that had no such table has no row of it.
        edited(&|lines| {
            lines[0] = lines[0].replacen("_state\":3", "_state\":2", 1).replacen("\"log_heads\":1,", "", 1)
        }),
    ];
    let store = place.open();
    for (n, content) in damaged.iter().enumerate() {
        std::fs::write(&bad, content).unwrap();
        let fault = store.import(&bad).await.unwrap_err();
        assert!(fault.code == "state.export_damaged" && fault.message.contains("at byte"), "{n}: {fault:?}");
    }
    std::fs::write(&bad, edited(&|lines| lines[0] = lines[0].replacen("_state\":3", "_state\":4", 1))).unwrap();
    assert_eq!(code(store.import(&bad).await), "state.newer");
    let link = files.path().join("link");
    std::os::unix::fs::symlink(&good, &link).unwrap();
    for no_file in [files.path(), &link, &files.path().join("none")] {
        assert_eq!(code(store.import(no_file).await), "state.export_failed", "{}", no_file.display());
    }
    // Nothing of all that was written. A plan that somebody has made open again in the file is withdrawn all the same.
    let open = edited(&|lines| lines.iter_mut().for_each(|line| *line = line.replace("\"superseded\"", "\"open\"")));
    assert_ne!(open, whole);
    std::fs::write(&bad, open).unwrap();
    assert_eq!(store.import(&bad).await.unwrap().before, None);
    assert!(store.redeemable().await.unwrap().is_empty());
    let there = files.path().join("there");
    store.export(&there).await.unwrap();
    assert_eq!(rows(&there), rows(&good));
}

/// In a file of the first form no job says what its backup is for: of one of the cloud the plan that names it tells, as where a home is brought to this
/// version.
#[tokio::test]
async fn safety_backups_come_over_from_the_first_form() {
    let (home, other_home, server, files) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), Database::new(), TempDir::new().unwrap());
    let file = files.path().join("state");
    let store = home.open();
    fill(&store).await;
    store.export(&file).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.pop();
    // Nor had it a table for the heads of logs.
    lines.retain(|line| !line.starts_with("{\"log_heads\""));
    lines[0] = lines[0].replacen("_state\":3", "_state\":1", 1).replacen("\"log_heads\":1,", "", 1);
    for line in &mut lines[1..] {
        let mut row: Value = serde_json::from_str(line).unwrap();
        if let Some(job) = row.get_mut("jobs") {
            job["provider"] = "tair".into();
            job.as_object_mut().unwrap().remove("mode").unwrap();
        }
        if row["confirmations"]["nonce"] == "redeemed" {
            row["confirmations"]["plan"] = r#"{"safety":{"job_id":"bj-1","backup_id":"b-1"}}"#.into();
        }
        *line = row.to_string();
    }
    std::fs::write(&file, signed(&lines)).unwrap();
    for store in [other_home.open(), server.open()] {
        assert_eq!(store.import(&file).await.unwrap().before, None);
        assert_eq!(store.taken_for_plans("orders").await.unwrap().into_iter().collect::<Vec<_>>(), ["b-1"]);
        assert!(store.taken_for_plans("more").await.unwrap().is_empty(), "no plan names it");
        assert!(store.heads(None).await.unwrap().is_empty());
    }
}

/// By the commands, as the help tells: with a job that a process left when it was killed, a token that was redeemed and one that waits.
#[test]
fn a_service_moves() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let (bench, database) = (Bench::unattended(&redis), Database::new());
    let backup = bench.backup();
    redis.run(&["SET", "a", "2"]);
    let redeemed = bench.token(&backup);
    assert_eq!(bench.run(&Bench::echo(&backup, &redeemed)).code, 0);
    let waits = bench.token(&backup);
    redis.holds_backups_for(3600);
    let mut dying = bench.spawn(&["create-backup", "--instance-id", "orders", "--json"]);
    let file: PathBuf = bench.dir.path().join("state.jsonl");
    let path = file.to_str().unwrap();
    // While it runs it is told, and that it is at work.
    let exported = wait("the backup to run", Duration::from_secs(30), || {
        std::fs::remove_file(&file).ok();
        let exported = bench.json(&["state", "export", "--to", path]);
        exported["running"].as_array().is_some_and(|jobs| !jobs.is_empty()).then_some(exported)
    });
    assert_eq!((&exported["others"], &exported["running"][0]["kind"]), (&1.into(), &"backup".into()), "{exported}");
    dying.kill().unwrap();
    dying.wait().unwrap();
    redis.lets_backups_go_on();
    let before = std::fs::read(&file).unwrap();
    let again = bench.run(&["state", "export", "--to", path]);
    assert!(again.code == 3 && again.err.contains("state.export_exists"), "{again:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::remove_file(&file).unwrap();
    let told = bench.run(&["state", "export", "--to", path]);
    assert!(told.code == 0 && told.out.contains("runs: it comes over"), "{told:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let beside = std::fs::read_dir(bench.dir.path())
        .unwrap()
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(beside.count(), 0);

    bench.configure(&format!("state = \"{}\"\n\n{}", database.url(), unattended(&redis, "")));
    let damaged = bench.dir.path().join("cut");
    std::fs::write(&damaged, &before[..before.len() / 2]).unwrap();
    let refused = bench.run(&["state", "import", damaged.to_str().unwrap()]);
    assert!(refused.code == 6 && refused.err.contains("state.export_damaged"), "{refused:?}");
    let imported = bench.run(&["state", "import", path]);
    assert!(imported.code == 0 && imported.out.starts_with("Imported: "), "{imported:?}");
    let again = bench.run(&["state", "import", path]);
    assert!(again.code == 0 && again.out.contains("nothing was written"), "{again:?}");
    // Even under the key of before, which somebody may carry over by hand.
    let key = hex(&std::fs::read(bench.home().join("guard.key")).unwrap());
    for (own, code) in [(true, "confirm.wrong_key"), (false, "confirm.used")] {
        if !own {
            database.run(&format!("UPDATE keys SET key = '{key}' WHERE name = 'guard'"));
        }
        for token in [&redeemed, &waits] {
            let refused = bench.run(&Bench::echo(&backup, token));
            assert!(refused.code == 3 && refused.err.contains(code), "{refused:?}");
        }
    }
    let jobs = wait("the dead job to be reconciled", Duration::from_secs(40), || {
        Some(bench.jobs()).filter(|jobs| jobs.iter().all(|job| job["status"] != "running"))
    });
    let dead: Vec<&Value> = jobs.iter().filter(|job| job["code"] == "job.interrupted").collect();
    assert_eq!((dead.len(), text(&dead[0]["kind"])), (1, "backup".into()), "{jobs:?}");
    let audit = bench.run(&["audit", "--limit", "1000"]).out;
    assert!(audit.contains("redeemed") && audit.contains("state.imported"), "{audit}");
    let done = bench.restore(&backup);
    assert_eq!((done.code, redis.run(&["GET", "a"]).text().as_str()), (0, "1"), "{done:?}");
}
