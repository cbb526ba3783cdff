//! Regions and instances, with the figures of the local server behind each.

use crate::emulator::account::instance::{EmulatedInstance, Status};
use crate::emulator::actions::figures::{capacity, class, engine_version, host_and_port};
use crate::emulator::actions::paging::{cut, page};
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::model::time::written;
use crate::tair::wire::attribute::{DescribeInstanceAttribute, InstanceAttribute, InstanceAttributes};
use crate::tair::wire::instances::{DescribeInstances, Instance, InstanceFacts, Instances};
use crate::tair::wire::regions::{Region, Regions};

/// Most instances in one reply, as the metadata has it; the documentation says 50.
const MAX_PAGE: i64 = 1000;
/// Most ids in one call.
const MAX_IDS: usize = 30;
/// Creation time of all configured instances: after the cloud's last change of how clusters number their backup jobs.
const CREATED: &str = "2024-01-01T00:00:00Z";

/// `DescribeRegions`: the one region.
pub fn regions(request: &ActionRequest<'_>) -> Regions {
    let zone = request.zone();
    let region = Region {
        region_id: request.region.clone(),
        local_name: Some("Emulated".into()),
        region_endpoint: Some(request.host.to_owned()),
        zone_ids: Some(zone.clone()),
        zone_id_list: vec![zone],
    };
    Regions { request_id: String::new(), region_ids: vec![region] }
}

/// `DescribeInstances`.
///
/// # Errors
/// `InvalidInstanceIds.Malformed`, `InvalidPageSize.Malformed`, `InvalidPageNumbers.Malformed`.
pub async fn list(request: &ActionRequest<'_>, params: DescribeInstances) -> Result<Instances, Refused> {
    let (number, size) = page(params.page_number, params.page_size, |size| (1..=MAX_PAGE).contains(&size))?;
    let ids: Option<Vec<&str>> = params.instance_ids.as_deref().map(|t| t.split(',').map(str::trim).collect());
    if ids.as_ref().is_some_and(|ids| ids.len() > MAX_IDS) {
        return Err(Refused::new("InvalidInstanceIds.Malformed"));
    }
    let elsewhere = request.account.region.is_some() && params.region_id.as_ref().is_some_and(|r| *r != request.region);
    let named = |i: &EmulatedInstance| !elsewhere && ids.as_ref().is_none_or(|ids| ids.contains(&i.id.as_str()));
    let wanted: Vec<EmulatedInstance> = request.account.instances().into_iter().filter(named).collect();
    // Concurrently: timeouts of several unreachable servers must not add up.
    let all = futures::future::try_join_all(wanted.iter().map(|instance| row(request, instance))).await?;
    let mut rows = Vec::new();
    for row in all {
        let is = |wanted: Option<&str>, has: &Option<String>| {
            wanted.is_none_or(|w| has.as_deref().is_some_and(|h| h.eq_ignore_ascii_case(w)))
        };
        let param = |name| request.param(name);
        let found = params.search_key.as_deref().is_none_or(|key| {
            row.instance_id.contains(key) || row.instance_name.as_deref().is_some_and(|name| name.contains(key))
        });
        let fits = is(params.instance_status.as_deref(), &row.instance_status)
            && is(params.instance_type.as_deref(), &row.instance_type)
            && is(params.architecture_type.as_deref(), &row.architecture_type)
            && is(params.edition_type.as_deref(), &row.edition_type)
            && is(params.engine_version.as_deref(), &row.engine_version)
            && is(params.vpc_id.as_deref(), &row.vpc_id)
            && is(params.zone_id.as_deref(), &row.zone_id)
            && is(params.resource_group_id.as_deref(), &row.resource_group_id)
            && is(param("ChargeType"), &row.charge_type)
            && is(param("NetworkType"), &row.network_type)
            && is(param("NodeType"), &row.node_type)
            && is(param("InstanceClass"), &row.instance_class)
            && is(param("VSwitchId"), &row.v_switch_id)
            && param("Expired") != Some("true")
            && params.tags.is_empty();
        if found && fits {
            rows.push(row);
        }
    }
    let total = rows.len();
    Ok(Instances {
        request_id: String::new(),
        page_number: Some(number),
        page_size: Some(size),
        total_count: i64::try_from(total).ok(),
        instances: cut(rows, number, size),
    })
}

/// `DescribeInstanceAttribute`.
///
/// # Errors
/// `InvalidInstanceId.NotFound`.
pub async fn attribute(
    request: &ActionRequest<'_>,
    params: DescribeInstanceAttribute,
) -> Result<InstanceAttributes, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let facts = facts(request, &instance).await?;
    let since = request.account.flashback(&instance).await?.and_then(|flashback| flashback.since);
    let whole = InstanceAttribute {
        engine: Some("Redis".into()),
        real_instance_class: facts.instance_class.clone(),
        backup_log_start_time: since.map(written),
        replication_mode: Some(if instance.is_cluster() { "cluster" } else { "master-slave" }.into()),
        maintain_start_time: Some("18:00Z".into()),
        maintain_end_time: Some("22:00Z".into()),
        audit_log_retention: Some("0".into()),
        security_ip_list: Some("127.0.0.1".into()),
        vpc_auth_mode: Some("Close".into()),
        availability_value: Some("100.0%".into()),
        zone_type: Some("singlezone".into()),
        read_only_count: Some(0),
        has_renew_change_order: Some(false),
        is_order_completed: Some(true),
        is_support_tde: Some(false),
        instance_release_protection: Some(false),
        facts,
        ..InstanceAttribute::default()
    };
    Ok(InstanceAttributes { request_id: String::new(), instances: vec![whole] })
}

async fn row(request: &ActionRequest<'_>, instance: &EmulatedInstance) -> Result<Instance, Refused> {
    Ok(Instance {
        facts: InstanceFacts { connection_mode: Some("Standard".into()), ..facts(request, instance).await? },
        user_name: Some(instance.id.clone()),
        read_only_count: Some(0),
        has_renew_change_order: Some(false),
        ..Instance::default()
    })
}

async fn facts(request: &ActionRequest<'_>, instance: &EmulatedInstance) -> Result<InstanceFacts, Refused> {
    let account = request.account;
    let status = account.status(instance).await?;
    let local = account.app.provider.describe(&instance.id).await?;
    let status = match (&local.live, status) {
        (Err(_), Status::Normal) => "Unavailable",
        (_, status) => status.as_str(),
    };
    let (host, port) = host_and_port(&local);
    let native = instance.is_cloud_native();
    let node = match (native, instance.kind.single) {
        (true, false) => "MASTER_SLAVE",
        (true, true) => "STAND_ALONE",
        (false, false) => "double",
        (false, true) => "single",
    };
    let created = instance.created.as_ref();
    Ok(InstanceFacts {
        instance_id: instance.id.clone(),
        instance_name: Some(created.map_or_else(|| instance.id.clone(), |c| c.name.clone())),
        instance_status: Some(status.into()),
        region_id: Some(request.region.clone()),
        zone_id: Some(request.zone()),
        architecture_type: Some(if instance.is_cluster() { "cluster" } else { "standard" }.into()),
        // Only the enterprise edition can be restored in place, and only where it is classic.
        edition_type: Some("Enterprise".into()),
        instance_type: Some(if native { "tair_rdb" } else { "Tair" }.into()),
        engine_version: Some(engine_version(local.live.as_ref().map_or("", |l| &l.version))),
        instance_class: Some(class(instance).into()),
        node_type: Some(node.into()),
        charge_type: Some(created.map_or("PostPaid", |c| &c.charge).to_owned()),
        network_type: Some("VPC".into()),
        package_type: Some("standard".into()),
        computing_type: Some(if native { "Ecs" } else { "Machine" }.into()),
        connection_domain: Some(host.clone()),
        private_ip: Some(host),
        vpc_id: Some("vpc-emulated".into()),
        v_switch_id: Some("vsw-emulated".into()),
        resource_group_id: Some("rg-emulated".into()),
        config: Some("{}".into()),
        create_time: Some(created.map_or_else(|| CREATED.to_owned(), |c| written(c.at))),
        bandwidth: Some(96),
        capacity: Some(capacity(local.live.as_ref().ok())),
        connections: Some(10_000),
        port: Some(port),
        qps: Some(100_000),
        shard_count: Some(1),
        replica_count: Some(i64::from(!instance.kind.single)),
        is_rds: Some(true),
        ..InstanceFacts::default()
    })
}
