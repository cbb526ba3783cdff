//! Reads commands of a stream as they come, counts them, and says which of their bytes are kept.
//!
//! It must keep nothing of a command but its beginning, up to its name: however large a command is, it is never held. A command that
//! it does not know counts as a write.

use std::collections::BTreeSet;

use super::keep::Keep;
use super::split::{Piece, Splitter};

/// Commands by which a server tells of expiries and evictions, and which clients may send as well.
const REMOVALS: [&[u8]; 3] = [b"DEL", b"UNLINK", b"HDEL"];

/// Names under which a restore of some keys sends what it writes and what it removes, letter by letter: a server hands a name on as it was
/// written, and so what clients write meanwhile is told from it.
pub const OURS: [&[u8]; 2] = [b"rESTORE", b"uNLINK"];

/// What a tail has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Offset in the source's history behind the last whole command.
    pub offset: u64,
    /// Commands that change data, without the removals.
    pub writes: u64,
    /// Removals of keys or fields: expiries and evictions, or commands of clients.
    pub removals: u64,
    /// RESTORE commands in the databases that are left out.
    pub loaded: u64,
    /// Other commands that change data in the databases that are left out, without removals.
    pub others: u64,
    /// Removals in the databases that are left out.
    pub removals_apart: u64,
    /// Commands of this program's own, where those are told apart.
    pub ours: u64,
}

/// Where a tail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Behind the last command that ends at or before this offset of the source's history.
    At(u64),
    /// Before the next FLUSHALL.
    Flush,
}

/// Reads commands as they come.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) seen: Seen,
    /// Databases whose commands are counted apart and not kept.
    pub(super) left_out: BTreeSet<u64>,
    pub(super) end: Option<End>,
    /// Whether commands named as [`OURS`] are counted apart and not kept.
    pub(super) tells_ours: bool,
    split: Splitter,
    /// Whether the command before which the stream ends was met.
    met_end: bool,
    command: Keep,
}

impl Scan {
    pub(super) fn behind(offset: u64) -> Self {
        Self {
            seen: Seen { offset, ..Seen::default() },
            left_out: BTreeSet::new(),
            end: None,
            tells_ours: false,
            split: Splitter::new(offset, None),
            met_end: false,
            command: Keep::default(),
        }
    }

    /// Whether the end has been reached.
    pub(super) fn is_over(&self) -> bool {
        let at_end = matches!(self.end, Some(End::At(offset)) if self.split.offset() >= offset);
        self.met_end || (self.split.is_between_commands() && at_end)
    }

    /// Scans bytes up to the end, and appends those that are kept: an empty line between commands is a sign of life without an
    /// offset. How many bytes were scanned.
    pub(super) fn feed(&mut self, bytes: &[u8], kept: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut left = bytes;
        while !left.is_empty() && !self.is_over() {
            let step = self.split.step(left)?;
            let (part, rest) = left.split_at(step.len);
            left = rest;
            if step.piece == Piece::Blank {
                continue;
            }
            if self.command.take(&self.split, part, kept) {
                self.decide(kept);
            }
            if step.ends && !self.met_end {
                self.seen.offset = self.split.offset();
                self.command.begin(None);
                self.count();
            }
        }
        Ok(bytes.len() - left.len())
    }

    fn is_left_out(&self) -> bool {
        self.split.database().is_some_and(|db| self.left_out.contains(&db))
    }

    fn is_ours(&self) -> bool {
        self.tells_ours && OURS.contains(&self.split.name())
    }

    /// Whether the command is kept, now that its name is known. What frames and selects is, wherever it stands.
    fn decide(&mut self, kept: &mut Vec<u8>) {
        if self.end == Some(End::Flush) && self.split.is(&[b"FLUSHALL"]) {
            self.met_end = true;
            return;
        }
        let apart = self.is_left_out() || self.is_ours();
        self.command.decide(!apart || !self.split.changes_data(), kept);
    }

    fn count(&mut self) {
        if !self.split.changes_data() {
            return;
        }
        if self.is_ours() {
            self.seen.ours += 1;
            return;
        }
        match (self.is_left_out(), self.split.is(&REMOVALS)) {
            (false, false) => self.seen.writes += 1,
            (false, true) => self.seen.removals += 1,
            (true, _) if self.split.is(&[b"RESTORE"]) => self.seen.loaded += 1,
            (true, false) => self.seen.others += 1,
            (true, true) => self.seen.removals_apart += 1,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! However a stream is cut into pieces, the same commands are counted and the same bytes kept; what changes no data is no
    //! write, and what nobody knows is one; what is left out is neither counted nor kept; and the end is met to the byte.
    use super::*;
    use crate::redis::resp::encode;

    fn command(words: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, &words.iter().map(|w| w.as_bytes()).collect::<Vec<_>>());
        out
    }

    fn stream(commands: &[&[&str]]) -> Vec<u8> {
        commands.iter().flat_map(|words| command(words)).collect()
    }

    /// Scans a stream in pieces of every size, and gives what was seen, what was kept, and how much was read.
    fn scanned(wire: &[u8], prepare: impl Fn(&mut Scan)) -> (Seen, Vec<u8>, usize) {
        let mut found = None;
        for size in [1, 2, 3, 7, 64, wire.len()] {
            let (mut scan, mut kept, mut read) = (Scan::behind(1000), Vec::new(), 0);
            prepare(&mut scan);
            for piece in wire.chunks(size) {
                read += scan.feed(piece, &mut kept).unwrap();
            }
            let now = (scan.seen, kept, read);
            assert_eq!(found.get_or_insert_with(|| now.clone()), &now, "in pieces of {size}");
        }
        found.unwrap()
    }

    #[test]
    fn commands_are_counted_however_they_are_cut() {
        let commands: [&[&str]; 12] = [
            &["SELECT", "0"],
            &["ping"],
            &["MULTI"],
            &["SET", "a", "PING\r\n*1\r\n"],
            &["xset", "renamed", ""],
            &["EXEC"],
            &["PUBLISH", "c", "m"],
            &["spublish", "c", "m"],
            &["REPLCONF", "GETACK", "*"],
            &["DEL", "expired"],
            &["unlink", "evicted"],
            &["ELBISSOPMI", "of", "a", "module"],
        ];
        let mut wire = b"\n\r\n".to_vec();
        for words in commands {
            wire.extend(command(words));
            wire.push(b'\n');
        }
        let (seen, kept, read) = scanned(&wire, |_| ());
        let expected = stream(&commands);
        let offset = 1000 + expected.len() as u64;
        assert_eq!(seen, Seen { offset, writes: 3, removals: 2, ..Seen::default() });
        assert_eq!((kept, read), (expected, wire.len()));
    }

    #[test]
    fn what_is_left_out_is_neither_counted_nor_kept() {
        let long = "n".repeat(200);
        let theirs: [&[&str]; 6] = [
            &["SET", "before", "any SELECT"],
            &["MULTI"],
            &["EXEC"],
            &["SELECT", "0"],
            &["SET", "a", "1"],
            &["DEL", "b"],
        ];
        let select: &[&str] = &["SELECT", "12"];
        let wire = stream(&[
            theirs[0],
            theirs[1],
            select,
            &["SET", "mark", "new"],
            theirs[2],
            &["RESTORE", "k", "0", "SELECT"],
            &["restore", "l", "0", "v"],
            &["DEL", "expired"],
            theirs[3],
            theirs[4],
            select,
            &[&long, "somebody else's"],
            theirs[3],
            theirs[5],
        ]);
        let (seen, kept, read) = scanned(&wire, |scan| scan.left_out = [7, 12].into());
        let offset = 1000 + wire.len() as u64;
        assert_eq!(seen, Seen { offset, writes: 2, removals: 1, loaded: 2, others: 2, removals_apart: 1, ours: 0 });
        let expected = [theirs[0], theirs[1], select, theirs[2], theirs[3], theirs[4], select, theirs[3], theirs[5]];
        assert_eq!(
            (String::from_utf8(kept).unwrap(), read),
            (String::from_utf8(stream(&expected)).unwrap(), wire.len())
        );
    }

    /// What a restore of some keys sends itself is told by its very letters, and only where somebody asks for that.
    #[test]
    fn ours_is_told_from_theirs() {
        let [write, remove] = OURS.map(|name| std::str::from_utf8(name).unwrap());
        let theirs: [&[&str]; 3] = [&["RESTORE", "k", "0", "v"], &["restore", "k", "0", "v"], &["UNLINK", "k"]];
        let wire = stream(&[&[write, "k", "0", write], theirs[0], &[remove, "k"], theirs[1], theirs[2]]);
        let offset = 1000 + wire.len() as u64;
        let (seen, kept, _) = scanned(&wire, |scan| scan.tells_ours = true);
        assert_eq!(seen, Seen { offset, writes: 2, removals: 1, ours: 2, ..Seen::default() });
        assert_eq!(kept, stream(&theirs));
        let (seen, kept, _) = scanned(&wire, |_| ());
        assert_eq!((seen, kept), (Seen { offset, writes: 3, removals: 2, ..Seen::default() }, wire));
    }

    #[test]
    fn the_end_is_met_to_the_byte() {
        let before = stream(&[&["SELECT", "0"], &["SET", "a", "1"]]);
        let wire = [before.clone(), stream(&[&["flushall", "SYNC"], &["SET", "b", "2"], &["FLUSHALL"]])].concat();
        let offset = 1000 + before.len() as u64;
        for end in [End::At(offset), End::Flush] {
            let (seen, kept, _) = scanned(&wire, |scan| scan.end = Some(end));
            assert_eq!(seen, Seen { offset, writes: 1, ..Seen::default() }, "{end:?}");
            assert_eq!(kept, before, "{end:?}");
        }
        let (.., read) = scanned(&wire, |scan| scan.end = Some(End::At(offset)));
        assert_eq!(read, before.len(), "what follows stays where it is");
    }

    #[test]
    fn an_offset_is_that_of_a_whole_command() {
        let (mut scan, mut kept) = (Scan::behind(0), Vec::new());
        let set = command(&["SET", "k", "value"]);
        scan.feed(&set[..set.len() - 1], &mut kept).unwrap();
        assert_eq!(scan.seen, Seen::default());
        scan.feed(b"\n", &mut kept).unwrap();
        assert_eq!(scan.seen, Seen { offset: set.len() as u64, writes: 1, ..Seen::default() });
    }

    #[test]
    fn what_is_no_command_is_an_error() {
        for wrong in [
            &b"PING\r\n"[..],
            b"*0\r\n",
            b"*x\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$1\r\nabc",
            b"*1111111111111111111111111111",
        ] {
            let (mut scan, mut kept) = (Scan::behind(0), Vec::new());
            assert!(scan.feed(wrong, &mut kept).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
