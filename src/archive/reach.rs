//! How far a log reaches, as writer and sealer tell each other.

use crate::archive::SegmentName;
use jiff::Timestamp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Offset behind the last whole transaction.
    pub offset: u64,
    /// Up to when everything received is in it.
    pub at: Timestamp,
}

impl Reached {
    pub(super) fn new(offset: u64, ms: i64) -> Option<Self> {
        Timestamp::from_millisecond(ms).ok().map(|at| Self { offset, at })
    }

    pub(super) fn by(segment: &SegmentName) -> Option<Self> {
        Self::new(segment.last, segment.last_ms)
    }
}

/// What the writer and the sealer of one spool know of each other.
#[derive(Debug)]
pub(super) struct SpoolProgress {
    /// Number of the file that is written to: all before it are closed.
    current: AtomicU64,
    /// Bytes of the spool's files.
    bytes: AtomicU64,
    archived: Mutex<Option<Reached>>,
}

impl SpoolProgress {
    pub fn new(current: u64, bytes: u64, archived: Option<Reached>) -> Self {
        Self { current: AtomicU64::new(current), bytes: AtomicU64::new(bytes), archived: Mutex::new(archived) }
    }

    pub fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    pub fn closed_before(&self, number: u64) {
        self.current.store(number, Ordering::Release);
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn grew(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file may have been counted anew since it went.
    pub fn shrank(&self, bytes: u64) {
        let less = |now: u64| Some(now.saturating_sub(bytes));
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// What the files have, whoever removed some of them.
    pub fn counted(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub fn archived(&self) -> Option<Reached> {
        *self.archived.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn archived_until(&self, reached: Reached) {
        *self.archived.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(reached);
    }
}
