//! LZF, the compression Redis uses for strings inside an RDB. Decoding only.
//!
//! Never allocates more than the packed bytes and the caller's announced length, and never trusts a back reference.

use std::hint::select_unpredictable;

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
        let [first, second] = next;
        let (first, second) = (usize::from(first), usize::from(second));
        let (run, low, operands) =
            if control >> 5 == 7 { (7 + first + 2, second, 2) } else { ((control >> 5) + 2, first, 1) };
        Self::Back { run, distance: (((control & 0x1f) << 8) | low) + 1, operands }
    }
}

/// Whether `packed` is LZF of exactly `length` bytes, found without unpacking.
#[must_use]
pub(super) fn is_sound(packed: &[u8], length: u64) -> bool {
    let (mut next, mut out) = (0_usize, 0_usize);
    while let Some(&control) = packed.get(next) {
        let ahead = |at| usize::from(packed.get(next + at).copied().unwrap_or_default());
        let (first, control) = (ahead(1), usize::from(control));
        let (literal, long) = (control < 32, control >= 224);
        // Behind the longest distance no reference can reach before the beginning.
        if out < DISTANCE_MAX {
            let low = select_unpredictable(long, ahead(2), first);
            let distance = ((control & 0x1f) << 8 | low) + 1;
            if select_unpredictable(literal, 0, distance) > out {
                return false;
            }
        }
        let run = select_unpredictable(long, 9 + first, (control >> 5) + 2);
        out += select_unpredictable(literal, control + 1, run);
        next += select_unpredictable(literal, control + 2, 2 + usize::from(long));
    }
    next == packed.len() && out as u64 == length
}

/// Bytes that are copied at once, and the longest literal.
const CHUNK: usize = 32;

/// Unpacks `packed` into `out`, whose former contents go. False where the bytes are not LZF of exactly `length` bytes.
///
/// Whether a literal or a repetition comes next is anybody's guess, and guessing wrong costs a processor more than the copy. So both are
/// one: so many bytes, from a place in one buffer that holds the output and behind it the input, copied by whole chunks.
#[must_use]
pub(super) fn unpack(packed: &[u8], length: usize, out: &mut Vec<u8>) -> bool {
    let input = length + CHUNK;
    out.resize(input, 0);
    out.extend_from_slice(packed);
    out.extend_from_slice(&[0; CHUNK]);
    let sound = unpack_within(out, input, length).is_some();
    out.truncate(length);
    sound
}

/// Unpacks what begins at `input` and ends a chunk before the buffer's end to the buffer's beginning.
fn unpack_within(buf: &mut [u8], input: usize, length: usize) -> Option<()> {
    let end = buf.len().checked_sub(CHUNK)?;
    let (mut next, mut at) = (input, 0_usize);
    // Too long an output runs into the input, and too short an input into the zeros behind it: either shows at the end.
    while next < end {
        let [control, first, second, _] = *buf.get(next..)?.first_chunk::<4>()?;
        let (control, first, second) = (usize::from(control), usize::from(first), usize::from(second));
        let (literal, long) = (control < 32, control >= 224);
        let run = select_unpredictable(long, 9 + first, (control >> 5) + 2);
        let low = select_unpredictable(long, second, first);
        let back = at.wrapping_sub(((control & 0x1f) << 8 | low) + 1);
        let n = select_unpredictable(literal, control + 1, run);
        let from = select_unpredictable(literal, next + 1, back);
        next += select_unpredictable(literal, control + 2, 2 + usize::from(long));
        // A literal is behind the output, by which its distance is beyond all.
        let distance = at.wrapping_sub(from);
        if n <= CHUNK && n <= distance {
            let chunk = *buf.get(from..)?.first_chunk::<CHUNK>()?;
            *buf.get_mut(at..)?.first_chunk_mut::<CHUNK>()? = chunk;
        } else {
            repeat_within(buf, at, n, distance)?;
        }
        at += n;
    }
    (next == end && at == length).then_some(())
}

/// Writes at `at` the `run` bytes that begin `distance` bytes before; nothing where there are not so many.
fn repeat_within(buf: &mut [u8], at: usize, run: usize, distance: usize) -> Option<()> {
    let from = at.checked_sub(distance)?;
    buf.get(at..at + run)?;
    let mut done = 0;
    while done < run {
        // The run reads what it writes: that is how LZF spells repetition. What is there already is a whole number of repetitions.
        let n = (distance + done).min(run - done);
        buf.copy_within(from..from + n, at + done);
        done += n;
    }
    Some(())
}

/// Appends `run` bytes that begin `distance` bytes before the end. False where there are not so many.
#[must_use]
pub(super) fn repeat(out: &mut Vec<u8>, run: usize, distance: usize) -> bool {
    let at = out.len();
    out.resize(at + run, 0);
    repeat_within(out, at, run, distance).is_some()
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

    /// Byte by byte, as servers do it.
    fn plainly(packed: &[u8], length: usize) -> Option<Vec<u8>> {
        let (mut rest, mut out) = (packed.iter().copied(), Vec::new());
        while let Some(control) = rest.next() {
            match usize::from(control) {
                literal @ ..32 => {
                    for _ in 0..=literal {
                        out.push(rest.next()?);
                    }
                }
                control => {
                    let run = if control >> 5 == 7 { 9 + usize::from(rest.next()?) } else { (control >> 5) + 2 };
                    let distance = ((control & 0x1f) << 8 | usize::from(rest.next()?)) + 1;
                    for _ in 0..run {
                        out.push(*out.get(out.len().checked_sub(distance)?)?);
                    }
                }
            }
        }
        (out.len() == length).then_some(out)
    }

    /// Sound ones with runs of every length and distance, and the same cut, changed and with a length that is not theirs.
    #[test]
    fn unpacked_as_servers_do() {
        let (mut seed, mut out, mut sound) = (1_u64, Vec::new(), 0);
        let mut below = |n: usize| {
            seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (seed >> 33) as usize % n
        };
        for _ in 0..20_000 {
            let (mut packed, mut length) = (Vec::new(), 0);
            for _ in 0..1 + below(40) {
                if length == 0 || below(3) == 0 {
                    let n = 1 + below(32);
                    packed.push(n as u8 - 1);
                    packed.extend((0..n).map(|_| below(256) as u8));
                    length += n;
                } else {
                    let run = if below(2) == 0 { 3 + below(6) } else { 9 + below(256) };
                    let limit = if below(2) == 0 { 40 } else { 8192 };
                    let distance = below(length.min(limit));
                    let high = (distance >> 8) as u8;
                    match run {
                        ..9 => packed.push((run as u8 - 2) << 5 | high),
                        _ => packed.extend([7 << 5 | high, (run - 9) as u8]),
                    }
                    packed.push(distance as u8);
                    length += run;
                }
            }
            match below(6) {
                0 => packed.truncate(below(packed.len())),
                1 => {
                    let at = below(packed.len());
                    packed[at] = below(256) as u8;
                }
                2 => length = length + below(3) - 1,
                _ => {}
            }
            let expected = plainly(&packed, length);
            assert_eq!(is_sound(&packed, length as u64), expected.is_some(), "{packed:?}");
            assert_eq!(unpack(&packed, length, &mut out).then_some(&out), expected.as_ref(), "{packed:?}");
            sound += usize::from(expected.is_some());
        }
        assert!((8000..18_000).contains(&sound), "{sound} are sound");
    }
}
