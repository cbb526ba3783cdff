//! What is told of a stretch of the stream without its bytes: where transactions end and when each had been received, how many
//! commands there are, and their names.

use crate::redis::replica::split::{Piece, Splitter, Step};
use std::collections::BTreeSet;

/// Commands that a replay leaves out: they keep a link alive, go to subscribers, or are about a cluster's own shape.
const NOT_REPLAYED: [&[u8]; 6] = [b"PING", b"REPLCONF", b"PUBLISH", b"SPUBLISH", b"CLUSTER", b"TRIMSLOTS"];
/// Names that are told apart. No server has so many commands; what comes beyond is told as one that nobody knows.
const NAMES_MAX: usize = 4096;
/// The name of a command that nobody knows.
const NAMELESS: &str = "?";
/// What takes this many milliseconds or more to come may have been written when its first bytes came.
const SLOW_MS: i64 = 1000;

/// Whether a command is left out of a replay.
#[must_use]
pub fn is_left_out(split: &Splitter) -> bool {
    split.is(&NOT_REPLAYED)
}

/// Whether a command of a name, in upper case, is part of a replay.
#[must_use]
pub fn is_replayed(name: &str) -> bool {
    !NOT_REPLAYED.contains(&name.as_bytes())
}

/// Whether a command counts: it is replayed, and changes data.
#[must_use]
pub fn counts(split: &Splitter) -> bool {
    split.changes_data() && !is_left_out(split)
}

/// When the stream had been received up to an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Offset behind a whole transaction.
    pub offset: u64,
    /// When all before that offset had been received, and nothing behind it, in milliseconds since 1970.
    pub ms: i64,
    /// How much earlier it may have been written.
    pub precision_ms: u64,
    /// Commands that count, from the segment's beginning to the offset.
    pub commands: u64,
}

impl Stamp {
    /// The first of a segment's stamps by which all before an offset had been received; `None` behind the last. They are in order.
    #[must_use]
    pub fn reaching(stamps: &[Self], offset: u64) -> Option<&Self> {
        stamps.get(stamps.partition_point(|stamp| stamp.offset < offset))
    }
}

/// Reads a stretch of the stream.
#[derive(Debug)]
pub struct Outline {
    pub(in crate::archive) split: Splitter,
    /// Offset behind the last whole transaction, and the commands and the database there.
    pub(in crate::archive) whole: (u64, u64, Option<u64>),
    pub(in crate::archive) stamps: Vec<Stamp>,
    pub(in crate::archive) commands: u64,
    names: BTreeSet<Vec<u8>>,
    /// Since when what came behind the last whole transaction may have been written, where that is not when it came.
    uncertain_since: Option<i64>,
    /// When the first bytes behind the last whole transaction had come.
    begun: Option<i64>,
    /// Whether something behind the last stamp has ended.
    grew: bool,
}

impl Outline {
    /// Begins between two transactions.
    #[must_use]
    pub fn new(offset: u64, database: Option<u64>) -> Self {
        Self {
            split: Splitter::new(offset, database),
            whole: (offset, 0, database),
            stamps: Vec::new(),
            commands: 0,
            names: BTreeSet::new(),
            uncertain_since: None,
            begun: None,
            grew: false,
        }
    }

    /// Takes one step. The bytes must not be empty.
    ///
    /// # Errors
    /// What is wrong, where the bytes are no command.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        let step = self.split.step(bytes)?;
        if step.ends {
            if counts(&self.split) {
                self.commands += 1;
            }
            if !self.names.contains(self.split.name()) && self.names.len() < NAMES_MAX {
                self.names.insert(self.split.name().to_vec());
            }
            if self.split.is_between_transactions() {
                self.whole = (self.split.offset(), self.commands, self.split.database());
                self.grew = true;
            }
        }
        Ok(step)
    }

    /// Takes bytes, of which none stand between commands.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            let step = self.step(bytes)?;
            if step.piece == Piece::Blank {
                return Err("an empty line in the log");
            }
            bytes = bytes.get(step.len..).unwrap_or_default();
        }
        Ok(())
    }

    /// Says when what was taken since the last call came. `quiet`: nothing came, and that is what is said.
    pub fn stamp(&mut self, ms: i64, precision_ms: u64, quiet: bool) {
        let since = ms.saturating_sub_unsigned(precision_ms);
        let slow = self.begun.filter(|begun| ms.saturating_sub(*begun) >= SLOW_MS);
        let earliest = [self.uncertain_since, slow].into_iter().flatten().fold(since, i64::min);
        if self.grew || quiet {
            let precision_ms =
                if self.grew { u64::try_from(ms.saturating_sub(earliest)).unwrap_or_default() } else { 0 };
            let stamp = Stamp { offset: self.whole.0, ms, precision_ms, commands: self.whole.1 };
            match self.stamps.last_mut() {
                // All that came within a millisecond came at once.
                Some(last) if last.ms == ms => {
                    *last = Stamp { precision_ms: last.precision_ms.max(precision_ms), ..stamp }
                }
                _ => self.stamps.push(stamp),
            }
            if self.grew {
                (self.uncertain_since, self.begun, self.grew) = (None, None, false);
            }
        }
        if self.split.offset() > self.whole.0 {
            self.begun.get_or_insert(ms);
            if precision_ms > 0 {
                self.uncertain_since = Some(self.uncertain_since.map_or(since, |earlier| earlier.min(since)));
            }
        }
    }

    /// Names of the commands, in upper case, with what is no plain text told as a command that nobody knows.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let full = (self.names.len() == NAMES_MAX).then(|| NAMELESS.to_owned());
        let plain = |name: &Vec<u8>| match std::str::from_utf8(name) {
            Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) && !text.is_empty() => text.to_ascii_uppercase(),
            _ => NAMELESS.to_owned(),
        };
        self.names.iter().map(plain).chain(full).collect()
    }
}
