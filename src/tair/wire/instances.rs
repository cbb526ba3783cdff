//! The list of instances, and how one generation of instances is known from another.
//!
//! The fields that the list and the attribute call have alike are here once; where they disagree about the form of a field, each has
//! its own.

use crate::tair::wire::lenient::{as_text, flag, id, number, plain_text, text};
use crate::tair::wire::paging::{Page, Paged};
use crate::tair::wire::{Tag, action, is_one_of, lenient};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// The fields that the list and the attribute call have alike.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceFacts {
    /// The instance's id.
    #[serde(deserialize_with = "id")]
    pub instance_id: String,
    /// The instance's name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// `Normal`, `Changing`, `BackupRecovering`, …
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_status: Option<String>,
    /// The instance's region.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The instance's zone.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// The zone of the instance's replicas.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub secondary_zone_id: Option<String>,
    /// `cluster`, `standard` or `rwsplit`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub architecture_type: Option<String>,
    /// `Community` or `Enterprise`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub edition_type: Option<String>,
    /// `Redis`, `Memcache`, `Tair`, `tair_rdb`, …
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The instance's engine version.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// The instance's class.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_class: Option<String>,
    /// The class of a shard.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub shard_class: Option<String>,
    /// `double` or `single` (classic), `MASTER_SLAVE` or `STAND_ALONE` (cloud-native).
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// `PrePaid` or `PostPaid`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub charge_type: Option<String>,
    /// `CLASSIC` or `VPC`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub network_type: Option<String>,
    /// `standard` or `customized`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub package_type: Option<String>,
    /// `Ecs` (cloud-native) or `Machine` (classic).
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub computing_type: Option<String>,
    /// The kind of cloud that the instance is in.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cloud_type: Option<String>,
    /// `Standard` or `Safe`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub connection_mode: Option<String>,
    /// The instance's host name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub connection_domain: Option<String>,
    /// The instance's address.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub private_ip: Option<String>,
    /// The instance's VPC.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// The instance's vSwitch.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub v_switch_id: Option<String>,
    /// The instance's resource group.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// The distributed instance that the instance is part of.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub global_instance_id: Option<String>,
    /// JSON in text: the instance's settings.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// When the instance was created.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub create_time: Option<String>,
    /// When a subscription ends.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// When the instance was destroyed.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub destroy_time: Option<String>,
    /// Bandwidth in MB/s.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<i64>,
    /// Memory in MB.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i64>,
    /// How many connections the instance takes at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// The instance's port.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Queries a second, as expected.
    #[serde(rename = "QPS", default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub qps: Option<i64>,
    /// How many shards the instance has.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub shard_count: Option<i64>,
    /// Replicas a shard has.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub replica_count: Option<i64>,
    /// Read replicas in the other zone.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub slave_read_only_count: Option<i64>,
    /// Replicas in the other zone.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub slave_replica_count: Option<i64>,
    /// Whether the instance is managed by RDS.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub is_rds: Option<bool>,
    /// The instance's labels.
    #[serde(default, with = "lenient::tag")]
    pub tags: Vec<Tag>,
}

/// One instance, as `DescribeInstances` lists it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Instance {
    /// The fields that the attribute call has too.
    #[serde(flatten)]
    pub facts: InstanceFacts,
    /// The distributed instance that the instance is part of, as the API spells the field.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub replacate_id: Option<String>,
    /// The instance's user.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Read replicas; text here.
    #[serde(default, deserialize_with = "number", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub read_only_count: Option<i64>,
    /// Whether a change is ordered; a boolean here.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub has_renew_change_order: Option<bool>,
}

/// Reply of `DescribeInstances`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Instances {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Number of this page, from 1.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_number: Option<i64>,
    /// Rows a page has at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub page_size: Option<i64>,
    /// How many rows all pages have.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub total_count: Option<i64>,
    /// The instances of this page.
    #[serde(with = "lenient::kv_store_instance")]
    pub instances: Vec<Instance>,
}

/// The two generations of instances: what can be done to an instance follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// On physical machines; the only one that can be restored in place.
    Classic,
    /// On ECS; restored into a new instance.
    CloudNative,
    /// The reply does not say.
    Unknown,
}

/// What an instance's status means for whoever follows the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// `Normal`: the instance serves.
    Normal,
    /// `BackupRecovering`: a restore overwrites the instance.
    Recovering,
    /// The instance will not serve again by itself.
    Lost,
    /// `Unavailable`, `Inactive`: the instance does not serve, which may pass.
    Down,
    /// The reply has no status.
    Untold,
    /// Any other status: the instance is on its way to one of the above.
    Changing,
}

impl InstanceState {
    /// Reads the text of a status, in whatever case.
    #[must_use]
    pub fn of(status: &str) -> Self {
        match status.trim().to_ascii_lowercase().as_str() {
            "normal" => Self::Normal,
            "backuprecovering" => Self::Recovering,
            "error" | "released" => Self::Lost,
            "unavailable" | "inactive" => Self::Down,
            "" => Self::Untold,
            _ => Self::Changing,
        }
    }
}

/// Whether a status says that the instance was released: nothing of it is left.
#[must_use]
pub fn is_released(status: &str) -> bool {
    is_one_of(Some(status), &["Released"])
}

impl InstanceFacts {
    /// The instance's status, read.
    #[must_use]
    pub fn state(&self) -> InstanceState {
        InstanceState::of(self.instance_status.as_deref().unwrap_or_default())
    }

    /// The instance's generation: by `ComputingType`, and where that is missing by `NodeType`.
    #[must_use]
    pub fn generation(&self) -> Generation {
        match (self.computing_type.as_deref(), self.node_type.as_deref()) {
            (kind, _) if is_one_of(kind, &["Ecs"]) => Generation::CloudNative,
            (kind, _) if is_one_of(kind, &["Machine"]) => Generation::Classic,
            (_, nodes) if is_one_of(nodes, &["MASTER_SLAVE", "STAND_ALONE"]) => Generation::CloudNative,
            (_, nodes) if is_one_of(nodes, &["double", "single"]) => Generation::Classic,
            _ => Generation::Unknown,
        }
    }

    /// Whether the instance has several shards by its type; `None` where the reply has no type.
    #[must_use]
    pub fn is_cluster_type(&self) -> Option<bool> {
        self.architecture_type.as_deref().map(|kind| is_one_of(Some(kind), &["cluster"]))
    }

    /// Whether the instance has replicas that are read through a proxy.
    #[must_use]
    pub fn is_read_write_split(&self) -> bool {
        is_one_of(self.architecture_type.as_deref(), &["rwsplit"])
    }

    /// Whether the instance is Tair (Enterprise) rather than Community.
    #[must_use]
    pub fn is_enterprise(&self) -> bool {
        let tair = self.instance_type.as_deref().is_some_and(|t| t.to_ascii_lowercase().starts_with("tair"));
        tair || is_one_of(self.edition_type.as_deref(), &["Enterprise"])
    }

    /// Whether the instance has no replica: then it cannot be backed up.
    #[must_use]
    pub fn is_single(&self) -> bool {
        is_one_of(self.node_type.as_deref(), &["STAND_ALONE", "single"])
    }
}

impl Deref for Instance {
    type Target = InstanceFacts;

    fn deref(&self) -> &InstanceFacts {
        &self.facts
    }
}

action! {
    /// Lists the instances of a region.
    #[derive(Default)]
    DescribeInstances, Post, writes: false, Instances, {
        /// Id of the region.
        region_id: Option<String> = "RegionId",
        /// Only these, at most 30, joined by commas.
        instance_ids: Option<String> = "InstanceIds",
        /// Only those in this status.
        instance_status: Option<String> = "InstanceStatus",
        /// Only those of this type.
        instance_type: Option<String> = "InstanceType",
        /// Only those of this architecture.
        architecture_type: Option<String> = "ArchitectureType",
        /// Only those of this edition.
        edition_type: Option<String> = "EditionType",
        /// Only those of this version.
        engine_version: Option<String> = "EngineVersion",
        /// Only those in this VPC.
        vpc_id: Option<String> = "VpcId",
        /// Only those in this zone.
        zone_id: Option<String> = "ZoneId",
        /// Only those in this resource group.
        resource_group_id: Option<String> = "ResourceGroupId",
        /// Only those whose name or id has this in it.
        search_key: Option<String> = "SearchKey",
        /// Only those with these labels.
        tags: Vec<Tag> = "Tag",
        /// The page, from 1.
        page_number: Option<i64> = "PageNumber",
        /// Rows a page has, at most 50.
        page_size: Option<i64> = "PageSize",
    }
}

impl Paged for DescribeInstances {
    type Row = Instance;
    const SIZES: &'static [i64] = &[30, 50];

    fn on_page(&self, number: i64, size: i64) -> Self {
        Self { page_number: Some(number), page_size: Some(size), ..self.clone() }
    }

    fn page(reply: Instances) -> Page<Instance> {
        Page { rows: reply.instances, size: reply.page_size, total: reply.total_count }
    }

    fn key(row: &Instance) -> String {
        row.instance_id.clone()
    }
}
