//! LZF, the compression Redis uses for strings inside an RDB. Decoding only.
//!
//! Never allocates more than the caller's announced length, and never trusts a back reference.

/// Highest ratio of unpacked to packed bytes: three packed bytes give at most 264.
pub(super) const MAX_RATIO: u64 = 88;
/// Farthest that a back reference reaches.
pub(super) const DISTANCE_MAX: usize = 8192;
/// Longest run that one control byte can ask for.
pub(super) const RUN_MAX: usize = 264;
/// Most packed bytes of a back reference behind its control byte.
pub(super) const OPERANDS_MAX: usize = 2;

/// What is wrong with a string that is not LZF of its announced length.
pub(super) const NO_LZF: &str = "a compressed string cannot be decompressed";

/// What a control byte asks for.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// So many bytes of plain text follow.
    Literal(usize),
    /// `run` bytes are repeated from `distance` bytes back; `operands` bytes of the packed data said so.
    Back { run: usize, distance: usize, operands: usize },
}

impl Step {
    /// Reads a control byte and the two bytes behind it; those that are not there count as zero, and `operands` says how many count.
    #[inline]
    pub(super) fn read(control: u8, next: [u8; OPERANDS_MAX]) -> Self {
        let control = usize::from(control);
        if control < 32 {
            return Self::Literal(control + 1);
        }
        let [first, second] = next.map(usize::from);
        let (run, low, operands) =
            if control >> 5 == 7 { (7 + first + 2, second, 2) } else { ((control >> 5) + 2, first, 1) };
        Self::Back { run, distance: (((control & 0x1f) << 8) | low) + 1, operands }
    }
}

/// Whether `packed` is LZF of exactly `length` bytes, found without unpacking.
#[must_use]
pub(super) fn is_sound(packed: &[u8], length: u64) -> bool {
    let (mut rest, mut out) = (packed, 0_u64);
    while let Some((&control, tail)) = rest.split_first() {
        let next = [tail.first(), tail.get(1)].map(|byte| byte.copied().unwrap_or_default());
        let taken = match Step::read(control, next) {
            Step::Literal(n) => {
                out += n as u64;
                n
            }
            Step::Back { run, distance, operands } => {
                if distance as u64 > out {
                    return false;
                }
                out += run as u64;
                operands
            }
        };
        let Some(tail) = tail.get(taken..) else { return false };
        rest = tail;
    }
    out == length
}

/// Unpacks `packed` into `out` (cleared first). False where the bytes are not LZF of exactly `length` bytes.
#[must_use]
pub(super) fn unpack(packed: &[u8], length: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut rest = packed;
    while let Some((&control, tail)) = rest.split_first() {
        let next = [tail.first(), tail.get(1)].map(|byte| byte.copied().unwrap_or_default());
        match Step::read(control, next) {
            Step::Literal(n) => {
                let Some((literal, tail)) = tail.split_at_checked(n) else { return false };
                if out.len() + n > length {
                    return false;
                }
                out.extend_from_slice(literal);
                rest = tail;
            }
            Step::Back { run, distance, operands } => {
                let Some(tail) = tail.get(operands..) else { return false };
                rest = tail;
                if out.len() + run > length || !repeat(out, run, distance) {
                    return false;
                }
            }
        }
    }
    out.len() == length
}

/// Appends `run` bytes that begin `distance` bytes before the end. False where there are not so many.
#[must_use]
pub(super) fn repeat(out: &mut Vec<u8>, run: usize, distance: usize) -> bool {
    let Some(start) = out.len().checked_sub(distance) else { return false };
    if distance >= run {
        out.extend_from_within(start..start + run);
        return true;
    }
    // The run reads what it writes: that is how LZF spells repetition.
    for at in start..start + run {
        let Some(&byte) = out.get(at) else { return false };
        out.push(byte);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{is_sound, unpack};

    #[test]
    fn literals_runs_and_overlaps() {
        let mut out = Vec::new();
        // The second is "a" and then eight more of it by an overlapping reference, the third the long form of a run.
        for (packed, text) in [
            (&[2, b'a', b'b', b'c'][..], &b"abc"[..]),
            (&[0, b'a', 6 << 5, 0], b"aaaaaaaaa"),
            (&[0, b'x', 7 << 5, 20, 0], &[b'x'; 30]),
        ] {
            assert!(unpack(packed, text.len(), &mut out) && is_sound(packed, text.len() as u64), "{packed:?}");
            assert_eq!(out, text);
        }
    }

    #[test]
    fn wrong_lengths_and_references_are_refused() {
        let mut out = Vec::new();
        for (bytes, length) in [(&[2u8, b'a'][..], 3), (&[0, b'a', 6 << 5, 9], 9), (&[0, b'a'], 2), (&[7 << 5], 9)] {
            assert!(!unpack(bytes, length, &mut out) && !is_sound(bytes, length as u64), "{bytes:?}");
        }
    }
}
