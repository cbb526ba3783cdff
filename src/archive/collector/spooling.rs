//! The threads behind a timeline that is being written: one brings what comes to the spool, one the spool to the vault. The first never
//! waits for the second.
//!
//! A crash leaves the spool as it was last synced; what lies there goes to the vault at the next start.

use crate::archive::collector::clock::Arrival;
use crate::archive::{Archive, LogWriter, Reached, SealLimits, Sealer, Timeline};
use crate::model::fault::{Fault, Kind};
use jiff::{SignedDuration, Timestamp};
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};

/// Pieces on their way to the spool. Each is what one read brought.
const IN_FLIGHT: usize = 16;
/// At most so long after its arrival a byte is on this machine's disk.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether something is to be sealed, and how long is waited after a failure, at first and at most.
const SEAL_EVERY: Duration = Duration::from_millis(500);
const SEAL_AGAIN_MAX: Duration = Duration::from_secs(30);

/// How far the log is, for whoever tells of it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Up to where the log is on this machine's disk.
    pub spooled: Option<Reached>,
    /// Up to where the log is on the vault.
    pub archived: Option<Reached>,
    /// Whether something came that was not taken, for the spool had no room.
    pub full: bool,
    /// Why the vault takes nothing just now; empty where it does.
    pub vault: String,
}

/// Where a stream is to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The replication id of the history.
    pub replid: String,
    /// Offset behind the last whole transaction.
    pub offset: u64,
}

/// What the thread that writes is told.
enum Order {
    Append(Vec<u8>, Arrival),
    /// The link is lost: what is not whole is dropped, and asked for again from there.
    Lost(oneshot::Sender<Result<End, Fault>>),
    ContinueAs(String, oneshot::Sender<Result<(), Fault>>),
    /// Looks whether there is room again.
    Look,
}

/// A timeline that is being written.
pub struct Spooling {
    /// The timeline.
    pub timeline: Timeline,
    orders: mpsc::Sender<Order>,
    progress: watch::Receiver<Progress>,
    writing: JoinHandle<Result<(), Fault>>,
    sealing: JoinHandle<Result<(), Fault>>,
}

impl Spooling {
    /// Goes on with a timeline, or begins it. `spool_bytes`: what may wait for the vault.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub async fn start(
        archive: Archive,
        timeline: Timeline,
        limits: SealLimits,
        spool_bytes: u64,
    ) -> Result<Self, Fault> {
        let (opening, of) = (archive.clone(), timeline.clone());
        let writer = crate::config::blocking::blocking(move || opening.writer(&of, limits)).await?;
        let sealer = writer.sealer();
        let told = watch::Sender::new(Progress {
            spooled: writer.spooled_until(),
            archived: writer.archived_until(),
            ..Progress::default()
        });
        let (orders, received) = mpsc::channel(IN_FLIGHT);
        let (wake, woken) = blocking::channel();
        let (progress, sealed) = (told.subscribe(), told.clone());
        let writing = spawn_blocking(move || write(writer, received, &told, &wake, spool_bytes));
        let sealing = spawn_blocking(move || seal(sealer, &woken, &sealed));
        Ok(Self { timeline, orders, progress, writing, sealing })
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Takes bytes of the stream; waits where the disk is slower than the source. None at all say that nothing more had come.
    ///
    /// # Errors
    /// That the writing has ended; [`Self::finish`] says why.
    pub async fn append(&self, bytes: Vec<u8>, arrival: Arrival) -> Result<(), Fault> {
        self.send(Order::Append(bytes, arrival)).await
    }

    /// Whether something came that was not taken, for the spool had no room. It takes again once half of it is free.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.progress.borrow().full
    }

    /// Drops what is not whole, for the link is lost. Where the stream is to go on.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn lost(&self) -> Result<End, Fault> {
        let (tell, told) = oneshot::channel();
        self.send(Order::Lost(tell)).await?;
        told.await.map_err(|_| over())?
    }

    /// Goes on under another replication id: a failover was followed.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn continue_as(&self, replid: &str) -> Result<(), Fault> {
        let (tell, told) = oneshot::channel();
        self.send(Order::ContinueAs(replid.to_owned(), tell)).await?;
        told.await.map_err(|_| over())?
    }

    /// Waits until there is room in the spool again.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn room(&self) -> Result<(), Fault> {
        while self.is_full() {
            tokio::time::sleep(SYNC_EVERY).await;
            // Without the thread that empties it there will be none.
            if self.has_failed() {
                return Err(over());
            }
            self.send(Order::Look).await?;
        }
        Ok(())
    }

    /// Whether either thread has ended, which it does by itself only where it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.writing.is_finished() || self.sealing.is_finished()
    }

    async fn send(&self, order: Order) -> Result<(), Fault> {
        self.orders.send(order).await.map_err(|_| over())
    }

    /// Ends the timeline's writing: all that is whole goes to the vault. How far the log then is.
    ///
    /// # Errors
    /// Why the spool or the vault took no more. What is on the spool stays there.
    pub async fn finish(self) -> Result<Progress, Fault> {
        let Self { orders, progress, writing, sealing, .. } = self;
        drop(orders);
        let ended = |joined: Result<Result<(), Fault>, tokio::task::JoinError>| joined.unwrap_or_else(|_| Err(over()));
        let written = ended(writing.await);
        let sealed = ended(sealing.await);
        let progress = progress.borrow().clone();
        written.and(sealed).map(|()| progress)
    }
}

/// The fault of a thread that has ended; its own says why.
fn over() -> Fault {
    Fault::new(Kind::Unexpected, "log.failed", "the writing of the log has ended").hint("It is begun again by itself.")
}

/// Brings what comes to the spool, until nobody sends any more.
fn write(
    mut writer: LogWriter,
    mut orders: mpsc::Receiver<Order>,
    told: &watch::Sender<Progress>,
    wake: &blocking::Sender<()>,
    spool_bytes: u64,
) -> Result<(), Fault> {
    let mut synced = Instant::now();
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Append(bytes, arrival) => {
                let full = !bytes.is_empty() && writer.spool_bytes().saturating_add(bytes.len() as u64) > spool_bytes;
                if full || told.borrow().full {
                    // What waits is to go to the vault, however small it is.
                    writer.discard_partial()?;
                    writer.seal_now()?;
                    told.send_modify(|progress| progress.full = true);
                    continue;
                }
                let at = Timestamp::from_millisecond(arrival.at_ms).unwrap_or(Timestamp::MAX);
                let precision = SignedDuration::from_millis(i64::try_from(arrival.precision_ms).unwrap_or(i64::MAX));
                writer.append(&bytes, at, precision)?;
            }
            Order::Lost(tell) => {
                let dropped = writer.discard_partial();
                let end = dropped.map(|offset| End { replid: writer.replid().to_owned(), offset });
                // Who no longer waits has ended.
                let _ = tell.send(end);
            }
            Order::Look => {}
            Order::ContinueAs(replid, tell) => {
                let _ = tell.send(writer.continue_as(&replid));
            }
        }
        if synced.elapsed() >= SYNC_EVERY {
            if told.borrow().full && writer.spool_bytes() <= spool_bytes / 2 {
                told.send_modify(|progress| progress.full = false);
            }
            writer.sync()?;
            writer.seal_due(Timestamp::now())?;
            synced = Instant::now();
            tell(told, &writer);
            // The sealer may have ended by a fault of its own.
            let _ = wake.send(());
        }
    }
    writer.discard_partial()?;
    writer.sync()?;
    writer.seal_now()?;
    tell(told, &writer);
    Ok(())
}

fn tell(told: &watch::Sender<Progress>, writer: &LogWriter) {
    told.send_modify(|progress| progress.spooled = writer.spooled_until());
}

/// Brings the spool to the vault, until the writing has ended; then once more.
///
/// # Errors
/// `log.conflict`, `log.damaged`: then another attempt would fail too; and why the last one failed.
fn seal(mut sealer: Sealer, woken: &blocking::Receiver<()>, told: &watch::Sender<Progress>) -> Result<(), Fault> {
    let mut wait = SEAL_EVERY;
    loop {
        let over = is_over_after(woken, wait);
        match sealer.seal() {
            Ok(archived) => {
                wait = SEAL_EVERY;
                told.send_modify(|progress| {
                    progress.archived = archived.or(progress.archived);
                    progress.vault.clear();
                });
            }
            Err(fault) if over || matches!(fault.kind, Kind::Refused | Kind::Damaged) => return Err(fault),
            Err(fault) => {
                tracing::warn!("the vault takes nothing of the log: {fault}");
                wait = (wait * 2).min(SEAL_AGAIN_MAX);
                told.send_modify(|progress| progress.vault = fault.message.clone());
            }
        }
        if over {
            return Ok(());
        }
    }
}

/// Waits until something may be there to seal, and where the vault failed last, for all of `wait`. Whether the writing is over.
fn is_over_after(woken: &blocking::Receiver<()>, wait: Duration) -> bool {
    let until = Instant::now() + wait;
    loop {
        match woken.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) if wait > SEAL_EVERY => {}
            Ok(()) | Err(blocking::RecvTimeoutError::Timeout) => return false,
            Err(blocking::RecvTimeoutError::Disconnected) => return true,
        }
    }
}
