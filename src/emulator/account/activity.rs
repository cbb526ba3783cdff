//! The activity of this process: restores and fillings under way, tasks that lock or unlock writes, and states that are reported for longer
//! than they last because an injected fault makes them slow.
//!
//! In memory alone. The activity of another process, or of a dead one, shows in the provider's jobs.

use jiff::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A restore, as reported.
#[derive(Debug, Clone, Copy)]
struct Restore {
    running: bool,
    /// Reported as running until then, also when it has ended.
    until: Instant,
}

/// A backup whose end is reported late.
#[derive(Debug, Clone, Copy)]
struct Delayed {
    from: Instant,
    delay: Duration,
}

/// A task that locks or unlocks writes, as the task centre lists it.
#[derive(Debug, Clone)]
pub struct LockTask {
    /// The number that the call's reply gave.
    pub number: i64,
    /// The instance that is locked or unlocked.
    pub instance_id: String,
    /// The action that began the task.
    pub action: String,
    /// When the task began.
    pub at: Timestamp,
    /// When the task ended, and whether it did what it was for.
    pub ended: Option<(Timestamp, bool)>,
}

/// Between two looks at a restore that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So many tasks that lock or unlock are listed, the newest.
const TASKS: usize = 1000;

/// The activity of this process, by instance or backup.
#[derive(Debug, Default)]
pub struct Activity {
    restores: Mutex<HashMap<String, Restore>>,
    delayed: Mutex<HashMap<String, Delayed>>,
    filling: Mutex<HashSet<String>>,
    write_locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    tasks: Mutex<VecDeque<LockTask>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Activity {
    /// Whether an instance is being restored.
    pub fn is_restoring(&self, instance_id: &str) -> bool {
        lock(&self.restores).get(instance_id).is_some_and(|r| r.running || r.until > Instant::now())
    }

    /// Marks an instance as being restored, for `delay` at least; false where it is already.
    pub fn begin_restoring(&self, instance_id: &str, delay: Duration) -> bool {
        let mut restores = lock(&self.restores);
        let now = Instant::now();
        if restores.get(instance_id).is_some_and(|r| r.running || r.until > now) {
            return false;
        }
        restores.insert(instance_id.to_owned(), Restore { running: true, until: now + delay });
        true
    }

    /// Waits until no restore of an instance is under way, for so long at most; not at all for one that is reported for longer than it
    /// takes, because it is to be slow.
    pub async fn restored(&self, instance_id: &str, within: Duration) {
        let until = Instant::now() + within;
        let runs = || lock(&self.restores).get(instance_id).is_some_and(|r| r.running && r.until <= Instant::now());
        while runs() && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Marks the restore of an instance as over.
    pub fn end_restoring(&self, instance_id: &str) {
        if let Some(restore) = lock(&self.restores).get_mut(instance_id) {
            restore.running = false;
        }
    }

    /// Takes back that an instance is being restored, because the restore was refused.
    pub fn cancel_restoring(&self, instance_id: &str) {
        lock(&self.restores).remove(instance_id);
    }

    /// Delays the report of a backup's end by `delay`.
    pub fn delay_backup(&self, backup_id: &str, delay: Duration) {
        if delay > Duration::ZERO {
            lock(&self.delayed).insert(backup_id.to_owned(), Delayed { from: Instant::now(), delay });
        }
    }

    /// Share of a backup's delay that has passed; `None` where the backup is not delayed.
    pub fn delayed(&self, backup_id: &str) -> Option<f64> {
        let mut all = lock(&self.delayed);
        all.retain(|_, d| d.from.elapsed() < d.delay);
        all.get(backup_id).map(|d| d.from.elapsed().as_secs_f64() / d.delay.as_secs_f64())
    }

    /// Marks a spare instance as being filled by this process.
    pub fn begin_filling(&self, instance_id: &str) {
        lock(&self.filling).insert(instance_id.to_owned());
    }

    /// Whether this process fills a spare instance.
    pub fn is_filling(&self, instance_id: &str) -> bool {
        lock(&self.filling).contains(instance_id)
    }

    /// Marks the filling of a spare instance as over.
    pub fn end_filling(&self, instance_id: &str) {
        lock(&self.filling).remove(instance_id);
    }

    /// The mutex held while an instance is locked or unlocked for writes: one call at a time.
    pub fn write_lock_mutex(&self, instance_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.write_locks).entry(instance_id.to_owned()).or_default())
    }

    /// Begins a task that locks or unlocks; its number, which no earlier process gave either.
    pub fn begin_task(&self, instance_id: &str, action: &str) -> i64 {
        let mut tasks = lock(&self.tasks);
        let at = Timestamp::now();
        let number = at.as_millisecond().max(tasks.back().map_or(0, |last| last.number.saturating_add(1)));
        tasks.push_back(LockTask {
            number,
            instance_id: instance_id.to_owned(),
            action: action.to_owned(),
            at,
            ended: None,
        });
        if tasks.len() > TASKS {
            tasks.pop_front();
        }
        number
    }

    /// Ends a task that locks or unlocks.
    pub fn end_task(&self, number: i64, has_worked: bool) {
        if let Some(task) = lock(&self.tasks).iter_mut().find(|task| task.number == number) {
            task.ended = Some((Timestamp::now(), has_worked));
        }
    }

    /// The tasks that lock and unlock, oldest first.
    pub fn tasks(&self) -> Vec<LockTask> {
        lock(&self.tasks).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    //! A restore is reported for as long as its delay says, and one that was refused leaves nothing.
    use super::*;

    #[test]
    fn a_delayed_restore_outlasts_its_end() {
        let activity = Activity::default();
        assert!(activity.begin_restoring("a", Duration::from_secs(3600)));
        assert!(!activity.begin_restoring("a", Duration::ZERO));
        activity.end_restoring("a");
        assert!(activity.is_restoring("a"));
        assert!(activity.begin_restoring("b", Duration::ZERO));
        activity.end_restoring("b");
        assert!(!activity.is_restoring("b"));
        assert!(activity.begin_restoring("c", Duration::from_secs(3600)));
        activity.cancel_restoring("c");
        assert!(!activity.is_restoring("c"));
    }
}
