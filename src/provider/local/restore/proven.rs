//! Whether a set may go by replication, where a fault of the data would end its target: only what a live server sent with a checksum that
//! held, or what a scratch server has loaded once. Anything else goes by commands.

use crate::config::blocking::blocking;
use crate::guard::plan::Plan;
use crate::model::backup::{BackupSet, Origin};
use crate::model::fault::{Fault, Kind};
use crate::model::restore::Method;
use crate::provider::local::Inner;
use crate::redis::rdb::statistics::{Checksum, KeyStatistics};
use crate::redis::scratch::program::program_for;
use crate::redis::scratch::{ScratchDir, ScratchError, ScratchServer};
use std::time::Duration;

/// Largest RDB that is loaded as a trial, in bytes: it needs as much room on our disk, and more in our memory, while a plan waits.
const TRIAL_BYTES_MAX: u64 = 1 << 30;
/// A trial that takes longer is given up.
const TRIAL_WITHIN: Duration = Duration::from_secs(120);

/// What came of a trial.
pub(super) enum Trial {
    /// A scratch server has loaded the set, or none is needed.
    Passed,
    /// A server ended when it loaded the set; what it said.
    Failed(String),
    /// There was no trial, for the reason given.
    NotTried(String),
}

impl Trial {
    /// Why the set is not to be sent; empty where it may be.
    pub(super) fn into_reason(self) -> String {
        match self {
            Self::Passed => String::new(),
            Self::Failed(why) | Self::NotTried(why) => why,
        }
    }
}

impl Inner {
    /// Loads a set that needs it on a scratch server, which is gone afterwards.
    pub(super) async fn try_load(&self, set: &BackupSet, statistics: &KeyStatistics) -> Result<Trial, Fault> {
        let why = match (&set.origin, statistics.checksum) {
            (Origin::Capture { .. }, Checksum::Verified) => return Ok(Trial::Passed),
            (Origin::Capture { .. }, Checksum::Absent) => "the set has no CRC64",
            _ => "the set did not come from a live server",
        };
        let not_tried = |what: &str| Ok(Trial::NotTried(format!("{why}, and {what}")));
        if set.rdb_bytes > TRIAL_BYTES_MAX {
            return not_tried("it is too large to be loaded here as a trial");
        }
        let known = statistics.clone();
        let Some(program) = blocking(move || Ok(program_for(&known))).await? else {
            return not_tried("there is no server program here that would load it as a trial");
        };
        let (mut data, parent) = (self.vault.open_data(set).await?, self.scratch.clone());
        let laid = blocking(move || {
            ScratchDir::with_dump(&parent, &mut data)
                .map_err(|e| Fault::new(Kind::Unexpected, "home.failed", format!("no trial: {e}")).because(e))
        });
        let dir = match laid.await {
            Ok((dir, _)) => dir,
            Err(fault) => return not_tried(&fault.message),
        };
        let started = ScratchServer::start(&program, dir, statistics.databases_needed(), TRIAL_WITHIN).await;
        match started {
            Ok(server) => {
                server.stop().await;
                Ok(Trial::Passed)
            }
            Err(died @ ScratchError::Died { .. }) => Ok(Trial::Failed(format!(
                "{why}, and {}, as a trial, does not survive loading it: {died}",
                program.name
            ))),
            Err(e) => not_tried(&format!("a trial on {} came to nothing: {e}", program.name)),
        }
    }
}

/// Whether the plan was made for commands because of the set, which later looks do not read again.
pub(super) fn planned_for_commands(set: &BackupSet, plan: Option<&Plan>) -> bool {
    let sound = matches!(set.origin, Origin::Capture { .. }) && set.proof.is_some_and(|proof| proof.crc64);
    !sound
        && plan.and_then(|plan| plan.direct_restore().ok()).is_some_and(|planned| planned.method != Method::Replication)
}
