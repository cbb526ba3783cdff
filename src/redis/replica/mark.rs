//! Where the snapshot ends: the source's mark, found in the bytes however they were cut into reads.
//!
//! It must not take a read for a unit: a source may put empty lines, or the stream itself, right behind its mark, and a process
//! that was paused reads all of that at once.

/// Bytes of a mark.
pub(super) const MARK_BYTES: usize = 40;

/// Searches bytes that arrive in pieces for a mark. Its first occurrence is the end: the source draws it at random once its data is
/// fixed, so no data holds it.
#[derive(Debug)]
pub(super) struct MarkSearch {
    mark: [u8; MARK_BYTES],
    /// How far the search may move on where the last byte looked at is this one (Horspool's table).
    skips: [u8; 256],
    /// The last bytes of the pieces before, fewer than a mark has.
    tail: Vec<u8>,
}

impl MarkSearch {
    pub(super) fn new(mark: [u8; MARK_BYTES]) -> Self {
        let mut skips = [MARK_BYTES as u8; 256];
        for (byte, distance) in mark.iter().zip((1..MARK_BYTES as u8).rev()) {
            if let Some(skip) = skips.get_mut(usize::from(*byte)) {
                *skip = distance;
            }
        }
        Self { mark, skips, tail: Vec::with_capacity(2 * MARK_BYTES) }
    }

    /// Takes the next bytes. Once the mark is whole: how many of these bytes go up to its end.
    pub(super) fn push(&mut self, piece: &[u8]) -> Option<usize> {
        let before = self.tail.len();
        self.tail.extend_from_slice(piece.get(..MARK_BYTES - 1).unwrap_or(piece));
        // A mark that began in an earlier piece ends in this one, for the tail alone is shorter than a mark.
        let across = self.find(&self.tail).map(|at| at + MARK_BYTES - before);
        let end = across.or_else(|| self.find(piece).map(|at| at + MARK_BYTES));
        if piece.len() >= MARK_BYTES {
            self.tail.clear();
            self.tail.extend_from_slice(piece.get(piece.len() - (MARK_BYTES - 1)..).unwrap_or_default());
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(MARK_BYTES - 1));
        }
        end
    }

    /// Where the mark begins.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let window = bytes.get(at..at + MARK_BYTES)?;
            let last = window.last()?;
            if *last == self.mark[MARK_BYTES - 1] && window == self.mark {
                return Some(at);
            }
            at += usize::from(*self.skips.get(usize::from(*last))?);
        }
    }
}

#[cfg(test)]
mod tests {
    //! The mark is found wherever the cuts between reads fall and whatever stands around it, and its end is told to the byte.
    use super::*;

    const MARK: &[u8; MARK_BYTES] = b"0123456789abcdef0123456789abcdef01234567";

    /// Where the end is told when the bytes come in pieces of `size`.
    fn end(bytes: &[u8], size: usize) -> Option<usize> {
        let mut search = MarkSearch::new(*MARK);
        let mut before = 0;
        for piece in bytes.chunks(size) {
            if let Some(end) = search.push(piece) {
                return Some(before + end);
            }
            before += piece.len();
        }
        None
    }

    #[test]
    fn found_wherever_reads_fall() {
        // Much of a mark, more than once, before the whole.
        let near: Vec<u8> = [&MARK[1..], &MARK[..39], b"x", &MARK[..16], &MARK[..8]].concat();
        for before in [&b""[..], b"REDIS0010", &[0xff; 100], &near] {
            for behind in [&b""[..], b"\n", b"\r\n\n\n\n", b"*1\r\n$4\r\nPING\r\n", MARK, &[b'0'; 200]] {
                let bytes = [before, MARK, behind].concat();
                for size in (1..=bytes.len()).chain([bytes.len() + 1]) {
                    assert_eq!(end(&bytes, size), Some(before.len() + MARK_BYTES), "in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn not_found_where_it_is_not() {
        for bytes in [&b""[..], &MARK[..39], &MARK[1..], &[b'7'; 500], &[&MARK[..20], b"\n", &MARK[20..]].concat()] {
            for size in 1..=bytes.len().max(1) {
                assert_eq!(end(bytes, size), None);
            }
        }
    }
}
