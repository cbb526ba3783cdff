//! Jobs of a provider: begun once, run in the background to their end whoever waits for them, and their beginning and end written down, in
//! the store and in the audit.

mod reconcile;

use crate::guard::ledger::AuditRecord;
use crate::guard::permit::Permit;
use crate::guard::plan::Plan;
use crate::model::access::Access;
use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::job::{Job, JobEnd, JobKind, JobStatus, Phase, RecoveryKind, StoredRecovery, Unfinished};
use crate::provider::audited::{self, Right};
pub use crate::provider::jobs::reconcile::Reconciled;
use crate::state::State;
use crate::state::jobs::{Begun, NewJob};
use crate::state::leases::Lease;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Times the end of a job is written down, with growing waits, before it is left for another process.
const WRITINGS: u32 = 6;

/// Tells whoever waits for a job's [`outcome`](Jobs::outcome) what its work came to.
pub fn tell<T: Clone>(waiting: oneshot::Sender<Result<T, Fault>>, done: &Result<T, Fault>) {
    // Who has stopped waiting finds the job's end written down.
    let _ = waiting.send(match done {
        Ok(done) => Ok(done.clone()),
        Err(fault) => Err(fault.without_cause()),
    });
}

/// A recovery record in its own type: what a job writes down before it touches anything.
pub trait Recoverable: Serialize + DeserializeOwned {
    /// The kind of job whose record this is.
    const KIND: RecoveryKind;

    /// The record as it is stored.
    ///
    /// # Errors
    /// `job.undo`: a bug.
    fn stored(&self) -> Result<StoredRecovery, Fault> {
        let json = serde_json::to_string(self).map_err(|e| {
            Fault::new(Kind::Unexpected, "job.undo", "the recovery record could not be written").because(e)
        })?;
        Ok(StoredRecovery { kind: Self::KIND, json })
    }

    /// Reads a record back. `None`: nothing was written, because nothing had been touched.
    ///
    /// # Errors
    /// `state.damaged` where the text is no such record: then it is not known what was touched.
    fn read(stored: Option<&StoredRecovery>) -> Result<Option<Self>, Fault> {
        let damaged = || {
            let message = "the job's recovery record cannot be read: it is not known what the job has touched";
            Fault::new(Kind::Damaged, "state.damaged", message)
                .hint("Look at the instance: whom it follows, its settings, whether it can be written.")
        };
        match stored {
            None => Ok(None),
            Some(stored) if stored.kind != Self::KIND => Err(damaged()),
            Some(stored) => serde_json::from_str(&stored.json).map(Some).map_err(|e| damaged().because(e)),
        }
    }
}

/// The jobs that run for a provider.
#[derive(Clone)]
pub struct Jobs {
    /// The provider's name in the store.
    provider: &'static str,
    /// Where jobs are written down.
    pub state: Arc<dyn State>,
    /// As whom and where the provider's cloud is called; `None` where there is no cloud.
    access: Option<Access>,
    /// Cancelled when the process is asked to end.
    pub stop: CancellationToken,
    running: TaskTracker,
}

impl Jobs {
    /// The jobs of a provider, of which none runs yet.
    #[must_use]
    pub fn new(provider: &'static str, state: Arc<dyn State>) -> Self {
        Self { provider, state, access: None, stop: CancellationToken::new(), running: TaskTracker::new() }
    }

    /// The same jobs, bound to an account, region and endpoint: those begun carry it, and only what was begun there is adopted.
    #[must_use]
    pub fn at(&self, access: Access) -> Self {
        Self { access: Some(access), ..self.clone() }
    }

    /// Begins a job that takes no permit, for a caller, and runs it in the background; or joins the one of its kind that runs on the instance.
    /// `under`: the lease that must still be held then; `None` where none is needed.
    ///
    /// # Errors
    /// `job.busy` when another kind runs there, or the lease is another's; `state.failed`.
    pub async fn begin<F>(
        &self,
        kind: JobKind,
        instance_id: &str,
        backup_id: &str,
        caller: &str,
        under: Option<&Lease>,
        work: impl FnOnce(Job) -> F,
    ) -> Result<Begun, Fault>
    where
        F: Future<Output = JobEnd> + Send + 'static,
    {
        let by = Right { caller, ..Right::default() };
        self.begin_for(kind, (instance_id, backup_id), by, under, work).await
    }

    /// Begins what is permitted and runs it in the background. The work gets the plan, and the permit to make its grant of. The
    /// start of the job is in the audit before anything is touched, and so is its end, whichever process ends it.
    ///
    /// # Errors
    /// `job.busy` when any job runs there, and then nothing came of the permit; `restore.unsettled`; `state.failed`.
    pub async fn begin_permitted<F>(
        &self,
        permit: Permit,
        kind: JobKind,
        backup_id: &str,
        work: impl FnOnce(Job, Plan, Permit) -> F + Send + 'static,
    ) -> Result<Job, Fault>
    where
        F: Future<Output = JobEnd> + Send + 'static,
    {
        let plan = permit.plan().clone();
        let instance_id = plan.instance_id.clone();
        let (caller, nonce) = (permit.caller().to_owned(), permit.nonce().to_owned());
        let human_verified = Some(permit.human_verified());
        let by = Right { caller: &caller, confirmation: &nonce, human_verified };
        let begin = self.begin_for(kind, (&instance_id, backup_id), by, None, |job| work(job, plan, permit));
        let begun = begin.await?;
        let other = match begun {
            Begun::Started(job) => return Ok(job),
            Begun::Joined(other) => other,
        };
        let what = match kind {
            JobKind::Clone => format!("clone {} of {instance_id} is running", other.id),
            kind => format!("{} {} is running on {instance_id}", kind.as_str(), other.id),
        };
        let hint = format!("describe_jobs with job_id {} shows when it has ended; then make a new plan.", other.id);
        Err(Fault::new(Kind::Provider, "job.busy", what).hint(hint))
    }

    /// Begins a job that takes no permit, for a caller, beside whatever runs on the instance; `backup_id` is empty where it is about no set.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn begin_beside<F>(
        &self,
        kind: JobKind,
        (instance_id, backup_id): (&str, &str),
        caller: &str,
        work: impl FnOnce(Job) -> F,
    ) -> Result<Job, Fault>
    where
        F: Future<Output = JobEnd> + Send + 'static,
    {
        let (job, _) = self.begin(kind, instance_id, backup_id, caller, None, work).await?.into_job();
        Ok(job)
    }

    /// Waits until a job's end is written down, and returns what its work told about it by [`tell`].
    ///
    /// # Errors
    /// What the work failed with; `job.crashed` where it told nothing.
    pub async fn outcome<T>(&self, job: &Job, told: oneshot::Receiver<Result<T, Fault>>) -> Result<T, Fault> {
        let told = told.await;
        let mut changes = self.state.changes();
        while self.state.job(&job.id).await?.status == JobStatus::Running {
            changes.changed().await;
        }
        told.unwrap_or_else(|_| {
            Err(Fault::new(Kind::Unexpected, "job.crashed", "the job died of a bug in this program"))
        })
    }

    async fn begin_for<F>(
        &self,
        kind: JobKind,
        (instance_id, backup_id): (&str, &str),
        by: Right<'_>,
        under: Option<&Lease>,
        work: impl FnOnce(Job) -> F,
    ) -> Result<Begun, Fault>
    where
        F: Future<Output = JobEnd> + Send + 'static,
    {
        let id = new_id(kind.prefix(), Timestamp::now())?;
        let provider = self.provider;
        let access = self.access.as_ref();
        // A clone here is made of a set, and its source may be backed up meanwhile.
        let leaves_alone = kind == JobKind::Clone && access.is_none();
        let exclusive = kind.is_exclusive() && !leaves_alone;
        let id = id.as_str();
        let began = audited::began(id, kind, (instance_id, backup_id), by);
        let (caller, confirmation, audit) = (by.caller, by.confirmation, Some(&began));
        let new = NewJob {
            id,
            provider,
            kind,
            instance_id,
            backup_id,
            exclusive,
            caller,
            confirmation,
            access,
            under,
            audit,
        };
        let begun = self.state.begin(new).await?;
        if let Begun::Started(job) = &begun {
            self.run(job.clone(), work(job.clone()));
        }
        Ok(begun)
    }

    /// Runs work in the background as a job that is in the store: one just begun, or one adopted.
    pub fn run(&self, job: Job, work: impl Future<Output = JobEnd> + Send + 'static) {
        let (jobs, work) = (self.clone(), tokio::spawn(work));
        self.running.spawn(async move {
            // What a bug left behind is reconciled like that of a process that died.
            let end = work.await.unwrap_or_else(|e| {
                let message = "the job died of a bug in this program";
                Err(Unfinished::RollbackPending(Fault::new(Kind::Unexpected, "job.crashed", message).because(e)))
            });
            if let Err(Unfinished::Failed(fault) | Unfinished::RollbackPending(fault)) = &end {
                // A target of its own: a command that prints by itself what came of its job leaves it out of the log.
                tracing::warn!(target: "tair_backup_mcp::job_failed", job = %job.id, instance = %job.instance_id, code = fault.code, cause = fault.cause(), "{fault}");
            }
            jobs.end(&job, &end).await;
            jobs.state.leave(&job.id);
        });
    }

    /// Writes down how a job's work ended. A job that cannot even be written about is left for the next process.
    async fn end(&self, job: &Job, end: &JobEnd) {
        let mut wait = Duration::from_millis(100);
        let now = match job.kind {
            JobKind::Backup | JobKind::Restore => self.state.job(&job.id).await.ok(),
            _ => None,
        };
        for _ in 0..WRITINGS {
            let line = audited::ended(job, end, now.as_ref());
            let written = match end {
                Ok(message) => self.state.finish(&job.id, Ok(message), line).await,
                Err(Unfinished::Failed(fault)) => self.state.finish(&job.id, Err(fault), line).await,
                Err(Unfinished::RollbackPending(fault)) => {
                    self.state.fail_with_rollback_pending(&job.id, fault, line).await
                }
                Err(Unfinished::Detached(stage)) => {
                    self.state.release(&job.id, Phase::Detached, stage).await.map(|()| true)
                }
            };
            let Err(fault) = written else { return };
            tracing::error!(job = %job.id, cause = fault.cause(), "the job's end could not be written down: {fault}");
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
        }
        // Whoever looks next reconciles the job.
        if let Err(fault) = self.state.release(&job.id, Phase::Interrupted, "its end could not be written down").await {
            tracing::error!(job = %job.id, "the job could not be given up: {fault}");
        }
    }

    /// Says how far a job is: `done` of `total` bytes. `false`: it has ended, or is another process's by now.
    ///
    /// # Errors
    /// `state.failed`.
    pub async fn progress(&self, job: &Job, stage: &str, done: u64, total: u64) -> Result<bool, Fault> {
        self.state.progress(&job.id, Phase::Working, stage, done, total).await
    }

    /// Writes down what a crash from here on would need rolled back. Durable when it returns.
    ///
    /// # Errors
    /// `state.failed`, `job.undo`.
    pub async fn save_recovery(&self, job: &Job, record: &impl Recoverable) -> Result<(), Fault> {
        self.state.save_recovery(&job.id, &record.stored()?).await
    }

    /// Writes down in the audit what came of something that cannot be undone any more: a full disk must not turn it into a
    /// failure.
    pub async fn audit(&self, record: AuditRecord) {
        let (event, instance) = (record.event.clone(), record.instance_id.clone());
        if let Err(fault) = self.state.record(record).await {
            tracing::error!(instance = %instance, event = %event, "the audit could not be written: {fault}");
        }
    }

    /// Runs what is no job, and must not be cut off between two of its steps: whoever shuts down waits for its end.
    ///
    /// # Errors
    /// `job.crashed`: a bug.
    pub async fn whole<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Fault> {
        let crashed = "the call died of a bug in this program";
        self.running.spawn(work).await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", crashed).because(e))
    }

    /// Waits for all that runs to end; with `cancel` it is asked to stop.
    pub async fn shut_down(&self, cancel: bool) {
        if cancel {
            self.stop.cancel();
        }
        self.running.close();
        self.running.wait().await;
    }
}
