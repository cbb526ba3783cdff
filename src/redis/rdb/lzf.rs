//! LZF, the compression Redis uses for strings inside an RDB. Decoding only.
//!
//! Never allocates more than the caller's announced length, and never trusts a back reference.

/// Highest ratio of unpacked to packed bytes: three packed bytes give at most 264.
pub(super) const MAX_RATIO: u64 = 88;

/// Unpacks `packed` into `out` (cleared first). False where the bytes are not LZF of exactly `length` bytes.
#[must_use]
pub(super) fn unpack(packed: &[u8], length: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    let mut rest = packed;
    while let Some((&control, tail)) = rest.split_first() {
        let control = usize::from(control);
        if control < 32 {
            let Some((literal, tail)) = tail.split_at_checked(control + 1) else { return false };
            if out.len() + literal.len() > length {
                return false;
            }
            out.extend_from_slice(literal);
            rest = tail;
            continue;
        }
        let (mut run, mut tail) = (control >> 5, tail);
        if run == 7 {
            let Some((&more, after)) = tail.split_first() else { return false };
            run += usize::from(more);
            tail = after;
        }
        run += 2;
        let Some((&low, after)) = tail.split_first() else { return false };
        rest = after;
        let distance = (((control & 0x1f) << 8) | usize::from(low)) + 1;
        if out.len() + run > length {
            return false;
        }
        let Some(start) = out.len().checked_sub(distance) else { return false };
        if distance >= run {
            out.extend_from_within(start..start + run);
        } else {
            // The run reads what it writes: that is how LZF spells repetition.
            for at in start..start + run {
                let Some(&byte) = out.get(at) else { return false };
                out.push(byte);
            }
        }
    }
    out.len() == length
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn literals_runs_and_overlaps() {
        let mut out = Vec::new();
        assert!(unpack(&[2, b'a', b'b', b'c'], 3, &mut out));
        assert_eq!(out, b"abc");
        // "a" and then eight more of it by an overlapping reference.
        assert!(unpack(&[0, b'a', 6 << 5, 0], 9, &mut out));
        assert_eq!(out, b"aaaaaaaaa");
        // The long form of a run.
        assert!(unpack(&[0, b'x', 7 << 5, 20, 0], 30, &mut out));
        assert_eq!(out, vec![b'x'; 30]);
    }

    #[test]
    fn wrong_lengths_and_references_are_refused() {
        let mut out = Vec::new();
        for (bytes, length) in [(&[2u8, b'a'][..], 3), (&[0, b'a', 6 << 5, 9], 9), (&[0, b'a'], 2), (&[7 << 5], 9)] {
            assert!(!unpack(bytes, length, &mut out), "{bytes:?}");
        }
    }
}
