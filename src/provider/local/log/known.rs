//! What is known of a log beyond the session that learnt it: the source that was followed, and what went wrong since.
//!
//! It must not decide what is done about that.

use crate::archive::collector::spooling::Progress;
use crate::model::fault::{Fault, Kind};
use crate::model::log::GapCause;
use std::time::{Duration, Instant};

/// After a base that could not be taken the next one waits: at first, and at most.
const BASE_AGAIN_AFTER: Duration = Duration::from_millis(100);
const BASE_AGAIN_AFTER_MAX: Duration = Duration::from_secs(3600);
/// After a command that no spool can hold, and a base for it, another such base waits at first.
const LARGE_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known of a log beyond the session that learnt it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The process that was followed last, and until when; empty where this process followed none.
    pub run_id: String,
    pub followed: Option<Instant>,
    /// What went wrong since the source was last followed.
    pub trouble: Option<GapCause>,
    /// Whether the last timeline cannot be written any more.
    pub given_up: bool,
    /// Bytes of a command that is larger than the spool: the log goes on behind another base.
    pub too_large: Option<u64>,
    /// The wait behind a base that could not be taken.
    failed: Option<Wait>,
    /// The wait behind a base for a command that no spool can hold: the next such command waits for it, and no other break of the history.
    large: Option<Wait>,
}

/// How long the next base that a timeline begins with waits: each makes the source fork.
#[derive(Debug, Clone, Copy)]
struct Wait {
    until: Instant,
    long: Duration,
}

impl Wait {
    /// Twice as long as the last one.
    fn behind(last: Option<Self>, first: Duration) -> Self {
        let long = last.map_or(first, |last| last.long * 2).min(BASE_AGAIN_AFTER_MAX);
        Self { until: Instant::now() + long, long }
    }

    fn lasts(self) -> bool {
        Instant::now() < self.until
    }
}

impl Known {
    /// Whether it is too soon for another base, behind one that could not be taken.
    pub fn base_waits(&self) -> bool {
        self.failed.is_some_and(Wait::lasts)
    }

    /// Whether it is too soon for another base for a command that no spool can hold.
    pub fn large_base_waits(&self) -> bool {
        self.large.is_some_and(Wait::lasts)
    }

    /// Learns whether a base could be taken.
    pub fn base_ended(&mut self, taken: bool) {
        self.failed = (!taken).then(|| Wait::behind(self.failed, BASE_AGAIN_AFTER));
    }

    /// The log goes on behind a base that was taken for a command that no spool can hold. Where they come seldom, the next does not wait
    /// long.
    pub fn large_left_out(&mut self) {
        let last = self.large.filter(|last| last.until.elapsed() < last.long);
        self.large = Some(Wait::behind(last, LARGE_AGAIN_AFTER));
    }

    /// Learns from how a timeline's writing ended. One that another archiver has written to, or whose spool is damaged, is given up.
    pub fn ended(&mut self, ended: Result<Progress, Fault>) -> Result<Progress, Fault> {
        ended.inspect_err(|fault| {
            let cause = match fault.kind {
                Kind::Refused => GapCause::Other,
                Kind::Damaged => GapCause::Damaged,
                _ if is_disk_full(fault) => GapCause::SpoolFull,
                _ => return,
            };
            self.trouble = Some(cause);
            self.given_up |= matches!(fault.kind, Kind::Refused | Kind::Damaged);
        })
    }
}

/// Whether a failure is that of a disk without room.
fn is_disk_full(fault: &Fault) -> bool {
    let cause = std::error::Error::source(fault).and_then(|e| e.downcast_ref::<std::io::Error>());
    cause.is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod tests {
    //! A base that fails is tried again less and less often, until one is taken. Commands that no spool can hold have one less and less often
    //! where they come one after the other, and keep no other base waiting.
    use super::*;

    #[test]
    fn bases_wait_longer_each_time() {
        let mut known = Known::default();
        for n in 0..20 {
            known.base_ended(false);
            let expected = (BASE_AGAIN_AFTER * (1 << n)).min(BASE_AGAIN_AFTER_MAX);
            assert_eq!(known.failed.map(|wait| wait.long), Some(expected));
        }
        assert!(known.base_waits() && !known.large_base_waits());
        known.base_ended(true);
        assert!(!known.base_waits());

        for times in [1, 2, 4] {
            known.base_ended(true);
            known.large_left_out();
            assert_eq!(known.large.map(|wait| wait.long), Some(LARGE_AGAIN_AFTER * times));
        }
        assert!(known.large_base_waits() && !known.base_waits(), "another break of the history has its base at once");
        let over = Instant::now().checked_sub(Duration::from_millis(20));
        known.large = over.map(|until| Wait { until, long: Duration::from_millis(10) });
        assert!(!known.large_base_waits());
        known.large_left_out();
        assert_eq!(known.large.map(|wait| wait.long), Some(LARGE_AGAIN_AFTER));
    }
}
