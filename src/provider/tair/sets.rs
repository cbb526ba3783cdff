//! Backup sets of the cloud: rows of its two listings made into sets, each whole or named as damaged.
//!
//! A cluster has one row for each shard. Shards of one job belong together by its id; older clusters have one job for each
//! shard, and there only time tells which belong together. The id of such a set is its shards' ids, joined by commas.

use crate::guard::facts::backup::{CloudSet as SetFacts, ListedSet};
use crate::model::backup::{BackupSet, DamagedSet, Mode};
use crate::tair::client::Client;
use crate::tair::error::TairError;
use crate::tair::wire::backups::{Backup, DescribeBackups, RecoverConfig};
use crate::tair::wire::clusters::{ClusterBackup, DescribeClusterBackupList};
use crate::tair::wire::{DownloadUrl, Minute, moment};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Shards of one backup begin within this.
const TOGETHER: SignedDuration = SignedDuration::from_mins(30);

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The file's id.
    pub id: String,
    /// The shard, or the instance.
    pub node: String,
    /// Bytes.
    pub bytes: u64,
    /// Where it is, over the internet.
    pub public: Option<DownloadUrl>,
    /// Where it is, within the region.
    pub intranet: Option<DownloadUrl>,
}

/// A set with what the cloud alone needs to know of it.
#[derive(Debug, Clone)]
pub struct CloudSet {
    /// As everybody sees it.
    pub set: BackupSet,
    /// Its files, in order of their shards.
    pub shards: Vec<Shard>,
    /// The jobs that made it; empty for a set of a cloud-native cluster.
    pub jobs: Vec<i64>,
    /// Which settings of its source it can give to a new instance.
    pub recover: RecoverConfig,
    /// Of a cloud-native cluster: `cb-…`.
    pub of_cluster: bool,
}

impl CloudSet {
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
pub fn listed_facts(listed: &Listed) -> ListedSet {
    listed.as_ref().map(CloudSet::facts).map_err(|damaged| damaged.reason.clone())
}

/// A set, or what is known of a broken one.
pub type Listed = Result<CloudSet, DamagedSet>;

/// The widest range: from before the product existed to a day after now, so that clocks need not agree.
#[must_use]
pub fn always() -> (Timestamp, Timestamp) {
    let from = Timestamp::from_second(1_262_304_000).unwrap_or_default();
    (from, Timestamp::now().saturating_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX))
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

fn mode(word: Option<&str>) -> Mode {
    if word.is_some_and(|w| w.eq_ignore_ascii_case("Automated")) { Mode::Automated } else { Mode::Manual }
}

fn unsigned(n: Option<i64>) -> u64 {
    n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default()
}

fn began(row: &Backup) -> Timestamp {
    moment(row.backup_start_time.as_deref()).unwrap_or_default()
}

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
    }
}

/// Makes sets of the rows of `DescribeBackups`, newest first. `shards` is how many the instance has, where it is known.
#[must_use]
pub fn of_rows(instance_id: &str, rows: Vec<Backup>, shards: Option<usize>) -> Vec<Listed> {
    let mut listed: Vec<(Timestamp, Listed)> = gather(rows)
        .into_iter()
        .filter_map(|rows| {
            let at = rows.iter().map(began).min()?;
            Some((at, one(instance_id, rows, shards)?))
        })
        .collect();
    listed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    listed.into_iter().map(|(_, set)| set).collect()
}

/// Puts rows of one backup together.
fn gather(mut rows: Vec<Backup>) -> Vec<Vec<Backup>> {
    rows.sort_by_key(|row| (began(row), row.backup_id));
    let mut groups: Vec<Vec<Backup>> = Vec::new();
    for row in rows {
        let fits = |group: &Vec<Backup>| {
            let another_shard = group.iter().all(|r| r.node_instance_id != row.node_instance_id);
            let Some(first) = group.first() else { return false };
            if row.node_instance_id.is_none()
                || !another_shard
                || mode(row.backup_mode.as_deref()) != mode(first.backup_mode.as_deref())
            {
                return false;
            }
            let same_job = row.backup_job_id.is_some_and(|j| j > 0) && row.backup_job_id == first.backup_job_id;
            // Groups are complete one after the other, so only the latest can be waiting for this shard.
            same_job || began(&row).duration_since(began(first)) < TOGETHER
        };
        // Rows of one job first: two jobs may begin close to each other.
        let by_job = groups.iter().position(|g| {
            g.iter().any(|r| r.backup_job_id.is_some_and(|j| j > 0) && r.backup_job_id == row.backup_job_id) && fits(g)
        });
        let at = by_job.or_else(|| groups.len().checked_sub(1).filter(|last| groups.get(*last).is_some_and(fits)));
        match at.and_then(|at| groups.get_mut(at)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(|r| (r.node_instance_id.clone(), r.backup_id));
    }
    groups
}

/// The set that a group of rows makes; nothing while its job still runs.
#[must_use]
pub fn one(instance_id: &str, rows: Vec<Backup>, shards: Option<usize>) -> Option<Listed> {
    let ids: Vec<String> = rows.iter().filter_map(Backup::id).collect();
    let first = rows.first()?;
    let named = if ids.is_empty() {
        format!("job {}", first.backup_job_id.map(|j| j.to_string()).unwrap_or_default())
    } else {
        ids.join(",")
    };
    let damaged = |reason: String| Some(Err(DamagedSet { id: named.clone(), reason }));
    let bad = rows.iter().find(|r| r.backup_status.as_deref().is_some_and(|s| !s.eq_ignore_ascii_case("Success")));
    if let Some(bad) = bad {
        let status = crate::model::text::clean(bad.backup_status.as_deref().unwrap_or_default());
        let at = bad.backup_start_time.as_deref().unwrap_or("an unknown time");
        return damaged(format!(
            "the cloud says {status} of the backup that began at {}",
            crate::model::text::clean(at)
        ));
    }
    if ids.len() < rows.len() {
        // Without an id it is not done.
        return None;
    }
    if let Some(shards) = shards.filter(|n| *n > 1 && rows.len() < *n) {
        // A cluster of the newer kind may list one row for all its shards: then the row names the instance itself.
        let whole = rows.len() == 1 && first.node_instance_id.as_deref().is_none_or(|node| node == instance_id);
        if !whole {
            return damaged(format!("it has {} of the instance's {shards} shards", rows.len()));
        }
    }
    let starts = rows.iter().filter_map(|r| moment(r.backup_start_time.as_deref())).min();
    let ends = rows.iter().filter_map(|r| moment(r.backup_end_time.as_deref())).max();
    let (Some(started_at), Some(finished_at)) = (starts.or(ends), ends.or(starts)) else {
        return damaged("the cloud does not tell when it was taken".into());
    };
    let bytes = rows.iter().map(|r| unsigned(r.backup_size)).sum();
    let recover =
        rows.iter().map(|r| RecoverConfig::read(r.recover_config_mode.as_deref())).reduce(|a, b| RecoverConfig {
            whitelist: a.whitelist && b.whitelist,
            config: a.config && b.config,
            account: a.account && b.account,
        });
    let set = BackupSet {
        version: first.engine_version.clone().unwrap_or_default(),
        started_at,
        finished_at,
        rdb_bytes: bytes,
        stored_bytes: bytes,
        expires_at: rows.iter().filter_map(|r| moment(r.expect_expire_time.as_deref())).min(),
        ..blank(instance_id, named, mode(first.backup_mode.as_deref()))
    };
    let mut jobs: Vec<i64> = rows.iter().filter_map(|r| r.backup_job_id).collect();
    jobs.dedup();
    let shards = rows
        .into_iter()
        .map(|r| Shard {
            id: r.id().unwrap_or_default(),
            node: r.node_instance_id.unwrap_or_else(|| instance_id.to_owned()),
            bytes: unsigned(r.backup_size),
            public: r.backup_download_url,
            intranet: r.backup_intranet_download_url,
        })
        .collect();
    Some(Ok(CloudSet { set, shards, jobs, recover: recover.unwrap_or_default(), of_cluster: false }))
}

/// Makes sets of the rows of `DescribeClusterBackupList`, newest first. Running ones are left out.
#[must_use]
pub fn of_cluster_rows(instance_id: &str, rows: Vec<ClusterBackup>) -> Vec<Listed> {
    let mut listed: Vec<(Timestamp, Listed)> = rows
        .into_iter()
        .filter(|r| r.cluster_backup_status.as_deref() != Some("RUNNING"))
        .map(|r| (moment(r.cluster_backup_start_time.as_deref()).unwrap_or_default(), of_cluster(instance_id, r)))
        .collect();
    listed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    listed.into_iter().map(|(_, set)| set).collect()
}

fn of_cluster(instance_id: &str, row: ClusterBackup) -> Listed {
    let id = row.cluster_backup_id.clone();
    let damaged = |reason: &str| Err(DamagedSet { id: id.clone(), reason: reason.into() });
    if row.cluster_backup_status.as_deref() != Some("OK") {
        let status = crate::model::text::clean(row.cluster_backup_status.as_deref().unwrap_or("nothing"));
        return damaged(&format!("the cloud says {status} of it"));
    }
    if !row.is_whole() {
        return damaged("a shard of it is missing or has failed");
    }
    let starts = moment(row.cluster_backup_start_time.as_deref());
    let ends = moment(row.cluster_backup_end_time.as_deref());
    let (Some(started_at), Some(finished_at)) = (starts.or(ends), ends.or(starts)) else {
        return damaged("the cloud does not tell when it was taken");
    };
    let shards: Vec<Shard> = row
        .backups
        .iter()
        .map(|s| Shard {
            id: s.backup_id.clone().unwrap_or_default(),
            node: s.instance_name.clone().unwrap_or_default(),
            bytes: unsigned(s.backup_size),
            public: s.backup_download_url.clone(),
            intranet: s.backup_intranet_download_url.clone(),
        })
        .collect();
    let recover = row.backups.first().map(|s| RecoverConfig::read(s.recover_config_mode.as_deref()));
    let version = row.backups.first().and_then(|s| s.extra_info.as_ref()?.custins_db_version.clone());
    let bytes = row.cluster_backup_size.map_or_else(|| shards.iter().map(|s| s.bytes).sum(), |n| unsigned(Some(n)));
    let set = BackupSet {
        version: version.unwrap_or_default(),
        started_at,
        finished_at,
        rdb_bytes: bytes,
        stored_bytes: bytes,
        expires_at: moment(row.expect_expire_time.as_deref()),
        ..blank(instance_id, id, mode(row.cluster_backup_mode.as_deref()))
    };
    Ok(CloudSet { set, shards, jobs: Vec::new(), recover: recover.unwrap_or_default(), of_cluster: true })
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
        let set =
            BackupSet { id: shard.id.clone(), rdb_bytes: shard.bytes, stored_bytes: shard.bytes, ..whole.set.clone() };
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
