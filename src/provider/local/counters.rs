//! Counters of a server that we reach ourselves, from its own `INFO`. Reading them is not counted.

use crate::model::fault::Fault;
use crate::provider::local::Inner;
use crate::provider::traffic::Counters;
use crate::redis::commandstats::write_calls;
use crate::redis::conn::Conn;
use crate::redis::facts::ServerFacts;
use std::time::{Duration, Instant};

/// A monitor must not wait for a server that is away.
const LIMIT: Duration = Duration::from_secs(3);

impl Inner {
    /// Reads the counters of an instance's server.
    pub async fn counters(&self, instance_id: &str) -> Result<Counters, Fault> {
        let mut conn = Conn::open(&self.endpoint(instance_id).await?, LIMIT).await?;
        let facts = ServerFacts::read(&mut conn).await?;
        let writes = write_calls(&mut conn).await?;
        Ok(Counters {
            read_at: Instant::now(),
            writes,
            reads: facts.key_reads,
            keys: facts.key_count(),
            expires: facts.keyspace.values().map(|k| k.expires).sum(),
            used_memory: facts.used_memory,
            run_id: facts.run_id,
        })
    }
}
