//! Backups: jobs and sets of the local provider under the cloud's names and numbers.
//!
//! A set is listed when it is whole. A job that failed shows as the cloud shows it: not among the tasks, and as a `Failed`
//! row without a URL among the sets.

use crate::emulator::answer::Refused;
use crate::emulator::call::Call;
use crate::emulator::ids::{Of, number};
use crate::emulator::instances::{cut, engine_version, page};
use crate::emulator::memory::Taken;
use crate::emulator::world::{Emulated, Set};
use crate::model::backup::Mode;
use crate::model::job::{Job, JobKind, JobStatus, Phase};
use crate::model::time::written;
use crate::tair::params::first;
use crate::tair::wire::backups::{
    Backup, BackupStarted, BackupTask, BackupTasks, Backups, CreateBackup, DeleteBackup, DescribeBackupTasks,
    DescribeBackups, ModifyBackupExpireTime,
};
use crate::tair::wire::{Action as _, Done, DownloadUrl};
use jiff::{SignedDuration, Timestamp};

/// Manual backups of an instance in 24 hours.
const A_DAY: usize = 30;
/// Sizes of a page that the cloud takes.
const PAGES: [i64; 6] = [30, 50, 100, 200, 300, 1000];
/// For how long a finished job is listed. Nothing is published; clients have to live with its being gone.
const LISTED: SignedDuration = SignedDuration::from_hours(24);

/// `CreateBackup`.
///
/// # Errors
/// `InstanceType.NotSupport`, `IncorrectDBInstanceState`, `BackupJobExists`, `BackupTimesExceeded`,
/// `InvalidBackupRetentionPeriod.Malformed`.
pub async fn create(call: &Call<'_>) -> Result<BackupStarted, Refused> {
    let asked = CreateBackup::from_params(call.params)
        .map_err(|bad| malformed(bad, "BackupRetentionPeriod", "InvalidBackupRetentionPeriod.Malformed"))?;
    let world = call.world;
    let instance = world.instance(&asked.instance_id)?;
    if instance.how.single {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let keep = asked.backup_retention_period;
    if keep.is_some_and(|days| days != -1 && !(7..=730).contains(&days)) {
        return Err(Refused::new("InvalidBackupRetentionPeriod.Malformed"));
    }
    world.must_be_normal(&instance).await?;
    let runs = |job: &Job| {
        let held = world.held(&job.backup_id).is_some();
        job.kind == JobKind::Backup && (job.status == JobStatus::Running || held)
    };
    if world.jobs(&instance).await?.iter().any(runs) {
        return Err(Refused::new("BackupJobExists"));
    }
    let now = Timestamp::now();
    let today = world.memory.of(&instance.id).taken.iter().filter(|t| now.duration_since(t.at) < LISTED).count();
    if today >= A_DAY {
        return Err(Refused::new("BackupTimesExceeded"));
    }
    let (job, joined) = world.app.provider.create_backup(&instance.id, Mode::Manual, "").await?;
    if joined {
        return Err(Refused::new("BackupJobExists"));
    }
    world.hold_backup(&job.backup_id, world.mishaps.hold(call.action));
    world.memory.change(|book| {
        let kept = book.of(&instance.id);
        kept.taken.push(Taken { at: now, backup_id: job.backup_id.clone() });
        if let Some(days) = keep {
            let until = (days > 0).then(|| later(now, days));
            kept.expiry.insert(job.backup_id.clone(), until);
        }
        Ok::<_, Refused>(())
    })?;
    Ok(BackupStarted { request_id: String::new(), backup_job_id: number(Of::Job, &job.backup_id).to_string() })
}

fn later(at: Timestamp, days: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_hours(days.saturating_mul(24))).unwrap_or(Timestamp::MAX)
}

/// A code of its own for one parameter that cannot be read.
fn malformed(bad: crate::tair::wire::BadParam, name: &str, code: &str) -> Refused {
    match bad {
        crate::tair::wire::BadParam::Malformed(found) if found == name => Refused::new(code),
        bad => bad.into(),
    }
}

/// The two ends of a listing, which are mandatory and written to the minute.
///
/// # Errors
/// `InvalidStartTime.Malformed`, `InvalidEndTime.Malformed`, `InvalidStartTimeAndEndTime.Malformed`.
pub fn range(call: &Call<'_>, from: Timestamp, to: Timestamp) -> Result<(Timestamp, Timestamp), Refused> {
    for name in ["StartTime", "EndTime"] {
        let to_the_minute = |text: &str| text.len() == "2026-01-01T00:00Z".len() && text.ends_with('Z');
        if !first(call.params, name).is_some_and(|text| to_the_minute(text.trim())) {
            return Err(Refused::new(format!("Invalid{name}.Malformed")));
        }
    }
    if to > from { Ok((from, to)) } else { Err(Refused::new("InvalidStartTimeAndEndTime.Malformed")) }
}

/// `DescribeBackups`.
///
/// # Errors
/// `InstanceType.NotSupport` on a cloud-native cluster, and those of [`range`] and [`page`].
pub async fn list(call: &Call<'_>) -> Result<Backups, Refused> {
    let asked = DescribeBackups::from_params(call.params)?;
    let instance = call.world.instance(&asked.instance_id)?;
    let (from, to) = range(call, asked.start_time.0, asked.end_time.0)?;
    let (number, size) = page(asked.page_number, asked.page_size, |size| PAGES.contains(&size))?;
    if instance.has_cluster_sets() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let mut sets = call.world.sets(&instance).await?;
    let stored = sets.iter().filter_map(|s| s.whole.as_ref()).map(|w| w.rdb_bytes).sum::<u64>();
    sets.retain(|set| {
        set.begun >= from
            && set.begun < to
            && asked.backup_id.is_none_or(|id| id == set.number)
            && asked.backup_job_id.is_none_or(|id| id == set.job)
    });
    Ok(Backups {
        request_id: String::new(),
        page_number: Some(number),
        page_size: Some(size),
        total_count: i64::try_from(sets.len()).ok(),
        full_storage_size: i64::try_from(stored).ok(),
        log_storage_size: Some(0),
        free_size: Some(0),
        backups: cut(sets, number, size).iter().map(|set| row(call, &instance, set)).collect(),
    })
}

fn row(call: &Call<'_>, instance: &Emulated, set: &Set) -> Backup {
    let url = url(call, instance, set);
    let version = set.whole.as_ref().map(|whole| engine_version(&whole.version));
    Backup {
        backup_id: Some(set.number),
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
        expect_expire_time: Some(expiry(call, instance, set).map(written).unwrap_or_default()),
    }
}

/// The word for who asked.
pub const fn mode_name(manual: bool) -> &'static str {
    if manual { "Manual" } else { "Automated" }
}

/// Where a whole set can be fetched.
pub fn url(call: &Call<'_>, instance: &Emulated, set: &Set) -> Option<DownloadUrl> {
    set.whole.as_ref().map(|_| call.world.signer.url(call.host, &instance.id, set.number, set.begun, Timestamp::now()))
}

/// What a new instance can take from a set beside the data. Here it is said and not done: a local server's users and
/// settings are its operator's.
pub fn recoverable(instance: &Emulated) -> &'static str {
    if instance.is_cloud_native() { r#"{"whitelist":true,"config":true,"account":true}"# } else { "" }
}

/// Until when a set is kept; nothing removes it yet.
pub fn expiry(call: &Call<'_>, instance: &Emulated, set: &Set) -> Option<Timestamp> {
    let kept = call.world.memory.of(&instance.id);
    let days = kept.policy.map_or(7, |p| p.retention);
    kept.expiry.get(&set.id).copied().unwrap_or_else(|| Some(later(set.begun, days)))
}

/// How far a job is, as told: what it really does, held back where a mishap says so.
pub fn progress(call: &Call<'_>, job: &Job) -> (&'static str, i64) {
    if let Some(share) = call.world.held(&job.backup_id) {
        #[expect(clippy::cast_possible_truncation, reason = "a share of one")]
        let percent = (share * 100.0) as i64;
        return match percent {
            0..33 => ("NoStart", 0),
            33..66 => ("Preparing", 0),
            _ => ("Uploading", percent),
        };
    }
    match (job.status, job.phase) {
        (JobStatus::Running, Phase::Starting) => ("NoStart", 0),
        (JobStatus::Running, Phase::Forking) => ("Preparing", 0),
        (JobStatus::Running, _) => {
            let done = job.done.saturating_mul(100).checked_div(job.total).unwrap_or(50);
            ("Uploading", i64::try_from(done).unwrap_or(99).min(99))
        }
        _ => ("Finished", 100),
    }
}

/// `DescribeBackupTasks`.
///
/// # Errors
/// `InvalidInstanceId.NotFound`, `InvalidParameter`.
pub async fn tasks(call: &Call<'_>) -> Result<BackupTasks, Refused> {
    let asked = DescribeBackupTasks::from_params(call.params)?;
    let instance = call.world.instance(&asked.instance_id)?;
    let only: Option<i64> = match &asked.backup_job_id {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refused::malformed("BackupJobId"))?),
    };
    let sets = call.world.sets(&instance).await?;
    let taken = call.world.memory.of(&instance.id).taken;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for job in call.world.jobs(&instance).await? {
        let told = job.kind == JobKind::Backup
            && job.status != JobStatus::Failed
            && now.duration_since(job.created_at) < LISTED;
        let id = number(Of::Job, &job.backup_id);
        if !told || only.is_some_and(|only| only != id) {
            continue;
        }
        let manual = taken.iter().any(|t| t.backup_id == job.backup_id)
            || sets.iter().any(|s| s.id == job.backup_id && s.manual);
        let mode = mode_name(manual);
        if asked.job_mode.as_deref().is_some_and(|wanted| wanted != mode) {
            continue;
        }
        let (status, percent) = progress(call, &job);
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

/// One whole set by its number or, of a cloud-native cluster, its `cb-…` id.
///
/// # Errors
/// `InvalidBackupSetID.NotFound`; `IncorrectBackupSetState` where it failed or is damaged.
pub async fn find(call: &Call<'_>, instance: &Emulated, id: &str) -> Result<Set, Refused> {
    let is =
        |set: &Set| set.number.to_string() == id || instance.has_cluster_sets() && super::ids::cluster(&set.id) == id;
    let set = call.world.sets(instance).await?.into_iter().find(is);
    let set = set.ok_or_else(|| Refused::new("InvalidBackupSetID.NotFound"))?;
    if set.whole.is_none() {
        return Err(Refused::new("IncorrectBackupSetState"));
    }
    Ok(set)
}

/// `DeleteBackup`: manual sets of cloud-native instances, as the documentation says. It publishes no codes for the refusals:
/// a client must not branch on those given here.
///
/// # Errors
/// `ServiceNotSupport` on a classic instance, `InvalidBackupSetID.NotFound`, `IncorrectBackupSetState`.
pub async fn delete(call: &Call<'_>) -> Result<Done, Refused> {
    let asked = DeleteBackup::from_params(call.params)?;
    let instance = call.world.instance(&asked.instance_id)?;
    if !instance.is_cloud_native() {
        return Err(Refused::new("ServiceNotSupport"));
    }
    let set = find(call, &instance, &asked.backup_id).await?;
    if !set.manual {
        return Err(Refused::new("IncorrectBackupSetState"));
    }
    super::acts::delete_backup(call.world, call.caller, &instance.id, &set.id).await?;
    call.world.memory.change(|book| {
        book.of(&instance.id).expiry.remove(&set.id);
        Ok::<_, Refused>(())
    })?;
    Ok(Done::default())
}

/// `ModifyBackupExpireTime`.
///
/// # Errors
/// `InstanceType.NotSupport` on a classic instance, `IncorrectBackupSetState` for an automatic set, `InvalidParameter` for
/// a date before the one that holds.
pub async fn expire(call: &Call<'_>) -> Result<Done, Refused> {
    let asked = ModifyBackupExpireTime::from_params(call.params)?;
    let instance = call.world.instance(&asked.instance_id)?;
    if !instance.is_cloud_native() {
        return Err(Refused::new("InstanceType.NotSupport"));
    }
    let set = find(call, &instance, asked.backup_id.as_deref().unwrap_or_default()).await?;
    if !set.manual {
        return Err(Refused::new("IncorrectBackupSetState"));
    }
    let until = asked.expect_expire_time.0;
    if expiry(call, &instance, &set).is_none_or(|now| until < now) {
        return Err(Refused::malformed("ExpectExpireTime"));
    }
    call.world.memory.change(|book| {
        book.of(&instance.id).expiry.insert(set.id.clone(), Some(until));
        Ok::<_, Refused>(Done::default())
    })
}
