//! Following what runs in the cloud: asked ever less often, patient while the cloud is out of reach, never for ever, and
//! detached from when this process ends, so that the next one goes on.

use crate::model::fault::{Fault, Kind};
use crate::model::job::Unfinished;
use crate::provider::tair::polling::{Backoff, Polling};
use crate::tair::error::TairError;
use crate::tair::retry::Retry;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// One thing that is followed.
pub struct Poller {
    backoff: Backoff,
    began: Instant,
    budget: Duration,
    away: Duration,
    away_since: Option<Instant>,
    stop: CancellationToken,
}

impl Poller {
    /// Begins to follow something that may take so long.
    pub fn new(polling: &Polling, budget: Duration, stop: &CancellationToken) -> Self {
        Self {
            backoff: polling.backoff(),
            began: Instant::now(),
            budget,
            away: polling.away,
            away_since: None,
            stop: stop.clone(),
        }
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// How long it has been followed.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A reading that succeeded, or nothing where the cloud could not be asked just now.
    ///
    /// # Errors
    /// What will not pass, or has not passed for too long.
    pub fn tolerate<T>(&mut self, read: Result<T, TairError>) -> Result<Option<T>, Fault> {
        let e = match read {
            Ok(value) => {
                self.away_since = None;
                return Ok(Some(value));
            }
            Err(e) => e,
        };
        let since = *self.away_since.get_or_insert_with(Instant::now);
        if !passes(&e) || since.elapsed() >= self.away {
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
        if self.began.elapsed() >= self.budget {
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

/// Whether an error may pass by itself.
pub fn passes(e: &TairError) -> bool {
    match e {
        TairError::Unreachable { .. } | TairError::NoReply { .. } | TairError::BadReply { .. } => true,
        TairError::NoCredentials(_) => true,
        TairError::Cloud(cloud) => !matches!(cloud.meaning().retry, Retry::Never | Retry::Tomorrow),
        _ => false,
    }
}
