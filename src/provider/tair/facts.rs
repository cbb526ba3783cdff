//! What is read before an act on an instance of the cloud. The guard judges it; the order of a new instance is checked by the
//! cloud itself, by a dry run.

use crate::guard::act::{Act, CloneOrder, PolicyChange, Source};
use crate::guard::facts::backup::CloudDeletion;
use crate::guard::facts::clone::{CloneFacts, CloneOrderFacts, CloneSource};
use crate::guard::facts::policy::PolicyFacts;
use crate::guard::facts::restore::{CloudRestore, CloudSource, InPlace};
use crate::guard::facts::{CloudInstance, CloudState, Facts};
use crate::guard::plan::Plan;
use crate::model::backup::DamagedSet;
use crate::model::fault::{Fault, Kind};
use crate::model::text::clean;
use crate::model::time::written;
use crate::provider::tair::architecture::{Architecture, RestoreScope};
use crate::provider::tair::filter_key;
use crate::provider::tair::order::Order;
use crate::provider::tair::sets::{self, CloudSet, Listed, listed_facts};
use crate::provider::tair::{Inner, address_of, policy, traffic};
use crate::tair::wire::attribute::InstanceAttribute;
use jiff::Timestamp;

/// What an instance is, and its status, which changes while nothing else does.
fn state(a: &InstanceAttribute) -> CloudState {
    CloudState {
        instance: CloudInstance {
            address: address_of(a),
            architecture: Architecture::of(a).describe(),
            instance_class: clean(a.instance_class.as_deref().unwrap_or_default()),
            engine_version: a.engine_version.clone().unwrap_or_default(),
            created_at: a.create_time.clone().unwrap_or_default(),
        },
        status: a.instance_status.clone().unwrap_or_default(),
    }
}

impl Inner {
    /// What an act is about.
    pub async fn facts(&self, instance_id: &str, act: &Act, earlier: Option<&Plan>) -> Result<Facts, Fault> {
        match act {
            Act::RestoreInstance { source, write_fence } => {
                self.restore_facts(instance_id, source, *write_fence, earlier).await
            }
            Act::DeleteBackup { backup_id } => self.deletion_facts(instance_id, backup_id).await,
            Act::ModifyBackupPolicy { change } => self.policy_facts(instance_id, change).await,
            Act::CreateInstanceFromBackup { order } => self.clone_facts(instance_id, order, earlier.is_none()).await,
        }
    }

    async fn restore_facts(
        &self,
        id: &str,
        source: &Source,
        write_fence: bool,
        earlier: Option<&Plan>,
    ) -> Result<Facts, Fault> {
        let filter = match source {
            Source::Moment { filter_key: Some(text), .. } => Some(filter_key::lint(text)?),
            _ => None,
        };
        let a = self.attribute(id).await?;
        let architecture = Architecture::of(&a);
        let moment = match source {
            Source::Moment { restore_time, .. } => written(*restore_time),
            Source::Backup { .. } => String::new(),
        };
        let scope = match source {
            Source::Backup { backup_id } => RestoreScope::Set(backup_id),
            Source::Moment { filter_key: Some(_), .. } => RestoreScope::Keys(&moment),
            Source::Moment { .. } => RestoreScope::Moment(&moment),
        };
        let in_place = match architecture.can_restore_in_place(id, scope) {
            Err(no) => Err(no),
            Ok(remark) => {
                let read_at = Timestamp::now();
                let source = match source {
                    Source::Backup { backup_id } => {
                        CloudSource::Set(listed_facts(&self.listed_set(id, backup_id).await?))
                    }
                    Source::Moment { restore_time, time_shift, .. } => CloudSource::Moment {
                        at: *restore_time,
                        time_shift: *time_shift,
                        log_start: architecture.log_start,
                    },
                };
                // Whatever was written since the plan may be in no backup, however long the person took.
                let from = traffic::looked_from(earlier.and_then(|plan| plan.writes).map(|w| w.read_at), read_at);
                let traffic = traffic::writes(&self.client, id, architecture.shape, from).await?;
                let keys = traffic::keys(&self.client, id, architecture.shape).await?;
                Ok(InPlace { remark, source, traffic, keys, read_at, write_fence })
            }
        };
        let instance_id = id.to_owned();
        Ok(Facts::CloudRestore(Box::new(CloudRestore { instance_id, state: state(&a), filter, in_place })))
    }

    async fn deletion_facts(&self, id: &str, backup_id: &str) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let listed = self.listed(id, sets::always()).await?;
        let others = listed.iter().flatten().count().saturating_sub(1);
        let set = listed_facts(&find_set(listed, id, backup_id)?);
        let refused = Architecture::of(&a).can_delete_sets().err();
        Ok(Facts::CloudDeletion(CloudDeletion { state: state(&a), set, refused, others }))
    }

    async fn policy_facts(&self, id: &str, change: &PolicyChange) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let now = self.policy_before(id, change).await?;
        let then = policy::changed(&now, change)?;
        Ok(Facts::PolicyChange(PolicyFacts { state: state(&a), now, then }))
    }

    async fn clone_facts(&self, id: &str, wanted: &CloneOrder, ask_cloud: bool) -> Result<Facts, Fault> {
        let a = self.attribute(id).await?;
        let architecture = Architecture::of(&a);
        let order = match architecture.can_back_up() {
            Err(no) => Err(no),
            Ok(()) => Ok(self.order_facts(id, &a, &architecture, wanted, ask_cloud).await?),
        };
        Ok(Facts::Clone(Box::new(CloneFacts { instance_id: id.to_owned(), state: state(&a), order })))
    }

    async fn order_facts(
        &self,
        id: &str,
        a: &InstanceAttribute,
        architecture: &Architecture,
        wanted: &CloneOrder,
        ask_cloud: bool,
    ) -> Result<CloneOrderFacts, Fault> {
        let (set, source) = match &wanted.source {
            Source::Backup { backup_id } => {
                let listed = self.listed_set(id, backup_id).await?;
                let facts = listed_facts(&listed);
                (listed.ok(), CloneSource::Set(facts))
            }
            Source::Moment { restore_time, .. } => {
                (None, CloneSource::Moment { at: *restore_time, log_start: architecture.log_start })
            }
        };
        let order = Order::new(self.client.region(), a, set.as_ref(), wanted)?;
        // An order for a set that is not whole, or for an instance that is busy, would be refused for that.
        let worth_asking =
            !matches!(source, CloneSource::Set(Err(_))) && a.instance_status.as_deref() == Some("Normal");
        let dry_run = if ask_cloud && worth_asking { Some(self.dry_run(&order).await?) } else { None };
        Ok(CloneOrderFacts { source, terms: order.terms(), dry_run, name: wanted.instance_name.clone() })
    }

    /// A set as it is listed, broken or whole.
    async fn listed_set(&self, id: &str, backup_id: &str) -> Result<Listed, Fault> {
        let listed = self.listed(id, sets::always()).await?;
        find_set(listed, id, backup_id)
    }

    /// A whole set.
    pub async fn cloud_set(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        self.listed_set(id, backup_id).await?.map_err(|d| damaged(id, &d))
    }

    /// A whole set, or one file of one: what can be looked at and downloaded.
    pub async fn set_or_file(&self, id: &str, backup_id: &str) -> Result<CloudSet, Fault> {
        let listed = self.listed(id, sets::always()).await?;
        let found = sets::find_file(listed, backup_id).ok_or_else(|| not_found(id, backup_id))?;
        found.map_err(|d| damaged(id, &d))
    }
}

fn damaged(id: &str, set: &DamagedSet) -> Fault {
    Fault::new(
        Kind::Damaged,
        "backup.damaged",
        format!("backup {} of {id} cannot be used: {}", shown(&set.id), set.reason),
    )
    .hint("Choose another with describe_backups.")
    .next(&["describe_backups"])
}

/// Finds a set. The id of one of its files is not the set: restored alone it would be a part of the data.
fn find_set(listed: Vec<Listed>, id: &str, backup_id: &str) -> Result<Listed, Fault> {
    let of = sets::set_of_file(&listed, backup_id);
    if let Some(found) = sets::find(listed, backup_id) {
        return Ok(found);
    }
    let Some(set) = of else { return Err(not_found(id, backup_id)) };
    let message = format!("{} is one shard of backup {set}, and only downloads take a single shard", shown(backup_id));
    Err(Fault::new(Kind::Usage, "backup.one_shard", message)
        .hint(format!("Give the whole set: backup_id {set}."))
        .next(&["describe_backups"]))
}

/// Long lists of shards are shortened where people read them.
fn shown(id: &str) -> String {
    crate::model::text::clean_to(id, 40)
}

fn not_found(id: &str, backup_id: &str) -> Fault {
    Fault::new(
        Kind::NotFound,
        "backup.not_found",
        format!("{id} has no backup {}", crate::model::text::quoted(backup_id)),
    )
    .hint("Use a backup_id from describe_backups, unchanged; expired sets are gone.")
    .next(&["describe_backups"])
}
