//! The write lock: real on the server behind the instance, and kept until a call lifts it.
//!
//! The setting that the lock replaces is recorded before the server is touched, so that it can be put back after a crash. Where
//! the server refuses the setting, the lock is refused.

use crate::emulator::account::Account;
use crate::emulator::account::records::LockRecord;
use crate::emulator::answer::Refused;
use crate::emulator::ids::{IdKind, number};
use crate::emulator::request::ActionRequest;
use crate::guard::ledger::AuditRecord;
use crate::model::text::clean;
use crate::provider::WriteLock as Lock;
use crate::tair::wire::restore::{LockDBInstanceWrite, UnlockDBInstanceWrite, WriteLock};

/// `LockDBInstanceWrite`. Locking twice is no error: a client whose reply was lost has to be able to call again.
///
/// # Errors
/// `InvalidInstanceId.NotFound`, `IncorrectDBInstanceState` where the server cannot be params or does not let us.
pub async fn lock(request: &ActionRequest<'_>, params: LockDBInstanceWrite) -> Result<WriteLock, Refused> {
    let account = request.account;
    let instance = account.instance(&params.db_instance_id)?;
    let reason = clean(params.lock_reason.as_deref().unwrap_or_default());
    let mutex = account.activity.write_lock_mutex(&instance.id);
    let _one_at_a_time = mutex.lock().await;
    let replicas_to_write = match account.app.provider.write_lock(&instance.id).await? {
        Lock::Locked => setting_before(account, &instance.id),
        Lock::Unlocked { setting } => setting,
    };
    // Recorded before the server is touched.
    account.records.change(|records| {
        records.of(&instance.id).locked = Some(LockRecord { reason: reason.clone(), replicas_to_write });
        Ok::<_, Refused>(())
    })?;
    account.app.provider.set_write_lock(&instance.id, &Lock::Locked).await?;
    audit(request, &instance.id, "write.locked", &reason).await?;
    Ok(reply(&instance.id, reason))
}

/// The setting that a lock replaced. A locked server without a record had no setting of the operator's.
fn setting_before(account: &Account, instance_id: &str) -> String {
    account.records.of(instance_id).locked.map_or_else(|| "0".to_owned(), |lock| lock.replicas_to_write)
}

async fn audit(request: &ActionRequest<'_>, instance_id: &str, event: &str, detail: &str) -> Result<(), Refused> {
    let record = AuditRecord::now(event, request.caller().id(), instance_id, detail);
    Ok(request.account.app.state.record(record).await?)
}

/// Logs which instances are locked: only a call lifts a lock.
pub fn warn_of_locks(account: &Account) {
    for instance in account.instances() {
        if let Some(lock) = account.records.of(&instance.id).locked {
            tracing::warn!(
                instance_id = %instance.id,
                "locked for writes (min-replicas-to-write; reason: {:?}) until UnlockDBInstanceWrite is called",
                lock.reason
            );
        }
    }
}

/// `UnlockDBInstanceWrite`. Unlocking an instance that is not locked is no error, and a lock without a record is lifted,
/// too.
///
/// # Errors
/// As [`lock`].
pub async fn unlock(request: &ActionRequest<'_>, params: UnlockDBInstanceWrite) -> Result<WriteLock, Refused> {
    let account = request.account;
    let instance = account.instance(&params.db_instance_id)?;
    let mutex = account.activity.write_lock_mutex(&instance.id);
    let _one_at_a_time = mutex.lock().await;
    let lock = account.records.of(&instance.id).locked;
    // The server decides whether it is locked: it may have been restarted, or set by hand, since the record was written.
    let lifted = account.app.provider.write_lock(&instance.id).await? == Lock::Locked;
    if lifted {
        let setting = setting_before(account, &instance.id);
        account.app.provider.set_write_lock(&instance.id, &Lock::Unlocked { setting }).await?;
    }
    if lock.is_some() {
        account.records.change(|records| {
            records.of(&instance.id).locked = None;
            Ok::<_, Refused>(())
        })?;
    }
    if lifted || lock.is_some() {
        let found = if lifted { "the setting is as it was" } else { "the server was not locked any more" };
        audit(request, &instance.id, "write.unlocked", found).await?;
    }
    Ok(reply(&instance.id, lock.map(|lock| lock.reason).unwrap_or_default()))
}

fn reply(instance_id: &str, reason: String) -> WriteLock {
    WriteLock {
        request_id: String::new(),
        db_instance_name: Some(instance_id.to_owned()),
        lock_reason: Some(reason),
        task_id: Some(number(IdKind::Task, &format!("lock {instance_id}"))),
    }
}
