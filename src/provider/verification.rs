//! What verifications of sets share, wherever the sets lie: a set is verified by one at a time, and of many sets one is read at a time; how far a
//! reading is is told, and the damage that it found is kept.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind};
use crate::model::text::clean_to;
use crate::model::verification::{Level, Look};
use crate::provider::jobs::Jobs;
use crate::state::jobs::JobsOf;
use crate::state::leases::Held;
use jiff::Timestamp;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// How often a job's progress is written down.
const TICK: Duration = Duration::from_millis(500);
/// Longest fault that is kept of a set, in characters: it names a path.
const FAULT_MAX: usize = 600;

/// The end of a verification whose process was asked to end.
#[must_use]
pub fn cancelled() -> Fault {
    let message = "the verification was cancelled because the program was asked to end";
    Fault::new(Kind::Provider, "job.cancelled", message).hint("Call verify_backup again.")
}

/// The end of a verification whose process died: what it had begun ended with it.
#[must_use]
pub fn interrupted() -> Fault {
    let message = "the process verifying this set died; what it had found, if anything, shows in describe_backups";
    Fault::new(Kind::Unexpected, "job.interrupted", message).hint("Call verify_backup again.")
}

/// What has to be held while a set is verified.
///
/// # Errors
/// `job.busy` where that set is being verified; `state.failed`.
pub async fn alone(jobs: &Jobs, (instance_id, backup_id): (&str, &str)) -> Result<Held, Fault> {
    let name = format!("verify/{instance_id}/{backup_id}");
    if let Some(held) = Held::acquire(jobs.state.clone(), &name).await? {
        return Ok(held);
    }
    let running = JobsOf { kind: Some(JobKind::Verification), ..JobsOf::running(instance_id) };
    let job = jobs.state.latest(running).await?.into_iter().find(|job| job.backup_id == backup_id);
    // The other may not have begun its job yet.
    let (job, follow) = match job {
        Some(job) => (format!("verification {}", job.id), format!("describe_jobs with job_id {}", job.id)),
        None => ("another verification".to_owned(), format!("describe_jobs with instance_id {instance_id}")),
    };
    Err(Fault::new(Kind::Provider, "job.busy", format!("{job} of {backup_id} is running"))
        .hint(format!("{follow} shows when it has ended."))
        .retry_after(Duration::from_secs(5)))
}

/// Waits until no other set is read: each takes two cores, its memory and a thread that may block, and there may be as many as there are sets.
pub async fn turn<'a>(turns: &'a Mutex<()>, jobs: &Jobs, job: &Job) -> MutexGuard<'a, ()> {
    if let Ok(turn) = turns.try_lock() {
        return turn;
    }
    let _ = jobs.progress(job, "waiting, for another set is being verified here", 0, 0).await;
    turns.lock().await
}

/// Waits for a reading, and tells the job how many bytes are done of all.
pub async fn told_while<T>(
    jobs: &Jobs,
    job: &Job,
    (stage, all): (&str, u64),
    done: impl Fn() -> u64,
    reading: impl Future<Output = T>,
) -> T {
    tokio::pin!(reading);
    loop {
        // That it could not be told does not end what is told of.
        let _ = jobs.progress(job, stage, done(), all).await;
        tokio::select! {
            read = &mut reading => return read,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Writes down that a look of this level has found damage, of a drill by which program. That it could not be does not hide what was found.
pub async fn keep_damage(
    jobs: &Jobs,
    (instance_id, backup_id): (&str, &str),
    level: Level,
    server: Option<String>,
    fault: &Fault,
) {
    let fault = Some(clean_to(&fault.message, FAULT_MAX));
    let look = Look { at: Timestamp::now(), sha256: String::new(), server, fault };
    if let Err(not_kept) = jobs.state.set_verified(instance_id, backup_id, level, &look).await {
        tracing::error!(backup = %backup_id, "that the set is damaged could not be written down: {not_kept}");
    }
}
