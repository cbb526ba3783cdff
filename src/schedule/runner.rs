//! Takes the backups that are due, of all instances, for as long as the process lives.
//!
//! Of several processes one takes each: a lease says which, and under it what is due is judged once more. It must not wait for one instance
//! with the others.

use crate::model::backup::Mode;
use crate::model::calendar::share;
use crate::model::fault::Fault;
use crate::model::job::JobStatus;
use crate::model::time::written;
use crate::provider::Provider;
use crate::schedule::due::{Due, due};
use crate::state::State;
use crate::state::leases::{Held, Leases};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How often it is looked for instances that have to be looked at.
const TICK: Duration = Duration::from_secs(5);
/// For how long nothing is asked of an instance of which nothing is due: its policy may have been changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Backups at the same time.
const AT_ONCE: usize = 4;
/// How often it is looked whether a backup has ended.
const ENDED_EVERY: Duration = Duration::from_millis(500);

/// What the work needs.
#[derive(Clone)]
pub struct Schedule {
    /// Who takes the backups.
    pub provider: Arc<dyn Provider>,
    /// Where leases and jobs are.
    pub state: Arc<dyn State>,
    /// Cancelled when the process is asked to end.
    pub stop: CancellationToken,
}

impl Schedule {
    /// Takes what is due of these instances until the process is asked to end.
    pub async fn run(self, ids: Vec<String>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        // Not all at once, neither at the start nor later.
        let first = |n: usize| Instant::now() + TICK * u32::try_from(n / 50).unwrap_or(u32::MAX);
        let mut looks: Vec<(Instant, String)> = ids.into_iter().enumerate().map(|(n, id)| (first(n), id)).collect();
        loop {
            for (at, id) in looks.iter_mut().filter(|(at, _)| *at <= Instant::now()) {
                *at = Instant::now() + LOOK_EVERY;
                let (schedule, id, places) = (self.clone(), id.clone(), Arc::clone(&places));
                match schedule.due(&id).await {
                    Ok(Some(Due::At(next))) => *at = Instant::now() + until(next).min(LOOK_EVERY),
                    Ok(Some(Due::Now { .. })) => drop(tokio::spawn(async move { schedule.take(&id, &places).await })),
                    Ok(None) => {}
                    Err(fault) => tracing::warn!(instance = %id, "it is not known whether a backup is due: {fault}"),
                }
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                return;
            }
        }
    }

    /// What is due of an instance; `None` where this program takes no backups of it by a calendar.
    async fn due(&self, id: &str) -> Result<Option<Due>, Fault> {
        let scheduled = self.provider.scheduled(id).await?;
        Ok(scheduled.map(|(calendar, history)| due(&calendar, id, &history, Timestamp::now())))
    }

    async fn take(&self, id: &str, places: &Semaphore) {
        let Ok(_place) = places.acquire().await else { return };
        match self.try_taking(id).await {
            Ok(()) => {}
            Err(fault) => tracing::warn!(instance = %id, "the backup that is due could not be taken: {fault}"),
        }
    }

    async fn try_taking(&self, id: &str) -> Result<(), Fault> {
        let leases: Arc<dyn Leases> = self.state.clone();
        let Some(lease) = Held::acquire(leases, &format!("backup/{id}")).await? else { return Ok(()) };
        let taken = self.under_the_lease(id).await;
        lease.give_back().await;
        taken
    }

    /// Begins the backup where it is due still, and waits for its end: until then the lease says that somebody is at it.
    async fn under_the_lease(&self, id: &str) -> Result<(), Fault> {
        let Some(Due::Now { window, late }) = self.due(id).await? else { return Ok(()) };
        let begins = window.saturating_add(share(id)).unwrap_or(window);
        let note = match late {
            true => format!("taken late, by the policy, for the window of {}", written(window)),
            false => format!("taken by the policy, due at {}", written(begins)),
        };
        // One that somebody else began is none of the calendar's: it is waited for, and the next look takes ours.
        let (job, joined) = self.provider.create_backup(id, Mode::Automated, &note).await?;
        tracing::info!(instance = %id, job = %job.id, joined, late, "a backup by the policy");
        loop {
            if self.stop.run_until_cancelled(tokio::time::sleep(ENDED_EVERY)).await.is_none() {
                return Ok(());
            }
            if self.state.job(&job.id).await?.status != JobStatus::Running {
                return Ok(());
            }
        }
    }
}

/// Time until a moment of the clock.
fn until(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
}
