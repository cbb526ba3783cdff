//! Going on in a source's history behind a position, without a snapshot.
//!
//! It must not take a snapshot that the source offers instead: whoever wants one asks for it.

use tokio::time::timeout;

use super::handshake::CaptureOptions;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

/// A connection on which a source goes on in its history.
pub(super) struct Resumed {
    pub(super) conn: Conn,
    /// The id under which the history goes on, where the source says that it is another one.
    pub(super) renamed: Option<String>,
}

/// Asks a source to go on behind a position in its history; what the source still has in its backlog comes first. `None`: the history
/// is another one, or the backlog does not reach back that far. A source that is asked in vain forks for a snapshot that nobody wants,
/// unless the end of the connection comes first: so it should be known before that it can go on.
pub(super) async fn resume(
    endpoint: &Endpoint,
    replication_id: &str,
    offset: u64,
    options: CaptureOptions,
) -> Result<Option<Resumed>, RedisError> {
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
                let text = String::from_utf8_lossy(line).into_owned();
                let mut words = text.split_whitespace();
                if words.next() != Some("+CONTINUE") {
                    return Ok(None);
                }
                let renamed = words.next().filter(|id| !id.eq_ignore_ascii_case(replication_id)).map(str::to_owned);
                return Ok(Some(Resumed { conn, renamed }));
            }
        }
    }
}
