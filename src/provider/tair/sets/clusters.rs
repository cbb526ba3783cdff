//! Sets made of the rows of `DescribeClusterBackupList`: one row is one set of a cloud-native cluster.

use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::text::clean;
use crate::provider::tair::sets::{CloudSet, Listed, NO_SIZE, Shard, blank, mode_of, size, unnamed};
use crate::tair::wire::backups::{RecoverConfig, is_plain_id};
use crate::tair::wire::clusters::{ClusterBackup, ShardBackup};
use crate::tair::wire::moment;
use jiff::Timestamp;

/// Makes sets of the rows of `DescribeClusterBackupList`, newest first. Running ones are left out.
#[must_use]
pub fn of_cluster_rows(instance_id: &str, rows: Vec<ClusterBackup>) -> Vec<Listed> {
    let mut listed: Vec<(Timestamp, Listed)> = rows
        .into_iter()
        .filter(|r| !r.is_running())
        .map(|r| (moment(r.cluster_backup_start_time.as_deref()).unwrap_or_default(), of_cluster(instance_id, r)))
        .collect();
    listed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    listed.into_iter().map(|(_, set)| set).collect()
}

fn of_cluster(instance_id: &str, row: ClusterBackup) -> Listed {
    let id = row.cluster_backup_id.clone();
    let damaged = |reason: &str| Err(DamagedSet { id: id.clone(), reason: reason.into(), unreadable: None });
    if !is_plain_id(&row.cluster_backup_id) {
        return Err(unnamed(row.cluster_backup_start_time.as_deref()));
    }
    if let Some(status) = row.bad_status() {
        let status = if status.is_empty() { "nothing".to_owned() } else { clean(status) };
        return damaged(&format!("the cloud says {status} of it"));
    }
    if !row.is_whole() {
        return damaged("the cloud does not say of it and all of its shards that they can be used");
    }
    let starts = moment(row.cluster_backup_start_time.as_deref());
    let ends = moment(row.cluster_backup_end_time.as_deref());
    let (Some(started_at), Some(finished_at)) = (starts.or(ends), ends.or(starts)) else {
        return damaged("the cloud does not tell when it was taken");
    };
    let shard = |s: &ShardBackup| Shard {
        id: s.backup_id.clone().unwrap_or_default(),
        node: s.instance_name.clone().unwrap_or_default(),
        bytes: size(s.backup_size),
        public: s.backup_download_url.clone(),
        intranet: s.backup_intranet_download_url.clone(),
    };
    let shards: Vec<Shard> = row.backups.iter().map(shard).collect();
    let sum = || shards.iter().map(|s| s.bytes).sum::<Option<u64>>().filter(|_| !shards.is_empty());
    let Some(bytes) = size(row.cluster_backup_size).or_else(sum) else { return damaged(NO_SIZE) };
    let recover = row.backups.first().map(|s| RecoverConfig::read(s.recover_config_mode.as_deref()));
    let version = row.backups.first().and_then(|s| s.extra_info.as_ref()?.custins_db_version.clone());
    let set = BackupSet {
        version: version.unwrap_or_default(),
        started_at,
        finished_at,
        rdb_bytes: bytes,
        stored_bytes: bytes,
        expires_at: moment(row.expect_expire_time.as_deref()),
        ..blank(instance_id, id, mode_of(row.cluster_backup_mode.as_deref()))
    };
    Ok(CloudSet {
        set,
        shards,
        jobs: Vec::new(),
        recover: recover.unwrap_or_default(),
        of_cluster: true,
        full: true,
        success: true,
    })
}
