//! What is read before a restore in place: the instance, the set or the moment, the writes and the keys. The guard judges it.

use crate::guard::act::Source;
use crate::guard::facts::Facts;
use crate::guard::facts::restore::{CloudRestore, CloudSource, InPlace};
use crate::guard::plan::Plan;
use crate::model::fault::Fault;
use crate::model::key_filter::{self, SomeKeys};
use crate::model::time::written;
use crate::provider::tair::architecture::{Architecture, RestoreScope};
use crate::provider::tair::sets::listed_facts;
use crate::provider::tair::{Inner, traffic};
use crate::provider::unsupported;

impl Inner {
    /// What a restore in place is about.
    pub async fn restore_facts(
        &self,
        id: &str,
        source: &Source,
        keys: Option<&SomeKeys>,
        earlier: Option<&Plan>,
    ) -> Result<Facts, Fault> {
        let filter = keys.map(|keys| key_filter::for_cloud(&keys.filter_key)).transpose()?;
        let a = self.attribute(id).await?;
        let architecture = Architecture::of(&a);
        let moment = match source {
            Source::Moment { restore_time, .. } => written(*restore_time),
            Source::Backup { .. } => String::new(),
            Source::Before { .. } => return Err(unsupported("before_position")),
        };
        let scope = match source {
            Source::Backup { backup_id } => RestoreScope::Set(backup_id),
            Source::Moment { .. } if filter.is_some() => RestoreScope::Keys(&moment),
            Source::Moment { .. } | Source::Before { .. } => RestoreScope::Moment(&moment),
        };
        let state = self.cloud_state(&a).await?;
        let read_at = state.read_at;
        let in_place = match architecture.can_restore_in_place(id, scope) {
            Err(no) => Err(no),
            Ok(remark) => {
                let source = match source {
                    Source::Backup { backup_id } => {
                        CloudSource::Set(listed_facts(&self.judged_set(id, backup_id).await?))
                    }
                    Source::Moment { restore_time, time_shift, .. } => CloudSource::Moment {
                        at: *restore_time,
                        time_shift: *time_shift,
                        log_start: architecture.log_start,
                    },
                    Source::Before { .. } => return Err(unsupported("before_position")),
                };
                // Whatever was written since the plan may be in no backup, however long the person took.
                let from = traffic::looked_from(earlier.and_then(|plan| plan.writes).map(|w| w.read_at), read_at);
                let traffic = traffic::writes(&self.client, id, architecture.shape, from).await?;
                let keys = traffic::keys(&self.client, id, architecture.shape).await?;
                Ok(InPlace { remark, source, traffic, keys })
            }
        };
        let instance_id = id.to_owned();
        let pending_rollback = self.jobs.state.pending_rollback(id).await?;
        Ok(Facts::CloudRestore(Box::new(CloudRestore { instance_id, state, pending_rollback, filter, in_place })))
    }
}
