//! Jobs of a provider: begun once, run in the background to their end whoever waits for them, and their end written down.

use crate::model::fault::{Fault, Kind};
use crate::model::ids::new_id;
use crate::model::job::{Job, JobKind, JobStatus, stage};
use crate::state::State;
use crate::state::jobs::{Begun, Orphan};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The code by which a job's work says that it ends without the job ending.
pub const LET_GO: &str = "job.let_go";

/// The code of a job that a bug of ours ended. What it left behind is settled like that of a process that died.
const CRASHED: &str = "job.crashed";
/// How long somebody who asks for jobs waits for those of dead processes to be settled; that goes on without them.
const ADOPTING: Duration = Duration::from_secs(8);
/// Times the end of a job is written down, with growing waits, before it is left for another process.
const WRITINGS: u32 = 6;

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
    needs_rollback: fn(&Fault) -> bool,
}

impl Jobs {
    /// No jobs yet.
    #[must_use]
    pub fn new(provider: &'static str, state: Arc<State>, needs_rollback: fn(&Fault) -> bool) -> Self {
        Self { provider, state, stop: CancellationToken::new(), running: TaskTracker::new(), needs_rollback }
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
        let (state, needs_rollback) = (Arc::clone(&self.state), self.needs_rollback);
        let work = tokio::spawn(work);
        self.running.spawn(async move {
            let outcome = work.await.unwrap_or_else(|e| {
                Err(Fault::new(Kind::Unexpected, CRASHED, "the job died of a bug in this program").because(e))
            });
            if let Err(fault) = &outcome
                && fault.code != LET_GO
            {
                // A target of its own: a command that prints by itself what came of its job leaves it out of the log.
                tracing::warn!(target: "tair_backup_mcp::job_failed", job = %id, code = fault.code, cause = ?std::error::Error::source(fault), "{fault}");
            }
            let mut wait = Duration::from_millis(100);
            for _ in 0..WRITINGS {
                let written = match &outcome {
                    Err(fault) if fault.code == LET_GO => state.release(&id, &fault.message).await,
                    Err(fault) if fault.code == CRASHED || needs_rollback(fault) => {
                        state.fail_unsettled(&id, fault).await
                    }
                    outcome => state.finish(&id, outcome).await,
                };
                let Err(fault) = written else { return };
                tracing::error!(job = %id, "the job's end could not be written down: {fault}");
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2);
            }
            // Whoever looks next finds out anew what became of it.
            if let Err(fault) = state.release(&id, "its end could not be written down").await {
                tracing::error!(job = %id, "the job could not be given up: {fault}");
            }
        });
    }

    /// Adopts what nobody works on and has each settled by itself. All of it is seen to its end by this process, and waited
    /// for here only for a while: who asks may go away. What cannot be settled is given back, to be tried again.
    ///
    /// # Errors
    /// `state.failed`, `home.failed`.
    pub async fn adopt<F>(
        &self,
        provider: &'static str,
        settle: impl Fn(Orphan) -> F + Send + 'static,
    ) -> Result<(), Fault>
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let (state, running) = (Arc::clone(&self.state), self.running.clone());
        let adopting = self.running.spawn(async move {
            let mut settling = Vec::new();
            for orphan in state.adopt_orphans(provider).await? {
                let (id, status) = (orphan.job.id.clone(), orphan.job.status);
                let (state, work) = (Arc::clone(&state), tokio::spawn(settle(orphan)));
                settling.push(running.spawn(async move {
                    let settled = work.await.unwrap_or_else(|e| {
                        Err(Fault::new(Kind::Unexpected, CRASHED, "settling it died of a bug in this program")
                            .because(e))
                    });
                    let Err(fault) = settled else { return };
                    // Nobody may forget it: it stays an orphan, and is tried again at the next look.
                    tracing::warn!(job = %id, "what a dead process left cannot be settled yet: {fault}");
                    let how = if status == JobStatus::Failed {
                        format!("failed; {}", stage::UNSETTLED)
                    } else {
                        stage::INTERRUPTED.into()
                    };
                    if let Err(fault) = state.release(&id, &format!("{how}; {}", fault.message)).await {
                        tracing::error!(job = %id, "the job could not be given back: {fault}");
                    }
                }));
            }
            for one in settling {
                let _ = one.await;
            }
            Ok(())
        });
        match tokio::time::timeout(ADOPTING, adopting).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(e)) => {
                Err(Fault::new(Kind::Unexpected, CRASHED, "settling jobs died of a bug in this program").because(e))
            }
            Err(_) => Ok(()),
        }
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
