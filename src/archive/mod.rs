//! The archive: the log of an instance on the vault, so that it can be recovered to any moment. Timelines, segments, gaps, time to offset.
//!
//! What a source sends goes to the spool on this machine and is fsynced there, then in sealed segments to the vault. It must not
//! paper over a hole, serve a byte that is not what was written, or hold more of a stream than a fixed amount, whatever the stream
//! does. Only [`Archive::prune`] removes what is on the vault, by a grant. Blocking: called from worker threads, as the vault's store is.

mod check;
pub mod clock;
pub mod collector;
mod copy;
mod coverage;
mod cut;
mod destructive;
mod ended;
pub mod export;
mod gap;
mod head;
mod layout;
mod locks;
mod moments;
mod parallel;
mod prune;
mod reach;
mod read;
mod received;
mod record;
mod recover;
mod seal;
pub mod segment;
pub mod sift;
mod spool;
mod timeline;
mod writer;

use crate::config::denied::Denied;
use crate::model::fault::{Fault, Kind};
use crate::vault::Vault;
use crate::vault::lacking;
use crate::vault::store::Store;
pub use copy::{LogCopy, ReadBack};
pub use coverage::{Coverage, Hole, Run};
pub use cut::{Cut, CutAt, NoCut, Outside, Why};
pub use layout::SegmentName;
pub use locks::LogLocks;
pub use moments::Window;
pub use prune::Kept;
pub use reach::Reached;
pub use read::LogReader;
pub use seal::Sealer;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use timeline::{NewTimeline, RestoredFrom, Timeline};
pub use writer::{LogWriter, SealLimits};

/// The shard that an instance has today.
pub const SHARD: u16 = 0;

/// The log of all instances of a vault. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn Store>,
    /// Directory of this machine for what is not on the vault yet.
    spool: PathBuf,
}

impl Archive {
    /// The archive on a vault, with a directory for the spool. Touches nothing.
    #[must_use]
    pub fn new(vault: &Vault, spool: PathBuf) -> Self {
        Self { store: vault.store(), spool }
    }

    /// The directory of this machine for what is not on the vault yet.
    #[must_use]
    pub fn spool_dir(&self) -> &Path {
        &self.spool
    }

    /// Commands of the segments of a timeline that end behind an offset.
    ///
    /// # Errors
    /// `log.failed`.
    pub fn commands_behind(&self, timeline: &Timeline, offset: u64) -> Result<u64, Fault> {
        let segments = self.segments_behind(timeline, offset)?;
        Ok(segments.iter().filter(|segment| segment.last > offset).map(|segment| segment.commands).sum())
    }

    /// The segments of a timeline that end behind an offset, and of those before it the last, by their names: years of a log are not held.
    fn segments_behind(&self, timeline: &Timeline, offset: u64) -> Result<Vec<SegmentName>, Fault> {
        let prefix = timeline.prefix();
        let (mut behind, mut before) = (Vec::new(), None::<SegmentName>);
        let mut keep = |name: &str| match SegmentName::parse(name) {
            Some(segment) if segment.last > offset => behind.push(segment),
            Some(segment) if before.as_ref().is_none_or(|b| (b.last, b.first) < (segment.last, segment.first)) => {
                before = Some(segment);
            }
            _ => {}
        };
        self.store.each(&prefix, &mut keep).map_err(|e| failed("read", &self.store.place(&prefix), e))?;
        behind.extend(before);
        behind.sort_unstable();
        Ok(behind)
    }
}

/// The fault of a failed operation on the log, on the vault or in the spool.
fn failed(what: &str, place: &str, e: io::Error) -> Fault {
    if let Some(denied) = Denied::of(&e, Path::new(place)) {
        let message = format!("cannot {what} {place}: {denied}");
        return Fault::new(Kind::Unexpected, "log.unreadable", message).hint(denied.hint()).because(e);
    }
    let hint = match lacking::hint(&e) {
        Some(hint) => hint,
        None if e.kind() == io::ErrorKind::StorageFull => {
            "The disk is full; free space there. The log goes on from where it stopped, as long as the source's backlog reaches back."
        }
        None => "Check that the place is there, has room and belongs to this user.",
    };
    Fault::new(Kind::Unexpected, "log.failed", format!("cannot {what} {place}: {e}")).hint(hint).because(e)
}

/// The fault of a part of the log that differs from what was written.
fn damaged(place: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Damaged, "log.damaged", format!("{place}: {why}"))
        .hint("Moments behind this place need a base behind it; choose one from describe_backups. Nothing was sent to any instance.")
}

/// The fault of a second archiver on one timeline.
fn conflict(place: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Refused, "log.conflict", format!("{place}: {why}"))
        .hint("Another process archives this instance too. Stop one of the two; nothing on the vault was overwritten.")
}
