//! What destroyed data in a part of the log: so that somebody who looks for a mistake finds the position right before it.
//!
//! It must not say that something was a mistake, nor hold more of a command than the beginnings of its keys. The log does not tell who
//! sent a command: expiries and evictions come as removals too, and a RENAME may have replaced nothing.

mod burst;
mod command;

use crate::archive::coverage::{Coverage, Run};
use crate::archive::segment::outline::Stamp;
use crate::archive::segment::read::Segment;
use crate::archive::{Archive, SegmentName, damaged};
use crate::model::backup::BackupSet;
use crate::model::destruction::{Destruction, Destructions, How};
use crate::model::fault::{Fault, Kind};
use crate::model::log::{Gap, GapCause};
use crate::model::text::escaped;
use crate::redis::replica::split::Splitter;
use burst::{Burst, Bursts, CommandKind, Group, Slices, stem};
use command::{Command, KEY_BYTES_MAX};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::time::Instant;

/// Damaged segments that are passed over; more are a fault.
const DAMAGED_MAX: usize = 100;

impl Coverage {
    /// Finds what destroyed data between two moments, from the newest on, until a deadline: of a range with segments, one at least is
    /// searched. These sets are what can be restored from.
    ///
    /// # Errors
    /// `log.failed`; `log.damaged` where a great part of the log is.
    pub fn destructive(
        &self,
        bases: &[BackupSet],
        (from, to): (Timestamp, Timestamp),
        deadline: Instant,
    ) -> Result<Destructions, Fault> {
        let within = (from.as_millisecond(), to.as_millisecond());
        let is_within = |name: &&SegmentName| name.first_ms <= within.1 && within.0 <= name.last_ms;
        let mut all = Destructions::default();
        // When the last of what was not searched came.
        let mut left_ms: Option<i64> = None;
        let mut searched = false;
        for run in self.runs.iter().rev() {
            let mut search = Search { run, within, bursts: Bursts::default(), up_to: u64::MAX };
            for name in run.segments.iter().rev().filter(is_within) {
                if searched && (left_ms.is_some() || search.bursts.is_full() || Instant::now() >= deadline) {
                    left_ms = left_ms.max(Some(name.last_ms));
                    break;
                }
                match search.segment(&self.archive, name) {
                    Err(fault) if fault.kind == Kind::Damaged && all.missing.len() < DAMAGED_MAX => {
                        all.missing.push(gap_at(run, name));
                    }
                    done => done?,
                }
                searched = true;
            }
            let base = self.first_base(run, bases)?;
            all.found.extend(search.bursts.into_all().filter_map(|(kind, burst)| told(run, base, kind, &burst)));
        }
        all.found.sort_by_key(|event| Reverse((event.at, event.position.offset)));
        all.missing.sort_by_key(|gap| gap.from);
        all.stopped = left_ms.is_some();
        all.searched = self.reaches(from, to).map(|(begin, end)| {
            let came_to = left_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            (came_to.map_or(begin, |at| at.max(begin)), end)
        });
        Ok(all)
    }

    /// The part of a range about which the log says something.
    fn reaches(&self, from: Timestamp, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let first = self.runs.first()?;
        let began = first.segments.first().and_then(|name| Timestamp::from_millisecond(name.first_ms).ok())?;
        let until = self.runs.iter().map(Run::until).max()?;
        let (begin, end) = (from.max(began.min(first.timeline.opened_at)), to.min(until));
        (begin <= end).then_some((begin, end))
    }

    /// Offset from which on a run can be restored.
    fn first_base(&self, run: &Run, bases: &[BackupSet]) -> Result<Option<u64>, Fault> {
        let mut held: Vec<&BackupSet> = bases.iter().collect();
        held.sort_by_key(|set| set.replication_offset);
        match self.moments(run).first_that_leads(&held) {
            // What is damaged there hides nothing of what was found elsewhere.
            Err(fault) if fault.kind == Kind::Damaged => Ok(None),
            set => Ok(set?.map(|set| set.replication_offset)),
        }
    }
}

fn gap_at(run: &Run, name: &SegmentName) -> Gap {
    let at = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
    Gap {
        timeline: run.timeline.id.clone(),
        shard: run.timeline.shard,
        after_offset: name.first,
        from: at(name.first_ms),
        to: at(name.last_ms),
        cause: GapCause::Damaged,
        source_run_id: String::new(),
        detail: String::new(),
    }
}

fn told(run: &Run, base: Option<u64>, kind: CommandKind, burst: &Burst) -> Option<Destruction> {
    Some(Destruction {
        at: Timestamp::from_millisecond(burst.first_ms).ok()?,
        until: Timestamp::from_millisecond(burst.last_ms).ok()?,
        precision_ms: burst.precision_ms,
        restorable: base.is_some_and(|base| base <= burst.at),
        position: run.timeline.position(burst.at),
        may_be_servers: kind.how == How::Removes && burst.one_by_one,
        how: kind.how,
        command: escaped(kind.command.as_bytes(), KEY_BYTES_MAX),
        commands: burst.commands,
        keys: burst.keys,
        key_prefix: escaped(&burst.prefix, KEY_BYTES_MAX),
        database: kind.database,
    })
}

/// The search of a run, from its end to its beginning.
struct Search<'a> {
    run: &'a Run,
    within: (i64, i64),
    bursts: Bursts,
    /// Offset from which on the run was searched: another archiver's copy may end behind where the next begins.
    up_to: u64,
}

impl Search<'_> {
    fn segment(&mut self, archive: &Archive, name: &SegmentName) -> Result<(), Fault> {
        let segment = Segment::open(&*archive.store, &self.run.timeline, name)?;
        let mut slices = Slices::default();
        if command::any_destroys(segment.names()) {
            let mut split = Splitter::new(name.first, segment.frames().first().and_then(|frame| frame.database));
            // The groups of what a transaction destroyed so far: its keys are told together, whatever they begin with.
            let (mut current, mut transaction) = (Command::at(name.first), Vec::new());
            for frame in segment.frames().iter().take_while(|frame| frame.first < self.up_to) {
                let plain = segment.frame(frame)?;
                let mut left = plain.as_slice();
                while !left.is_empty() {
                    if split.is_between_transactions() {
                        transaction.clear();
                    }
                    if split.is_between_commands() {
                        current = Command::at(split.offset());
                    }
                    let step = split.step(left).map_err(|what| damaged(segment.place(), what))?;
                    let (part, rest) = left.split_at(step.len);
                    left = rest;
                    current.take(&split, step, part);
                    if step.ends && current.how.is_some() && current.at < self.up_to {
                        self.command(&split, &current, &mut transaction, segment.stamps(), &mut slices);
                    }
                }
            }
        }
        self.bursts.put_before(slices, name.first_ms);
        self.up_to = self.up_to.min(name.first);
        Ok(())
    }

    fn command(
        &self,
        split: &Splitter,
        current: &Command,
        transaction: &mut Vec<Group>,
        stamps: &[Stamp],
        slices: &mut Slices,
    ) {
        let Some(stamp) = Stamp::reaching(stamps, split.offset()) else { return };
        if stamp.ms < self.within.0 || stamp.ms > self.within.1 {
            return;
        }
        let Some(how) = current.destroyed(split, stamp.ms) else { return };
        let of_all = matches!(how, How::Databases | How::Functions) && !split.is(&[b"FLUSHDB"]);
        let kind = CommandKind { how, command: current.told(split), database: split.database().filter(|_| !of_all) };
        let in_transaction = !split.is_between_transactions();
        let group = match transaction.iter().find(|known| known.kind == kind) {
            Some(known) => known.clone(),
            None => Group { kind, stem: stem(current.prefix.as_deref().unwrap_or_default()) },
        };
        let burst = Burst {
            at: current.at,
            first_ms: stamp.ms,
            last_ms: stamp.ms,
            precision_ms: stamp.precision_ms,
            commands: 1,
            keys: current.keys,
            prefix: current.prefix.clone().unwrap_or_default(),
            one_by_one: current.keys == 1 && !in_transaction,
        };
        let group = slices.take(group, burst);
        if in_transaction && !transaction.contains(&group) {
            transaction.push(group);
        }
    }
}
