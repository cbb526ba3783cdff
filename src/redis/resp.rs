//! RESP2 framing: replies and commands out of bytes, commands into bytes.
//!
//! It must not do I/O and must not judge what a reply means. Incomplete is not invalid: the decoder keeps what it has
//! and asks for more, so a reader that was interrupted goes on where it was.

/// One RESP2 value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A simple string: `+text`.
    Simple(String),
    /// An error reply: `-text`, without the dash.
    Error(String),
    /// An integer: `:n`.
    Int(i64),
    /// A bulk string: `$n` and n bytes.
    Bulk(Vec<u8>),
    /// No value: `$-1` or `*-1`.
    Nil,
    /// An array: `*n` and n values.
    Array(Vec<Value>),
}

impl Value {
    /// The text of a simple string or a bulk string that is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The integer, also where the server wrote it as a string.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            other => other.as_str()?.parse().ok(),
        }
    }

    /// The members of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }
}

/// The longest bulk string: Redis itself refuses to make longer ones unless told otherwise.
const BULK_STRING_BYTES_MAX: usize = 512 << 20;
/// The longest line: a peer that sends a longer one is not a Redis.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The longest array that a server can send, and far more than any it does send.
const ARRAY_ITEMS_MAX: usize = 16 << 20;
/// Deepest nesting of arrays; replies of servers have five levels at most.
const ARRAY_DEPTH_MAX: usize = 32;

/// What is wrong with a reply that does not begin as any does.
const NOT_RESP: &str = "a reply that is not RESP (is this a Redis, and does it want TLS?)";

/// Decodes bytes into values, one at a time, and keeps the bytes not yet used.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes received; those before `at` are used up.
    buf: Vec<u8>,
    at: usize,
    /// Where the search for the end of the current line goes on, so that a slow line is not searched again and again.
    searched: usize,
    /// Arrays begun and not complete: items so far, number of items missing.
    open: Vec<(Vec<Value>, usize)>,
    /// Length of a bulk string whose bytes are still to come.
    bulk: Option<usize>,
}

impl Decoder {
    /// The buffer to read into (append only), with used bytes dropped and room made.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.buf.drain(..self.at);
            self.searched = self.searched.saturating_sub(self.at);
            self.at = 0;
        }
        // Room grows with what has really arrived: a length alone, however large, allocates nothing.
        self.buf.reserve((64 << 10).max(self.buf.len().min(4 << 20)));
        &mut self.buf
    }

    /// Bytes received and not used yet.
    pub(crate) fn rest(&self) -> &[u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// Marks `n` of the remaining bytes as used.
    pub(crate) fn advance(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buf.len());
        self.searched = self.searched.max(self.at);
    }

    /// Puts bytes back before the remaining ones.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.buf.splice(..self.at, bytes.iter().copied());
        (self.at, self.searched) = (0, 0);
    }

    /// The next line without its end (`\n` or `\r\n`), or `None` when it has not all arrived.
    ///
    /// # Errors
    /// What is wrong, when the line is longer than any that the protocol has.
    pub(crate) fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let from = self.searched.max(self.at);
        let tail = self.buf.get(from..).unwrap_or_default();
        let Some(i) = tail.iter().position(|b| *b == b'\n') else {
            self.searched = self.buf.len();
            if self.rest().len() > LINE_BYTES_MAX {
                return Err("a line without an end".to_owned());
            }
            return Ok(None);
        };
        let end = from + i;
        let mut line = self.buf.get(self.at..end).unwrap_or_default();
        if let [head @ .., b'\r'] = line {
            line = head;
        }
        let line = line.to_vec();
        self.advance(end + 1 - self.at);
        Ok(Some(line))
    }

    /// The next whole value, or `None` when more bytes are needed. Empty lines between values (keep-alives of a
    /// replication link) are passed over.
    ///
    /// # Errors
    /// What is wrong with the bytes; nothing after them can be trusted.
    pub(crate) fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            let Some(mut value) = self.scalar()? else { return Ok(None) };
            if let Value::Array(items) = &value
                && items.capacity() > 0
            {
                // An array header: its items come next.
                continue;
            }
            loop {
                let Some((items, missing)) = self.open.last_mut() else { return Ok(Some(value)) };
                items.push(value);
                *missing -= 1;
                if *missing > 0 {
                    break;
                }
                let Some((items, _)) = self.open.pop() else { break };
                value = Value::Array(items);
            }
        }
    }

    /// One token. An array header that has items is pushed on `open` and reported as an array with capacity.
    fn scalar(&mut self) -> Result<Option<Value>, String> {
        if let Some(len) = self.bulk {
            let Some(body) = self.buf.get(self.at..self.at + len + 2) else { return Ok(None) };
            let Some(body) = body.strip_suffix(b"\r\n") else { return Err("a string without its end".to_owned()) };
            let body = body.to_vec();
            self.bulk = None;
            self.advance(len + 2);
            return Ok(Some(Value::Bulk(body)));
        }
        let line = loop {
            // Whatever else begins so is no reply, and its line may never end.
            if self.rest().first().is_some_and(|first| !b"+-:$*\r\n".contains(first)) {
                return Err(NOT_RESP.to_owned());
            }
            match self.line()? {
                None => return Ok(None),
                Some(line) if line.is_empty() => {}
                Some(line) => break line,
            }
        };
        let (kind, text) = line.split_first().ok_or("an empty line")?;
        let text = String::from_utf8_lossy(text);
        let number = || text.parse::<i64>().map_err(|_| "a length or number that is none".to_owned());
        match kind {
            b'+' => Ok(Some(Value::Simple(text.into_owned()))),
            b'-' => Ok(Some(Value::Error(text.into_owned()))),
            b':' => Ok(Some(Value::Int(number()?))),
            b'$' => match number()? {
                -1 => Ok(Some(Value::Nil)),
                n => {
                    let len = usize::try_from(n)
                        .ok()
                        .filter(|n| *n <= BULK_STRING_BYTES_MAX)
                        .ok_or("a string of absurd length")?;
                    self.bulk = Some(len);
                    self.scalar()
                }
            },
            b'*' => match number()? {
                -1 => Ok(Some(Value::Nil)),
                0 => Ok(Some(Value::Array(Vec::new()))),
                n => {
                    let len =
                        usize::try_from(n).ok().filter(|n| *n <= ARRAY_ITEMS_MAX).ok_or("an array of absurd length")?;
                    if self.open.len() >= ARRAY_DEPTH_MAX {
                        return Err("arrays nested too deep".to_owned());
                    }
                    self.open.push((Vec::with_capacity(len.min(256)), len));
                    Ok(Some(Value::Array(Vec::with_capacity(1))))
                }
            },
            _ => Err(NOT_RESP.to_owned()),
        }
    }
}

/// Appends one command to `out`.
pub fn encode(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! Values come out whole however the bytes are cut, and absurd lengths are refused before they allocate memory.
    use super::*;

    #[test]
    fn byte_by_byte_gives_the_same_as_at_once() {
        let wire = b"\n*3\r\n:1\r\n*2\r\n$3\r\na\nb\r\n*0\r\n$-1\r\n+OK\r\n-ERR x\r\n";
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for b in wire {
            decoder.space().push(*b);
            while let Some(v) = decoder.next().unwrap() {
                got.push(v);
            }
        }
        let inner = Value::Array(vec![Value::Bulk(b"a\nb".to_vec()), Value::Array(vec![])]);
        let outer = Value::Array(vec![Value::Int(1), inner, Value::Nil]);
        assert_eq!(got, [outer, Value::Simple("OK".into()), Value::Error("ERR x".into())]);
        assert!(decoder.rest().is_empty());
    }

    #[test]
    fn absurd_input_is_refused() {
        for wire in [
            "$99999999999\r\n",
            "$-2\r\n",
            "*99999999\r\n",
            "HTTP/1.1 400\r\n",
            // A greeting whose line does not end.
            "SSH-2.0-x",
            ":x\r\n",
            "$1\r\nabc",
            &"*1\r\n".repeat(40),
        ] {
            let mut decoder = Decoder::default();
            decoder.space().extend_from_slice(wire.as_bytes());
            assert!(decoder.next().is_err(), "{wire}");
        }
    }
}
