//! Blocks of bytes in a file without a name, each chained to the one before it of its chain: what is parted into many piles needs one file
//! and no order of writing.
//!
//! Nothing is made on disk before the first block. Nothing but the file grows with the data.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::config::nameless::nameless;

/// Bytes before a block's content: the number of the chain's block before it.
const HEAD: usize = 8;

/// One chain of blocks.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Number of the latest block in the file, counted from one; 0 for none.
    latest: u64,
    /// Blocks in the file.
    pub(super) blocks: u64,
}

/// The file.
#[derive(Debug)]
pub(super) struct Chains {
    dir: PathBuf,
    file: Option<File>,
    blocks: u64,
    /// A block as it is written.
    block: Vec<u8>,
    size: usize,
}

impl Chains {
    /// Nothing yet. `size` is that of every block's content, in bytes; `dir` is where the file is made.
    pub(super) fn new(dir: PathBuf, size: usize) -> Self {
        Self { dir, file: None, blocks: 0, block: Vec::new(), size }
    }

    /// Where the file is made.
    pub(super) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Takes the file out, with all blocks.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(self.dir.clone(), self.size);
        std::mem::replace(self, empty)
    }

    /// Adds a block to a chain. What it holds has the size of one.
    pub(super) fn append<const N: usize>(
        &mut self,
        chain: &mut Chain,
        content: impl Iterator<Item = [u8; N]>,
    ) -> io::Result<()> {
        self.block.clear();
        self.block.extend_from_slice(&chain.latest.to_le_bytes());
        content.for_each(|item| self.block.extend_from_slice(&item));
        let at = self.blocks * (HEAD + self.size) as u64;
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless(&self.dir, "numbers")?),
        };
        file.write_all_at(&self.block, at)?;
        self.blocks += 1;
        (chain.latest, chain.blocks) = (self.blocks, chain.blocks + 1);
        Ok(())
    }

    /// Calls `each` with the blocks of a chain, the latest first, until it returns false; and returns whether it never did.
    pub(super) fn read(&self, chain: &Chain, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        let (mut at, mut block) = (chain.latest, vec![0; HEAD + self.size]);
        while let (Some(file), 1..) = (&self.file, at) {
            file.read_exact_at(&mut block, (at - 1) * (HEAD + self.size) as u64)?;
            let (before, content) = block.split_first_chunk().unwrap_or((&[0; HEAD], &[]));
            at = u64::from_le_bytes(*before);
            if !each(content) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
