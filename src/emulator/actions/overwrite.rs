//! Acts that overwrite, delete or lower protection: handed to the guard as delegated by the caller who signed the request, and recorded as such.
//!
//! A restore goes on after its call is answered, and when its connection is gone. The provider overwrites; nothing here touches
//! a server or a set.

use crate::emulator::account::records::Creation;
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::guard::act::{Act, CloneOrder, PolicyChange, Source};
use crate::model::caller::Caller;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobStatus};
use crate::model::key_filter::SomeKeys;
use crate::model::persistence::PersistenceSettings;
use crate::provider::{Carried, Raised};
use crate::state::State;
use crate::tools::App;
use crate::tools::delegated::{DelegatedRefusal, delegated};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for its restore to begin or be refused: well below the time after which clients give up.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a restore waits until the log has reached its beginning.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);

/// Deletes a set for ever.
///
/// # Errors
/// `IncorrectBackupSetState`, `IncorrectDBInstanceState`.
pub async fn delete_backup(request: &ActionRequest<'_>, instance_id: &str, backup_id: &str) -> Result<(), Refused> {
    let act = Act::DeleteBackup { backup_id: backup_id.into() };
    delegated(&request.account.app, &request.caller(), instance_id, act).await?;
    Ok(())
}

/// Switches an instance's log on or off. What the log has stays.
///
/// # Errors
/// `ServiceNotSupport` where the operator's configuration has set it; `IncorrectDBInstanceState`.
pub async fn switch_log(request: &ActionRequest<'_>, instance_id: &str, on: bool) -> Result<(), Refused> {
    change_policy(request, instance_id, PolicyChange { enable_backup_log: Some(on), ..PolicyChange::default() }).await
}

/// Lets an instance's server keep an append-only file, or none.
///
/// # Errors
/// `IncorrectDBInstanceState`.
pub async fn keep_file(request: &ActionRequest<'_>, instance_id: &str, on: bool) -> Result<(), Refused> {
    let persistence = PersistenceSettings { appendonly: Some(on), ..PersistenceSettings::default() };
    change_policy(request, instance_id, PolicyChange { persistence, ..PolicyChange::default() }).await
}

async fn change_policy(request: &ActionRequest<'_>, instance_id: &str, change: PolicyChange) -> Result<(), Refused> {
    let (account, caller) = (request.account, request.caller());
    match account.app.provider.raise_backup_policy(instance_id, &change, caller.id()).await {
        Ok(Raised::Changed(..)) => Ok(()),
        Ok(Raised::Lowers) => {
            delegated(&account.app, &caller, instance_id, Act::ModifyBackupPolicy { change }).await?;
            Ok(())
        }
        Err(fault) if fault.kind == Kind::Usage => Err(Refused::new("ServiceNotSupport").say(fault.message)),
        Err(fault) => Err(fault.into()),
    }
}

/// Begins an act that overwrites an instance with the data of `source_id`. The log of that one is brought up to now first: a moment
/// that has just passed can be asked for, and one from right before a restore in place is the way back from it.
async fn begin(
    app: &App,
    caller: &Caller,
    instance_id: &str,
    source_id: &str,
    act: Act,
) -> Result<Job, DelegatedRefusal> {
    app.provider.log_reaching(source_id, Timestamp::now(), LOG_TIMEOUT).await?;
    match delegated(app, caller, instance_id, act).await? {
        Carried::Job(job) => Ok(job),
        Carried::Done(message) => Err(Fault::new(Kind::Unexpected, "job.missing", message).into()),
        Carried::Pruned(_) => Err(Fault::new(Kind::Unexpected, "job.missing", "sets were pruned").into()),
    }
}

/// Waits for a job's end.
async fn end(state: &dyn State, mut job: Job) -> Result<(), Fault> {
    let mut changes = state.changes();
    while job.status == JobStatus::Running {
        job = state.job(&job.id).await?;
        if job.status == JobStatus::Running {
            changes.changed().await;
        }
    }
    if job.status == JobStatus::Succeeded {
        return Ok(());
    }
    Err(Fault::new(Kind::Provider, "restore.failed", format!("{}: {}", job.code, job.message)))
}

/// Restores an instance in the background. A refusal by the pre-checks within a few seconds refuses the call; after that the
/// call has succeeded, and the restore's end shows in the instance's status alone.
///
/// # Errors
/// `IncorrectDBInstanceState`, `IncorrectBackupSetState`, `InvalidBinlog.NotValid`.
pub async fn restore(
    request: &ActionRequest<'_>,
    instance_id: &str,
    source: Source,
    keys: Option<SomeKeys>,
) -> Result<(), Refused> {
    let delay = request.account.faults.delay(request.action);
    if !request.account.activity.begin_restoring(instance_id, delay) {
        return Err(Refused::new("IncorrectDBInstanceState"));
    }
    let (verdict_sender, verdict) = tokio::sync::oneshot::channel();
    let (account, caller) = (Arc::clone(request.account), request.caller());
    let instance_id = instance_id.to_owned();
    let act = Act::RestoreInstance { source, write_fence: false, source_instance_id: None, keys };
    request.account.tasks.spawn(async move {
        match begin(&account.app, &caller, &instance_id, &instance_id, act).await {
            Err(refusal) => {
                account.activity.cancel_restoring(&instance_id);
                if let Err(Err(refusal)) = verdict_sender.send(Err(refusal)) {
                    let fault = Fault::from(refusal);
                    tracing::warn!(%instance_id, code = fault.code, "a restore was not begun: {fault}");
                }
            }
            Ok(job) => {
                // The call may have been answered before the restore began.
                let _ = verdict_sender.send(Ok(()));
                if let Err(fault) = end(account.app.state.as_ref(), job).await {
                    tracing::warn!(%instance_id, "{fault}");
                }
                account.activity.end_restoring(&instance_id);
            }
        }
    });
    match tokio::time::timeout(VERDICT_TIMEOUT, verdict).await {
        Ok(Ok(Err(refusal))) => Err(refusal.into()),
        _ => Ok(()),
    }
}

/// Fills a spare instance with another instance's data, or makes a clone that has it, in the background: the new instance is `Creating` until the restore
/// has ended, and for `delay` at least.
pub fn fill(
    request: &ActionRequest<'_>,
    source_id: &str,
    source: Source,
    spare_id: &str,
    created: Creation,
    delay: Duration,
) {
    let (account, caller, spare_id) = (Arc::clone(request.account), request.caller(), spare_id.to_owned());
    let source_id = source_id.to_owned();
    let (acted_on, act) = match created.clone_of {
        None => {
            let source_instance_id = Some(source_id.clone());
            let act = Act::RestoreInstance { source, write_fence: false, source_instance_id, keys: None };
            (spare_id.clone(), act)
        }
        Some(_) => (source_id.clone(), Act::CreateInstanceFromBackup { order: clone_order(source, &spare_id) }),
    };
    request.account.tasks.spawn(async move {
        let at_least = tokio::time::sleep(delay);
        let one_at_once = match created.clone_of {
            Some(_) => Some(account.cloning.lock().await),
            None => None,
        };
        let begun = begin(&account.app, &caller, &acted_on, &source_id, act).await;
        drop(one_at_once);
        match begun {
            Err(refusal) => {
                let fault = Fault::from(refusal);
                tracing::warn!(%spare_id, code = fault.code, "the filling of the new instance was refused: {fault}");
            }
            Ok(job) => {
                if let Err(fault) = end(account.app.state.as_ref(), job).await {
                    tracing::warn!(%spare_id, "the new instance could not be filled: {fault}");
                }
            }
        }
        at_least.await;
        if let Err(refused) = account.reconcile_spare(&spare_id, &created).await {
            tracing::error!(%spare_id, "the end of its creation could not be recorded: {}", refused.message);
        }
        account.activity.end_filling(&spare_id);
    });
}

/// The order of a clone of that id.
fn clone_order(source: Source, id: &str) -> CloneOrder {
    CloneOrder {
        source,
        instance_name: Some(id.to_owned()),
        instance_class: None,
        zone_id: None,
        vswitch_id: None,
        recover_config_mode: Vec::new(),
    }
}
