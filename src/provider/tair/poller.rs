//! Following what runs in the cloud: the cloud is asked ever less often, an outage is waited out, and nothing is followed for
//! ever. When this process ends it detaches, and the next process goes on.

use crate::model::fault::{Fault, Kind};
use crate::model::job::Unfinished;
use crate::provider::tair::polling::{Backoff, Polling};
use crate::tair::error::TairError;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Something in the cloud that is followed.
pub struct Poller {
    backoff: Backoff,
    began: Instant,
    timeout: Duration,
    outage_timeout: Duration,
    unreachable_since: Option<Instant>,
    stop: CancellationToken,
}

impl Poller {
    /// Begins to follow something that may take so long.
    pub fn new(polling: &Polling, timeout: Duration, stop: &CancellationToken) -> Self {
        Self {
            backoff: polling.backoff(),
            began: Instant::now(),
            timeout,
            outage_timeout: polling.outage_timeout,
            unreachable_since: None,
            stop: stop.clone(),
        }
    }

    /// Whole seconds since the following began.
    pub fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// Time since the following began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A reading that succeeded, or nothing where the cloud could not be asked just now.
    ///
    /// # Errors
    /// A failure that will not pass, or has not passed for too long.
    pub fn tolerate<T>(&mut self, read: Result<T, TairError>) -> Result<Option<T>, Fault> {
        let e = match read {
            Ok(value) => {
                self.unreachable_since = None;
                return Ok(Some(value));
            }
            Err(e) => e,
        };
        let since = *self.unreachable_since.get_or_insert_with(Instant::now);
        if !e.may_pass() || since.elapsed() >= self.outage_timeout {
            return Err(e.into());
        }
        tracing::warn!("the cloud cannot be asked just now: {e}");
        Ok(None)
    }

    /// Waits until it is time to look again.
    ///
    /// # Errors
    /// `job.too_slow` when it has taken longer than anything should; detached when this process ends.
    pub async fn wait(&mut self, what: &str) -> Result<(), Unfinished> {
        if self.began.elapsed() >= self.timeout {
            return Err(Fault::new(
                Kind::Provider,
                "job.too_slow",
                format!(
                    "{what} is not over after {} s; it is followed no longer, and goes on in the cloud",
                    self.seconds()
                ),
            )
            .hint("Look at the instance with describe_instances and at its sets with describe_backups.")
            .next(&["describe_instances", "describe_backups"])
            .into());
        }
        tokio::select! {
            () = self.backoff.wait() => Ok(()),
            () = self.stop.cancelled() => Err(Unfinished::Detached("it goes on in the cloud, followed by nobody now".into())),
        }
    }
}

impl From<TairError> for Unfinished {
    fn from(e: TairError) -> Self {
        Self::Failed(e.into())
    }
}
