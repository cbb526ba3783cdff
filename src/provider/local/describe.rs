//! An instance as it stands: whether it answers, what it is, and what it holds.

use crate::model::fault::Fault;
use crate::model::instance::{Counts, Instance, Live};
use crate::provider::local::Inner;
use crate::provider::local::shards::unconfigured;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{Role, ServerFacts};
use crate::redis::hello::{hello, open};
use crate::redis::rdb::compat::Flavor;
use crate::redis::sentinel_masters::instead as sentinel;
use crate::redis::slots::{SLOTS, owned_slots, shards};
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

/// A role, as INFO writes it.
fn role(role: Role) -> &'static str {
    match role {
        Role::Replica => "slave",
        Role::Master => "master",
    }
}

/// How many of a cluster's slots a node serves.
pub async fn slots_served(conn: &mut Conn) -> Result<u32, RedisError> {
    Ok(number_of(&owned_slots(conn).await?))
}

/// Slots in ranges, ends included.
fn number_of<'a>(ranges: impl IntoIterator<Item = &'a (u16, u16)>) -> u32 {
    ranges.into_iter().map(|(from, to)| u32::from(*to) - u32::from(*from) + 1).sum()
}

impl Inner {
    /// Reads an instance as it stands.
    pub async fn describe(&self, instance_id: &str) -> Result<Instance, Fault> {
        let kind = self.kind(instance_id);
        let clone_of = self.clones.find(instance_id).await.map(|clone| clone.of);
        let endpoint = match self.endpoint(instance_id).await {
            Ok(endpoint) => endpoint,
            Err(fault) => {
                let live = Err(fault.told());
                let (id, address) = (instance_id.into(), String::new());
                return Ok(Instance { id, address, kind, clone_of, live, sentinel: false });
            }
        };
        let found = self.look(&endpoint).await;
        let sentinel = matches!(found, Err(RedisError::Sentinel(_)));
        let (id, live) = (instance_id.into(), found.map_err(|e| Fault::from(e).message));
        Ok(Instance { id, address: endpoint.to_string(), kind, clone_of, live, sentinel })
    }

    /// The fault of a Sentinel that was configured as an instance; `None` of whatever else answers there, or does not.
    pub(super) async fn as_sentinel(&self, instance_id: &str) -> Option<Fault> {
        self.config(instance_id)?;
        let endpoint = self.endpoint(instance_id).await.ok()?;
        match self.look(&endpoint).await {
            Err(error @ RedisError::Sentinel(_)) => Some(error.into()),
            Ok(_) | Err(_) => None,
        }
    }

    /// What an instance tells about itself, as far as its user may ask.
    async fn look(&self, endpoint: &Endpoint) -> Result<Live, RedisError> {
        let mut conn = open(endpoint, CONNECT_TIMEOUT).await?;
        let facts = match ServerFacts::read(&mut conn).await {
            Ok(facts) => facts,
            Err(RedisError::Denied { command, .. }) => return unread(&mut conn, command).await,
            Err(error) => return Err(error),
        };
        let (mut unreadable, mut other_shards, mut slots) = (Vec::new(), Vec::new(), None);
        if facts.cluster_enabled {
            match shards(&mut conn).await {
                Ok(all) => {
                    slots = Some(number_of(all.iter().filter(|shard| shard.is_mine()).flat_map(|shard| &shard.slots)));
                    let (others, _) = unconfigured(endpoint, all, &self.instances).await;
                    other_shards = others.into_iter().map(|shard| shard.url).collect();
                }
                Err(RedisError::Denied { command, .. }) => unreadable.push(command),
                // What else it says to that, it says of the cluster: the node itself has answered.
                Err(_) => {}
            }
        }
        Ok(Live {
            status: "running".into(),
            engine: engine(facts.flavor).into(),
            role: Some(role(facts.role).into()),
            architecture: match slots {
                Some(n) if n < u32::from(SLOTS) => format!("cluster shard ({n} of {SLOTS} slots)"),
                Some(_) => "cluster".into(),
                None if facts.cluster_enabled => "cluster".into(),
                None => "standalone".into(),
            },
            used_memory: Some(facts.used_memory),
            maxmemory: Some(facts.maxmemory),
            counts: Some(counts_of(&facts)),
            replicas: Some(facts.replicas),
            region: None,
            backup_log_start_time: None,
            unreadable,
            other_shards,
            version: facts.version,
        })
    }
}

/// An instance whose user may not run INFO: it answers, and says a little of itself to anybody.
async fn unread(conn: &mut Conn, command: String) -> Result<Live, RedisError> {
    let said = hello(conn).await?;
    if said.as_ref().is_some_and(|said| said.sentinel) {
        return Err(sentinel(conn).await);
    }
    let architecture = said.as_ref().map(|said| if said.cluster { "cluster" } else { "standalone" });
    Ok(Live {
        status: "running".into(),
        engine: said.as_ref().map(|said| engine(said.flavor)).unwrap_or_default().into(),
        role: said.as_ref().and_then(|said| said.role).map(|as_what| role(as_what).into()),
        architecture: architecture.unwrap_or_default().into(),
        used_memory: None,
        maxmemory: None,
        counts: None,
        replicas: None,
        region: None,
        backup_log_start_time: None,
        unreadable: vec![command],
        other_shards: Vec::new(),
        version: said.map(|said| said.version).unwrap_or_default(),
    })
}
