//! Extends the locks of what of a log kept moments need, where its store locks: segments, gaps and the records of their timelines. From when on
//! moments are kept, and whether anything is locked at all, is for the caller to say.
//!
//! It must do nothing to what pruning removes, nor ask about each of millions of segments: a lock ends no earlier than its period after the last
//! time in the name, and what was extended is remembered by the stretch of time in which it lies. What a process before this one has extended is
//! found out by the object of a stretch that was put first, whose lock is extended last; of gaps and the record of a timeline by each.
//!
//! What is damaged, contradicts something, or lies within something longer may be what somebody put there to hide what was written. It keeps no lock of
//! anything else from being extended, and of segments among which no name tells which are true all stay locked as long as their time is needed.

use crate::archive::parallel::in_parallel;
use crate::archive::prune::is_needed;
use crate::archive::{Archive, Coverage, Kept, SegmentName, Timeline, failed, layout};
use crate::guard::retention::Needed;
use crate::model::backup::{BackupSet, Mode};
use crate::model::fault::Fault;
use crate::vault::lacking::is_refused;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Mutex, PoisonError};

/// Objects of a log that are asked about at a look, some five requests each; the stretch at which that is reached is seen to its end.
const MOST: usize = 1024;
/// Stretches in which something may fail before the others are left to the next look.
const TROUBLE: usize = 3;
/// Stretches whose locks are asked about before it is looked whether that is to end.
const ASKED_AT_ONCE: usize = 64;
/// Length of a stretch, in milliseconds.
const STRETCH: i64 = 600_000;
/// The stretch of what has no time of its own: the record of a timeline, and its gaps.
const RECORDS: i64 = i64::MIN;
/// How far apart the sets of a policy are where there is but one.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The place of a timeline, and the number of a stretch of it.
type Key = (String, i64);

/// No lock within a stretch ends before this, where one of it was extended.
static KNOWN: Mutex<BTreeMap<Key, Timestamp>> = Mutex::new(BTreeMap::new());

fn known(key: &Key) -> Option<Timestamp> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
}

fn remember(key: Key, ends: Timestamp) {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, ends);
}

/// Forgets what of these timelines is needed no more.
fn forget_all_but(places: &BTreeSet<String>, needed: &BTreeSet<Key>) {
    let is_of_another = |key: &Key| !places.contains(&key.0);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_of_another(key) || needed.contains(key));
}

/// What came of extending the locks of a log.
#[derive(Debug, Default)]
pub struct LogLocks {
    /// Objects whose lock lasts longer now.
    pub extended: usize,
    /// Objects that are left to the next look.
    pub left: usize,
    /// Why the store does not let whoever asks do that; no other object was tried then.
    pub refused: Option<String>,
    /// The last of what failed.
    pub fault: Option<Fault>,
}

/// What of a timeline was received within some minutes, and is needed.
struct Stretch<'a> {
    key: Key,
    timeline: &'a Timeline,
    needed: Needed,
    /// No lock ends before.
    ends: Timestamp,
    /// Whether that is known, or only what the names say.
    is_known: bool,
    segments: Vec<&'a SegmentName>,
    /// Whether runs have all of them: else the lock of one says nothing of the others, for nobody knows which was put first.
    are_in_runs: bool,
    /// Names of its other objects within the timeline.
    records: Vec<&'a str>,
}

impl Stretch<'_> {
    fn len(&self) -> usize {
        self.segments.len() + self.records.len()
    }

    /// The names of its objects; the one that was put first comes last.
    fn names(&self) -> Vec<String> {
        let prefix = self.timeline.prefix();
        let segments = self.segments.iter().map(|segment| format!("{prefix}/{segment}"));
        let mut names: Vec<String> =
            segments.chain(self.records.iter().map(|record| format!("{prefix}/{record}"))).collect();
        if !names.is_empty() {
            names.rotate_left(1);
        }
        names
    }

    /// The names of which the lock tells when all end: of segments the one that was put first, whose lock is extended last. Gaps come at any time, and each
    /// record has a lock of its own.
    fn telling(&self) -> Vec<String> {
        let mut names = self.names();
        if self.key.1 != RECORDS {
            names.drain(..names.len().saturating_sub(1));
        }
        names
    }

    /// Whether its locks are over by the names alone: a process before this one may have extended them.
    fn is_a_guess(&self, now: Timestamp) -> bool {
        !self.is_known && self.ends <= now
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

impl Archive {
    /// Extends the locks of what moments that are kept need of a shard's log, where they end soon and its store locks for such a period: by one
    /// more, and no longer than they are needed. What ends first goes first, behind what is known to end what may have been extended already, and
    /// some may be left to the next look; so is the rest once `is_over` says so. The log is listed once.
    ///
    /// # Errors
    /// `log.failed`: the log cannot be read. What fails of single objects is in [`LogLocks::fault`], as is that a gap or a timeline's record is damaged:
    /// of these nothing is extended.
    pub fn extend_locks(
        &self,
        (instance_id, shard): (&str, u16),
        kept: &Kept,
        period: SignedDuration,
        now: Timestamp,
        is_over: &(dyn Fn() -> bool + Sync),
    ) -> Result<LogLocks, Fault> {
        let mut done = LogLocks::default();
        let coverage = self.coverage_where(instance_id, shard, &mut |fault| {
            done.fault = Some(fault);
            Ok(())
        })?;
        let mut stretches = coverage.needed_stretches(kept, period, now)?;
        let places = coverage.timelines().values().map(|timeline| self.store.place(&timeline.prefix())).collect();
        forget_all_but(&places, &stretches.iter().map(|stretch| stretch.key.clone()).collect());
        stretches.retain(|stretch| stretch.needed.extension(stretch.ends, period, now).is_some());
        self.ask_of_guesses(&mut stretches, now, is_over);
        stretches.sort_by_key(|stretch| (stretch.is_a_guess(now), stretch.ends));
        let (mut asked, mut troubles) = (0, 0);
        for stretch in stretches {
            let Some(until) = stretch.needed.extension(stretch.ends, period, now) else { continue };
            if asked >= MOST || troubles == TROUBLE || is_over() {
                done.left += stretch.len();
                continue;
            }
            asked += stretch.len();
            let names = stretch.names();
            let Some((first_put, others)) = names.split_last() else { continue };
            let extend = |name: &String| (!is_over()).then(|| self.store.extend_lock(name, until));
            let mut extended = in_parallel(others, self.store.at_once(), extend);
            if extended.iter().all(|extended| matches!(extended, Some(Ok(_)))) {
                extended.push(extend(first_put));
            }
            let (mut failure, mut is_left) = (None, false);
            for (name, extended) in names.iter().zip(extended) {
                match extended {
                    Some(Ok(extended)) => done.extended += usize::from(extended),
                    Some(Err(e)) if is_refused(&e) || e.kind() == io::ErrorKind::Unsupported => {
                        done.refused = Some(e.to_string());
                    }
                    Some(Err(e)) => failure = Some(failed("extend the lock of", &self.store.place(name), e)),
                    None => is_left = true,
                }
            }
            if done.refused.is_some() {
                break;
            }
            match failure {
                None if is_left => done.left += stretch.len(),
                None => remember(stretch.key, until),
                Some(fault) => {
                    troubles += 1;
                    done.fault = Some(fault);
                }
            }
        }
        Ok(done)
    }

    /// Asks when the locks of stretches end that are over by their names alone: of so many, and no more where the store does not say.
    fn ask_of_guesses(&self, stretches: &mut [Stretch<'_>], now: Timestamp, is_over: &(dyn Fn() -> bool + Sync)) {
        let is_asked = |stretch: &&mut Stretch<'_>| stretch.are_in_runs && stretch.is_a_guess(now);
        let mut guesses: Vec<&mut Stretch<'_>> = stretches.iter_mut().filter(is_asked).take(MOST).collect();
        for some in guesses.chunks_mut(ASKED_AT_ONCE) {
            if is_over() {
                return;
            }
            let telling: Vec<Vec<String>> = some.iter().map(|stretch| stretch.telling()).collect();
            let names: Vec<&String> = telling.iter().flatten().collect();
            let mut locks = in_parallel(&names, self.store.at_once(), |name| self.store.lock(name)).into_iter();
            for (stretch, names) in some.iter_mut().zip(&telling) {
                // The earliest end; none where one has no lock, for the others may have one all the same.
                let mut ends = Some(Timestamp::MAX).filter(|_| !names.is_empty());
                for lock in locks.by_ref().take(names.len()) {
                    let Ok(lock) = lock else { return };
                    ends = ends.zip(lock).map(|(ends, lock)| ends.min(lock.until));
                }
                if let Some(ends) = ends {
                    (stretch.ends, stretch.is_known) = (ends, true);
                    remember(stretch.key.clone(), ends);
                }
            }
        }
    }
}

impl Coverage {
    /// The timelines of which there are segments, by their ids.
    fn timelines(&self) -> BTreeMap<&str, &Timeline> {
        let of_runs = self.runs.iter().map(|run| &run.timeline);
        let all = of_runs.chain(self.in_no_run.iter().map(|(timeline, _)| timeline));
        all.map(|timeline| (timeline.id.as_str(), timeline)).collect()
    }

    /// The segments of a timeline, each with whether a run has it.
    fn segments_of<'a>(&'a self, timeline: &'a Timeline) -> impl Iterator<Item = (&'a SegmentName, bool)> {
        let in_runs = self.runs.iter().map(|run| (&run.timeline, &run.segments, true));
        let all = in_runs.chain(self.in_no_run.iter().map(|(of, segments)| (of, segments, false)));
        all.filter(move |(of, ..)| of.id == timeline.id)
            .flat_map(|(_, segments, in_run)| segments.iter().map(move |segment| (segment, in_run)))
    }

    /// What of each timeline kept moments need, by stretches.
    fn needed_stretches(&self, kept: &Kept, period: SignedDuration, now: Timestamp) -> Result<Vec<Stretch<'_>>, Fault> {
        let lasts = |set: &&BackupSet| set.expires_at.is_none() && !kept.damaged.contains(&set.id);
        let lasting: Vec<&BackupSet> = kept.sets.iter().filter(lasts).collect();
        let mut bases: Vec<Timestamp> = lasting.iter().map(|set| set.started_at).collect();
        bases.sort_unstable();
        let of_the_policy = lasting.iter().filter(|set| set.mode == Mode::Automated && set.started_at <= now);
        let mut taken: Vec<Timestamp> = of_the_policy.map(|set| set.started_at).collect();
        taken.sort_unstable_by_key(|at| Reverse(*at));
        // Nothing of this changes from look to look: else each would extend all by as much as has passed.
        let (keeps, apart) = match taken.as_slice() {
            [newest, before, ..] => (newest.duration_since(kept.since), newest.duration_since(*before)),
            [newest] => (newest.duration_since(kept.since), DAY),
            [] => (now.duration_since(kept.since), DAY),
        };
        // In whole days: no two sets are begun at the very same time of day.
        let apart = SignedDuration::from_hours(24 * ((apart.as_hours() + 12) / 24).clamp(1, 7));
        // A segment is needed until the next set behind it, and behind the first kept moment, is the one that leads to all that is kept; the set that
        // makes it so may come as much later as sets are apart.
        let needed = |ms: i64| {
            let next = bases.get(bases.partition_point(|base| *base <= kept.since || *base < at(ms))).copied();
            let next = next.unwrap_or_else(|| later(at(ms).max(kept.since), apart));
            match later(later(next, keeps), apart) {
                until if until > now => Needed::Until(until),
                // Backups fail, or are late.
                _ => Needed::ForNow,
            }
        };
        let mut all = Vec::new();
        for timeline in self.timelines().into_values() {
            // Where the segment of a set is damaged all behind the set stays locked: that may be mended.
            let from = self.needed_from(timeline, kept, &mut |_| Ok(()))?;
            let mut stretches: BTreeMap<i64, (Vec<&SegmentName>, bool)> = BTreeMap::new();
            for (segment, in_run) in self.segments_of(timeline) {
                if is_needed(segment, from, kept.since) {
                    let number = segment.last_ms.div_euclid(STRETCH);
                    let (segments, are_in_runs) = stretches.entry(number).or_insert((Vec::new(), true));
                    segments.push(segment);
                    *are_in_runs &= in_run;
                }
            }
            let place = self.archive.store.place(&timeline.prefix());
            let (mut newest, mut begins) = (None, u64::MAX);
            for (number, (segments, are_in_runs)) in stretches {
                let (mut first_ms, mut last_ms) = (i64::MAX, i64::MIN);
                for segment in &segments {
                    (first_ms, last_ms) = (first_ms.min(segment.last_ms), last_ms.max(segment.last_ms));
                    begins = begins.min(segment.first);
                }
                newest = newest.max(Some(last_ms));
                let key = (place.clone(), number);
                let known = known(&key);
                let ends = known.unwrap_or_else(|| later(at(first_ms), period));
                let (needed, is_known) = (needed(last_ms), known.is_some());
                let records = Vec::new();
                all.push(Stretch { key, timeline, needed, ends, is_known, segments, are_in_runs, records });
            }
            // Without its record a timeline is none. A gap that is put later has a lock that ends later.
            if let Some(newest) = newest {
                let key = (place, RECORDS);
                let known = known(&key);
                let ends = known.unwrap_or_else(|| later(timeline.opened_at, period));
                let gaps = self.gap_names.iter().filter_map(|name| name.split_once('/'));
                let gaps = gaps.filter(|(id, file)| *id == timeline.id && layout::gap_after(file) >= Some(begins));
                let records = std::iter::once(layout::TIMELINE).chain(gaps.map(|(_, file)| file)).collect();
                let (needed, is_known) = (needed(newest), known.is_some());
                let (segments, are_in_runs) = (Vec::new(), true);
                all.push(Stretch { key, timeline, needed, ends, is_known, segments, are_in_runs, records });
            }
        }
        Ok(all)
    }
}
