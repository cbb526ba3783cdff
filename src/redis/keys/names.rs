//! Names of keys, remembered to be asked for: a hash of each, sorted, in memory while they fit and in a nameless file beyond that.
//!
//! A name that was never given is taken for one that was with a likelihood of one in 2^64 even among billions: the hash has 128 bits, and
//! a key of its own each time. Memory is bounded (about 40 MiB); the file grows by 32 bytes a name.

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::config::nameless::nameless;

/// Hashes held and sorted at once: 16 MiB.
const HELD_MAX: usize = 1 << 20;
/// Bytes of a hash.
const HASH_BYTES: usize = 16;
/// Hashes that are read of all runs together as they are merged.
const MERGED_AT_ONCE: usize = 1 << 19;
/// Hashes that are written together.
const WRITTEN_AT_ONCE: usize = 1 << 14;

/// Names that are still being gathered.
#[derive(Debug)]
pub struct Names {
    dir: PathBuf,
    hash: (RandomState, RandomState),
    held: Vec<u128>,
    held_max: usize,
    /// Sorted runs, one behind the other: the file, and the number of hashes in each.
    runs: Option<(File, Vec<usize>)>,
}

/// Names that were gathered.
#[derive(Debug)]
pub struct KnownNames {
    hash: (RandomState, RandomState),
    sorted: Sorted,
}

#[derive(Debug)]
enum Sorted {
    Held(Vec<u128>),
    File(File, u64),
}

fn hash_of((one, two): &(RandomState, RandomState), db: u64, key: &[u8]) -> u128 {
    let half = |state: &RandomState| {
        let mut hasher = state.build_hasher();
        hasher.write_u64(db);
        hasher.write(key);
        u128::from(hasher.finish())
    };
    half(one) << 64 | half(two)
}

impl Names {
    /// None yet. A file of those that do not fit into memory is made in `dir`.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        let hash = (RandomState::new(), RandomState::new());
        Self { dir, hash, held: Vec::new(), held_max: HELD_MAX, runs: None }
    }

    /// Remembers a key of a database.
    ///
    /// # Errors
    /// Those of the file.
    pub fn push(&mut self, db: u64, key: &[u8]) -> io::Result<()> {
        self.held.push(hash_of(&self.hash, db, key));
        if self.held.len() >= self.held_max { self.write_run() } else { Ok(()) }
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let (file, lengths) = match &mut self.runs {
            Some(runs) => runs,
            none => none.insert((nameless(&self.dir, "names")?, Vec::new())),
        };
        let before: usize = lengths.iter().sum();
        for (at, part) in self.held.chunks(WRITTEN_AT_ONCE).enumerate() {
            write_at(file, before + at * WRITTEN_AT_ONCE, part)?;
        }
        lengths.push(self.held.len());
        self.held.clear();
        Ok(())
    }

    /// Ends the gathering.
    ///
    /// # Errors
    /// Those of the file.
    pub fn seal(mut self) -> io::Result<KnownNames> {
        if self.runs.is_some() && !self.held.is_empty() {
            self.write_run()?;
        }
        let Some((file, lengths)) = self.runs.take() else {
            self.held.sort_unstable();
            return Ok(KnownNames { hash: self.hash, sorted: Sorted::Held(self.held) });
        };
        // Given back before as much is needed for merging.
        self.held = Vec::new();
        let merged = merge(&file, &lengths, nameless(&self.dir, "names")?)?;
        let count = lengths.iter().map(|n| *n as u64).sum();
        Ok(KnownNames { hash: self.hash, sorted: Sorted::File(merged, count) })
    }
}

fn write_at(file: &File, at: usize, hashes: &[u128]) -> io::Result<()> {
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    file.write_all_at(&bytes, (at * HASH_BYTES) as u64)
}

/// One run, read a part at a time.
struct Run {
    next: usize,
    end: usize,
    part: std::vec::IntoIter<u128>,
}

impl Run {
    fn take(&mut self, file: &File, at_once: usize) -> io::Result<Option<u128>> {
        if let Some(hash) = self.part.next() {
            return Ok(Some(hash));
        }
        let count = (self.end - self.next).min(at_once);
        let mut bytes = vec![0; count * HASH_BYTES];
        file.read_exact_at(&mut bytes, (self.next * HASH_BYTES) as u64)?;
        self.next += count;
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        self.part = hashes.iter().map(|hash| u128::from_le_bytes(*hash)).collect::<Vec<_>>().into_iter();
        Ok(self.part.next())
    }
}

/// Merges sorted runs into one, in another file.
fn merge(file: &File, lengths: &[usize], to: File) -> io::Result<File> {
    use std::cmp::Reverse;
    let at_once = (MERGED_AT_ONCE / lengths.len().max(1)).max(64);
    let (mut runs, mut from) = (Vec::new(), 0);
    for length in lengths {
        runs.push(Run { next: from, end: from + length, part: Vec::new().into_iter() });
        from += length;
    }
    let mut heads = std::collections::BinaryHeap::new();
    for (number, run) in runs.iter_mut().enumerate() {
        heads.extend(run.take(file, at_once)?.map(|hash| Reverse((hash, number))));
    }
    let (mut out, mut written) = (Vec::with_capacity(WRITTEN_AT_ONCE), 0);
    while let Some(Reverse((hash, number))) = heads.pop() {
        out.push(hash);
        if out.len() == WRITTEN_AT_ONCE {
            write_at(&to, written, &out)?;
            written += out.len();
            out.clear();
        }
        if let Some(run) = runs.get_mut(number) {
            heads.extend(run.take(file, at_once)?.map(|hash| Reverse((hash, number))));
        }
    }
    write_at(&to, written, &out)?;
    Ok(to)
}

impl KnownNames {
    /// Whether that key of that database was among them.
    ///
    /// # Errors
    /// Those of the file.
    pub fn has(&self, db: u64, key: &[u8]) -> io::Result<bool> {
        let hash = hash_of(&self.hash, db, key);
        let (file, count) = match &self.sorted {
            Sorted::Held(held) => return Ok(held.binary_search(&hash).is_ok()),
            Sorted::File(file, count) => (file, *count),
        };
        let (mut from, mut to) = (0, count);
        while from < to {
            let middle = from + (to - from) / 2;
            let mut bytes = [0; HASH_BYTES];
            file.read_exact_at(&mut bytes, middle * HASH_BYTES as u64)?;
            match u128::from_le_bytes(bytes).cmp(&hash) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! However many names there are, those that were given are known, each in its own database, and no others; no file is left.
    use super::*;

    #[test]
    fn in_memory_and_in_files() {
        let dir = tempfile::tempdir().unwrap();
        for held_max in [HELD_MAX, 1000, 7] {
            let mut names = Names { held_max, ..Names::new(dir.path().into()) };
            for n in 0..5000_u64 {
                names.push(n % 3, format!("key:{}", n / 3).as_bytes()).unwrap();
            }
            let spilled = names.runs.is_some();
            assert_eq!(spilled, held_max < 5000, "the file is used when memory is full, and only then");
            let known = names.seal().unwrap();
            for n in 0..6000_u64 {
                let key = format!("key:{}", n / 3);
                assert_eq!(known.has(n % 3, key.as_bytes()).unwrap(), n < 5000, "{held_max}: {n}");
                assert!(!known.has(3, key.as_bytes()).unwrap() && !known.has(n % 3, &key.as_bytes()[1..]).unwrap());
            }
        }
        let none = Names::new(dir.path().into()).seal().unwrap();
        assert!(!none.has(0, b"").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the files have no name");
    }
}
