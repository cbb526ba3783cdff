//! The snapshot: the bytes of the RDB as the source sends them, to their end.
//!
//! The bytes are not judged here; and a connection that ends early must not be taken for the end of the data.

use std::time::Duration;

use tokio::time::timeout;

use super::handshake::{Attached, CaptureOptions, Extent, Framing, attach};
use super::stream::Stream;
use super::tail::Tail;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;

/// A capture under way. Dropping it ends the capture, at the source too.
#[derive(Debug)]
pub struct Snapshot {
    conn: Conn,
    stall: Duration,
    extent: Extent,
    /// Replication id of the source's history.
    pub replid: String,
    /// Offset in that history at which the data was captured.
    pub offset: u64,
    /// How the end is marked.
    pub framing: Framing,
    received: u64,
    /// The last bytes received, as many as a mark has. The source writes nothing after its mark until the first
    /// acknowledgement, which only a [`Stream`] sends, so "the last bytes are the mark" is the end.
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
        let Attached { conn, replid, offset, framing } = attach(endpoint, options).await?;
        let CaptureOptions { stall, extent, .. } = options;
        Ok(Self { conn, stall, extent, replid, offset, framing, received: 0, tail: Vec::new() })
    }

    /// The next bytes; 0 at the end. With [`Framing::Mark`] the mark comes out as the last 40 bytes, for the reader of
    /// the format finds the end by itself and must then see the mark: [`Framing::ends`]. May be dropped and called again.
    ///
    /// # Errors
    /// [`RedisError::Interrupted`] when the source hung up or fell silent before the end.
    pub async fn read(&mut self, into: &mut [u8]) -> Result<usize, RedisError> {
        let room = match self.framing {
            Framing::Length(total) => usize::try_from(total - self.received).unwrap_or(usize::MAX).min(into.len()),
            Framing::Mark(_) if self.ended() => 0,
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

    /// Stays attached: the commands that follow the data, which must have been read to its end. The source gives up on a
    /// replica that falls silent (`repl-timeout`), so call [`Stream::next`] soon. A command of more than
    /// `command_bytes_max` bytes will be an error.
    ///
    /// # Errors
    /// [`RedisError::Interrupted`] where the data has not been read to its end, or the capture was opened for
    /// [`Extent::Snapshot`].
    pub fn into_stream(self, command_bytes_max: usize) -> Result<Stream, RedisError> {
        match self.extent {
            Extent::Snapshot => Err(self.interrupted("the stream after it was not asked for".to_owned())),
            Extent::SnapshotAndStream if !self.ended() => {
                Err(self.interrupted("the stream was asked for before its end".to_owned()))
            }
            Extent::SnapshotAndStream => Ok(Stream::new(self.conn, self.offset, self.stall, command_bytes_max)),
        }
    }

    /// Stays attached to read what is written after the data, which must have been read to its end.
    ///
    /// # Errors
    /// As [`Self::into_stream`].
    pub fn into_tail(self) -> Result<Tail, RedisError> {
        match self.extent {
            Extent::SnapshotAndStream if self.ended() => Ok(Tail::new(self.conn, self.offset, self.stall)),
            _ => Err(self.interrupted("the stream was not asked for, or before the end of the data".to_owned())),
        }
    }

    fn ended(&self) -> bool {
        match self.framing {
            Framing::Length(total) => self.received == total,
            Framing::Mark(mark) => self.tail == mark,
        }
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
