//! An instance as it stands: what it is, whether it serves, and what it holds.

use crate::model::fault::Fault;
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
    /// `local` (reached directly), `sandbox` or `tair` (on Alibaba Cloud).
    pub kind: &'static str,
    /// What was read from it, or why nothing could be.
    pub live: Result<Live, String>,
}

/// Read from a serving instance. What its provider does not tell is `None`.
#[derive(Debug, Clone)]
pub struct Live {
    /// `running`, or the cloud's own word, such as `Normal` or `BackupRecovering`.
    pub status: String,
    /// `redis`, `valkey` or `tair`.
    pub engine: String,
    /// The server's version, as it says it.
    pub version: String,
    /// `master` or `slave`, as the server says it.
    pub role: Option<String>,
    /// `standalone`, `cluster`, `cluster shard (n of 16384 slots)`; of the cloud also the generation: `classic standard`.
    pub architecture: String,
    /// Bytes used by data and overhead.
    pub used_memory: Option<u64>,
    /// Bytes of the configured limit; 0 for none.
    pub maxmemory: Option<u64>,
    /// Keys per database.
    pub counts: Option<Counts>,
    /// Replicas attached.
    pub replicas: Option<u64>,
    /// The cloud's region.
    pub region: Option<String>,
    /// The earliest second that can be restored, with data flashback on.
    pub backup_log_start_time: Option<jiff::Timestamp>,
}

/// Something that not every instance can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Restoring in place to a moment, or only some keys of a moment.
    RestoreToMoment,
    /// Locking writes while it is restored.
    WriteFence,
    /// A policy by which backups are taken.
    BackupPolicy,
    /// Making a new instance from a backup.
    Clone,
    /// A URL from which a set can be read.
    DownloadUrl,
}

/// What an instance can do: asked before anything is tried, not learnt from a failure.
#[derive(Debug, Default)]
pub struct Capabilities {
    lacking: Vec<(Capability, Fault)>,
}

impl Capabilities {
    /// Every capability there is.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Takes one away; the fault says why, and what to do instead.
    #[must_use]
    pub fn without(mut self, capability: Capability, fault: Fault) -> Self {
        self.lacking.push((capability, fault));
        self
    }

    /// Asks for capabilities.
    ///
    /// # Errors
    /// Why the first of those asked for is lacking.
    pub fn need(self, wanted: &[Capability]) -> Result<(), Fault> {
        match self.lacking.into_iter().find(|(lacking, _)| wanted.contains(lacking)) {
            Some((_, fault)) => Err(fault),
            None => Ok(()),
        }
    }
}
