//! Backups: jobs and sets of the local provider under the cloud's names and numbers.
//!
//! A set is listed when it is whole. A job that failed shows as the cloud shows it: not among the tasks, and as a `Failed`
//! row without a URL among the sets.

use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::account::records::{REMEMBERED, RequestedBackup};
use crate::emulator::account::sets::{ListedSet, days_after};
use crate::emulator::actions::figures::engine_version;
use crate::emulator::actions::overwrite;
use crate::emulator::actions::paging::{cut, page};
use crate::emulator::actions::sets::{find, mode_name, progress, range, recoverable, url};
use crate::emulator::answer::Refused;
use crate::emulator::ids::{IdKind, number};
use crate::emulator::request::ActionRequest;
use crate::model::backup::Mode;
use crate::model::job::{Job, JobKind, JobStatus};
use crate::model::time::written;
use crate::tair::wire::backups::{
    Backup, BackupStarted, BackupTask, BackupTasks, Backups, CreateBackup, DeleteBackup, DescribeBackupTasks,
    DescribeBackups, ModifyBackupExpireTime,
};
use crate::tair::wire::{Action as _, BadParam, Done};
use jiff::Timestamp;

/// Most manual backups of an instance in 24 hours.
const MAX_A_DAY: usize = 30;
/// Page sizes that the cloud takes.
const PAGES: [i64; 6] = [30, 50, 100, 200, 300, 1000];

/// Parses the parameters of `CreateBackup`, of which one has a code of its own.
///
/// # Errors
/// `InvalidBackupRetentionPeriod.Malformed`.
pub fn read_create(request: &ActionRequest<'_>) -> Result<CreateBackup, Refused> {
    CreateBackup::from_params(request.params).map_err(|bad| match bad {
        BadParam::Malformed(name) if name == "BackupRetentionPeriod" => {
            Refused::new("InvalidBackupRetentionPeriod.Malformed")
        }
        bad => bad.into(),
    })
}

/// `CreateBackup`.
///
/// # Errors
/// `InstanceType.NotSupport`, `IncorrectDBInstanceState`, `BackupJobExists`, `BackupTimesExceeded`,
/// `InvalidBackupRetentionPeriod.Malformed`.
pub async fn create(request: &ActionRequest<'_>, params: CreateBackup) -> Result<BackupStarted, Refused> {
    let account = request.account;
    let instance = account.instance(&params.instance_id)?;
    if instance.kind.single {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let keep = params.backup_retention_period;
    if keep.is_some_and(|days| days != -1 && !(7..=730).contains(&days)) {
        return Err(Refused::new("InvalidBackupRetentionPeriod.Malformed"));
    }
    account.must_be_normal(&instance).await?;
    let runs = |job: &Job| {
        let delayed = account.activity.delayed(&job.backup_id).is_some();
        job.kind == JobKind::Backup && (job.status == JobStatus::Running || delayed)
    };
    if account.jobs(&instance).await?.iter().any(runs) {
        return Err(Refused::new("BackupJobExists"));
    }
    let now = Timestamp::now();
    let today = account.records.of(&instance.id).taken.iter().filter(|t| now.duration_since(t.at) < REMEMBERED).count();
    if today >= MAX_A_DAY {
        return Err(Refused::new("BackupTimesExceeded"));
    }
    let caller = request.caller();
    let (job, joined) = account.app.provider.create_backup(&instance.id, Mode::Manual, "", None, caller.id()).await?;
    if joined {
        return Err(Refused::new("BackupJobExists"));
    }
    account.activity.delay_backup(&job.backup_id, account.faults.delay(request.action));
    account
        .records
        .change(|records| {
            let record = records.of(&instance.id);
            record.taken.push(RequestedBackup { at: now, backup_id: job.backup_id.clone() });
            if let Some(days) = keep {
                let until = (days > 0).then(|| days_after(now, days));
                record.expiry.insert(job.backup_id.clone(), until);
            }
            Ok::<_, Refused>(())
        })
        .await?;
    Ok(BackupStarted { request_id: String::new(), backup_job_id: number(IdKind::Job, &job.backup_id).to_string() })
}

/// `DescribeBackups`.
///
/// # Errors
/// `InstanceType.NotSupport` on a cloud-native cluster, and those of [`range`] and [`page`].
pub async fn list(request: &ActionRequest<'_>, params: DescribeBackups) -> Result<Backups, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let (from, to) = range(request, params.start_time.0, params.end_time.0)?;
    let (number, size) = page(params.page_number, params.page_size, |size| PAGES.contains(&size))?;
    if instance.has_cluster_sets() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let mut sets = request.account.sets(&instance).await?;
    let stored = sets.iter().filter_map(|s| s.whole.as_ref()).map(|w| w.rdb_bytes).sum::<u64>();
    sets.retain(|set| {
        set.begun >= from
            && set.begun < to
            && params.backup_id.is_none_or(|id| id == set.number)
            && params.backup_job_id.is_none_or(|id| id == set.job)
    });
    Ok(Backups {
        request_id: String::new(),
        page_number: Some(number),
        page_size: Some(size),
        total_count: i64::try_from(sets.len()).ok(),
        full_storage_size: i64::try_from(stored).ok(),
        log_storage_size: Some(0),
        free_size: Some(0),
        backups: cut(sets, number, size).iter().map(|set| row(request, &instance, set)).collect(),
    })
}

fn row(request: &ActionRequest<'_>, instance: &EmulatedInstance, set: &ListedSet) -> Backup {
    let url = url(request, instance, set);
    let version = set.whole.as_ref().map(|whole| engine_version(&whole.version));
    Backup {
        backup_id: Some(set.number.to_string()),
        backup_job_id: Some(set.job),
        backup_status: Some(if set.whole.is_some() { "Success" } else { "Failed" }.into()),
        backup_mode: Some(mode_name(set.manual).into()),
        backup_method: Some("Physical".into()),
        backup_type: Some("FullBackup".into()),
        backup_db_names: Some("all".into()),
        backup_size: Some(set.whole.as_ref().map_or(0, |w| i64::try_from(w.rdb_bytes).unwrap_or(i64::MAX))),
        backup_start_time: Some(written(set.begun)),
        backup_end_time: Some(written(set.ended)),
        // One listener is both networks.
        backup_intranet_download_url: url.clone(),
        backup_download_url: url,
        engine_version: version,
        node_instance_id: Some(instance.node()),
        recover_config_mode: Some(recoverable(instance).into()),
        expect_expire_time: Some(request.account.expiry(instance, set).map(written).unwrap_or_default()),
    }
}

/// `DescribeBackupTasks`.
///
/// # Errors
/// `InvalidInstanceId.NotFound`, `InvalidParameter`.
pub async fn tasks(request: &ActionRequest<'_>, params: DescribeBackupTasks) -> Result<BackupTasks, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    let only: Option<i64> = match &params.backup_job_id {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refused::malformed("BackupJobId"))?),
    };
    let sets = request.account.sets(&instance).await?;
    let taken = request.account.records.of(&instance.id).taken;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for job in request.account.jobs(&instance).await? {
        // The cloud does not document how long a finished job is listed; clients have to cope with its absence.
        let listed = job.kind == JobKind::Backup
            && job.status != JobStatus::Failed
            && now.duration_since(job.created_at) < REMEMBERED;
        let id = number(IdKind::Job, &job.backup_id);
        if !listed || only.is_some_and(|only| only != id) {
            continue;
        }
        let manual = taken.iter().any(|t| t.backup_id == job.backup_id)
            || sets.iter().any(|s| s.id == job.backup_id && s.manual);
        let mode = mode_name(manual);
        if params.job_mode.as_deref().is_some_and(|wanted| wanted != mode) {
            continue;
        }
        let (status, percent) = progress(request, &job);
        rows.push(BackupTask {
            backup_job_id: Some(id),
            backup_progress_status: Some(status.into()),
            progress: Some(percent),
            process: Some(percent),
            job_mode: Some(mode.into()),
            task_action: Some(if manual { "TempBackupTask" } else { "NormalBackupTask" }.into()),
            node_id: Some(instance.node()),
            start_time: Some(written(job.created_at)),
        });
    }
    Ok(BackupTasks { request_id: String::new(), instance_id: Some(instance.id), backup_jobs: rows })
}

/// `DeleteBackup`: manual sets of cloud-native instances, as documented. The cloud publishes no codes for the refusals, so a
/// client must not branch on those used here.
///
/// # Errors
/// `ServiceNotSupport` on a classic instance, `InvalidBackupSetID.NotFound`, `IncorrectBackupSetState`.
pub async fn delete(request: &ActionRequest<'_>, params: DeleteBackup) -> Result<Done, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    if !instance.is_cloud_native() {
        return Err(Refused::new("ServiceNotSupport"));
    }
    let set = find(request, &instance, &params.backup_id).await?;
    if !set.manual {
        return Err(Refused::new("IncorrectBackupSetState"));
    }
    overwrite::delete_backup(request, &instance.id, &set.id).await?;
    request
        .account
        .records
        .change(|records| {
            records.of(&instance.id).expiry.remove(&set.id);
            Ok::<_, Refused>(())
        })
        .await?;
    Ok(Done::default())
}

/// `ModifyBackupExpireTime`.
///
/// # Errors
/// `InstanceType.NotSupport` on a classic instance, `IncorrectBackupSetState` for an automatic set, `InvalidParameter` for
/// a date before the one that holds.
pub async fn expire(request: &ActionRequest<'_>, params: ModifyBackupExpireTime) -> Result<Done, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    if !instance.is_cloud_native() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let set = find(request, &instance, params.backup_id.as_deref().unwrap_or_default()).await?;
    if !set.manual {
        return Err(Refused::new("IncorrectBackupSetState"));
    }
    let until = params.expect_expire_time.0;
    if request.account.expiry(&instance, &set).is_none_or(|now| until < now) {
        return Err(Refused::malformed("ExpectExpireTime"));
    }
    request
        .account
        .records
        .change(|records| {
            records.of(&instance.id).expiry.insert(set.id.clone(), Some(until));
            Ok::<_, Refused>(Done::default())
        })
        .await
}
