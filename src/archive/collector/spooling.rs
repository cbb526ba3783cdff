//! The threads behind a timeline that is being written: one brings what comes to the spool, one the spool to the vault. The first never
//! waits for the second.
//!
//! A crash leaves the spool as it was last synced; what lies there goes to the vault at the next start.

use crate::archive::clock::Reading;
use crate::archive::collector::room::{Full, Room};
use crate::archive::reach::SpoolProgress;
use crate::archive::{Archive, LogWriter, Reached, SealLimits, Sealer, Timeline};
use crate::model::fault::{Fault, Kind};
use crate::model::log::LogHead;
use crate::model::text;
use jiff::SignedDuration;
use std::sync::Arc;
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
    /// Commands that went to the vault since the timeline was opened here.
    pub sealed: u64,
    /// Why something that came was not taken.
    pub full: Option<Full>,
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
    /// What came, when, and by how much earlier it may have been written.
    Append(Vec<u8>, Reading, SignedDuration),
    /// The link is lost: what is not whole is dropped, and asked for again from there.
    Lost(oneshot::Sender<Result<End, Fault>>),
    ContinueAs(String, oneshot::Sender<Result<(), Fault>>),
    /// Looks whether there is room again, and what is to be synced and sealed.
    Look,
}

/// A timeline that is being written.
pub struct Spooling {
    /// The timeline.
    pub timeline: Timeline,
    orders: mpsc::Sender<Order>,
    progress: watch::Receiver<Progress>,
    heads: watch::Receiver<Option<LogHead>>,
    spool: Arc<SpoolProgress>,
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
        let (sealer, spool) = (writer.sealer(), writer.progress());
        let told = watch::Sender::new(Progress {
            spooled: writer.spooled_until(),
            archived: writer.archived_until(),
            ..Progress::default()
        });
        let (orders, received) = mpsc::channel(IN_FLIGHT);
        let (wake, woken) = blocking::channel();
        let (progress, sealed) = (told.subscribe(), told.clone());
        let writing = spawn_blocking(move || write(writer, received, &told, &wake, spool_bytes));
        let (newest, heads) = watch::channel(None);
        let sealing = spawn_blocking(move || seal(sealer, &woken, &sealed, &newest));
        Ok(Self { timeline, orders, progress, heads, spool, writing, sealing })
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The newest segment that has come to the vault since this began, each time it is another. It ends with the thread that brings them there, which
    /// may outlive this.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Option<LogHead>> {
        self.heads.clone()
    }

    /// Takes bytes of the stream; waits where the disk is slower than the source. None at all say that nothing more had come.
    ///
    /// # Errors
    /// That the writing has ended; [`Self::finish`] says why.
    pub async fn append(&self, bytes: Vec<u8>, came: Reading, precision: SignedDuration) -> Result<(), Fault> {
        self.send(Order::Append(bytes, came, precision)).await
    }

    /// Why something that came was not taken. It takes again once half of it is free, or what is left of it where one transaction
    /// needs more.
    #[must_use]
    pub fn full(&self) -> Option<Full> {
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
        while self.full().is_some() {
            tokio::time::sleep(SYNC_EVERY).await;
            // Without the thread that empties it there will be none.
            if self.has_failed() {
                return Err(over());
            }
            self.look().await?;
        }
        Ok(())
    }

    /// Has what came synced, and sealed where that is due, though nothing more comes.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn look(&self) -> Result<(), Fault> {
        self.send(Order::Look).await
    }

    /// Whether either thread has ended, which it does by itself only where it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.writing.is_finished() || self.sealing.is_finished()
    }

    async fn send(&self, order: Order) -> Result<(), Fault> {
        self.orders.send(order).await.map_err(|_| over())
    }

    /// Ends the timeline's writing: all that is whole goes to the vault, which is waited for until `enough` says that it took too long.
    /// How far the log then is.
    ///
    /// # Errors
    /// Why the spool or the vault took no more. What is on the spool stays there.
    pub async fn finish(self, enough: impl Future<Output = ()>) -> Result<Progress, Fault> {
        let Self { timeline, orders, progress, spool, writing, sealing, .. } = self;
        drop(orders);
        let all = async { joined(writing.await).and(joined(sealing.await)) };
        tokio::select! {
            ended = all => ended?,
            () = enough => tracing::warn!(
                instance = %timeline.instance_id,
                "the vault has not taken all of the log: {} stay in the spool, and go there at the next start",
                text::bytes(spool.bytes())
            ),
        }
        let progress = progress.borrow().clone();
        Ok(progress)
    }

    /// Ends the timeline's writing once all that is whole is on this machine's disk. The vault is not waited for: what it has not
    /// taken yet goes there beside whatever is written next. How far the log then is.
    ///
    /// # Errors
    /// Why the spool took no more, or the vault nothing at all.
    pub async fn leave(self) -> Result<Progress, Fault> {
        let Self { orders, progress, writing, sealing, .. } = self;
        drop(orders);
        let written = joined(writing.await);
        let sealed = if sealing.is_finished() { joined(sealing.await) } else { Ok(()) };
        let progress = progress.borrow().clone();
        written.and(sealed).map(|()| progress)
    }
}

/// How a thread has ended.
fn joined(ended: Result<Result<(), Fault>, tokio::task::JoinError>) -> Result<(), Fault> {
    ended.unwrap_or_else(|_| Err(over()))
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
    let mut room = Room::of(&writer, spool_bytes);
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Append(bytes, came, precision) => {
                // What comes behind something that was not taken is not taken either.
                if told.borrow().full.is_some() {
                    continue;
                }
                if let Some(why) = room.refuses(&writer, bytes.len() as u64) {
                    // What waits is to go to the vault, however small it is.
                    writer.discard_partial()?;
                    writer.seal_now()?;
                    told.send_modify(|progress| progress.full = Some(why));
                    continue;
                }
                writer.append(&bytes, came, precision)?;
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
            room.look(&writer);
            if told.borrow().full.is_some() && room.is_there(&writer) {
                told.send_modify(|progress| progress.full = None);
            }
            writer.sync()?;
            writer.seal_due(Instant::now())?;
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
fn seal(
    mut sealer: Sealer,
    woken: &blocking::Receiver<()>,
    told: &watch::Sender<Progress>,
    newest: &watch::Sender<Option<LogHead>>,
) -> Result<(), Fault> {
    let mut wait = SEAL_EVERY;
    loop {
        let over = is_over_after(woken, wait);
        let sealed = sealer.seal();
        // Also where it failed at a later file.
        let head = sealer.head();
        newest.send_if_modified(|last| {
            let is_another = *last != head;
            *last = head;
            is_another
        });
        match sealed {
            Ok(archived) => {
                wait = SEAL_EVERY;
                told.send_modify(|progress| {
                    progress.archived = archived.or(progress.archived);
                    progress.sealed = sealer.sealed;
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
