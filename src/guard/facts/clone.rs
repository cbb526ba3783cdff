//! Facts about a new instance of the cloud: its source, and the terms of its order.

use crate::guard::facts::backup::ListedSet;
use crate::guard::facts::{CloudState, NotPossible};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The call that takes the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCall {
    /// For Redis.
    CreateInstance,
    /// For Tair.
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

/// All that sets the price or the place of a new instance. What is `None` is left to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// The call that takes the order.
    pub call: OrderCall,
    /// The class it is billed as.
    pub instance_class: String,
    /// How it is charged: `PostPaid`.
    pub charge_type: String,
    /// Its zone.
    pub zone_id: Option<String>,
    /// The zone of its replica.
    pub secondary_zone_id: Option<String>,
    /// Its resource group.
    pub resource_group_id: Option<String>,
    /// Its storage in GB, where that is ordered.
    pub storage_gb: Option<i64>,
    /// The kind of that storage.
    pub storage_type: Option<String>,
    /// Its VPC.
    pub vpc_id: Option<String>,
    /// Its vSwitch.
    pub vswitch_id: Option<String>,
    /// Its engine's version.
    pub engine_version: Option<String>,
    /// Its shards, where there are several.
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
    /// A set, as it is listed.
    Set(ListedSet),
    /// A moment of the archive, which begins at `log_start`.
    Moment {
        /// The moment.
        at: Timestamp,
        /// From when moments are kept; `None` while data flashback is off.
        log_start: Option<Timestamp>,
    },
}

/// What is read for an order that the cloud can take.
#[derive(Debug, Clone)]
pub struct CloneOrderFacts {
    /// Where the data comes from.
    pub source: CloneSource,
    /// What is ordered.
    pub terms: OrderTerms,
    /// What the cloud said to a dry run; `None` where a plan has it already or the source is unusable.
    pub dry_run: Option<Result<(), String>>,
    /// The name asked for.
    pub name: Option<String>,
}

/// What a new instance is about.
#[derive(Debug, Clone)]
pub struct CloneFacts {
    /// The source's id.
    pub instance_id: String,
    /// The source.
    pub state: CloudState,
    /// The order, or why there can be none.
    pub order: Result<CloneOrderFacts, NotPossible>,
}
