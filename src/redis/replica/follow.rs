//! Following: a source's stream as it comes, byte for byte, for whoever keeps it.
//!
//! It must not look into the bytes, and must hold no more of them than one read brought.

use std::time::Duration;

use super::handshake::CaptureOptions;
use super::link::Link;
use super::resume::{Resumed, resume};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

/// A source's stream, as bytes. Dropping it ends it, at the source too.
#[derive(Debug)]
pub struct Follow {
    link: Link,
    /// Id of the history that the stream belongs to.
    pub replication_id: String,
    /// Offset in that history behind the last byte given out.
    offset: u64,
    /// Whether a byte of the stream has come: empty lines before it are signs of life without an offset.
    begun: bool,
}

impl Follow {
    pub(super) fn new(conn: Conn, replication_id: String, offset: u64, stall: Duration) -> Self {
        Self { link: Link::new(conn, stall), replication_id, offset, begun: false }
    }

    /// Attaches to a source behind a position in its history, without a snapshot; the history may go on under another id, which
    /// [`Self::replication_id`] then is. `None`: the source cannot go on there.
    ///
    /// # Errors
    /// The connection's, and what the source refused.
    pub async fn resume(
        endpoint: &Endpoint,
        replication_id: &str,
        offset: u64,
        options: CaptureOptions,
    ) -> Result<Option<Self>, RedisError> {
        let resumed = resume(endpoint, replication_id, offset, options).await?;
        Ok(resumed.map(|Resumed { conn, renamed }| {
            let id = renamed.unwrap_or_else(|| replication_id.to_owned());
            Self::new(conn, id, offset, options.stall)
        }))
    }

    /// Offset in the source's history up to which bytes have been given out.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes; none where a second passed without any. Must be called again before the source's `repl-timeout`. May be
    /// dropped and called again.
    ///
    /// # Errors
    /// [`RedisError::Lost`]; [`RedisError::Timeout`] after a silence. Nothing more can be read then.
    pub async fn next(&mut self) -> Result<Vec<u8>, RedisError> {
        self.link.keep_alive().await?;
        if self.link.conn.buffered().is_empty() {
            self.link.more().await?;
        }
        let conn = &mut self.link.conn;
        if !self.begun {
            let blank = conn.buffered().iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            conn.consume(blank);
            self.begun = !conn.buffered().is_empty();
        }
        let bytes = conn.buffered().to_vec();
        conn.consume(bytes.len());
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}
