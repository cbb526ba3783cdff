//! Extends the locks of sets that are still needed, and of the log that they need, where their bucket locks. For whom that is, and until when, is the
//! guard's verdict; who calls this has judged all sets of the instance just then.
//!
//! It must do nothing to what is about to go, and fail nobody: what has a lock that is over is kept as well as what is on a disk.

use crate::archive::SHARD;
use crate::archive::{Archive, Kept, LogLocks};
use crate::config::blocking::blocking;
use crate::guard::retention::Needed;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::time::written;
use crate::provider::local::Inner;
use crate::vault::Vault;
use crate::vault::locking::Extension;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sets that are asked about at a look, each of which takes some fifteen requests where its lock is extended.
const MOST: usize = 32;

/// For how long the locks of a log are extended at a look.
const LOG_WITHIN: Duration = Duration::from_secs(300);

/// How many sets of an instance may refuse or fail before the others are left to the next look.
const TROUBLE: usize = 3;

/// When the locks of sets end, by the place of their manifest, where that was asked; `None`: nothing locks one. A manifest says only what was so
/// when it was put.
static KNOWN: Mutex<BTreeMap<String, Option<Timestamp>>> = Mutex::new(BTreeMap::new());
/// Whether it was told that locks cannot be extended.
static TOLD: AtomicBool = AtomicBool::new(false);
/// The same of a log's.
static TOLD_OF_LOG: AtomicBool = AtomicBool::new(false);

fn known(place: &str) -> Option<Option<Timestamp>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(place).copied()
}

fn remember(place: String, ends: Option<Timestamp>) {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(place, ends);
}

/// For how long a set's bucket locked it, as its manifest tells.
pub(super) fn period(set: &BackupSet) -> SignedDuration {
    set.locked_until.map(|until| until.duration_since(set.finished_at)).unwrap_or_default()
}

/// What of an instance lies at a place, and has locks there.
pub(in crate::provider::local) struct Locks<'a> {
    /// The instance.
    pub instance_id: &'a str,
    /// Its sets.
    pub vault: &'a Vault,
    /// Its log.
    pub archive: &'a Archive,
    /// When they are looked at.
    pub now: Timestamp,
}

impl Locks<'_> {
    /// Extends the locks of these sets that are over before the set may go, and soon, each by at most its bucket's period, or a day. Some are left to
    /// the next look.
    pub async fn extend_sets(&self, needed: &[(&BackupSet, Needed, SignedDuration)]) {
        let (mut asked, mut troubles) = (0, 0);
        for (set, needed, by) in needed {
            let place = self.vault.manifest_place(set);
            let ends = match known(&place) {
                Some(None) => continue,
                Some(ends) => ends.max(set.locked_until),
                None => set.locked_until,
            };
            if ends.is_some_and(|ends| needed.extension(ends, *by, self.now).is_none()) {
                continue;
            }
            if asked == MOST || troubles == TROUBLE {
                break;
            }
            asked += 1;
            // What is refused may be of that one set, and what fails in passing.
            match self.extend_set(set, *needed, *by, place).await {
                Ok(true) => {}
                Ok(false) => troubles += 1,
                Err(fault) => {
                    tracing::warn!(instance = %self.instance_id, "the lock of backup {} could not be extended: {fault}", set.id);
                    troubles += 1;
                }
            }
        }
    }

    /// Whether the store lets this be done.
    async fn extend_set(
        &self,
        set: &BackupSet,
        needed: Needed,
        by: SignedDuration,
        place: String,
    ) -> Result<bool, Fault> {
        let ends = self.vault.lock_ends(set).await?;
        // Of one that was locked a store may only not say it to this key.
        if ends.is_some() || set.locked_until.is_none() {
            remember(place.clone(), ends);
        }
        let Some(until) = ends.and_then(|ends| needed.extension(ends, by, Timestamp::now())) else {
            return Ok(true);
        };
        match self.vault.extend_lock(set, until).await? {
            Extension::Done => {
                tracing::info!(instance = %self.instance_id, "the lock of backup {} is extended until {}: {place}", set.id, written(until));
                remember(place, Some(until));
            }
            Extension::Needless => {}
            Extension::Refused(why) => {
                if !TOLD.swap(true, Ordering::Relaxed) {
                    tracing::info!(
                        "the lock of backup {} is not extended, which takes the right s3:PutObjectRetention ({why}): a set that is kept \
                         longer than its bucket locks it is not locked then",
                        set.id
                    );
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Extends the locks of what the moments that are kept need of the log, where they are over soon, by at most this period. Some are left to the
    /// next look, and so is the rest once `is_over` says so, or it has taken too long: a backup's job, and what has expired, wait for it.
    pub async fn extend_log(&self, kept: Kept, by: SignedDuration, is_over: impl Fn() -> bool + Send + Sync + 'static) {
        let (archive, of, now) = (self.archive.clone(), self.instance_id.to_owned(), self.now);
        let begun = Instant::now();
        let is_over = move || is_over() || begun.elapsed() >= LOG_WITHIN;
        let work = move || archive.extend_locks((&of, SHARD), &kept, by, now, &is_over);
        let LogLocks { extended, left, refused, fault } = match blocking(work).await {
            Ok(done) => done,
            Err(fault) => LogLocks { fault: Some(fault), ..LogLocks::default() },
        };
        let place = self.vault.store().place("");
        if extended > 0 {
            tracing::info!(instance = %self.instance_id, left, "the locks of {extended} objects of its log at {place} are extended");
        }
        if let Some(fault) = fault {
            tracing::warn!(instance = %self.instance_id, "not all locks of its log at {place} could be extended: {fault}");
        }
        if let Some(why) = refused
            && !TOLD_OF_LOG.swap(true, Ordering::Relaxed)
        {
            tracing::info!(
                "the locks of the log of {} are not extended, which takes the right s3:PutObjectRetention ({why}): what is kept longer than \
                 its bucket locks it is not locked then",
                self.instance_id
            );
        }
    }
}

impl Inner {
    /// Extends the locks of these sets of an instance, and of what the log needs to lead to the moments that are kept. None is extended by more than
    /// `at_most`, or a day: a manifest for which nobody vouches, and one that comes from another bucket, tell of longer periods.
    pub(super) async fn extend_locks(
        &self,
        instance_id: &str,
        needed: &[(&BackupSet, Needed)],
        log: Option<Kept>,
        at_most: SignedDuration,
        now: Timestamp,
    ) {
        if !self.vault.is_far() {
            return;
        }
        let locks = Locks { instance_id, vault: &self.vault, archive: &self.archive, now };
        // A set of before the vault was in a bucket does not say that it is locked; where none does, the bucket locks nothing.
        if needed.iter().any(|(set, _)| set.locked_until.is_some()) {
            let needed: Vec<_> = needed.iter().map(|(set, needed)| (*set, *needed, period(set).min(at_most))).collect();
            locks.extend_sets(&needed).await;
        }
        if let Some(kept) = log.filter(|_| at_most.is_positive()) {
            let stop = self.jobs.stop.clone();
            locks.extend_log(kept, at_most, move || stop.is_cancelled()).await;
        }
    }

    /// Until when a set is locked of which its manifest tells a lock: that may have been extended where it is over soon.
    pub async fn locked_now(&self, set: &BackupSet, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        let Some(until) = set.locked_until.filter(|until| *until > now) else { return Ok(None) };
        let soon = until.duration_since(now) < SignedDuration::from_hours(24);
        if soon { self.vault.locked(set).await } else { Ok(Some(until)) }
    }
}
