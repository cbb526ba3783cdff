//! The transfer itself: a proven target on one side, the supplier's chunks on the other.
//!
//! It must hold back the last chunk until the supplier is done, and close the socket without an end mark when the supplier is
//! not; it must not be silent for long, for a target gives up after its `repl-timeout`.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::listener::{Link, START_OFFSET, bytes};
use super::types::{MasterOptions, Step, Supply};
use crate::model::ids::{hex, random};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::info;
use crate::redis::resp::Decoder;

/// At least so many bytes are held back: an RDB without its last byte is truncated, so any number would do.
const HELD_BYTES: usize = 64;
/// Bytes of one write to the socket.
pub(super) const WRITE_BYTES: usize = 256 << 10;
/// Between empty lines sent while the supplier has not begun.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Between readings of the target's INFO while it loads.
const INFO_INTERVAL: Duration = Duration::from_secs(2);
/// One reading of the target's INFO, connection included.
const INFO_TIMEOUT: Duration = Duration::from_secs(4);
/// Between two reports of progress.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// A target that has loaded the data. Dropping this closes the link.
#[derive(Debug)]
pub(super) struct Transferred {
    pub(super) sent: u64,
    pub(super) peer: SocketAddr,
    /// Whether commands follow the snapshot.
    pub(super) stream_follows: bool,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
}

/// Sends the supply under `replid`, and waits until the target has loaded all of it.
pub(super) async fn transfer(
    link: Link,
    supply: &mut mpsc::Receiver<Supply>,
    options: &MasterOptions,
    target: &Endpoint,
    replid: &str,
    on_step: &mut impl FnMut(Step),
) -> Result<Transferred, RedisError> {
    let peer = link.peer;
    let (read, write) = link.tcp.into_split();
    let mut reader = Reader { read, decoder: link.decoder, last_read: Instant::now(), acked: 0 };
    let mut writer = Writer { write, sent: 0, stall: options.stall, reported: None };
    let sent = {
        let acknowledged = reader.acknowledged(START_OFFSET);
        tokio::pin!(acknowledged);
        tokio::select! {
            written = writer.stream(supply, options.total, on_step) => written,
            early = &mut acknowledged => Err(match early {
            Ok(()) => "it claims to have loaded data that was not sent yet".to_owned(),
                Err(reason) => reason,
            }.into()),
        }
    };
    let stream_follows = match sent {
        Ok(stream_follows) => stream_follows,
        Err(Cut::Target(reason)) => return Err(RedisError::Rejected { sent: writer.sent, reason }),
        Err(Cut::Supply(reason)) => return Err(RedisError::Supply { reason }),
    };
    reader.last_read = Instant::now();
    confirm(&mut reader, options, target, replid)
        .await
        .map_err(|reason| RedisError::Rejected { sent: writer.sent, reason })?;
    Ok(Transferred { sent: writer.sent, peer, stream_follows, writer, reader })
}

/// The side that ended a transfer, and why.
pub(super) enum Cut {
    Target(String),
    Supply(String),
}

impl From<String> for Cut {
    fn from(reason: String) -> Self {
        Self::Target(reason)
    }
}

/// The half of the link that the data is written to.
#[derive(Debug)]
pub(super) struct Writer {
    write: OwnedWriteHalf,
    sent: u64,
    stall: Duration,
    reported: Option<Instant>,
}

impl Writer {
    /// Sends a snapshot; whether commands follow it.
    async fn stream(
        &mut self,
        supply: &mut mpsc::Receiver<Supply>,
        total: Option<u64>,
        on_step: &mut impl FnMut(Step),
    ) -> Result<bool, Cut> {
        let mut held = loop {
            tokio::select! {
                item = supply.recv() => match item {
                    Some(Supply::Chunk(chunk)) => break chunk,
                    Some(Supply::Done | Supply::StreamFollows | Supply::Stream { .. }) => {
                        return Err(Cut::Supply("there was no data".to_owned()));
                    }
                    Some(Supply::Failed(reason)) => return Err(Cut::Supply(reason)),
                    None => return Err(Cut::Supply("the supplier went away".to_owned())),
                },
                () = sleep(KEEP_ALIVE_INTERVAL) => self.put(b"\n").await?,
            }
        };
        let mark = hex(&random::<20>().map_err(|fault| Cut::Supply(fault.to_string()))?);
        self.put(format!("$EOF:{mark}\r\n").as_bytes()).await?;
        let stream_follows = loop {
            match supply.recv().await {
                Some(Supply::Chunk(chunk)) if chunk.len() < HELD_BYTES => held.extend_from_slice(&chunk),
                Some(Supply::Chunk(chunk)) => {
                    let ready = std::mem::replace(&mut held, chunk);
                    self.data(&ready, total, on_step).await?;
                }
                Some(Supply::Done) => break false,
                Some(Supply::StreamFollows) => break true,
                Some(Supply::Stream { .. }) => {
                    return Err(Cut::Supply("there were commands before the snapshot's end".to_owned()));
                }
                Some(Supply::Failed(reason)) => return Err(Cut::Supply(reason)),
                None => return Err(Cut::Supply("the supplier went away before it was done".to_owned())),
            }
            // Many small chunks must not pile up.
            if held.len() > 4 * WRITE_BYTES {
                let keep = held.split_off(held.len() - HELD_BYTES);
                let ready = std::mem::replace(&mut held, keep);
                self.data(&ready, total, on_step).await?;
            }
        };
        if held.is_empty() {
            return Err(Cut::Supply("there was no data".to_owned()));
        }
        self.reported = None;
        self.data(&held, total, on_step).await?;
        self.put(mark.as_bytes()).await?;
        Ok(stream_follows)
    }

    async fn data(&mut self, data: &[u8], total: Option<u64>, on_step: &mut impl FnMut(Step)) -> Result<(), Cut> {
        for piece in data.chunks(WRITE_BYTES) {
            self.put(piece).await?;
            self.sent += piece.len() as u64;
            // Progress is for people: four reports a second are plenty, and the last piece is always reported.
            if self.reported.is_none_or(|t| t.elapsed() > PROGRESS_INTERVAL) || Some(self.sent) == total {
                self.reported = Some(Instant::now());
                on_step(Step::Streaming { sent: self.sent, total });
            }
        }
        Ok(())
    }

    pub(super) async fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        match timeout(self.stall, self.write.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("it closed the connection ({error})")),
            Err(_) => Err(format!("it took nothing for {} s", self.stall.as_secs())),
        }
    }
}

/// The half of the link that the target's acknowledgements come from.
#[derive(Debug)]
pub(super) struct Reader {
    read: OwnedReadHalf,
    decoder: Decoder,
    /// When the target last showed a sign of life.
    last_read: Instant,
    /// The highest offset that the target has acknowledged.
    pub(super) acked: u64,
}

impl Reader {
    /// Waits until the target acknowledges an offset: the start offset when it has loaded. Before that it sends empty lines, or
    /// nothing. May be dropped and called again.
    pub(super) async fn acknowledged(&mut self, wanted: u64) -> Result<(), String> {
        loop {
            if self.acked >= wanted {
                return Ok(());
            }
            while let Some(value) = self.decoder.next()? {
                let args: Vec<&[u8]> = value.as_array().unwrap_or_default().iter().map(bytes).collect();
                if let [name, what, offset, ..] = args.as_slice()
                    && name.eq_ignore_ascii_case(b"REPLCONF")
                    && what.eq_ignore_ascii_case(b"ACK")
                    && let Some(offset) = std::str::from_utf8(offset).ok().and_then(|o| o.parse::<u64>().ok())
                {
                    self.acked = self.acked.max(offset);
                }
            }
            if self.acked >= wanted {
                return Ok(());
            }
            match self.read.read_buf(self.decoder.space()).await {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) => self.last_read = Instant::now(),
                Err(error) => return Err(format!("the connection failed ({error})")),
            }
        }
    }
}

/// Waits until the target has loaded. The link may stay silent for long; INFO on a connection of its own tells whether the
/// target still loads.
async fn confirm(reader: &mut Reader, options: &MasterOptions, target: &Endpoint, replid: &str) -> Result<(), String> {
    loop {
        match timeout(INFO_INTERVAL, reader.acknowledged(START_OFFSET)).await {
            Ok(acknowledged) => return acknowledged,
            Err(_) if reader.last_read.elapsed() > options.stall => {
                return Err(format!("no sign of life for {} s", options.stall.as_secs()));
            }
            Err(_) => {}
        }
        // An INFO that fails says nothing: the link's own silence decides.
        if let Ok(Ok(text)) = timeout(INFO_TIMEOUT, read_info(target)).await {
            let has = |line: &str| text.lines().any(|l| l.trim_end() == line);
            if has(&format!("master_replid:{replid}")) && has("master_link_status:up") {
                return Ok(());
            }
            if has("loading:1") || has("async_loading:1") || has("master_sync_in_progress:1") {
                reader.last_read = Instant::now();
            }
        }
    }
}

async fn read_info(target: &Endpoint) -> Result<String, RedisError> {
    let mut conn = Conn::open(target, INFO_INTERVAL).await?;
    info(&mut conn, None).await
}
