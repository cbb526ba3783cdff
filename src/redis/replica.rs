//! Capture: we attach to an instance as a replica that wants the data and not the stream.
//!
//! It must never be taken for a safe copy: no `REPLCONF ACK` is ever sent, so it cannot satisfy WAIT. It must never
//! announce a capability whose format is not read here: `eof` and `psync2` are all. It does not judge the bytes.

use std::time::Duration;

use tokio::time::timeout;

use super::conn::Conn;
use super::endpoint::Endpoint;
use super::{RedisError, error_reply};

/// How patient a capture is.
#[derive(Debug, Clone, Copy)]
pub struct CaptureOptions {
    /// For the connection and each step of the handshake.
    pub connect_within: Duration,
    /// Longest silence before and during the data. The source sends a sign of life every second while it prepares.
    pub stall: Duration,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { connect_within: Duration::from_secs(15), stall: Duration::from_secs(60) }
    }
}

/// How the source says where the data ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// When these bytes have come, which are not part of the data.
    Mark([u8; 40]),
}

impl Framing {
    /// Whether data of so many bytes, with `rest` behind it, ends as was promised.
    #[must_use]
    pub fn ends(&self, bytes: u64, rest: &[u8]) -> bool {
        match self {
            Self::Length(n) => rest.is_empty() && *n == bytes,
            Self::Mark(mark) => rest == mark,
        }
    }
}

/// A capture under way. Dropping it ends it, at the source too.
#[derive(Debug)]
pub struct Snapshot {
    conn: Conn,
    stall: Duration,
    /// Replication id of the source's history.
    pub replid: String,
    /// Offset in that history which the data is the state of.
    pub offset: u64,
    /// How the end is told.
    pub framing: Framing,
    received: u64,
    /// The last bytes received, as many as a mark has. The source writes nothing after its mark until we acknowledge,
    /// which we never do, so "the last bytes are the mark" is the end.
    tail: Vec<u8>,
}

impl Snapshot {
    /// Attaches and waits until the source begins to send. Needs `+psync +replconf +ping`. The source may be a replica.
    ///
    /// # Errors
    /// The connection's; [`RedisError::Denied`] with the rights needed; [`RedisError::Loading`];
    /// [`RedisError::NoMasterLink`]; [`RedisError::Timeout`] after a silence; [`RedisError::Interrupted`] when the
    /// source hung up, which it does when it cannot fork.
    pub async fn open(endpoint: &Endpoint, options: CaptureOptions) -> Result<Self, RedisError> {
        let mut conn = Conn::open(endpoint, options.connect_within).await?;
        conn.cmd_str(&["PING"]).await?;
        conn.cmd_str(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await?;
        match conn.cmd_str(&["REPLCONF", "rdb-only", "1"]).await {
            // Before 7.0 there is no such option: the source then keeps a buffer of the stream for us meanwhile.
            Ok(_) | Err(RedisError::Server { .. }) => {}
            Err(error) => return Err(error),
        }
        conn.send(&[b"PSYNC", b"?", b"-1"]).await?;

        let line = Self::line(&mut conn, options).await?;
        let mut words = line.split(' ');
        let (Some("+FULLRESYNC"), Some(replid), Some(offset)) = (words.next(), words.next(), words.next()) else {
            return Err(conn.protocol("PSYNC was not answered with a full resynchronisation"));
        };
        let replid = replid.to_owned();
        let Some(offset) =
            offset.parse().ok().filter(|_| replid.len() == 40 && replid.bytes().all(|b| b.is_ascii_hexdigit()))
        else {
            return Err(conn.protocol("a replication id or offset that is none"));
        };

        let line = Self::line(&mut conn, options).await?;
        let framing = match line.strip_prefix("$EOF:") {
            Some(mark) => mark.as_bytes().try_into().ok().map(Framing::Mark),
            None => line.strip_prefix('$').and_then(|n| n.parse().ok()).map(Framing::Length),
        };
        let Some(framing) = framing else { return Err(conn.protocol("data without a length or a mark")) };
        Ok(Self { conn, stall: options.stall, replid, offset, framing, received: 0, tail: Vec::new() })
    }

    /// The next line that says something, with errors as errors.
    async fn line(conn: &mut Conn, options: CaptureOptions) -> Result<String, RedisError> {
        loop {
            let line = match timeout(options.stall, conn.read_line("PSYNC")).await {
                Ok(Ok(line)) => line,
                Ok(Err(RedisError::Lost { address, source, .. })) => {
                    let reason = format!("the source hung up before it sent any data ({source}); its log says why");
                    return Err(RedisError::Interrupted { address, received: 0, reason });
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let address = conn.label().to_owned();
                    return Err(RedisError::Timeout { address, during: "PSYNC".to_owned(), after: options.stall });
                }
            };
            match line.as_slice() {
                // A sign of life while the source prepares the data.
                [] => {}
                [b'-', text @ ..] => return Err(error_reply(conn.label(), "PSYNC", &String::from_utf8_lossy(text))),
                line => return Ok(String::from_utf8_lossy(line).into_owned()),
            }
        }
    }

    /// The next bytes; 0 at the end. With [`Framing::Mark`] the mark comes out as the last 40 bytes, for the reader of
    /// the format finds the end by itself and must then see the mark: [`Framing::ends`]. May be dropped and called again.
    ///
    /// # Errors
    /// [`RedisError::Interrupted`] when the source hung up or fell silent before the end.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, RedisError> {
        let room = match self.framing {
            Framing::Length(total) => usize::try_from(total - self.received).unwrap_or(usize::MAX).min(into.len()),
            Framing::Mark(mark) if self.tail == mark => 0,
            Framing::Mark(_) => into.len(),
        };
        let Some(into) = into.get_mut(..room).filter(|i| !i.is_empty()) else { return Ok(0) };
        let reason = match timeout(self.stall, self.conn.read_raw(into)).await {
            Ok(Ok(0)) => "the source hung up".to_owned(),
            Ok(Ok(n)) => {
                self.received += n as u64;
                self.remember(into.get(..n).unwrap_or_default());
                return Ok(n);
            }
            Ok(Err(source)) => source.to_string(),
            Err(_) => format!("the source sent nothing for {} s", self.stall.as_secs()),
        };
        Err(self.interrupted(reason))
    }

    fn remember(&mut self, bytes: &[u8]) {
        if let Framing::Length(_) = self.framing {
            return;
        }
        self.tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(40)..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(40));
    }

    fn interrupted(&self, reason: String) -> RedisError {
        RedisError::Interrupted { address: self.conn.label().to_owned(), received: self.received, reason }
    }
}
