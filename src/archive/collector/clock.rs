//! When bytes arrived, however the machine's clock is set: times never go back, and where they are not sure they say by how much.
//!
//! It must not read a clock itself: both are handed to it, so that a step can be tried.

use jiff::Timestamp;
use std::time::{Duration, Instant};

/// A difference between the two clocks that is a step and no correction, in milliseconds.
const STEP_MS: i64 = 1000;

/// A moment of arrival: somewhere in the `precision_ms` up to `at_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// By how much it may be too late.
    pub precision_ms: u64,
}

/// The clock of what arrives.
#[derive(Debug)]
pub struct ArrivalClock {
    /// The last moment given out; none is earlier.
    last_ms: i64,
    /// What both clocks said last.
    both: Option<(i64, Instant)>,
}

impl ArrivalClock {
    /// A clock that goes on behind a moment of the log, in milliseconds.
    #[must_use]
    pub const fn behind(last_ms: i64) -> Self {
        Self { last_ms, both: None }
    }

    /// The moment of what arrives now.
    pub fn now(&mut self) -> Arrival {
        self.at(Timestamp::now().as_millisecond(), Instant::now())
    }

    /// The moment of what arrives when the machine's clock says `wall_ms` and the one that nobody sets says `steady`.
    pub fn at(&mut self, wall_ms: i64, steady: Instant) -> Arrival {
        let stepped_ms = self.both.map_or(0, |(wall_before, before)| {
            let passed = steady.saturating_duration_since(before);
            wall_ms - wall_before - i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
        });
        self.both = Some((wall_ms, steady));
        // Set ahead: it came by the old time or by the new one. Set back: the log's times wait until the clock is there again.
        let ahead = if stepped_ms >= STEP_MS { stepped_ms } else { 0 };
        let at_ms = wall_ms.max(self.last_ms);
        self.last_ms = at_ms;
        Arrival { at_ms, precision_ms: u64::try_from(at_ms - wall_ms + ahead).unwrap_or(0) }
    }
}

/// The precision of what came out of a backlog: the whole outage before it.
#[must_use]
pub fn outage_ms(arrival: Arrival, last_ms: i64) -> u64 {
    arrival.precision_ms.max(u64::try_from(arrival.at_ms - last_ms).unwrap_or(0))
}

/// How long ago a moment of the log is, by the machine's clock; nothing where it lies ahead.
#[must_use]
pub fn since(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(Timestamp::now().as_millisecond() - ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    //! Times never go back and never claim more than is known, whichever way the clock is set.
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_said() {
        let (start, mut clock) = (Instant::now(), ArrivalClock::behind(0));
        let mut at = |wall_ms, after_ms| {
            let arrival = clock.at(wall_ms, start + Duration::from_millis(after_ms));
            (arrival.at_ms, arrival.precision_ms)
        };
        assert_eq!(at(10_000, 0), (10_000, 0));
        assert_eq!(at(10_500, 500), (10_500, 0));
        // A correction is no step.
        assert_eq!(at(11_300, 1000), (11_300, 0));
        // An hour ahead: what came since the last look may be as old as the clock was wrong.
        assert_eq!(at(3_612_300, 2000), (3_612_300, 3_600_000));
        assert_eq!(at(3_613_300, 3000), (3_613_300, 0));
        // And back: the log's time stands still, and says how far it is from the clock, until the clock is there again.
        assert_eq!(at(14_300, 4000), (3_613_300, 3_599_000));
        assert_eq!(at(3_613_300, 3_603_000), (3_613_300, 0));
        assert_eq!(at(3_613_400, 3_603_100), (3_613_400, 0));
    }

    /// A clock that is behind the log at the start of a process goes on where the log is.
    #[test]
    fn a_log_from_the_future_is_gone_on_with() {
        let arrival = ArrivalClock::behind(20_000).at(15_000, Instant::now());
        assert_eq!(arrival, Arrival { at_ms: 20_000, precision_ms: 5_000 });
        assert_eq!(outage_ms(Arrival { at_ms: 20_000, precision_ms: 0 }, 12_000), 8_000);
    }
}
