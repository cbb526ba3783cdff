//! How often the cloud is asked while something runs there, and for how long at most. Nothing waits for ever.

use std::time::Duration;

/// Waiting, as configured; tests hurry it.
#[derive(Debug, Clone, Copy)]
pub struct Polling {
    /// Wait before the second look.
    pub first: Duration,
    /// Longest wait between two looks.
    pub longest: Duration,
    /// For a backup, from the call to its set.
    pub backup: Duration,
    /// For a restore in place.
    pub restore: Duration,
    /// For a new instance.
    pub clone: Duration,
    /// For an instance that is busy to become ready for a change of its policy.
    pub ready: Duration,
    /// For a change to be seen in what is read back: the cloud is several machines.
    pub visible: Duration,
    /// For the cloud to measure a key count after a restore.
    pub measure: Duration,
    /// For the cloud to be out of reach while something is followed.
    pub away: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(15),
            backup: Duration::from_secs(6 * HOUR),
            restore: Duration::from_secs(12 * HOUR),
            clone: Duration::from_secs(12 * HOUR),
            ready: Duration::from_secs(120),
            visible: Duration::from_secs(60),
            measure: Duration::from_secs(180),
            away: Duration::from_secs(900),
        }
    }
}

/// Waits that grow.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Polling {
    /// Waits from the shortest on.
    #[must_use]
    pub const fn backoff(&self) -> Backoff {
        Backoff { next: self.first, longest: self.longest }
    }
}

impl Backoff {
    /// Waits; the next wait is half as long again.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = self.next.mul_f64(1.5).min(self.longest);
    }
}
