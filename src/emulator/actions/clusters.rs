//! Sets of cloud-native clusters, which have a listing, ids and states of their own.

use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::account::sets::ListedSet;
use crate::emulator::actions::figures::engine_version;
use crate::emulator::actions::paging::{cut, page};
use crate::emulator::actions::sets::{mode_name, progress, range, recoverable, url};
use crate::emulator::answer::Refused;
use crate::emulator::ids::cluster;
use crate::emulator::request::ActionRequest;
use crate::emulator::signed_url::file;
use crate::model::job::{Job, JobKind, JobStatus};
use crate::model::time::written;
use crate::tair::wire::clusters::{ClusterBackup, ClusterBackups, DescribeClusterBackupList, ExtraInfo, ShardBackup};

/// Page sizes that the cloud takes.
const PAGES: [i64; 9] = [5, 10, 15, 20, 30, 50, 100, 200, 300];
/// Memory of a shard in MB, by its class.
const SHARD_MB: i64 = 1024;

/// `DescribeClusterBackupList`: running backups first, then sets, newest first.
///
/// # Errors
/// `InstanceType.NotSupport` where the sets are listed by `DescribeBackups`, and those of the range and the page.
pub async fn list(request: &ActionRequest<'_>, params: DescribeClusterBackupList) -> Result<ClusterBackups, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let (from, to) = range(request, params.start_time.0, params.end_time.0)?;
    let (number, size) = page(params.page_number, params.page_size, |size| PAGES.contains(&size))?;
    if !instance.has_cluster_sets() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let taken = request.account.records.of(&instance.id).taken;
    let shards = !params.no_shard_backup.is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let mut rows = Vec::new();
    for job in request.account.jobs(&instance).await? {
        let delayed = request.account.activity.delayed(&job.backup_id).is_some();
        let runs = job.kind == JobKind::Backup && (job.status == JobStatus::Running || delayed);
        if runs && job.created_at >= from && job.created_at < to {
            let manual = taken.iter().any(|t| t.backup_id == job.backup_id);
            rows.push(running(request, &job, manual));
        }
    }
    let sets = request.account.sets(&instance).await?;
    let stored = sets.iter().filter_map(|s| s.whole.as_ref()).map(|w| w.rdb_bytes).sum::<u64>();
    let within = sets.iter().filter(|set| set.begun >= from && set.begun < to);
    rows.extend(within.map(|set| row(request, &instance, set, shards)));
    rows.retain(|row| params.cluster_backup_id.as_ref().is_none_or(|id| *id == row.cluster_backup_id));
    let rows = cut(rows, number, size);
    Ok(ClusterBackups {
        request_id: String::new(),
        max_results: i64::try_from(rows.len()).ok(),
        page_number: Some(number),
        page_size: Some(size),
        full_storage_size: i64::try_from(stored).ok(),
        log_storage_size: Some(0),
        free_size: Some(0),
        cluster_backups: rows,
    })
}

fn running(request: &ActionRequest<'_>, job: &Job, manual: bool) -> ClusterBackup {
    ClusterBackup {
        cluster_backup_id: cluster(&job.backup_id),
        cluster_backup_status: Some("RUNNING".into()),
        is_avail: Some(false),
        cluster_backup_size: Some(0),
        cluster_backup_start_time: Some(written(job.created_at)),
        cluster_backup_mode: Some(mode_name(manual).into()),
        progress: Some(format!("{}%", progress(request, job).1)),
        shard_class_memory: Some(SHARD_MB),
        ..ClusterBackup::default()
    }
}

fn row(request: &ActionRequest<'_>, instance: &EmulatedInstance, set: &ListedSet, shards: bool) -> ClusterBackup {
    let size = set.whole.as_ref().map_or(0, |w| i64::try_from(w.rdb_bytes).unwrap_or(i64::MAX));
    let good = set.whole.is_some();
    let shard = shards.then(|| {
        let url = url(request, instance, set);
        ShardBackup {
            backup_id: Some(set.number.to_string()),
            backup_name: Some(file(set.number, set.begun)),
            instance_name: Some(instance.node()),
            backup_status: Some(if good { "OK" } else { "ERROR" }.into()),
            backup_size: Some(size),
            is_avail: Some(good),
            backup_start_time: Some(written(set.begun)),
            backup_end_time: Some(written(set.ended)),
            backup_intranet_download_url: url.clone(),
            backup_download_url: url,
            engine: Some("redis".into()),
            recover_config_mode: Some(recoverable(instance).into()),
            extra_info: set
                .whole
                .as_ref()
                .map(|whole| ExtraInfo { custins_db_version: Some(engine_version(&whole.version)) }),
        }
    });
    ClusterBackup {
        cluster_backup_id: cluster(&set.id),
        cluster_backup_status: Some(if good { "OK" } else { "ERROR" }.into()),
        is_avail: Some(good),
        cluster_backup_size: Some(size),
        cluster_backup_start_time: Some(written(set.begun)),
        cluster_backup_end_time: Some(written(set.ended)),
        cluster_backup_mode: Some(mode_name(set.manual).into()),
        progress: None,
        shard_class_memory: Some(SHARD_MB),
        expect_expire_time: request.account.expiry(instance, set).map(written),
        backups: shard.into_iter().collect(),
    }
}
