//! Moments of a clock that goes on while the machine sleeps, where [`Instant`](std::time::Instant) stands still: by it a process knows for how long
//! others have not heard of it. It must not be compared with another machine's.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere this one goes on.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A moment of this process's own.
#[derive(Debug, Clone, Copy)]
pub struct Moment(Duration);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        // Such a clock begins at nought.
        Self(Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default())
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}
