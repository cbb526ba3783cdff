//! Attaching to a source: PING, capabilities, PSYNC, the source's answer, and how the end of the snapshot will be marked.
//!
//! It must not read a byte of the snapshot, and must leave no line of the handshake unread.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, info, is_sentinel};
use crate::redis::hello::{hello, open};
use crate::redis::prefix::ErrorPrefix;
use crate::redis::rdb::compat::{Flavor, Server};
use crate::redis::sentinel_masters;

/// The version announced to a Valkey from 9.0 on, which chooses by it the format that it writes: the newest one whose format is
/// read here whole, `VALKEY080`. Of 9.2's format some types and opcodes are not.
pub const ANNOUNCED_VERSION: &str = "9.1.0";

/// What a capture reads of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The snapshot alone. From Redis 7.0 on the source then keeps no buffer of the stream for the capture.
    Snapshot,
    /// The snapshot, and what follows it: [`into_follow`](super::snapshot::Snapshot::into_follow), [`into_tail`](super::snapshot::Snapshot::into_tail).
    SnapshotAndStream,
}

/// What a capture reads, and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct CaptureOptions {
    /// Time limit of the connection and of each step of the handshake.
    pub connect_within: Duration,
    /// Longest silence before and during the data. The source sends a sign of life every second while it prepares.
    pub stall: Duration,
    /// Longest time in which the source sends signs of life and no data.
    pub no_data: Duration,
    /// Whether the stream is read after the snapshot.
    pub extent: Extent,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            no_data: Duration::from_secs(1800),
            extent: Extent::Snapshot,
        }
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

/// What was found out about the source on the way, and told to it.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The version that was announced to the source as our own, where it took it.
    pub announced: Option<&'static str>,
    /// Whether the source chooses its format by that version, and hangs up where its data has none in it.
    pub(super) may_refuse_the_format: bool,
    /// Why the source refuses writes, in its own words: it cannot save its data itself (MISCONF). It can hand it out all the same.
    pub cannot_save: Option<String>,
}

impl Source {
    /// Why a source may have hung up in the middle; it tells its log alone.
    pub(super) fn hung_up(&self, at: &str) -> String {
        let announced = match self.announced {
            Some(version) => format!("announces version {version}"),
            None => "announces no version".to_owned(),
        };
        format!(
            "the source hung up {at}: it could not fork, or it cannot write its data in the RDB version that it chose for a replica \
             that {announced}; its log says which"
        )
    }
}

/// A capture attached to its source; the snapshot's first byte comes next.
pub(super) struct Attached {
    pub(super) conn: Conn,
    pub(super) source: Source,
    pub(super) replid: String,
    pub(super) offset: u64,
    pub(super) framing: Framing,
}

/// Attaches and waits until the source begins to send.
pub(super) async fn attach(endpoint: &Endpoint, options: CaptureOptions) -> Result<Attached, RedisError> {
    let mut conn = open(endpoint, options.connect_within).await?;
    let mut source = Source::default();
    match conn.cmd_str(&["PING"]).await {
        Ok(_) => {}
        // PING counts as a write there: what the source cannot do is save, and it need not.
        Err(RedisError::Server { prefix: ErrorPrefix::Misconf, message, .. }) => source.cannot_save = Some(message),
        Err(error) => return Err(error),
    }
    if let Err(error) = conn.cmd_str(&["REPLCONF", "capa", "eof", "capa", "psync2"]).await {
        return Err(without_replication(&mut conn, error).await);
    }
    source.may_refuse_the_format = chooses_by_version(server(&mut conn).await?);
    if source.may_refuse_the_format {
        // A call of its own: a server that does not know the option would refuse what stands beside it.
        source.announced = replconf(&mut conn, "version", ANNOUNCED_VERSION).await?.then_some(ANNOUNCED_VERSION);
    }
    match options.extent {
        // Before 7.0 there is no such option: the source then keeps a buffer of the stream for us meanwhile.
        Extent::Snapshot => _ = replconf(&mut conn, "rdb-only", "1").await?,
        Extent::SnapshotAndStream => {}
    }
    conn.send(&[b"PSYNC", b"?", b"-1"]).await?;

    let deadline = Instant::now() + options.no_data;
    let line = read_line(&mut conn, options, deadline, || {
        "the source hung up instead of answering PSYNC; its log says why".to_owned()
    })
    .await?;
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

    let line = read_line(&mut conn, options, deadline, || source.hung_up("right after +FULLRESYNC")).await?;
    let framing = match line.strip_prefix("$EOF:") {
        Some(mark) => mark.as_bytes().try_into().ok().map(Framing::Mark),
        None => line.strip_prefix('$').and_then(|n| n.parse().ok()).map(Framing::Length),
    };
    let Some(framing) = framing else { return Err(conn.protocol("data without a length or a mark")) };
    Ok(Attached { conn, source, replid, offset, framing })
}

/// Why a source is no master: one that knows nothing of replication may be a Sentinel, which says who is.
async fn without_replication(conn: &mut Conn, error: RedisError) -> RedisError {
    let RedisError::NoReplication { .. } = error else { return error };
    let sentinel = match info(conn, Some("server")).await {
        Ok(text) => is_sentinel(&text),
        // Its user may have few rights.
        Err(refused) if refused.is_reply() => matches!(hello(conn).await, Ok(Some(said)) if said.sentinel),
        Err(_) => false,
    };
    if sentinel { sentinel_masters::instead(conn).await } else { error }
}

/// Sends an option of its own; whether the source took it.
async fn replconf(conn: &mut Conn, option: &str, value: &str) -> Result<bool, RedisError> {
    match conn.cmd_str(&["REPLCONF", option, value]).await {
        Ok(_) => Ok(true),
        Err(RedisError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the source decides by an announced version which format it writes. One that does not tell what it is may: to any other
/// the announcement means nothing.
fn chooses_by_version(server: Option<Server>) -> bool {
    server.is_none_or(|server| server.flavor == Flavor::Valkey && server.major >= 9)
}

/// What the source is: by INFO, else by HELLO, which needs no right and which a Valkey may answer in Redis's name; `None` where it
/// tells neither.
async fn server(conn: &mut Conn) -> Result<Option<Server>, RedisError> {
    match info(conn, Some("server")).await {
        Ok(text) => {
            let server = ServerFacts::from_info(&text).server();
            if server.major > 0 {
                return Ok(Some(server));
            }
        }
        Err(error) if error.is_reply() => {}
        Err(error) => return Err(error),
    }
    Ok(hello(conn).await?.map(|said| said.server()))
}

/// The next line that is not empty; an error reply is an error. `hung_up` words the end of the connection.
async fn read_line(
    conn: &mut Conn,
    options: CaptureOptions,
    deadline: Instant,
    hung_up: impl Fn() -> String,
) -> Result<String, RedisError> {
    loop {
        let silent_at = Instant::now() + options.stall;
        let line = match timeout_at(silent_at.min(deadline), conn.read_line("PSYNC")).await {
            Ok(Ok(line)) => line,
            Ok(Err(RedisError::Lost { address, source, .. })) => {
                let reason = format!("{} ({source})", hung_up());
                return Err(RedisError::Interrupted { address, received: 0, reason });
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let address = conn.label().to_owned();
                return Err(if silent_at < deadline {
                    RedisError::Timeout { address, during: "PSYNC".to_owned(), after: options.stall }
                } else {
                    RedisError::NoData { address, received: 0, after: options.no_data }
                });
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
