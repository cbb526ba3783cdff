//! What a target shows right before a restore acts on it, and at its cutover: the last looks, which are compared with the plan.
//!
//! Nothing here is a verdict.

use crate::guard::writes::{Streamed, Writes};
use jiff::Timestamp;

/// What the target shows at the last moment, on the connection that acts.
#[derive(Debug, Clone)]
pub struct LastLook {
    /// The target's `run_id`.
    pub run_id: String,
    /// The target's replication id.
    pub replication_id: String,
    /// The slots that the target owns, as ranges; empty outside a cluster.
    pub slots: String,
    /// What is known of the target's writes.
    pub writes: Writes,
}

/// What the target shows at its cutover: once it follows this program and refuses writes, or by commands in the very command
/// that swaps or empties.
#[derive(Debug, Clone)]
pub struct CutoverLook {
    /// The target's `run_id`.
    pub run_id: String,
    /// The replication id of the target's own history.
    pub replication_id: String,
    /// The target's position in it, behind its very last write.
    pub offset: u64,
    /// The stream behind the last safety backup; `None` where the plan has no safety backup.
    pub tail: Option<TailLook>,
}

/// The stream behind the last safety backup, read up to the moment of the cutover.
#[derive(Debug, Clone)]
pub struct TailLook {
    /// The replication id of the history that the stream belongs to.
    pub replication_id: String,
    /// The position that the stream was read to.
    pub reached: u64,
    /// What the stream holds.
    pub seen: Streamed,
    /// Removals in the stream that no client has caused, at most, as far as the server tells.
    pub own_removals: u64,
    /// Write commands that the server has counted since right before the backup, this program's own left out; 0 where it does not tell.
    pub called: u64,
    /// Since when the stream is read.
    pub since: Timestamp,
    /// Until when the stream was read.
    pub until: Timestamp,
    /// Commands in databases that carry this restore's mark and that it has not sent.
    pub foreign: u64,
    /// Why what the stream holds could not be kept whole, as part of a sentence; `None` where it is kept, here or in the instance's log.
    pub lost: Option<String>,
}

impl TailLook {
    /// Write commands in the stream.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.seen.written(self.own_removals)
    }
}
