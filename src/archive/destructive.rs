//! What destroyed data in a part of the log: so that somebody who looks for a mistake finds the position right before it.
//!
//! It must not say that something was a mistake, nor hold more of a command than the beginnings of its keys. The log does not tell who
//! sent a command: expiries and evictions come as removals too, and a RENAME may have replaced nothing.

use crate::archive::coverage::{Coverage, Run};
use crate::archive::segment::outline::Stamp;
use crate::archive::segment::read::Segment;
use crate::archive::{SegmentName, damaged};
use crate::model::fault::Fault;
use crate::model::log::Position;
use crate::model::text::clean_to;
use crate::redis::replica::split::{OF_WHOLE_DATABASES, Piece, Splitter, Step};
use jiff::Timestamp;
use std::collections::VecDeque;

/// Commands that are told together where they follow each other, and of removals only where there are many.
const REMOVALS: [&[u8]; 2] = [b"DEL", b"UNLINK"];
const RENAMES: [&[u8]; 1] = [b"RENAME"];
/// Keys that a burst of removals has at least.
const BURST_KEYS: u64 = 10;
/// Milliseconds without another one behind which a burst is over.
const BURST_APART_MS: i64 = 1000;
/// Bytes of a key that are looked at.
const KEY_BYTES_MAX: usize = 64;

/// Something that destroyed data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destruction {
    /// When the first of its commands had been received.
    pub at: Timestamp,
    /// Right before the first of its commands.
    pub position: Position,
    /// The command, in upper case; of a burst, that of its first.
    pub command: String,
    /// Commands of the burst, and keys that they name.
    pub commands: u64,
    /// Keys that the commands name; 0 where they name none.
    pub keys: u64,
    /// What these keys begin with, for a reader.
    pub key_prefix: String,
    /// The database selected.
    pub database: Option<u64>,
}

/// What destroyed data, and how much of that is not told.
#[derive(Debug, Clone, Default)]
pub struct Destructions {
    /// The newest, oldest first.
    pub found: VecDeque<Destruction>,
    /// Older ones, for which there was no room.
    pub left_out: u64,
}

impl Coverage {
    /// Finds what destroyed data between two moments, the newest `most` of it.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn destructive(&self, from: Timestamp, to: Timestamp, most: usize) -> Result<Destructions, Fault> {
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        let mut all = Destructions::default();
        for run in &self.runs {
            let mut search = Search { run, within: (from, to), most, all: &mut all, burst: None, reached: run.first() };
            for name in run.segments.iter().filter(|name| name.first_ms <= to && from <= name.last_ms) {
                search.segment(&Segment::open(&*self.archive.store, &run.timeline, name)?, name)?;
            }
            search.end_burst();
        }
        Ok(all)
    }
}

/// A burst that may go on.
struct Burst {
    destruction: Destruction,
    removes: bool,
    last_ms: i64,
    /// What all keys so far begin with.
    prefix: Vec<u8>,
}

/// A command as it comes: where it began, and what its keys begin with.
struct Current {
    at: u64,
    keys: u64,
    prefix: Option<Vec<u8>>,
    key: Vec<u8>,
    index: u64,
}

struct Search<'a> {
    run: &'a Run,
    within: (i64, i64),
    most: usize,
    all: &'a mut Destructions,
    burst: Option<Burst>,
    /// Offset up to which the run was searched.
    reached: u64,
}

impl Search<'_> {
    fn segment(&mut self, segment: &Segment, name: &SegmentName) -> Result<(), Fault> {
        let told =
            |name: &String| [OF_WHOLE_DATABASES.as_slice(), &REMOVALS, &RENAMES].concat().contains(&name.as_bytes());
        if segment.names().iter().any(told) {
            let mut split = Splitter::new(name.first, segment.frames().first().and_then(|frame| frame.database));
            let mut current = Current::at(name.first);
            for frame in segment.frames() {
                let plain = segment.frame(frame)?;
                let mut left = plain.as_slice();
                while !left.is_empty() {
                    if split.is_between_commands() {
                        current = Current::at(split.offset());
                    }
                    let step = split.step(left).map_err(|what| damaged(segment.place(), what))?;
                    let (part, rest) = left.split_at(step.len);
                    left = rest;
                    current.take(&split, step, part);
                    // Another archiver's copy may begin before what was searched.
                    if step.ends && current.at >= self.reached {
                        self.command(&split, &current, segment.stamps());
                    }
                }
            }
        }
        self.reached = self.reached.max(name.last);
        Ok(())
    }

    fn command(&mut self, split: &Splitter, current: &Current, stamps: &[Stamp]) {
        let (each, removes) = (split.is(&OF_WHOLE_DATABASES), split.is(&REMOVALS));
        if !each && !removes && !split.is(&RENAMES) {
            return;
        }
        let after = stamps.partition_point(|stamp| stamp.offset < split.offset());
        let Some(ms) = stamps.get(after).map(|stamp| stamp.ms) else { return };
        let Ok(at) = Timestamp::from_millisecond(ms) else { return };
        if ms < self.within.0 || ms > self.within.1 {
            return;
        }
        let prefix = current.prefix.clone().unwrap_or_default();
        if let Some(burst) = &mut self.burst {
            let same = burst.destruction.database == split.database() && burst.removes == removes;
            if !each && same && ms.saturating_sub(burst.last_ms) <= BURST_APART_MS {
                burst.destruction.commands += 1;
                burst.destruction.keys += current.keys;
                burst.last_ms = ms;
                shorten(&mut burst.prefix, &prefix);
                return;
            }
        }
        self.end_burst();
        let destruction = Destruction {
            at,
            position: self.run.timeline.position(current.at),
            command: String::from_utf8_lossy(split.name()).to_ascii_uppercase(),
            commands: 1,
            keys: if each { 0 } else { current.keys },
            key_prefix: String::new(),
            database: split.database(),
        };
        if each {
            self.tell(destruction);
        } else {
            self.burst = Some(Burst { destruction, removes, last_ms: ms, prefix });
        }
    }

    fn end_burst(&mut self) {
        if let Some(Burst { destruction, removes, prefix, .. }) = self.burst.take()
            && (!removes || destruction.keys >= BURST_KEYS)
        {
            let key_prefix = clean_to(&String::from_utf8_lossy(&prefix), KEY_BYTES_MAX);
            self.tell(Destruction { key_prefix, ..destruction });
        }
    }

    fn tell(&mut self, destruction: Destruction) {
        self.all.found.push_back(destruction);
        if self.all.found.len() > self.most {
            self.all.found.pop_front();
            self.all.left_out += 1;
        }
    }
}

impl Current {
    fn at(offset: u64) -> Self {
        Self { at: offset, keys: 0, prefix: None, key: Vec::new(), index: 0 }
    }

    /// Takes a part of the command; of its keys only the beginnings.
    fn take(&mut self, split: &Splitter, step: Step, part: &[u8]) {
        let Piece::Argument { index: index @ 1.., text } = step.piece else { return };
        if index != self.index {
            self.end_key();
            // What a RENAME may have replaced is its second key.
            self.keys += u64::from(!split.is(&RENAMES) || index == 1);
            self.index = index;
        }
        let room = KEY_BYTES_MAX.saturating_sub(self.key.len()).min(text);
        self.key.extend_from_slice(part.get(..room).unwrap_or_default());
        if step.ends {
            self.end_key();
        }
    }

    fn end_key(&mut self) {
        if self.index > 0 {
            match &mut self.prefix {
                Some(prefix) => shorten(prefix, &self.key),
                None => self.prefix = Some(self.key.clone()),
            }
        }
        self.key.clear();
    }
}

/// Shortens a prefix to what another text begins with, too.
fn shorten(prefix: &mut Vec<u8>, other: &[u8]) {
    let same = prefix.iter().zip(other).take_while(|(a, b)| a == b).count();
    prefix.truncate(same);
}
