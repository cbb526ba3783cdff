//! The snapshot: the bytes of the RDB as the source sends them, to their end.
//!
//! The bytes are not judged here; and a connection that ends early must not be taken for the end of the data.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::follow::Follow;
use super::handshake::{Attached, CaptureOptions, Extent, Framing, Source, attach};
use super::mark::MarkSearch;
use super::tail::Tail;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

/// A capture under way. Dropping it ends the capture, at the source too.
#[derive(Debug)]
pub struct Snapshot {
    conn: Conn,
    options: CaptureOptions,
    /// What was found out about the source, and told to it.
    pub source: Source,
    /// Replication id of the source's history.
    pub replid: String,
    /// Offset in that history at which the data was captured.
    pub offset: u64,
    /// How the end is marked.
    pub framing: Framing,
    received: u64,
    /// The search for the end, where it is marked.
    mark: Option<MarkSearch>,
    ended: bool,
    /// Since when the next bytes are waited for; kept when [`Self::read`] is dropped.
    waiting_since: Option<Instant>,
    trickle: Trickle,
}

/// Whether what comes is data, or no more than signs of life: empty lines or PINGs, a few bytes a second.
#[derive(Debug)]
struct Trickle {
    limit: Duration,
    /// Time spent waiting for the source, and bytes received meanwhile. Waiting for whoever reads is no fault of the source's.
    waited: Duration,
    bytes: u64,
}

/// Fewer bytes than this for each second of waiting are no data: an empty line each second, or a PING.
const DATA_BYTES_PER_SECOND_MIN: u64 = 64;

impl Trickle {
    /// Takes note of bytes and the time they were waited for. `false`: for longer than the limit there was no data.
    fn flows(&mut self, bytes: usize, waited: Duration) -> bool {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.bytes >= DATA_BYTES_PER_SECOND_MIN.saturating_mul(self.limit.as_secs()) {
            (self.bytes, self.waited) = (0, Duration::ZERO);
        }
        self.waited <= self.limit
    }
}

impl Snapshot {
    /// Attaches and waits until the source begins to send. Needs `+psync +replconf +ping`. The source may be a replica.
    ///
    /// # Errors
    /// The connection's; [`RedisError::Denied`] with the rights needed; [`RedisError::NoReplication`];
    /// [`RedisError::Loading`] and others that [pass by themselves](RedisError::passes); [`RedisError::Timeout`] after a
    /// silence, [`RedisError::NoData`] after too many signs of life; [`RedisError::Interrupted`] when the source hung up, which
    /// it does when it cannot fork, or cannot write its data in a format for us.
    pub async fn open(endpoint: &Endpoint, options: CaptureOptions) -> Result<Self, RedisError> {
        let Attached { conn, source, replid, offset, framing } = attach(endpoint, options).await?;
        let (mark, ended) = match framing {
            Framing::Mark(mark) => (Some(MarkSearch::new(mark)), false),
            Framing::Length(total) => (None, total == 0),
        };
        let trickle = Trickle { limit: options.no_data, waited: Duration::ZERO, bytes: 0 };
        let (received, waiting_since) = (0, None);
        Ok(Self { conn, options, source, replid, offset, framing, received, mark, ended, waiting_since, trickle })
    }

    /// The next bytes; 0 at the end. With [`Framing::Mark`] the mark comes out as the last 40 bytes, for the reader of
    /// the format finds the end by itself and must then see the mark: [`Framing::ends`]. What the source sent behind its mark
    /// does not come out. May be dropped and called again.
    ///
    /// # Errors
    /// [`RedisError::Interrupted`] when the source hung up or fell silent before the end; [`RedisError::NoData`] when it sent
    /// no more than signs of life.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, RedisError> {
        let room = match self.framing {
            _ if self.ended => 0,
            Framing::Length(total) => usize::try_from(total - self.received).unwrap_or(usize::MAX).min(into.len()),
            Framing::Mark(_) => into.len(),
        };
        let Some(into) = into.get_mut(..room).filter(|i| !i.is_empty()) else { return Ok(0) };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let reason = match timeout_at(since + self.options.stall, self.conn.read_raw(into)).await {
            Ok(Ok(0)) => self.hung_up(),
            Ok(Ok(n)) => return self.took(into.get(..n).unwrap_or_default(), since.elapsed()),
            Ok(Err(source)) => format!("{} ({source})", self.hung_up()),
            Err(_) => format!("the source sent nothing for {} s", self.options.stall.as_secs()),
        };
        Err(self.interrupted(reason))
    }

    /// Counts bytes just received; how many of them are the snapshot's and its mark's.
    fn took(&mut self, bytes: &[u8], waited: Duration) -> Result<usize, RedisError> {
        self.waiting_since = None;
        let mut n = bytes.len();
        if let Some(end) = self.mark.as_mut().and_then(|mark| mark.push(bytes)) {
            // Empty lines or the stream: the stream's reader knows both.
            self.conn.put_back(bytes.get(end..).unwrap_or_default());
            (self.ended, n) = (true, end);
        }
        self.received += n as u64;
        if let Framing::Length(total) = self.framing {
            self.ended = self.received == total;
        }
        if !self.ended && !self.trickle.flows(n, waited) {
            let address = self.conn.label().to_owned();
            return Err(RedisError::NoData { address, received: self.received, after: self.options.no_data });
        }
        Ok(n)
    }

    fn hung_up(&self) -> String {
        match self.received {
            0 => self.source.hung_up("right after +FULLRESYNC"),
            _ if self.source.may_refuse_the_format => self.source.hung_up("in the middle of its data"),
            _ => "the source hung up; its log says why".to_owned(),
        }
    }

    /// Stays attached to read what is written after the data, which must have been read to its end. The source gives up on a replica
    /// that falls silent (`repl-timeout`), so read soon.
    ///
    /// # Errors
    /// [`RedisError::Interrupted`] where the data has not been read to its end, or the capture was opened for
    /// [`Extent::Snapshot`].
    pub fn into_tail(self) -> Result<Tail, RedisError> {
        match self.options.extent {
            Extent::SnapshotAndStream if self.ended => Ok(Tail::new(self.conn, self.offset, self.options.stall)),
            _ => Err(self.interrupted("the stream was not asked for, or before the end of the data".to_owned())),
        }
    }

    /// Stays attached to keep what follows the data, byte for byte. The data must have been read to its end.
    ///
    /// # Errors
    /// As [`Self::into_tail`].
    pub fn into_follow(self) -> Result<Follow, RedisError> {
        match self.options.extent {
            Extent::SnapshotAndStream if self.ended => {
                Ok(Follow::new(self.conn, self.replid, self.offset, self.options.stall))
            }
            _ => Err(self.interrupted("the stream was not asked for, or before the end of the data".to_owned())),
        }
    }

    fn interrupted(&self, reason: String) -> RedisError {
        RedisError::Interrupted { address: self.conn.label().to_owned(), received: self.received, reason }
    }
}
