//! Equal numbers among more than memory holds: the numbers are parted by their first bits into a nameless file, and each part is sorted
//! by itself.
//!
//! Memory is bounded whatever comes (about 33 MiB); only the file grows, by eight bytes a number. Nothing is written while
//! the numbers fit into memory.

use std::io;
use std::path::PathBuf;

use crate::redis::chains::{Chain, Chains};

/// Numbers held and sorted at once: 16 MiB.
const HELD_MAX: usize = 2 << 20;
/// Number of parts, a power of two.
const PARTS: usize = 256;
/// Numbers of a part that are written together: 256 parts of 32 KiB.
const BLOCK: usize = 4096;

/// Numbers of one part that are not in the file yet, and where the others are.
#[derive(Debug, Default)]
struct Part {
    tail: Vec<u64>,
    chain: Chain,
}

/// Numbers, to be searched for equal ones.
#[derive(Debug)]
pub(super) struct Spill {
    /// All numbers, while they fit; then empty.
    held: Vec<u64>,
    /// None while all numbers fit.
    parts: Vec<Part>,
    chains: Chains,
    held_max: usize,
}

impl Spill {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { held: Vec::new(), parts: Vec::new(), chains: Chains::new(dir, 8 * BLOCK), held_max: HELD_MAX }
    }

    #[inline]
    pub(super) fn push(&mut self, number: u64) -> io::Result<()> {
        if self.parts.is_empty() {
            self.held.push(number);
            return if self.held.len() >= self.held_max { self.begin_file() } else { Ok(()) };
        }
        self.part(number)
    }

    /// Memory is full: from here on the numbers go to a file.
    fn begin_file(&mut self) -> io::Result<()> {
        self.parts.resize_with(PARTS, Part::default);
        for number in std::mem::take(&mut self.held) {
            self.part(number)?;
        }
        Ok(())
    }

    fn part(&mut self, number: u64) -> io::Result<()> {
        let Self { parts, chains, .. } = self;
        let Some(part) = parts.get_mut((number >> (64 - PARTS.ilog2())) as usize) else { return Ok(()) };
        part.tail.push(number);
        if part.tail.len() < BLOCK {
            return Ok(());
        }
        chains.append(&mut part.chain, part.tail.drain(..).map(u64::to_le_bytes))
    }

    /// Calls `equal` with each number that came more than once, until it returns false. Takes all numbers out.
    pub(super) fn equals(&mut self, mut equal: impl FnMut(u64) -> bool) -> io::Result<()> {
        let mut held = std::mem::take(&mut self.held);
        let parts = std::mem::take(&mut self.parts);
        if parts.is_empty() {
            take_equals(&mut held, &mut equal);
            return Ok(());
        }
        let chains = self.chains.take();
        for part in parts {
            // A part that is larger than memory is read more than once, each time for the numbers of one range.
            let numbers = part.chain.blocks * BLOCK as u64 + part.tail.len() as u64;
            let bits = (numbers * 2).div_ceil(self.held_max as u64).next_power_of_two().ilog2();
            for range in 0..1_u64 << bits {
                let mut keep = |number: u64| {
                    let place = if bits == 0 { 0 } else { number << PARTS.ilog2() >> (64 - bits) };
                    if place == range {
                        held.push(number);
                    }
                    // Only numbers that come very often can fill a range.
                    held.len() < self.held_max
                        || (take_equals_keeping(&mut held, &mut equal) && held.len() < self.held_max)
                };
                let mut going = part.tail.iter().all(|number| keep(*number));
                going = going
                    && chains.read(&part.chain, |block| {
                        let (words, _) = block.as_chunks::<8>();
                        words.iter().all(|word| keep(u64::from_le_bytes(*word)))
                    })?;
                if !going || !take_equals(&mut held, &mut equal) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// As [`take_equals`], but one of each number stays, for others that may come.
fn take_equals_keeping(held: &mut Vec<u64>, equal: &mut impl FnMut(u64) -> bool) -> bool {
    held.sort_unstable();
    let going = held.windows(2).all(|pair| !matches!(pair, [a, b] if a == b) || pair.first().is_none_or(|n| equal(*n)));
    held.dedup();
    going
}

/// Empties `held`, after calling `equal` with what is in it twice.
fn take_equals(held: &mut Vec<u64>, equal: &mut impl FnMut(u64) -> bool) -> bool {
    let going = take_equals_keeping(held, equal);
    held.clear();
    going
}

#[cfg(test)]
mod tests {
    //! However many numbers come, all that came twice are found and no other.
    use super::{BLOCK, PARTS, Spill};
    use std::collections::BTreeSet;

    fn equals(mut spill: Spill, numbers: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        for number in numbers {
            spill.push(number).unwrap();
        }
        let spilled = !spill.parts.is_empty();
        spill
            .equals(|number| {
                found.insert(number);
                true
            })
            .unwrap();
        assert_eq!(spilled, spill.held_max < 1 << 20, "the file is used when memory is full, and only then");
        found
    }

    /// Spread over all parts, each number once.
    fn spread(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn in_memory_and_in_a_file_and_in_parts_larger_than_memory() {
        let dir = tempfile::tempdir().unwrap();
        let numbers = (3 * PARTS * BLOCK) as u64;
        let twice = [5, 70_000, numbers - 1];
        for held_max in [usize::MAX, 100_000, 4 * BLOCK, 1000] {
            let spill = || Spill { held_max, ..Spill::new(dir.path().into()) };
            let count = if held_max > 1 << 20 { 100_000 } else { numbers };
            let all = || (0..count).map(spread);
            assert_eq!(equals(spill(), all()), BTreeSet::new(), "{held_max}");
            let expected: BTreeSet<u64> = twice.iter().filter(|n| **n < count).map(|n| spread(*n)).collect();
            assert_eq!(equals(spill(), all().chain(expected.iter().copied())), expected, "{held_max}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn one_number_more_often_than_memory_holds() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Spill { held_max: 1000, ..Spill::new(dir.path().into()) };
        let numbers = std::iter::repeat_n(7, 20_000).chain([8, 9, 9]);
        assert_eq!(equals(spill, numbers), BTreeSet::from([7, 9]));
    }
}
