//! One instance in full: what a pre-check and a plan are made of.
//!
//! A list even for one instance; a few fields have another form than in the list of instances.

use crate::tair::wire::instances::{Generation, generation};
use crate::tair::wire::lenient::{as_text, flag, id, number, plain_text, text};
use crate::tair::wire::{Tag, action, lenient};
use serde::{Deserialize, Serialize};

/// One instance in full, as `DescribeInstanceAttribute` tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceAttribute {
    /// Its id.
    #[serde(deserialize_with = "id")]
    pub instance_id: String,
    /// Its name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// `Normal`, `Changing`, `BackupRecovering`, …
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_status: Option<String>,
    /// Its region.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// Its zone.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// The zone of its replicas.
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
    /// Its engine version.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// Its class.
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
    /// The kind of cloud.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub cloud_type: Option<String>,
    /// `Standard` or `Safe`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub connection_mode: Option<String>,
    /// Its host name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub connection_domain: Option<String>,
    /// Its address.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub private_ip: Option<String>,
    /// Its VPC.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// Its vSwitch.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub v_switch_id: Option<String>,
    /// Its resource group.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub resource_group_id: Option<String>,
    /// The distributed instance it is part of.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub global_instance_id: Option<String>,
    /// JSON in text: its settings.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// When it was created.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub create_time: Option<String>,
    /// When a subscription ends.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// When it was destroyed.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub destroy_time: Option<String>,
    /// `Redis`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// From when any moment can be restored; only while data flashback is on.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_log_start_time: Option<String>,
    /// `master-slave` or `cluster`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub replication_mode: Option<String>,
    /// Its class, as it is.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub real_instance_class: Option<String>,
    /// The distributed instance it is part of.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub replica_id: Option<String>,
    /// When its maintenance window begins, `18:00Z`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub maintain_start_time: Option<String>,
    /// When it ends.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub maintain_end_time: Option<String>,
    /// Days the audit log is kept.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub audit_log_retention: Option<String>,
    /// Addresses that may connect.
    #[serde(rename = "SecurityIPList", default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub security_ip_list: Option<String>,
    /// GB of storage.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// The kind of storage.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub storage_type: Option<String>,
    /// `Open` or `Close`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub vpc_auth_mode: Option<String>,
    /// Its id in the VPC.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub vpc_cloud_instance_id: Option<String>,
    /// Its availability in this month.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub availability_value: Option<String>,
    /// `singlezone` or `doublezone`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub zone_type: Option<String>,
    /// MB/s.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<i64>,
    /// MB of memory.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i64>,
    /// Connections at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Its port.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Queries a second, as expected.
    #[serde(rename = "QPS", default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub qps: Option<i64>,
    /// Shards.
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
    /// Read replicas; a number here.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub read_only_count: Option<i64>,
    /// Whether a change is ordered; text here.
    #[serde(default, deserialize_with = "flag", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub has_renew_change_order: Option<bool>,
    /// Whether it is managed by RDS.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub is_rds: Option<bool>,
    /// Whether its order is complete.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub is_order_completed: Option<bool>,
    /// Whether it can encrypt at rest.
    #[serde(rename = "IsSupportTDE", default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub is_support_tde: Option<bool>,
    /// Whether it is protected from release.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub instance_release_protection: Option<bool>,
    /// Whether the other zone was chosen for it.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub auto_secondary_zone: Option<bool>,
    /// Its labels.
    #[serde(default, with = "lenient::tag")]
    pub tags: Vec<Tag>,
}

/// Reply of `DescribeInstanceAttribute`: a list, even for one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceAttributes {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// The instance.
    #[serde(default, with = "lenient::db_instance_attribute")]
    pub instances: Vec<InstanceAttribute>,
}

impl InstanceAttribute {
    /// Its generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        generation(self.computing_type.as_deref(), self.node_type.as_deref())
    }

    /// Whether it has no replica: such an instance cannot be backed up.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self.node_type.as_deref(), Some("STAND_ALONE" | "single"))
    }
}

action! {
    /// Tells everything about one instance.
    DescribeInstanceAttribute, Post, writes: false, InstanceAttributes, {
        /// The instance.
        instance_id: String = "InstanceId",
    }
}
