//! The backup policy: read, and changed in what is named, with a permit where that lowers protection. A change is a job, and between
//! its reading and its writing no other process of this home changes the policy.

mod persistence;
pub mod values;
mod write;

use crate::guard::act::PolicyChange;
use crate::guard::facts::Facts;
use crate::guard::facts::policy::{PersistenceFacts, PolicyFacts};
use crate::guard::permit::Permit;
use crate::guard::plan::changed as plan_changed;
use crate::guard::preconditions::{PolicyValues, Preconditions};
use crate::model::calendar::invalid;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobEnd, JobKind, RecoveryKind, StoredRecovery};
use crate::model::policy::BackupPolicy;
use crate::provider::Raised;
use crate::provider::jobs::{Recoverable, tell};
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::policy::values::{changed as changed_policy, read, same};
use crate::provider::tair::policy::write::changed_meanwhile;
use crate::provider::tair::poller::Poller;
use crate::state::leases::Held;
use crate::state::policies::busy;
use crate::tair::wire::policy::DescribeBackupPolicy;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Inner {
    /// What a change of policy is about.
    pub async fn policy_facts(&self, id: &str, change: &PolicyChange) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let (now, then) = self.before_and_after(id, change).await?;
        let persistence = self.persistence_facts(&a, change, &then).await?;
        Ok(Facts::PolicyChange(PolicyFacts { state: self.cloud_state(&a).await?, now, then, persistence }))
    }

    /// The policy in force.
    pub async fn policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        Ok(self.read_policy(instance_id).await?.0)
    }

    /// The policy in force, and whether it is known if data flashback is on: the policy says so, or the start of the recovery
    /// window does, also the one among the instance's attributes.
    pub(super) async fn read_policy(&self, instance_id: &str) -> Result<(BackupPolicy, bool), Fault> {
        let reply = self.client.call(&DescribeBackupPolicy { instance_id: instance_id.into() }).await?;
        let mut policy = read(&reply);
        if reply.enable_backup_log.is_some() || policy.enable_backup_log {
            return Ok((policy, true));
        }
        policy.backup_log_start_time = Architecture::of(&self.attribute(instance_id).await?).log_start;
        policy.enable_backup_log = policy.backup_log_start_time.is_some();
        let known = policy.enable_backup_log;
        Ok((policy, known))
    }

    /// The policy in force, before a change of it. Where it is not known whether data flashback is on,
    /// that cannot be kept, and must not go off by omission: the change has to name enable_backup_log, and counts as a change of
    /// that value.
    async fn policy_before(&self, instance_id: &str, change: &PolicyChange) -> Result<BackupPolicy, Fault> {
        let (policy, flashback_known) = self.read_policy(instance_id).await?;
        if flashback_known {
            return Ok(policy);
        }
        match change.enable_backup_log {
            Some(wanted) => Ok(BackupPolicy { enable_backup_log: !wanted, ..policy }),
            None => Err(invalid(
                "the cloud does not tell whether enable_backup_log is in force, so it cannot be kept: give it".into(),
            )),
        }
    }

    /// The policy in force, and the one after a change.
    async fn before_and_after(&self, id: &str, change: &PolicyChange) -> Result<(BackupPolicy, BackupPolicy), Fault> {
        if change.is_of_persistence_alone() {
            let now = self.policy(id).await?;
            return Ok((now.clone(), now));
        }
        let now = self.policy_before(id, change).await?;
        let then = changed_policy(&now, change)?;
        Ok((now, then))
    }

    /// Changes the policy where that lowers nothing.
    pub async fn raise_policy(
        self: &Arc<Self>,
        instance_id: &str,
        change: &PolicyChange,
        caller: &str,
    ) -> Result<Raised, Fault> {
        let a = self.attribute_here(instance_id).await?;
        let (now, then) = self.before_and_after(instance_id, change).await?;
        let persistence = self.persistence_facts(&a, change, &then).await?;
        if lowers(&now, &then, persistence.as_ref()) {
            return Ok(Raised::Lowers);
        }
        let bound = self.bound().await?;
        let (inner, raise) = (Arc::clone(&bound), change.clone());
        let (waiting, told) = oneshot::channel();
        let job = bound
            .jobs
            .begin_beside(JobKind::Policy, (instance_id, ""), caller, |job| async move {
                let raises = |now: &BackupPolicy, then: &BackupPolicy, persistence: Option<&PersistenceFacts>| {
                    if lowers(now, then, persistence) { Err(changed_meanwhile()) } else { Ok(()) }
                };
                inner.change_policy(&job, &raise, raises, waiting).await
            })
            .await?;
        let policy = bound.jobs.outcome(&job, told).await?;
        let note = change.persistence.describe();
        let note = if note.is_empty() { note } else { format!("{note} set and read back") };
        Ok(Raised::Changed(policy, note))
    }

    /// Changes a policy as permitted, also where that lowers it.
    pub async fn modify_policy(self: &Arc<Self>, permit: Permit, change: &PolicyChange) -> Result<String, Fault> {
        let bound = self.bound().await?;
        let (inner, wanted) = (Arc::clone(&bound), change.clone());
        let (waiting, told) = oneshot::channel();
        let job = bound
            .jobs
            .begin_permitted(permit, JobKind::Policy, "", move |job, plan, _permit| async move {
                let planned = |now: &BackupPolicy, _: &BackupPolicy, found: Option<&PersistenceFacts>| {
                    let Preconditions::PolicyChange { policy, persistence, .. } = &plan.preconditions else {
                        return Err(plan.unsupported());
                    };
                    if *policy == PolicyValues::from(now) && persistence.as_ref() == found.map(|found| &found.now) {
                        return Ok(());
                    }
                    Err(plan_changed("the policy has been changed since the plan; it was left as it is"))
                };
                inner.change_policy(&job, &wanted, planned, waiting).await
            })
            .await?;
        bound.jobs.outcome(&job, told).await?;
        Ok(format!("the policy is changed and was read back: {}", change.describe()))
    }

    /// Changes the policy as a job, with nobody else of this home between its reading and its writing. `may` judges what is in force now and
    /// what would be; `waiting` hears what came of it.
    async fn change_policy(
        &self,
        job: &Job,
        change: &PolicyChange,
        may: impl Fn(&BackupPolicy, &BackupPolicy, Option<&PersistenceFacts>) -> Result<(), Fault>,
        waiting: oneshot::Sender<Result<BackupPolicy, Fault>>,
    ) -> JobEnd {
        let id = &job.instance_id;
        let work = async {
            let a = self.attribute(id).await?;
            let (now, then) = self.before_and_after(id, change).await?;
            let persistence = self.persistence_facts(&a, change, &then).await?;
            may(&now, &then, persistence.as_ref())?;
            let appendonly = change.persistence.appendonly;
            // Written down before the call: a later process reads what came of it.
            self.jobs.save_recovery(job, &Record { before: (&now).into(), then: (&then).into(), appendonly }).await?;
            let Some(persistence) = persistence else { return self.write_policy(id, &now, then).await };
            // Data flashback needs the file: it comes before flashback goes on, and goes after that went off.
            if appendonly == Some(true) {
                self.write_appendonly(&a, &persistence).await?;
                return self.write_policy(id, &now, then).await.map_err(|fault| half(fault, "appendonly is set"));
            }
            let written = self.write_policy(id, &now, then).await?;
            let done = self.write_appendonly(&a, &persistence).await;
            done.map_err(|fault| if same(&now, &written) { fault } else { half(fault, "the policy is changed") })?;
            Ok(written)
        };
        let done = self.alone_with_the_policy(id, work).await;
        tell(waiting, &done);
        done?;
        Ok(change.describe())
    }

    /// Does work on a policy while no other process of this home, and nothing else in this one, does.
    async fn alone_with_the_policy<T>(
        &self,
        instance_id: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let name = format!("policy/{instance_id}");
        let mut poller = Poller::new(&self.polling, self.polling.ready_timeout, &self.jobs.stop);
        let lease = loop {
            if let Some(held) = Held::acquire(self.jobs.state.clone(), &name).await? {
                break held;
            }
            if poller.wait("another change of the policy").await.is_err() {
                return Err(busy(instance_id));
            }
        };
        let done = work.await;
        lease.give_back().await;
        done
    }

    /// Finds out what came of a change whose process died.
    pub async fn resume_policy(&self, job: &Job, record: Option<&StoredRecovery>) -> JobEnd {
        let Some(Record { before, then, appendonly }) = Record::read(record)? else {
            let message = "the process died before it asked the cloud for this change of policy";
            return Err(Fault::new(Kind::Unexpected, "job.interrupted", message)
                .hint("The policy is as it was. Call modify_backup_policy again.")
                .into());
        };
        let mut poller = Poller::new(&self.polling, self.polling.visibility_delay, &self.jobs.stop);
        let mut last = None;
        loop {
            if let Ok((found, _)) = self.read_policy(&job.instance_id).await {
                let found = PolicyValues::from(&found);
                let file = match appendonly {
                    Some(_) => self.persistence(&job.instance_id).await.ok().and_then(|p| p.settings.appendonly),
                    None => None,
                };
                if found == then && file == appendonly {
                    return Ok("the process died around the call, and the policy is as it was asked for".into());
                }
                last = Some(found);
            }
            if poller.wait("the change of policy").await.is_err() {
                break;
            }
        }
        let found = match last {
            Some(found) if found == before && appendonly.is_none() => "is as it was before",
            Some(found) if found == before || found == then => "or the append-only file is not as asked for",
            Some(_) => "is another by now",
            None => "cannot be read",
        };
        let message =
            format!("the process died around the call, and the policy {found}: it is not known whether it was changed");
        Err(Fault::new(Kind::Uncertain, "cloud.uncertain", message)
            .hint("Look at describe_backup_policy before you call again.")
            .into())
    }
}

/// What a later process needs to find out what came of a change of policy.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The policy before the change.
    before: PolicyValues,
    /// The policy that was asked for.
    then: PolicyValues,
    /// Whether an append-only file was asked for; `None` where the change did not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    appendonly: Option<bool>,
}

/// Whether a change lowers anything.
fn lowers(now: &BackupPolicy, then: &BackupPolicy, persistence: Option<&PersistenceFacts>) -> bool {
    !now.lowered_by(then).is_empty() || persistence.is_some_and(|p| !p.now.lowered_by(&p.then).is_empty())
}

/// The fault of the second call of a change whose first one stands.
fn half(mut fault: Fault, done: &str) -> Fault {
    fault.message = format!("{done}, and then: {}", fault.message);
    fault
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudPolicy;
}
