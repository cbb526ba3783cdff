//! The order of a new instance: like its source, but for what is asked to differ, and always pay-as-you-go.
//!
//! Pure: an order is made of what was read, and nothing is asked.

use crate::guard::act::{CloneOrder, Source};
use crate::guard::facts::clone::{OrderCall, OrderTerms};
use crate::model::fault::{Fault, Kind};
use crate::model::text::quoted;
use crate::provider::tair::architecture::{Architecture, Shape};
use crate::provider::tair::sets::CloudSet;
use crate::tair::params::Params;
use crate::tair::wire::attribute::InstanceAttribute;
use crate::tair::wire::backups::RecoverConfig;
use crate::tair::wire::clone::{CreateInstance, CreateTairInstance};
use crate::tair::wire::instances::Generation;
use crate::tair::wire::{Action as _, Second};
use serde::{Deserialize, Serialize};

/// What every new instance is charged by.
const POST_PAID: &str = "PostPaid";

/// An order, as one of the two calls that take it.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// An order of Redis, by `CreateInstance`.
    Redis(CreateInstance),
    /// An order of Tair, by `CreateTairInstance`.
    Tair(CreateTairInstance),
}

fn unfit(code: &'static str, message: String, hint: &str) -> Fault {
    Fault::new(Kind::Usage, code, message).hint(hint)
}

/// The kind of Tair that a class is of, if it is Tair's.
fn tair_type(instance_type: Option<&str>, class: &str) -> Option<&'static str> {
    let of = |text: &str| {
        let text = text.to_ascii_lowercase().replace('.', "_");
        ["tair_rdb", "tair_scm", "tair_essd"].into_iter().find(|kind| text.starts_with(kind))
    };
    // The class decides: an order may name another one than the source's.
    of(class)
        .or_else(|| if class.to_ascii_lowercase().starts_with("redis.") { None } else { instance_type.and_then(of) })
}

/// Which settings the new instance takes over, as the wire has them.
fn recover_mode(
    order: &CloneOrder,
    set: Option<&CloudSet>,
    architecture: &Architecture,
) -> Result<Option<String>, Fault> {
    if order.recover_config_mode.is_empty() {
        return Ok(None);
    }
    if architecture.generation == Generation::Classic {
        return Err(unfit(
            "clone.recover_config",
            "recover_config_mode works for cloud-native sources only; this one is classic".into(),
            "Leave recover_config_mode out and set the new instance up by hand.",
        ));
    }
    if let Some(set) = set
        && let Some(missing) = order.recover_config_mode.iter().find(|name| !set.recover.holds(name))
    {
        let offered: Vec<&str> = RecoverConfig::NAMES.into_iter().filter(|name| set.recover.holds(name)).collect();
        let offered = if offered.is_empty() { "none of them".into() } else { offered.join(", ") };
        return Err(unfit(
            "clone.recover_config",
            format!("backup {} cannot give back {}: it holds {offered}", set.set.id, quoted(missing)),
            "Leave out of recover_config_mode what the set does not hold.",
        ));
    }
    Ok(Some(order.recover_config_mode.join(",")))
}

/// The order without what was left empty: that is not asked for.
fn plain(order: &CloneOrder) -> CloneOrder {
    let given = |text: &Option<String>| text.as_ref().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    CloneOrder {
        source: order.source.clone(),
        instance_name: given(&order.instance_name),
        instance_class: given(&order.instance_class),
        zone_id: given(&order.zone_id),
        vswitch_id: given(&order.vswitch_id),
        recover_config_mode: order.recover_config_mode.iter().filter(|m| !m.trim().is_empty()).cloned().collect(),
    }
}

impl Order {
    /// Makes the order for a new instance like its source, but for what is asked to differ.
    ///
    /// # Errors
    /// `clone.…`, naming what is missing and what to give.
    pub fn new(
        region: &str,
        source: &InstanceAttribute,
        set: Option<&CloudSet>,
        order: &CloneOrder,
    ) -> Result<Self, Fault> {
        let order = &plain(order);
        let architecture = Architecture::of(source);
        let class = order
            .instance_class
            .clone()
            .or_else(|| source.instance_class.clone())
            .or_else(|| source.real_instance_class.clone())
            .ok_or_else(|| {
                unfit(
                    "clone.class_invalid",
                    "the cloud does not tell the source's class".into(),
                    "Give instance_class.",
                )
            })?;
        let moved = order.zone_id.is_some() && order.zone_id != source.zone_id;
        if moved && order.vswitch_id.is_none() {
            return Err(unfit(
                "clone.network_invalid",
                "a vSwitch belongs to one zone, and the source's is in another than zone_id".into(),
                "Give vswitch_id: a vSwitch of the source's VPC in that zone.",
            ));
        }
        let recover = recover_mode(order, set, &architecture)?;
        let restore_time = match order.source {
            Source::Moment { restore_time, .. } => Some(Second(restore_time)),
            Source::Backup { .. } | Source::Before { .. } => None,
        };
        let of_cluster = set.is_some_and(|s| s.of_cluster);
        let id = set.map(|s| s.set.id.clone());
        let (backup_id, cluster_backup_id) = if of_cluster { (None, id) } else { (id, None) };
        // Classic classes have the shards in their name.
        let sharded = architecture.shape == Shape::Cluster && architecture.generation == Generation::CloudNative;
        let shard_count = if sharded { source.shard_count } else { None };
        let secondary_zone_id = if moved { None } else { source.secondary_zone_id.clone() };
        let v_switch_id = order.vswitch_id.clone().or_else(|| source.v_switch_id.clone());
        let zone_id = order.zone_id.clone().or_else(|| source.zone_id.clone());
        let src = Some(source.instance_id.clone());
        let Some(kind) = tair_type(source.instance_type.as_deref(), &class) else {
            return Ok(Self::Redis(CreateInstance {
                region_id: region.into(),
                src_db_instance_id: src,
                backup_id,
                cluster_backup_id,
                restore_time,
                recover_config_mode: recover,
                instance_name: order.instance_name.clone(),
                instance_class: Some(class),
                capacity: None,
                instance_type: Some("Redis".into()),
                node_type: None,
                vpc_id: source.vpc_id.clone(),
                v_switch_id,
                zone_id,
                secondary_zone_id,
                engine_version: source.engine_version.clone(),
                shard_count,
                resource_group_id: source.resource_group_id.clone(),
                charge_type: POST_PAID.into(),
                dry_run: None,
                token: None,
            }));
        };
        let network = |value: Option<String>, what: &str| {
            value.ok_or_else(|| {
                unfit(
                    "clone.network_invalid",
                    format!("a Tair instance needs a {what}, and the source has none"),
                    "Make the instance in the console, or give vswitch_id and move the source into a VPC first.",
                )
            })
        };
        Ok(Self::Tair(CreateTairInstance {
            region_id: region.into(),
            src_db_instance_id: src,
            backup_id,
            cluster_backup_id,
            restore_time,
            recover_config_mode: recover,
            instance_name: order.instance_name.clone(),
            instance_class: class,
            instance_type: kind.into(),
            shard_type: None,
            vpc_id: network(source.vpc_id.clone(), "VPC")?,
            v_switch_id: network(v_switch_id, "vSwitch")?,
            storage: source.storage.as_deref().and_then(|s| s.trim().parse().ok()),
            storage_type: source.storage_type.clone(),
            zone_id,
            secondary_zone_id,
            engine_version: source.engine_version.clone(),
            shard_count,
            resource_group_id: source.resource_group_id.clone(),
            charge_type: POST_PAID.into(),
            dry_run: None,
            client_token: None,
        }))
    }

    /// All of the order that sets the price or the place.
    #[must_use]
    pub fn terms(&self) -> OrderTerms {
        match self {
            Self::Redis(o) => OrderTerms {
                call: OrderCall::CreateInstance,
                instance_class: o.instance_class.clone().unwrap_or_default(),
                charge_type: POST_PAID.into(),
                zone_id: o.zone_id.clone(),
                secondary_zone_id: o.secondary_zone_id.clone(),
                resource_group_id: o.resource_group_id.clone(),
                storage_gb: None,
                storage_type: None,
                vpc_id: o.vpc_id.clone(),
                vswitch_id: o.v_switch_id.clone(),
                engine_version: o.engine_version.clone(),
                shard_count: o.shard_count,
            },
            Self::Tair(o) => OrderTerms {
                call: OrderCall::CreateTairInstance,
                instance_class: o.instance_class.clone(),
                charge_type: POST_PAID.into(),
                zone_id: o.zone_id.clone(),
                secondary_zone_id: o.secondary_zone_id.clone(),
                resource_group_id: o.resource_group_id.clone(),
                storage_gb: o.storage,
                storage_type: o.storage_type.clone(),
                vpc_id: Some(o.vpc_id.clone()),
                vswitch_id: Some(o.v_switch_id.clone()),
                engine_version: o.engine_version.clone(),
                shard_count: o.shard_count,
            },
        }
    }

    /// The same order under an idempotency token.
    pub(super) fn with_token(mut self, token: String) -> Self {
        match &mut self {
            Self::Redis(o) => o.token = Some(token),
            Self::Tair(o) => o.client_token = Some(token),
        }
        self
    }

    /// The order as it is written down.
    pub(super) fn stored(&self) -> Stored {
        match self {
            Self::Redis(o) => Stored { tair: false, params: o.params() },
            Self::Tair(o) => Stored { tair: true, params: o.params() },
        }
    }
}

/// An order as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    tair: bool,
    params: Params,
}

impl Stored {
    /// Reads the order back.
    pub(super) fn order(&self) -> Result<Order, Fault> {
        let read = if self.tair {
            CreateTairInstance::from_params(&self.params).map(Order::Tair)
        } else {
            CreateInstance::from_params(&self.params).map(Order::Redis)
        };
        read.map_err(|e| Fault::new(Kind::Unexpected, "job.undo", "the order written down cannot be read").because(e))
    }
}
