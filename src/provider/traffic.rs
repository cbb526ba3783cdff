//! Traffic: counters of a server at one moment, from which rates are made.

use std::time::Instant;

/// Counters of a server's process, read at one moment.
#[derive(Debug, Clone)]
pub struct Counters {
    /// When they were read.
    pub read_at: Instant,
    /// The server's process; in another one all counters begin anew.
    pub run_id: String,
    /// Calls of writing commands.
    pub writes: u64,
    /// Lookups by reading commands, of keys that were there and of keys that were not.
    pub reads: u64,
    /// Keys in all databases.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
    /// Bytes of memory in use.
    pub used_memory: u64,
}

impl Counters {
    /// Writes and reads per second since an earlier moment; none where the server's process is another one since.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rates for a monitor, not an account")]
    pub fn rates_since(&self, earlier: &Self) -> Option<(f64, f64)> {
        if self.run_id != earlier.run_id {
            return None;
        }
        let seconds = self.read_at.duration_since(earlier.read_at).as_secs_f64().max(0.001);
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Some((rate(earlier.writes, self.writes), rate(earlier.reads, self.reads)))
    }
}

#[cfg(test)]
mod tests {
    //! Rates are per second, and there is none across a restart of the server.
    use super::*;
    use std::time::Duration;

    #[test]
    fn rates_are_of_one_process() {
        let read_at = Instant::now();
        let base =
            Counters { read_at, run_id: "a".into(), writes: 10, reads: 100, keys: 0, expires: 0, used_memory: 0 };
        let later = Counters { read_at: read_at + Duration::from_secs(5), writes: 20, reads: 100, ..base.clone() };
        assert_eq!(later.rates_since(&base), Some((2.0, 0.0)));
        let restarted = Counters { run_id: "b".into(), ..later };
        assert_eq!(restarted.rates_since(&base), None);
    }
}
