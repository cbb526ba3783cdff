//! The data object's file as bytes: how it comes to the disk while it is written, and its checksum as it lies there.
//!
//! The checksum is SHA-256 over the SHA-256 of each part of 16 MiB, so that two cores can take it. It says that a file is
//! the one that was looked at before, and nothing about what is in it.

use crate::model::ids::hex;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes brought to the disk together, and hashed by themselves.
const PART: u64 = 16 << 20;
/// Parts hashed at once.
const WORKERS: u64 = 2;
/// Read at once: stays in the second-level cache until it is hashed.
const BLOCK: u64 = 256 << 10;

/// A file being written, sent to the disk part by part. Left to itself the kernel begins to write after half a minute, and the
/// last fsync of a capture would wait for all of it.
pub(super) struct Stored {
    file: File,
    /// Bytes since the disk was last told.
    filled: u64,
    poke: SyncSender<()>,
    /// Ends when `poke` is dropped. It shares the file's description, so an error of the disk that it meets is told to it
    /// alone: its result must be asked for.
    syncing: JoinHandle<io::Result<()>>,
}

impl Stored {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let (poke, poked) = sync_channel::<()>(1);
        let same = file.try_clone()?;
        let syncing = std::thread::Builder::new()
            .name("writeback".into())
            .spawn(move || poked.iter().try_for_each(|()| same.sync_data()))?;
        Ok(Self { file, filled: 0, poke, syncing })
    }

    /// Everything on disk.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.poke);
        self.syncing.join().map_err(|_| io::Error::other("the thread that brings data to the disk died"))??;
        self.file.sync_all()
    }
}

impl Write for Stored {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.filled += n as u64;
        if self.filled >= PART {
            self.filled = 0;
            // One that is still at it will take this too with the next; one that has failed says so at the end.
            let _ = self.poke.try_send(());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The checksum of a file.
pub(super) fn parts_sha256(file: &File) -> io::Result<String> {
    let len = file.metadata()?.len();
    // Every `WORKERS`th part from `lane` on.
    let lane = |lane: u64| -> io::Result<Vec<_>> {
        let mut block = vec![0; BLOCK as usize];
        let starts = (lane * PART..len).step_by((WORKERS * PART) as usize);
        starts.map(|at| hash(file, at, len.min(at + PART), &mut block)).collect()
    };
    let lanes: Vec<Vec<_>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..WORKERS).map(|n| scope.spawn(move || lane(n))).collect();
        let died = |_| Err(io::Error::other("a hashing thread died"));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect::<io::Result<_>>()
    })?;
    let mut whole = Sha256::new();
    for part in 0..len.div_ceil(PART) {
        let lane = lanes.get((part % WORKERS) as usize);
        whole.update(lane.and_then(|l| l.get((part / WORKERS) as usize)).ok_or_else(|| io::Error::other("no part"))?);
    }
    Ok(hex(&whole.finalize()))
}

/// SHA-256 of a stretch of a file.
fn hash(file: &File, mut at: u64, end: u64, block: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut sha = Sha256::new();
    while at < end {
        let n = BLOCK.min(end - at);
        let piece = block.get_mut(..n as usize).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        sha.update(piece);
        at += n;
    }
    Ok(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::{PART, Stored, parts_sha256};
    use crate::model::ids::hex;
    use sha2::{Digest as _, Sha256};
    use std::fs::File;
    use std::io::Write as _;

    /// What is written is what lies there, whatever the sizes of the writes; and its checksum is the one that is described
    /// above, at every length around the bounds of parts.
    #[test]
    fn written_whole_and_summed_by_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        for len in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 12_345] {
            let bytes: Vec<u8> = (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let mut stored = Stored::new(File::create(&path).unwrap()).unwrap();
            for piece in bytes.chunks(700_001) {
                stored.write_all(piece).unwrap();
            }
            stored.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            let parts: Vec<u8> = bytes.chunks(PART as usize).flat_map(|part| Sha256::digest(part).to_vec()).collect();
            assert_eq!(parts_sha256(&File::open(&path).unwrap()).unwrap(), hex(&Sha256::digest(parts)), "{len} bytes");
        }
    }
}
