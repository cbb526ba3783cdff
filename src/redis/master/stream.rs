//! The commands behind a loaded snapshot: sent to the target as its replication stream, until it has applied all of them.
//!
//! It must not call applied what the target has not acknowledged to the byte, nor what it was heard to refuse, nor what nobody can
//! prove. No more than what the supplier hands over at once is held, and no reply is awaited before more is sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::listener::START_OFFSET;
use super::transfer::{Cut, PROGRESS_INTERVAL, Reader, Transferred, WRITE_BYTES, Writer};
use super::types::{MasterOptions, Replayed, Step, Supply};
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::inventory::Refusals;
use crate::redis::resp::encode;

/// Between signs of life while the supplier has nothing: a target gives its master up after a silence.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at what the target has refused.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Sends the stream of a target that has loaded the snapshot, and waits until it has applied all of it and refused nothing.
///
/// # Errors
/// [`RedisError::Stream`] with what broke it off, and how far the target had come.
pub(super) async fn replay(
    transferred: &mut Transferred,
    supply: &mut mpsc::Receiver<Supply>,
    options: &MasterOptions,
    target: &Endpoint,
    on_step: &mut impl FnMut(Step),
) -> Result<Replayed, RedisError> {
    let done = apply(transferred, supply, options, target, on_step).await;
    let applied = transferred.reader.acked.saturating_sub(START_OFFSET);
    done.map_err(|source| RedisError::Stream { applied, source: Box::new(source) })
}

async fn apply(
    transferred: &mut Transferred,
    supply: &mut mpsc::Receiver<Supply>,
    options: &MasterOptions,
    target: &Endpoint,
    on_step: &mut impl FnMut(Step),
) -> Result<Replayed, RedisError> {
    let Transferred { reader, writer, .. } = transferred;
    let mut watch = Watch::begin(target, options).await?;
    let sent = AtomicU64::new(0);
    {
        let sending = send(writer, supply, &sent, on_step);
        let answers = reader.acknowledged(u64::MAX);
        tokio::pin!(sending, answers);
        tokio::select! {
            done = &mut sending => done.map_err(|cut| match cut {
                Cut::Target(reason) => RedisError::ReplayBroken { reason },
                Cut::Supply(reason) => RedisError::Supply { reason },
            })?,
            ended = &mut answers => {
                let reason = ended.err().unwrap_or_else(|| "it acknowledges more than there is".to_owned());
                return Err(RedisError::ReplayBroken { reason });
            }
            refused = watch.until_refused() => return Err(refused),
        }
    }
    let bytes = sent.into_inner();
    // The target answers this with the offset in front of it.
    let ask = command(&["REPLCONF", "GETACK", "*"]);
    writer.put(&ask).await.map_err(|reason| RedisError::ReplayBroken { reason })?;
    tokio::select! {
        applied = until_applied(reader, START_OFFSET + bytes, ask.len() as u64, options, on_step) => applied?,
        refused = watch.until_refused() => return Err(refused),
    }
    // Looked at behind the last acknowledgement: what was refused was counted before that.
    tokio::select! {
        looked = watch.look() => looked?,
        ended = reader.acknowledged(u64::MAX) => {
            let reason = ended.err().unwrap_or_else(|| "it acknowledges more than there is".to_owned());
            return Err(RedisError::ReplayBroken { reason });
        }
    }
    on_step(Step::Replaying { sent: bytes, applied: bytes });
    Ok(Replayed { bytes })
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, &words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
    out
}

/// Sends all that the supplier has, and counts it in `sent`.
async fn send(
    writer: &mut Writer,
    supply: &mut mpsc::Receiver<Supply>,
    sent: &AtomicU64,
    on_step: &mut impl FnMut(Step),
) -> Result<(), Cut> {
    let ping = command(&["PING"]);
    let (mut reported, mut between) = (None::<Instant>, true);
    loop {
        let chunk = match timeout(PING_INTERVAL, supply.recv()).await {
            // Inside a command there is no room for a sign of life.
            Err(_) if !between => continue,
            Err(_) => ping.clone(),
            Ok(Some(Supply::Stream { bytes, whole })) => {
                between = whole;
                bytes
            }
            Ok(Some(Supply::Done)) => return Ok(()),
            Ok(Some(Supply::Failed(reason))) => return Err(Cut::Supply(reason)),
            Ok(Some(Supply::Chunk(_) | Supply::StreamFollows)) => {
                return Err(Cut::Supply("there was a snapshot where the stream should be".to_owned()));
            }
            Ok(None) => return Err(Cut::Supply("the supplier went away before it was done".to_owned())),
        };
        for piece in chunk.chunks(WRITE_BYTES) {
            writer.put(piece).await?;
        }
        let so_far = sent.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64;
        if reported.is_none_or(|t| t.elapsed() > PROGRESS_INTERVAL) {
            reported = Some(Instant::now());
            on_step(Step::Replaying { sent: so_far, applied: 0 });
        }
    }
}

/// Waits until the target has acknowledged `end`, which is all that was sent but the question itself, of so many bytes.
async fn until_applied(
    reader: &mut Reader,
    end: u64,
    question: u64,
    options: &MasterOptions,
    on_step: &mut impl FnMut(Step),
) -> Result<(), RedisError> {
    let broken = |reason: String| RedisError::ReplayBroken { reason };
    let (mut least, mut moved) = (reader.acked, Instant::now());
    loop {
        match timeout(PROGRESS_INTERVAL, reader.acknowledged(end)).await {
            Ok(Err(reason)) => return Err(broken(reason)),
            Ok(Ok(())) if reader.acked > end + question => {
                return Err(broken(format!("it acknowledges {} bytes, and was sent {end}", reader.acked)));
            }
            Ok(Ok(())) => return Ok(()),
            Err(_) => {}
        }
        if reader.acked > least {
            (least, moved) = (reader.acked, Instant::now());
            on_step(Step::Replaying { sent: end - START_OFFSET, applied: least.saturating_sub(START_OFFSET) });
        }
        if moved.elapsed() > options.stall {
            return Err(broken(format!(
                "it has applied nothing for {} s, {} bytes before the end",
                options.stall.as_secs(),
                end.saturating_sub(reader.acked)
            )));
        }
    }
}

/// Watches what the target refuses, on a connection of its own.
struct Watch<'a> {
    target: &'a Endpoint,
    within: Duration,
    stall: Duration,
    first: Refusals,
}

impl<'a> Watch<'a> {
    async fn begin(target: &'a Endpoint, options: &MasterOptions) -> Result<Self, RedisError> {
        // A target that is gone by now left the stream like one that goes later.
        let first = read(target, options.command_within).await.map_err(|error| match error.is_transient() {
            true => RedisError::ReplayBroken { reason: error.to_string() },
            false => error,
        })?;
        Ok(Self { target, within: options.command_within, stall: options.stall, first })
    }

    /// Looks until something was refused. A look that fails says nothing: the target may be busy, and the last look decides.
    async fn until_refused(&mut self) -> RedisError {
        loop {
            sleep(LOOK_INTERVAL).await;
            match read(self.target, self.within).await {
                Ok(now) => {
                    if let Err(refused) = self.judge(&now) {
                        return refused;
                    }
                }
                Err(RedisError::ReplayUnproven { what }) => return RedisError::ReplayUnproven { what },
                Err(error) => tracing::debug!("what the target has refused could not be read: {error}"),
            }
        }
    }

    /// The last look, which must not fail.
    async fn look(&mut self) -> Result<(), RedisError> {
        let deadline = Instant::now() + self.stall;
        loop {
            match read(self.target, self.within).await {
                Ok(now) => return self.judge(&now),
                Err(error) if error.is_transient() && Instant::now() < deadline => sleep(LOOK_INTERVAL).await,
                Err(error) => return Err(error),
            }
        }
    }

    fn judge(&self, now: &Refusals) -> Result<(), RedisError> {
        match now.since(&self.first) {
            Some(since) if since.count == 0 => Ok(()),
            Some(since) => Err(RedisError::CommandsRefused { count: since.count, names: since.names }),
            None => Err(unproven("its statistics began anew meanwhile")),
        }
    }
}

fn unproven(what: &str) -> RedisError {
    RedisError::ReplayUnproven { what: what.to_owned() }
}

async fn read(target: &Endpoint, within: Duration) -> Result<Refusals, RedisError> {
    let mut conn = Conn::open(target, within).await?;
    Refusals::read(&mut conn)
        .await?
        .ok_or_else(|| unproven("it does not count what it refuses (unexpected_error_replies)"))
}
