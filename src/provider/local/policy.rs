//! Backup policies of instances that this program reaches itself: nothing takes backups of them by a calendar; their log can be on.
//!
//! What the configuration file sets, nothing here changes; the rest is in the state store.

use crate::guard::act::PolicyChange;
use crate::guard::facts::Facts;
use crate::guard::facts::policy::OwnPolicyFacts;
use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::guard::plan::changed;
use crate::guard::preconditions::Preconditions;
use crate::model::fault::{Fault, Kind};
use crate::model::policy::BackupPolicy;
use crate::provider::Raised;
use crate::provider::local::Inner;

impl Inner {
    /// Whether every change of an instance is to be archived: what the file says, else what was set.
    pub(super) async fn log_is_on(&self, instance_id: &str) -> Result<bool, Fault> {
        match self.config(instance_id).and_then(|config| config.enable_backup_log) {
            Some(on) => Ok(on),
            None => Ok(self.state.backup_log(instance_id).await?.unwrap_or(false)),
        }
    }

    /// The policy in force.
    pub(super) async fn policy(&self, instance_id: &str) -> Result<BackupPolicy, Fault> {
        Ok(BackupPolicy { enable_backup_log: self.log_is_on(instance_id).await?, ..BackupPolicy::none() })
    }

    /// The policy in force, and the one after a change.
    async fn before_and_after(
        &self,
        instance_id: &str,
        change: &PolicyChange,
    ) -> Result<(BackupPolicy, BackupPolicy), Fault> {
        let PolicyChange { preferred_backup_time, preferred_backup_period, backup_retention_period, enable_backup_log } =
            change;
        if preferred_backup_time.is_some() || preferred_backup_period.is_some() || backup_retention_period.is_some() {
            return Err(no_calendar(instance_id));
        }
        let now = self.policy(instance_id).await?;
        let then =
            BackupPolicy { enable_backup_log: enable_backup_log.unwrap_or(now.enable_backup_log), ..now.clone() };
        if then != now && self.config(instance_id).is_some_and(|config| config.enable_backup_log.is_some()) {
            return Err(set_in_the_file(instance_id));
        }
        Ok((now, then))
    }

    /// Changes the policy where that lowers nothing.
    pub(super) async fn raise_policy(&self, id: &str, change: &PolicyChange, caller: &str) -> Result<Raised, Fault> {
        let (now, then) = self.before_and_after(id, change).await?;
        if !now.lowered_by(&then).is_empty() {
            return Ok(Raised::Lowers);
        }
        if now != then {
            self.state.set_backup_log(id, then.enable_backup_log).await?;
            self.jobs.audit(AuditRecord::now("policy.changed", caller, id, change.describe())).await;
        }
        self.policy(id).await.map(Raised::Changed)
    }

    /// What a change of policy is about.
    pub(super) async fn policy_facts(&self, instance_id: &str, change: &PolicyChange) -> Result<Facts, Fault> {
        let (now, then) = self.before_and_after(instance_id, change).await?;
        let address = self.endpoint(instance_id).await.map_or_else(|_| String::new(), |endpoint| endpoint.to_string());
        Ok(Facts::OwnPolicy(OwnPolicyFacts { address, now, then }))
    }

    /// Changes the policy as permitted, also where that lowers it.
    pub(super) async fn modify_policy(&self, permit: Permit, change: &PolicyChange) -> Result<String, Fault> {
        let id = permit.plan().instance_id.clone();
        let Preconditions::OwnPolicy { policy } = &permit.plan().preconditions else {
            return Err(permit.plan().unsupported());
        };
        let (now, then) = self.before_and_after(&id, change).await?;
        if *policy != (&now).into() {
            return Err(changed("the policy has been changed since the plan; it was left as it is"));
        }
        self.state.set_backup_log(&id, then.enable_backup_log).await?;
        self.jobs.audit(permit.record("policy.changed", change.describe())).await;
        Ok(format!("the policy is changed: {}", change.describe()))
    }
}

/// Nothing takes backups of the instance by a calendar.
fn no_calendar(instance_id: &str) -> Fault {
    let message = format!(
        "nothing takes backups of {instance_id} by a calendar: of its policy enable_backup_log alone can be set"
    );
    Fault::new(Kind::Usage, "policy.unsupported", message).hint(
        "Call create_backup when a backup is wanted; with enable_backup_log its log has a base of its own each day.",
    )
}

/// The operator wrote it down, and only the operator changes it.
fn set_in_the_file(instance_id: &str) -> Fault {
    let message = format!("enable_backup_log of {instance_id} is set in the configuration file, which no tool changes");
    Fault::new(Kind::Usage, "policy.set_in_file", message)
        .hint("Change it there, or leave it out there so that it can be set by this call.")
}
