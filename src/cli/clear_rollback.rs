//! `clear-rollback`: a person's word, at a terminal, that nothing of a restore is left to roll back. It changes no instance.
//!
//! A restore that failed and whose target could not be put back, or whose recovery record cannot be read, keeps other restores of
//! its instance from beginning. Where the instance comes back the rollback is done by itself; this is for where it cannot.

use crate::cli::{print, terminal};
use crate::guard::ledger::AuditRecord;
use crate::model::caller::Caller;
use crate::model::fault::Fault;
use crate::model::job::{Job, JobKind, JobStatus, Phase};
use crate::model::text::clean_to;
use crate::model::time::written;
use crate::tools::App;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The restore's job, as the refusal of another restore names it
    #[arg(long)]
    job_id: String,
}

/// What to look at before the word is given.
const LOOK_AT: &str = "Look at the instance before you go on:
  INFO replication     it must follow nobody, or the master that you want it to follow; REPLICAOF NO ONE takes it off an address
                       where nobody serves any more
  CONFIG GET           repl-diskless-load, masterauth, masteruser and replica-read-only as you want them: a restore changes them
                       for its length
  DBSIZE, and a write  the data that it holds, old or new, and whether it takes writes
Clearing changes nothing there. It removes what this program has written down for the rollback, and lets other restores begin.";

/// Tries the rollback once more; where it stays pending, shows what is known and asks for the instance id.
///
/// # Errors
/// `job.not_found`; `person.no_channel` where there is no terminal; `state.failed`.
pub async fn run(app: &App, args: Args) -> Result<u8, Fault> {
    let state = &app.state;
    state.job(&args.job_id).await?;
    terminal::required(&app.config, "clear-rollback", &format!(" --job-id {}", args.job_id))?;
    app.provider.recover().await?;
    let job = state.job(&args.job_id).await?;
    if !is_pending(&job) {
        print(&format!("Nothing of {} is pending: {}. {}", job.id, job.status.as_str(), job.message));
        return Ok(0);
    }
    print(&known(&job));
    let question = format!("{LOOK_AT}\nTo clear it, type the instance id {} (Enter leaves it) > ", job.instance_id);
    if !terminal::types(question, &job.instance_id).await {
        return Ok(0);
    }
    let message = format!("{}; cleared by a person, not rolled back", known_of(&job));
    let record = AuditRecord {
        nonce: job.confirmation.clone(),
        ..AuditRecord::now(
            "restore.cleared",
            Caller::command_line().id(),
            &job.instance_id,
            format!("job {}: its rollback was pending, and a person at a terminal cleared it", job.id),
        )
    };
    if !state.clear_rollback(&job.id, &message, "Make a new plan with restore_instance.", record).await? {
        print("Too late: another process works on it, or has rolled it back meanwhile.");
        return Ok(0);
    }
    print("Cleared. Other restores of the instance may begin.");
    Ok(0)
}

/// Whether what is left of a restore waits: one whose work goes on in the cloud is followed, not cleared.
fn is_pending(job: &Job) -> bool {
    let interrupted = job.status == JobStatus::Running && job.phase != Phase::Detached;
    job.kind == JobKind::Restore && (job.rollback_pending || interrupted)
}

fn known_of(job: &Job) -> String {
    clean_to(if job.message.is_empty() { &job.stage } else { &job.message }, 400)
}

fn known(job: &Job) -> String {
    format!(
        "Restore {} of {} from {}, begun {}: {}.",
        job.id,
        job.instance_id,
        job.backup_id,
        written(job.created_at),
        known_of(job)
    )
}
