//! The collector: what a source sends is taken as it comes, timed, and brought through the spool to the vault.
//!
//! It must not wait for the vault while the source sends, must not hold more of a stream than fits its channel, and must not decide
//! where to attach or what a gap is: its user knows the source.

pub mod room;
pub mod spooling;

use crate::archive::clock::Reading;
use crate::archive::collector::room::Full;
use crate::archive::collector::spooling::Spooling;
use crate::model::fault::Fault;
use crate::redis::error::RedisError;
use crate::redis::replica::follow::Follow;
use jiff::SignedDuration;

/// What of a stream came late: the backlog's part, after an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Offset up to which the source had written when it was attached to.
    pub until_offset: u64,
    /// The moment, in milliseconds, behind which all of it was written.
    pub since_ms: i64,
}

/// Why a stream is no longer taken.
#[derive(Debug)]
pub enum Ended {
    /// The link to the source ended.
    Link(RedisError),
    /// The spool is full: what comes is not taken until there is room.
    Full(Full),
    /// The spool takes nothing any more.
    Spool(Fault),
}

/// Takes a stream until its link or the spool ends. May be dropped: what was taken until then counts.
pub async fn collect(mut follow: Follow, spooling: &Spooling, late: Late) -> Ended {
    loop {
        let bytes = match follow.next().await {
            Ok(bytes) => bytes,
            Err(error) => return Ended::Link(error),
        };
        // A link that is cut is as silent as one on which nothing comes: only what comes says how far the log is. What came before is
        // synced and sealed in time all the same.
        if bytes.is_empty() {
            match spooling.look().await {
                Ok(()) => continue,
                Err(fault) => return Ended::Spool(fault),
            }
        }
        let came = Reading::now();
        // The offset is that of the last byte: a piece that reaches beyond the backlog is late in its beginning.
        let is_late = follow.offset().saturating_sub(bytes.len() as u64) < late.until_offset;
        let outage_ms = if is_late { (came.wall_ms - late.since_ms).max(0) } else { 0 };
        if let Err(fault) = spooling.append(bytes, came, SignedDuration::from_millis(outage_ms)).await {
            return Ended::Spool(fault);
        }
        if let Some(full) = spooling.full() {
            return Ended::Full(full);
        }
    }
}
