//! Lets whoever waits for the reading of a set see how far it is, and end it. Blocking reads are ended at their next piece.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a reading is. Shared by the thread that reads and whoever waits for it.
#[derive(Debug, Default)]
pub struct Watch {
    bytes: AtomicU64,
    stopped: AtomicBool,
}

impl Watch {
    /// Bytes that were read: of a set its RDB's, both times where that is read twice; of a copy those of the objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends the reading with an error, which says nothing about the set.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it was ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Counts bytes, for who reads in another way.
    ///
    /// # Errors
    /// Where the reading was ended.
    pub fn count(&self, bytes: u64) -> io::Result<()> {
        if self.is_stopped() {
            return Err(io::Error::other("the reading was ended"));
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// What is read from there is counted.
    pub fn over<R: Read>(self: &Arc<Self>, from: R) -> Watched<R> {
        Watched { from, watch: Arc::clone(self) }
    }
}

/// A reader that is watched.
#[derive(Debug)]
pub struct Watched<R> {
    from: R,
    watch: Arc<Watch>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.watch.count(0)?;
        let n = self.from.read(to)?;
        self.watch.count(n as u64)?;
        Ok(n)
    }
}
