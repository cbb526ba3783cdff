//! The write fence of a restore in the cloud: its lock and its unlocking are tasks, which are awaited, and a look at the tasks that fails
//! or lags is none.

use crate::provider::cloud::{Cloud, ID, Ours, redis};
use crate::provider::cloud_faults::agree::is_writable;
use crate::provider::cloud_faults::scene::hurried;
use crate::support::between::{Armed, Between, Trouble};
use crate::support::emulator::client_at;
use crate::support::{Redis, wait};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tair_backup_mcp::model::job::{Job, JobKind};
use tair_backup_mcp::provider::tair::polling::Polling;
use tair_backup_mcp::tools::restore_instance;
use tempfile::TempDir;

const TASKS: &str = "DescribeHistoryTasks";
/// The task centre fails for a while.
const FAILS: Trouble = Trouble::Refused("SystemError", 500);

/// An instance with a set and newer data, our side, and the line between them.
struct Scene {
    server: Redis,
    cloud: Cloud,
    line: Between,
    ours: Ours,
    set: String,
    newer: String,
}

impl Scene {
    fn new() -> Self {
        let server = redis(20);
        let cloud = Cloud::start(&[(ID, &server, "")]);
        let line = Between::start(cloud.emulator.port);
        let ours = Ours::behind(client_at(line.port), Arc::new(TempDir::new().unwrap()), 1e9);
        let set = ours.backup(ID).id;
        server.run(&["SET", "newer", "x"]);
        let newer = server.digest();
        Self { server, cloud, line, ours, set, newer }
    }

    fn restore(&self) -> Value {
        let args = json!({"instance_id": ID, "backup_id": self.set, "write_fence": true});
        self.ours.guarded(&args, restore_instance::run).1
    }

    fn slow(&self, action: &str, seconds: u64) {
        self.cloud.inject(&json!({"kind": "slow", "action": action, "seconds": seconds}));
    }

    /// So many looks at the tasks come to nothing, from when that action was sent.
    fn no_looks(&self, trouble: Trouble, times: u32, after: Option<&'static str>) {
        self.line.arm(Armed { action: TASKS.into(), trouble, times, after });
    }

    /// The task centre's list as it is now, which is what a stale look shows.
    fn keep_list(&self) {
        self.line.forget();
        let now = self.ours.run(self.line_tasks());
        assert!(now.is_empty(), "{now:?}");
    }

    async fn line_tasks(&self) -> Vec<tair_backup_mcp::tair::wire::settings::HistoryTask> {
        use tair_backup_mcp::tair::wire::{Second, settings::DescribeHistoryTasks};
        let (now, hour) = (jiff::Timestamp::now(), jiff::SignedDuration::from_hours(1));
        let ask = DescribeHistoryTasks {
            region_id: None,
            from_start_time: Second(now - hour),
            to_start_time: Second(now + hour),
            instance_id: Some(ID.into()),
            task_id: None,
            task_type: None,
            status: None,
            page_number: None,
            page_size: None,
        };
        client_at(self.line.port).list(&ask).await.unwrap()
    }

    /// The job of the restore.
    fn job(&self) -> Job {
        let jobs = self.ours.run(self.ours.app.state.jobs(Some(ID))).unwrap();
        jobs.into_iter().find(|job| job.kind == JobKind::Restore).unwrap()
    }

    /// What the last look at the tasks before the call for the restore showed, by the task's status.
    fn seen_before_the_restore(&self) -> Vec<String> {
        let calls = self.line.calls();
        let sent = calls.iter().position(|call| call.action == "RestoreInstance").expect("no restore was sent");
        let look = calls[..sent].iter().rfind(|call| call.action == TASKS).expect("nobody looked");
        let rows = look.answered.as_ref().unwrap().1["Items"].as_array().unwrap();
        rows.iter().map(|row| row["Status"].as_str().unwrap().to_owned()).collect()
    }
}

/// Nothing is overwritten before the cloud says that writes are locked: not where its task centre fails meanwhile, and not where it lists the
/// task late.
#[test]
fn a_lock_is_awaited() {
    for late in [false, true] {
        let scene = Scene::new();
        scene.slow("LockDBInstanceWrite", 4);
        if late {
            scene.keep_list();
            scene.no_looks(Trouble::Stale, 6, None);
        } else {
            // Six looks, each of which is tried three times.
            scene.no_looks(FAILS, 18, None);
        }
        let done = scene.restore();
        assert_eq!(done["status"], "succeeded", "late {late}: {done:#}");
        assert_eq!(scene.seen_before_the_restore(), ["Succeed"], "late {late}");
        assert!(!done.to_string().contains("was not seen"), "late {late}: {done:#}");
        assert!(is_writable(&scene.server), "late {late}");
    }
}

/// A lock that the cloud could not make is no fence: nothing is overwritten, and nothing stays locked.
#[test]
fn a_lock_that_fails_is_no_fence() {
    let scene = Scene::new();
    scene.cloud.inject(&json!({"kind": "task_fails", "action": "LockDBInstanceWrite"}));
    let done = scene.restore();
    assert_eq!((&done["status"], &done["code"]), (&json!("failed"), &json!("restore.fence_broken")), "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("could not lock"), "{done:#}");
    assert_eq!(scene.server.digest(), scene.newer);
    assert!(is_writable(&scene.server));
}

/// A lock that takes longer than anybody waits for is lifted when it is there at last: unlocked before, it would come behind and stay.
#[test]
fn a_lock_that_comes_too_late_does_not_stay() {
    let scene = Scene::new();
    let home = Arc::new(TempDir::new().unwrap());
    let ours = Ours::polling(client_at(scene.line.port), home, 1e9, hurried());
    let scene = Scene { ours, ..scene };
    scene.slow("LockDBInstanceWrite", 6);
    let done = scene.restore();
    assert_eq!((&done["status"], &done["code"]), (&json!("failed"), &json!("restore.still_locked")), "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("nothing was overwritten"), "{done:#}");
    let unlocks = || scene.line.calls().iter().filter(|call| call.action == "UnlockDBInstanceWrite").count();
    assert_eq!(unlocks(), 0, "unlocked before the lock was there");
    wait("the fence to be lifted", Duration::from_secs(30), || {
        scene.ours.run(scene.ours.provider().recover()).unwrap();
        scene.ours.pause();
        (!scene.job().rollback_pending).then_some(())
    });
    assert!(is_writable(&scene.server), "{:?}", scene.job());
    assert!(unlocks() > 0);
    scene.server.run(&["DEL", "probe"]);
    assert_eq!(scene.server.digest(), scene.newer);
}

/// A lock whose reply was lost may take effect late, behind the unlocking: it does not stay. Nor does that of a process that died before it had
/// the reply.
#[test]
fn a_lock_that_was_lost_does_not_stay() {
    const UNLOCK: &str = "UnlockDBInstanceWrite";
    for dies in [false, true] {
        let scene = Scene::new();
        let (trouble, times) = if dies { (Trouble::Dies, 1) } else { (Trouble::Cut, 3) };
        scene.line.arm(Armed { action: "LockDBInstanceWrite".into(), trouble, times, after: None });
        let Scene { server, cloud, line, ours, set, newer } = scene;
        let ended = std::thread::scope(|scope| {
            let late = scope.spawn(|| {
                wait("writes to be let in", Duration::from_secs(60), || {
                    line.calls().iter().any(|call| call.action == UNLOCK && call.was_done()).then_some(())
                });
                cloud.emulator.call("LockDBInstanceWrite", &[("DBInstanceId", ID)]).ok();
            });
            let mut args = json!({"instance_id": ID, "backup_id": set, "write_fence": true});
            let plan = ours.tool(&args, restore_instance::run).unwrap();
            args["confirmation_token"] = plan["confirmation_token"].clone();
            let came = wait("the safety backup", Duration::from_secs(60), || {
                let came = ours.tool_until(line.death(), &args, restore_instance::run).map(Result::unwrap);
                Some(came).filter(|came| came.as_ref().is_none_or(|done| done["status"] != "prechecks_pending"))
            });
            assert_eq!(came.is_none(), dies, "{came:?}");
            let ours = if dies {
                line.calm();
                let next = Ours::behind(client_at(line.port), ours.killed(), 1e9);
                next.run(next.provider().recover()).unwrap();
                next
            } else {
                ours
            };
            let jobs = ours.run(ours.app.state.jobs(Some(ID))).unwrap();
            let ended = ours.ended(&jobs.into_iter().find(|job| job.kind == JobKind::Restore).unwrap().id);
            late.join().unwrap();
            ended
        });
        assert!(is_writable(&server), "dies {dies}: {ended:?}");
        let code = if dies { "job.interrupted" } else { "restore.fence_broken" };
        assert_eq!(ended.code, code, "{ended:?}");
        server.run(&["DEL", "probe"]);
        assert_eq!(server.digest(), newer);
    }
}

/// A restore has not ended before the cloud says that writes are let in again: not where its task centre fails meanwhile, and not where it
/// lists the task late.
#[test]
fn unlocking_is_read_back() {
    for late in [false, true] {
        let scene = Scene::new();
        scene.slow("UnlockDBInstanceWrite", 4);
        if late {
            scene.keep_list();
        }
        let trouble = if late { Trouble::Stale } else { FAILS };
        scene.no_looks(trouble, if late { 6 } else { 18 }, Some("UnlockDBInstanceWrite"));
        let done = scene.restore();
        assert!(is_writable(&scene.server), "late {late}: still locked at the end: {done:#}");
        assert_eq!(done["status"], "succeeded", "late {late}: {done:#}");
        assert!(!done.to_string().contains("was not seen"), "late {late}: {done:#}");
    }
}

/// Where the cloud could not unlock, the job says that writes are locked, and the next look tries again.
#[test]
fn unlocking_that_fails_is_tried_again() {
    let scene = Scene::new();
    scene.cloud.inject(&json!({"kind": "task_fails", "action": "UnlockDBInstanceWrite"}));
    let done = scene.restore();
    assert_eq!((&done["status"], &done["code"]), (&json!("failed"), &json!("restore.still_locked")), "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("the restore worked"), "{done:#}");
    assert!(!is_writable(&scene.server) && scene.job().rollback_pending);
    scene.ours.run(scene.ours.provider().recover()).unwrap();
    assert!(is_writable(&scene.server) && !scene.job().rollback_pending, "{:?}", scene.job());
}

/// An instance that is down for some looks in the middle of its restore is not lost. Of one that stays down nobody knows what goes on in it, and
/// nobody writes into it.
#[test]
fn an_instance_that_is_down_may_come_back() {
    let says = |status, times| Armed {
        action: "DescribeInstanceAttribute".into(),
        trouble: Trouble::Status(status),
        times,
        after: Some("RestoreInstance"),
    };
    let scene = Scene::new();
    scene.slow("RestoreInstance", 4);
    scene.line.arm(says("Unavailable", 6));
    let done = scene.restore();
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert!(is_writable(&scene.server));
    let long =
        Polling { restore_timeout: Duration::from_secs(40), ready_timeout: Duration::from_secs(10), ..hurried() };
    let ours = Ours::polling(client_at(scene.line.port), Arc::new(TempDir::new().unwrap()), 1e9, long);
    scene.line.forget();
    scene.line.arm(says("Inactive", u32::MAX));
    let args = json!({"instance_id": ID, "backup_id": scene.set, "write_fence": true});
    let done = wait("a plan that knows of the probe", Duration::from_secs(30), || {
        Some(ours.guarded(&args, restore_instance::run).1).filter(|done| done["status"] != "plan_changed")
    });
    assert_eq!((&done["status"], &done["code"]), (&json!("uncertain"), &json!("cloud.uncertain")), "{done:#}");
    assert!(done["message"].as_str().unwrap().contains("became Inactive"), "{done:#}");
    assert!(!is_writable(&scene.server) && ours.job(done["job_id"].as_str().unwrap()).rollback_pending, "{done:#}");
    let looks = scene.line.calls().iter().filter(|call| call.struck.is_some()).count();
    assert!(looks > 6, "given up after {looks} looks");
}

/// A cloud that shows no task of locks leaves the restore possible, and the job says what was not seen.
#[test]
fn what_was_not_seen_of_the_fence_is_said() {
    for trouble in [Trouble::Stale, Trouble::Refused("Forbidden.RAM", 403)] {
        let scene = Scene::new();
        scene.keep_list();
        scene.no_looks(trouble, u32::MAX, None);
        let done = scene.restore();
        assert_eq!(done["status"], "succeeded", "{done:#}");
        for unseen in ["when writes were refused was not seen", "when writes were let in was not seen"] {
            assert!(done.to_string().contains(unseen), "{unseen}: {done:#}");
        }
        assert!(is_writable(&scene.server));
    }
}
