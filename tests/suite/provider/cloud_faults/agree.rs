//! What the provider wrote down, held against what the emulator did: jobs against calls, the audit against jobs, the fence and the data
//! against both. Each check says what does not agree.

use crate::provider::cloud::{Cloud, ID, Ours};
use crate::support::between::Call;
use crate::support::{Redis, Reply, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::job::{Job, JobKind, JobStatus};
use tair_backup_mcp::state::State;
use tair_backup_mcp::state::sqlite::Sqlite;

/// What the ids of instances begin with that are there to become new ones.
pub const SPARE: &str = "r-spare";
/// How often an agent calls again that got an error.
const AGAIN: u32 = 3;
/// How often it calls in all.
const CALLS: u32 = 3000;

/// Whether somebody may write to a server.
pub fn is_writable(server: &Redis) -> bool {
    matches!(server.try_run(&["SET", "probe", "1"]).unwrap(), Reply::Text(_))
}

/// Gives an instance a policy with much to raise and to lower, by which no set expires while a test plays.
pub fn give_policy(cloud: &Cloud, id: &str) {
    let policy = [
        ("InstanceId", id),
        ("PreferredBackupTime", "02:00Z-03:00Z"),
        ("PreferredBackupPeriod", "Monday"),
        ("BackupRetentionPeriod", "400"),
        ("EnableBackupLog", "0"),
    ];
    cloud.emulator.call("ModifyBackupPolicy", &policy).ok();
}

/// The days for which that policy keeps sets, as the emulator has it.
pub fn retention(cloud: &Cloud) -> i64 {
    let policy = cloud.emulator.call("DescribeBackupPolicy", &[("InstanceId", ID)]).ok();
    policy["BackupRetentionPeriod"].to_string().trim_matches('"').parse().unwrap()
}

/// Calls a guarded tool with the token that it gives until it comes to an end, as an agent would. `on_yes` is called before the token is
/// echoed for the first time, and says whether a person agrees. `None`: there is nobody to call any more, or nobody agrees.
pub fn insist(
    mut args: Value,
    call: &dyn Fn(&Value) -> Option<Result<Value, Fault>>,
    on_yes: &mut dyn FnMut() -> bool,
) -> Option<Result<Value, Fault>> {
    let (mut errors, mut plans) = (0, 0);
    for _ in 0..CALLS {
        let reply = match call(&args)? {
            Ok(reply) => reply,
            Err(fault) => {
                errors += 1;
                if errors > AGAIN || args["confirmation_token"].is_null() {
                    return Some(Err(fault));
                }
                continue;
            }
        };
        let planned = matches!(reply["status"].as_str(), Some("confirmation_required" | "plan_changed"));
        match reply["status"].as_str() {
            _ if planned && plans < AGAIN && reply["confirmation_token"].is_string() => {
                if plans == 0 && !on_yes() {
                    return None;
                }
                plans += 1;
                args["confirmation_token"] = reply["confirmation_token"].clone();
            }
            Some("prechecks_pending") => std::thread::sleep(Duration::from_millis(10)),
            _ => return Some(Ok(reply)),
        }
    }
    panic!("it comes to no end: {args}");
}

/// The jobs of a home, once all of them have ended.
pub fn ended(ours: &Ours) -> Vec<Job> {
    wait("all jobs to end", Duration::from_secs(60), || {
        ours.pause();
        let jobs = ours.run(ours.app.state.jobs(None)).unwrap();
        jobs.iter().all(|job| job.status != JobStatus::Running).then_some(jobs)
    })
}

/// What an account's own record says before something is done to it.
pub struct Emulated {
    jobs: BTreeSet<String>,
}

fn emulated_jobs(cloud: &Cloud) -> Vec<Job> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let state: Arc<dyn State> = Arc::new(Sqlite::new(&cloud.bench.home()));
    runtime.block_on(state.jobs(None)).unwrap()
}

impl Emulated {
    pub fn read(cloud: &Cloud) -> Self {
        Self { jobs: emulated_jobs(cloud).into_iter().map(|job| job.id).collect() }
    }

    /// Waits until nothing runs there any more.
    pub fn at_rest(&self, cloud: &Cloud) {
        wait("the emulator to be at rest", Duration::from_secs(60), || {
            emulated_jobs(cloud).iter().all(|job| job.status != JobStatus::Running).then_some(())
        });
    }

    /// The emulator's own jobs since, and the calls that it answered with success: as many, once it has begun what it was asked for.
    pub fn agrees(&self, cloud: &Cloud, calls: &[Call]) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.compare(cloud, calls);
            if found.is_ok() || Instant::now() > deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn compare(&self, cloud: &Cloud, calls: &[Call]) -> Result<(), String> {
        let new: Vec<Job> = emulated_jobs(cloud).into_iter().filter(|job| !self.jobs.contains(&job.id)).collect();
        let count =
            |kind, here| new.iter().filter(|j| j.kind == kind && j.instance_id.starts_with(SPARE) != here).count();
        for (what, jobs, calls) in [
            ("backups", count(JobKind::Backup, true), done(calls, "CreateBackup").len()),
            ("restores", count(JobKind::Restore, true), done(calls, "RestoreInstance").len()),
            ("new instances", count(JobKind::Restore, false), new_instances(calls).len()),
        ] {
            if jobs != calls {
                return Err(format!("the emulator did {jobs} {what}, and answered {calls} calls for them"));
            }
        }
        Ok(())
    }
}

/// The calls of an action that the emulator carried out.
fn done<'a>(calls: &'a [Call], action: &str) -> Vec<&'a Call> {
    calls.iter().filter(|call| call.action == action && call.was_done()).collect()
}

/// The instances that calls have made.
fn new_instances(calls: &[Call]) -> BTreeSet<String> {
    let orders = ["CreateInstance", "CreateTairInstance"].into_iter().flat_map(|action| done(calls, action));
    orders.map(|call| call.answered.as_ref().unwrap().1["InstanceId"].as_str().unwrap().to_owned()).collect()
}

/// Whether a job did what it was for. A restore whose fence could not be lifted has not succeeded, and says what it did.
fn has_worked(job: &Job) -> bool {
    job.status == JobStatus::Succeeded
        || (job.code == "restore.still_locked" && job.message.starts_with("the restore worked"))
}

/// Each kind of job against the calls that do it: a job that succeeded is one act, one that failed is none, one whose end is not known may
/// be one; and no act has no job.
pub fn with_calls(jobs: &[Job], calls: &[Call]) -> Result<(), String> {
    for (kind, acts) in [
        (JobKind::Backup, done(calls, "CreateBackup").len()),
        (JobKind::Restore, done(calls, "RestoreInstance").len()),
        (JobKind::Deletion, done(calls, "DeleteBackup").len()),
        (JobKind::Clone, new_instances(calls).len()),
    ] {
        let sure = jobs.iter().filter(|job| job.kind == kind && has_worked(job)).count();
        let perhaps = jobs.iter().filter(|job| job.kind == kind && job.status == JobStatus::Uncertain).count();
        if acts < sure || acts > sure + perhaps {
            return Err(format!(
                "{acts} acts of {}, and {sure} jobs that succeeded, {perhaps} of which it is not known",
                kind.as_str()
            ));
        }
    }
    let policies = done(calls, "ModifyBackupPolicy");
    let wrote = |job: &&Job| job.kind == JobKind::Policy && job.status != JobStatus::Failed;
    if !policies.is_empty() && !jobs.iter().any(|job| wrote(&job)) {
        return Err("a policy was written, and no job says so".into());
    }
    // What is not known is named: by its type, and with what to look at.
    let unnamed = |j: &&Job| {
        (j.status == JobStatus::Uncertain) != (j.failure == Some(Kind::Uncertain))
            || (j.status == JobStatus::Uncertain && !j.hint.contains("describe_"))
    };
    if let Some(job) = jobs.iter().find(unnamed) {
        return Err(format!("an end that is not known is not named: {job:?}"));
    }
    never_unlocked_too_early(calls)
}

/// Between the call for a restore and its end nobody lifts the fence, as the emulator's own words about its status have it.
fn never_unlocked_too_early(calls: &[Call]) -> Result<(), String> {
    let mut restoring = false;
    for call in calls.iter().filter(|call| call.was_done()) {
        match call.action.as_str() {
            "RestoreInstance" => restoring = true,
            "DescribeInstanceAttribute" => {
                let (_, reply) = call.answered.as_ref().unwrap();
                restoring = reply["Instances"]["DBInstanceAttribute"][0]["InstanceStatus"] == "BackupRecovering";
            }
            "UnlockDBInstanceWrite" if restoring => {
                return Err("writes were unlocked in the middle of a restore".into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The audit has each job's beginning and end once, for the one who asked for it.
pub fn with_audit(ours: &Ours, jobs: &[Job]) -> Result<(), String> {
    let audit = ours.run(ours.app.state.audit(None, None, 10_000)).unwrap();
    for job in jobs {
        let name = format!("job {}", job.id);
        let of: Vec<_> = audit.iter().filter(|r| r.detail.starts_with(&name)).collect();
        let mut said: Vec<&str> = of.iter().map(|r| r.event.as_str()).collect();
        said.retain(|event| *event != "restore.rolled_back");
        let (began, end) = (job.kind.event(None), job.kind.event(Some(job.status)));
        let mut expected = vec![began.as_str(), end.as_str()];
        if job.status == JobStatus::Running {
            expected.pop();
        }
        if said != expected || of.iter().any(|r| r.caller != job.caller || r.nonce != job.confirmation) {
            return Err(format!("the audit of {} says {said:?}, not {expected:?}", job.id));
        }
    }
    Ok(())
}

/// A restore that succeeded shows the set's data; one that failed left the data alone.
pub fn with_data(jobs: &[Job], found: &str, before: &str, set: &str) -> Result<(), String> {
    let mut restores = jobs.iter().filter(|job| job.kind == JobKind::Restore);
    let expected = match restores.clone().any(has_worked) {
        true => set,
        false if restores.any(|job| job.status == JobStatus::Uncertain) => return Ok(()),
        false => before,
    };
    if found == expected { Ok(()) } else { Err(format!("the data is of {found:?}, not of {expected:?}")) }
}

/// A change of policy that succeeded is in force, and one that failed is not.
pub fn with_policy(jobs: &[Job], (before, wanted): (i64, i64), found: i64) -> Result<(), String> {
    let mut changes = jobs.iter().filter(|job| job.kind == JobKind::Policy);
    let expected = match changes.clone().any(has_worked) {
        true => wanted,
        false if changes.any(|job| job.status == JobStatus::Uncertain) => return Ok(()),
        false => before,
    };
    if found == expected { Ok(()) } else { Err(format!("{found} days are in force, not {expected}")) }
}

/// At a known end the fence is down, and where the fence is up a job says that something is pending.
pub fn with_fence(jobs: &[Job], is_writable: bool) -> Result<(), String> {
    if is_writable || jobs.iter().any(|job| job.kind == JobKind::Restore && job.rollback_pending) {
        return Ok(());
    }
    Err("writes are locked, and no job says so".into())
}

/// At an end that is not known the fence of a restore stays, for the next process to lift.
pub fn with_kept_fence(jobs: &[Job]) -> Result<(), String> {
    let lifted =
        |job: &&Job| job.kind == JobKind::Restore && job.status == JobStatus::Uncertain && !job.rollback_pending;
    jobs.iter()
        .find(lifted)
        .map_or(Ok(()), |job| Err(format!("{} gave its fence up at an end that is not known", job.id)))
}
