//! Code shared by the actions on backup sets: finding a set, the range of a listing, and fields of a row.

use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::account::sets::ListedSet;
use crate::emulator::answer::Refused;
use crate::emulator::ids::cluster;
use crate::emulator::request::ActionRequest;
use crate::model::estimate::percent;
use crate::model::job::{Job, JobStatus, Phase};
use crate::tair::wire::DownloadUrl;
use jiff::Timestamp;

/// Finds a whole set by its number or, for a cloud-native cluster, its `cb-…` id.
///
/// # Errors
/// `InvalidBackupSetID.NotFound`; `IncorrectBackupSetState` where it failed or is damaged.
pub async fn find(request: &ActionRequest<'_>, instance: &EmulatedInstance, id: &str) -> Result<ListedSet, Refused> {
    let is = |set: &ListedSet| set.number.to_string() == id || instance.has_cluster_sets() && cluster(&set.id) == id;
    let set = request.account.sets(instance).await?.into_iter().find(is);
    let set = set.ok_or_else(|| Refused::new("InvalidBackupSetID.NotFound"))?;
    if set.whole.is_none() {
        return Err(Refused::new("IncorrectBackupSetState"));
    }
    Ok(set)
}

/// The start and end of a listing, which are mandatory and written to the minute.
///
/// # Errors
/// `InvalidStartTime.Malformed`, `InvalidEndTime.Malformed`, `InvalidStartTimeAndEndTime.Malformed`.
pub fn range(request: &ActionRequest<'_>, from: Timestamp, to: Timestamp) -> Result<(Timestamp, Timestamp), Refused> {
    for name in ["StartTime", "EndTime"] {
        let to_the_minute = |text: &str| text.len() == "2026-01-01T00:00Z".len() && text.ends_with('Z');
        if !request.param(name).is_some_and(|text| to_the_minute(text.trim())) {
            return Err(Refused::new(format!("Invalid{name}.Malformed")));
        }
    }
    if to > from { Ok((from, to)) } else { Err(Refused::new("InvalidStartTimeAndEndTime.Malformed")) }
}

/// The cloud's name for who asked for a backup.
pub const fn mode_name(manual: bool) -> &'static str {
    if manual { "Manual" } else { "Automated" }
}

/// The download URL of a whole set.
pub fn url(request: &ActionRequest<'_>, instance: &EmulatedInstance, set: &ListedSet) -> Option<DownloadUrl> {
    let signer = &request.account.signer;
    set.whole.as_ref().map(|_| signer.url(request.host, &instance.id, set.number, set.begun, Timestamp::now()))
}

/// What a new instance can take from a set beside the data. The emulator reports this and does not do it: a local server's
/// users and settings are its operator's.
pub fn recoverable(instance: &EmulatedInstance) -> &'static str {
    if instance.is_cloud_native() { r#"{"whitelist":true,"config":true,"account":true}"# } else { "" }
}

/// How far a job is, as reported: its real progress, or that of an injected delay.
pub fn progress(request: &ActionRequest<'_>, job: &Job) -> (&'static str, i64) {
    if let Some(share) = request.account.activity.delayed(&job.backup_id) {
        #[expect(clippy::cast_possible_truncation, reason = "a share of one")]
        let delayed = (share * 100.0) as i64;
        return match delayed {
            0..33 => ("NoStart", 0),
            33..66 => ("Preparing", 0),
            _ => ("Uploading", delayed),
        };
    }
    match (job.status, job.phase) {
        (JobStatus::Running, Phase::Starting) => ("NoStart", 0),
        (JobStatus::Running, Phase::Forking) => ("Preparing", 0),
        (JobStatus::Running, _) => ("Uploading", percent(job.done, job.total).unwrap_or(50).into()),
        _ => ("Finished", 100),
    }
}
