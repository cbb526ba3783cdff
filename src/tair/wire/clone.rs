//! A new instance from a backup: the way for everything that cannot be restored in place.
//!
//! The instance costs money until it is released, so the charge type is never left to the API, whose default may be a subscription.

use crate::tair::params::Params;
use crate::tair::wire::lenient::{id, number, plain_text, text};
use crate::tair::wire::{Action, BadParam, Harmless, Method};
use crate::tair::wire::{Second, action};
use serde::{Deserialize, Serialize};

/// Reply of `CreateInstance` and `CreateTairInstance`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NewInstance {
    /// For Alibaba Cloud's support.
    #[serde(default, deserialize_with = "plain_text")]
    pub request_id: String,
    /// Id of the new instance.
    #[serde(deserialize_with = "id")]
    pub instance_id: String,
    /// The new instance's name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_name: Option<String>,
    /// `Creating`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub instance_status: Option<String>,
    /// The new instance's region.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub region_id: Option<String>,
    /// The new instance's zone.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// The new instance's host name.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub connection_domain: Option<String>,
    /// The new instance's port.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Memory in MB.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i64>,
    /// MB/s.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<i64>,
    /// How many connections the new instance takes at most.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// Queries a second, as expected.
    #[serde(rename = "QPS", default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub qps: Option<i64>,
    /// JSON in text: its settings.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// `PrePaid` or `PostPaid`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub charge_type: Option<String>,
    /// When a subscription ends.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// Its kind of nodes.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<String>,
    /// `VPC`.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub network_type: Option<String>,
    /// The new instance's address.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub private_ip_addr: Option<String>,
    /// The new instance's user.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The new instance's VPC.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// The new instance's vSwitch.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub v_switch_id: Option<String>,
    /// Id of the order.
    #[serde(default, deserialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub order_id: Option<i64>,
    /// Id of the task that creates the instance.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
}

action! {
    /// Creates a Redis instance, with a backup's data when it names one.
    CreateInstance, Post, writes: true, needs: crate::guard::grant::Order, NewInstance, {
        /// Id of the region.
        region_id: String = "RegionId",
        /// Id of the instance whose data the new instance gets.
        src_db_instance_id: Option<String> = "SrcDBInstanceId",
        /// The set; of a classic cluster all shards' ids, joined by commas.
        backup_id: Option<String> = "BackupId",
        /// The set of a cloud-native cluster, `cb-…`.
        cluster_backup_id: Option<String> = "ClusterBackupId",
        /// The moment, where the source has data flashback.
        restore_time: Option<Second> = "RestoreTime",
        /// Any of `whitelist,config,account`: what else the new instance takes from its source.
        recover_config_mode: Option<String> = "RecoverConfigMode",
        /// The new instance's name.
        instance_name: Option<String> = "InstanceName",
        /// Its class; this or the capacity.
        instance_class: Option<String> = "InstanceClass",
        /// Memory in MB.
        capacity: Option<i64> = "Capacity",
        /// `Redis`.
        instance_type: Option<String> = "InstanceType",
        /// `MASTER_SLAVE` or `STAND_ALONE`.
        node_type: Option<String> = "NodeType",
        /// The new instance's VPC.
        vpc_id: Option<String> = "VpcId",
        /// The new instance's vSwitch.
        v_switch_id: Option<String> = "VSwitchId",
        /// The new instance's zone.
        zone_id: Option<String> = "ZoneId",
        /// The zone of its replicas.
        secondary_zone_id: Option<String> = "SecondaryZoneId",
        /// The new instance's engine version.
        engine_version: Option<String> = "EngineVersion",
        /// How many shards the new instance has.
        shard_count: Option<i64> = "ShardCount",
        /// The new instance's resource group.
        resource_group_id: Option<String> = "ResourceGroupId",
        /// `PostPaid`, always: what is created can be released, and billing ends with it.
        charge_type: String = "ChargeType",
        /// Whether only to check. Success is then the error `DryRunOperation`.
        dry_run: Option<bool> = "DryRun",
        /// Makes a repeated call create one instance, not two.
        token: Option<String> = "Token",
    }
}

action! {
    /// Creates a Tair instance, with a backup's data when it names one.
    CreateTairInstance, Post, writes: true, needs: crate::guard::grant::Order, NewInstance, {
        /// Id of the region.
        region_id: String = "RegionId",
        /// Id of the instance whose data the new instance gets.
        src_db_instance_id: Option<String> = "SrcDBInstanceId",
        /// The set; of a classic cluster all shards' ids, joined by commas.
        backup_id: Option<String> = "BackupId",
        /// The set of a cloud-native cluster, `cb-…`.
        cluster_backup_id: Option<String> = "ClusterBackupId",
        /// The moment, where the source has data flashback.
        restore_time: Option<Second> = "RestoreTime",
        /// Any of `whitelist,config,account`: what else the new instance takes from its source.
        recover_config_mode: Option<String> = "RecoverConfigMode",
        /// The new instance's name.
        instance_name: Option<String> = "InstanceName",
        /// The new instance's class.
        instance_class: String = "InstanceClass",
        /// `tair_rdb`, `tair_scm` or `tair_essd`.
        instance_type: String = "InstanceType",
        /// `MASTER_SLAVE` or `STAND_ALONE`.
        shard_type: Option<String> = "ShardType",
        /// The new instance's VPC.
        vpc_id: String = "VpcId",
        /// The new instance's vSwitch.
        v_switch_id: String = "VSwitchId",
        /// Storage in GB, for the kinds of Tair on disk.
        storage: Option<i64> = "Storage",
        /// The kind of storage.
        storage_type: Option<String> = "StorageType",
        /// The new instance's zone.
        zone_id: Option<String> = "ZoneId",
        /// The zone of its replicas.
        secondary_zone_id: Option<String> = "SecondaryZoneId",
        /// The new instance's engine version.
        engine_version: Option<String> = "EngineVersion",
        /// How many shards the new instance has.
        shard_count: Option<i64> = "ShardCount",
        /// The new instance's resource group.
        resource_group_id: Option<String> = "ResourceGroupId",
        /// `PostPaid`, always: what is created can be released, and billing ends with it.
        charge_type: String = "ChargeType",
        /// Whether only to check. Success is then the error `DryRunOperation`.
        dry_run: Option<bool> = "DryRun",
        /// Makes a repeated call create one instance, not two; at most 64 ASCII characters.
        client_token: Option<String> = "ClientToken",
    }
}

/// An order that is only checked: the cloud makes nothing, so it takes no grant. `DryRun` is sent whatever the order itself says.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun<A>(pub A);

impl<A: Action<Needs = crate::guard::grant::Order>> Action for DryRun<A> {
    const NAME: &'static str = A::NAME;
    const METHOD: Method = A::METHOD;
    const WRITES: bool = A::WRITES;
    type Reply = A::Reply;
    type Needs = Harmless;

    fn params(&self) -> Params {
        let mut params = self.0.params();
        params.retain(|(name, _)| name != "DryRun");
        params.push(("DryRun".to_owned(), "true".to_owned()));
        params
    }

    fn from_params(params: &Params) -> Result<Self, BadParam> {
        A::from_params(params).map(Self)
    }
}
