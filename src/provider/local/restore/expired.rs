//! How many keys of a set have expired at a moment of the clock of the server that they were restored to.
//!
//! It must not hold a restore's end up for long: a large set is not read once more for a number.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::provider::local::Inner;
use crate::redis::rdb::{self, EntryHead, Visitor};
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Bytes of an RDB that are walked in some seconds, beside the target's writing to its disk. Of a larger set the number stays unknown.
const READ_BYTES_MAX: u64 = 4 << 30;

/// A restore that has succeeded waits no longer for a number: the set may be on a slow disk.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Counts keys whose expiry has passed.
#[derive(Debug)]
struct Passed {
    at_ms: i64,
    /// When the walk is given up.
    until: Instant,
    keys: u64,
    /// Whether the entry's expiry has passed.
    this: bool,
}

impl Visitor for Passed {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = false;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        // A server deletes what expires at a moment once that moment is over.
        self.this = head.expiry_ms.is_some_and(|at| at < self.at_ms);
        if Instant::now() > self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        Ok(())
    }

    fn entry_end(&mut self) -> io::Result<()> {
        self.keys += u64::from(self.this);
        Ok(())
    }
}

impl Inner {
    /// Keys of the set whose expiry has passed at a moment, in milliseconds since 1970; `None` where no moment is given, the set is large,
    /// or it cannot be read.
    pub(super) async fn expired_by(&self, set: &BackupSet, at_ms: Option<i64>) -> Option<u64> {
        let at_ms = at_ms.filter(|_| set.rdb_bytes <= READ_BYTES_MAX)?;
        let data = self.vault.open_data(set).await.ok()?;
        expired_in(data, at_ms).await
    }
}

/// [`Inner::expired_by`] of an RDB.
pub(super) async fn expired_in(data: impl Read + Send + 'static, at_ms: i64) -> Option<u64> {
    let walk = blocking(move || {
        Ok(rdb::walk(data, (), Passed { at_ms, until: Instant::now() + READ_WITHIN, keys: 0, this: false }))
    });
    match walk.await {
        Ok(Ok(walked)) => Some(walked.visitor.keys),
        Ok(Err(error)) => {
            tracing::warn!("how many keys have expired is not known, for the set could not be read once more: {error}");
            None
        }
        Err(_) => None,
    }
}
