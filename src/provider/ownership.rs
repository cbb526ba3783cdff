//! Whether what this process is about to do is still its own to do: a process that was silent for too long is taken for dead, and another goes
//! on with its jobs.
//!
//! It must not decide what becomes of a target: whoever asks knows which of its steps cannot be taken beside another.

use crate::model::fault::Fault;
use crate::model::job::Job;
use crate::provider::jobs::Jobs;
use crate::state::jobs::{cut_off, taken_over};

/// Ends work whose job is another process's by now. That its progress could not be written down ends none: the work matters more.
///
/// # Errors
/// `job.taken_over`.
pub fn unless_taken_over(job: &Job, progress: Result<bool, Fault>) -> Result<(), Fault> {
    match progress {
        Ok(true) => Ok(()),
        Ok(false) => Err(taken_over(&job.id)),
        Err(fault) => {
            tracing::warn!(job = %job.id, "the progress of a job could not be written down: {fault}");
            Ok(())
        }
    }
}

impl Jobs {
    /// Says how far a job is, right before a step that must not be taken where another process goes on with the job, or may by now.
    ///
    /// # Errors
    /// `job.taken_over`; `job.cut_off` where the store cannot be asked and this process may have been taken for dead.
    pub async fn still_ours(&self, job: &Job, stage: &str, done: u64, total: u64) -> Result<(), Fault> {
        match self.progress(job, stage, done, total).await {
            Err(fault) if self.state.may_be_taken_for_dead() => Err(cut_off(&job.id).because(fault)),
            progress => unless_taken_over(job, progress),
        }
    }
}
