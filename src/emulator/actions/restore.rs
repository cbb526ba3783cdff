//! `RestoreInstance`: in place, on classic instances, from a set. Its refusals are the six that the cloud publishes.

use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::actions::overwrite;
use crate::emulator::actions::sets::find;
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::tair::wire::restore::RestoreInstance;
use crate::tair::wire::{Action as _, BadParam, Done};
use jiff::Timestamp;

/// Parses the parameters of `RestoreInstance`. Its moments have a code of their own.
///
/// # Errors
/// `InvalidRestoreTime.Format`, `MissingParameter`, `InvalidParameter`.
pub fn read(request: &ActionRequest<'_>) -> Result<RestoreInstance, Refused> {
    RestoreInstance::from_params(request.params).map_err(|bad| match bad {
        BadParam::Malformed(name) if name == "RestoreTime" || name == "TimeShift" => {
            Refused::new("InvalidRestoreTime.Format")
        }
        bad => bad.into(),
    })
}

/// `RestoreInstance`. A write lock does not prevent it: clients use the lock to keep writes out meanwhile.
///
/// # Errors
/// `MissingParameter`, `ResroreParamNotMatch` (as the cloud spells it), `InvalidRestoreTime.Format`,
/// `InvalidBinlog.NotValid`, `ServiceNotSupport`, `InvalidBackupSetID.NotFound`, `IncorrectBackupSetState`,
/// `IncorrectDBInstanceState`.
pub async fn restore(request: &ActionRequest<'_>, params: RestoreInstance) -> Result<Done, Refused> {
    let instance = request.account.instance(&params.instance_id)?;
    if instance.is_cloud_native() || instance.kind.single {
        return Err(Refused::new("ServiceNotSupport"));
    }
    if params.backup_id.is_none() && params.restore_time.is_none() && params.restore_type.is_none() {
        return Err(Refused::new("MissingParameter")
            .status(400)
            .say("Missing Required Param: BackupId or RestoreTime or RestoreType."));
    }
    let unfit = || Refused::new("ResroreParamNotMatch");
    let backup_id = match (params.restore_type.as_deref(), &params.backup_id, &params.restore_time) {
        (None | Some("0"), Some(id), None) if request.param("FilterKey").is_none() => id,
        (Some("1"), None, Some(at)) => {
            return Err(to_a_moment(request, &instance, at.0, params.time_shift.map(|t| t.0)));
        }
        _ => return Err(unfit()),
    };
    let set = find(request, &instance, backup_id).await?;
    request.account.must_be_normal(&instance).await?;
    overwrite::restore(request, &instance.id, &set.id).await?;
    Ok(Done::default())
}

/// Refuses a restore to a moment, for there is no archive of a local server's writes yet: with the code of an instance
/// without the feature, or of an archive that does not reach. An archive would be read here.
fn to_a_moment(
    request: &ActionRequest<'_>,
    instance: &EmulatedInstance,
    at: Timestamp,
    shift: Option<Timestamp>,
) -> Refused {
    if !instance.kind.flashback {
        return Refused::new("ServiceNotSupport");
    }
    let now = Timestamp::now();
    let since = request.account.records.of(&instance.id).policy.and_then(|p| p.flashback_since);
    if at > now || shift.is_some_and(|shift| shift < at || shift > now) {
        return Refused::new("InvalidRestoreTime.Format");
    }
    tracing::debug!(?since, "no archive reaches the moment asked for");
    Refused::new("InvalidBinlog.NotValid")
}
