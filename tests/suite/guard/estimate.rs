//! A plan says how long its act takes, from what that is estimated, and what clients see meanwhile, by the way that it goes. Needs no server.

use crate::guard::assess::passing;
use crate::guard::flow::plan;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tair_backup_mcp::guard::act::{Act, Source};
use tair_backup_mcp::guard::estimate::{Work, kind, took};
use tair_backup_mcp::guard::facts::Facts;
use tair_backup_mcp::guard::facts::replay::{Replay, ReplayedLog};
use tair_backup_mcp::guard::plan::Plan;
use tair_backup_mcp::guard::preconditions::{DirectPreconditions, Preconditions, ReplayIdentity, SetIdentity};
use tair_backup_mcp::model::estimate::{Estimate, Took};
use tair_backup_mcp::model::job::{Job, JobKind, JobStatus, Phase};
use tair_backup_mcp::model::key_filter::SomeKeys;
use tair_backup_mcp::model::restore::Method;

const GB: u64 = 1_000_000_000;

/// A plan without write traffic, by a method.
fn by(method: Method, replay: Option<ReplayIdentity>) -> Plan {
    let mut plan = plan();
    let planned = plan.direct_restore().unwrap().clone();
    plan.preconditions = Preconditions::DirectRestore(DirectPreconditions { method, replay, ..planned });
    plan
}

fn log() -> ReplayIdentity {
    ReplayIdentity { backup_id: "b-1".into(), position: "t-1/0/700".into() }
}

/// What a restore of a set of a gigabyte has to do, with ten seconds of a log behind it or without.
fn work(with_log: bool) -> Work {
    let mut facts = passing();
    facts.source.rdb_bytes = GB;
    facts.replay = with_log.then(|| Replay {
        log: ReplayedLog::Tail { job_id: "rj-1".into() },
        position: "t-1/0/700".into(),
        commands: 9 * 800_000,
        bytes: 700,
        unknown: Vec::new(),
        moment: Timestamp::UNIX_EPOCH,
        expiring: None,
        expiring_by_log: None,
        builder: None,
        counts_refusals: true,
    });
    Work::of(&Facts::DirectRestore(Box::new(facts))).unwrap()
}

/// A job that took so long, with so many bytes.
fn job(status: JobStatus, seconds: i64, bytes: u64) -> Job {
    let created_at = Timestamp::UNIX_EPOCH;
    Job {
        id: "rj-1".into(),
        kind: JobKind::Restore,
        instance_id: "orders".into(),
        backup_id: "b-1".into(),
        status,
        phase: Phase::Ended,
        stage: String::new(),
        rollback_pending: false,
        done: bytes,
        total: bytes,
        code: String::new(),
        failure: None,
        message: String::new(),
        hint: String::new(),
        caller: String::new(),
        confirmation: String::new(),
        access: None,
        cloud_jobs: Vec::new(),
        restored: None,
        restored_keys: None,
        created_at,
        serving_at: None,
        finished_at: Some(created_at + SignedDuration::from_secs(seconds)),
    }
}

/// Nothing like it was done before: the size tells, and each way says what it does to clients, in one line of the question.
#[test]
fn by_size_and_by_way() {
    let estimate = |method, with_log: bool| {
        work(with_log).estimate(&by(method, with_log.then(log)), &[]).expect("a restore takes its time")
    };
    for (method, seconds, told) in [
        (Method::Replication, 15, ["(READONLY) for about 11 s", "(LOADING)"]),
        (Method::Beside, 15, ["old data until one swap", "stay connected"]),
        (Method::Commands, 15, ["find no keys", "may be overwritten"]),
        (Method::Keys, 23, ["do not match stay as they are", "one by one"]),
    ] {
        let found = estimate(method, false);
        assert_eq!((found.seconds, found.from.as_str()), (Some(seconds), "size"), "{}", method.place());
        assert!(told.iter().all(|part| found.meanwhile.contains(part)), "{found:?}");
        // A log takes its time too, and what the target cannot apply itself is built first.
        let moment = estimate(method, true);
        let more = if method == Method::Replication { 10 } else { 10 + 14 };
        assert_eq!(moment.seconds, Some(seconds + more), "{moment:?}");
        assert_eq!(moment.meanwhile.contains("has been built here"), method != Method::Replication, "{moment:?}");
    }
    let mut fenced = by(Method::Replication, None);
    fenced.act = Act::restore(Source::Backup { backup_id: "b-1".into() }, true);
    let told = work(false).estimate(&fenced, &[]).unwrap();
    assert!(told.meanwhile.starts_with("writers wait while the last safety backup is taken"), "{told:?}");
    // Under a prefix the keys that match do not change.
    let mut beside = by(Method::Keys, None);
    if let Act::RestoreInstance { keys, .. } = &mut beside.act {
        *keys = Some(SomeKeys { filter_key: "cart:.*".into(), add_prefix: Some("old:".into()) });
    }
    let told = work(false).estimate(&beside, &[]).unwrap();
    assert!(
        told.meanwhile.ends_with("under the prefix are written one by one, and all others stay as they are"),
        "{told:?}"
    );
    // Writers make one more backup likely.
    let mut written = by(Method::Replication, None);
    written.writes.as_mut().unwrap().traffic = true;
    assert_eq!(work(false).estimate(&written, &[]).unwrap().seconds, Some(16));
    assert_eq!(kind(&written), Some(JobKind::Restore));
}

/// A plan of a version that told no estimates is read as what it was, so that its token and a yes to it stay good.
#[test]
fn a_plan_without_an_estimate_is_what_was_signed() {
    let old = Plan { estimate: None, ..plan() };
    let stored = old.to_json().unwrap();
    assert!(!stored.contains("\"estimate\""), "{stored}");
    let read: Plan = serde_json::from_str(&stored).unwrap();
    assert_eq!((read.digest().unwrap(), read.estimate), (old.digest().unwrap(), None));
}

/// Acts that went the same way tell, and no others: what they took counts before the size does.
#[test]
fn what_was_like_it_tells() {
    let planned = by(Method::Replication, None);
    let done = job(JobStatus::Succeeded, 40, GB);
    let told = took(&planned, &planned, &done).unwrap();
    assert_eq!(told, Took { bytes: Some(GB), time: Duration::from_secs(40) });
    let found = work(false).estimate(&planned, &[told]).unwrap();
    assert_eq!((found.seconds, found.from.as_str()), (Some(40), "last restore"));
    // To a moment it is the set's part that is known from those.
    let moment = by(Method::Replication, Some(log()));
    assert_eq!(took(&moment, &planned, &done), Some(told));
    assert_eq!(
        work(true).estimate(&moment, &[told, told]).unwrap().describe().split(';').next().unwrap(),
        "about 50 s, estimated from last 2 restores"
    );
    assert_eq!(took(&planned, &moment, &done), None);
    assert_eq!(took(&planned, &by(Method::Commands, None), &done), None);
    assert_eq!(took(&planned, &planned, &job(JobStatus::Failed, 40, GB)), None);
}

/// Of the cloud nothing was measured here: its own earlier restores tell, or nothing does, and that is said.
#[test]
fn of_the_cloud_nothing_is_invented() {
    let instance = serde_json::from_value(serde_json::json!({
        "address": "r-1.redis.rds.aliyuncs.com:6379", "architecture": "classic standard, Community",
        "instance_class": "redis.master.small.default", "engine_version": "5.0", "created_at": "2026-11-01T00:00:00Z",
    }));
    let set = SetIdentity { bytes: GB, finished_at: Timestamp::UNIX_EPOCH, jobs: vec![1], manual: true };
    let mut planned = plan();
    planned.preconditions = Preconditions::CloudRestore { instance: instance.unwrap(), set: Some(set) };
    let first = work(false).estimate(&planned, &[]).unwrap();
    assert_eq!(
        (first.seconds, first.from.as_str()),
        (None, "not known yet: no earlier restore of this instance tells")
    );
    assert!(first.meanwhile.contains("not served while the instance is BackupRecovering"), "{first:?}");
    // The cloud shows no bytes of a job; its plan knows those of the set.
    let told = took(&planned, &planned, &job(JobStatus::Succeeded, 90, 0)).unwrap();
    assert_eq!(work(false).estimate(&planned, &[told]).unwrap().seconds, Some(90));
    let Estimate { meanwhile, .. } = first;
    assert!(!meanwhile.contains("locked"), "{meanwhile}");
}
