//! The cutover of a restore, whichever way its data goes in: the last look at the target, and what was accepted behind the last safety
//! backup.
//!
//! It must not let anything of ours be counted as a client's, nor count beyond the moment of the cutover.

use crate::guard::facts::look::{CutoverLook, LastLook, TailLook};
use crate::guard::plan::{Plan, not_kept};
use crate::guard::writes::{ServerCounters, Streamed, Writes};
use crate::model::fault::{Fault, Kind};
use crate::model::job::Job;
use crate::model::log::Position;
use crate::model::restore::{Cutover, Meanwhile, Method};
use crate::provider::local::Inner;
use crate::provider::local::restore::counted::counted_since;
use crate::provider::local::restore::last_safety::LastSafety;
use crate::redis::moment::{Look, Moment};
use crate::redis::replica::scan::{End, Seen};
use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;

/// How long the stream may take to come up to the cutover.
const CATCH_UP: Duration = Duration::from_secs(20);
/// How long the instance's log may take to come there, where the tail is not kept.
const LOG_CATCHES_UP: Duration = Duration::from_secs(5);

/// The way back of a restore, up to its cutover.
pub(super) struct WayBack<'a> {
    inner: &'a Inner,
    job: &'a Job,
    plan: &'a Plan,
    /// `None` where the plan promises no way back, and once the stream has ended.
    safety: Option<LastSafety>,
    /// Databases that carry this restore's mark.
    marked: u64,
    /// Write commands behind the last safety backup, at the last look or at the cutover.
    pub(super) accepted: Option<u64>,
    /// Removals up to the last look that were no client's.
    removed: u64,
    /// Whether the old data is gone, or refuses writes.
    pub(super) cut: bool,
    /// Where in the target's own history it is looked at, or was cut.
    at: Option<u64>,
    /// The same in the instance's log, where that has the writes up to there and the tail has not.
    in_log: Option<Position>,
    /// Keys that the target had evicted since its statistics began, at the last look.
    pub(super) evicted_then: Option<u64>,
    /// What the cutover came to, once the stream has ended.
    cutover: Option<Cutover>,
    /// Removals of the server's own since its statistics began, at the last look.
    removed_then: u64,
    /// What had been read at the cutover, where the stream is followed further.
    first_key: Option<FirstKey>,
    /// What came since, and the bytes that were kept before.
    while_written: Option<(Meanwhile, u64)>,
}

/// The stream as the first key was written.
struct FirstKey {
    seen: Seen,
    /// Bytes that were kept.
    bytes: u64,
}

/// The target behind the last key of a restore of some keys.
pub(super) struct LastKey {
    pub(super) offset: u64,
    /// Removals of the server's own since its statistics began.
    pub(super) removed: u64,
    /// Commands that this restore has sent and that the target has carried out.
    pub(super) ours: u64,
    /// Whether every removal in the stream is a client's, or of a key that the safety backup loses as well: no key that was written may have
    /// expired or been evicted since, which would remove another one from what the stream is replayed onto.
    pub(super) replayable: bool,
}

impl<'a> WayBack<'a> {
    /// `marked`: databases that carry this restore's mark, and so are left out of the stream.
    pub(super) const fn new(
        inner: &'a Inner,
        job: &'a Job,
        plan: &'a Plan,
        safety: Option<LastSafety>,
        marked: u64,
    ) -> Self {
        Self {
            inner,
            job,
            plan,
            safety,
            marked,
            accepted: None,
            removed: 0,
            cut: false,
            at: None,
            in_log: None,
            evicted_then: None,
            cutover: None,
            removed_then: 0,
            first_key: None,
            while_written: None,
        }
    }

    /// Reads the stream up to a moment of the target, and has the guard judge the two. `counters` and `evicted`: of the target at that
    /// moment; `own`: as in a [`Moment`].
    pub(super) async fn judge(
        &mut self,
        mut seen: CutoverLook,
        counters: ServerCounters,
        evicted: u64,
        own: u64,
    ) -> Result<(), Fault> {
        self.evicted_then = Some(evicted);
        if let Some(safety) = &mut self.safety {
            let read = safety.tail.reach(End::At(seen.offset), CATCH_UP).await.map_err(|why| tail_lost(&why))?;
            let kept = safety.tail.keep().await;
            let mut tail = safety.look(read, counters, own, self.marked);
            (self.at, self.in_log) = (Some(seen.offset), None);
            if let (Err(why), true) = (kept, tail.written() > 0) {
                let (id, from) = (&safety.cutover.instance_id, (safety.replication_id.as_str(), safety.offset));
                match self.inner.in_log(id, from, seen.offset, self.marked > 0).await {
                    Ok(position) => self.in_log = Some(position),
                    Err(nor) => tail.lost = Some(format!("{why}; {nor}")),
                }
            }
            self.accepted = Some(tail.written());
            self.removed = tail.seen.removals.min(tail.own_removals);
            safety.cutover.called_after = if tail.written() == 0 { tail.called } else { 0 };
            safety.cutover.evicted_after = counted_since(evicted, safety.evicted);
            seen.tail = Some(tail);
        }
        self.plan.cutover_look(&seen)
    }

    /// Waits until the stream has been read up to a position; whether there is one, and it was in time.
    pub(super) async fn catches_up(&mut self, offset: u64, within: Duration) -> bool {
        match &mut self.safety {
            Some(safety) => safety.tail.catches_up(offset, within).await,
            None => false,
        }
    }

    /// [`Self::conclude`] of a restore of some keys: with what clients wrote while keys were written, where every command of ours was met and
    /// no other is taken for one; else without. `last`: `None` where it did not come to its end.
    pub(super) async fn conclude_keys(&mut self, last: Option<LastKey>) -> Option<Cutover> {
        let first = self.first_key.take();
        let (Some(first), Some(safety)) = (first, self.safety.as_mut()) else {
            return self.conclude(None, None).await;
        };
        let mut met = None;
        if let Some(last) = &last {
            match safety.tail.reach(End::At(last.offset), CATCH_UP).await {
                Ok(seen) if seen.ours == last.ours => met = Some(seen),
                Ok(seen) => tracing::warn!("the stream has {} of {} commands of this restore", seen.ours, last.ours),
                Err(why) => tracing::warn!("what was written while keys were written is not known: {why}"),
            }
        }
        let own = last.as_ref().map_or(0, |last| last.removed.saturating_sub(self.removed_then));
        let written = met.map(|seen| {
            let (writes, removals) = (seen.writes - first.seen.writes, seen.removals - first.seen.removals);
            Streamed { writes, removals }.written(own)
        });
        let kept = last.is_some_and(|last| last.replayable);
        self.while_written = Some((Meanwhile { written, kept: kept && written.is_some() }, first.bytes));
        self.conclude(None, None).await
    }

    /// Ends the stream behind the last safety backup, and writes down what the cutover came to; `None` where there was none. Where the
    /// stream has ended, what it came to then.
    pub(super) async fn conclude(&mut self, waited: Option<Duration>, refused: Option<Duration>) -> Option<Cutover> {
        if let Some(LastSafety { mut cutover, tail, replication_id, offset, .. }) = self.safety.take() {
            let kept = tail.finish().await;
            let mut whole = kept.is_ok();
            if let Some((mut meanwhile, bytes)) = self.while_written.take() {
                meanwhile.kept = meanwhile.kept && whole;
                if meanwhile.kept {
                    self.accepted = self.accepted.zip(meanwhile.written).map(|(before, since)| before + since);
                } else {
                    whole = self.inner.cut_tail(&self.job.id, bytes).await;
                }
                cutover.meanwhile = Some(meanwhile);
            }
            if self.cut {
                let whole = whole && self.accepted.is_some();
                if let Err(why) = kept {
                    tracing::warn!("the stream behind the last safety backup is not kept whole: {why}");
                }
                // The disk may have refused what came behind the last look, or the stream broke off there.
                if let (false, None, Some(at)) = (whole || self.accepted == Some(0), &self.in_log, self.at) {
                    let from = (replication_id.as_str(), offset);
                    self.in_log = self.inner.in_log(&cutover.instance_id, from, at, self.marked > 0).await.ok();
                }
                cutover.writes_after = self.accepted;
                cutover.removed_after = self.removed;
                cutover.tail_whole = whole;
                cutover.in_log = self.in_log.take();
                cutover.waited_seconds = waited.map(|waited| waited.as_secs_f64());
                cutover.refused_seconds = refused.map(|refused| refused.as_secs_f64());
                self.inner.write_cutover(&self.job.id, &mut cutover).await;
                self.cutover = Some(cutover);
            } else {
                self.inner.discard_cutover(&self.job.id).await;
            }
        }
        self.cutover.clone()
    }
}

impl LastSafety {
    /// What was read of the stream, for the guard.
    fn look(&self, read: Seen, counters: ServerCounters, own: u64, marked: u64) -> TailLook {
        TailLook {
            replication_id: self.replication_id.clone(),
            reached: read.offset,
            seen: Streamed { writes: read.writes, removals: read.removals },
            own_removals: own_removals(&read, counters, self.counters),
            called: counters.calls_since(self.counters),
            since: self.since,
            until: Timestamp::now(),
            foreign: read.loaded.saturating_sub(own) + read.others.saturating_sub(marked),
            lost: None,
        }
    }
}

impl Inner {
    /// Where in an instance's log a cutover is, where the log has all that was written up to there behind a position of that history.
    ///
    /// # Errors
    /// Why it cannot be had from the log, as part of a sentence. `beside`: the stream has what this restore loads as well.
    async fn in_log(&self, id: &str, from: (&str, u64), to: u64, beside: bool) -> Result<Position, &'static str> {
        if beside && matches!(self.log_is_on(id).await, Ok(true)) {
            return Err("and the instance's log has what this restore loads beside the old data as well");
        }
        self.log_has(id, from, to, LOG_CATCHES_UP).await
    }
}

/// Removals that were the server's own, at most, of those outside the databases that are left out: its counters are of all of them.
const fn own_removals(read: &Seen, now: ServerCounters, then: ServerCounters) -> u64 {
    now.own_removals_since(then).saturating_sub(read.removals_apart)
}

#[async_trait]
impl Look for WayBack<'_> {
    async fn in_vain(&mut self) -> Fault {
        let Some(safety) = &mut self.safety else { return std::future::pending().await };
        let (seen, why) = safety.tail.loses().await;
        let (id, from) = (&safety.cutover.instance_id, (safety.replication_id.as_str(), safety.offset));
        match self.inner.in_log(id, from, seen.offset, self.marked > 0).await {
            Err(nor) => not_kept(seen.writes, &format!("{why}; {nor}")),
            Ok(_) => std::future::pending().await,
        }
    }

    async fn hold(&mut self) {
        if let Some(safety) = &mut self.safety {
            safety.tail.hold().await;
        }
    }

    fn allows_writes(&self) -> bool {
        self.plan.tells_of_traffic()
    }

    async fn at(&mut self, moment: &Moment) -> Result<(), Fault> {
        self.removed_then = moment.removed;
        let (run_id, replication_id) = (moment.run_id.clone(), moment.replid.clone());
        if self.safety.is_none() {
            let slots = self.plan.direct_restore()?.slots.clone();
            let writes = Writes::counted(moment.writes, Timestamp::now());
            return self.plan.last_look(&LastLook { run_id, replication_id, slots, writes });
        }
        let seen = CutoverLook { run_id, replication_id, offset: moment.offset, tail: None };
        let counters = ServerCounters { calls: Some(moment.writes), removed: moment.removed };
        self.judge(seen, counters, moment.evicted, moment.own).await
    }

    async fn cut(&mut self, offset: Option<u64>) {
        self.cut = true;
        let by_keys = self.plan.direct_restore().is_ok_and(|direct| direct.method == Method::Keys);
        let Some(safety) = &mut self.safety else { return };
        if offset != self.at {
            (self.at, self.in_log) = (offset, None);
        }
        let behind = safety.tail.reach(offset.map_or(End::Flush, End::At), CATCH_UP).await;
        self.accepted = match &behind {
            // Whether what was removed since the last look had expired is not known.
            Ok(read) => Some(Streamed { writes: read.writes, removals: read.removals }.written(self.removed)),
            Err(why) => {
                tracing::warn!("what was written right before the cutover is not known: {why}");
                None
            }
        };
        if let (true, Ok(seen)) = (by_keys, behind)
            && let Some(bytes) = safety.tail.go_on().await
        {
            self.first_key = Some(FirstKey { seen, bytes });
            return;
        }
        // What this restore writes from here on is none of it.
        self.conclude(None, None).await;
    }
}

fn tail_lost(why: &str) -> Fault {
    let message = format!(
        "the stream behind the last safety backup broke off, so the last writes are in no backup: {why}; the target was not touched"
    );
    Fault::new(Kind::Provider, "restore.tail_lost", message)
        .hint("Make a new plan; with many writes raise the server's client-output-buffer-limit for replicas, or, for a restore by replication, give write_fence true.")
}

/// The fault of a restore that had its cutover, which is told as well.
pub(super) fn behind(mut fault: Fault, cutover: Option<&Cutover>) -> Fault {
    fault.message.push_str(&after(cutover));
    fault
}

/// The cutover behind a sentence that says how a restore ended.
pub(super) fn after(cutover: Option<&Cutover>) -> String {
    cutover.map(|cutover| format!("; {}", cutover.describe())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    //! What a server removes of what is loaded beside is no excuse for what clients remove elsewhere.
    use super::own_removals;
    use crate::guard::writes::ServerCounters;
    use crate::redis::replica::scan::Seen;

    #[test]
    fn removals_beside_are_not_counted_twice() {
        let then = ServerCounters { calls: Some(7), removed: 10 };
        let now = ServerCounters { calls: Some(7), removed: 15 };
        let seen = |removals_apart| Seen { removals: 4, removals_apart, ..Seen::default() };
        assert_eq!(own_removals(&seen(0), now, then), 5);
        assert_eq!(own_removals(&seen(3), now, then), 2);
        assert_eq!(own_removals(&seen(9), now, then), 0);
    }
}
