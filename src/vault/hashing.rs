//! SHA-256 of what passes, on a thread of its own: beside a walk it costs a copy instead of half the walk's time.
//!
//! Bounded: a walk that is faster than the hash waits for it.

use crate::redis::rdb::Tap;
use sha2::{Digest as _, Sha256};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Blocks on their way to the hash; a block of a walk has up to 256 KiB.
const AHEAD: usize = 4;

/// Hashes the bytes that pass. Dropped, it ends by itself.
#[derive(Debug)]
pub struct Hashing {
    blocks: SyncSender<Vec<u8>>,
    /// Blocks that are hashed, to be filled again.
    free: Receiver<Vec<u8>>,
    thread: JoinHandle<[u8; 32]>,
}

impl Hashing {
    /// Begins a hash.
    ///
    /// # Errors
    /// Where there is no thread.
    pub fn new() -> io::Result<Self> {
        let (blocks, taken) = sync_channel::<Vec<u8>>(AHEAD);
        let (give_back, free) = channel();
        let run = move || {
            let mut sha = Sha256::new();
            for block in taken {
                sha.update(&block);
                // At the end nobody fills it again.
                let _ = give_back.send(block);
            }
            sha.finalize().into()
        };
        let thread = std::thread::Builder::new().name("hash".into()).spawn(run)?;
        Ok(Self { blocks, free, thread })
    }

    /// The hash of all that passed.
    ///
    /// # Errors
    /// Where the thread died.
    pub fn finish(self) -> io::Result<[u8; 32]> {
        drop(self.blocks);
        self.thread.join().map_err(|_| died())
    }
}

fn died() -> io::Error {
    io::Error::other("the hashing thread died")
}

impl Tap for Hashing {
    fn bytes(&mut self, block: &[u8]) -> io::Result<()> {
        let mut copy = self.free.try_recv().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(block);
        self.blocks.send(copy).map_err(|_| died())
    }
}

#[cfg(test)]
mod tests {
    //! The hash is that of the blocks in their order, however many there are.
    use super::{AHEAD, Hashing, Tap as _};
    use sha2::{Digest as _, Sha256};

    #[test]
    fn hashed_in_order() {
        for blocks in [0, 1, AHEAD, 10 * AHEAD] {
            let (mut hashing, mut all) = (Hashing::new().unwrap(), Vec::new());
            for n in 0..blocks {
                let block = vec![n as u8; 1000 * n];
                hashing.bytes(&block).unwrap();
                all.extend(block);
            }
            assert_eq!(hashing.finish().unwrap(), *Sha256::digest(all), "{blocks} blocks");
        }
    }
}
