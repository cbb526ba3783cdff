//! Following what runs in the cloud: the cloud is asked ever less often, whatever it answers is waited out, and nothing is followed
//! for ever. When this process ends it detaches, and the next process goes on.

use crate::model::fault::{Fault, Kind};
use crate::model::job::Unfinished;
use crate::provider::tair::Inner;
use crate::provider::tair::polling::{Backoff, Polling};
use crate::tair::error::{CloudError, TairError};
use crate::tair::wire::instances::InstanceState;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// So many looks in a row have to show the same before it is believed: the cloud is several machines, and one may lag.
pub const LOOKS: u32 = 4;

/// Something in the cloud that is followed.
pub struct Poller {
    polling: Polling,
    backoff: Backoff,
    began: Instant,
    timeout: Duration,
    stop: CancellationToken,
}

impl Poller {
    /// Begins to follow something that may take so long.
    pub fn new(polling: &Polling, timeout: Duration, stop: &CancellationToken) -> Self {
        Self { polling: *polling, backoff: polling.backoff(), began: Instant::now(), timeout, stop: stop.clone() }
    }

    /// Whole seconds since the following began.
    pub fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// Time since the following began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks often again, because something has changed that wants to be seen several times.
    const fn hurry(&mut self) {
        self.backoff = self.polling.backoff();
    }

    /// A reading that succeeded. A failed one says nothing about what is followed, whatever its code: only a known end ends that.
    pub fn look<T>(&self, read: Result<T, TairError>) -> Option<T> {
        read.inspect_err(|e| tracing::warn!("the cloud does not tell just now: {e}")).ok()
    }

    /// Waits until it is time to look again.
    ///
    /// # Errors
    /// `job.too_slow` when it has taken longer than anything should; detached when this process ends.
    pub async fn wait(&mut self, what: &str) -> Result<(), Unfinished> {
        if self.began.elapsed() >= self.timeout {
            return Err(Fault::new(
                Kind::Uncertain,
                "job.too_slow",
                format!(
                    "{what} is not known to be over after {} s; it is followed no longer, and may go on in the cloud",
                    self.seconds()
                ),
            )
            .hint("Look at the instance with describe_instances and at its sets with describe_backups.")
            .next(&["describe_instances"])
            .into());
        }
        tokio::select! {
            () = self.backoff.wait() => Ok(()),
            () = self.stop.cancelled() => Err(Unfinished::Detached("it goes on in the cloud, followed by nobody now".into())),
        }
    }
}

/// How often in a row an instance was seen in the same state.
#[derive(Debug, Default)]
pub struct Steady {
    last: Option<InstanceState>,
    times: u32,
    /// When that state was first seen.
    since: Option<Instant>,
    /// Whether there was such an instance at any look.
    found: bool,
    /// How many looks in a row have shown that there is none.
    missing: u32,
}

impl Steady {
    /// Counts a look, and returns how many in a row have shown this state. A look that shows none counts for nothing.
    pub fn saw(&mut self, state: InstanceState) -> u32 {
        if state == InstanceState::Untold {
            return 0;
        }
        if self.last == Some(state) {
            self.times = self.times.saturating_add(1);
        } else {
            (self.last, self.times, self.since) = (Some(state), 1, Some(Instant::now()));
        }
        self.times
    }

    /// For how long looks have shown this state.
    fn stood(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Counts whether there is such an instance. A look that fails otherwise says nothing of that.
    fn count_found<T>(&mut self, read: &Result<Option<T>, TairError>) {
        match read {
            Ok(Some(_)) => (self.found, self.missing) = (true, 0),
            Err(e) if !e.is_cloud(CloudError::says_no_such_instance) => {}
            Ok(None) | Err(_) => self.missing = self.missing.saturating_add(1),
        }
    }
}

/// A look at an instance's status.
pub struct StatusLook {
    /// The status, as the cloud writes it; empty where it could not be read.
    pub status: String,
    /// What the status means; where the instance has been down for as long as anything may take to be listed, that it is lost.
    pub state: InstanceState,
    /// How many looks in a row have shown that.
    pub looks: u32,
    /// Whether the instance is gone: several looks in a row say that there is none, and there was one, or should have been long ago.
    pub is_gone: bool,
}

impl Inner {
    /// Looks at the status of an instance that is followed, and soon again where that may be the end: it is to be seen several times.
    pub async fn look_at(&self, instance_id: &str, poller: &mut Poller, steady: &mut Steady) -> StatusLook {
        let read = self.attribute_raw(instance_id).await;
        steady.count_found(&read);
        let is_listed = steady.found || poller.elapsed() >= self.polling.listed_by();
        let is_gone = steady.missing >= LOOKS && is_listed;
        let read = poller.look(read).flatten();
        let status = read.and_then(|a| a.facts.instance_status).unwrap_or_default();
        let mut state = InstanceState::of(&status);
        let looks = steady.saw(state);
        if state == InstanceState::Down && steady.stood() >= self.polling.listed_by() {
            state = InstanceState::Lost;
        }
        if looks == 1 && matches!(state, InstanceState::Normal | InstanceState::Lost) {
            poller.hurry();
        }
        StatusLook { status, state, looks, is_gone }
    }
}

impl From<TairError> for Unfinished {
    fn from(e: TairError) -> Self {
        Self::Failed(e.into())
    }
}
