//! The write lock: real on the server behind the instance, and kept until a call lifts it.
//!
//! The setting that the lock replaces is recorded before the server is touched, so that it can be put back after a crash. Where
//! the server refuses the setting, the lock is refused.

use crate::emulator::account::Account;
use crate::emulator::account::records::{LockRecord, Records};
use crate::emulator::answer::Refused;
use crate::emulator::request::ActionRequest;
use crate::guard::ledger::AuditRecord;
use crate::model::caller::Caller;
use crate::model::text::clean;
use crate::provider::WriteLock as Lock;
use crate::tair::wire::restore::{LockDBInstanceWrite, UnlockDBInstanceWrite, WriteLock};
use std::sync::Arc;

/// What a call does to the lock.
enum Change {
    Lock { reason: String },
    Unlock,
}

/// `LockDBInstanceWrite`. Locking twice is no error: a client whose reply was lost has to be able to call again.
///
/// # Errors
/// `InvalidInstanceId.NotFound`, `IncorrectDBInstanceState` where the server cannot be params or does not let us.
pub async fn lock(request: &ActionRequest<'_>, params: LockDBInstanceWrite) -> Result<WriteLock, Refused> {
    let reason = clean(params.lock_reason.as_deref().unwrap_or_default());
    begin(request, &params.db_instance_id, Change::Lock { reason }).await
}

/// `UnlockDBInstanceWrite`. Unlocking an instance that is not locked is no error, and a lock without a record is lifted,
/// too.
///
/// # Errors
/// As [`lock`].
pub async fn unlock(request: &ActionRequest<'_>, params: UnlockDBInstanceWrite) -> Result<WriteLock, Refused> {
    begin(request, &params.db_instance_id, Change::Unlock).await
}

/// Begins the task of a call. One that an injected fault makes slow goes on after the reply, and what it changes is changed at its end;
/// those of one instance are carried out in the order of their calls.
async fn begin(request: &ActionRequest<'_>, instance_id: &str, change: Change) -> Result<WriteLock, Refused> {
    let account = Arc::clone(request.account);
    let id = account.instance(instance_id)?.id;
    let one_at_a_time = account.activity.write_lock_mutex(&id).lock_owned().await;
    let lock_reason = match &change {
        Change::Lock { reason } => reason.clone(),
        Change::Unlock => account.records.of(&id).locked.map(|lock| lock.reason).unwrap_or_default(),
    };
    let (delay, fails) = (account.faults.delay(request.action), account.faults.task_fails(request.action));
    let task_id = account.activity.begin_task(&id, request.action);
    let reply = WriteLock {
        request_id: String::new(),
        db_instance_name: Some(id.clone()),
        lock_reason: Some(lock_reason),
        task_id: Some(task_id),
    };
    let caller = request.caller();
    let carried_out = async move {
        let _one_at_a_time = one_at_a_time;
        tokio::time::sleep(delay).await;
        let done = if fails { Err(Refused::new("InternalError")) } else { make(&account, &caller, &id, change).await };
        account.activity.end_task(task_id, done.is_ok());
        done
    };
    // Begun, a task is seen to its end, also where its caller goes away.
    let task = request.account.tasks.spawn(carried_out);
    if delay.is_zero() && !fails {
        task.await.map_err(|_| Refused::new("InternalError"))??;
    }
    Ok(reply)
}

/// Makes the change on the server and in the records.
async fn make(account: &Account, caller: &Caller, id: &str, change: Change) -> Result<(), Refused> {
    let lock = account.records.of(id).locked;
    let now = account.app.provider.write_lock(id).await?;
    match change {
        Change::Lock { reason } => {
            let replicas_to_write = match now {
                Lock::Locked => setting_before(lock),
                Lock::Unlocked { setting } => setting,
            };
            // Written down before the server is touched.
            record(account, id, Some(LockRecord { reason: reason.clone(), replicas_to_write })).await?;
            account.app.provider.set_write_lock(id, &Lock::Locked).await?;
            audit(account, caller, id, "write.locked", &reason).await
        }
        Change::Unlock => {
            // The server decides whether it is locked: it may have been restarted, or set by hand, since the record was written.
            let lifted = now == Lock::Locked;
            if lifted {
                let setting = setting_before(lock.clone());
                account.app.provider.set_write_lock(id, &Lock::Unlocked { setting }).await?;
            }
            if lock.is_some() {
                record(account, id, None).await?;
            }
            if lifted || lock.is_some() {
                let found = if lifted { "the setting is as it was" } else { "the server was not locked any more" };
                audit(account, caller, id, "write.unlocked", found).await?;
            }
            Ok(())
        }
    }
}

/// The setting that a lock replaced. A locked server without a record had no setting of the operator's.
fn setting_before(lock: Option<LockRecord>) -> String {
    lock.map_or_else(|| "0".to_owned(), |lock| lock.replicas_to_write)
}

async fn record(account: &Account, id: &str, locked: Option<LockRecord>) -> Result<(), Refused> {
    let change = |records: &mut Records| {
        records.of(id).locked = locked;
        Ok::<_, Refused>(())
    };
    account.records.change(change).await
}

async fn audit(account: &Account, caller: &Caller, id: &str, event: &str, detail: &str) -> Result<(), Refused> {
    Ok(account.app.state.record(AuditRecord::now(event, caller.id(), id, detail)).await?)
}

/// Logs which instances are locked: only a call lifts a lock.
pub fn warn_of_locks(account: &Account) {
    for instance in account.instances() {
        if let Some(lock) = account.records.of(&instance.id).locked {
            tracing::warn!(
                instance_id = %instance.id,
                "locked for writes (min-replicas-to-write 1000000; reason: {:?}) until UnlockDBInstanceWrite is called",
                lock.reason
            );
        }
    }
}
