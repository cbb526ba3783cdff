//! The ends of what was sent to the cloud: only a known one ends a job and lifts its fence, and one that nobody has seen is called so.

use crate::provider::cloud::{Cloud, ID, Ours, quick_polling, redis};
use crate::provider::cloud_faults::scene::hurried;
use crate::provider::cloud_replies::{attributes, server};
use crate::support::between::{Armed, Between, Trouble};
use crate::support::emulator::client_at;
use crate::support::http_server::Answer;
use crate::support::{Redis, Reply, wait};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::sqlite::SqlitePool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::job::{JobKind, JobStatus, RecoveryKind, StoredRecovery, Unfinished};
use tair_backup_mcp::provider::jobs::Jobs;
use tair_backup_mcp::provider::tair::polling::Polling;
use tair_backup_mcp::state::jobs::Begun;
use tair_backup_mcp::tools::restore_instance;
use tempfile::TempDir;

/// Whether somebody may write to a server.
fn is_writable(server: &Redis) -> bool {
    matches!(server.try_run(&["SET", "probe", "1"]).unwrap(), Reply::Text(_))
}

/// Bad answers to the looks at a running restore end nothing, whatever their codes: the job goes on to its end, and nobody writes
/// into the restore meanwhile.
#[test]
fn bad_answers_end_no_restore() {
    let server = redis(50);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    cloud.inject(&json!({"kind": "slow", "action": "RestoreInstance", "seconds": 6}));
    let job = ours.restoring(&json!({"instance_id": ID, "backup_id": set.id, "write_fence": true}), "BackupRecovering");
    let look = |kind: &str, code: &str, status: u16| json!({"kind": kind, "action": "DescribeInstanceAttribute", "code": code, "status": status});
    cloud.inject_all(&[
        look("error", "InvalidInstanceId.NotFound", 404),
        look("error", "Forbidden.RAM", 403),
        look("error", "Nobody.Knows", 400),
        look("error", "SystemError", 500),
        look("error", "InternalError", 500),
        json!({"kind": "cut", "action": "DescribeInstanceAttribute"}),
    ]);
    wait("the bad answers", Duration::from_secs(20), || {
        ours.pause();
        (cloud.emulator.left() == json!([])).then_some(())
    });
    assert_eq!(ours.job(&job.id).status, JobStatus::Running);
    assert!(!is_writable(&server), "the fence is down in the middle of the restore");
    let done = ours.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
    assert!(is_writable(&server));
}

/// A process that was taken for dead, and is not, lifts no fence at the end of its restore: another follows that, and the lock may be the next
/// restore's by then.
#[test]
fn a_restore_that_was_taken_over_lifts_no_fence() {
    let server = redis(50);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    cloud.inject(&json!({"kind": "slow", "action": "RestoreInstance", "seconds": 2}));
    let job = ours.restoring(&json!({"instance_id": ID, "backup_id": set.id, "write_fence": true}), "BackupRecovering");
    let file = ours.app.config.home.dir().join("state.db");
    ours.run(async {
        let pool = SqlitePool::connect(&format!("sqlite://{}", file.display())).await.unwrap();
        sqlx::query("UPDATE jobs SET owner = 'another' WHERE status = 'running'").execute(&pool).await.unwrap();
        pool.close().await;
    });
    ours.run(ours.provider().shut_down(false));
    assert_eq!(ours.job(&job.id).status, JobStatus::Running);
    assert!(!is_writable(&server), "the fence was lifted by a process whose job it is not");
}

/// A restore whose call never arrived, or whose reply was lost before anything was done, is uncertain, which is an end of its own: it
/// says what to look at. Its fence stays for as long as the restore may still be queued, and goes down at a look after that.
#[test]
fn an_effect_never_seen_is_uncertain() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    // It counts as queued for ten times as long.
    let soon = Polling { visibility_delay: Duration::from_millis(600), ..quick_polling() };
    let ours = Ours::polling(cloud.emulator.client(), Arc::new(TempDir::new().unwrap()), 1e9, soon);
    let set = ours.backup(ID);
    cloud.inject(&json!({"kind": "cut", "action": "RestoreInstance"}));
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    let (_, done) = ours.guarded(&args, restore_instance::run);
    assert_eq!(
        (done["status"].as_str(), done["code"].as_str()),
        (Some("uncertain"), Some("cloud.uncertain")),
        "{done:#}"
    );
    assert!(done["hint"].as_str().unwrap().contains("data"), "{done:#}");
    let job =
        ours.run(ours.app.state.jobs(Some(ID))).unwrap().into_iter().find(|j| j.kind == JobKind::Restore).unwrap();
    assert_eq!((job.status, job.rollback_pending), (JobStatus::Uncertain, true), "{job:?}");
    ours.assert_audited(&job, ["restore.started", "restore.uncertain"]);
    assert!(!is_writable(&server), "the fence went down on an end that nobody knows");
    ours.run(ours.provider().recover()).unwrap();
    let looked = ours.job(&job.id);
    let since = Timestamp::now().duration_since(job.created_at);
    assert!(
        since < SignedDuration::from_secs(6),
        "this machine is too slow to look before the time is over: {since:?}"
    );
    assert!(looked.rollback_pending && looked.stage.contains("may still begin to be restored"), "{looked:?}");
    assert!(!is_writable(&server), "the fence went down while the restore may be queued");
    let job = wait("the fence to go down", Duration::from_secs(20), || {
        ours.run(ours.provider().recover()).unwrap();
        Some(ours.job(&job.id)).filter(|job| !job.rollback_pending)
    });
    assert_eq!(job.status, JobStatus::Uncertain, "{job:?}");
    assert!(job.message.contains("writes are unlocked"), "{job:?}");
    assert!(is_writable(&server));
}

/// An instance of which the cloud says steadily that there is none is followed no longer, with an end that says so; and its fence is up no longer.
#[test]
fn an_instance_that_is_gone_is_an_end() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let line = Between::start(cloud.emulator.port);
    let long =
        Polling { restore_timeout: Duration::from_secs(40), ready_timeout: Duration::from_secs(10), ..hurried() };
    let ours = Ours::polling(client_at(line.port), Arc::new(TempDir::new().unwrap()), 1e9, long);
    let set = ours.backup(ID);
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    let (action, trouble) = ("DescribeInstanceAttribute".into(), Trouble::Refused("InvalidInstanceId.NotFound", 404));
    line.arm(Armed { action, trouble, times: u32::MAX, after: Some("RestoreInstance") });
    let (_, done) = ours.guarded(&args, restore_instance::run);
    assert_eq!((&done["status"], &done["code"]), (&json!("uncertain"), &json!("cloud.uncertain")), "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("released"), "{done:#}");
    let id = done["job_id"].as_str().unwrap();
    assert!(ours.job(id).rollback_pending);
    ours.run(ours.provider().recover()).unwrap();
    let job = ours.job(id);
    assert!(!job.rollback_pending && job.message.contains("no write lock is left"), "{job:?}");
}

/// That an instance is gone, and its fence with it, is known only to whoever reaches the account and region of the restore. One that is down may
/// be in the middle of the restore, and keeps its fence.
#[test]
fn of_an_instance_that_is_gone_no_fence_is_left() {
    for (shows, bound, is_over) in [
        ("gone", true, true),
        ("none", true, true),
        ("Released", true, true),
        ("gone", false, false),
        ("Unavailable", true, false),
    ] {
        let unlocked = Arc::new(AtomicBool::new(false));
        let unlocks = Arc::clone(&unlocked);
        let (port, _running) = server(move |seen| match (seen.action(), shows) {
            ("DescribeInstanceAttribute", "gone") => Answer::error(404, "InvalidInstanceId.NotFound"),
            ("DescribeInstanceAttribute", "none") => {
                Answer::cloud(json!({"Instances": {"DBInstanceAttribute": []}}).to_string())
            }
            ("DescribeInstanceAttribute", status) => {
                let mut body = attributes(false, &seen.param("RegionId").unwrap());
                body["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"] = status.into();
                Answer::cloud(body.to_string())
            }
            _ => {
                unlocks.store(true, Ordering::SeqCst);
                Answer::cloud("{}")
            }
        });
        let ours = Ours::polling(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9, hurried());
        let (jobs, state) = (Jobs::new("tair", Arc::clone(&ours.app.state)), Arc::clone(&ours.app.state));
        let jobs = if bound { jobs.at(ours.run(client_at(port).access()).unwrap()) } else { jobs };
        let record = json!({"fence": true, "sent_at": null, "taken": false, "keys_before": null, "back": ""});
        let stored = StoredRecovery { kind: RecoveryKind::CloudRestore, json: record.to_string() };
        let begun = jobs.begin(JobKind::Restore, "r-1", "", "local", None, |job| async move {
            state.save_recovery(&job.id, &stored).await?;
            let unknown = Fault::new(Kind::Uncertain, "cloud.uncertain", "nobody knows");
            Err(Unfinished::RollbackPending(unknown))
        });
        let Begun::Started(job) = ours.run(begun).unwrap() else { panic!("joined") };
        assert!(ours.ended(&job.id).rollback_pending);
        ours.run(ours.provider().recover()).unwrap();
        let job = ours.job(&job.id);
        assert_eq!(job.rollback_pending, !is_over, "{shows} {bound}: {job:?}");
        assert_eq!(job.message.contains("no write lock is left"), is_over, "{shows} {bound}: {job:?}");
        assert!(!unlocked.load(Ordering::SeqCst), "{shows} {bound}: unlocked");
    }
}

/// A lock of which it is not known whether it took hold is asked for again; where it stays unknown nothing is overwritten, and what
/// may have been locked is unlocked.
#[test]
fn a_lock_that_is_not_known_is_no_fence() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    server.run(&["SET", "newer", "x"]);
    let now = server.digest();
    let lost = |times: u32| json!({"kind": "error_after", "action": "LockDBInstanceWrite", "code": "SystemError", "status": 500, "times": times});
    cloud.inject(&lost(3));
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    let (_, done) = ours.guarded(&args, restore_instance::run);
    assert_eq!(
        (done["status"].as_str(), done["code"].as_str()),
        (Some("failed"), Some("restore.fence_broken")),
        "{done:#}"
    );
    assert_eq!(server.digest(), now, "it was overwritten without its fence");
    assert!(is_writable(&server), "it stays locked");
    // What the probe wrote may come to the monitor between a plan and its confirmation.
    let guarded = || {
        wait("a plan that knows of the probe", Duration::from_secs(30), || {
            Some(ours.guarded(&args, restore_instance::run).1).filter(|done| done["status"] != "plan_changed")
        })
    };
    cloud.inject(&lost(1));
    let done = guarded();
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert!(is_writable(&server));
    // A refusal has locked nothing, and somebody else's lock is not ours to lift.
    cloud.emulator.call("LockDBInstanceWrite", &[("DBInstanceId", ID)]).ok();
    cloud.inject(&json!({"kind": "error", "action": "LockDBInstanceWrite", "code": "IncorrectDBInstanceLockMode"}));
    let done = guarded();
    assert_eq!(done["code"], "cloud.instance_locked", "{done:#}");
    assert!(!is_writable(&server), "somebody else's lock was lifted");
}

/// Bad answers to the looks at a running backup end nothing either.
#[test]
fn bad_answers_end_no_backup() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 3}));
    let (job, _) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    let bad = |action: &str, code: &str| json!({"kind": "error", "action": action, "code": code});
    cloud.inject_all(&[
        bad("DescribeBackupTasks", "InvalidInstanceId.NotFound"),
        bad("DescribeBackupTasks", "Nobody.Knows"),
        bad("DescribeBackups", "Forbidden.RAM"),
        bad("DescribeBackups", "Nobody.Knows"),
    ]);
    let done = ours.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
}
