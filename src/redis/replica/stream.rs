//! The stream: the commands that a source applies after the snapshot, as bytes and arguments, each with its offset.
//!
//! It must not apply or judge a command, and must hold no more than one command and the bytes read with it.

use std::ops::Range;
use std::time::Duration;

use super::link::Link;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;

/// Bytes of `*n` or `$n` and their line end.
const HEADER_BYTES_MAX: usize = 24;

/// One command of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Offset in the source's history behind the last byte of the command.
    pub offset: u64,
    /// The command in RESP, exactly as the source sent it.
    pub bytes: Vec<u8>,
    args: Vec<Range<usize>>,
}

impl Command {
    /// The command's name and its arguments.
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        self.args.iter().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }
}

/// A capture that stays attached after its snapshot. Dropping it ends the capture, at the source too.
#[derive(Debug)]
pub struct Stream {
    link: Link,
    command_bytes_max: usize,
    offset: u64,
    /// Number of arguments of the next command; `None` before its first line has come.
    expected: Option<usize>,
    /// The complete arguments of the next command, as ranges of the buffered bytes.
    args: Vec<Range<usize>>,
    /// Where the next argument begins in the buffered bytes.
    at: usize,
}

impl Stream {
    pub(super) fn new(conn: Conn, offset: u64, stall: Duration, command_bytes_max: usize) -> Self {
        let (expected, args, at) = (None, Vec::new(), 0);
        Self { link: Link::new(conn, stall), command_bytes_max, offset, expected, args, at }
    }

    /// Offset in the source's history up to which commands have been given out.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next command, the source's own PING and `REPLCONF GETACK` among them. May be dropped and called again; must be
    /// called again before the source's `repl-timeout`.
    ///
    /// # Errors
    /// [`RedisError::Lost`]; [`RedisError::Timeout`] after a silence; [`RedisError::Protocol`] for anything that is no
    /// command, and for a command that is too large. Nothing more can be read then.
    pub async fn next(&mut self) -> Result<Command, RedisError> {
        loop {
            self.link.keep_alive().await?;
            match self.parse() {
                Ok(Some(command)) => return Ok(command),
                Ok(None) => self.link.more().await?,
                Err(what) => return Err(self.link.conn.protocol(what)),
            }
        }
    }

    /// Goes on parsing the next command; `None` when more bytes are needed.
    fn parse(&mut self) -> Result<Option<Command>, &'static str> {
        // Keep-alives before the stream are no part of it and have no offset.
        let blank = self.link.conn.buffered().iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        if self.expected.is_none() {
            self.link.conn.consume(blank);
        }
        let buffered = self.link.conn.buffered();
        let expected = match self.expected {
            Some(expected) => expected,
            None => {
                let Some((expected, at)) = header(buffered, 0, b'*')? else { return Ok(None) };
                self.at = at;
                *self.expected.insert(expected)
            }
        };
        while self.args.len() < expected {
            let Some((length, from)) = header(buffered, self.at, b'$')? else { return Ok(None) };
            let end = from.saturating_add(length);
            if end.saturating_add(2) > self.command_bytes_max {
                return Err("a command of the stream is larger than this program handles");
            }
            let Some(line_end) = buffered.get(end..end + 2) else { return Ok(None) };
            if line_end != b"\r\n" {
                return Err("an argument without its end");
            }
            self.args.push(from..end);
            self.at = end + 2;
        }
        let bytes = buffered.get(..self.at).unwrap_or_default().to_vec();
        self.link.conn.consume(self.at);
        self.offset += self.at as u64;
        (self.expected, self.at) = (None, 0);
        Ok(Some(Command { offset: self.offset, bytes, args: std::mem::take(&mut self.args) }))
    }
}

/// Parses `*n` or `$n` at an offset: the number, and the offset behind the line; `None` when the line is incomplete.
fn header(bytes: &[u8], at: usize, kind: u8) -> Result<Option<(usize, usize)>, &'static str> {
    let line = bytes.get(at..).unwrap_or_default();
    let Some(end) = line.iter().take(HEADER_BYTES_MAX).position(|b| *b == b'\n') else {
        return if line.len() < HEADER_BYTES_MAX { Ok(None) } else { Err("a command without a length") };
    };
    let digits = line.get(..end).and_then(|l| l.strip_suffix(b"\r")).and_then(|l| l.strip_prefix(&[kind]));
    let number = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse().ok());
    number.map(|n| Some((n, at + end + 1))).ok_or("something in the stream that is no command")
}
