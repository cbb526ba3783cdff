//! The backup policy: read, and changed in what is named, with a permit where that lowers protection. A change is a job, and between
//! its reading and its writing no other process of this home changes the policy.

pub mod values;
mod write;

use crate::guard::act::PolicyChange;
use crate::guard::facts::Facts;
use crate::guard::facts::policy::PolicyFacts;
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
use crate::provider::tair::policy::values::{changed as changed_policy, read};
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
        let now = self.policy_before(id, change).await?;
        let then = changed_policy(&now, change)?;
        Ok(Facts::PolicyChange(PolicyFacts { state: self.cloud_state(&a).await?, now, then }))
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

    /// Changes the policy where that lowers nothing.
    pub async fn raise_policy(
        self: &Arc<Self>,
        instance_id: &str,
        change: &PolicyChange,
        caller: &str,
    ) -> Result<Raised, Fault> {
        self.attribute_here(instance_id).await?;
        let now = self.policy_before(instance_id, change).await?;
        if !now.lowered_by(&changed_policy(&now, change)?).is_empty() {
            return Ok(Raised::Lowers);
        }
        let bound = self.bound().await?;
        let (inner, raise) = (Arc::clone(&bound), change.clone());
        let (waiting, told) = oneshot::channel();
        let job = bound
            .jobs
            .begin_beside(JobKind::Policy, (instance_id, ""), caller, |job| async move {
                let raises = |now: &BackupPolicy, then: &BackupPolicy| {
                    if now.lowered_by(then).is_empty() { Ok(()) } else { Err(changed_meanwhile()) }
                };
                inner.change_policy(&job, &raise, raises, waiting).await
            })
            .await?;
        bound.jobs.outcome(&job, told).await.map(Raised::Changed)
    }

    /// Changes a policy as permitted, also where that lowers it.
    pub async fn modify_policy(self: &Arc<Self>, permit: Permit, change: &PolicyChange) -> Result<String, Fault> {
        let bound = self.bound().await?;
        let (inner, wanted) = (Arc::clone(&bound), change.clone());
        let (waiting, told) = oneshot::channel();
        let job = bound
            .jobs
            .begin_permitted(permit, JobKind::Policy, "", move |job, plan, _permit| async move {
                let planned = |now: &BackupPolicy, _: &BackupPolicy| match &plan.preconditions {
                    Preconditions::PolicyChange { policy, .. } if *policy == PolicyValues::from(now) => Ok(()),
                    Preconditions::PolicyChange { .. } => {
                        Err(plan_changed("the policy has been changed since the plan; it was left as it is"))
                    }
                    _ => Err(plan.unsupported()),
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
        may: impl Fn(&BackupPolicy, &BackupPolicy) -> Result<(), Fault>,
        waiting: oneshot::Sender<Result<BackupPolicy, Fault>>,
    ) -> JobEnd {
        let id = &job.instance_id;
        let work = async {
            let now = self.policy_before(id, change).await?;
            let then = changed_policy(&now, change)?;
            may(&now, &then)?;
            // Written down before the call: a later process reads what came of it.
            self.jobs.save_recovery(job, &Record { before: (&now).into(), then: (&then).into() }).await?;
            self.write_policy(id, &now, then).await
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
        let Some(Record { before, then }) = Record::read(record)? else {
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
                if found == then {
                    return Ok("the process died around the call, and the policy is as it was asked for".into());
                }
                last = Some(found);
            }
            if poller.wait("the change of policy").await.is_err() {
                break;
            }
        }
        let found = match last {
            Some(found) if found == before => "is as it was before",
            Some(_) => "is another by now",
            None => "cannot be read",
        };
        let message =
            format!("the process died around the call, and the policy {found}: it is not known whether it was changed");
        Err(Fault::new(Kind::Uncertain, "cloud.uncertain", message)
            .hint("Look at describe_backup_policy before you call again.")
            .next(&["describe_backup_policy"])
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
}

impl Recoverable for Record {
    const KIND: RecoveryKind = RecoveryKind::CloudPolicy;
}
