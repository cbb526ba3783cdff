//! What an instance of the cloud keeps on its disk by itself, as far as the cloud tells: settings, of which `appendonly` alone can be changed.
//!
//! Saves and rewrites are the cloud's own business, and it does not tell how they stand.

use crate::guard::act::PolicyChange;
use crate::guard::facts::policy::PersistenceFacts;
use crate::model::calendar::invalid;
use crate::model::fault::{Fault, Kind};
use crate::model::persistence::{Persistence, PersistenceSettings};
use crate::model::policy::BackupPolicy;
use crate::provider::tair::Inner;
use crate::provider::tair::policy::write::uncertain;
use crate::provider::tair::poller::Poller;
use crate::tair::error::CloudError;
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::instances::Generation;
use crate::tair::wire::settings::{
    DescribeInstanceConfig, DescribeParameters, InstanceConfig, ModifyInstanceConfig, Parameters,
};
use serde_json::{Map, Value, json};

/// What no call tells.
const NOT_TOLD: &str = "how saves and rewrites of the append-only file stand, and what else is not here, the cloud does not tell: they are its own";

impl Inner {
    /// What the instance keeps on its disk, as far as the cloud tells.
    pub async fn persistence(&self, instance_id: &str) -> Result<Persistence, Fault> {
        let settings = self.persistence_settings(&self.attribute(instance_id).await?).await?;
        Ok(Persistence { settings, unread: NOT_TOLD.to_owned(), ..Persistence::default() })
    }

    /// The settings, by the call that the instance's generation has.
    async fn persistence_settings(&self, a: &InstanceAttribute) -> Result<PersistenceSettings, Fault> {
        let id = a.instance_id.clone();
        if a.generation() == Generation::Classic {
            let reply = self.client.call(&DescribeParameters { db_instance_id: id }).await?;
            return Ok(of_parameters(&reply));
        }
        Ok(of_config(&self.client.call(&DescribeInstanceConfig { instance_id: id }).await?))
    }

    /// The settings in force and those after a change; `None` where it names none.
    pub(super) async fn persistence_facts(
        &self,
        a: &InstanceAttribute,
        change: &PolicyChange,
        then: &BackupPolicy,
    ) -> Result<Option<PersistenceFacts>, Fault> {
        let wanted = &change.persistence;
        if wanted.is_empty() {
            return Ok(None);
        }
        if *wanted != (PersistenceSettings { appendonly: wanted.appendonly, ..PersistenceSettings::default() }) {
            let message = "of what an instance of the cloud keeps on its disk only appendonly can be changed";
            return Err(Fault::new(Kind::Usage, "policy.unsupported", message)
                .hint("Leave out save, appendfsync and the thresholds of rewrites: the cloud saves and flushes by its own rules."));
        }
        if wanted.appendonly == Some(false) && then.enable_backup_log {
            let message = "data flashback needs the append-only file, and is on".to_owned();
            return Err(invalid(message).hint("Give enable_backup_log false as well, or leave appendonly as it is."));
        }
        let now = self.persistence_settings(a).await?;
        Ok(Some(PersistenceFacts { then: now.with(wanted), now }))
    }

    /// Writes what a change does to the settings and reads it back. Sent twice it is the same.
    pub(super) async fn write_appendonly(&self, a: &InstanceAttribute, facts: &PersistenceFacts) -> Result<(), Fault> {
        let Some(wanted) = facts.now.changed_to(&facts.then).appendonly else { return Ok(()) };
        let value = if wanted { "yes" } else { "no" };
        let config = json!({ "appendonly": value }).to_string();
        let call = ModifyInstanceConfig { instance_id: a.instance_id.clone(), config };
        let mut poller = Poller::new(&self.polling, self.polling.ready_timeout, &self.jobs.stop);
        let lost = loop {
            match self.client.call(&call).await {
                Ok(_) => break None,
                Err(e) if e.is_uncertain() => break Some(e),
                // Refused before anything was done.
                Err(e) if e.is_cloud(CloudError::says_wait_until_ready) => {
                    if poller.elapsed() >= self.polling.ready_timeout {
                        return Err(e.into());
                    }
                }
                Err(e) => return Err(e.into()),
            }
            poller.wait("the change of appendonly").await.map_err(|end| end.into_fault())?;
        };
        let mut poller = Poller::new(&self.polling, self.polling.visibility_delay.saturating_mul(2), &self.jobs.stop);
        let found = loop {
            let found = self.persistence_settings(a).await.map(|settings| settings.appendonly);
            if matches!(found, Ok(Some(on)) if on == wanted) {
                return Ok(());
            }
            if poller.elapsed() >= self.polling.visibility_delay
                || poller.wait("the change of appendonly").await.is_err()
            {
                break found;
            }
        };
        match (lost, found) {
            (Some(e), _) => Err(uncertain(&format!("the reply to the change of appendonly was lost: {e}")).because(e)),
            (None, Err(unread)) => {
                Err(uncertain(&format!("the cloud took appendonly {value}, and it cannot be read back: {unread}")))
            }
            (None, Ok(_)) => {
                let message = format!("the cloud took appendonly {value}, and keeps another");
                Err(Fault::new(Kind::Provider, "policy.not_kept", message)
                    .hint("Look at describe_backup_policy; the instance may not offer what was asked for."))
            }
        }
    }
}

/// The settings among a cloud-native instance's; what cannot be read is absent.
fn of_config(reply: &InstanceConfig) -> PersistenceSettings {
    let config = reply.config.as_deref().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let mut settings = PersistenceSettings::default();
    for (name, value) in config.into_iter().flatten() {
        let number = value.is_number().then(|| value.to_string());
        if let Some(value) = value.as_str().map(str::to_owned).or(number) {
            settings.put(&name, &value);
        }
    }
    settings
}

/// The settings among a classic instance's parameters.
fn of_parameters(reply: &Parameters) -> PersistenceSettings {
    let mut settings = PersistenceSettings::default();
    for parameter in &reply.running_parameters.parameter {
        settings.put(&parameter.parameter_name, &parameter.parameter_value);
    }
    settings
}
