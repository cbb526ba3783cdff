//! Attaching to a source: PING, capabilities, PSYNC, the source's answer, and how the end of the snapshot will be marked.
//!
//! It must not read a byte of the snapshot, and must leave no line of the handshake unread.

use std::time::Duration;

use tokio::time::timeout;

use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

/// What a capture reads of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The snapshot alone. From Redis 7.0 on the source then keeps no buffer of the stream for the capture.
    Snapshot,
    /// The snapshot, and the commands that follow it: [`into_stream`](super::snapshot::Snapshot::into_stream).
    SnapshotAndStream,
}

/// What a capture reads, and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct CaptureOptions {
    /// Time limit of the connection and of each step of the handshake.
    pub connect_within: Duration,
    /// Longest silence before and during the data. The source sends a sign of life every second while it prepares.
    pub stall: Duration,
    /// Whether the stream is read after the snapshot.
    pub extent: Extent,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { connect_within: Duration::from_secs(15), stall: Duration::from_secs(60), extent: Extent::Snapshot }
    }
}

/// How the end of the snapshot is marked, as the source announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The snapshot has so many bytes.
    Length(u64),
    /// The snapshot ends before these bytes, which follow it.
    Mark([u8; 40]),
}

impl Framing {
    /// Whether a snapshot of so many bytes, followed by `rest`, ends as announced.
    #[must_use]
    pub fn ends(&self, bytes: u64, rest: &[u8]) -> bool {
        match self {
            Self::Length(n) => rest.is_empty() && *n == bytes,
            Self::Mark(mark) => rest == mark,
        }
    }
}

/// A capture attached to its source; the snapshot's first byte comes next.
pub(super) struct Attached {
    pub(super) conn: Conn,
    pub(super) replid: String,
    pub(super) offset: u64,
    pub(super) framing: Framing,
}

/// Attaches and waits until the source begins to send.
pub(super) async fn attach(endpoint: &Endpoint, options: CaptureOptions) -> Result<Attached, RedisError> {
    let mut conn = Conn::open(endpoint, options.connect_within).await?;
    conn.cmd_str(&["PING"]).await?;
    conn.cmd_str(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await?;
    match options.extent {
        Extent::Snapshot => match conn.cmd_str(&["REPLCONF", "rdb-only", "1"]).await {
            // Before 7.0 there is no such option: the source then keeps a buffer of the stream for us meanwhile.
            Ok(_) | Err(RedisError::Server { .. }) => {}
            Err(error) => return Err(error),
        },
        Extent::SnapshotAndStream => {}
    }
    conn.send(&[b"PSYNC", b"?", b"-1"]).await?;

    let line = read_line(&mut conn, options.stall).await?;
    let mut fields = line.split(' ');
    let (Some("+FULLRESYNC"), Some(replid), Some(offset)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(conn.protocol("PSYNC was not answered with a full resynchronisation"));
    };
    let replid = replid.to_owned();
    let Some(offset) =
        offset.parse().ok().filter(|_| replid.len() == 40 && replid.bytes().all(|b| b.is_ascii_hexdigit()))
    else {
        return Err(conn.protocol("a replication id or offset that is none"));
    };

    let line = read_line(&mut conn, options.stall).await?;
    let framing = match line.strip_prefix("$EOF:") {
        Some(mark) => mark.as_bytes().try_into().ok().map(Framing::Mark),
        None => line.strip_prefix('$').and_then(|n| n.parse().ok()).map(Framing::Length),
    };
    let Some(framing) = framing else { return Err(conn.protocol("data without a length or a mark")) };
    Ok(Attached { conn, replid, offset, framing })
}

/// The next line that is not empty; an error reply is an error.
async fn read_line(conn: &mut Conn, stall: Duration) -> Result<String, RedisError> {
    loop {
        let line = match timeout(stall, conn.read_line("PSYNC")).await {
            Ok(Ok(line)) => line,
            Ok(Err(RedisError::Lost { address, source, .. })) => {
                let reason = format!("the source hung up before it sent any data ({source}); its log says why");
                return Err(RedisError::Interrupted { address, received: 0, reason });
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let address = conn.label().to_owned();
                return Err(RedisError::Timeout { address, during: "PSYNC".to_owned(), after: stall });
            }
        };
        match line.as_slice() {
            // A sign of life while the source prepares the data.
            [] => {}
            [b'-', text @ ..] => {
                return Err(RedisError::from_reply(conn.label(), "PSYNC", &String::from_utf8_lossy(text)));
            }
            line => return Ok(String::from_utf8_lossy(line).into_owned()),
        }
    }
}
