//! The backup policy: read, and changed in what is named, with a permit where that lowers protection.

pub mod values;
mod write;

use crate::guard::act::PolicyChange;
use crate::guard::facts::Facts;
use crate::guard::facts::policy::PolicyFacts;
use crate::guard::permit::Permit;
use crate::guard::plan::changed as plan_changed;
use crate::guard::preconditions::{PolicyValues, Preconditions};
use crate::model::fault::Fault;
use crate::model::policy::BackupPolicy;
use crate::provider::Raised;
use crate::provider::tair::Inner;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::describe::cloud_state;
use crate::provider::tair::policy::values::{changed as changed_policy, invalid, read};
use crate::provider::tair::policy::write::NotWritten;
use crate::tair::wire::policy::DescribeBackupPolicy;
use std::sync::{Arc, PoisonError};

impl Inner {
    /// What a change of policy is about.
    pub async fn policy_facts(&self, id: &str, change: &PolicyChange) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let now = self.policy_before(id, change).await?;
        let then = changed_policy(&now, change)?;
        Ok(Facts::PolicyChange(PolicyFacts { state: cloud_state(&a), now, then }))
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

    /// Held while the policy of an instance is changed: what one call reads must still hold when it writes.
    fn policy_lock(&self, instance_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(instance_id.to_owned()).or_default())
    }

    /// Changes the policy where that lowers nothing.
    pub async fn raise_policy(&self, instance_id: &str, change: &PolicyChange) -> Result<Raised, Fault> {
        let lock = self.policy_lock(instance_id);
        let _held = lock.lock().await;
        let now = self.policy_before(instance_id, change).await?;
        let then = changed_policy(&now, change)?;
        if !now.lowered_by(&then).is_empty() {
            return Ok(Raised::Lowers);
        }
        Ok(Raised::Changed(self.write_policy(instance_id, &now, then).await?))
    }

    /// Changes a policy as permitted, also where that lowers it.
    pub async fn modify_policy(&self, permit: Permit, change: &PolicyChange) -> Result<String, Fault> {
        let id = permit.plan().instance_id.clone();
        let lock = self.policy_lock(&id);
        let _held = lock.lock().await;
        let now = self.policy_before(&id, change).await?;
        let planned = match &permit.plan().preconditions {
            Preconditions::PolicyChange { policy, .. } => policy,
            _ => return Err(permit.plan().unsupported()),
        };
        if *planned != PolicyValues::from(&now) {
            return Err(plan_changed("the policy has been changed since the plan; it was left as it is"));
        }
        let then = changed_policy(&now, change)?;
        let done = self.write_policy(&id, &now, then).await;
        let (event, detail) = match &done {
            Ok(_) => ("policy.changed", change.describe()),
            Err(NotWritten::Uncertain(fault)) => ("policy.uncertain", fault.message.clone()),
            Err(NotWritten::Refused(fault)) => ("policy.not_changed", format!("{}: {}", fault.code, fault.message)),
        };
        self.jobs.audit(permit.record(event, detail)).await;
        done?;
        Ok(format!("the policy is changed and was read back: {}", change.describe()))
    }
}
