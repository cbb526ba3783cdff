//! The shards of a cluster beside the instances of the configuration: which of them nobody backs up.
//!
//! It must not connect to a shard: it goes by what the node that was asked tells, and by the addresses of the configuration.

use crate::config::instance::InstanceConfig;
use crate::redis::endpoint::{Address, Endpoint};
use crate::redis::slots::{Node, Shard};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long each name of a host may take to be resolved: describing must stay quick.
const RESOLVED_WITHIN: Duration = Duration::from_secs(1);

/// A shard at none of whose nodes an instance is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfigured {
    /// Where it stands among the cluster's shards by their slots, from 1.
    pub number: usize,
    /// The url of its master.
    pub url: String,
}

/// The shards at none of whose nodes an instance is configured, and the number of those of which that is not known: of them the cluster tells no
/// host, and the node that was asked is reached by a socket. `asked` is where the node was reached that told of them.
pub async fn unconfigured(
    asked: &Endpoint,
    mut shards: Vec<Shard>,
    instances: &[InstanceConfig],
) -> (Vec<Unconfigured>, usize) {
    shards.sort_by_key(|shard| shard.slots.iter().min().copied());
    let configured: Vec<(String, u16)> = instances.iter().filter_map(|i| of(&Endpoint::parse(&i.url).ok()?)).collect();
    let resolved = resolved(asked, &shards, &configured).await;
    let (mut found, mut unknown) = (Vec::new(), 0);
    for (at, shard) in shards.iter().enumerate() {
        let Some(master) = shard.nodes.first() else { continue };
        if !is_configured(asked, shard, |node| configured.iter().any(|ours| is_same(ours, node, &resolved))) {
            let Some((host, port)) = reached(asked, master) else {
                unknown += 1;
                continue;
            };
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
    (found, unknown)
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

/// Whether the node that was asked, or one that is known, is one of a shard's.
fn is_configured(asked: &Endpoint, shard: &Shard, known: impl Fn(&(String, u16)) -> bool) -> bool {
    shard.nodes.iter().any(|node| node.myself || reached(asked, node).is_some_and(|at| known(&at)))
}

/// Whether two hosts and ports are the same, by their names or by an address that these have in common.
fn is_same(ours: &(String, u16), theirs: &(String, u16), resolved: &BTreeMap<String, Vec<IpAddr>>) -> bool {
    let of = |name: &String| resolved.get(name).map(Vec::as_slice).unwrap_or_default();
    ours.1 == theirs.1 && (ours.0 == theirs.0 || of(&ours.0).iter().any(|address| of(&theirs.0).contains(address)))
}

/// The addresses of the names that have to be known, each asked for once, and all at once: those of the shards that no instance names as
/// they are, and those of the instances on the same ports.
async fn resolved(asked: &Endpoint, shards: &[Shard], configured: &[(String, u16)]) -> BTreeMap<String, Vec<IpAddr>> {
    let unnamed = shards.iter().filter(|shard| !is_configured(asked, shard, |node| configured.contains(node)));
    let nodes = unnamed.flat_map(|shard| &shard.nodes).filter_map(|node| reached(asked, node));
    let mut names = BTreeSet::new();
    for (host, port) in nodes {
        let ours: Vec<String> = configured.iter().filter(|ours| ours.1 == port).map(|ours| ours.0.clone()).collect();
        if !ours.is_empty() {
            names.extend(ours);
            names.insert(host);
        }
    }
    let asked_for = names.into_iter().map(|name| async move {
        let found = addresses(&name).await;
        (name, found)
    });
    join_all(asked_for).await.into_iter().collect()
}

async fn addresses(host: &str) -> Vec<IpAddr> {
    match tokio::time::timeout(RESOLVED_WITHIN, tokio::net::lookup_host((host, 0))).await {
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
        let found = unconfigured(&asked, shards.clone(), &configured).await;
        assert_eq!(found, (vec![told(2, "redis://localhost:7002"), told(4, "redis://[::1]:7004")], 0));
        // Reached by a socket, nobody knows where the shard is of which no host is told.
        let asked = Endpoint::parse("unix:///run/redis.sock").unwrap();
        assert_eq!(unconfigured(&asked, shards, &configured).await, (vec![told(4, "redis://[::1]:7004")], 1));
    }
}
