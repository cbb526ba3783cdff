//! The digest of a stored data object: BLAKE3 over the BLAKE3 of each part of 16 MiB, so that two cores can compute it.
//!
//! An equal digest says that the object is the one that was verified before, and nothing about its contents. It passes from a plan
//! to its job and is written into no manifest, whose SHA-256 is that of the RDB. BLAKE3, because every byte is hashed between a yes
//! and the first byte sent, while somebody waits: a core hashes several gigabytes in a second.

use crate::vault::store::Ranges;
use blake3::{Hash, Hasher};
use std::io;

/// Bytes of a part, hashed by itself.
const PART: u64 = 16 << 20;
/// Parts hashed at once.
const WORKERS: u64 = 2;
/// Bytes of one read: they stay in the second-level cache until they are hashed.
const BLOCK: u64 = 256 << 10;

/// The digest of an object, in hexadecimal.
pub(super) fn parts_digest(object: &dyn Ranges) -> io::Result<String> {
    let len = object.size()?;
    // Every `WORKERS`th part from the worker's own on.
    let work = |worker: u64| -> io::Result<Vec<_>> {
        let mut block = vec![0; BLOCK as usize];
        let starts = (worker * PART..len).step_by((WORKERS * PART) as usize);
        starts.map(|at| hash(object, at, len.min(at + PART), &mut block)).collect()
    };
    let sums: Vec<Vec<_>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..WORKERS).map(|n| scope.spawn(move || work(n))).collect();
        let died = |_| Err(io::Error::other("a hashing thread died"));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(died)).collect::<io::Result<_>>()
    })?;
    let mut whole = Hasher::new();
    for part in 0..len.div_ceil(PART) {
        let worker = sums.get((part % WORKERS) as usize);
        let part = worker.and_then(|s| s.get((part / WORKERS) as usize));
        whole.update(part.ok_or_else(|| io::Error::other("no part"))?.as_bytes());
    }
    Ok(whole.finalize().to_hex().to_string())
}

/// BLAKE3 of the bytes from `at` to `end` of an object.
fn hash(object: &dyn Ranges, mut at: u64, end: u64, block: &mut [u8]) -> io::Result<Hash> {
    let mut hasher = Hasher::new();
    while at < end {
        let n = BLOCK.min(end - at);
        let piece = block.get_mut(..n as usize).unwrap_or_default();
        object.read_exact_at(piece, at)?;
        hasher.update(piece);
        at += n;
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    //! The digest is the one that is described above, at every length around the bounds of parts.
    use super::{PART, parts_digest};
    use std::fs::File;

    #[test]
    fn summed_by_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        for len in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 12_345] {
            let bytes: Vec<u8> = (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let parts: Vec<u8> = bytes.chunks(PART as usize).flat_map(|part| *blake3::hash(part).as_bytes()).collect();
            assert_eq!(
                parts_digest(&File::open(&path).unwrap()).unwrap(),
                blake3::hash(&parts).to_string(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn every_part_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let sum = |parts: &[u8]| {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| vec![*part; PART as usize]).collect();
            std::fs::write(&path, bytes).unwrap();
            parts_digest(&File::open(&path).unwrap()).unwrap()
        };
        let sums: std::collections::BTreeSet<String> =
            [&[1, 2, 3][..], &[2, 1, 3], &[1, 3, 2], &[3, 2, 1], &[1, 2], &[1, 2, 3, 3]].map(sum).into();
        assert_eq!(sums.len(), 6);
    }
}
