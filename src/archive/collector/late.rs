//! By how much earlier than it came something may have been written: what was in a backlog, what was written while that came, and what was
//! held up on its way.
//!
//! It must not ask the source itself how far that has written: it says when that has to be known, and for what.

use crate::archive::clock::Reading;
use jiff::SignedDuration;
use std::time::{Duration, Instant};

/// A source that nobody writes to says so every ten seconds, unless it is set to do that less often: behind so long a silence it is asked
/// whether there is anything that has not come.
const ASKED_AFTER: Duration = Duration::from_secs(12);
/// What comes behind a longer silence, of which the source has not said that nothing was written in it, may have waited anywhere on its way.
const SILENT_AT_MOST: Duration = Duration::from_secs(15);
/// What a source wrote while its backlog came waits behind that; so much is not worth a question.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// What of a stream came late: the backlog's part, after an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Offset up to which the source had written when it was attached to.
    pub until_offset: u64,
    /// The moment, in milliseconds, behind which all of it was written.
    pub since_ms: i64,
}

/// How late what comes is.
pub(super) struct Lateness {
    late: Late,
    /// When the source had written up to there, until all of that has come.
    draining_since: Option<Instant>,
    /// By when all that was written had come, as far as anybody knows.
    whole_at: Instant,
}

fn ms(long: Duration) -> i64 {
    i64::try_from(long.as_millis()).unwrap_or(i64::MAX)
}

impl Lateness {
    /// Of a stream that goes on behind an offset.
    pub fn behind(offset: u64, late: Late, now: Instant) -> Self {
        Self { late, draining_since: (offset < late.until_offset).then_some(now), whole_at: now }
    }

    /// Whether nothing has come for so long that the source is to be asked.
    pub fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.whole_at) > ASKED_AFTER
    }

    /// All that the source had written at a moment has come.
    pub fn all_came(&mut self, at: Instant) {
        self.whole_at = at;
    }

    /// Since when what comes now was held up, by the machine's clock in milliseconds; `None` where it was not.
    pub fn held_up(&self, came: Reading, now: Instant) -> Option<i64> {
        let silence = now.saturating_duration_since(self.whole_at);
        (silence > SILENT_AT_MOST).then(|| came.wall_ms.saturating_sub(ms(silence)))
    }

    /// What comes from an offset on is late as well. `now`: when the source had written up to there.
    pub fn comes_late(&mut self, offset: u64, more: Late, now: Instant) {
        // What is still to come of an older part was written since that one's beginning.
        let goes_on = offset < self.late.until_offset;
        let since_ms = if goes_on { self.late.since_ms.min(more.since_ms) } else { more.since_ms };
        self.late = Late { until_offset: more.until_offset.max(self.late.until_offset), since_ms };
        self.draining_since = (offset < self.late.until_offset).then_some(now);
    }

    /// By how much earlier than it came a piece may have been written that begins at an offset.
    pub fn precision(&mut self, offset: u64, came: Reading, now: Instant) -> SignedDuration {
        self.whole_at = now;
        let is_late = offset < self.late.until_offset;
        SignedDuration::from_millis(if is_late { (came.wall_ms - self.late.since_ms).max(0) } else { 0 })
    }

    /// Since when the source has written what waits behind a part that came late, now that the stream has come to an offset; `None` where
    /// that part has not come whole, or came so fast that nothing waits.
    pub fn drained(&mut self, offset: u64, came: Reading, now: Instant) -> Option<i64> {
        if offset < self.late.until_offset {
            return None;
        }
        let long = now.saturating_duration_since(self.draining_since.take()?);
        (long > DRAINED_WITHIN).then(|| came.wall_ms.saturating_sub(ms(long)))
    }
}

#[cfg(test)]
mod tests {
    //! A part that is late is so to its end and no further; a silence makes what comes behind it late unless the source says that nothing
    //! was missing; and what was written while a part came is late by that time, however often.
    use super::*;

    struct Scene {
        lateness: Lateness,
        start: Instant,
    }

    const T0: i64 = 1_000_000;

    impl Scene {
        fn behind(offset: u64, until_offset: u64) -> Self {
            let start = Instant::now();
            let late = Late { until_offset, since_ms: T0 - 5000 };
            Self { lateness: Lateness::behind(offset, late, start), start }
        }

        fn at(&self, ms: u64) -> (Reading, Instant) {
            let now = self.start + Duration::from_millis(ms);
            (Reading { wall_ms: T0 + i64::try_from(ms).unwrap_or(0), steady: Some(now) }, now)
        }

        fn precision(&mut self, offset: u64, ms: u64) -> i128 {
            let (came, now) = self.at(ms);
            self.lateness.precision(offset, came, now).as_millis()
        }

        fn held_up(&self, ms: u64) -> Option<i64> {
            let (came, now) = self.at(ms);
            self.lateness.held_up(came, now).map(|since| since - T0)
        }

        fn drained(&mut self, offset: u64, ms: u64) -> Option<i64> {
            let (came, now) = self.at(ms);
            self.lateness.drained(offset, came, now).map(|since| since - T0)
        }

        fn comes_late(&mut self, offset: u64, until_offset: u64, since: i64, ms: u64) {
            let now = self.at(ms).1;
            self.lateness.comes_late(offset, Late { until_offset, since_ms: T0 + since }, now);
        }
    }

    #[test]
    fn a_backlog_is_late_to_its_end() {
        let mut scene = Scene::behind(10, 30);
        assert_eq!((scene.precision(10, 100), scene.drained(20, 100)), (5100, None));
        assert_eq!((scene.precision(29, 300), scene.drained(31, 300)), (5300, None));
        assert_eq!((scene.precision(31, 400), scene.drained(40, 9000)), (0, None));
        // A source that had written nothing is not asked what it wrote behind that, whenever it says something.
        let mut idle = Scene::behind(30, 30);
        assert_eq!((idle.precision(30, 10_000), idle.drained(40, 10_000)), (0, None));
    }

    #[test]
    fn what_was_written_while_a_backlog_came_is_late_too() {
        let mut scene = Scene::behind(10, 30);
        assert_eq!((scene.precision(10, 2500), scene.drained(30, 2500)), (7500, Some(0)));
        scene.comes_late(30, 50, 0, 2500);
        assert_eq!((scene.precision(30, 2600), scene.drained(40, 2600)), (2600, None));
        assert_eq!((scene.precision(40, 4000), scene.drained(50, 4000)), (4000, Some(2500)));
        // Of nothing that waits nothing is late, whenever the next comes.
        scene.comes_late(50, 50, 2500, 4000);
        assert_eq!((scene.precision(50, 9000), scene.drained(60, 9000)), (0, None));
    }

    #[test]
    fn a_silence_is_believed_where_the_source_says_so() {
        let mut scene = Scene::behind(30, 30);
        assert_eq!((scene.held_up(15_000), scene.held_up(15_001)), (None, Some(0)));
        let (early, late) = (scene.at(12_000).1, scene.at(12_001).1);
        assert!(!scene.lateness.is_silent(early) && scene.lateness.is_silent(late));
        scene.lateness.all_came(late);
        assert_eq!((scene.held_up(27_001), scene.held_up(28_000)), (None, Some(12_001)));
        // Late are what came and what the source had written by then, and no more.
        scene.comes_late(30, 90, 12_001, 28_000);
        assert_eq!((scene.precision(30, 28_000), scene.precision(80, 28_100)), (15_999, 16_099));
        assert_eq!((scene.drained(90, 28_100), scene.precision(90, 28_200)), (None, 0));
    }

    #[test]
    fn a_silence_within_a_backlog_makes_none_of_it_younger() {
        let mut scene = Scene::behind(10, 30);
        assert_eq!((scene.precision(10, 100), scene.held_up(20_000)), (5100, Some(100)));
        scene.comes_late(20, 40, 100, 20_000);
        assert_eq!((scene.precision(20, 20_000), scene.precision(39, 20_000)), (25_000, 25_000));
    }
}
