//! Facts about a new instance: of the cloud its source and the terms of its order, of a clone here the set, the program and the room.

use crate::guard::facts::backup::ListedSet;
use crate::guard::facts::replay::{Builder, Replay};
use crate::guard::facts::restore::SourceFacts;
use crate::guard::facts::{CloudState, NotPossible};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The API call that takes an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCall {
    /// The call for instances of Redis Open-Source Edition.
    CreateInstance,
    /// The call for instances of Tair (Enterprise Edition).
    CreateTairInstance,
}

impl OrderCall {
    /// The call's name in the cloud's API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateInstance => "CreateInstance",
            Self::CreateTairInstance => "CreateTairInstance",
        }
    }
}

/// All terms that set the price or the place of a new instance. A term that is `None` is left to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// The API call that takes the order.
    pub call: OrderCall,
    /// The class that the instance is billed as.
    pub instance_class: String,
    /// How the instance is charged: `PostPaid` is pay-as-you-go.
    pub charge_type: String,
    /// Zone of the instance.
    pub zone_id: Option<String>,
    /// Zone of the instance's replica.
    pub secondary_zone_id: Option<String>,
    /// Resource group of the instance.
    pub resource_group_id: Option<String>,
    /// Storage in GB, for classes whose storage is ordered separately.
    pub storage_gb: Option<i64>,
    /// Type of the storage ordered: `essd_pl1`.
    pub storage_type: Option<String>,
    /// VPC of the instance.
    pub vpc_id: Option<String>,
    /// vSwitch of the instance.
    pub vswitch_id: Option<String>,
    /// Major version of the engine: `7.0`.
    pub engine_version: Option<String>,
    /// Number of shards of a cluster.
    pub shard_count: Option<i64>,
}

impl OrderTerms {
    /// The terms by the names under which replies show them.
    #[must_use]
    pub fn by_name(&self) -> Vec<(&'static str, String)> {
        let mut named =
            vec![("new_instance_class", self.instance_class.clone()), ("new_charge_type", self.charge_type.clone())];
        let optional = [
            ("new_zone_id", self.zone_id.clone()),
            ("new_secondary_zone_id", self.secondary_zone_id.clone()),
            ("new_resource_group_id", self.resource_group_id.clone()),
            ("new_storage_gb", self.storage_gb.map(|n| n.to_string())),
            ("new_storage_type", self.storage_type.clone()),
            ("new_vpc_id", self.vpc_id.clone()),
            ("new_vswitch_id", self.vswitch_id.clone()),
            ("new_engine_version", self.engine_version.clone()),
            ("new_shard_count", self.shard_count.map(|n| n.to_string())),
        ];
        named.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        named
    }
}

/// Where the new instance's data comes from.
#[derive(Debug, Clone)]
pub enum CloneSource {
    /// A set, as the cloud lists it.
    Set(ListedSet),
    /// A moment of the archive.
    Moment {
        /// The moment whose data is restored.
        at: Timestamp,
        /// Start of the recovery window; `None` while data flashback is off.
        log_start: Option<Timestamp>,
    },
}

/// The facts of an order that the cloud can take.
#[derive(Debug, Clone)]
pub struct CloneOrderFacts {
    /// Where the new instance's data comes from.
    pub source: CloneSource,
    /// The terms of the order.
    pub terms: OrderTerms,
    /// The cloud's answer to a dry run; `None` where a plan has one already or the source is unusable.
    pub dry_run: Option<Result<(), String>>,
    /// The name asked for, if any.
    pub name: Option<String>,
}

/// The facts of a new instance.
#[derive(Debug, Clone)]
pub struct CloneFacts {
    /// Id of the source instance.
    pub instance_id: String,
    /// The source instance.
    pub state: CloudState,
    /// The order, or why the cloud cannot take one.
    pub order: Result<CloneOrderFacts, NotPossible>,
}

/// The facts of a clone on this machine.
#[derive(Debug, Clone)]
pub struct LocalClone {
    /// Id of the source instance, which is not asked.
    pub instance_id: String,
    /// The id that the clone was asked to have; `None` where it gets one of its own.
    pub name: Option<String>,
    /// The set that the clone is loaded from, or that the log is replayed behind.
    pub source: SourceFacts,
    /// The server's program and the room for it here; or what is lacking, as part of a sentence.
    pub program: Result<Builder, String>,
    /// The commands behind the set, whose own `builder` is left out; `None` where the set alone is loaded.
    pub replay: Option<Replay>,
    /// The command that ends a clone, without its id.
    pub delete: String,
    /// Hours that the clone lives.
    pub lifetime_hours: u32,
}
