//! Jobs that nobody works on any more: adopted, each reconciled by itself, and what came of it written down.

use crate::model::fault::{Fault, Kind};
use crate::model::job::{Job, JobKind, Phase, Unfinished};
use crate::provider::audited;
use crate::provider::jobs::Jobs;
use crate::state::jobs::{Orphan, stage_of_orphan};
use std::time::Duration;

/// How long somebody who asks for jobs waits for those of dead processes to be reconciled; that goes on without them.
const ADOPTING: Duration = Duration::from_secs(8);

/// What reconciling a job that nobody worked on came to.
#[derive(Debug)]
pub enum Reconciled {
    /// The job was running, and this is how it ended.
    Ended(Result<String, Fault>),
    /// It was running and has failed, and what it did cannot be undone yet.
    RollbackPending(Fault),
    /// It had failed before, with a code that stays; nothing of it is pending any more.
    RolledBack {
        /// What happened, for the reader.
        message: String,
        /// The next step for whoever reads of the job.
        hint: String,
    },
    /// This process goes on with the job.
    Resumed,
}

impl Jobs {
    /// Adopts the jobs that nobody works on and has each reconciled by itself. This process sees all of them to their end, and they are waited
    /// for here only for a while: who asks may go away. What cannot be reconciled is given back, to be tried again.
    ///
    /// # Errors
    /// `state.failed`, `home.failed`.
    pub async fn adopt<F>(&self, reconcile: impl Fn(Orphan) -> F + Send + 'static) -> Result<(), Fault>
    where
        F: Future<Output = Result<Reconciled, Fault>> + Send + 'static,
    {
        let crashed = |e: tokio::task::JoinError| {
            Fault::new(Kind::Unexpected, "job.crashed", "reconciling died of a bug in this program").because(e)
        };
        let jobs = self.clone();
        let adopting = self.running.spawn(async move {
            let mut reconciling = Vec::new();
            for orphan in jobs.state.adopt(jobs.provider, jobs.access.as_ref()).await? {
                let (jobs, job) = (jobs.clone(), orphan.job.clone());
                let (running, work) = (jobs.running.clone(), tokio::spawn(reconcile(orphan)));
                reconciling.push(running.spawn(async move {
                    let written = match work.await.unwrap_or_else(|e| Err(crashed(e))) {
                        // Whoever goes on with the job leaves it.
                        Ok(Reconciled::Resumed) => return,
                        Ok(reconciled) => jobs.write_reconciled(&job, reconciled).await,
                        Err(fault) => Err(fault),
                    };
                    if let Err(fault) = written {
                        jobs.give_back(&job, &fault).await;
                    }
                    jobs.state.leave(&job.id);
                }));
            }
            for one in reconciling {
                let _ = one.await;
            }
            Ok(())
        });
        match tokio::time::timeout(ADOPTING, adopting).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(e)) => Err(crashed(e)),
            Err(_) => Ok(()),
        }
    }

    async fn write_reconciled(&self, job: &Job, reconciled: Reconciled) -> Result<(), Fault> {
        match reconciled {
            Reconciled::Resumed => Ok(()),
            Reconciled::Ended(outcome) => {
                let end = outcome.map_err(Unfinished::Failed);
                self.end(job, &end).await;
                Ok(())
            }
            Reconciled::RollbackPending(fault) => {
                self.end(job, &Err(Unfinished::RollbackPending(fault))).await;
                Ok(())
            }
            Reconciled::RolledBack { message, hint } => {
                // The failure has its line already. Only of a restore is there more to say: it was rolled back.
                let line = (job.kind == JobKind::Restore).then(|| audited::line(job, "restore.rolled_back", &message));
                self.state.reconciled(&job.id, &message, &hint, line).await.map(drop)
            }
        }
    }

    /// Nobody may forget a job that cannot be reconciled yet: it stays an orphan, and is tried again at the next look.
    async fn give_back(&self, job: &Job, why: &Fault) {
        tracing::warn!(job = %job.id, cause = why.cause(), "what a dead process left cannot be reconciled yet: {why}");
        let stage = stage_of_orphan(job, &why.message);
        if let Err(fault) = self.state.release(&job.id, Phase::Interrupted, &stage).await {
            tracing::error!(job = %job.id, "the job could not be given back: {fault}");
        }
    }
}
