//! The link of a capture that stays attached: it is kept alive, and waits for more of the stream.
//!
//! It must not read a byte of the stream itself, and must not acknowledge anything but offset 0, which starts the stream and keeps
//! the link, and satisfies no WAIT.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::resp::encode;

/// Between two acknowledgements. The source may miss the first ones, while it still waits for its own child.
const ACK_INTERVAL: Duration = Duration::from_secs(1);

/// A connection on which a source sends its stream. Dropping it ends the stream, at the source too.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: Conn,
    stall: Duration,
    ack_due: Instant,
    /// Since when the next bytes are waited for; kept when [`Self::more`] is dropped.
    waiting_since: Option<Instant>,
}

impl Link {
    /// `stall`: the longest silence. A source that nobody writes to sends a PING only every ten seconds.
    pub(super) fn new(conn: Conn, stall: Duration) -> Self {
        Self { conn, stall, ack_due: Instant::now(), waiting_since: None }
    }

    /// Shows the source that somebody listens, where that is due. Must be called again before the source's `repl-timeout`.
    pub(super) async fn keep_alive(&mut self) -> Result<(), RedisError> {
        if Instant::now() < self.ack_due {
            return Ok(());
        }
        let mut ack = Vec::new();
        encode(&mut ack, &[b"REPLCONF", b"ACK", b"0"]);
        self.conn.write_raw(&ack, "REPLCONF ACK").await?;
        self.ack_due = Instant::now() + ACK_INTERVAL;
        Ok(())
    }

    /// Waits for more bytes, or until the link is to be kept alive. May be dropped and called again.
    pub(super) async fn more(&mut self) -> Result<(), RedisError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        match timeout_at(self.ack_due, self.conn.fill("the stream")).await {
            Ok(filled) => {
                self.waiting_since = None;
                filled
            }
            Err(_) if since.elapsed() > self.stall => {
                let address = self.conn.label().to_owned();
                Err(RedisError::Timeout { address, during: "the stream".to_owned(), after: self.stall })
            }
            Err(_) => Ok(()),
        }
    }
}
