//! An instance as it stands: whether it answers, what it is, and what it holds.

use crate::model::fault::Fault;
use crate::model::instance::{Counts, Instance, Live};
use crate::provider::local::Inner;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::{Role, ServerFacts};
use crate::redis::rdb::compat::Flavor;
use crate::redis::slots::{SLOTS, owned_slots};
use std::time::Duration;

/// Describing must stay quick where an instance is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The engine's name.
pub fn engine(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Redis => "redis",
        Flavor::Valkey => "valkey",
    }
}

/// Keys per database, as the model has them.
pub fn counts_of(facts: &ServerFacts) -> Counts {
    facts.keyspace.iter().map(|(db, k)| (*db, (k.keys, k.expires))).collect()
}

/// How many of a cluster's slots a node serves.
pub async fn slots_served(conn: &mut Conn) -> Result<u32, RedisError> {
    Ok(owned_slots(conn).await?.iter().map(|(from, to)| u32::from(*to) - u32::from(*from) + 1).sum())
}

impl Inner {
    /// Reads an instance as it stands.
    pub async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        let kind = self.kind(instance_id);
        let clone_of = self.clones.find(instance_id).await.map(|clone| clone.of);
        let endpoint = match self.endpoint(instance_id).await {
            Ok(endpoint) => endpoint,
            Err(fault) => {
                let live = Err(format!("{} {}", fault.message, fault.hint));
                return Ok(Instance { id: instance_id.into(), address: String::new(), kind, clone_of, live });
            }
        };
        let read = async {
            let mut conn = Conn::open(&endpoint, CONNECT_TIMEOUT).await?;
            let facts = ServerFacts::read(&mut conn).await?;
            let slots = if facts.cluster_enabled { slots_served(&mut conn).await.ok() } else { None };
            Ok::<_, RedisError>((facts, slots))
        };
        let live = read.await.map_err(|e| Fault::from(e).message).map(|(facts, slots)| Live {
            status: "running".into(),
            engine: engine(facts.flavor).into(),
            role: Some(if facts.role == Role::Replica { "slave" } else { "master" }.into()),
            architecture: match slots {
                Some(n) if n < u32::from(SLOTS) => format!("cluster shard ({n} of {SLOTS} slots)"),
                Some(_) => "cluster".into(),
                None if facts.cluster_enabled => "cluster".into(),
                None => "standalone".into(),
            },
            used_memory: Some(facts.used_memory),
            maxmemory: Some(facts.maxmemory),
            counts: Some(counts_of(&facts)),
            replicas: Some(facts.connected_slaves),
            region: None,
            backup_log_start_time: None,
            version: facts.version,
        });
        Ok(Instance { id: instance_id.into(), address: endpoint.to_string(), kind, clone_of, live })
    }
}
