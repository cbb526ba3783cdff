//! The acts that the guard plans, as they are here: what is asked about each, and what carries it out.

use crate::guard::act::{Act, Source};
use crate::guard::facts::Facts;
use crate::guard::permit::Permit;
use crate::guard::plan::Plan;
use crate::model::fault::Fault;
use crate::provider::local::Local;
use crate::provider::{Carried, Provider as _};
use std::sync::Arc;

impl Local {
    /// Reads what an act is about, and judges nothing.
    pub(super) async fn facts_of(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        match act {
            Act::RestoreInstance { source, keys, .. } => {
                let (set_of, keys) = (act.set_of(instance_id), keys.as_ref());
                self.check_instance(set_of).await?;
                let facts = match source {
                    Source::Backup { backup_id } => {
                        let facts =
                            self.inner.restore_facts(instance_id, set_of, backup_id, keys, false, earlier).await;
                        self.inner.named_set((set_of, backup_id.as_str()), facts).await?
                    }
                    Source::Moment { .. } | Source::Before { .. } => {
                        self.inner.moment_facts(instance_id, set_of, source, keys, earlier).await?
                    }
                };
                if matches!(act, Act::RestoreInstance { write_fence: true, .. }) {
                    self.inner.can_fence(instance_id, &facts).await?;
                }
                Ok(facts)
            }
            Act::DeleteBackup { backup_id } => self.inner.deletion_facts(instance_id, backup_id).await,
            Act::Prune { keep, backup_ids } => self.inner.pruning_facts(instance_id, keep, backup_ids).await,
            Act::ModifyBackupPolicy { change } => self.inner.policy_facts(instance_id, change).await,
            Act::CreateInstanceFromBackup { order } => self.inner.clone_facts(instance_id, order, earlier).await,
        }
    }

    /// Carries out what is permitted.
    pub(super) async fn carry_out_act(&self, permit: Permit) -> Result<Carried, Fault> {
        let inner = Arc::clone(&self.inner);
        match &permit.plan().act {
            // Cut off between two steps, a set's digest would be forgotten and the set be there, or the set be gone and the audit not have it.
            Act::DeleteBackup { .. } => {
                self.inner.jobs.whole(async move { inner.delete(permit).await.map(Carried::Done) }).await?
            }
            Act::Prune { .. } => {
                self.inner.jobs.whole(async move { inner.prune(permit).await.map(Carried::Pruned) }).await?
            }
            Act::RestoreInstance { source, .. } => {
                let planned = permit.plan().direct_restore()?.replay.as_ref().map(|replay| replay.backup_id.clone());
                let backup_id = match (source, planned) {
                    (Source::Backup { backup_id }, None) => backup_id.clone(),
                    (Source::Moment { .. } | Source::Before { .. }, Some(base)) => base,
                    _ => return Err(permit.plan().unsupported()),
                };
                self.inner.start_restore(permit, &backup_id).await.map(Carried::Job)
            }
            Act::ModifyBackupPolicy { change } => {
                let change = change.clone();
                self.inner.modify_policy(permit, &change).await.map(Carried::Done)
            }
            Act::CreateInstanceFromBackup { order } => {
                let order = order.clone();
                self.inner.start_clone(permit, &order).await.map(Carried::Job)
            }
        }
    }
}
