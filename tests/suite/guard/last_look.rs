//! Changes between plan, yes and act: the facts of the plan are read again, and a plan that no longer holds is stopped before
//! anything is touched.

use crate::guard::flow::{Silent, app, plan};
use crate::guard::way_back::{data_of, flip};
use crate::support::{Bench, Redis, Reply, finish, text, unattended, wait, write_over};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tair_backup_mcp::guard::assess::Assessment;
use tair_backup_mcp::guard::facts::look::{CutoverLook, TailLook};
use tair_backup_mcp::guard::ledger::{Confirmation, ConfirmationStatus};
use tair_backup_mcp::guard::permit;
use tair_backup_mcp::guard::person::{Answer, Channel, typed_answer};
use tair_backup_mcp::guard::plan::Plan;
use tair_backup_mcp::guard::preconditions::{DirectPreconditions, Others, Preconditions};
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::guard::writes::{Streamed, Writes};
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::caller::Caller;
use tair_backup_mcp::model::job::JobStatus;
use tair_backup_mcp::model::restore::Method;
use tair_backup_mcp::provider::Carried;
use tair_backup_mcp::tools::{self, App, Asked, Outcome, Person, ToolCall};

/// A second assessment of the plan's act, with these preconditions.
fn again(plan: &Plan, preconditions: Preconditions) -> Assessment {
    Assessment {
        address: plan.address.clone(),
        checks: Vec::new(),
        preconditions,
        writes: plan.writes,
        needs_safety_backup: true,
        impact: plan.impact.clone(),
        details: plan.details.clone(),
        alternative: None,
    }
}

/// A changed precondition of a plan is noticed and named; and so is a write.
#[test]
fn every_precondition_that_changes_is_named() {
    let plan = plan();
    let Preconditions::DirectRestore(was) = plan.preconditions.clone() else { panic!("a restore") };
    let changes = |now: DirectPreconditions| plan.changes(&again(&plan, Preconditions::DirectRestore(now)), plan.rules);
    assert_eq!(changes(was.clone()), Vec::<String>::new());
    let other = || "another".to_owned();
    let moved = [
        ("address", DirectPreconditions { address: other(), ..was.clone() }),
        ("run_id", DirectPreconditions { run_id: other(), ..was.clone() }),
        ("replication id", DirectPreconditions { replication_id: other(), ..was.clone() }),
        ("slots", DirectPreconditions { slots: other(), ..was.clone() }),
        ("checksum", DirectPreconditions { sha256: other(), ..was.clone() }),
        ("file", DirectPreconditions { stored_digest: other(), ..was.clone() }),
    ];
    for (name, now) in moved {
        let changes = changes(now);
        assert!(changes.len() == 1 && changes[0].contains("is another") && changes[0].contains(name), "{changes:?}");
    }
    for name in [
        DirectPreconditions { run_id: String::new(), ..was.clone() },
        DirectPreconditions { sha256: String::new(), ..was.clone() },
    ] {
        assert_eq!(changes(name).len(), 1, "one is gone");
    }
    let commands = changes(DirectPreconditions { method: Method::Commands, ..was.clone() });
    assert!(commands.len() == 1 && commands[0].contains("is commands"), "{commands:?}");
    let kind = Preconditions::VaultDeletion { sha256: was.sha256.clone(), mode: "manual".into(), others: Others::Some };
    assert_eq!(plan.changes(&again(&plan, kind), plan.rules).len(), 1);
    let mut written = again(&plan, plan.preconditions.clone());
    written.writes = written.writes.map(|w| Writes { calls: w.calls + 1, offset: None, streamed: None, ..w });
    assert_eq!(plan.changes(&written, plan.rules).len(), 1);
    let rules = Rules { max_writes_per_second: Some(1.0), ..plan.rules };
    assert_eq!(plan.changes(&again(&plan, plan.preconditions.clone()), rules).len(), 1);
}

/// The look at the cutover, by whichever way: the stream read to that very moment, no write where none was told of, no more than the
/// operator allows, and nobody else in what was loaded beside.
#[test]
fn the_look_at_the_cutover() {
    let (none, limit) = (plan(), Some(10.0));
    let Preconditions::DirectRestore(was) = none.preconditions.clone() else { panic!("a restore") };
    let traffic = |traffic| none.writes.map(|writes| Writes { traffic, ..writes });
    let none = Plan { writes: traffic(false), ..none.clone() };
    let rules = |max_writes_per_second| Rules { max_writes_per_second, ..none.rules };
    let told = Plan { writes: traffic(true), rules: rules(None), ..plan() };
    let allowed = Plan { rules: rules(limit), ..told.clone() };
    let look = |change: &dyn Fn(&mut TailLook)| {
        let since = Timestamp::UNIX_EPOCH;
        let mut tail = TailLook {
            replication_id: was.replication_id.clone(),
            reached: 500,
            seen: Streamed::default(),
            own_removals: 9,
            called: 0,
            since,
            until: since.saturating_add(Duration::from_secs(4)).unwrap(),
            foreign: 0,
            lost: None,
        };
        change(&mut tail);
        let (run_id, replication_id) = (was.run_id.clone(), was.replication_id.clone());
        CutoverLook { run_id, replication_id, offset: 500, tail: Some(tail) }
    };
    let wrote = |writes, removals| move |tail: &mut TailLook| tail.seen = Streamed { writes, removals };
    for (plan, seen, refused) in [
        (&none, look(&|_| ()), None),
        (&none, look(&wrote(0, 9)), None),
        (&none, look(&|tail| (tail.seen.removals, tail.own_removals) = (9, 0)), Some("9 write commands")),
        (&none, look(&wrote(1, 0)), Some("1 write commands came behind the safety backup, and the plan told of none")),
        (&none, look(&|tail| tail.called = 2), Some("2 write commands were called since the safety backup")),
        (&told, look(&|tail| tail.called = 2), None),
        (&told, look(&wrote(9000, 0)), None),
        (&allowed, look(&wrote(40, 0)), None),
        (&allowed, look(&wrote(41, 0)), Some("10.2 a second; the operator allows 10")),
        (&told, look(&|tail| tail.reached = 499), Some("read to 499, the instance is at 500")),
        (&told, look(&|tail| tail.foreign = 1), Some("1 commands of somebody else")),
        // What is not kept matters where it has a write.
        (
            &told,
            look(&|tail| (tail.seen.writes, tail.lost) = (3, Some("no room".into()))),
            Some("not all of them are kept: no room"),
        ),
        (&told, look(&|tail| tail.lost = Some("no room".into())), None),
    ] {
        match (plan.cutover_look(&seen), refused) {
            (Ok(()), None) => {}
            (Err(fault), Some(why)) => assert!(fault.message.contains(why), "{why}: {}", fault.message),
            (found, _) => panic!("{found:?}: {seen:?}"),
        }
    }
}

/// A server that restarted, failed over or was written to between the two calls is not the server of the plan.
#[test]
fn a_server_that_is_another_by_now() {
    let mut redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "marker", "written since"]);
    // The backup's child may still be ending.
    wait("a save", Duration::from_secs(10), || {
        (redis.try_run(&["SAVE"]).unwrap() == Reply::Text("OK".into())).then_some(())
    });
    for what in ["restart", "failover", "write"] {
        let token = bench.token(&backup);
        match what {
            "restart" => redis.restart(),
            "failover" => drop(redis.run(&["DEBUG", "CHANGE-REPL-ID"])),
            _ => drop(redis.run(&["SET", "marker", "again"])),
        }
        let before = redis.digest();
        let void = bench.run(&Bench::echo(&backup, &token));
        assert_eq!((void.code, &void.json()["code"]), (3, &"plan.changed".into()), "{what}: {void:?}");
        assert_eq!(redis.digest(), before, "{what}");
        let again = bench.run(&Bench::echo(&backup, &token));
        assert_eq!(again.json()["code"], "confirm.superseded", "{what}: {again:?}");
    }
}

/// The last look is right before the switch: a write after the yes is noticed even though the token is redeemed by then.
#[tokio::test]
async fn a_write_after_the_yes_stops_the_restore() {
    for way in ["auto", "commands"] {
        let redis = Redis::start("redis-7.0", &[]);
        redis.fill(0, 1);
        let bench = Bench::new(&unattended(&redis, &format!("restore_way = \"{way}\"")));
        let backup = bench.backup();
        let token = bench.token(&backup);
        let app = app(&bench);
        let open = app.state.waiting().await.unwrap().remove(0);
        let Answer::Yes(yes) = typed_answer(&open.plan, "orders", Channel::Terminal) else { panic!("a yes") };
        let permit = permit::redeem(app.state.as_ref(), &open, yes).await.unwrap();
        redis.run(&["SET", "marker", "written after the yes"]);
        let before = redis.digest();
        let Carried::Job(job) = app.provider.carry_out(permit).await.unwrap() else { panic!("a job") };
        app.provider.shut_down(false).await;
        let ended = app.state.job(&job.id).await.unwrap();
        assert_eq!((ended.status, ended.code.as_str()), (JobStatus::Failed, "plan.changed"), "{way}: {ended:?}");
        assert!(ended.message.contains("not touched"), "{ended:?}");
        assert_eq!(redis.digest(), before, "{way}");
        assert_eq!(bench.run(&Bench::echo(&backup, &token)).json()["code"], "confirm.used");
    }
}

/// The file of the planned backup is another one by the time that the permitted job begins, a whole one or a damaged one: nothing of it is
/// sent, and the target keeps its data and its role.
#[tokio::test]
async fn another_file_of_the_backup_stops_the_restore() {
    for whole in [true, false] {
        let redis = Redis::start("redis-7.0", &[]);
        redis.fill(0, 1);
        let bench = Bench::new(&unattended(&redis, ""));
        let backup = bench.backup();
        redis.run(&["SET", "marker", "written since"]);
        let (other, before) = (bench.backup(), redis.digest());
        bench.token(&backup);
        let app = app(&bench);
        let open = app.state.waiting().await.unwrap().remove(0);
        let Answer::Yes(yes) = typed_answer(&open.plan, "orders", Channel::Terminal) else { panic!("a yes") };
        let permit = permit::redeem(app.state.as_ref(), &open, yes).await.unwrap();
        let file = data_of(&bench, &backup);
        if whole {
            write_over(&file, std::fs::read(data_of(&bench, &other)).unwrap());
        } else {
            flip(&file);
        }
        let Carried::Job(job) = app.provider.carry_out(permit).await.unwrap() else { panic!("a job") };
        app.provider.shut_down(false).await;
        let ended = app.state.job(&job.id).await.unwrap();
        assert_eq!((ended.status, ended.code.as_str()), (JobStatus::Failed, "backup.damaged"), "{ended:?}");
        assert_eq!((redis.digest(), redis.info("role").as_str()), (before, "master"), "{ended:?}");
    }
}

/// A person whose answer takes long enough for somebody else to begin a backup.
struct Slow<'a> {
    app: &'a App,
}

#[async_trait]
impl Person for Slow<'_> {
    fn puts_the_question(&self) -> bool {
        true
    }

    async fn ask(&self, open: &Confirmation, _: &str) -> Asked {
        self.app.provider.create_backup("orders", Mode::Manual, "meanwhile", None, "local").await.unwrap();
        Asked::Answered(typed_answer(&open.plan, "orders", Channel::Elicitation))
    }
}

async fn restore(app: &App, person: &dyn Person, arguments: Value) -> Value {
    let call = ToolCall { app, caller: &Caller::mcp(), person, progress: &Silent };
    match tools::run(&call, "restore_instance", arguments).await {
        Ok(Outcome::Reply { json, .. }) => json,
        Ok(Outcome::AskPerson { .. }) => panic!("nobody defers here"),
        Err(fault) => json!({ "code": fault.code, "message": fault.message }),
    }
}

/// A backup that begins while the person thinks does not cost their yes: the token stays good until the instance is idle.
#[tokio::test]
async fn a_busy_instance_does_not_burn_the_token() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let backup = bench.backup();
    let good = redis.digest();
    redis.run(&["SET", "marker", "written since"]);
    let app = app(&bench);
    let slow = Slow { app: &app };
    let planned = restore(&app, &slow, json!({ "instance_id": "orders", "backup_id": backup })).await;
    redis.holds_backups_for(3600);
    let token = text(&planned["confirmation_token"]);
    let echo = json!({ "instance_id": "orders", "backup_id": backup, "confirmation_token": token });
    let pending = restore(&app, &slow, echo.clone()).await;
    assert_eq!(
        (&pending["status"], &pending["confirmation_token"]),
        (&"prechecks_pending".into(), &token.as_str().into()),
        "{pending}"
    );
    assert!(text(&pending["message"]).contains("backup job"), "{pending}");
    redis.lets_backups_go_on();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while app.state.jobs(None).await.unwrap().iter().any(|j| j.status == JobStatus::Running) {
        assert!(std::time::Instant::now() < deadline, "the backup does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(redis.digest(), good);
    let typist = crate::guard::flow::Typist { typed: "orders", asked: 0.into() };
    let done = restore(&app, &typist, echo).await;
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(redis.digest(), good);
}

/// A person who says yes after somebody has removed all that would undo the restore.
struct Without<'a> {
    bench: &'a Bench,
    safety: &'a str,
}

#[async_trait]
impl Person for Without<'_> {
    fn puts_the_question(&self) -> bool {
        true
    }

    async fn ask(&self, open: &Confirmation, _: &str) -> Asked {
        std::fs::remove_dir_all(self.bench.home().join("vault/orders").join(self.safety)).unwrap();
        Asked::Answered(typed_answer(&open.plan, "orders", Channel::Elicitation))
    }
}

/// A restore whose safety backup is removed while the question is open does not begin: nothing could undo it. A yes at a terminal to that plan does
/// not keep a new one from being made, which takes another.
#[tokio::test]
async fn a_safety_backup_that_is_removed_meanwhile() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::new(&format!("[[instance]]\nid = \"orders\"\nurl = \"{}\"\n", redis.url()));
    let backup = bench.backup();
    redis.run(&["SET", "marker", "written since"]);
    let before = redis.digest();
    let app = app(&bench);
    let nobody = crate::guard::flow::Typist { typed: "", asked: 0.into() };
    let planned = restore(&app, &nobody, json!({ "instance_id": "orders", "backup_id": backup })).await;
    let token = text(&planned["confirmation_token"]);
    let safety = app.state.waiting().await.unwrap().remove(0).plan.safety.unwrap().backup_id;
    let echo = json!({ "instance_id": "orders", "backup_id": backup, "confirmation_token": token });
    let stopped = restore(&app, &Without { bench: &bench, safety: &safety }, echo).await;
    assert_eq!((&stopped["status"], &stopped["code"]), (&"blocked".into(), &"precheck.blocked".into()), "{stopped}");
    assert!(text(&stopped["message"]).contains("safety_backup"), "{stopped}");
    let open = app.state.waiting().await.unwrap().remove(0);
    let (from, to) = (ConfirmationStatus::Open, ConfirmationStatus::Approved);
    assert!(app.state.transition(&open.nonce, &[from], to).await.unwrap());
    let anew = restore(&app, &nobody, json!({ "instance_id": "orders", "backup_id": backup })).await;
    assert_eq!(
        (&anew["status"], &anew["plan"]["supersedes"]),
        (&"confirmation_required".into(), &"approved".into()),
        "{anew}"
    );
    assert_ne!(anew["plan"]["safety_backup_id"], safety.as_str(), "{anew}");
    assert_eq!(redis.digest(), before);
}

/// With a replica configured as the source, backups come from the replica, and restore; but no such backup counts as a
/// safety backup, for a replica may lag: that one is taken from the instance itself.
#[test]
fn a_replicas_backup_is_no_safety_backup() {
    let master = Redis::start("redis-7.0", &[]);
    master.fill(0, 1);
    let replica = Redis::start("redis-7.0", &["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    wait("the replica", Duration::from_secs(30), || (replica.info("master_link_status") == "up").then_some(()));
    let bench = Bench::new(&unattended(&master, &format!("backup_from = \"{}\"", replica.url())));
    let synced = || (master.info("sync_full"), replica.info("sync_full"));
    let before = synced();
    let backup = bench.backup();
    assert_eq!(synced(), (before.0.clone(), "1".into()), "captured from the replica, not from its master");
    let good = master.digest();
    // Nothing was written since, and yet a backup of its own is taken.
    let planned = bench.ask(&backup).json();
    let safety = planned["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "safety_backup").unwrap();
    assert!(text(&safety["detail"]).contains("taken for this plan"), "{safety}");
    assert_ne!(synced().0, before.0, "captured from the instance itself");
    // That one is fresh, and is used again.
    let again = bench.ask(&backup).json();
    let reused = again["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "safety_backup").unwrap();
    assert!(text(&reused["detail"]).contains("used again"), "{reused}");
    master.run(&["FLUSHALL"]);
    let done = bench.restore(&backup);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(master.digest(), good);
}

/// A backup whose process died is not joined, also by a server that has been running all along.
#[tokio::test]
async fn a_dead_process_backup_is_not_joined() {
    let redis = Redis::start("redis-7.0", &["--repl-diskless-sync-delay", "3"]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let app = app(&bench);
    let mut dying = bench.spawn(&["create-backup", "--instance-id", "orders"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while app.state.jobs(None).await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "no job begins");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    dying.kill().unwrap();
    finish(dying);
    let (job, joined) = app.provider.create_backup("orders", Mode::Manual, "", None, "local").await.unwrap();
    assert!(!joined, "{job:?}");
    app.provider.shut_down(false).await;
    assert_eq!(app.state.job(&job.id).await.unwrap().status, JobStatus::Succeeded);
}
