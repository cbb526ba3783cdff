//! The checksum of a stored data object.
//!
//! The checksum is SHA-256 over the SHA-256 of each part of 16 MiB, so that two cores can compute it. An equal checksum says that
//! the object is the one that was verified before, and nothing about its contents.

use crate::model::ids::hex;
use crate::vault::store::Ranges;
use sha2::{Digest, Sha256};
use std::io;

/// Bytes of a part, hashed by itself.
const PART: u64 = 16 << 20;
/// Parts hashed at once.
const WORKERS: u64 = 2;
/// Bytes of one read: they stay in the second-level cache until they are hashed.
const BLOCK: u64 = 256 << 10;

/// The checksum of an object.
pub(super) fn parts_sha256(object: &dyn Ranges) -> io::Result<String> {
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
    let mut whole = Sha256::new();
    for part in 0..len.div_ceil(PART) {
        let worker = sums.get((part % WORKERS) as usize);
        whole.update(worker.and_then(|s| s.get((part / WORKERS) as usize)).ok_or_else(|| io::Error::other("no part"))?);
    }
    Ok(hex(&whole.finalize()))
}

/// SHA-256 of the bytes from `at` to `end` of an object.
fn hash(object: &dyn Ranges, mut at: u64, end: u64, block: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut sha = Sha256::new();
    while at < end {
        let n = BLOCK.min(end - at);
        let piece = block.get_mut(..n as usize).unwrap_or_default();
        object.read_exact_at(piece, at)?;
        sha.update(piece);
        at += n;
    }
    Ok(sha.finalize().into())
}

#[cfg(test)]
mod tests {
    //! The checksum is the one that is described above, at every length around the bounds of parts.
    use super::{PART, parts_sha256};
    use crate::model::ids::hex;
    use sha2::{Digest as _, Sha256};
    use std::fs::File;

    #[test]
    fn summed_by_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        for len in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 12_345] {
            let bytes: Vec<u8> = (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let parts: Vec<u8> = bytes.chunks(PART as usize).flat_map(|part| Sha256::digest(part).to_vec()).collect();
            assert_eq!(parts_sha256(&File::open(&path).unwrap()).unwrap(), hex(&Sha256::digest(parts)), "{len} bytes");
        }
    }
}
