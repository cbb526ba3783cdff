//! One archiver at work: it attaches, follows, and where the history breaks declares what is missing and begins another timeline.
//!
//! What a crash leaves is whole: a gap is put down before the timeline behind it is opened, so that none is silent.

use crate::archive::SHARD;
use crate::archive::collector::room::Full;
use crate::archive::collector::spooling::{Progress, Spooling};
use crate::archive::collector::{Ended, collect};
use crate::archive::{NewTimeline, RestoredFrom, SealLimits, Timeline, clock};
use crate::config::blocking::blocking;
use crate::model::fault::{Fault, Kind};
use crate::model::job::JobStatus;
use crate::model::log::{Gap, GapCause};
use crate::model::text::bytes;
use crate::provider::local::Inner;
use crate::provider::local::log::attach::{Going, GoneOn};
use crate::provider::local::log::base::Base;
use crate::provider::local::log::ended::keep_sealing;
use crate::provider::local::log::heads::{last_remembered, remember};
use crate::provider::local::log::known::Known;
use crate::redis::reach::Reach;
use crate::state::leases::Lease;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the log is still on, and still this process's.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a base is due.
const BASE_EVERY: Duration = Duration::from_secs(60);
/// Between two attempts to attach, at first and at most.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);
/// How long the vault may take, once the process is to end, for what is on the spool.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// A server that has not come as far as the log may lag; so long it is given to come.
const LAGS_FOR: Duration = Duration::from_secs(60);

/// Why there is a new timeline.
enum Why {
    /// The instance never had one.
    First,
    Gap(GapCause),
    /// By a restore; with a gap where the history went on behind what the log has of it.
    Restored(RestoredFrom, Option<GapCause>),
}

/// What attaching came to.
enum Next {
    Follow(Box<Going>),
    /// It is tried again.
    Wait,
}

/// An archiver of an instance's shard.
pub(super) struct Session<'a> {
    inner: Arc<Inner>,
    id: &'a str,
    lease: &'a Lease,
    stop: CancellationToken,
    /// The timeline that is written; `None` before there is one, and while one ends.
    log: Option<Spooling>,
    /// Remembers how far that is on the vault; ends with it.
    remembering: Option<JoinHandle<()>>,
    known: &'a mut Known,
    /// Since when the source lags.
    lags_since: Option<Instant>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        inner: Arc<Inner>,
        id: &'a str,
        lease: &'a Lease,
        known: &'a mut Known,
        stop: CancellationToken,
    ) -> Self {
        Self { inner, id, lease, stop, log: None, remembering: None, known, lags_since: None }
    }

    /// Keeps the log until it is to end; all that is whole is then on the vault.
    ///
    /// # Errors
    /// Why it cannot go on just now. It is begun again.
    pub(super) async fn keep(mut self) -> Result<(), Fault> {
        let ended = keep_sealing(self.inner.archive.clone(), Arc::clone(&self.inner.state), self.id.to_owned());
        let kept = tokio::select! {
            kept = self.run() => kept,
            never = ended => match never {},
        };
        let finished = match self.log.take() {
            // It is begun again at once, and the vault is not waited for.
            Some(log) if kept.is_err() => self.known.ended(log.leave().await).map(drop),
            Some(log) => {
                let stop = self.stop.clone();
                let enough = async {
                    stop.cancelled().await;
                    tokio::time::sleep(ENDS_WITHIN).await;
                };
                let finished = log.finish(enough).await;
                if let Some(following) = self.remembering.take() {
                    last_remembered(following).await;
                }
                self.known.ended(finished).map(drop)
            }
            None => Ok(()),
        };
        // Why a thread has ended says more than that it has.
        finished.and(kept)
    }

    async fn run(&mut self) -> Result<(), Fault> {
        if let Some(latest) = self.latest().await? {
            if self.known.given_up {
                let stop = self.stop.clone();
                let begun = stop.run_until_cancelled(self.begin(Why::Gap(GapCause::Other), Some(latest))).await;
                match begun.transpose()? {
                    Some(Next::Follow(going)) => self.follow(*going).await?,
                    // The session is begun again.
                    Some(Next::Wait) | None => return Ok(()),
                }
            } else {
                self.log = Some(self.open(latest).await?);
            }
        }
        let mut again = AGAIN_AFTER;
        while self.is_wanted().await? {
            let stop = self.stop.clone();
            let Some(next) = stop.run_until_cancelled(self.attach()).await else { return Ok(()) };
            let going = match next {
                Ok(Next::Follow(going)) => going,
                Ok(Next::Wait) => {
                    self.pause(&mut again).await;
                    continue;
                }
                // A source that is away comes back; whatever else fails, fails the session.
                Err(fault) if fault.kind == Kind::Provider => {
                    // Said once, and not at every attempt.
                    if again == AGAIN_AFTER {
                        tracing::warn!(instance = %self.id, "the source of the log cannot be followed: {fault}");
                    }
                    self.pause(&mut again).await;
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let began = Instant::now();
            self.follow(*going).await?;
            if began.elapsed() > AGAIN_AFTER_MAX {
                again = AGAIN_AFTER;
            }
        }
        Ok(())
    }

    async fn pause(&self, again: &mut Duration) {
        let _ = self.stop.run_until_cancelled(tokio::time::sleep(*again)).await;
        *again = (*again * 2).min(AGAIN_AFTER_MAX);
    }

    /// Whether the log is still to be kept by this process.
    async fn is_wanted(&self) -> Result<bool, Fault> {
        Ok(!self.stop.is_cancelled()
            && self.inner.log_is_on(self.id).await?
            && self.inner.state.renew(self.lease).await?)
    }

    async fn latest(&self) -> Result<Option<Timeline>, Fault> {
        let (archive, id) = (self.inner.archive.clone(), self.id.to_owned());
        Ok(blocking(move || archive.timelines(&id, SHARD)).await?.pop())
    }

    /// Opens a timeline that was written before; one whose spool is damaged is given up.
    async fn open(&mut self, timeline: Timeline) -> Result<Spooling, Fault> {
        self.spooling(timeline).await.inspect_err(|fault| {
            if fault.kind == Kind::Damaged {
                self.known.trouble = Some(GapCause::Damaged);
                self.known.given_up = true;
            }
        })
    }

    async fn spooling(&mut self, timeline: Timeline) -> Result<Spooling, Fault> {
        let config = &self.inner.logs.config;
        let limits = SealLimits { bytes: config.segment_bytes(), age: config.seal_after() };
        let log = Spooling::start(self.inner.archive.clone(), timeline, limits, config.spool_bytes()).await?;
        // It ends with what it follows, which goes on beside the next timeline; the one before is left to itself.
        self.remembering = Some(tokio::spawn(remember(Arc::clone(&self.inner.state), log.heads())));
        Ok(log)
    }

    /// The last moment that a log has, in milliseconds: of what it spooled, else of its beginning.
    fn last_ms(timeline: &Timeline, progress: &Progress) -> i64 {
        progress.spooled.or(progress.archived).map_or(timeline.opened_at, |reached| reached.at).as_millisecond()
    }

    /// Goes on behind the log where the source can, else begins another timeline.
    async fn attach(&mut self) -> Result<Next, Fault> {
        let Some(log) = &self.log else { return self.begin(Why::First, None).await };
        if self.known.too_large.is_some() {
            let waits = self.known.large_base_waits();
            return if waits { Ok(Next::Wait) } else { self.begin(Why::Gap(GapCause::SpoolFull), None).await };
        }
        let end = log.lost().await?;
        let last_ms = Self::last_ms(&log.timeline, &log.progress());
        let broken = match self.inner.go_on_with_log(self.id, &end, last_ms).await? {
            GoneOn::Going(going) => {
                if going.follow.replication_id != end.replid {
                    log.continue_as(&going.follow.replication_id).await?;
                }
                (self.lags_since, self.known.trouble) = (None, None);
                return Ok(Next::Follow(going));
            }
            GoneOn::Not(broken) => broken,
        };
        // While a restore runs, the instance follows it; what came of it is known at its end.
        let restores = self.inner.restores(self.id).await?;
        if restores.iter().any(|job| job.status == JobStatus::Running) {
            return Ok(Next::Wait);
        }
        if broken.reach == Reach::Ahead && self.lags_since.get_or_insert_with(Instant::now).elapsed() < LAGS_FOR {
            return Ok(Next::Wait);
        }
        let since = self.known.followed.map_or_else(|| clock::since(last_ms), |at| at.elapsed());
        let cause = broken.cause(&self.known.run_id, since, self.known.run_id.is_empty());
        let why = match self.inner.restored(self.id, &restores, &log.timeline, &end.replid).await? {
            Some(broken) => {
                let missing = broken.missing(end.offset, cause);
                Why::Restored(broken.by, missing)
            }
            None => Why::Gap(cause),
        };
        self.begin(why, None).await
    }

    /// Captures the base that a timeline begins with; none while the last one that failed is not long enough ago, for each makes the source fork.
    async fn take_base(&mut self) -> Result<Option<Base>, Fault> {
        if self.known.base_waits() {
            return Ok(None);
        }
        let taken = self.inner.take_base(self.id).await;
        self.known.base_ended(taken.is_ok());
        taken
    }

    /// Begins a timeline: behind a set that the source can still go on behind, else behind one that is captured for it. The one before
    /// ends, and what is missing between the two is put down first.
    async fn begin(&mut self, why: Why, given_up: Option<Timeline>) -> Result<Next, Fault> {
        // Behind an older set the same command would come again.
        let set = if self.known.too_large.is_some() { None } else { self.inner.behind_a_set(self.id).await? };
        let (set, database, going) = match set {
            Some((set, going)) => (set, None, going),
            None => {
                let Some(base) = self.take_base().await? else { return Ok(Next::Wait) };
                let going = self.inner.behind_capture(&base.set, base.follow).await?;
                (base.set, base.database, going)
            }
        };
        let before = match self.log.take() {
            // What the vault has not taken yet goes there while the new stream is read.
            Some(log) => {
                let timeline = log.timeline.clone();
                let progress = self.known.ended(log.leave().await)?;
                Some((timeline, progress.spooled.or(progress.archived)))
            }
            None => match given_up {
                Some(timeline) => {
                    let archived = self.inner.archived_of(self.id, &timeline).await?;
                    Some((timeline, archived))
                }
                None => None,
            },
        };
        // However the clock is set, a timeline's times come behind those of the one before.
        let mut opened_at = Timestamp::now();
        if let Some((timeline, reached)) = &before {
            let last = reached.map_or(timeline.opened_at, |reached| reached.at).max(timeline.opened_at);
            opened_at = opened_at.max(last.saturating_add(SignedDuration::from_millis(1)).unwrap_or(last));
        }
        if let (Some((timeline, reached)), Why::Gap(cause) | Why::Restored(_, Some(cause))) = (before, &why) {
            let cause = self.known.trouble.unwrap_or(*cause);
            let missing = Gap {
                timeline: timeline.id.clone(),
                shard: SHARD,
                after_offset: timeline.offset,
                from: timeline.opened_at,
                to: set.finished_at,
                cause,
                source_run_id: going.run_id.clone(),
                detail: self.known.too_large.map_or_else(String::new, |size| {
                    format!("a command of {} and more is larger than the spool", bytes(size))
                }),
            };
            self.inner.put_gap(&timeline, reached, missing).await?;
        }
        let new = NewTimeline {
            instance_id: self.id.to_owned(),
            shard: SHARD,
            opened_at,
            replid: set.replication_id.clone(),
            offset: set.replication_offset,
            database,
            restored_from: if let Why::Restored(from, _) = why { Some(from) } else { None },
        };
        let archive = self.inner.archive.clone();
        let timeline = blocking(move || archive.open_timeline(new)).await?;
        self.log = Some(self.spooling(timeline).await?);
        if self.known.too_large.take().is_some() {
            self.known.large_left_out();
        }
        (self.lags_since, self.known.trouble, self.known.given_up) = (None, None, false);
        Ok(Next::Follow(going))
    }

    /// Follows a source until its link ends, the spool does, or the log is to end.
    async fn follow(&mut self, going: Going) -> Result<(), Fault> {
        let Going { follow, late, run_id } = going;
        self.known.run_id = run_id;
        let Some(log) = &self.log else { return Ok(()) };
        let (stop, replid) = (self.stop.clone(), follow.replication_id.clone());
        let written = || self.inner.written(self.id, &replid);
        let ended = tokio::select! {
            ended = collect(follow, log, late, written) => ended,
            looked = self.look(log) => return looked,
            () = stop.cancelled() => return Ok(()),
        };
        self.known.followed = Some(Instant::now());
        match ended {
            Ended::Link(error) => {
                tracing::info!(instance = %self.id, "the link to the source of the log ended: {error}");
                self.known.trouble = None;
                Ok(())
            }
            Ended::HeldUp => {
                tracing::info!(instance = %self.id, "the source of the log does not say what was held up: the link is made anew");
                self.known.trouble = None;
                Ok(())
            }
            Ended::Full(full) => {
                self.known.trouble = Some(GapCause::SpoolFull);
                if let Full::TooLarge(size) = full {
                    tracing::warn!(
                        instance = %self.id,
                        "a command of {} and more is larger than spool_megabytes: the log goes on behind another base",
                        bytes(size)
                    );
                    self.known.too_large = Some(size);
                    return Ok(());
                }
                let why = match full {
                    Full::Disk => "its disk has hardly any room left".to_owned(),
                    _ => log.progress().vault,
                };
                tracing::warn!(instance = %self.id, "the spool of the log is full: {why}");
                // Where the source's backlog reaches back that far once there is room, nothing is missing after all.
                tokio::select! {
                    room = log.room() => room,
                    looked = self.look(log) => looked,
                    () = stop.cancelled() => Ok(()),
                }
            }
            Ended::Spool(fault) => Err(fault),
        }
    }

    /// Looks after the log while it is followed; ends where it is to end.
    async fn look(&self, log: &Spooling) -> Result<(), Fault> {
        // Where bases may follow on each other at once, it is looked as often.
        let every = BASE_EVERY.min(self.inner.logs.config.base_apart()).max(LOOK_EVERY);
        let (mut base_due, mut counted) = (Instant::now() + every, None);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if log.has_failed() {
                return Err(Fault::new(Kind::Unexpected, "log.failed", "the writing of the log has ended"));
            }
            match self.is_wanted().await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The stream does not wait for the state store; the names on the vault are the fence meanwhile.
                Err(fault) => tracing::warn!(instance = %self.id, "it is not known whether the log is on: {fault}"),
            }
            self.inner.tell_of_log(log).await;
            if Instant::now() >= base_due {
                base_due = Instant::now() + every;
                if let Err(fault) = self.inner.renew_base(self.id, log, &mut counted).await {
                    tracing::warn!(instance = %self.id, "a base of the log could not be taken: {fault}");
                    base_due += 10 * BASE_EVERY;
                }
            }
        }
    }
}
