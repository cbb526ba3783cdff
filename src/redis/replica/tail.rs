//! The tail: the stream behind a backup, read so that it is known what was written after the backup, and to keep its bytes.
//!
//! It must not hold a command in memory, however large one is. A command that it does not know counts as a write.

use std::time::Duration;

use tokio::time::timeout;

use super::handshake::CaptureOptions;
use super::link::Link;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

/// Digits of `*n` or `$n` and their line end.
const HEADER_BYTES_MAX: usize = 24;
/// No command has a longer name; of what follows the name is cut, and the command counts as a write.
const NAME_BYTES_MAX: usize = 64;
/// Commands of a stream that change no data: what keeps a link alive, frames other commands, or goes to subscribers.
const NO_DATA: [&[u8]; 8] = [b"PING", b"REPLCONF", b"SELECT", b"PUBLISH", b"SPUBLISH", b"MULTI", b"EXEC", b"SCRIPT"];
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
}

/// A stream that is read to its newest command. Dropping it ends it, at the source too.
#[derive(Debug)]
pub struct Tail {
    link: Link,
    scan: Scan,
}

impl Tail {
    pub(super) fn new(conn: Conn, offset: u64, stall: Duration) -> Self {
        Self { link: Link::new(conn, stall), scan: Scan::behind(offset) }
    }

    /// Attaches to a source behind a position in its history, without a snapshot: what the source still has in its backlog
    /// comes first. `None`: the source's history is another one, or its backlog does not reach back that far.
    ///
    /// # Errors
    /// The connection's, and what the source refused.
    pub async fn resume(
        endpoint: &Endpoint,
        replication_id: &str,
        offset: u64,
        options: CaptureOptions,
    ) -> Result<Option<Self>, RedisError> {
        let mut conn = Conn::open(endpoint, options.connect_within).await?;
        conn.cmd_str(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await?;
        let next = offset.saturating_add(1).to_string();
        conn.send(&[b"PSYNC", replication_id.as_bytes(), next.as_bytes()]).await?;
        loop {
            let line =
                timeout(options.connect_within, conn.read_line("PSYNC")).await.map_err(|_| RedisError::Timeout {
                    address: endpoint.to_string(),
                    during: "PSYNC".to_owned(),
                    after: options.connect_within,
                })??;
            match line.as_slice() {
                [] => {}
                [b'-', text @ ..] => {
                    return Err(RedisError::from_reply(conn.label(), "PSYNC", &String::from_utf8_lossy(text)));
                }
                line => {
                    // With another id the history goes on under a new name: positions are not comparable with the set's.
                    let text = String::from_utf8_lossy(line).into_owned();
                    let mut words = text.split_whitespace();
                    let continues = words.next() == Some("+CONTINUE")
                        && words.next().is_none_or(|id| id.eq_ignore_ascii_case(replication_id));
                    return Ok(continues.then(|| Self::new(conn, offset, options.stall)));
                }
            }
        }
    }

    /// What has been seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.scan.seen
    }

    /// The next bytes of the stream, in any pieces. May be dropped and called again; must be called again before the source's
    /// `repl-timeout`.
    ///
    /// # Errors
    /// [`RedisError::Lost`]; [`RedisError::Timeout`] after a silence; [`RedisError::Protocol`] for anything that is no
    /// command. Nothing more can be read then.
    pub async fn next(&mut self) -> Result<Vec<u8>, RedisError> {
        loop {
            self.link.keep_alive().await?;
            let buffered = self.link.conn.buffered().len();
            if buffered > 0 {
                let mut piece = Vec::with_capacity(buffered);
                let scanned = self.scan.feed(self.link.conn.buffered(), &mut piece);
                self.link.conn.consume(buffered);
                if let Err(what) = scanned {
                    return Err(self.link.conn.protocol(what));
                }
                if !piece.is_empty() {
                    return Ok(piece);
                }
            }
            self.link.more().await?;
        }
    }
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
}

/// Reads commands as they come and keeps nothing of them but the name.
#[derive(Debug)]
struct Scan {
    seen: Seen,
    /// Offset behind the last byte scanned.
    at: u64,
    place: Place,
    /// The line of a number, as far as it has come.
    line: Vec<u8>,
    name: Vec<u8>,
    named: bool,
    /// Arguments of the command that are still to come.
    arguments: u64,
    /// Bytes of the argument that are still to come, its line end included.
    bytes: u64,
}

impl Scan {
    fn behind(offset: u64) -> Self {
        Self {
            seen: Seen { offset, ..Seen::default() },
            at: offset,
            place: Place::Start,
            line: Vec::new(),
            name: Vec::new(),
            named: false,
            arguments: 0,
            bytes: 0,
        }
    }

    /// Scans bytes and appends those that belong to the stream: an empty line between commands is a sign of life without an
    /// offset.
    fn feed(&mut self, mut bytes: &[u8], stream: &mut Vec<u8>) -> Result<(), &'static str> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.place == Place::Argument {
                let n = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(bytes.len());
                let (part, rest) = bytes.split_at(n);
                self.argument(part)?;
                stream.extend_from_slice(part);
                bytes = rest;
                continue;
            }
            bytes = rest;
            match (self.place, byte) {
                (Place::Start, b'\r' | b'\n') => continue,
                (Place::Start, b'*') => {
                    self.place = Place::Count;
                    (self.named, self.line) = (false, Vec::new());
                    self.name.clear();
                }
                (Place::Start, _) => return Err("something in the stream that is no command"),
                (_, b'\n') => self.number()?,
                (_, byte) if self.line.len() < HEADER_BYTES_MAX => self.line.push(byte),
                _ => return Err("a command without a length"),
            }
            self.at += 1;
            stream.push(byte);
        }
        Ok(())
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
    fn argument(&mut self, part: &[u8]) -> Result<(), &'static str> {
        if !self.named {
            let text = usize::try_from(self.bytes.saturating_sub(2)).unwrap_or(usize::MAX).min(part.len());
            let room = NAME_BYTES_MAX.saturating_sub(self.name.len());
            self.name.extend_from_slice(part.get(..text.min(room)).unwrap_or_default());
        }
        self.bytes -= part.len() as u64;
        self.at += part.len() as u64;
        if self.bytes > 0 {
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
            let is = |names: &[&[u8]]| names.iter().any(|name| self.name.eq_ignore_ascii_case(name));
            if is(&REMOVALS) {
                self.seen.removals += 1;
            } else if !is(&NO_DATA) {
                self.seen.writes += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! However a stream is cut into pieces, the same commands are counted and the same bytes kept; what changes no data is no
    //! write, and what nobody knows is one.
    use super::*;
    use crate::redis::resp::encode;

    fn command(words: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, &words.iter().map(|w| w.as_bytes()).collect::<Vec<_>>());
        out
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
        let mut kept = Vec::new();
        for words in commands {
            wire.extend(command(words));
            kept.extend(command(words));
            wire.push(b'\n');
        }
        for size in [1, 2, 3, 7, 64, wire.len()] {
            let (mut scan, mut stream) = (Scan::behind(1000), Vec::new());
            for piece in wire.chunks(size) {
                scan.feed(piece, &mut stream).unwrap();
            }
            assert_eq!(stream, kept, "in pieces of {size}");
            let offset = 1000 + kept.len() as u64;
            assert_eq!(scan.seen, Seen { offset, writes: 3, removals: 2 }, "in pieces of {size}");
        }
    }

    #[test]
    fn an_offset_is_that_of_a_whole_command() {
        let (mut scan, mut stream) = (Scan::behind(0), Vec::new());
        let set = command(&["SET", "k", "value"]);
        scan.feed(&set[..set.len() - 1], &mut stream).unwrap();
        assert_eq!(scan.seen, Seen::default());
        scan.feed(b"\n", &mut stream).unwrap();
        assert_eq!(scan.seen, Seen { offset: set.len() as u64, writes: 1, removals: 0 });
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
            let (mut scan, mut stream) = (Scan::behind(0), Vec::new());
            assert!(scan.feed(wrong, &mut stream).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
