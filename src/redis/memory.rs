//! A server's memory against its limit: what is in use, what is still being freed, and whether keys would be evicted.
//!
//! Figures only: what follows from them is decided by whoever asks.

use super::conn::Conn;
use super::error::RedisError;
use super::facts::{field, info};

/// What INFO says of a server's memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    /// The limit; zero is none.
    pub(super) limit: u64,
    /// What the server counts against its limit: not the buffers of replicas and of the append-only file.
    pub(super) counted: u64,
    /// Objects that wait to be freed.
    pub(super) freeing: u64,
    /// Whether the server refuses writes at its limit instead of evicting.
    no_eviction: bool,
}

impl Memory {
    /// Reads them.
    ///
    /// # Errors
    /// What the connection or the server refused.
    pub(super) async fn read(conn: &mut Conn) -> Result<Self, RedisError> {
        let text = info(conn, Some("memory")).await?;
        let number = |name: &str| field(&text, name).and_then(|value| value.parse().ok()).unwrap_or(0_u64);
        Ok(Self {
            limit: number("maxmemory"),
            counted: number("used_memory").saturating_sub(number("mem_not_counted_for_evict")),
            freeing: number("lazyfree_pending_objects"),
            no_eviction: field(&text, "maxmemory_policy") == Some("noeviction"),
        })
    }

    /// Whether the server would evict nothing now, were this its limit.
    pub(super) fn fits(&self, limit: u64) -> bool {
        limit == 0 || self.no_eviction || self.counted <= limit
    }
}
