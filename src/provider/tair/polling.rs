//! How often the cloud is asked while something runs there, and for how long at most. Nothing waits for ever.

use std::time::Duration;

/// How long is waited between looks, and for what at most. Tests hurry.
#[derive(Debug, Clone, Copy)]
pub struct Polling {
    /// Wait before the second look.
    pub first_wait: Duration,
    /// Longest wait between two looks.
    pub longest_wait: Duration,
    /// Longest time from the call for a backup to its set.
    pub backup_timeout: Duration,
    /// Longest time that a restore in place is followed.
    pub restore_timeout: Duration,
    /// Longest time that the making of a new instance is followed.
    pub clone_timeout: Duration,
    /// How long a change of policy waits for a busy instance.
    pub ready_timeout: Duration,
    /// How long a change may take to be seen in what is read back: the cloud is several machines.
    pub visibility_delay: Duration,
    /// How long the cloud may take to count an instance's keys after a restore.
    pub metrics_delay: Duration,
    /// How long an order without a reply, or a write lock that cannot be lifted, is tried again.
    pub outage_timeout: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(15),
            backup_timeout: Duration::from_secs(6 * HOUR),
            restore_timeout: Duration::from_secs(12 * HOUR),
            clone_timeout: Duration::from_secs(12 * HOUR),
            ready_timeout: Duration::from_secs(120),
            visibility_delay: Duration::from_secs(60),
            metrics_delay: Duration::from_secs(180),
            outage_timeout: Duration::from_secs(900),
        }
    }
}

/// Waits that grow by half each time, up to the longest.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Polling {
    /// How long after its cause something may take to be listed.
    #[must_use]
    pub const fn listed_by(&self) -> Duration {
        self.visibility_delay.saturating_mul(5)
    }

    /// A backoff that begins with the first wait.
    #[must_use]
    pub const fn backoff(&self) -> Backoff {
        Backoff { next: self.first_wait, longest: self.longest_wait }
    }
}

impl Backoff {
    /// Waits; the next wait is half as long again.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = self.next.mul_f64(1.5).min(self.longest);
    }
}
