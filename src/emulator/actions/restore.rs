//! `RestoreInstance`: in place, on classic instances, from a set or to a moment, and some keys of a moment. Its refusals are the six that
//! the cloud publishes.

use crate::config::blocking::blocking;
use crate::emulator::actions::moments::moment;
use crate::emulator::actions::overwrite;
use crate::emulator::actions::sets::find;
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::guard::act::Source;
use crate::model::key_filter::matcher::KeyMatcher;
use crate::model::key_filter::{SHOWN, SomeKeys};
use crate::model::text::{clean_to, quoted};
use crate::tair::wire::restore::RestoreInstance;
use crate::tair::wire::{Action as _, BadParam, Done};
use std::time::Duration;

/// How long a restore waits for the one before it, unless that one is made slow.
const BEHIND_ANOTHER: Duration = Duration::from_secs(5);

/// The keys of a `FilterKey`, as this program reads them.
async fn keys(filter_key: String) -> Result<SomeKeys, Refused> {
    let keys = SomeKeys { filter_key, add_prefix: None };
    let read = keys.clone();
    let refused = |why: String| Refused::new("InvalidParameter").status(400).say(why);
    let read = blocking(move || KeyMatcher::new(&read)).await.map_err(|fault| refused(fault.message))?;
    // The way back names each expression to a person.
    if let Some(item) = read.filter().items.iter().find(|item| clean_to(item, SHOWN) != **item) {
        let why = "is longer than a way back can name, or has characters that cannot be shown";
        return Err(refused(format!("FilterKey: {} {why} ({SHOWN} characters at most)", quoted(item))));
    }
    Ok(keys)
}

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
/// `MissingParameter`, `InvalidParameter`, `ResroreParamNotMatch` (as the cloud spells it), `InvalidRestoreTime.Format`,
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
    let source = match (params.restore_type.as_deref(), &params.backup_id, &params.restore_time) {
        (None | Some("0"), Some(id), None) if params.filter_key.is_none() => {
            Source::Backup { backup_id: find(request, &instance, id).await?.id }
        }
        (Some("1"), None, Some(_)) if !instance.kind.flashback => return Err(Refused::new("ServiceNotSupport")),
        (Some("1"), None, Some(at)) => moment(request, &instance, at.0, params.time_shift.map(|t| t.0)).await?,
        _ => return Err(Refused::new("ResroreParamNotMatch")),
    };
    let keys = match params.filter_key {
        None => None,
        Some(filter_key) => Some(keys(filter_key).await?),
    };
    // A call right behind another one is taken: the cloud, too, takes a while to show that an instance is being restored.
    request.account.activity.restored(&instance.id, BEHIND_ANOTHER).await;
    request.account.must_be_normal(&instance).await?;
    overwrite::restore(request, &instance.id, source, keys).await?;
    Ok(Done::default())
}
