//! Jobs of a provider: begun once, run in the background to their end whoever waits for them, and their end written down.

use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::job::{Job, JobKind};
use crate::state::State;
use crate::state::jobs::Begun;
use jiff::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The code by which a job's work says that it ends without the job ending.
pub const LET_GO: &str = "job.let_go";

/// Says that a job goes on elsewhere, followed by nobody from here on: it stays running in the store, for the next process
/// to adopt.
#[must_use]
pub fn let_go(stage: &str) -> Fault {
    Fault::new(Kind::Provider, LET_GO, stage)
}

/// What runs for a provider.
#[derive(Clone)]
pub struct Jobs {
    /// The provider's word in the store.
    provider: &'static str,
    /// Where jobs are written down.
    pub state: Arc<State>,
    /// Told when the process is asked to end.
    pub stop: CancellationToken,
    running: TaskTracker,
    /// Whether what a job failed of leaves something to be settled later: its undo record then stays.
    left_unsettled: fn(&Fault) -> bool,
}

impl Jobs {
    /// No jobs yet.
    #[must_use]
    pub fn new(provider: &'static str, state: Arc<State>, left_unsettled: fn(&Fault) -> bool) -> Self {
        Self { provider, state, stop: CancellationToken::new(), running: TaskTracker::new(), left_unsettled }
    }

    /// Begins a job and runs it in the background; or joins the one of its kind that runs on the instance.
    ///
    /// # Errors
    /// `job.busy` when another kind runs there; `state.failed`.
    pub async fn begin<F>(
        &self,
        kind: JobKind,
        instance_id: &str,
        backup_id: &str,
        work: impl FnOnce(Job) -> F,
    ) -> Result<Begun, Fault>
    where
        F: Future<Output = Result<String, Fault>> + Send + 'static,
    {
        let id = new_id(kind.prefix(), Timestamp::now())?;
        let begun = self.state.begin(self.provider, kind, &id, instance_id, backup_id).await?;
        if let Begun::Started(job) = &begun {
            self.run(job.id.clone(), work(job.clone()));
        }
        Ok(begun)
    }

    /// Runs work in the background as a job that stands in the store: one just begun, or one adopted.
    pub fn run(&self, id: String, work: impl Future<Output = Result<String, Fault>> + Send + 'static) {
        let (state, left_unsettled) = (Arc::clone(&self.state), self.left_unsettled);
        let work = tokio::spawn(work);
        self.running.spawn(async move {
            let outcome = work.await.unwrap_or_else(|e| {
                Err(Fault::new(Kind::Unexpected, "job.crashed", "the job died of a bug in this program").because(e))
            });
            if let Err(fault) = &outcome
                && fault.code != LET_GO
            {
                tracing::warn!(job = %id, code = fault.code, cause = ?std::error::Error::source(fault), "{fault}");
            }
            let written = match &outcome {
                Err(fault) if fault.code == LET_GO => state.release(&id, &fault.message).await,
                Err(fault) if left_unsettled(fault) => state.fail_unsettled(&id, fault).await,
                outcome => state.finish(&id, outcome).await,
            };
            if let Err(fault) = written {
                tracing::error!(job = %id, "the job's end could not be written down: {fault}");
            }
        });
    }

    /// Waits for all that runs to end, after telling it to stop if `cancel`.
    pub async fn shut_down(&self, cancel: bool) {
        if cancel {
            self.stop.cancel();
        }
        self.running.close();
        self.running.wait().await;
    }
}
