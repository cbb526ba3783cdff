//! The keys of one state, parted by their hashes: what is not in memory is in a file without a name, and a part is read back at a time.

use std::io;
use std::path::PathBuf;

use super::record::{RECORD_BYTES, Record};
use crate::config::durable;
use crate::redis::chains::{Chain, Chains};

/// Number of parts, a power of two.
pub(super) const PARTS: usize = 256;

/// What is held of one state at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Records of a part that are written together.
    pub(super) block: usize,
    /// Records that are read back together, and as many once more ahead of them; those of a larger part in several passes.
    pub(super) held: usize,
    /// Databases and prefixes that are counted at once.
    pub(super) places: usize,
    /// Bytes of the disk that are left to others.
    pub(super) reserve: u64,
}

impl Bounds {
    /// 2 MiB for what is not written yet, twice 4 MiB for what is read back, up to 10 MiB for what is counted.
    pub(super) const USUAL: Self = Self { block: 256, held: 128 * 1024, places: 64 * 1024, reserve: durable::RESERVE };

    /// Bytes that so many keys of one state take on disk at least.
    pub(super) const fn on_disk(&self, keys: u64) -> u64 {
        keys.saturating_sub((PARTS * self.block) as u64).saturating_mul(RECORD_BYTES as u64)
    }
}

/// More would fill the disk.
#[derive(Debug, thiserror::Error)]
#[error("what is free there is left for jobs and the audit")]
struct NoRoom;

/// Records of one part that are not in the file yet, and where the others are.
#[derive(Debug, Default)]
struct Part {
    tail: Vec<Record>,
    chain: Chain,
}

/// The keys of one state.
#[derive(Debug)]
pub(super) struct Partitions {
    parts: Vec<Part>,
    chains: Chains,
    pub(super) bounds: Bounds,
}

impl Partitions {
    /// None yet. `dir` is where the file is made, if one is needed.
    pub(super) fn new(dir: PathBuf, bounds: Bounds) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(PARTS, Part::default);
        Self { parts, chains: Chains::new(dir, bounds.block * RECORD_BYTES), bounds }
    }

    /// Where the file is made.
    pub(super) fn dir(&self) -> &PathBuf {
        self.chains.dir()
    }

    #[inline]
    pub(super) fn push(&mut self, record: Record) -> io::Result<()> {
        let Some(part) = self.parts.get_mut((record.key >> (64 - PARTS.ilog2())) as usize) else { return Ok(()) };
        if part.tail.is_empty() {
            part.tail.reserve_exact(self.bounds.block);
        }
        part.tail.push(record);
        if part.tail.len() < self.bounds.block {
            return Ok(());
        }
        // Whoever else writes meanwhile: a full disk would stop the state store, too. What is not told refuses nothing.
        let needed = self.bounds.reserve.saturating_add((self.bounds.block * RECORD_BYTES) as u64);
        if durable::free(self.chains.dir()).is_ok_and(|free| free < needed) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, NoRoom));
        }
        self.chains.append(&mut part.chain, part.tail.drain(..).map(Record::to_bytes))
    }

    /// How many keys there are in a part.
    pub(super) fn count(&self, part: usize) -> u64 {
        let Some(part) = self.parts.get(part) else { return 0 };
        part.chain.blocks * self.bounds.block as u64 + part.tail.len() as u64
    }

    /// Reads back the keys of a part that are in one of `1 << bits` ranges, in order.
    pub(super) fn load(&self, part: usize, range: u64, bits: u32, out: &mut Vec<Record>) -> io::Result<()> {
        out.clear();
        let Some(part) = self.parts.get(part) else { return Ok(()) };
        let mut keep = |record: Record| {
            if bits == 0 || record.key << PARTS.ilog2() >> (64 - bits) == range {
                out.push(record);
            }
        };
        part.tail.iter().copied().for_each(&mut keep);
        self.chains.read(&part.chain, |block| {
            block.as_chunks().0.iter().map(Record::of_bytes).for_each(&mut keep);
            true
        })?;
        out.sort_unstable_by_key(Record::id);
        Ok(())
    }
}
