//! An instance as it stands: what it is, whether it serves, and what it holds.

use std::collections::BTreeMap;

/// Keys per database: `db → (keys, keys with an expiry)`.
pub type Counts = BTreeMap<u64, (u64, u64)>;

/// All keys of a count.
#[must_use]
pub fn total_keys(counts: &Counts) -> u64 {
    counts.values().map(|(keys, _)| keys).sum()
}

/// What describing an instance tells.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id in our configuration.
    pub id: String,
    /// Where it is, without credentials.
    pub address: String,
    /// `local` (reached directly) or `sandbox`.
    pub kind: &'static str,
    /// What was read from it, or why nothing could be.
    pub live: Result<Live, String>,
}

/// Read from a serving instance.
#[derive(Debug, Clone)]
pub struct Live {
    /// `redis` or `valkey`.
    pub engine: String,
    /// The server's version, as it says it.
    pub version: String,
    /// `master` or `slave`, as the server says it.
    pub role: String,
    /// `standalone`, `cluster`, or `cluster shard (n of 16384 slots)`.
    pub architecture: String,
    /// Bytes used by data and overhead.
    pub used_memory: u64,
    /// Bytes of the configured limit; 0 for none.
    pub maxmemory: u64,
    /// Keys per database.
    pub counts: Counts,
    /// Replicas attached.
    pub replicas: u64,
}
