//! Writes between two readings of a server's counter of write commands.

use crate::guard::rules::Rules;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A counter of write commands, read at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// Write commands since the server's statistics began.
    pub calls: u64,
    /// When the counter was read.
    pub read_at: Timestamp,
}

impl Writes {
    /// Writes per second since an earlier reading, and the seconds since. A counter that went back counts as endless writes.
    #[must_use]
    pub fn traffic_since(self, then: Self) -> (f64, f64) {
        let millis = self.read_at.as_millisecond() - then.read_at.as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
        let seconds = millis.max(1000) as f64 / 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate for a comparison, not an account")]
        let rate = self.calls.checked_sub(then.calls).map_or(f64::INFINITY, |n| n as f64 / seconds);
        (rate, seconds)
    }

    /// Describes what was written since the reading of a plan, when that is more than the rules let pass.
    #[must_use]
    pub fn too_many_since(self, then: Self, rules: Rules) -> Option<String> {
        let (rate, seconds) = self.traffic_since(then);
        if rate <= rules.max_writes_per_second {
            return None;
        }
        Some(match self.calls.checked_sub(then.calls) {
            None => "the server's command statistics were reset, so writes since the plan cannot be counted".into(),
            Some(n) => format!(
                "{n} write commands reached the instance in the {seconds:.0} s since the plan; they are in no backup"
            ),
        })
    }
}
