//! When bytes arrived, however the machine's clock is set: times never go back, and where they are not sure they say by how much.
//!
//! It must not read a clock itself: both are handed to it, so that a step can be tried.

use jiff::Timestamp;
use std::time::{Duration, Instant};

/// A difference between the two clocks that is a step and no correction, in milliseconds.
const STEP_MS: i64 = 1000;

/// What the clocks say.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// What the machine's clock says, in milliseconds since 1970.
    pub wall_ms: i64,
    /// What the clock says that nobody sets; `None` where nobody looked at it, and a clock set ahead does not show.
    pub steady: Option<Instant>,
}

impl Reading {
    /// What they say now.
    #[must_use]
    pub fn now() -> Self {
        Self { wall_ms: Timestamp::now().as_millisecond(), steady: Some(Instant::now()) }
    }
}

impl From<Timestamp> for Reading {
    fn from(at: Timestamp) -> Self {
        Self { wall_ms: at.as_millisecond(), steady: None }
    }
}

/// A moment of arrival: somewhere in the `precision_ms` up to `at_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// By how much it may be too late.
    pub precision_ms: u64,
}

/// Moments between which nobody can tell what had been written by then, for the clock was set, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub from_ms: i64,
    pub to_ms: i64,
}

/// The clock of what arrives.
#[derive(Debug)]
pub(super) struct ArrivalClock {
    /// The last moment given out; none is earlier.
    last_ms: i64,
    /// What both clocks said last.
    both: Option<(i64, Instant)>,
    /// What the machine's clock said when a step back was told, until it is where the log is.
    told_ms: Option<i64>,
}

impl ArrivalClock {
    /// A clock that goes on behind a moment of the log, in milliseconds.
    pub const fn behind(last_ms: i64) -> Self {
        Self { last_ms, both: None, told_ms: None }
    }

    /// The last moment that was given out, in milliseconds.
    pub const fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// The moment of what arrives when the clocks say so, and whether the machine's was set.
    pub fn at(&mut self, now: Reading) -> (Arrival, Option<Step>) {
        let wall_ms = now.wall_ms;
        let stepped_ms = self.both.zip(now.steady).map_or(0, |((wall_before, before), steady)| {
            let passed = steady.saturating_duration_since(before);
            wall_ms - wall_before - i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
        });
        self.both = now.steady.map(|steady| (wall_ms, steady));
        // Set ahead: it came by the old time or by the new one. Set back: the log's times wait until the clock is there again.
        let ahead = if stepped_ms >= STEP_MS { stepped_ms } else { 0 };
        let at_ms = wall_ms.max(self.last_ms);
        let step = self.step(wall_ms, at_ms, ahead);
        self.last_ms = at_ms;
        (Arrival { at_ms, precision_ms: u64::try_from(at_ms - wall_ms + ahead).unwrap_or(0) }, step)
    }

    fn step(&mut self, wall_ms: i64, at_ms: i64, ahead: i64) -> Option<Step> {
        if wall_ms.saturating_add(STEP_MS) > at_ms {
            self.told_ms = None;
            return (ahead > 0).then(|| Step { from_ms: at_ms - ahead, to_ms: at_ms });
        }
        // What is between has been told, unless the clock was set back once more.
        if self.told_ms.is_some_and(|told| told < wall_ms.saturating_add(STEP_MS)) {
            return None;
        }
        self.told_ms = Some(wall_ms);
        // The moment itself comes twice.
        Some(Step { from_ms: wall_ms - 1, to_ms: at_ms })
    }
}

/// How long ago a moment of the log is, by the machine's clock; nothing where it lies ahead.
#[must_use]
pub fn since(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(Timestamp::now().as_millisecond() - ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    //! Times never go back and never claim more than is known, whichever way the clock is set; a step is told once.
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_said() {
        let (start, mut clock) = (Instant::now(), ArrivalClock::behind(0));
        let mut at = |wall_ms, after_ms| {
            let steady = Some(start + Duration::from_millis(after_ms));
            let (arrival, step) = clock.at(Reading { wall_ms, steady });
            (arrival.at_ms, arrival.precision_ms, step.map(|step| (step.from_ms, step.to_ms)))
        };
        assert_eq!(at(10_000, 0), (10_000, 0, None));
        assert_eq!(at(10_500, 500), (10_500, 0, None));
        // A correction is no step.
        assert_eq!(at(11_300, 1000), (11_300, 0, None));
        // An hour ahead: what came since the last look may be as old as the clock was wrong.
        assert_eq!(at(3_612_300, 2000), (3_612_300, 3_600_000, Some((12_300, 3_612_300))));
        assert_eq!(at(3_613_300, 3000), (3_613_300, 0, None));
        // And back: the log's time stands still, and says how far it is from the clock, until the clock is there again.
        assert_eq!(at(14_300, 4000), (3_613_300, 3_599_000, Some((14_299, 3_613_300))));
        assert_eq!(at(15_300, 5000), (3_613_300, 3_598_000, None));
        // Back once more.
        assert_eq!(at(9_300, 6000), (3_613_300, 3_604_000, Some((9_299, 3_613_300))));
        assert_eq!(at(3_613_300, 3_610_000), (3_613_300, 0, None));
        assert_eq!(at(3_613_400, 3_610_100), (3_613_400, 0, None));
        assert_eq!(clock.last_ms(), 3_613_400);
    }

    /// A clock that is behind the log at the start of a process goes on where the log is.
    #[test]
    fn a_log_from_the_future_is_gone_on_with() {
        let (arrival, step) = ArrivalClock::behind(20_000).at(Reading { wall_ms: 15_000, steady: None });
        assert_eq!(arrival, Arrival { at_ms: 20_000, precision_ms: 5_000 });
        assert_eq!(step, Some(Step { from_ms: 14_999, to_ms: 20_000 }));
    }
}
