//! What is known of a log beyond the session that learnt it: the source that was followed, and what went wrong since.
//!
//! It must not decide what is done about that.

use crate::archive::collector::spooling::Progress;
use crate::model::fault::{Fault, Kind};
use crate::model::log::GapCause;
use std::time::{Duration, Instant};

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
    /// Until when that base waits, and for how long the last one did.
    pub base_waits: Option<(Instant, Duration)>,
}

impl Known {
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
