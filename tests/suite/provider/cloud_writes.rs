//! Writes to the cloud that go wrong in their replies, their times or their ids: nothing is taken for more certain than it
//! is, and nothing that may be there is kept quiet about.

use crate::provider::cloud::{Cloud, ID, Ours, redis};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use tair_backup_mcp::config::guard::ConfirmationPolicy;
use tair_backup_mcp::guard::act::{Act, CloneOrder, PolicyChange, Source};
use tair_backup_mcp::guard::check::{CheckName, Status};
use tair_backup_mcp::guard::plan::Plan;
use tair_backup_mcp::guard::preconditions::{Others, Preconditions};
use tair_backup_mcp::guard::rules::Rules;
use tair_backup_mcp::model::backup::Mode;
use tair_backup_mcp::model::job::{Job, JobEnd, JobKind, JobStatus, RecoveryKind, StoredRecovery};
use tair_backup_mcp::provider::jobs::Jobs;
use tair_backup_mcp::provider::tair::{policy, sets, traffic};
use tair_backup_mcp::tools::{create_instance_from_backup, delete_backup, restore_instance};

const NATIVE: &str = "generation = \"cloud_native\"";

fn rules() -> Rules {
    Rules { confirmation: ConfirmationPolicy::Token, max_writes_per_second: Some(1e9) }
}

/// The time that writes are looked for in reaches back to the plan, however long ago that was.
#[test]
fn writes_since_the_plan_are_looked_for() {
    let now: Timestamp = "2026-11-02T12:00:00Z".parse().unwrap();
    let ago = |minutes| now - SignedDuration::from_mins(minutes);
    assert_eq!(traffic::looked_from(None, now), ago(5));
    assert_eq!(traffic::looked_from(Some(ago(1)), now), ago(5));
    assert!(traffic::looked_from(Some(ago(20)), now) <= ago(20));
    let server = redis(3);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let act = Act::restore(Source::Backup { backup_id: set.id }, false);
    let first = ours.assess(&act, None, rules());
    let read_at = first.writes.expect("nothing to measure from").read_at;
    let mut plan = Plan::new(act.clone(), ID, first.clone(), &first.checks, None, rules());
    plan.writes.as_mut().unwrap().read_at = read_at - SignedDuration::from_mins(30);
    let again = ours.assess(&act, Some(&plan), rules());
    let traffic = again.checks.iter().find(|c| c.name == CheckName::WriteTraffic).unwrap();
    let seconds: u64 =
        traffic.detail.split("over the last ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((1800..2400).contains(&seconds), "{}", traffic.detail);
    assert!(plan.changes(&again, rules()).is_empty(), "{:?}", plan.changes(&again, rules()));
    assert!(first.impact.way_back.contains("create_instance_from_backup"), "{}", first.impact.way_back);
}

/// A backup of ours that runs since before the plan is not taken for what undoes a restore.
#[test]
fn an_older_backup_is_no_safety_backup() {
    let server = redis(20);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let act = Act::restore(Source::Backup { backup_id: set.id }, false);
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 20}));
    let (job, joined) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    assert!(!joined);
    let assessed = ours.assess(&act, None, rules());
    let fault = ours.run(ours.provider().safety_backup(ID, &assessed, "local")).unwrap_err();
    assert_eq!(fault.code, "job.busy", "{fault:?}");
    assert!(fault.message.contains(&job.id) && fault.hint.contains("describe_jobs"), "{fault:?}");
}

/// What was looked at and shown is what is sent, and a shard is not taken for its set.
#[test]
fn a_shard_is_no_set() {
    let row = |id: i64, node: &str| {
        serde_json::from_value(
            json!({"BackupId": id, "BackupJobID": 1, "NodeInstanceId": node, "BackupStatus": "Success",
            "BackupMode": "Manual", "BackupSize": 10, "BackupStartTime": "2026-11-02T00:00:00Z",
            "BackupEndTime": "2026-11-02T00:01:00Z"}),
        )
        .unwrap()
    };
    let listed = || sets::shards::of_rows("r-1", vec![row(7, "r-1-db-0"), row(8, "r-1-db-1")], Some(2));
    assert_eq!(sets::find(listed(), "8,7").unwrap().unwrap().set.id, "7,8");
    assert!(sets::find(listed(), "8").is_none());
    assert_eq!(sets::find_file(listed(), "8").unwrap().unwrap().shards.len(), 1);
    assert_eq!(sets::set_of_file(&listed(), "8").as_deref(), Some("7,8"));
}

/// An order whose replies are lost is sent again under its token; what the cloud says at last does not hide that an instance
/// may be there.
#[test]
fn an_order_without_reply_is_said_to_be_possible() {
    let (source, spare) = (redis(20), redis(0));
    let cloud = Cloud::start(&[(ID, &source, NATIVE), ("r-spare", &spare, &format!("{NATIVE}, spare = true"))]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let args = json!({"instance_id": ID, "backup_id": set.id, "zone_id": "", "vswitch_id": ""});
    let plan = ours.tool(&args, create_instance_from_backup::run).unwrap();
    let mut commit = args;
    commit["confirmation_token"] = plan["confirmation_token"].clone();
    // No reply, and then a refusal for certain.
    cloud.inject_all(&[
        json!({"kind": "cut", "action": "CreateTairInstance"}),
        json!({"kind": "error", "action": "CreateTairInstance", "code": "QuotaExceed"}),
    ]);
    let done = ours.tool(&commit, create_instance_from_backup::run).unwrap();
    assert_eq!(done["status"], "uncertain", "{done:#}");
    assert!(done.to_string().contains("may exist and be billed"), "{done:#}");
    let job = ours.run(ours.app.state.jobs(Some(ID))).unwrap().remove(0);
    assert_eq!(
        (job.kind, job.status, job.code.as_str()),
        (JobKind::Clone, JobStatus::Uncertain, "clone.uncertain"),
        "{job:?}"
    );
    assert!(job.stage.contains("rollback pending"), "{job:?}");
    ours.run(ours.provider().recover()).unwrap();
    let job = ours.job(&job.id);
    assert!(job.hint.contains("may exist") && !job.stage.contains("rollback pending"), "{job:?}");
}

/// What only a published code below 500 refuses for certain: after any other failure what the call did is not known, and looked at.
#[test]
fn only_a_published_refusal_is_one() {
    let server = redis(5);
    let cloud = Cloud::start(&[(ID, &server, NATIVE)]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    cloud.inject(&json!({"kind": "error_after", "action": "DeleteBackup", "code": "Odd.Failure", "status": 500}));
    let (_, done) = ours.guarded(&json!({"instance_id": ID, "backup_id": set.id}), delete_backup::run);
    assert_eq!(done["status"], "succeeded", "{done:#}");
    assert!(ours.sets(ID).is_empty());
    let set = ours.backup(ID);
    for (code, status, fault) in [
        ("Odd.Failure", 400, "cloud.uncertain"),
        ("Forbidden.RAM", 500, "cloud.uncertain"),
        ("Forbidden.RAM", 403, "cloud.forbidden"),
    ] {
        cloud.inject(&json!({"kind": "error", "action": "DeleteBackup", "code": code, "status": status}));
        let args = json!({"instance_id": ID, "backup_id": set.id});
        let plan = ours.tool(&args, delete_backup::run).unwrap();
        let mut again = args;
        again["confirmation_token"] = plan["confirmation_token"].clone();
        let refused = ours.tool(&again, delete_backup::run).unwrap_err();
        assert_eq!(refused.code, fault, "{code} {status}: {refused:?}");
        assert_eq!(ours.sets(ID).len(), 1);
    }
}

/// A restore that worked is said to have worked, also where its fence stays up.
#[test]
fn a_fence_that_stays_does_not_hide_the_restore() {
    let server = redis(50);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    cloud.inject(&json!({"kind": "error", "action": "UnlockDBInstanceWrite", "code": "Forbidden.RAM"}));
    let args = json!({"instance_id": ID, "backup_id": set.id, "write_fence": true});
    let (_, done) = ours.guarded(&args, restore_instance::run);
    let said = done.to_string();
    assert!(said.contains("the restore worked") && said.contains("still locked"), "{done:#}");
}

/// Leaves a restore that died of a bug after it had written that record down.
fn crashed_with(ours: &Ours, json: &str) -> Job {
    let json = json.to_owned();
    let jobs = Jobs::new("tair", Arc::clone(&ours.app.state));
    let state = Arc::clone(&ours.app.state);
    let begun = ours.run(jobs.begin(JobKind::Restore, ID, "1", "local", None, |job| async move {
        state.save_recovery(&job.id, &StoredRecovery { kind: RecoveryKind::CloudRestore, json }).await?;
        panic!("a bug");
        #[allow(unreachable_code, reason = "the type of the work")]
        JobEnd::Ok(String::new())
    }));
    let tair_backup_mcp::state::jobs::Begun::Started(job) = begun.unwrap() else { panic!("joined") };
    let job = ours.ended(&job.id);
    assert_eq!((job.status, job.code.as_str()), (JobStatus::Failed, "job.crashed"));
    assert!(job.stage.contains("rollback pending"), "{job:?}");
    job
}

/// A job that dies of a bug keeps its record, so that what it left is reconciled like that of a process that died; until then a plan
/// for another restore is blocked, before a person is asked.
#[test]
fn a_crash_keeps_the_record() {
    let server = redis(5);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let act = Act::restore(Source::Backup { backup_id: ours.backup(ID).id }, false);
    let idle = || ours.assess(&act, None, rules()).checks.into_iter().find(|c| c.name == CheckName::InstanceIdle);
    assert!(idle().is_none());
    let job = crashed_with(&ours, r#"{"fence":false,"sent_at":null,"taken":false,"keys_before":null,"back":""}"#);
    let blocked = idle().expect("no check");
    assert!(blocked.status == Status::Block && blocked.detail.contains(&job.id), "{blocked:?}");
    ours.run(ours.provider().recover()).unwrap();
    assert!(!ours.job(&job.id).stage.contains("rollback pending"));
    assert!(idle().is_none());
}

/// A record that cannot be read is not taken for one that says nothing: the job says that nobody knows what it touched.
#[test]
fn a_record_that_cannot_be_read_is_said() {
    let server = redis(5);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let job = crashed_with(&ours, r#"{"fence":"#);
    ours.run(ours.provider().recover()).unwrap();
    let job = ours.job(&job.id);
    assert!(!job.needs_reconciliation() && job.message.contains("recovery record cannot be read"), "{job:?}");
}

/// Whoever asks for jobs and goes away at once takes no job of a dead process along.
#[test]
fn a_cancelled_look_loses_no_job() {
    let server = redis(10);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    cloud.inject(&json!({"kind": "slow", "action": "CreateBackup", "seconds": 2}));
    let (job, _) = ours.run(ours.provider().create_backup(ID, Mode::Manual, "", None, "local")).unwrap();
    let next = ours.crash(&cloud);
    next.run(async {
        let mut look = std::pin::pin!(next.provider().recover());
        // Begun, and dropped.
        assert!(futures::poll!(look.as_mut()).is_pending());
    });
    let done = next.ended(&job.id);
    assert_eq!(done.status, JobStatus::Succeeded, "{done:?}");
}

/// The last set is not deleted on a yes for one of several.
#[test]
fn whether_others_stay_is_a_precondition() {
    let server = redis(5);
    let cloud = Cloud::start(&[(ID, &server, NATIVE)]);
    let ours = Ours::new(&cloud);
    let set = ours.backup(ID);
    let act = Act::DeleteBackup { backup_id: set.id };
    let others = || match ours.assess(&act, None, rules()).preconditions {
        Preconditions::CloudDeletion { others, .. } => others,
        other => panic!("{other:?}"),
    };
    assert_eq!(others(), Others::None);
    ours.backup(ID);
    assert_eq!(others(), Others::Some);
}

/// A weekday that goes is protection that goes, also where another comes.
#[test]
fn every_weekday_that_goes_counts() {
    let server = redis(1);
    let cloud = Cloud::start(&[(ID, &server, "")]);
    let ours = Ours::new(&cloud);
    let now = ours.run(ours.provider().backup_policy(ID)).unwrap();
    let with = |days: &[&str]| {
        let change = PolicyChange {
            preferred_backup_period: Some(days.iter().map(|d| (*d).into()).collect()),
            ..PolicyChange::default()
        };
        policy::values::changed(&now, &change).unwrap()
    };
    let (before, after) = (with(&["Monday", "Thursday"]), with(&["Monday", "Friday"]));
    assert!(before.lowered_by(&after)[0].contains("Thursday"));
    assert!(before.lowered_by(&with(&["Monday", "Thursday", "Sunday"])).is_empty());
}

/// What sets the place and the price is shown, and nothing empty is sent.
#[test]
fn an_order_shows_what_it_costs_and_where() {
    let source = serde_json::from_value(json!({"InstanceId": "r-1", "InstanceClass": "tair.essd.standard.xlarge",
        "InstanceType": "tair_essd", "VpcId": "vpc-1", "VSwitchId": "vsw-1", "ZoneId": "cn-hangzhou-a",
        "SecondaryZoneId": "cn-hangzhou-b", "ResourceGroupId": "rg-1", "Storage": "60", "StorageType": "essd_pl1"}))
    .unwrap();
    let order = CloneOrder {
        source: Source::Backup { backup_id: "7".into() },
        instance_name: Some(String::new()),
        instance_class: Some(" ".into()),
        zone_id: Some(String::new()),
        vswitch_id: None,
        recover_config_mode: Vec::new(),
    };
    let order =
        tair_backup_mcp::provider::tair::clone::order::Order::new("cn-hangzhou", &source, None, &order).unwrap();
    let shown: Value = order.terms().by_name().into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect();
    for (name, value) in [
        ("new_instance_class", "tair.essd.standard.xlarge"),
        ("new_zone_id", "cn-hangzhou-a"),
        ("new_secondary_zone_id", "cn-hangzhou-b"),
        ("new_resource_group_id", "rg-1"),
        ("new_storage_gb", "60"),
        ("new_storage_type", "essd_pl1"),
    ] {
        assert_eq!(shown[name], value, "{shown:#}");
    }
}
