//! Reads the log between a base and a cut, for a replay: verified, whole commands in their order.

use crate::archive::{Archive, Cut};
use crate::model::fault::{Fault, Kind};

/// Reads a part of the log in chunks of a megabyte at most. A command that is larger spans several; the end is always that of a
/// transaction. What changes no data (PING, REPLCONF, PUBLISH, SPUBLISH, CLUSTER, TRIMSLOTS) is left out.
#[derive(Debug)]
pub struct LogReader;

impl Archive {
    /// Reads the log of a cut, beginning with the SELECT that its first command needs.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn read(&self, cut: &Cut) -> Result<LogReader, Fault> {
        let _ = cut;
        Err(Fault::new(Kind::Unexpected, "log.failed", "not built yet"))
    }
}

impl LogReader {
    /// Commands given so far that change data. At the end it is what the cut said, or the end is a fault.
    #[must_use]
    pub fn commands(&self) -> u64 {
        0
    }
}

impl Iterator for LogReader {
    type Item = Result<Vec<u8>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}
