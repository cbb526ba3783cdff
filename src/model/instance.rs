//! An instance as described: kind and address, whether it serves, its key counts, and what it is capable of.

use crate::model::fault::Fault;
use std::collections::BTreeMap;

/// Keys per database: `db → (keys, keys that carry an expiry)`.
pub type Counts = BTreeMap<u64, (u64, u64)>;

/// Keys in all databases together.
#[must_use]
pub fn total_keys(counts: &Counts) -> u64 {
    counts.values().map(|(keys, _)| keys).sum()
}

/// Where a clone's data is from, and how long the clone lives.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CloneOf {
    /// The instance whose data it is.
    pub instance_id: String,
    /// The set that the clone was loaded from, or that the log was replayed behind.
    pub backup_id: String,
    /// The moment that the log was replayed up to; `None` where the set alone was loaded.
    pub moment: Option<jiff::Timestamp>,
    /// When making the clone began.
    pub created_at: jiff::Timestamp,
    /// When its life is over.
    pub ends_at: jiff::Timestamp,
}

/// One instance, as `describe_instances` shows it.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The instance's id: from our configuration, or the cloud's own.
    pub id: String,
    /// Where clients connect to the instance, without credentials.
    pub address: String,
    /// `local` (reached directly), `sandbox`, `clone` or `tair` (on Alibaba Cloud).
    pub kind: &'static str,
    /// What a clone of this program's own was made of; `None` of any other instance.
    pub clone_of: Option<CloneOf>,
    /// What the instance told about itself, or why it could not be read.
    pub live: Result<Live, String>,
    /// Whether a Sentinel answers in its place, which has no data: then it can neither be backed up nor have a policy.
    pub sentinel: bool,
}

/// What was read from a serving instance. What its provider does not tell is `None`.
#[derive(Debug, Clone)]
pub struct Live {
    /// `running`, or the cloud's own status, such as `Normal` or `BackupRecovering`.
    pub status: String,
    /// `redis`, `valkey` or `tair`; empty where it is not known.
    pub engine: String,
    /// The server's version, as INFO or the cloud writes it; empty where it is not known.
    pub version: String,
    /// `master` or `slave`, as INFO writes it.
    pub role: Option<String>,
    /// `standalone`, `cluster`, `cluster shard (n of 16384 slots)`; of the cloud also the generation: `classic standard`; empty where it is not known.
    pub architecture: String,
    /// Bytes of memory used by data and overhead.
    pub used_memory: Option<u64>,
    /// Bytes of the configured memory limit; 0 for none.
    pub maxmemory: Option<u64>,
    /// Keys per database.
    pub counts: Option<Counts>,
    /// Number of replicas attached, without who only reads the stream: our own captures and archivers.
    pub replicas: Option<u64>,
    /// The cloud's region, such as `cn-hangzhou`.
    pub region: Option<String>,
    /// The earliest second that can be restored, with data flashback on.
    pub backup_log_start_time: Option<jiff::Timestamp>,
    /// Commands that the instance's user may not run, for which something here is not known.
    pub unreadable: Vec<String>,
    /// Of a cluster's node: urls of the masters of shards at whose nodes no instance is configured.
    pub other_shards: Vec<String>,
}

/// An ability that not every instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Restoring in place to a moment, or only some keys of a moment.
    RestoreToMoment,
    /// Restoring to right before a command of its log, or to the cutover of an earlier restore.
    RestoreToPosition,
    /// Having only some keys restored from a set, or under a prefix.
    SomeKeys,
    /// Having its writes locked for the length of a restore.
    WriteFence,
    /// Having a policy by which backups are taken automatically.
    BackupPolicy,
    /// Being the source of a new instance.
    Clone,
    /// Being overwritten with a set of another instance.
    Fill,
    /// Handing out a URL from which a set can be read.
    DownloadUrl,
    /// Having a moment of its log written to files.
    DownloadMoment,
}

/// What an instance is capable of: checked before anything is tried, not learnt from a failure.
#[derive(Debug, Default)]
pub struct Capabilities {
    lacking: Vec<(Capability, Fault)>,
}

impl Capabilities {
    /// Every capability.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Removes one capability; the fault says why the instance lacks it, and what to do instead.
    #[must_use]
    pub fn without(mut self, capability: Capability, fault: Fault) -> Self {
        self.lacking.push((capability, fault));
        self
    }

    /// Checks that none of the capabilities wanted is lacking.
    ///
    /// # Errors
    /// The fault of the first capability that is lacking.
    pub fn need(self, wanted: &[Capability]) -> Result<(), Fault> {
        match self.lacking.into_iter().find(|(lacking, _)| wanted.contains(lacking)) {
            Some((_, fault)) => Err(fault),
            None => Ok(()),
        }
    }
}
