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
    /// Bytes of RDBs that were read; of a set that is read twice those of both times.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends the reading with an error, which says nothing about the set.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
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
        if self.watch.stopped.load(Ordering::Relaxed) {
            return Err(io::Error::other("the reading was ended"));
        }
        let n = self.from.read(to)?;
        self.watch.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
