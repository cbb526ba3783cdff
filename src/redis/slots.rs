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

/// The ranges of slots, ends included, that the connected node serves as their master.
///
/// # Errors
/// What the connection or the server refused; an instance that is not in cluster mode refuses.
pub async fn owned_slots(conn: &mut Conn) -> Result<Vec<(u16, u16)>, RedisError> {
    let me = conn.cmd_str(&["CLUSTER", "MYID"]).await?;
    let Some(me) = me.as_str().map(str::to_owned) else { return Err(conn.protocol("CLUSTER MYID gave no text")) };
    let reply = conn.cmd_str(&["CLUSTER", "SLOTS"]).await?;
    // Each entry: first slot, last slot, master [ip, port, id, …], replicas…
    let range = |entry: &Value| {
        let entry = entry.as_array()?;
        let id = entry.get(2)?.as_array()?.get(2)?.as_str()?;
        let first = u16::try_from(entry.first()?.as_int()?).ok()?;
        let last = u16::try_from(entry.get(1)?.as_int()?).ok()?;
        (id == me).then_some((first, last))
    };
    Ok(reply.as_array().unwrap_or_default().iter().filter_map(range).collect())
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
    fn slots_that_are_moving_are_not_held_whole() {
        let nodes = "b 10.0.0.2:6379@16379 master - 0 0 8 connected 100-200\n\
                     a :0@0,,shard-id=1 myself,master - 0 0 7 connected 0-5 7 20-22 [0->-b] [5->-b] [21->-b] [7->-b] [100-<-b]\n";
        let held = HeldSlots::Node { id: "a".into(), epoch: 7, ranges: vec![(1, 4), (20, 20), (22, 22)] };
        assert_eq!(held_by_myself(nodes), Some(held));
        assert_eq!(held_by_myself("b 10.0.0.2:6379@16379 master - 0 0 8 connected 100-200\n"), None);
    }
}
