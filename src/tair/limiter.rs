//! The account's rate of requests: a bucket that fills steadily, and stops while the cloud asks to slow down.
//!
//! Every client of one account shares it, whatever the region: the cloud counts by account.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Gives permission to send, one request at a time.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    /// How far ahead of the steady rate a burst may run.
    ahead: Duration,
    /// When the request after the last one would be due at the steady rate.
    due: Mutex<Instant>,
}

impl Limiter {
    /// So many requests a second; as many may come at once after a pause.
    #[must_use]
    pub fn new(per_second: f64) -> Self {
        let rate = if per_second.is_finite() { per_second.clamp(0.01, 10_000.0) } else { 10.0 };
        let interval = Duration::from_secs_f64(1.0 / rate);
        let ahead = Duration::from_secs(1).saturating_sub(interval);
        Self { interval, ahead, due: Mutex::new(Instant::now()) }
    }

    /// Waits until a request may be sent. Whoever asked first sends first.
    pub async fn acquire(&self) {
        let at = {
            let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let mine = (*due).max(now);
            *due = mine + self.interval;
            mine.checked_sub(self.ahead).unwrap_or(now)
        };
        sleep_until(at).await;
    }

    /// Nobody sends for so long: the cloud has turned a request away.
    pub fn pause(&self, wait: Duration) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = (*due).max(Instant::now() + wait + self.ahead);
    }
}
