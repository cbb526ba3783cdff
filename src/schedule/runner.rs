//! Takes the backups that are due, of all instances, and drills the sets whose drill is, for as long as the process lives.
//!
//! Of several processes one takes each: a lease says which, and under it what is due is judged once more. The backup of one instance must not
//! keep the others waiting, nor a drill any backup.

use crate::model::calendar::share;
use crate::model::fault::Fault;
use crate::model::job::{Job, JobStatus};
use crate::model::policy::BackupPolicy;
use crate::model::time::written;
use crate::model::verification::{BY_SCHEDULE, Level};
use crate::provider::Provider;
use crate::schedule::drill::{DrillDue, drill_due};
use crate::schedule::due::{Due, due};
use crate::state::State;
use crate::state::leases::{Held, Lease};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often it is looked for instances that have to be looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often an instance is looked at: its policy, or the clock, may have been changed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Instances that are looked at within a tick, where all have to be looked at.
const LOOKS: usize = 50;
/// Backups at the same time: each takes disk, processor and memory of this machine.
const AT_ONCE: usize = 4;
/// By how much two clocks may differ over a tick before it is said that one was set, or that the machine slept.
const STEP_SECONDS: i64 = 2;

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

/// An instance, and what is known of when its next backup is due.
struct Watched {
    id: String,
    look_at: Instant,
    /// By that policy no backup and no drill is due from the first of these moments to the second.
    idle: Option<(BackupPolicy, Timestamp, Timestamp)>,
    /// The backup that is being taken.
    taking: Option<JoinHandle<()>>,
    /// The drill that is under way.
    drilling: Option<JoinHandle<()>>,
}

/// How much is done at the same time.
struct Places {
    backups: Semaphore,
    /// One at a time: each has a server of its own, with the whole set in memory.
    drills: Semaphore,
}

impl Schedule {
    /// Takes what is due of these instances until the process is asked to end.
    pub async fn run(self, ids: Vec<String>) {
        let places = Arc::new(Places { backups: Semaphore::new(AT_ONCE), drills: Semaphore::new(1) });
        let mut ticked = (Instant::now(), Timestamp::now());
        let watched = |id: String| Watched { id, look_at: ticked.0, idle: None, taking: None, drilling: None };
        let mut all: Vec<Watched> = ids.into_iter().map(watched).collect();
        look_at_all(&mut all);
        loop {
            let before = std::mem::replace(&mut ticked, (Instant::now(), Timestamp::now()));
            let of_the_clock = ticked.1.duration_since(before.1).as_secs();
            let passed = i64::try_from(ticked.0.duration_since(before.0).as_secs()).unwrap_or(i64::MAX);
            if (of_the_clock - passed).abs() >= STEP_SECONDS {
                look_at_all(&mut all);
            }
            for one in all.iter_mut().filter(|one| one.look_at <= Instant::now()) {
                if one.taking.as_ref().is_some_and(|taking| !taking.is_finished()) {
                    continue;
                }
                one.look_at = Instant::now() + LOOK_EVERY;
                if let Err(fault) = self.look(one, &places).await {
                    tracing::warn!(instance = %one.id, "it is not known whether a backup is due: {fault}");
                }
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_none() {
                return;
            }
        }
    }

    /// Looks at an instance. Its sets are listed only where something may be due, for there may be hundreds.
    async fn look(&self, one: &mut Watched, places: &Arc<Places>) -> Result<(), Fault> {
        let policy = self.provider.backup_policy(&one.id).await?;
        let policy = BackupPolicy { preferred_next_backup_time: None, ..policy };
        let now = Timestamp::now();
        if let Some((same, from, to)) = &one.idle
            && (*same == policy && (*from..*to).contains(&now))
        {
            one.look_at = one.look_at.min(Instant::now() + until(*to, now));
            return Ok(());
        }
        one.idle = None;
        let Some((due, drill)) = self.due(&one.id).await? else { return Ok(()) };
        match due {
            Due::At(next) => {
                // While one is under way nobody knows when the next is due.
                let Some(drill) = self.look_at_drill(one, drill, places) else { return Ok(()) };
                let next = next.min(drill);
                one.look_at = one.look_at.min(Instant::now() + until(next, now));
                one.idle = Some((policy, now, next));
            }
            Due::Now { .. } => {
                let (schedule, id, places) = (self.clone(), one.id.clone(), Arc::clone(places));
                one.taking = Some(tokio::spawn(async move { schedule.take(&id, &places).await }));
            }
        }
        Ok(())
    }

    /// Which backup of an instance is due, and which drill; `None` where this program takes no backups of it by a calendar.
    async fn due(&self, id: &str) -> Result<Option<(Due, DrillDue)>, Fault> {
        let scheduled = self.provider.scheduled(id).await?;
        let now = Timestamp::now();
        Ok(scheduled.map(|(calendar, of)| (due(&calendar, id, &of, now), drill_due(id, &of.drills, now))))
    }

    /// Begins a drill that is due. When the next one is; `None` while one is under way.
    fn look_at_drill(&self, one: &mut Watched, due: DrillDue, places: &Arc<Places>) -> Option<Timestamp> {
        if one.drilling.as_ref().is_some_and(|drilling| !drilling.is_finished()) {
            return None;
        }
        if let DrillDue::At(next) = due {
            return Some(next);
        }
        let (schedule, id, places) = (self.clone(), one.id.clone(), Arc::clone(places));
        one.drilling = Some(tokio::spawn(async move { schedule.drill(&id, &places).await }));
        None
    }

    async fn take(&self, id: &str, places: &Places) {
        let Some(Ok(_place)) = self.stop.run_until_cancelled(places.backups.acquire()).await else { return };
        if let Err(fault) = self.take_alone(id).await {
            tracing::warn!(instance = %id, "the backup that is due could not be taken: {fault}");
        }
    }

    async fn drill(&self, id: &str, places: &Places) {
        let Some(Ok(_place)) = self.stop.run_until_cancelled(places.drills.acquire()).await else { return };
        if let Err(fault) = Held::alone(self.state.clone(), &format!("drill/{id}"), self.drill_alone(id)).await {
            tracing::warn!(instance = %id, "the drill that is due could not be begun: {fault}");
        }
    }

    /// Takes the backup that is due, where no other process is at it.
    async fn take_alone(&self, id: &str) -> Result<(), Fault> {
        let name = format!("backup/{id}");
        let Some(lease) = Held::acquire(self.state.clone(), &name).await? else { return Ok(()) };
        let done = self.take_due(id, lease.lease()).await;
        lease.give_back().await;
        done
    }

    /// Waits until a job is over.
    async fn wait_for(&self, job: &Job) -> Result<Job, Fault> {
        let mut changes = self.state.changes();
        loop {
            let now = self.state.job(&job.id).await?;
            if now.status != JobStatus::Running {
                return Ok(now);
            }
            changes.changed().await;
        }
    }

    /// Begins the drill where it is due still, and waits for its end.
    async fn drill_alone(&self, id: &str) -> Result<(), Fault> {
        let Some((_, DrillDue::Now(set))) = self.due(id).await? else { return Ok(()) };
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let job = self.provider.verify((id, &set), Level::Drill, BY_SCHEDULE).await?;
        let ended = self.wait_for(&job).await?;
        if ended.status == JobStatus::Failed {
            tracing::warn!(instance = %id, job = %job.id, "the weekly drill failed: {}", ended.message);
        }
        Ok(())
    }

    /// Begins the backup where it is due still, and waits for its end, also where the process is asked to end meanwhile: whoever has the lease
    /// next must find the set, or a job that failed, and none that is about to end. A process that stood still behind its judgement begins nothing:
    /// whoever took the lease over judges anew.
    async fn take_due(&self, id: &str, under: &Lease) -> Result<(), Fault> {
        let Some((Due::Now { window, late }, _)) = self.due(id).await? else { return Ok(()) };
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let begins = window.saturating_add(share(id)).unwrap_or(window);
        let note = if late {
            format!("taken by the policy, late: it was due at {}", written(begins))
        } else {
            format!("taken by the policy, due at {}", written(begins))
        };
        // One that somebody else began is none of the calendar's: it is waited for, and the next look takes ours.
        let (job, _joined) = self.provider.take_due(id, &note, under).await?;
        self.wait_for(&job).await?;
        Ok(())
    }
}

/// Has all instances looked at soon, and not all at once.
fn look_at_all(all: &mut [Watched]) {
    let now = Instant::now();
    for (n, one) in all.iter_mut().enumerate() {
        one.look_at = now + TICK * u32::try_from(n / LOOKS).unwrap_or(u32::MAX);
    }
}

/// Time from a moment of the clock until another.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
