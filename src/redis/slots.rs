//! Cluster slots: which slot a key belongs to and which slots a node owns.
//!
//! It must not route: a key that belongs elsewhere is for the plan to refuse.

use super::conn::Conn;
use super::error::RedisError;
use super::resp::Value;

/// Slots in a cluster.
pub const SLOTS: u16 = 16384;

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
}
