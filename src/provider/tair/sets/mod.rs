//! Backup sets of the cloud: what a set is, how the rows of the two listings are read, and how a set is found among others.
//! Each listing has a module that makes sets of its rows.

pub mod clusters;
pub mod shards;

use crate::guard::facts::backup::{CloudSet as SetFacts, ListedSet};
use crate::model::backup::{BackupSet, DamagedSet, Mode, Origin};
use crate::model::text::clean;
use crate::tair::client::Client;
use crate::tair::error::TairError;
use crate::tair::wire::backups::{Backup, DescribeBackups, RecoverConfig, is_automated, is_manual};
use crate::tair::wire::clusters::{ClusterBackup, DescribeClusterBackupList};
use crate::tair::wire::{DownloadUrl, Minute};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A file of a set: a shard's, or the one of an instance that has no shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The file's id.
    pub id: String,
    /// The shard, or the instance.
    pub node: String,
    /// Bytes that the file has, as the cloud lists it; `None` where it tells only how large the whole set is.
    pub bytes: Option<u64>,
    /// Where the file is, over the internet.
    pub public: Option<DownloadUrl>,
    /// Where the file is, within the region.
    pub intranet: Option<DownloadUrl>,
}

/// A set, with what only this provider needs to know of it.
#[derive(Debug, Clone)]
pub struct CloudSet {
    /// The set as everybody sees it.
    pub set: BackupSet,
    /// The set's files, in order of their shards.
    pub shards: Vec<Shard>,
    /// The jobs that made the set; empty for a set of a cloud-native cluster.
    pub jobs: Vec<i64>,
    /// Which settings of its source the set can give to a new instance.
    pub recover: RecoverConfig,
    /// Whether the set is a cloud-native cluster's, with an id such as `cb-…`.
    pub of_cluster: bool,
    /// Whether the cloud calls all of its files full backups. The list of clusters' sets has no others.
    pub full: bool,
    /// Whether the cloud says of all of its files that they were taken, rather than nothing.
    pub success: bool,
}

impl CloudSet {
    /// The ids under which it is kept what was found of the set: its own, and those of its files.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.set.id).chain(self.shards.iter().map(|file| &file.id))
    }

    /// What the guard has to know of the set.
    #[must_use]
    pub fn facts(&self) -> SetFacts {
        SetFacts {
            backup_id: self.set.id.clone(),
            bytes: self.set.rdb_bytes,
            taken_at: self.set.started_at,
            finished_at: self.set.finished_at,
            expires_at: self.set.expires_at,
            jobs: self.jobs.clone(),
            manual: self.set.mode == Mode::Manual,
        }
    }
}

/// What the guard has to know of a set, whole or broken.
///
/// # Errors
/// Why the set is broken: that is a fact, not a failure.
pub fn listed_facts(listed: &Listed) -> ListedSet {
    listed.as_ref().map(CloudSet::facts).map_err(|damaged| damaged.reason.clone())
}

/// A set, or what is known of a broken one.
pub type Listed = Result<CloudSet, DamagedSet>;

/// The widest range: from before the product existed, in 2010, to 2050. No clock is asked: one that is behind would make a list shorter.
#[must_use]
pub fn always() -> (Timestamp, Timestamp) {
    let at = |seconds| Timestamp::from_second(seconds).unwrap_or_default();
    (at(1_262_304_000), at(2_524_608_000))
}

/// Reads all rows of `DescribeBackups` in a range.
///
/// # Errors
/// Any [`TairError`].
pub async fn rows(client: &Client, instance_id: &str, range: (Timestamp, Timestamp)) -> Result<Vec<Backup>, TairError> {
    let ask = DescribeBackups {
        instance_id: instance_id.into(),
        start_time: Minute(range.0),
        end_time: Minute(range.1),
        backup_id: None,
        backup_job_id: None,
        page_number: None,
        page_size: None,
    };
    client.list(&ask).await
}

/// Reads all rows of `DescribeClusterBackupList` in a range.
///
/// # Errors
/// Any [`TairError`].
pub async fn cluster_rows(
    client: &Client,
    instance_id: &str,
    range: (Timestamp, Timestamp),
) -> Result<Vec<ClusterBackup>, TairError> {
    let ask = DescribeClusterBackupList {
        region_id: client.region().into(),
        instance_id: instance_id.into(),
        start_time: Minute(range.0),
        end_time: Minute(range.1),
        cluster_backup_id: None,
        page_number: None,
        page_size: None,
        no_shard_backup: None,
    };
    client.list(&ask).await
}

/// Who had a set taken. A word that nobody has published is no leave to delete the set.
fn mode_of(mode: Option<&str>) -> Mode {
    match mode {
        mode if is_manual(mode) => Mode::Manual,
        mode if is_automated(mode) => Mode::Automated,
        _ => Mode::Unknown,
    }
}

/// A set whose id cannot be read: shown by when it began, so that it is not missed.
fn unnamed(began: Option<&str>) -> DamagedSet {
    let began = clean(began.unwrap_or("an unknown time"));
    DamagedSet { id: format!("of {began}"), reason: "its id cannot be read".into(), unreadable: None }
}

/// Bytes as the cloud tells them; nothing where that is no size.
fn size(bytes: Option<i64>) -> Option<u64> {
    bytes.and_then(|n| u64::try_from(n).ok())
}

/// Why a set whose size cannot be read is not taken for whole: 0 bytes would be a claim.
const NO_SIZE: &str = "the cloud does not tell how large it is";

/// An empty set with what every set of the cloud has.
fn blank(instance_id: &str, id: String, mode: Mode) -> BackupSet {
    BackupSet {
        id,
        instance_id: instance_id.into(),
        mode,
        note: String::new(),
        engine: "redis".into(),
        version: String::new(),
        run_id: String::new(),
        replication_id: String::new(),
        replication_offset: 0,
        write_calls: None,
        started_at: Timestamp::default(),
        finished_at: Timestamp::default(),
        rdb_version: 0,
        rdb_bytes: 0,
        sha256: String::new(),
        stored_bytes: 0,
        counts: BTreeMap::new(),
        functions: 0,
        used_memory: 0,
        types: BTreeMap::new(),
        expires_at: None,
        locked_until: None,
        origin: Origin::Capture { address: String::new() },
        announced_version: None,
        held: None,
        proof: None,
        manifest: None,
    }
}

/// Finds a set by its id.
#[must_use]
pub fn find(listed: Vec<Listed>, id: &str) -> Option<Listed> {
    let as_set = |entry: &Listed| match entry {
        Ok(set) => same_ids(&set.set.id, id),
        Err(damaged) => same_ids(&damaged.id, id),
    };
    listed.into_iter().find(as_set)
}

/// The set that a file of several belongs to, whole or not.
#[must_use]
pub fn set_of_file(listed: &[Listed], id: &str) -> Option<String> {
    listed.iter().find_map(|entry| match entry {
        Ok(whole) => whole.shards.iter().any(|s| s.id == id).then(|| whole.set.id.clone()),
        Err(damaged) => damaged.id.split(',').any(|part| part == id).then(|| damaged.id.clone()),
    })
}

/// Finds a set by its id, or one shard of a set by its own: that is what a download of a cluster names.
#[must_use]
pub fn find_file(listed: Vec<Listed>, id: &str) -> Option<Listed> {
    if let Some(set) = find(listed.clone(), id) {
        return Some(set);
    }
    listed.into_iter().flatten().find_map(|whole| {
        let shard = whole.shards.iter().find(|s| s.id == id)?.clone();
        let Some(bytes) = shard.bytes else {
            return Some(Err(DamagedSet { id: shard.id, reason: NO_SIZE.into(), unreadable: None }));
        };
        let set = BackupSet { id: shard.id.clone(), rdb_bytes: bytes, stored_bytes: bytes, ..whole.set.clone() };
        Some(Ok(CloudSet { set, shards: vec![shard], ..whole }))
    })
}

/// Whether two comma lists name the same, in whatever order.
fn same_ids(a: &str, b: &str) -> bool {
    let sorted = |t: &str| {
        let mut ids: Vec<String> = t.split(',').map(str::to_owned).collect();
        ids.sort();
        ids
    };
    a == b || sorted(a) == sorted(b)
}
