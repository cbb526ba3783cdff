//! What an instance of the cloud is: read from the two calls that list and describe instances. Changes nothing.

use crate::guard::assess::elsewhere;
use crate::guard::facts::{CloudInstance, CloudState};
use crate::model::fault::{Fault, Kind};
use crate::model::instance::{Instance, Live};
use crate::model::text::{clean, nearest, quoted};
use crate::provider::InstanceQuery;
use crate::provider::tair::architecture::Architecture;
use crate::provider::tair::{Inner, PROVIDER};
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::Action as _;
use crate::tair::wire::attribute::{DescribeInstanceAttribute, InstanceAttribute};
use crate::tair::wire::instances::{DescribeInstances, Instance as Row};
use std::cmp::Ordering;

/// Largest page of `DescribeInstances` that the cloud documents.
const PAGE: u32 = 50;

fn address(domain: Option<&str>, port: Option<i64>, region: Option<&str>) -> String {
    match (domain, port) {
        (Some(domain), Some(port)) => format!("{domain}:{port}"),
        (Some(domain), None) => domain.to_owned(),
        _ => format!("Alibaba Cloud, {}", region.unwrap_or("unknown region")),
    }
}

/// Where an instance is reached.
pub fn address_of(a: &InstanceAttribute) -> String {
    address(a.connection_domain.as_deref(), a.port, a.region_id.as_deref())
}

/// An instance as everybody sees it.
pub fn instance(a: &InstanceAttribute) -> Instance {
    let architecture = Architecture::of(a);
    let megabytes = a.capacity.and_then(|mb| u64::try_from(mb).ok());
    Instance {
        id: a.instance_id.clone(),
        address: address_of(a),
        kind: PROVIDER,
        clone_of: None,
        live: Ok(Live {
            status: a.instance_status.clone().unwrap_or_else(|| "unknown".into()),
            engine: if architecture.enterprise { "tair" } else { "redis" }.into(),
            version: a.engine_version.clone().unwrap_or_default(),
            role: None,
            architecture: architecture.describe(),
            used_memory: None,
            maxmemory: megabytes.map(|mb| mb << 20),
            counts: None,
            replicas: a.replica_count.and_then(|n| u64::try_from(n).ok()),
            region: a.region_id.clone(),
            backup_log_start_time: architecture.log_start,
            unreadable: Vec::new(),
            other_shards: Vec::new(),
        }),
        sentinel: false,
    }
}

/// An instance of the list, whose rows have a little less than the attributes.
fn instance_of_row(row: Row) -> Instance {
    instance(&InstanceAttribute { facts: row.facts, ..InstanceAttribute::default() })
}

impl Inner {
    /// What an instance is, and its status, which changes while nothing else does.
    pub async fn cloud_state(&self, a: &InstanceAttribute) -> Result<CloudState, Fault> {
        Ok(CloudState {
            instance: CloudInstance {
                address: address_of(a),
                architecture: Architecture::of(a).describe(),
                instance_class: clean(a.instance_class.as_deref().unwrap_or_default()),
                engine_version: a.engine_version.clone().unwrap_or_default(),
                created_at: a.create_time.clone().unwrap_or_default(),
                region: a.region_id.clone().unwrap_or_default(),
                access: self.client.access().await?,
            },
            status: a.instance_status.clone().unwrap_or_default(),
            read_at: self.client.now(),
        })
    }

    /// The attributes of an instance, if there is one.
    pub async fn attribute_raw(&self, instance_id: &str) -> Result<Option<InstanceAttribute>, TairError> {
        let ask = DescribeInstanceAttribute { instance_id: instance_id.into() };
        // A gateway in between once gave another's row: only the one asked for will do, and another says nothing of it.
        let found = self.client.call(&ask).await?.instances;
        let others = found.len();
        match found.into_iter().find(|a| a.instance_id == instance_id) {
            None if others > 0 => Err(TairError::BadReply {
                action: DescribeInstanceAttribute::NAME.to_owned(),
                why: "it is of another instance".to_owned(),
            }),
            found => Ok(found),
        }
    }

    /// The attributes of an instance.
    pub async fn attribute(&self, instance_id: &str) -> Result<InstanceAttribute, Fault> {
        let found = self.attribute_raw(instance_id).await;
        let unknown = match found {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(e) if e.is_cloud(CloudError::says_no_such_instance) => Some(e),
            Err(e) => return Err(e.into()),
        };
        let rows = self.client.list(&DescribeInstances::default()).await.unwrap_or_default();
        let near = nearest(instance_id, rows.iter().map(|r| r.instance_id.as_str()));
        let near = near.map(|id| format!("Did you mean {id}? ")).unwrap_or_default();
        let message = format!("there is no instance {} in {}", quoted(instance_id), self.client.region());
        let fault = Fault::new(Kind::NotFound, "instance.not_found", message)
            .hint(format!("{near}describe_instances lists them; an instance of another region is unknown here."))
            .next(&["describe_instances"]);
        Err(match unknown {
            Some(e) => fault.because(e),
            None => fault,
        })
    }

    /// The attributes of an instance that is about to be changed without a plan, whose pre-checks would look at its region.
    pub async fn attribute_here(&self, instance_id: &str) -> Result<InstanceAttribute, Fault> {
        let a = self.attribute(instance_id).await?;
        match elsewhere(&self.cloud_state(&a).await?.instance) {
            None => Ok(a),
            Some(why) => Err(Fault::new(
                Kind::Provider,
                "instance.other_region",
                format!("nothing was done to {instance_id}: {why}"),
            )
            .hint("Have the operator set [tair] region to the instance's own.")),
        }
    }

    /// Reads an instance as it is now.
    pub async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        Ok(instance(&self.attribute(instance_id).await?))
    }

    /// A page of the instances, and how many there are in all.
    pub async fn instances(&self, wanted: &InstanceQuery) -> Result<(Vec<Instance>, u64), Fault> {
        let client = &self.client;
        let ask = DescribeInstances { search_key: wanted.search.clone(), ..DescribeInstances::default() };
        if (1..=PAGE).contains(&wanted.page_size) {
            let page = DescribeInstances {
                page_number: Some(wanted.page_number.max(1).into()),
                page_size: Some(wanted.page_size.into()),
                ..ask.clone()
            };
            let reply = client.call(&page).await?;
            // A server that gives smaller pages than it was asked for has other pages than we mean, and a total is believed only where the
            // page fits it: a full one that is said to be the last may be followed by more.
            let (size, rows) = (u64::from(wanted.page_size), reply.instances.len() as u64);
            let same_pages = reply.page_size.is_none_or(|size| size == i64::from(wanted.page_size));
            let seen = u64::from(wanted.page_number.saturating_sub(1)) * size + rows;
            let total = reply.total_count.and_then(|total| u64::try_from(total).ok());
            let fitting = total.filter(|total| match rows.cmp(&size) {
                Ordering::Equal => seen < *total,
                Ordering::Less => rows > 0 && seen == *total,
                Ordering::Greater => false,
            });
            if let (Some(total), true) = (fitting, same_pages) {
                return Ok((reply.instances.into_iter().map(instance_of_row).collect(), total));
            }
        }
        let all = client.list(&ask).await?;
        let total = all.len() as u64;
        let size = wanted.page_size as usize;
        let skip = (wanted.page_number.saturating_sub(1) as usize).saturating_mul(size);
        Ok((all.into_iter().skip(skip).take(size).map(instance_of_row).collect(), total))
    }
}
