//! One instance in full: what a pre-check and a plan are made of.
//!
//! A list even for one instance; a few fields have another form than in the list of instances.

use crate::tair::wire::instances::InstanceFacts;
use crate::tair::wire::lenient::{as_text, flag, number, plain_text, text};
use crate::tair::wire::{action, is_one_of, lenient};
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// One instance in full, as `DescribeInstanceAttribute` describes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceAttribute {
    /// The fields that the list has too.
    #[serde(flatten)]
    pub facts: InstanceFacts,
    /// `Redis`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// From when any moment can be restored; only while data flashback is on.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub backup_log_start_time: Option<String>,
    /// `master-slave` or `cluster`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub replication_mode: Option<String>,
    /// The instance's class, where `InstanceClass` has another form.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub real_instance_class: Option<String>,
    /// The distributed instance that the instance is part of.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub replica_id: Option<String>,
    /// When its maintenance window begins, `18:00Z`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub maintain_start_time: Option<String>,
    /// When the instance's subscription ends.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub maintain_end_time: Option<String>,
    /// Days the audit log is kept.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub audit_log_retention: Option<String>,
    /// Addresses that may connect.
    #[serde(rename = "SecurityIPList", default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub security_ip_list: Option<String>,
    /// Storage in GB.
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
    /// Read replicas; a number here.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub read_only_count: Option<i64>,
    /// Whether a change is ordered; text here.
    #[serde(default, deserialize_with = "flag", serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub has_renew_change_order: Option<bool>,
    /// Whether its order is complete.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub is_order_completed: Option<bool>,
    /// Whether the instance can encrypt at rest.
    #[serde(rename = "IsSupportTDE", default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub is_support_tde: Option<bool>,
    /// Whether the instance is protected from release.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub instance_release_protection: Option<bool>,
    /// Whether the other zone was chosen for the instance.
    #[serde(default, deserialize_with = "flag", skip_serializing_if = "Option::is_none")]
    pub auto_secondary_zone: Option<bool>,
}

/// Reply of `DescribeInstanceAttribute`: a list, even for one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceAttributes {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Id of the instance.
    #[serde(with = "lenient::db_instance_attribute")]
    pub instances: Vec<InstanceAttribute>,
}

impl Deref for InstanceAttribute {
    type Target = InstanceFacts;

    fn deref(&self) -> &InstanceFacts {
        &self.facts
    }
}

impl InstanceAttribute {
    /// Whether the instance has several shards: by its type, and where that is missing by the other fields that show it.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.is_cluster_type().unwrap_or_else(|| {
            is_one_of(self.replication_mode.as_deref(), &["cluster"]) || self.shard_count.is_some_and(|n| n > 1)
        })
    }
}

action! {
    /// Describes one instance in full.
    DescribeInstanceAttribute, Post, writes: false, InstanceAttributes, {
        /// Id of the instance.
        instance_id: String = "InstanceId",
    }
}
