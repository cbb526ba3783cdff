//! The write lock: real on the server behind the instance, and kept until it is taken off.
//!
//! It sets `min-replicas-to-write` beyond what any server has, so that writes are refused (`NOREPLICAS`) and reads are not;
//! the setting it replaced is written down first, so that it can be put back after a crash. Where the server does not let
//! us, the lock is refused. It does not hold back the master of a replica, so a restore by replication goes on under it; a
//! restore by commands is refused by the server before it has changed anything.

use crate::emulator::acts::caller;
use crate::emulator::answer::Refused;
use crate::emulator::call::Call;
use crate::emulator::ids::{Of, number};
use crate::emulator::memory::Lock;
use crate::emulator::world::World;
use crate::guard::ledger::AuditRecord;
use crate::model::fault::Fault;
use crate::model::text::clean;
use crate::redis::conn::Conn;
use crate::redis::resp::Value;
use crate::tair::wire::Action as _;
use crate::tair::wire::restore::{LockDBInstanceWrite, UnlockDBInstanceWrite, WriteLock};
use std::time::Duration;

const SETTING: &str = "min-replicas-to-write";
/// More replicas than there are.
const NEVER: &str = "1000000";
const PATIENCE: Duration = Duration::from_secs(5);

/// `LockDBInstanceWrite`. Locking twice is no error: a client whose reply was lost has to be able to call again.
///
/// # Errors
/// `InvalidInstanceId.NotFound`, `IncorrectDBInstanceState` where the server cannot be asked or does not let us.
pub async fn lock(call: &Call<'_>) -> Result<WriteLock, Refused> {
    let asked = LockDBInstanceWrite::from_params(call.params)?;
    let instance = call.world.instance(&asked.db_instance_id)?;
    let reason = clean(asked.lock_reason.as_deref().unwrap_or_default());
    let turn = call.world.turn(&instance.id);
    let _turn = turn.lock().await;
    let mut conn = connect(call, &instance.id).await?;
    let now = read(&mut conn).await?;
    let replicas_to_write = if now == NEVER { before(call, &instance.id) } else { now };
    // Written down before the server is touched.
    call.world.memory.change(|book| {
        book.of(&instance.id).locked = Some(Lock { reason: reason.clone(), replicas_to_write });
        Ok::<_, Refused>(())
    })?;
    write(&mut conn, NEVER).await?;
    audit(call, &instance.id, "write.locked", &reason).await?;
    Ok(said(&instance.id, reason))
}

/// The setting that a lock replaced. A lock whose record was lost is not a setting of the operator's.
fn before(call: &Call<'_>, instance_id: &str) -> String {
    call.world.memory.of(instance_id).locked.map_or_else(|| "0".to_owned(), |lock| lock.replicas_to_write)
}

async fn audit(call: &Call<'_>, instance_id: &str, event: &str, detail: &str) -> Result<(), Refused> {
    let record = AuditRecord::now(event, &caller(call.caller), instance_id, detail);
    Ok(call.world.app.state.record(record).await?)
}

/// Says which instances are locked: nobody lifts a lock but by a call.
pub fn remind(world: &World) {
    for instance in world.instances() {
        if let Some(lock) = world.memory.of(&instance.id).locked {
            tracing::warn!(
                instance_id = %instance.id,
                "locked for writes ({SETTING} {NEVER}; reason: {:?}) until UnlockDBInstanceWrite is called",
                lock.reason
            );
        }
    }
}

/// `UnlockDBInstanceWrite`. Unlocking what is not locked is no error, and a lock without a record is lifted, too.
///
/// # Errors
/// As [`lock`].
pub async fn unlock(call: &Call<'_>) -> Result<WriteLock, Refused> {
    let asked = UnlockDBInstanceWrite::from_params(call.params)?;
    let instance = call.world.instance(&asked.db_instance_id)?;
    let turn = call.world.turn(&instance.id);
    let _turn = turn.lock().await;
    let lock = call.world.memory.of(&instance.id).locked;
    // The server decides whether it is locked: it may have been restarted, or set by hand, since the record was written.
    let mut conn = connect(call, &instance.id).await?;
    let lifted = read(&mut conn).await? == NEVER;
    if lifted {
        write(&mut conn, &before(call, &instance.id)).await?;
    }
    if lock.is_some() {
        call.world.memory.change(|book| {
            book.of(&instance.id).locked = None;
            Ok::<_, Refused>(())
        })?;
    }
    if lifted || lock.is_some() {
        let found = if lifted { "the setting is as it was" } else { "the server was not locked any more" };
        audit(call, &instance.id, "write.unlocked", found).await?;
    }
    Ok(said(&instance.id, lock.map(|lock| lock.reason).unwrap_or_default()))
}

fn said(instance_id: &str, reason: String) -> WriteLock {
    WriteLock {
        request_id: String::new(),
        db_instance_name: Some(instance_id.to_owned()),
        lock_reason: Some(reason),
        task_id: Some(number(Of::Task, &format!("lock {instance_id}"))),
    }
}

async fn connect(call: &Call<'_>, instance_id: &str) -> Result<Conn, Refused> {
    let endpoint = call.world.endpoint(instance_id).await?;
    Ok(Conn::open(&endpoint, PATIENCE).await.map_err(Fault::from)?)
}

async fn read(conn: &mut Conn) -> Result<String, Refused> {
    let reply = conn.cmd_str(&["CONFIG", "GET", SETTING]).await.map_err(Fault::from)?;
    let value = reply.as_array().and_then(|pair| pair.get(1)).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| Refused::new("IncorrectDBInstanceState"))
}

async fn write(conn: &mut Conn, value: &str) -> Result<(), Refused> {
    conn.cmd_str(&["CONFIG", "SET", SETTING, value]).await.map_err(Fault::from)?;
    Ok(())
}
