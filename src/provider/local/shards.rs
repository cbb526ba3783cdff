//! The shards of a cluster beside the instances of the configuration: which of them nobody backs up.
//!
//! It must not connect to a shard: it goes by what the node that was asked tells, and by the addresses of the configuration.

use crate::config::instance::InstanceConfig;
use crate::redis::endpoint::{Address, Endpoint};
use crate::redis::slots::{Node, Shard};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long the name of a host may take to be resolved: describing must stay quick.
const RESOLVED_WITHIN: Duration = Duration::from_secs(1);

/// A shard at none of whose nodes an instance is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfigured {
    /// Where it stands among the cluster's shards by their slots, from 1.
    pub number: usize,
    /// The url of its master.
    pub url: String,
}

/// The shards at none of whose nodes an instance is configured; `asked` is where the node was reached that told of them.
pub async fn unconfigured(asked: &Endpoint, mut shards: Vec<Shard>, instances: &[InstanceConfig]) -> Vec<Unconfigured> {
    shards.sort_by_key(|shard| shard.slots.iter().min().copied());
    let configured: Vec<(String, u16)> = instances.iter().filter_map(|i| of(&Endpoint::parse(&i.url).ok()?)).collect();
    let mut found = Vec::new();
    for (at, shard) in shards.iter().enumerate() {
        let Some(master) = shard.nodes.first() else { continue };
        if !is_configured(asked, shard, &configured).await {
            let Some((host, port)) = reached(asked, master) else { continue };
            found.push(Unconfigured {
                number: at + 1,
                url: Endpoint {
                    address: Address::Tcp { host, port },
                    username: None,
                    password: None,
                    tls: asked.tls.clone(),
                }
                .to_string(),
            });
        }
    }
    found
}

/// Host and port of an endpoint that has them.
fn of(endpoint: &Endpoint) -> Option<(String, u16)> {
    match &endpoint.address {
        Address::Tcp { host, port } => Some((host.clone(), *port)),
        Address::Unix(_) => None,
    }
}

/// Where a node is reached, as the cluster tells.
fn reached(asked: &Endpoint, node: &Node) -> Option<(String, u16)> {
    let host = node.host.clone().or_else(|| of(asked).map(|(host, _)| host))?;
    Some((host, node.port))
}

async fn is_configured(asked: &Endpoint, shard: &Shard, configured: &[(String, u16)]) -> bool {
    for node in &shard.nodes {
        if node.myself {
            return true;
        }
        let Some((host, port)) = reached(asked, node) else { continue };
        for (theirs, _) in configured.iter().filter(|(_, theirs)| *theirs == port) {
            if *theirs == host || is_same(theirs, &host, port).await {
                return true;
            }
        }
    }
    false
}

/// Whether two names have an address in common.
async fn is_same(one: &str, other: &str, port: u16) -> bool {
    let (one, other) = tokio::join!(addresses(one, port), addresses(other, port));
    one.iter().any(|address| other.contains(address))
}

async fn addresses(host: &str, port: u16) -> Vec<IpAddr> {
    match tokio::time::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.map(|address: SocketAddr| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Unconfigured, unconfigured};
    use crate::config::named_url::{URL_OPTION, instance};
    use crate::redis::endpoint::Endpoint;
    use crate::redis::slots::{Node, Shard};

    /// A shard counts as configured by any of its nodes, under whatever name; the others are told by their masters.
    #[tokio::test]
    async fn shards_without_an_instance_are_told() {
        let node = |host: &str, port: u16, myself: bool| Node {
            host: Some(host.to_owned()).filter(|host| !host.is_empty()),
            port,
            myself,
        };
        let shard = |first: u16, nodes: Vec<Node>| Shard { slots: vec![(first, first + 9)], nodes };
        let shards = vec![
            shard(30, vec![node("127.0.0.1", 7003, false), node("127.0.0.1", 7006, false)]),
            shard(0, vec![node("127.0.0.1", 7001, true)]),
            shard(20, vec![node("", 7002, false)]),
            shard(40, vec![node("::1", 7004, false)]),
        ];
        let asked = Endpoint::parse("redis://:secret@localhost:7001").unwrap();
        let configured =
            ["a=redis://localhost:7001", "b=redis://localhost:7006"].map(|url| instance(url, URL_OPTION).unwrap());
        let told = |number, url: &str| Unconfigured { number, url: url.to_owned() };
        let found = unconfigured(&asked, shards, &configured).await;
        assert_eq!(found, [told(2, "redis://localhost:7002"), told(4, "redis://[::1]:7004")]);
    }
}
