//! Brings the sets and the logs of instances to their second place (`copy_to`) as they come, and lets sets expire there that the policy keeps no
//! longer; what is needed there for longer than it is locked stays locked.
//!
//! Of several processes one copies an instance's sets at a time, and one its log: leases say which. It must not touch a job, nor what came of one:
//! what fails is tried again, less and less often.

use crate::model::fault::Fault;
use crate::model::policy::BackupPolicy;
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
/// Until what failed is tried again, at first and at most; of a log at most as long as between two looks for sets.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);
/// How often the second place is asked for all it has, and what expires there is looked for.
const ANEW: Duration = Duration::from_secs(3600);
/// Instances whose sets are copied at the same time, and instances whose logs are: the first copy of a log must not keep others waiting.
const AT_ONCE: usize = 2;
const LOGS_AT_ONCE: usize = 4;
/// How many times as long as a look at a log took it is waited for the next one: a log of years takes long to list.
const WAITS: u32 = 10;

/// What the work needs.
#[derive(Clone)]
pub struct Copies {
    /// Who knows the policies.
    pub provider: Arc<dyn Provider>,
    /// Where leases are.
    pub state: Arc<dyn State>,
    /// The instances that have a second place, each with who copies there.
    pub copiers: Vec<(String, Copier)>,
    /// How often something new comes to a log.
    pub seal_after: Duration,
    /// Cancelled when the process is asked to end.
    pub stop: CancellationToken,
}

/// What of an instance is copied, and how often in a row that has failed.
struct Failures<'a> {
    id: &'a str,
    /// What is copied, with its verb.
    what: &'static str,
    place: &'a str,
    in_a_row: u32,
}

impl Failures<'_> {
    /// Tells what failed, and how long it is waited until it is tried again.
    fn add(&mut self, fault: &Fault) -> Duration {
        tracing::warn!(instance = %self.id, cause = fault.cause(), "not all of its {} at {}: {fault}", self.what, self.place);
        let wait = AGAIN_AFTER.saturating_mul(1 << self.in_a_row.min(16)).min(AGAIN_AFTER_MAX);
        self.in_a_row += 1;
        wait
    }
}

impl Copies {
    /// Copies until the process is asked to end; what is on its way then is taken back.
    pub async fn run(self) {
        let (sets, logs) = (Semaphore::new(AT_ONCE), Semaphore::new(LOGS_AT_ONCE));
        let all = self.copiers.iter().map(|(id, copier)| {
            futures::future::join(self.keep_sets(id, copier, &sets), self.keep_log(id, copier, &logs))
        });
        futures::future::join_all(all).await;
    }

    async fn keep_sets(&self, id: &str, copier: &Copier, places: &Semaphore) {
        let (mut known, mut anew) = (BTreeSet::new(), None::<Instant>);
        let mut failures = Failures { id, what: "sets are", place: copier.place(), in_a_row: 0 };
        while !self.stop.is_cancelled() {
            if anew.is_none_or(|at| at.elapsed() >= ANEW) {
                known.clear();
                anew = None;
            }
            let ended = self.ended(id).await;
            let copied = self.sets(id, copier, &mut known, &mut anew);
            let Some(wait) = self.once(places, &mut failures, copied, |_| EVERY).await else { return };
            let waits = Instant::now();
            // What failed may be one set's own: a new one does not wait for that.
            while waits.elapsed() < wait && self.ended(id).await == ended {
                if self.stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                    return;
                }
            }
        }
    }

    async fn keep_log(&self, id: &str, copier: &Copier, places: &Semaphore) {
        // What could not be copied is told once.
        let mut told = 0;
        let mut failures = Failures { id, what: "log is", place: copier.place(), in_a_row: 0 };
        let wait_after = |took: Duration| self.seal_after.max(took.saturating_mul(WAITS));
        while !self.stop.is_cancelled() {
            let copied = self.log(id, copier, &mut told);
            let Some(wait) = self.once(places, &mut failures, copied, wait_after).await else { return };
            if self.stop.run_until_cancelled(tokio::time::sleep(wait.min(EVERY))).await.is_none() {
                return;
            }
        }
    }

    /// Does work once there is a place for it, and says how long it is waited for the next: as `wait_after` says of the time that this took, or
    /// longer each time while it fails. `None`: the process is asked to end.
    async fn once(
        &self,
        places: &Semaphore,
        failures: &mut Failures<'_>,
        work: impl Future<Output = Result<(), Fault>>,
        wait_after: impl FnOnce(Duration) -> Duration,
    ) -> Option<Duration> {
        let _place = self.stop.run_until_cancelled(places.acquire()).await?.ok()?;
        let begun = Instant::now();
        match work.await {
            Ok(()) => {
                failures.in_a_row = 0;
                Some(wait_after(begun.elapsed()))
            }
            Err(fault) => Some(failures.add(&fault)),
        }
    }

    /// The number of jobs of an instance that have ended well: where there are more, there may be more sets. `None` where nobody knows.
    async fn ended(&self, id: &str) -> Option<u64> {
        self.state.succeeded(id).await.ok()
    }

    /// Does work that ends soon once `progress` is stopped, as it is when the process is asked to end.
    async fn unless_stopped<T>(&self, progress: &Progress, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            () = self.stop.cancelled() => {
                progress.stop();
                work.await
            }
        }
    }

    /// Copies the sets where no other process is at it.
    async fn sets(
        &self,
        id: &str,
        copier: &Copier,
        known: &mut BTreeSet<String>,
        anew: &mut Option<Instant>,
    ) -> Result<(), Fault> {
        let progress = Progress::default();
        let work = self.unless_stopped(&progress, self.copy(id, copier, known, anew, &progress));
        Held::alone(self.state.clone(), &format!("copy/{id}"), work).await.map(drop)
    }

    /// Copies the log where no other process is at it; `told` is how many objects of it could not be copied when that was told last.
    async fn log(&self, id: &str, copier: &Copier, told: &mut u64) -> Result<(), Fault> {
        let progress = Progress::default();
        let work = self.unless_stopped(&progress, copier.bring_log(id, &progress));
        let copied = Held::alone(self.state.clone(), &format!("copy_log/{id}"), work).await;
        if progress.is_stopped() {
            return Ok(());
        }
        let Some(copied) = copied? else { return Ok(()) };
        let left = copied.damaged + copied.conflicts + copied.no_key;
        if let Some(fault) = copied.faults.first().filter(|_| left != *told) {
            tracing::warn!(instance = %id, left, "objects of its log are not copied to {}: {fault}", copier.place());
        }
        *told = left;
        Ok(())
    }

    async fn copy(
        &self,
        id: &str,
        copier: &Copier,
        known: &mut BTreeSet<String>,
        anew: &mut Option<Instant>,
        progress: &Progress,
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
        if let Err(fault) = self.apply(id, copier, &policy, progress).await {
            tracing::warn!(instance = %id, "what has expired at {} could not be deleted: {fault}", copier.place());
            if brought.is_err() {
                // The place may be out of reach: this is tried again with that.
                *anew = None;
            }
        }
        brought
    }

    /// Lets what the policy keeps at the second place stay locked, and what it keeps no longer go. The place is asked once for all it has.
    async fn apply(&self, id: &str, copier: &Copier, policy: &BackupPolicy, progress: &Progress) -> Result<(), Fault> {
        let there = copier.there(id).await?;
        // First: a deletion that fails keeps no lock from being extended.
        if let Err(fault) = copier.extend_locks(&there, policy, progress).await {
            tracing::warn!(instance = %id, "locks at {} could not be extended: {fault}", copier.place());
        }
        let gone = copier.expire(&there, policy).await?;
        if gone > 0 {
            tracing::info!(instance = %id, gone, "copies at {} have expired", copier.place());
        }
        Ok(())
    }
}
