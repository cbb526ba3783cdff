//! The collector: what a source sends is taken as it comes, timed, and brought through the spool to the vault.
//!
//! It must not wait for the vault while the source sends, must not hold more of a stream than fits its channel, and must not decide
//! where to attach or what a gap is: its user knows the source.

pub mod late;
pub mod room;
pub mod spooling;

use crate::archive::clock::Reading;
use crate::archive::collector::late::{Late, Lateness};
use crate::archive::collector::room::Full;
use crate::archive::collector::spooling::Spooling;
use crate::model::fault::Fault;
use crate::redis::error::RedisError;
use crate::redis::replica::follow::Follow;
use std::time::Instant;

/// Why a stream is no longer taken.
#[derive(Debug)]
pub enum Ended {
    /// The link to the source ended.
    Link(RedisError),
    /// What comes was held up on its way, and the source does not say how much of it was.
    HeldUp,
    /// The spool is full: what comes is not taken until there is room.
    Full(Full),
    /// The spool takes nothing any more.
    Spool(Fault),
}

/// Takes a stream until its link or the spool ends. May be dropped: what was taken until then counts. `written` asks the source up to where
/// it has written of the stream's history; `None` where it does not say.
pub async fn collect<F: Future<Output = Option<u64>>>(
    mut follow: Follow,
    spooling: &Spooling,
    late: Late,
    written: impl Fn() -> F,
) -> Ended {
    let mut lateness = Lateness::behind(follow.offset(), late, Instant::now());
    loop {
        let bytes = match follow.next().await {
            Ok(bytes) => bytes,
            Err(error) => return Ended::Link(error),
        };
        let (came, now) = (Reading::now(), Instant::now());
        // A link that is cut is as silent as one on which nothing comes: only what comes says how far the log is. What came before is
        // synced and sealed in time all the same.
        if bytes.is_empty() {
            if let Err(fault) = spooling.look().await {
                return Ended::Spool(fault);
            }
            if lateness.is_silent(now) && written().await == Some(follow.offset()) {
                lateness.all_came(now);
            }
            continue;
        }
        // The offset is that of the last byte: a piece that reaches beyond what is late is so in its beginning.
        let begins = follow.offset().saturating_sub(bytes.len() as u64);
        if let Some(since_ms) = lateness.held_up(came, now) {
            let Some(until) = written().await else { return Ended::HeldUp };
            lateness.comes_late(begins, Late { until_offset: until.max(follow.offset()), since_ms }, now);
        }
        if let Err(fault) = spooling.append(bytes, came, lateness.precision(begins, came, now)).await {
            return Ended::Spool(fault);
        }
        if let Some(full) = spooling.full() {
            return Ended::Full(full);
        }
        let (taken, now) = (Reading::now(), Instant::now());
        if let Some(since_ms) = lateness.drained(follow.offset(), taken, now) {
            let Some(until_offset) = written().await else { return Ended::HeldUp };
            lateness.comes_late(follow.offset(), Late { until_offset, since_ms }, now);
        }
    }
}
