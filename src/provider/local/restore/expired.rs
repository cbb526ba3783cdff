//! How many keys of a set have expired at a moment of the clock of the server that they were restored to.
//!
//! It must not hold a restore's end up for long: a large set is not read once more for a number, and a slow disk is not waited for.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::provider::local::Inner;
use crate::redis::rdb::{self, EntryHead, Visitor};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Keys whose expiry has passed, per database; a database without any may be left out.
pub(super) type PassedKeys = BTreeMap<u64, u64>;

/// Bytes of an RDB that are walked in some seconds, beside the target's writing to its disk. Of a larger set the number stays unknown.
const READ_BYTES_MAX: u64 = 4 << 30;

/// A restore that has succeeded waits no longer for a number: the set may be on a slow disk.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Counts keys whose expiry has passed.
#[derive(Debug)]
struct Passed {
    at_ms: i64,
    keys: PassedKeys,
    /// The database of the entry, where its expiry has passed.
    this: Option<u64>,
}

impl Visitor for Passed {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = false;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        // A server deletes what expires at a moment once that moment is over.
        self.this = head.expiry_ms.filter(|at| *at < self.at_ms).map(|_| head.db);
        Ok(())
    }

    fn entry_end(&mut self) -> io::Result<()> {
        if let Some(db) = self.this {
            *self.keys.entry(db).or_default() += 1;
        }
        Ok(())
    }
}

/// Reads until a moment, and no further.
#[derive(Debug)]
struct Until<R> {
    from: R,
    until: Instant,
}

impl<R: Read> Read for Until<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        self.from.read(to)
    }
}

/// The keys of a set whose expiry has passed at a moment; `None` where reading it fails, or takes longer than that. A read that the system
/// does not end goes on by itself, to its next piece.
async fn passed_by<R: Read + Send + 'static>(
    open: impl Future<Output = Option<R>>,
    at_ms: i64,
    within: Duration,
) -> Option<PassedKeys> {
    let until = Instant::now() + within;
    let reading = async {
        let from = Until { from: open.await?, until };
        let walked = blocking(move || Ok(rdb::walk(from, (), Passed { at_ms, keys: BTreeMap::new(), this: None })));
        Some(walked.await.ok()?.map(|walked| walked.visitor.keys).map_err(|error| error.to_string()))
    };
    let why = match tokio::time::timeout(within, reading).await {
        Ok(Some(Ok(keys))) => return Some(keys),
        Ok(Some(Err(error))) => error,
        Ok(None) => "it cannot be opened".to_owned(),
        Err(_) => "it takes too long".to_owned(),
    };
    tracing::warn!("how many keys have expired is not known, for the set could not be read once more: {why}");
    None
}

impl Inner {
    /// Keys of the set whose expiry has passed at a moment, in milliseconds since 1970; `None` where no moment is given, the set is large,
    /// or it cannot be read in time.
    pub(super) async fn expired_by(&self, set: &BackupSet, at_ms: Option<i64>) -> Option<PassedKeys> {
        let at_ms = at_ms.filter(|_| set.rdb_bytes <= READ_BYTES_MAX)?;
        passed_by(async { self.vault.open_data(set).await.ok() }, at_ms, READ_WITHIN).await
    }
}

/// [`Inner::expired_by`] of an RDB.
pub(super) async fn expired_in(data: impl Read + Send + 'static, at_ms: i64) -> Option<PassedKeys> {
    passed_by(async { Some(data) }, at_ms, READ_WITHIN).await
}

#[cfg(test)]
mod tests {
    //! However a set is slow to read, its end is waited for no longer than that.
    use super::passed_by;
    use std::io::{self, Read};
    use std::time::{Duration, Instant};

    /// An RDB of one key in database 3 that expired in 1970 and one that never does, each byte of which takes this long.
    struct Slow(Vec<u8>, Duration);

    impl Read for Slow {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(self.1);
            let n = to.len().min(1).min(self.0.len());
            for (to, from) in to.iter_mut().zip(self.0.drain(..n)) {
                *to = from;
            }
            Ok(n)
        }
    }

    fn slow(each: Duration) -> Slow {
        let two_keys = b"REDIS0009\xfe\x03\xfc\x01\0\0\0\0\0\0\0\0\x01a\x01v\0\x01b\x01v\xff\0\0\0\0\0\0\0\0";
        Slow(two_keys.to_vec(), each)
    }

    #[tokio::test]
    async fn a_slow_set_is_not_waited_for() {
        let within = Duration::from_millis(300);
        assert_eq!(passed_by(async { Some(slow(Duration::ZERO)) }, 9, within).await, Some([(3, 1)].into()));
        assert_eq!(passed_by(async { Some(slow(Duration::ZERO)) }, 1, within).await, Some([].into()));
        // Slow all along, and stuck in one read: the walk's thread meets its deadline in the first, and is left alone in the second.
        for each in [Duration::from_millis(30), Duration::from_secs(3)] {
            let begun = Instant::now();
            assert_eq!(passed_by(async { Some(slow(each)) }, 9, within).await, None);
            assert!(begun.elapsed() < Duration::from_secs(2), "{each:?}");
        }
        let never = std::future::pending::<Option<Slow>>();
        assert_eq!(passed_by(never, 9, within).await, None);
    }
}
