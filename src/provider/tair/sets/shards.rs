//! Sets made of the rows of `DescribeBackups`.
//!
//! A cluster has one row for each shard. Shards of one job belong together by its id; older clusters have one job for each
//! shard, and there only their times say which belong together. The id of such a set is its shards' ids, joined by commas.

use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::text::clean;
use crate::provider::tair::sets::{CloudSet, Listed, NO_SIZE, Shard, blank, mode_of, size, unnamed};
use crate::tair::wire::backups::{Backup, RecoverConfig};
use crate::tair::wire::moment;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;

/// Shards of one backup begin within this.
const TOGETHER: SignedDuration = SignedDuration::from_mins(30);

fn began(row: &Backup) -> Timestamp {
    moment(row.backup_start_time.as_deref()).unwrap_or_default()
}

/// Makes sets of the rows of `DescribeBackups`, newest first. `shards` is how many the instance has, where it is known.
#[must_use]
pub fn of_rows(instance_id: &str, rows: Vec<Backup>, shards: Option<usize>) -> Vec<Listed> {
    let mut listed: Vec<(Timestamp, Listed)> = gather(instance_id, rows)
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
fn gather(instance_id: &str, mut rows: Vec<Backup>) -> Vec<Vec<Backup>> {
    rows.sort_by_key(|row| (began(row), row.backup_id.clone()));
    let is_of_all = |row: &Backup| row.node_instance_id.as_deref().is_none_or(|node| node == instance_id);
    let mut groups: Vec<Vec<Backup>> = Vec::new();
    for row in rows {
        let fits = |group: &Vec<Backup>| {
            let another_shard = group.iter().all(|r| r.node_instance_id != row.node_instance_id);
            let Some(first) = group.first() else { return false };
            if is_of_all(&row)
                || is_of_all(first)
                || !another_shard
                || mode_of(row.backup_mode.as_deref()) != mode_of(first.backup_mode.as_deref())
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
        group.sort_by_key(|r| (r.node_instance_id.clone(), r.backup_id.clone()));
    }
    groups
}

/// The set that a group of rows makes; nothing while its job still runs.
#[must_use]
pub fn one(instance_id: &str, rows: Vec<Backup>, shards: Option<usize>) -> Option<Listed> {
    let first = rows.first()?;
    if let Some(row) = rows.iter().find(|row| row.has_unreadable_id()) {
        return Some(Err(unnamed(row.backup_start_time.as_deref())));
    }
    let ids: Vec<&str> = rows.iter().filter_map(Backup::id).collect();
    let named = if ids.is_empty() {
        format!("job {}", first.backup_job_id.map(|j| j.to_string()).unwrap_or_default())
    } else {
        ids.join(",")
    };
    let damaged = |reason: String| Some(Err(DamagedSet { id: named.clone(), reason, unreadable: None }));
    if let Some((bad, status)) = rows.iter().find_map(|row| Some((row, row.bad_status()?))) {
        let at = bad.backup_start_time.as_deref().unwrap_or("an unknown time");
        return damaged(format!("the cloud says {} of the backup that began at {}", clean(status), clean(at)));
    }
    if ids.len() < rows.len() {
        // A row gets its id when its backup is done.
        return None;
    }
    if rows.iter().any(|row| row.backup_status.is_none()) {
        return damaged("the cloud does not say whether it succeeded".into());
    }
    let nodes: BTreeSet<&str> = rows.iter().map(|r| r.node_instance_id.as_deref().unwrap_or(instance_id)).collect();
    // A cluster of the newer kind may list one row for all its shards: then the row names the instance itself.
    let is_of_all = nodes.contains(instance_id);
    if nodes.len() < rows.len() || (is_of_all && rows.len() > 1) {
        return damaged("it has several files of one shard, so they are of several backups".into());
    }
    // The instance may have had more shards then.
    if let Some(shards) = shards.filter(|shards| !is_of_all && rows.len() < *shards) {
        return damaged(format!("it has {} of the instance's {shards} shards", rows.len()));
    }
    let starts = rows.iter().filter_map(|r| moment(r.backup_start_time.as_deref())).min();
    let ends = rows.iter().filter_map(|r| moment(r.backup_end_time.as_deref())).max();
    let (Some(started_at), Some(finished_at)) = (starts.or(ends), ends.or(starts)) else {
        return damaged("the cloud does not tell when it was taken".into());
    };
    let Some(bytes) = rows.iter().map(|r| size(r.backup_size)).sum() else { return damaged(NO_SIZE.into()) };
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
        ..blank(instance_id, named, mode_of(first.backup_mode.as_deref()))
    };
    let mut jobs: Vec<i64> = rows.iter().filter_map(|r| r.backup_job_id).collect();
    jobs.dedup();
    let (full, success) = (rows.iter().all(Backup::is_full), rows.iter().all(Backup::has_succeeded));
    let shards = rows
        .into_iter()
        .map(|r| Shard {
            id: r.backup_id.unwrap_or_default(),
            node: r.node_instance_id.unwrap_or_else(|| instance_id.to_owned()),
            bytes: size(r.backup_size),
            public: r.backup_download_url,
            intranet: r.backup_intranet_download_url,
        })
        .collect();
    Some(Ok(CloudSet { set, shards, jobs, recover: recover.unwrap_or_default(), of_cluster: false, full, success }))
}
