//! Reads commands of a stream as they come, counts them, and says which of their bytes are kept.
//!
//! It must keep nothing of a command but its name and, of SELECT, the number: however large a command is, it is never held. A
//! command that it does not know counts as a write.

use std::collections::BTreeSet;

/// Digits of `*n` or `$n` and their line end.
const HEADER_BYTES_MAX: usize = 24;
/// No command has a longer name; of what follows the name is cut, and the command counts as a write.
const NAME_BYTES_MAX: usize = 64;
/// Commands of a stream that change no data: what keeps a link alive, frames other commands, or goes to subscribers.
const NO_DATA: [&[u8]; 8] = [b"PING", b"REPLCONF", b"SELECT", b"PUBLISH", b"SPUBLISH", b"MULTI", b"EXEC", b"SCRIPT"];
/// Commands of a stream that a replay leaves out: they change no data, or tell a cluster's nodes of each other.
const NOT_REPLAYED: [&[u8]; 6] = [b"PING", b"REPLCONF", b"PUBLISH", b"SPUBLISH", b"CLUSTER", b"TRIMSLOTS"];
/// Commands by which a server tells of expiries and evictions, and which clients may send as well.
const REMOVALS: [&[u8]; 3] = [b"DEL", b"UNLINK", b"HDEL"];

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
}

/// Where a tail ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Behind the last command that ends at or before this offset of the source's history.
    At(u64),
    /// Before the next FLUSHALL.
    Flush,
}

/// Where in a command the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a command.
    Start,
    /// In the number of its arguments.
    Count,
    /// In the length of an argument.
    Length,
    /// In an argument.
    Argument,
    /// Nothing more is read: the end was found.
    Over,
}

/// Reads commands as they come.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) seen: Seen,
    /// Databases whose commands are counted apart and not kept.
    pub(super) left_out: BTreeSet<u64>,
    pub(super) end: Option<End>,
    /// The names of the commands so far, in upper case, where they are for a replay: then what is not replayed is not kept either.
    pub(super) replayed: Option<BTreeSet<Vec<u8>>>,
    /// The database that commands are for; `None` before the first SELECT.
    db: Option<u64>,
    /// Offset behind the last byte scanned.
    at: u64,
    place: Place,
    /// The line of a number, as far as it has come.
    line: Vec<u8>,
    name: Vec<u8>,
    named: bool,
    /// The number of a SELECT, as far as it has come.
    number: Vec<u8>,
    /// Arguments of the command that are still to come.
    arguments: u64,
    /// Bytes of the argument that are still to come, its line end included.
    bytes: u64,
    /// The command's bytes up to its name, until it is known whether they are kept.
    head: Vec<u8>,
    /// Whether the command's bytes are kept; `None` until it has its name.
    kept: Option<bool>,
}

impl Scan {
    pub(super) fn behind(offset: u64) -> Self {
        Self {
            seen: Seen { offset, ..Seen::default() },
            left_out: BTreeSet::new(),
            end: None,
            replayed: None,
            db: None,
            at: offset,
            place: Place::Start,
            line: Vec::new(),
            name: Vec::new(),
            named: false,
            number: Vec::new(),
            arguments: 0,
            bytes: 0,
            head: Vec::new(),
            kept: None,
        }
    }

    /// Whether what was scanned ends where a command ends.
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::Start
    }

    /// Whether the end has been reached.
    pub(super) fn is_over(&self) -> bool {
        match self.place {
            Place::Over => true,
            Place::Start => matches!(self.end, Some(End::At(offset)) if self.at >= offset),
            _ => false,
        }
    }

    /// Scans bytes up to the end, and appends those that are kept: an empty line between commands is a sign of life without an
    /// offset. How many bytes were scanned.
    pub(super) fn feed(&mut self, bytes: &[u8], kept: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut left = bytes;
        while !self.is_over()
            && let Some((&byte, rest)) = left.split_first()
        {
            if self.place == Place::Argument {
                let n = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(left.len());
                let (part, rest) = left.split_at(n);
                self.keep(part, kept);
                self.argument(part, kept)?;
                left = rest;
                continue;
            }
            left = rest;
            match (self.place, byte) {
                (Place::Start, b'\r' | b'\n') => continue,
                (Place::Start, b'*') => self.begin(),
                (Place::Start, _) => return Err("something in the stream that is no command"),
                (_, b'\n') => self.number()?,
                (_, byte) if self.line.len() < HEADER_BYTES_MAX => self.line.push(byte),
                _ => return Err("a command without a length"),
            }
            self.at += 1;
            self.keep(&[byte], kept);
        }
        Ok(bytes.len() - left.len())
    }

    fn begin(&mut self) {
        (self.place, self.named, self.kept) = (Place::Count, false, None);
        for part in [&mut self.line, &mut self.name, &mut self.number, &mut self.head] {
            part.clear();
        }
    }

    fn keep(&mut self, part: &[u8], kept: &mut Vec<u8>) {
        match self.kept {
            None => self.head.extend_from_slice(part),
            Some(true) => kept.extend_from_slice(part),
            Some(false) => {}
        }
    }

    fn number(&mut self) -> Result<(), &'static str> {
        let line = self.line.strip_suffix(b"\r").unwrap_or_default();
        let digits = if self.place == Place::Length { line.strip_prefix(b"$") } else { Some(line) };
        let number = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse::<u64>().ok());
        let Some(number) = number else { return Err("something in the stream that is no command") };
        self.line.clear();
        match self.place {
            Place::Count if number == 0 => return Err("a command without a name"),
            Place::Count => (self.arguments, self.place) = (number, Place::Length),
            _ => (self.bytes, self.place) = (number.saturating_add(2), Place::Argument),
        }
        Ok(())
    }

    /// A part of an argument, up to its line end at most.
    fn argument(&mut self, part: &[u8], kept: &mut Vec<u8>) -> Result<(), &'static str> {
        let text = usize::try_from(self.bytes.saturating_sub(2)).unwrap_or(usize::MAX).min(part.len());
        let (into, most) = match self.named {
            false => (&mut self.name, NAME_BYTES_MAX),
            true => (&mut self.number, HEADER_BYTES_MAX),
        };
        let room = most.saturating_sub(into.len());
        into.extend_from_slice(part.get(..text.min(room)).unwrap_or_default());
        self.bytes -= part.len() as u64;
        self.at += part.len() as u64;
        // A name that is too long is none that is known, and is not waited for.
        if self.kept.is_none() && (self.bytes == 0 || self.name.len() == NAME_BYTES_MAX) {
            self.decide(kept);
        }
        if self.bytes > 0 || self.place == Place::Over {
            return Ok(());
        }
        if part.last() != Some(&b'\n') {
            return Err("an argument without its end");
        }
        self.named = true;
        self.arguments -= 1;
        self.place = Place::Length;
        if self.arguments == 0 {
            self.place = Place::Start;
            self.seen.offset = self.at;
            self.count();
        }
        Ok(())
    }

    fn is(&self, names: &[&[u8]]) -> bool {
        names.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    fn is_left_out(&self) -> bool {
        self.db.is_some_and(|db| self.left_out.contains(&db))
    }

    /// Whether the command is kept, now that its name is known. What frames and selects is, wherever it stands.
    fn decide(&mut self, kept: &mut Vec<u8>) {
        if self.end == Some(End::Flush) && self.is(&[b"FLUSHALL"]) {
            self.place = Place::Over;
            return;
        }
        let keeps = match self.replayed.is_some() {
            false => !self.is_left_out() || self.is(&NO_DATA),
            true => !self.is(&NOT_REPLAYED),
        };
        if let Some(names) = self.replayed.as_mut().filter(|_| keeps) {
            names.insert(self.name.to_ascii_uppercase());
        }
        self.kept = Some(keeps);
        if keeps {
            kept.extend_from_slice(&self.head);
        }
        self.head.clear();
    }

    fn count(&mut self) {
        if self.is(&[b"SELECT"]) {
            self.db = std::str::from_utf8(&self.number).ok().and_then(|n| n.parse().ok());
        }
        if self.is(&NO_DATA) || (self.replayed.is_some() && self.is(&NOT_REPLAYED)) {
            return;
        }
        match (self.is_left_out(), self.is(&REMOVALS)) {
            (false, false) => self.seen.writes += 1,
            (false, true) => self.seen.removals += 1,
            (true, _) if self.is(&[b"RESTORE"]) => self.seen.loaded += 1,
            (true, false) => self.seen.others += 1,
            (true, true) => {}
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
        assert_eq!(seen, Seen { offset, writes: 2, removals: 1, loaded: 2, others: 2 });
        let expected = [theirs[0], theirs[1], select, theirs[2], theirs[3], theirs[4], select, theirs[3], theirs[5]];
        assert_eq!(
            (String::from_utf8(kept).unwrap(), read),
            (String::from_utf8(stream(&expected)).unwrap(), wire.len())
        );
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
