//! The transfer itself: a proven target on one side, the supplier's chunks on the other.
//!
//! It must hold back the last chunk until the supplier is done, and close the socket without an end mark when the supplier is
//! not; it must not be silent for long, for the target's patience is `repl-timeout`.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::RedisError;
use super::conn::Conn;
use super::endpoint::Endpoint;
use super::facts::info;
use super::listener::{Link, START, bytes};
use super::master::{MasterOptions, Step, Supply, Switch, random_hex};
use super::resp::Decoder;

/// Held back at least this much: an RDB without its last byte is a truncated one, so any would do.
const HOLD: usize = 64;
const PIECE: usize = 256 << 10;
/// Empty lines while the supplier has not begun.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Between looks at the target through the control connection while it loads.
const LOOK: Duration = Duration::from_secs(2);

/// The target has loaded. Dropping it closes the link.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) sent: u64,
    pub(super) peer: SocketAddr,
    _link: (OwnedWriteHalf, OwnedReadHalf),
}

/// What the target says while it is served.
struct Ear {
    read: OwnedReadHalf,
    decoder: Decoder,
    /// When anything was last heard.
    heard: Cell<Instant>,
}

pub(super) async fn serve(
    link: Link,
    supply: &mut mpsc::Receiver<Supply>,
    options: &MasterOptions,
    target: &Endpoint,
    switch: &Switch,
    on_step: &mut impl FnMut(Step),
) -> Result<Served, RedisError> {
    let peer = link.peer;
    let (read, write) = link.tcp.into_split();
    let mut ear = Ear { read, decoder: link.decoder, heard: Cell::new(Instant::now()) };
    let mut pen = Pen { write, sent: 0, stall: options.stall, told: None };
    let sent = {
        let listen = ear.listen();
        tokio::pin!(listen);
        tokio::select! {
            written = pen.stream(supply, options.total, on_step) => written,
            heard = &mut listen => Err(match heard {
                Ok(()) => "it claims to have loaded what it has not yet got".to_owned(),
                Err(reason) => reason,
            }.into()),
        }
    };
    match sent {
        Ok(()) => {}
        Err(Cut::Target(reason)) => return Err(RedisError::Rejected { sent: pen.sent, reason }),
        Err(Cut::Supply(reason)) => return Err(RedisError::Supply { reason }),
    }
    ear.heard.set(Instant::now());
    confirm(&mut ear, options, target, switch)
        .await
        .map_err(|reason| RedisError::Rejected { sent: pen.sent, reason })?;
    Ok(Served { sent: pen.sent, peer, _link: (pen.write, ear.read) })
}

/// Who ended a transfer, and why.
enum Cut {
    Target(String),
    Supply(String),
}

impl From<String> for Cut {
    fn from(reason: String) -> Self {
        Self::Target(reason)
    }
}

struct Pen {
    write: OwnedWriteHalf,
    sent: u64,
    stall: Duration,
    told: Option<Instant>,
}

impl Pen {
    async fn stream(
        &mut self,
        supply: &mut mpsc::Receiver<Supply>,
        total: Option<u64>,
        on_step: &mut impl FnMut(Step),
    ) -> Result<(), Cut> {
        let mut held = loop {
            tokio::select! {
                item = supply.recv() => match item {
                    Some(Supply::Chunk(chunk)) => break chunk,
                    Some(Supply::Done) => return Err(Cut::Supply("there was no data".to_owned())),
                    Some(Supply::Failed(reason)) => return Err(Cut::Supply(reason)),
                    None => return Err(Cut::Supply("the supplier went away".to_owned())),
                },
                () = sleep(KEEP_ALIVE) => self.put(b"\n").await?,
            }
        };
        let mark = random_hex(20).map_err(|e| Cut::Supply(e.to_string()))?;
        self.put(format!("$EOF:{mark}\r\n").as_bytes()).await?;
        loop {
            match supply.recv().await {
                Some(Supply::Chunk(chunk)) if chunk.len() < HOLD => held.extend_from_slice(&chunk),
                Some(Supply::Chunk(chunk)) => {
                    let ready = std::mem::replace(&mut held, chunk);
                    self.data(&ready, total, on_step).await?;
                }
                Some(Supply::Done) => break,
                Some(Supply::Failed(reason)) => return Err(Cut::Supply(reason)),
                None => return Err(Cut::Supply("the supplier went away before it was done".to_owned())),
            }
            if held.len() > 4 * PIECE {
                let keep = held.split_off(held.len() - HOLD);
                let ready = std::mem::replace(&mut held, keep);
                self.data(&ready, total, on_step).await?;
            }
        }
        if held.is_empty() {
            return Err(Cut::Supply("there was no data".to_owned()));
        }
        self.told = None;
        self.data(&held, total, on_step).await?;
        self.put(mark.as_bytes()).await?;
        Ok(())
    }

    async fn data(&mut self, data: &[u8], total: Option<u64>, on_step: &mut impl FnMut(Step)) -> Result<(), Cut> {
        for piece in data.chunks(PIECE) {
            self.put(piece).await?;
            self.sent += piece.len() as u64;
            // Progress is for people: four times a second is plenty, and the last piece is always told.
            if self.told.is_none_or(|t| t.elapsed() > Duration::from_millis(250)) || Some(self.sent) == total {
                self.told = Some(Instant::now());
                on_step(Step::Streaming { sent: self.sent, total });
            }
        }
        Ok(())
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        match timeout(self.stall, self.write.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("it closed the connection ({error})")),
            Err(_) => Err(format!("it took nothing for {} s", self.stall.as_secs())),
        }
    }
}

impl Ear {
    /// Until the target acknowledges the offset it was told, which it does when it has loaded. Before that it sends empty
    /// lines, or nothing. May be dropped and called again.
    async fn listen(&mut self) -> Result<(), String> {
        loop {
            while let Some(value) = self.decoder.next()? {
                let words: Vec<&[u8]> = value.as_array().unwrap_or_default().iter().map(bytes).collect();
                if let [name, what, offset, ..] = words.as_slice()
                    && name.eq_ignore_ascii_case(b"REPLCONF")
                    && what.eq_ignore_ascii_case(b"ACK")
                    && std::str::from_utf8(offset).ok().and_then(|o| o.parse::<u64>().ok()).is_some_and(|o| o >= START)
                {
                    return Ok(());
                }
            }
            match self.read.read_buf(self.decoder.space()).await {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) => self.heard.set(Instant::now()),
                Err(error) => return Err(format!("the connection failed ({error})")),
            }
        }
    }
}

/// Waits until the target says that it has loaded. It may say nothing on the link for long; a look through the control
/// connection tells whether it is still at it.
async fn confirm(ear: &mut Ear, options: &MasterOptions, target: &Endpoint, switch: &Switch) -> Result<(), String> {
    loop {
        match timeout(LOOK, ear.listen()).await {
            Ok(heard) => return heard,
            Err(_) if ear.heard.get().elapsed() > options.stall => {
                return Err(format!("no sign of life for {} s", options.stall.as_secs()));
            }
            Err(_) => {}
        }
        // A failed look says nothing: the link's own silence decides.
        if let Ok(Ok(text)) = timeout(LOOK * 2, look(target)).await {
            let has = |line: &str| text.lines().any(|l| l.trim_end() == line);
            if has(&format!("master_replid:{}", switch.replid)) && has("master_link_status:up") {
                return Ok(());
            }
            if has("loading:1") || has("async_loading:1") || has("master_sync_in_progress:1") {
                ear.heard.set(Instant::now());
            }
        }
    }
}

async fn look(target: &Endpoint) -> Result<String, RedisError> {
    let mut conn = Conn::open(target, LOOK).await?;
    info(&mut conn, None).await
}
