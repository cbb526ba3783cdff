//! What is begun in the cloud belongs to the account, region and endpoint that it was begun in, to one writer of a policy at a time, and
//! has an end in the audit whichever process finds it.

use crate::provider::cloud::{Cloud, ID, Ours, redis};
use crate::provider::cloud_faults::scene::hurried;
use crate::provider::cloud_replies::{attributes, cluster_set, server};
use crate::support::between::{Armed, Between, Trouble};
use crate::support::emulator::{KEY, SECRET, client_at, client_by};
use crate::support::http_server::Answer;
use crate::support::wait;
use crate::tair::client::env;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tair_backup_mcp::guard::act::PolicyChange;
use tair_backup_mcp::guard::preconditions::Preconditions;
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::job::{Job, JobEnd, JobKind, JobStatus, RecoveryKind, StoredRecovery};
use tair_backup_mcp::model::time::written;
use tair_backup_mcp::provider::Raised;
use tair_backup_mcp::provider::jobs::Jobs;
use tair_backup_mcp::provider::tair::polling::Polling;
use tair_backup_mcp::state::jobs::Begun;
use tair_backup_mcp::tools::create_instance_from_backup;
use tempfile::TempDir;

const NATIVE: &str = "generation = \"cloud_native\"";

/// A process of the same home that calls another cloud leaves a job alone and says so; one that calls the job's own goes on with it.
#[test]
fn a_job_is_not_taken_to_another_cloud() {
    let (server, other) = (redis(10), redis(10));
    let (cloud, another) = (Cloud::start(&[(ID, &server, "")]), Cloud::start(&[(ID, &other, "")]));
    let ours = Ours::new(&cloud);
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 2}));
    let (job, _) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    let bound = ours.job(&job.id).access.expect("an access");
    assert!(bound.endpoint.contains(&cloud.emulator.port.to_string()) && !bound.account.is_empty(), "{bound:?}");
    let elsewhere = ours.crash(&another);
    for _ in 0..2 {
        elsewhere.run(elsewhere.provider().recover()).unwrap();
        let left = elsewhere.job(&job.id);
        assert_eq!(left.status, JobStatus::Running, "{left:?}");
        assert!(left.stage.contains("left alone") && left.stage.contains(&bound.endpoint), "{left:?}");
    }
    let fault = elsewhere.run(elsewhere.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap_err();
    assert_eq!(fault.code, "job.busy", "another cloud's job was joined: {fault:?}");
    let back = elsewhere.crash(&cloud);
    back.run(back.provider().recover()).unwrap();
    let done = back.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
}

/// A plan is one for the account, caller, region and endpoint that it was made by.
#[test]
fn a_plan_is_bound() {
    let of = |change: fn(&mut Value)| -> Preconditions {
        let mut json = json!({"of": "cloud_restore", "set": null, "instance": {"address": "a", "architecture": "classic",
            "instance_class": "c", "engine_version": "7.0", "created_at": "", "region": "cn-hangzhou",
            "access": {"account": "1", "principal": "2", "region": "cn-hangzhou", "endpoint": "https://one/"}}});
        change(&mut json["instance"]);
        serde_json::from_value(json).unwrap()
    };
    assert!(of(|_| {}).changes(&of(|_| {})).is_empty());
    type Change = fn(&mut Value);
    let others: [(&str, Change); 5] = [
        ("the instance's region", |i| i["region"] = "cn-shanghai".into()),
        ("the account", |i| i["access"]["account"] = "3".into()),
        ("who calls", |i| i["access"]["principal"] = "3".into()),
        ("the region that is called", |i| i["access"]["region"] = "cn-shanghai".into()),
        ("the endpoint", |i| i["access"]["endpoint"] = "https://two/".into()),
    ];
    for (what, change) in others {
        let changes = of(|_| {}).changes(&of(change));
        assert!(changes.len() == 1 && changes[0].starts_with(what), "{what}: {changes:?}");
    }
}

/// What needs no plan, and so has no pre-checks, is not done to an instance of another region either.
#[test]
fn what_needs_no_plan_is_bound_too() {
    let server = redis(3);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let line = Between::start(cloud.emulator.port);
    let ours = Ours::behind(client_at(line.port), Arc::new(TempDir::new().unwrap()), 1e9);
    let (action, trouble) = ("DescribeInstanceAttribute".into(), Trouble::Elsewhere);
    line.arm(Armed { action, trouble, times: u32::MAX, after: None });
    let days = PolicyChange { backup_retention_period: Some(90), ..PolicyChange::default() };
    let backup = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).map(|_| ()).unwrap_err();
    let policy = ours.run(ours.provider().raise_backup_policy(ID, &days, "local")).map(|_| ()).unwrap_err();
    for fault in [backup, policy] {
        assert_eq!(fault.code, "instance.other_region", "{fault:?}");
        assert!(fault.message.contains("cn-beijing") && fault.message.contains("[tair] region"), "{fault:?}");
    }
    let calls = line.calls();
    assert!(calls.iter().all(|call| call.action.starts_with("Describe")), "{calls:?}");
    line.calm();
    ours.backup(ID);
}

/// Two processes that change one policy at once do not write over each other.
#[test]
fn one_policy_has_one_writer() {
    let server = redis(1);
    let cloud = Cloud::start(&[(ID, &server, "flashback = true")]);
    let one = Ours::new(&cloud);
    let two = one.beside(&cloud);
    // The first to write is told to wait, and the other reads meanwhile.
    cloud.inject(&json!({"kind": "error", "action": "ModifyBackupPolicy", "code": "IncorrectDBInstanceState"}));
    let raise = |ours: Ours, change: PolicyChange| {
        std::thread::spawn(move || {
            let raised = ours.run(ours.provider().raise_backup_policy(ID, &change, "local")).unwrap();
            assert!(matches!(raised, Raised::Changed(..)));
            ours
        })
    };
    let days = PolicyChange { backup_retention_period: Some(90), ..PolicyChange::default() };
    let log = PolicyChange { enable_backup_log: Some(true), ..PolicyChange::default() };
    let (one, two) = (raise(one, days), raise(two, log));
    let (one, _two) = (one.join().unwrap(), two.join().unwrap());
    let now = one.run(one.provider().backup_policy(ID)).unwrap();
    assert_eq!((now.backup_retention_period, now.enable_backup_log), (90, true));
    let audit = one.run(one.app.state.audit(Some(ID), None, 9)).unwrap();
    let told = audit.iter().filter(|r| r.event == "policy.changed" && r.caller == "local").count();
    assert_eq!(told, 2, "{audit:?}");
}

/// Leaves a job of a process that died after it had written that record down, and has the next process find it.
fn found_again(
    ours: Ours,
    next: impl FnOnce(Ours) -> Ours,
    kind: JobKind,
    recovery: RecoveryKind,
    json: Value,
) -> (Ours, Job) {
    let (jobs, state) = (Jobs::new("tair", Arc::clone(&ours.app.state)), Arc::clone(&ours.app.state));
    let stored = StoredRecovery { kind: recovery, json: json.to_string() };
    let (written, wait) = tokio::sync::oneshot::channel();
    let begun = ours.run(async {
        let begun = jobs.begin(kind, ID, "", "local", None, |job| async move {
            state.save_recovery(&job.id, &stored).await?;
            let _ = written.send(());
            std::future::pending::<JobEnd>().await
        });
        let begun = begun.await.unwrap();
        wait.await.unwrap();
        begun
    });
    let Begun::Started(job) = begun else { panic!("joined") };
    // The last of the process: what holds its store holds its life.
    drop(jobs);
    let next = next(ours);
    next.run(next.provider().recover()).unwrap();
    let done = next.ended(&job.id);
    (next, done)
}

/// A process that is to die, for its order of a new instance did not arrive, and the order's job. The line has forgotten its calls.
fn ordering(line: &Between) -> (Ours, String) {
    let ours = Ours::behind(client_at(line.port), Arc::new(TempDir::new().unwrap()), 1e9);
    let mut args = json!({"instance_id": ID, "backup_id": ours.backup(ID).id});
    let plan = ours.tool(&args, create_instance_from_backup::run).unwrap();
    args["confirmation_token"] = plan["confirmation_token"].clone();
    let (action, trouble) = ("CreateTairInstance".to_owned(), Trouble::Dies);
    line.arm(Armed { action, trouble, times: 1, after: Some("CreateTairInstance") });
    assert!(ours.tool_until(line.death(), &args, create_instance_from_backup::run).is_none());
    line.calm();
    line.forget();
    let jobs = ours.run(ours.app.state.jobs(Some(ID))).unwrap();
    let id = jobs.into_iter().find(|job| job.kind == JobKind::Clone).unwrap().id;
    (ours, id)
}

/// A process with `--read-only` orders nothing, not even again what another one was permitted to order: it leaves that to one that may, which
/// ends with one instance.
#[test]
fn an_order_is_not_sent_by_who_only_reads() {
    let (source, spare) = (redis(20), redis(0));
    let cloud = Cloud::start(&[(ID, &source, NATIVE), ("r-spare", &spare, &format!("{NATIVE}, spare = true"))]);
    let line = Between::start(cloud.emulator.port);
    let (ours, id) = ordering(&line);
    let reads = Ours::reading(client_at(line.port), ours.killed());
    for _ in 0..2 {
        reads.run(reads.provider().recover()).unwrap();
        let left = reads.job(&id);
        assert!(left.status == JobStatus::Running && left.stage.contains("--read-only"), "{left:?}");
    }
    assert!(line.calls().iter().all(|call| call.action.starts_with("Describe")), "{:?}", line.calls());
    let may = Ours::behind(client_at(line.port), reads.killed(), 1e9);
    may.run(may.provider().recover()).unwrap();
    let done = may.ended(&id);
    assert!(done.status == JobStatus::Succeeded && done.message.contains("r-spare"), "{done:?}");
    assert_eq!(spare.digest(), source.digest());
}

/// An order whose process died is not sent again by keys that have become another account's since the job was found: that account does not know
/// the token, and would make an instance of its own.
#[test]
fn an_order_is_not_sent_by_another_account() {
    const LOOK: &str = "DescribeInstanceAttribute";
    let (source, spare) = (redis(20), redis(0));
    let cloud = Cloud::start(&[(ID, &source, NATIVE), ("r-spare", &spare, &format!("{NATIVE}, spare = true"))]);
    let line = Between::start(cloud.emulator.port);
    let (ours, id) = ordering(&line);
    let user = TempDir::new().unwrap();
    let profile = |key: &str| {
        let profile = json!({"name": "default", "mode": "AK", "access_key_id": key, "access_key_secret": SECRET});
        std::fs::create_dir_all(user.path().join(".aliyun")).unwrap();
        let file = user.path().join(".aliyun/config.json");
        std::fs::write(file, json!({"current": "default", "profiles": [profile]}).to_string()).unwrap();
    };
    profile(KEY);
    let client = client_by(line.port, &env(&[("HOME", user.path().to_str().unwrap())]));
    let next = Ours::behind(client.clone(), ours.killed(), 1e9);
    next.run(client.credentials()).unwrap();
    profile("anotherAKID");
    // The job waits for the cloud's clock, and has the keys renewed.
    let expired = Trouble::Refused("InvalidSecurityToken.Expired", 403);
    line.arm(Armed { action: LOOK.into(), trouble: expired, times: 1, after: None });
    line.arm(Armed { action: LOOK.into(), trouble: Trouble::Cut, times: u32::MAX, after: None });
    next.run(next.provider().recover()).unwrap();
    wait("the keys to be renewed", Duration::from_secs(10), || {
        next.pause();
        (line.calls().len() > 1).then_some(())
    });
    // Somebody else asks who calls.
    next.run(next.provider().recover()).unwrap();
    assert_eq!(next.run(client.access()).unwrap().account, "anotherAKID");
    line.calm();
    let done = next.ended(&id);
    assert_eq!((done.status, done.code.as_str()), (JobStatus::Uncertain, "clone.uncertain"), "{done:?}");
    assert!(done.message.contains("CreateTairInstance was not sent") && done.hint.contains("may exist"), "{done:?}");
    assert!(line.calls().iter().all(|call| call.action == LOOK), "{:?}", line.calls());
}

/// A new instance that somebody releases while it is made is followed no longer, and not said to be ready.
#[test]
fn an_instance_that_is_gone_is_followed_no_longer() {
    let server = redis(1);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let record =
        json!({"ordered_at": Timestamp::now(), "order": {"tair": false, "params": []}, "new_instance_id": "r-gone"});
    let long = Polling { clone_timeout: Duration::from_secs(40), ..hurried() };
    let next = |ours: Ours| Ours::polling(cloud.emulator.client(), ours.killed(), 1e9, long);
    let (_ours, done) = found_again(Ours::new(&cloud), next, JobKind::Clone, RecoveryKind::CloudClone, record);
    assert_eq!((done.status, done.code.as_str()), (JobStatus::Uncertain, "clone.uncertain"), "{done:?}");
    assert!(done.message.contains("released"), "{done:?}");
}

/// An order is asked for again under its token for an hour by the cloud's clock and no longer: neither by a process that finds it later, nor by
/// one that has asked in time and had no reply.
#[test]
fn an_order_is_not_repeated_under_a_token_that_is_too_old() {
    let dated = |answer: Answer, hours: i64| {
        let at = Timestamp::now() + SignedDuration::from_hours(hours);
        answer.header("Date", at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    };
    for (hours_ago, orders) in [(2, 0), (0, 1)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let (port, _running) = server(move |seen| match seen.action() {
            "DescribeInstanceAttribute" => {
                dated(Answer::cloud(attributes(false, &seen.param("RegionId").unwrap()).to_string()), 0)
            }
            // With the reply hours have gone by.
            "CreateInstance" => {
                counted.fetch_add(1, Ordering::SeqCst);
                dated(Answer::error(503, "ServiceUnavailable"), 2)
            }
            other => panic!("{other}"),
        });
        let params =
            json!([["RegionId", "cn-hangzhou"], ["SrcDBInstanceId", ID], ["ChargeType", "PostPaid"], ["Token", "t"]]);
        let ordered_at = Timestamp::now() - SignedDuration::from_hours(hours_ago);
        let record =
            json!({"ordered_at": ordered_at, "order": {"tair": false, "params": params}, "new_instance_id": null});
        let home = Arc::new(TempDir::new().unwrap());
        let ours = Ours::polling(client_at(port), home, 1e9, hurried());
        let next = |ours: Ours| Ours::polling(client_at(port), ours.killed(), 1e9, hurried());
        let (_ours, done) = found_again(ours, next, JobKind::Clone, RecoveryKind::CloudClone, record);
        assert_eq!((done.status, done.code.as_str()), (JobStatus::Uncertain, "clone.uncertain"), "{done:?}");
        assert!(done.message.contains("too long ago") && done.hint.contains("may exist and be billed"), "{done:?}");
        assert_eq!(sent.load(Ordering::SeqCst), orders, "ordered {hours_ago} hours ago");
    }
}

/// A list with a set whose id cannot be read does not show that a set is deleted: that one may be it.
#[test]
fn an_id_that_cannot_be_read_may_be_the_deleted_sets() {
    let now = Timestamp::now();
    let row = |id: Value| {
        json!({"BackupId": id, "BackupJobID": 8, "NodeInstanceId": ID, "BackupStatus": "Success", "BackupMode": "Manual",
            "BackupSize": 10, "BackupStartTime": written(now), "BackupEndTime": written(now)})
    };
    let without_job = |id: Value| {
        let mut row = row(id);
        row["BackupJobID"] = Value::Null;
        row["BackupStatus"] = "Failed".into();
        row
    };
    let set = |id: &str| cluster_set(id, "Manual", "OK", now);
    for (of_cluster, listed, is_gone) in [
        (false, row(json!(6)), true),
        (false, row(json!(7)), false),
        (false, row(json!({"Id": 6})), false),
        (false, row(json!("6 or 7")), false),
        // Taken, so it has one.
        (false, row(Value::Null), false),
        (false, without_job(Value::Null), false),
        (true, set("6"), true),
        (true, set("7"), false),
        (true, set(""), false),
        (true, set("6 or 7"), false),
    ] {
        let shown = listed.clone();
        let (port, _running) = server(move |seen| {
            let body = match seen.action() {
                "DescribeInstanceAttribute" => {
                    let mut body = attributes(of_cluster, &seen.param("RegionId").unwrap());
                    body["Instances"]["DBInstanceAttribute"][0]["InstanceId"] = ID.into();
                    body
                }
                "DescribeBackups" => json!({"PageSize": 300, "TotalCount": 1, "Backups": {"Backup": [shown]}}),
                "DescribeClusterBackupList" => json!({"PageSize": 300, "MaxResults": 1, "ClusterBackups": [shown]}),
                other => panic!("{other}"),
            };
            Answer::cloud(body.to_string())
        });
        // What is gone is seen so at once.
        let visible = Duration::from_millis(if is_gone { 5000 } else { 150 });
        let soon = Polling { visibility_delay: visible, ..hurried() };
        let ours = Ours::polling(client_at(port), Arc::new(TempDir::new().unwrap()), 1e9, soon);
        let next = |ours: Ours| Ours::polling(client_at(port), ours.killed(), 1e9, soon);
        let record = json!({"backup_id": "7"});
        let (_ours, done) = found_again(ours, next, JobKind::Deletion, RecoveryKind::CloudDeletion, record);
        let end = if is_gone { (JobStatus::Succeeded, "") } else { (JobStatus::Uncertain, "cloud.uncertain") };
        assert_eq!((done.status, done.code.as_str()), end, "{listed}: {done:?}");
    }
}

/// A process that died around a deletion or a change of policy leaves a job, and the audit ends with what came of it; of a set that is gone, and of
/// its files, it is forgotten what was found.
#[test]
fn what_a_dead_process_asked_for_is_found_out() {
    let server = redis(5);
    let cloud = Cloud::start(&[(ID, &server, NATIVE)]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let last = |ours: &Ours| ours.run(ours.app.state.audit(Some(ID), None, 99)).unwrap().pop().unwrap().event;
    let deletion = |ours, backup_id: &str| {
        let record = json!({"backup_id": backup_id, "files": ["12346"]});
        found_again(ours, |ours| ours.crash(&cloud), JobKind::Deletion, RecoveryKind::CloudDeletion, record)
    };
    let verified =
        |ours: &Ours| -> Vec<String> { ours.run(ours.app.state.verifications(ID)).unwrap().into_keys().collect() };
    for id in [set.id.as_str(), "12345", "12346"] {
        ours.finds_damage(id);
    }
    let (ours, done) = deletion(ours, &set.id);
    assert_eq!((done.status, last(&ours).as_str()), (JobStatus::Uncertain, "backup.delete_uncertain"), "{done:?}");
    assert_eq!(verified(&ours).len(), 3, "what may be there is kept");
    let (ours, done) = deletion(ours, "12345");
    assert_eq!((done.status, last(&ours).as_str()), (JobStatus::Succeeded, "backup.deleted"), "{done:?}");
    assert_eq!(verified(&ours), [set.id.as_str()]);
    let now = ours.run(ours.provider().backup_policy(ID)).unwrap();
    let values = |days: u32| {
        json!({"preferred_backup_time": now.preferred_backup_time, "preferred_backup_period": now.preferred_backup_period,
            "backup_retention_period": days, "enable_backup_log": now.enable_backup_log})
    };
    let policy = |ours, before: u32, then: u32| {
        let record = json!({"before": values(before), "then": values(then)});
        found_again(ours, |ours| ours.crash(&cloud), JobKind::Policy, RecoveryKind::CloudPolicy, record)
    };
    let days = now.backup_retention_period;
    let (ours, done) = policy(ours, 90, days);
    assert_eq!((done.status, last(&ours).as_str()), (JobStatus::Succeeded, "policy.changed"), "{done:?}");
    let (ours, done) = policy(ours, days, 90);
    assert_eq!((done.status, last(&ours).as_str()), (JobStatus::Uncertain, "policy.uncertain"), "{done:?}");
}
