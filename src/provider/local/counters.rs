//! Counters of a server that we reach ourselves, from its own `INFO`. Reading them is not counted.

use crate::model::fault::{Fault, Kind};
use crate::provider::local::Inner;
use crate::provider::traffic::Counters;
use crate::redis::conn::Conn;
use crate::redis::facts::{ServerFacts, write_calls};
use crate::redis::resp::Value;
use std::time::{Duration, Instant};

/// A monitor must not wait for a server that is away.
const LIMIT: Duration = Duration::from_secs(3);

impl Inner {
    /// Reads the counters of an instance's server.
    pub async fn counters(&self, instance_id: &str) -> Result<Counters, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, LIMIT).await?;
        let facts = ServerFacts::read(&mut conn).await?;
        let writes = write_calls(&mut conn).await?;
        let stats = conn.cmd_str(&["INFO", "stats"]).await?;
        let Value::Bulk(bytes) = stats else {
            return Err(Fault::new(Kind::Provider, "instance.odd", "INFO gave no text"));
        };
        let text = String::from_utf8_lossy(&bytes);
        let count = |name: &str| -> u64 {
            text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok()).unwrap_or(0)
        };
        Ok(Counters {
            read_at: Instant::now(),
            writes,
            reads: count("keyspace_hits") + count("keyspace_misses"),
            keys: facts.key_count(),
            expires: facts.keyspace.values().map(|k| k.expires).sum(),
            used_memory: facts.used_memory,
            run_id: facts.run_id,
        })
    }
}
