//! The store of jobs, as a trait: begun once, progressed, ended once; those of dead processes are handed out to be reconciled.

use crate::guard::ledger::AuditRecord;
use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, Phase, StoredRecovery};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::watch;

/// How long a change that another process has made may go unnoticed here: nobody notifies across processes.
const UNNOTIFIED: Duration = Duration::from_millis(500);

/// A job to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// Its id, made by the caller.
    pub id: &'a str,
    /// The provider whose job it is.
    pub provider: &'a str,
    /// What it does.
    pub kind: JobKind,
    /// To which instance.
    pub instance_id: &'a str,
    /// The set it makes or restores; empty while it has no id.
    pub backup_id: &'a str,
    /// Whether no other exclusive job may run on the instance beside it.
    pub exclusive: bool,
    /// Who asked; empty where that is not known.
    pub caller: &'a str,
    /// The confirmation that permits it; empty where none is needed.
    pub confirmation: &'a str,
}

/// What beginning a job came to.
#[derive(Debug)]
pub enum Begun {
    /// It is the caller's to do.
    Started(Job),
    /// One of this kind already runs on this instance.
    Joined(Job),
}

/// A job that nobody works on and that is not reconciled: its process died, or could not put its target back. Whoever holds
/// this is the one to reconcile it.
#[derive(Debug)]
pub struct Orphan {
    /// The job.
    pub job: Job,
    /// What its process wrote down in order to be rolled back or gone on with; `None` where it had touched nothing yet.
    pub recovery: Option<StoredRecovery>,
}

/// Waits for jobs to change.
#[derive(Debug)]
pub struct Changes {
    seen: watch::Receiver<u64>,
}

impl Changes {
    /// Changes from now on, as a store that counts them tells.
    #[must_use]
    pub const fn new(seen: watch::Receiver<u64>) -> Self {
        Self { seen }
    }

    /// Returns when some job has changed since the last call, or since these changes were asked for: at once where this process
    /// made the change, and after half a second in any case, because another process may have.
    pub async fn changed(&mut self) {
        if let Ok(Err(_)) = tokio::time::timeout(UNNOTIFIED, self.seen.changed()).await {
            // The store is gone, and would be so at once again.
            tokio::time::sleep(UNNOTIFIED).await;
        }
    }
}

/// The store of jobs. Every method that writes is durable when it returns.
///
/// All of them fail with `state.failed` where the store does, and with `state.damaged` on a stored word that is none of ours.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Begins a job, or joins the one of its kind that runs on the instance. Exclusive jobs of one instance exclude each other.
    ///
    /// # Errors
    /// `job.busy` when another kind runs; `restore.unsettled` where the rollback of an earlier restore is pending.
    async fn begin(&self, new: NewJob<'_>) -> Result<Begun, Fault>;

    /// Says how far a running job is: `done` of `total` bytes, 0 for unknown.
    async fn progress(&self, id: &str, phase: Phase, stage: &str, done: u64, total: u64) -> Result<(), Fault>;

    /// Writes down what a crash from here on would need rolled back.
    async fn save_recovery(&self, id: &str, recovery: &StoredRecovery) -> Result<(), Fault>;

    /// Names the set that a job makes, where its place has only now given it an id.
    async fn set_backup_id(&self, id: &str, backup_id: &str) -> Result<(), Fault>;

    /// Ends a running job: `Ok` with what came of it, or the fault. The recovery record goes with it. `audit` is the audit's
    /// line about that end: it is written together with the end or not at all, so that a job ends once in the audit too. `false`:
    /// the job had ended before, and nothing was written.
    async fn finish(&self, id: &str, outcome: Result<&str, &Fault>, audit: Option<AuditRecord>) -> Result<bool, Fault>;

    /// Ends a running job whose target could not be put back as it was. The recovery record stays, so that the job is adopted
    /// and reconciled later, and until then the job says that its rollback is pending. One that has no record left nothing.
    /// `audit` and what is returned are as with [`Self::finish`].
    async fn fail_with_rollback_pending(
        &self,
        id: &str,
        fault: &Fault,
        audit: Option<AuditRecord>,
    ) -> Result<bool, Fault>;

    /// Writes down what reconciling a job that had failed before came to: nothing is pending any more. Its code stays. `audit`
    /// and what is returned are as with [`Self::finish`], `false` meaning that nothing was pending.
    async fn reconciled(&self, id: &str, message: &str, hint: &str, audit: Option<AuditRecord>) -> Result<bool, Fault>;

    /// One job.
    ///
    /// # Errors
    /// `job.not_found`.
    async fn job(&self, id: &str) -> Result<Job, Fault>;

    /// The latest jobs, newest first, at most 50; of one instance if named.
    async fn jobs(&self, instance_id: Option<&str>) -> Result<Vec<Job>, Fault>;

    /// A provider's running jobs whose process is dead, and failed ones whose rollback is pending, each handed to exactly one
    /// caller.
    async fn adopt(&self, provider: &str) -> Result<Vec<Orphan>, Fault>;

    /// The backup sets of an instance that running backup jobs of living processes are making.
    async fn sets_in_the_making(&self, instance_id: &str) -> Result<Vec<String>, Fault>;

    /// Gives a job up, so that it is adopted again: its target could not be asked, or its work goes on elsewhere. `phase` is
    /// that of a running job; a failed one keeps its own.
    async fn release(&self, id: &str, phase: Phase, stage: &str) -> Result<(), Fault>;

    /// Changes of jobs from now on. Whoever waits for a job asks for these first and then reads the job, so that no change
    /// falls in between.
    fn changes(&self) -> Changes;
}

/// No job has that id.
#[must_use]
pub fn not_found(id: &str) -> Fault {
    Fault::new(Kind::NotFound, "job.not_found", format!("there is no job {}", crate::model::text::quoted(id)))
        .hint("Call describe_jobs without job_id for the list.")
}
