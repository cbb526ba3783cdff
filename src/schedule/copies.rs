//! Brings the sets of instances to their second place (`copy_to`) as they come, and lets expire there what the policy keeps no longer.
//!
//! Of several processes one copies an instance's sets at a time: a lease says which. It must not touch a job, nor what came of one: what fails is
//! tried again, less and less often.

use crate::model::fault::Fault;
use crate::model::job::JobStatus;
use crate::provider::Provider;
use crate::provider::local::vault_copy::{Copier, Progress};
use crate::state::State;
use crate::state::leases::Held;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How often it is looked for jobs that have ended, and for new sets where none has.
const TICK: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(300);
/// Until what failed is tried again, at first and at most.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);
/// How often the second place is asked for all it has, and what expires there is looked for.
const ANEW: Duration = Duration::from_secs(3600);
/// Instances whose sets are copied at the same time.
const AT_ONCE: usize = 2;

/// What the work needs.
pub struct Copies {
    /// Who knows the policies.
    pub provider: Arc<dyn Provider>,
    /// Where leases are.
    pub state: Arc<dyn State>,
    /// The instances that have a second place, each with who copies there.
    pub copiers: Vec<(String, Copier)>,
    /// Cancelled when the process is asked to end.
    pub stop: CancellationToken,
}

impl Copies {
    /// Copies until the process is asked to end; what is on its way then is taken back.
    pub async fn run(self) {
        let places = Semaphore::new(AT_ONCE);
        futures::future::join_all(self.copiers.iter().map(|(id, copier)| self.keep(id, copier, &places))).await;
    }

    async fn keep(&self, id: &str, copier: &Copier, places: &Semaphore) {
        let (mut known, mut anew) = (BTreeSet::new(), None::<Instant>);
        let mut failures = 0_u32;
        while !self.stop.is_cancelled() {
            if anew.is_none_or(|at| at.elapsed() >= ANEW) {
                known.clear();
                anew = None;
            }
            let ended = self.ended(id).await;
            let done = match self.stop.run_until_cancelled(places.acquire()).await {
                Some(Ok(_place)) => self.alone(id, copier, &mut known, &mut anew).await,
                _ => return,
            };
            let wait = match done {
                Ok(()) => {
                    failures = 0;
                    EVERY
                }
                Err(fault) => {
                    let cause = std::error::Error::source(&fault);
                    tracing::warn!(instance = %id, cause = ?cause, "not all of its sets are at {}: {fault}", copier.place());
                    failures += 1;
                    AGAIN_AFTER.saturating_mul(1 << (failures - 1).min(16)).min(AGAIN_AFTER_MAX)
                }
            };
            let waits = Instant::now();
            // What failed may be one set's own: a new one does not wait for that.
            while waits.elapsed() < wait && self.ended(id).await == ended {
                if self.stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// The number of jobs of an instance that have ended well: where there are more, there may be more sets. `None` where nobody knows.
    async fn ended(&self, id: &str) -> Option<usize> {
        let jobs = self.state.jobs(Some(id)).await.ok()?;
        Some(jobs.iter().filter(|job| job.status == JobStatus::Succeeded).count())
    }

    /// Copies where no other process is at it.
    async fn alone(
        &self,
        id: &str,
        copier: &Copier,
        known: &mut BTreeSet<String>,
        anew: &mut Option<Instant>,
    ) -> Result<(), Fault> {
        let Some(lease) = Held::acquire(self.state.clone(), &format!("copy/{id}")).await? else { return Ok(()) };
        let progress: Arc<Progress> = Arc::default();
        let work = self.copy(id, copier, known, anew, &progress);
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            () = self.stop.cancelled() => {
                progress.stop();
                work.await
            }
        };
        lease.give_back().await;
        done
    }

    async fn copy(
        &self,
        id: &str,
        copier: &Copier,
        known: &mut BTreeSet<String>,
        anew: &mut Option<Instant>,
        progress: &Arc<Progress>,
    ) -> Result<(), Fault> {
        // What keeps one set from being copied keeps none from expiring.
        let brought = copier.bring(id, known, progress).await;
        if anew.is_some() || progress.is_stopped() {
            return brought;
        }
        let policy = match self.provider.backup_policy(id).await {
            Ok(policy) => policy,
            Err(fault) => return brought.and(Err(fault)),
        };
        *anew = Some(Instant::now());
        // Whoever copies there may have no right to delete there.
        match copier.expire(id, &policy).await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(instance = %id, gone, "copies at {} have expired", copier.place()),
            Err(fault) => {
                tracing::warn!(instance = %id, "what has expired at {} could not be deleted: {fault}", copier.place());
                if brought.is_err() {
                    // The place may be out of reach: this is tried again with that.
                    *anew = None;
                }
            }
        }
        brought
    }
}
