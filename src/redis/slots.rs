//! Cluster slots: which slot a key belongs to and which slots a node owns.
//!
//! It must not route: a key that belongs elsewhere is for the plan to refuse.

use super::conn::Conn;
use super::error::RedisError;
use super::facts::ServerFacts;
use super::resp::Value;
use crate::model::slots::HeldSlots;
use crate::model::text::clean_to;

/// Slots in a cluster.
pub const SLOTS: u16 = 16384;
/// Characters kept of a node's id.
const ID_MAX: usize = 64;
/// Characters kept of a node's host.
const HOST_MAX: usize = 255;

/// The slot of a key: CRC16 (XMODEM) of the hash tag, or of the whole key without one.
#[must_use]
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|b| *b == b'{').and_then(|open| {
        let inside = key.get(open + 1..)?;
        let close = inside.iter().position(|b| *b == b'}')?;
        inside.get(..close).filter(|t| !t.is_empty())
    });
    let mut crc: u16 = 0;
    for byte in tag.unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % SLOTS
}

/// A shard of a cluster, as one of its nodes tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Ranges of the slots that it serves, ends included.
    pub slots: Vec<(u16, u16)>,
    /// Its nodes, the master first.
    pub nodes: Vec<Node>,
}

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Address or name; `None` where the cluster does not tell: then it is where the node that was asked is reached.
    pub host: Option<String>,
    /// Port, of the kind that was asked on.
    pub port: u16,
    /// Whether it is the node that was asked.
    pub myself: bool,
}

/// The shards that serve slots.
///
/// # Errors
/// What the connection or the server refused; an instance that is not in cluster mode refuses.
pub async fn shards(conn: &mut Conn) -> Result<Vec<Shard>, RedisError> {
    let me = conn.cmd_str(&["CLUSTER", "MYID"]).await?;
    let Some(me) = me.as_str().map(str::to_owned) else { return Err(conn.protocol("CLUSTER MYID gave no text")) };
    let reply = conn.cmd_str(&["CLUSTER", "SLOTS"]).await?;
    Ok(shards_of(&reply, &me))
}

/// Each entry: first slot, last slot, master [ip, port, id, …], replicas…
fn shards_of(reply: &Value, me: &str) -> Vec<Shard> {
    let node = |node: &Value| {
        let node = node.as_array()?;
        let (port, id) = (u16::try_from(node.get(1)?.as_int()?).ok()?, node.get(2)?.as_str()?);
        // A cluster that tells names has none for some: then it tells the address beside.
        let host = match node.first()?.as_str() {
            Some("?") => node.get(3).and_then(beside),
            named => named.filter(|host| !host.is_empty()),
        };
        Some((id.to_owned(), Node { host: host.map(|host| clean_to(host, HOST_MAX)), port, myself: id == me }))
    };
    let mut found: Vec<(String, Shard)> = Vec::new();
    for entry in reply.as_array().unwrap_or_default().iter().filter_map(Value::as_array) {
        let slot = |at: usize| entry.get(at).and_then(Value::as_int).and_then(|n| u16::try_from(n).ok());
        let (Some(first), Some(last)) = (slot(0), slot(1)) else { continue };
        let nodes: Vec<(String, Node)> = entry.iter().skip(2).filter_map(node).collect();
        let Some((master, _)) = nodes.first().cloned() else { continue };
        match found.iter_mut().find(|(id, _)| *id == master) {
            Some((_, shard)) => shard.slots.push((first, last)),
            None => {
                let nodes = nodes.into_iter().map(|(_, node)| node).collect();
                found.push((master, Shard { slots: vec![(first, last)], nodes }));
            }
        }
    }
    found.into_iter().map(|(_, shard)| shard).collect()
}

/// The address in what is told beside a node's host: a flat list of names and values.
fn beside(more: &Value) -> Option<&str> {
    more.as_array()?.chunks(2).find_map(|pair| match pair {
        [key, value] if key.as_str() == Some("ip") => value.as_str().filter(|ip| !ip.is_empty()),
        _ => None,
    })
}

/// The ranges of slots, ends included, that the connected node serves as their master.
///
/// # Errors
/// As [`shards`].
pub async fn owned_slots(conn: &mut Conn) -> Result<Vec<(u16, u16)>, RedisError> {
    let all = shards(conn).await?;
    Ok(all.into_iter().filter(Shard::is_mine).flat_map(|shard| shard.slots).collect())
}

impl Shard {
    /// Whether the node that was asked is the shard's master.
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.nodes.first().is_some_and(|master| master.myself)
    }
}

/// The slots whose keys the connected server holds whole.
///
/// # Errors
/// What the connection or the server refused: of a cluster's node the user needs `+cluster|nodes`.
pub async fn held_slots(facts: &ServerFacts, conn: &mut Conn) -> Result<HeldSlots, RedisError> {
    if !facts.cluster_enabled {
        return Ok(HeldSlots::All);
    }
    let reply = conn.cmd_str(&["CLUSTER", "NODES"]).await?;
    let held = reply.as_str().and_then(held_by_myself);
    held.ok_or_else(|| conn.protocol("CLUSTER NODES does not tell of the node itself"))
}

/// `<id> <address> <flags> <master> <ping> <pong> <epoch> <link> <slot> <from>-<to> [<slot>->-<to>] [<slot>-<-<from>]`, of the node itself.
fn held_by_myself(nodes: &str) -> Option<HeldSlots> {
    let mut lines = nodes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.get(2).is_some_and(|flags| flags.split(',').any(|f| f == "myself")))?;
    let (id, epoch) = (clean_to(fields.first()?, ID_MAX), fields.get(6)?.parse().ok()?);
    let (mut ranges, mut leaving) = (Vec::new(), Vec::new());
    for field in fields.get(8..).unwrap_or_default() {
        match field.strip_prefix('[') {
            // Some of the keys of a slot that is on its way to another node are there already.
            Some(moving) => {
                leaving.extend(moving.split_once("->-").map(|(slot, _)| slot.parse::<u16>()).transpose().ok()?);
            }
            None => {
                let (from, to) = field.split_once('-').unwrap_or((field, field));
                ranges.push((from.parse().ok()?, to.parse().ok()?));
            }
        }
    }
    for slot in leaving {
        let without = |(from, to): (u16, u16)| match (from..=to).contains(&slot) {
            true => vec![(from, slot.saturating_sub(1)), (slot.saturating_add(1), to)],
            false => vec![(from, to)],
        };
        ranges = ranges.into_iter().flat_map(without).filter(|(from, to)| from <= to && *to != slot).collect();
    }
    Some(HeldSlots::Node { id, epoch, ranges })
}

/// Whether a server that held these slots could have held a key.
#[must_use]
pub fn could_hold(held: &HeldSlots, key: &[u8]) -> bool {
    *held == HeldSlots::All || held.has(slot(key))
}

#[cfg(test)]
mod tests {
    //! Slots agree with the cluster specification's own examples.
    use super::*;

    #[test]
    fn slots_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), 8363);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
    }

    #[test]
    fn a_shard_is_told_once() {
        let text = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let node = |host: Value, port: i64, id: &str| {
            Value::Array(vec![host, Value::Int(port), text(id), Value::Array(Vec::new())])
        };
        let range = |from: i64, to: i64, nodes: &[Value]| {
            Value::Array([&[Value::Int(from), Value::Int(to)][..], nodes].concat())
        };
        let (a, b) = (node(Value::Nil, 7001, "a"), node(text("10.0.0.2"), 7002, "b"));
        let reply = Value::Array(vec![range(0, 5, std::slice::from_ref(&a)), range(6, 9, &[b]), range(10, 11, &[a])]);
        let shard = |slots: &[(u16, u16)], host: Option<&str>, port: u16, myself: bool| {
            let node = Node { host: host.map(str::to_owned), port, myself };
            Shard { slots: slots.to_vec(), nodes: vec![node] }
        };
        let wanted = [shard(&[(0, 5), (10, 11)], None, 7001, false), shard(&[(6, 9)], Some("10.0.0.2"), 7002, true)];
        assert_eq!(shards_of(&reply, "b"), wanted);
        assert!(shards_of(&reply, "b").iter().map(Shard::is_mine).eq([false, true]));
        let more = Value::Array(vec![text("ip"), text("10.0.0.3")]);
        let nameless = Value::Array(vec![text("?"), Value::Int(7003), text("c"), more]);
        let reply = Value::Array(vec![range(12, 12, &[nameless])]);
        assert_eq!(shards_of(&reply, "b"), [shard(&[(12, 12)], Some("10.0.0.3"), 7003, false)]);
    }

    #[test]
    fn slots_that_are_moving_are_not_held_whole() {
        let nodes = "b 10.0.0.2:6379@16379 master - 0 0 8 connected 100-200\n\
                     a :0@0,,shard-id=1 myself,master - 0 0 7 connected 0-5 7 20-22 [0->-b] [5->-b] [21->-b] [7->-b] [100-<-b]\n";
        let held = HeldSlots::Node { id: "a".into(), epoch: 7, ranges: vec![(1, 4), (20, 20), (22, 22)] };
        assert_eq!(held_by_myself(nodes), Some(held));
        assert_eq!(held_by_myself("b 10.0.0.2:6379@16379 master - 0 0 8 connected 100-200\n"), None);
    }
}
