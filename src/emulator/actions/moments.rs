//! Moments that an instance is to go back to, or a new one to begin with: judged before anything is asked of the provider, by the
//! codes that the cloud has for them.

use crate::emulator::account::instance::EmulatedInstance;
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::guard::act::Source;
use jiff::Timestamp;

/// A moment of an instance, which is not in the future and not before its data flashback.
///
/// # Errors
/// `InvalidRestoreTime.Format`; `InvalidBinlog.NotValid`, also where data flashback is off.
pub async fn moment(
    request: &ActionRequest<'_>,
    instance: &EmulatedInstance,
    restore_time: Timestamp,
    time_shift: Option<Timestamp>,
) -> Result<Source, Refused> {
    let now = Timestamp::now();
    let whole = [Some(restore_time), time_shift].into_iter().flatten().all(|at| at.subsec_nanosecond() == 0);
    if !whole || restore_time > now || time_shift.is_some_and(|shift| shift < restore_time || shift > now) {
        return Err(Refused::new("InvalidRestoreTime.Format"));
    }
    let flashback = request.account.flashback(instance).await?;
    if !flashback.is_some_and(|flashback| flashback.reaches(restore_time, now)) {
        return Err(Refused::new("InvalidBinlog.NotValid"));
    }
    Ok(Source::Moment { restore_time, time_shift })
}
