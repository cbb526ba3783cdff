//! What the top level of a JSON-RPC message says, found byte by byte: so that also a message which is too long, too deep or no JSON
//! can be answered under its own id.
//!
//! This is no parser: it takes no message for valid, keeps at most one short token, and never goes back.

/// Longest key and longest id that are kept, in bytes, with their quotes.
const TOKEN_MAX: usize = 258;

/// What a message is, as far as its top level tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It names a method.
    Call,
    /// It has a result or an error, and names no method.
    Answer,
    /// Neither.
    Unknown,
}

/// Where the top level of the message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Before a key, or in it.
    #[default]
    Key,
    /// Behind the colon, up to the comma.
    Value,
}

/// The top level of one message, as far as its bytes have been seen.
#[derive(Debug, Default)]
pub struct Envelope {
    depth: usize,
    deepest: usize,
    in_text: bool,
    escaped: bool,
    at: At,
    is_object: bool,
    /// The key or value of the top level that is being read, as it stands; empty where nobody wants it.
    token: Vec<u8>,
    /// Whether the token did not fit.
    cut: bool,
    /// Whether the value that is being read is the id.
    is_id: bool,
    id: Vec<u8>,
    names_method: bool,
    has_outcome: bool,
}

impl Envelope {
    /// Goes on with the next bytes of the message.
    pub fn see(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// The deepest that the message is nested.
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    /// The id as it stands in the message, a number or a text in quotes; empty where there is none, or one that is too long.
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// What the message is.
    pub fn kind(&self) -> Kind {
        match (self.names_method, self.has_outcome) {
            (true, _) => Kind::Call,
            (false, true) => Kind::Answer,
            (false, false) => Kind::Unknown,
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_text {
            self.keep(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_text = true;
                self.keep(byte);
            }
            b'{' | b'[' => {
                if self.depth == 0 {
                    self.is_object = byte == b'{';
                }
                self.depth += 1;
                self.deepest = self.deepest.max(self.depth);
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_value();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 && self.at == At::Key => self.end_key(),
            b',' if self.depth == 1 => self.end_value(),
            byte if byte.is_ascii_whitespace() => {}
            byte => self.keep(byte),
        }
    }

    /// Keeps a byte of a key or of the id.
    fn keep(&mut self, byte: u8) {
        let wanted = self.depth == 1 && self.is_object && (self.at == At::Key || self.is_id);
        if !wanted {
        } else if self.token.len() < TOKEN_MAX {
            self.token.push(byte);
        } else {
            self.cut = true;
        }
    }

    fn end_key(&mut self) {
        match self.token.as_slice() {
            b"\"id\"" => self.is_id = true,
            b"\"method\"" => self.names_method = true,
            b"\"result\"" | b"\"error\"" => self.has_outcome = true,
            _ => {}
        }
        self.at = At::Value;
        self.begin_token();
    }

    fn end_value(&mut self) {
        if self.is_id && !self.cut {
            self.id.clone_from(&self.token);
        }
        self.is_id = false;
        self.at = At::Key;
        self.begin_token();
    }

    fn begin_token(&mut self) {
        self.token.clear();
        self.cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Kind};

    fn seen(message: &[u8]) -> (String, Kind, usize) {
        let mut one = Envelope::default();
        for piece in message.chunks(3) {
            one.see(piece);
        }
        (String::from_utf8_lossy(one.id()).into_owned(), one.kind(), one.deepest())
    }

    /// The id is found wherever it stands, of the top level alone, whatever surrounds it.
    #[test]
    fn the_id_of_the_top_level_is_found() {
        for (message, id, kind, deepest) in [
            (&br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#[..], "7", Kind::Call, 1),
            (
                br#" { "method" : "x", "params" : {"id":1,"a":[{"id":2}]} , "id" : "a\"}b" } "#,
                r#""a\"}b""#,
                Kind::Call,
                4,
            ),
            (br#"{"id":3,"result":{"method":"x"}}"#, "3", Kind::Answer, 2),
            (br#"{"id":3,"error":{}}"#, "3", Kind::Answer, 2),
            (br#"[{"id":3,"method":"x"}]"#, "", Kind::Unknown, 2),
            (br#"{"id":[1],"x":{}}"#, "", Kind::Unknown, 2),
            (br#"{"id":null}"#, "null", Kind::Unknown, 1),
            (b"{\"id\":5,\"method\":\"\xff\xfe", "5", Kind::Call, 1),
            (br#"{"method":"x","params":{"a":"\ud800"},"id":6}"#, "6", Kind::Call, 2),
            (br#"{"id":6"#, "", Kind::Unknown, 1),
            (br#"{"a":"id","id":4,"b":"}{\\","method":"m"}"#, "4", Kind::Call, 1),
            (b"nonsense }]}{", "", Kind::Unknown, 1),
            (b"", "", Kind::Unknown, 0),
        ] {
            assert_eq!(seen(message), (id.into(), kind, deepest), "{}", String::from_utf8_lossy(message));
        }
    }

    /// A key or an id of any length takes no more memory than a short one, and a long id is none.
    #[test]
    fn long_tokens_are_not_kept() {
        let long = "x".repeat(1 << 20);
        let mut one = Envelope::default();
        one.see(format!("{{\"{long}\":1,\"id\":\"{long}\",\"method\":\"{long}\"}}").as_bytes());
        assert_eq!((one.id(), one.kind()), (&b""[..], Kind::Call));
        assert!(one.token.capacity() < 1024 && one.id.capacity() < 1024);
    }
}
