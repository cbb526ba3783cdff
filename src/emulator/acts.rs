//! What overwrites or deletes: handed to the guard as delegated by whoever signed the call, and recorded as that.
//!
//! A restore goes on when its call is answered, and when its connection is gone.

use crate::emulator::answer::Refused;
use crate::emulator::call::Call;
use crate::emulator::memory::Created;
use crate::emulator::world::World;
use crate::guard::act::{Act, Source};
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobStatus};
use crate::provider::Carried;
use crate::tools::delegated::{Refusal, delegated};
use crate::vault::Vault;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits to hear whether its restore is refused: well below the time after which clients give up.
const VERDICT: Duration = Duration::from_secs(4);
/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Who the audit names.
pub fn caller(access_key_id: &str) -> String {
    format!("emulator: {access_key_id}")
}

/// Deletes a set for ever.
///
/// # Errors
/// `IncorrectBackupSetState`, `IncorrectDBInstanceState`.
pub async fn delete_backup(world: &World, who: &str, instance_id: &str, backup_id: &str) -> Result<(), Refused> {
    let act = Act::DeleteBackup { backup_id: backup_id.into() };
    delegated(&world.app, &caller(who), instance_id, act).await.map_err(Fault::from)?;
    Ok(())
}

async fn begin(world: &World, who: &str, instance_id: &str, backup_id: &str) -> Result<Job, Refusal> {
    let act = Act::RestoreInstance { source: Source::Backup { backup_id: backup_id.into() }, write_fence: false };
    match delegated(&world.app, &caller(who), instance_id, act).await? {
        Carried::Job(job) => Ok(job),
        Carried::Done(said) => Err(Fault::new(Kind::Unexpected, "job.missing", said).into()),
    }
}

async fn end(world: &World, job: Job) -> Result<(), Fault> {
    let mut job = job;
    while job.status == JobStatus::Running {
        tokio::time::sleep(LOOK).await;
        job = world.app.state.job(&job.id).await?;
    }
    if job.status == JobStatus::Succeeded {
        return Ok(());
    }
    Err(Fault::new(Kind::Provider, "restore.failed", format!("{}: {}", job.code, job.message)))
}

/// Restores an instance in the background. What the pre-checks refuse within a few seconds refuses the call; after that
/// the cloud has taken it, and its end shows in the instance's status alone.
///
/// # Errors
/// `IncorrectDBInstanceState`, `IncorrectBackupSetState`.
pub async fn restore(call: &Call<'_>, instance_id: &str, backup_id: &str) -> Result<(), Refused> {
    let hold = call.world.mishaps.hold(call.action);
    if !call.world.begin_restoring(instance_id, hold) {
        return Err(Refused::new("IncorrectDBInstanceState"));
    }
    let (told, verdict) = tokio::sync::oneshot::channel();
    let (world, who) = (Arc::clone(call.world), call.caller.to_owned());
    let (instance_id, backup_id) = (instance_id.to_owned(), backup_id.to_owned());
    call.world.tasks.spawn(async move {
        match begin(&world, &who, &instance_id, &backup_id).await {
            Err(refusal) => {
                world.end_restoring(&instance_id, true);
                if let Err(Err(refusal)) = told.send(Err(refusal)) {
                    let fault = Fault::from(refusal);
                    tracing::warn!(%instance_id, code = fault.code, "a restore was not begun: {fault}");
                }
            }
            Ok(job) => {
                // Nobody listens any more when it took long to begin.
                let _ = told.send(Ok(()));
                if let Err(fault) = end(&world, job).await {
                    tracing::warn!(%instance_id, "{fault}");
                }
                world.end_restoring(&instance_id, false);
            }
        }
    });
    match tokio::time::timeout(VERDICT, verdict).await {
        Ok(Ok(Err(refusal))) => Err(refused(refusal)),
        _ => Ok(()),
    }
}

/// A set that cannot be loaded is the set's trouble, not the instance's.
fn refused(refusal: Refusal) -> Refused {
    let of_the_set = matches!(&refusal, Refusal::Blocked(checks) if checks.iter().any(|c| c.name.is_about_the_set()));
    let fault = Fault::from(refusal);
    if of_the_set {
        tracing::warn!("a restore is refused: {fault}");
        return Refused::new("IncorrectBackupSetState");
    }
    fault.into()
}

/// Fills a spare with another instance's set, in the background: the new instance is `Creating` until that is done.
pub fn fill(call: &Call<'_>, spare_id: &str, set: BackupSet, created: Created, hold: Duration) {
    let (world, who, spare_id) = (Arc::clone(call.world), call.caller.to_owned(), spare_id.to_owned());
    call.world.tasks.spawn(async move {
        let least = tokio::time::sleep(hold);
        if let Err(fault) = filled(&world, &who, &spare_id, set, created.copy.clone()).await {
            tracing::warn!(%spare_id, code = fault.code, "the new instance could not be filled: {fault}");
        }
        least.await;
        if let Err(refused) = world.settle_spare(&spare_id, &created).await {
            tracing::error!(%spare_id, "the end of its creation could not be written down: {}", refused.message);
        }
        world.end_filling(&spare_id);
    });
}

async fn filled(world: &World, who: &str, spare_id: &str, set: BackupSet, copied: String) -> Result<(), Fault> {
    // A restore reads the sets of its own instance, so the spare gets a copy for as long as that takes.
    let (vault, to, id) = (world.vault.clone(), spare_id.to_owned(), copied.clone());
    tokio::task::spawn_blocking(move || copy(&vault, set, &to, id))
        .await
        .map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))??;
    let job = begin(world, who, spare_id, &copied).await.map_err(Fault::from)?;
    end(world, job).await
}

fn copy(vault: &Vault, set: BackupSet, to: &str, id: String) -> Result<(), Fault> {
    let failed = |e: std::io::Error| {
        Fault::new(Kind::Damaged, "backup.damaged", format!("{} of {}: {e}", set.id, set.instance_id))
    };
    let mut data = vault.open_data(&set)?;
    let mut draft = vault.draft(to, &id)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = data.read(&mut chunk).map_err(failed)?;
        if n == 0 {
            break;
        }
        draft.push(chunk.get(..n).unwrap_or_default()).map_err(failed)?;
    }
    let sealed = draft.seal()?;
    if sealed.sha256 != set.sha256 {
        return Err(failed(std::io::Error::other("its checksum is another")));
    }
    let note = format!("copy of {} of {}, to fill a new instance", set.id, set.instance_id);
    draft.publish(&BackupSet {
        id,
        instance_id: to.to_owned(),
        mode: Mode::Manual,
        note,
        stored_bytes: sealed.stored_bytes,
        ..set
    })
}
