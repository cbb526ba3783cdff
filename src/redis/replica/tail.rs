//! The tail: the stream behind a backup, read so that it is known what was written after the backup, and to keep its bytes.
//!
//! It must not hold a command in memory, however large one is, and must not read beyond its end where it has one.

use std::time::Duration;

use super::handshake::CaptureOptions;
use super::link::Link;
use super::resume::resume;
use super::scan::{End, Scan, Seen};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

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
        let resumed = resume(endpoint, replication_id, offset, options).await?;
        // With another id the history goes on under a new name: positions are not comparable with the set's.
        let same = resumed.filter(|resumed| resumed.renamed.is_none());
        Ok(same.map(|resumed| Self::new(resumed.conn, offset, options.stall)))
    }

    /// What has been seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.scan.seen
    }

    /// Leaves databases out: what is done there is counted apart, and its bytes are dropped.
    pub fn leave_out(&mut self, databases: impl IntoIterator<Item = u64>) {
        self.scan.left_out = databases.into_iter().collect();
    }

    /// Says where the tail ends; nothing behind that is read. May be said anew.
    pub fn end(&mut self, end: End) {
        self.scan.end = Some(end);
    }

    /// Goes on behind an end, and from here on tells what a restore of some keys sends itself from all else: its bytes are dropped.
    pub fn go_on(&mut self) {
        self.scan.end = None;
        self.scan.tells_ours = true;
    }

    /// Whether the end has been reached.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.scan.is_over()
    }

    /// Reads what has been received, and keeps the link alive; the bytes that are kept, in any pieces, and none where nothing has
    /// come. Must be called again before the source's `repl-timeout`.
    ///
    /// # Errors
    /// [`RedisError::Lost`]; [`RedisError::Protocol`] for anything that is no command. Nothing more can be read then, nor where the
    /// call was dropped.
    pub async fn take(&mut self) -> Result<Vec<u8>, RedisError> {
        self.link.keep_alive().await?;
        let mut kept = Vec::new();
        match self.scan.feed(self.link.conn.buffered(), &mut kept) {
            Ok(scanned) => {
                self.link.conn.consume(scanned);
                Ok(kept)
            }
            Err(what) => Err(self.link.conn.protocol(what)),
        }
    }

    /// Waits for more to [`take`](Self::take), a second at most. May be dropped and called again.
    ///
    /// # Errors
    /// [`RedisError::Lost`]; [`RedisError::Timeout`] after a silence. Nothing more can be read then.
    pub async fn more(&mut self) -> Result<(), RedisError> {
        self.link.more().await
    }
}
