//! Reads the log between a base and a cut, for a replay: verified, whole commands in their order.
//!
//! It must not give a byte that is not what was written, hold more than a frame, or end anywhere but at the cut.

use crate::archive::segment::outline::{Stamp, counts, is_left_out};
use crate::archive::segment::read::{Frame, Segment};
use crate::archive::{Archive, Cut, SegmentName, Timeline, damaged};
use crate::model::fault::Fault;
use crate::redis::replica::keep::Keep;
use crate::redis::replica::split::{Splitter, Step};
use std::collections::VecDeque;

/// Reads a part of the log in chunks of about a megabyte at most. A command that is larger spans several; the end is always that of a
/// transaction. What changes no data (PING, REPLCONF, PUBLISH, SPUBLISH, CLUSTER, TRIMSLOTS) is left out.
#[derive(Debug)]
pub struct LogReader {
    archive: Archive,
    timeline: Timeline,
    /// Segments that are not open yet.
    left: VecDeque<SegmentName>,
    /// The open one, and its frames that are not read yet.
    open: Option<(Segment, VecDeque<Frame>)>,
    /// Name and digest of the segment before the open one.
    before: Option<(SegmentName, String)>,
    split: Splitter,
    /// Offset from which on commands are given.
    from: u64,
    to: u64,
    /// Commands to give in all, and given so far.
    expected: u64,
    commands: u64,
    command: Keep,
    /// Where the transaction begins whose first command is read; `None` within one.
    begins: Option<u64>,
    /// The second that was given last, where seconds are given.
    dated: Option<i64>,
    /// Whether the target knows which database the commands are for.
    selected: bool,
    lacks_database: bool,
    over: bool,
    /// What of the open frame is not given yet, where chunks end with what had been received at once.
    rest: Option<Vec<u8>>,
    timed: bool,
    received_ms: i64,
}

impl Archive {
    /// Reads the log of a cut, beginning with the SELECT that its first command needs.
    ///
    /// # Errors
    /// `log.damaged`, `log.failed`.
    pub fn read(&self, cut: &Cut) -> Result<LogReader, Fault> {
        Ok(LogReader {
            archive: self.clone(),
            timeline: cut.timeline.clone(),
            left: cut.segments.iter().cloned().collect(),
            open: None,
            before: None,
            split: Splitter::new(cut.from.offset, cut.database),
            from: cut.from.offset,
            to: cut.to.offset,
            expected: cut.commands,
            commands: 0,
            command: Keep::default(),
            begins: None,
            dated: None,
            selected: false,
            lacks_database: false,
            over: false,
            rest: None,
            timed: false,
            received_ms: 0,
        })
    }
}

impl LogReader {
    /// The same in chunks each of which was received at one time.
    #[must_use]
    pub fn timed(self) -> Self {
        Self { timed: true, ..self }
    }

    /// When the chunk given last had been received, in milliseconds since 1970; 0 where chunks are not [`timed`](Self::timed).
    #[must_use]
    pub fn received_ms(&self) -> i64 {
        self.received_ms
    }

    /// Gives times too, as annotations of an append-only file: in front of a transaction the first whole second by which it had been
    /// received, where that is another than before.
    #[must_use]
    pub fn dated(self) -> Self {
        Self { dated: Some(i64::MIN), ..self }
    }

    /// Commands given so far that change data. At the end it is what the cut said, or the end is a fault.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// Whether what was given so far ends with a whole command; one within a transaction is whole too.
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        self.split.is_between_commands()
    }

    /// Whether it failed because the log does not say which database its first commands are for.
    #[must_use]
    pub fn lacks_database(&self) -> bool {
        self.lacks_database
    }

    /// Opens the next segment, and makes sure that it follows on the one before.
    fn open_next(&mut self) -> Result<bool, Fault> {
        let Some(name) = self.left.pop_front() else { return Ok(false) };
        let segment = Segment::open(&*self.archive.store, &self.timeline, &name)?;
        if let Some((before, digest)) = &self.before {
            let previous = segment.previous();
            let digest = match &previous.name {
                Some(named) if *named == before.to_string() => digest.clone(),
                // Another archiver wrote the one before, which covers the same.
                Some(named) => match SegmentName::parse(named) {
                    Some(other) => Segment::open(&*self.archive.store, &self.timeline, &other)?.digest().to_owned(),
                    None => return Err(damaged(segment.place(), "names no segment as its predecessor")),
                },
                None => return Err(damaged(segment.place(), "says that it is the first")),
            };
            if digest != previous.digest {
                let named = previous.name.as_deref().unwrap_or_default();
                return Err(damaged(segment.place(), format!("follows on another {named} than the one that is there")));
            }
        }
        let begin = segment.frame_before(self.split.offset());
        let frames: VecDeque<Frame> =
            segment.frames().iter().skip(begin).take_while(|frame| frame.first < self.to).cloned().collect();
        if let Some(first) = frames.front() {
            // It may begin before what was read already.
            self.from = self.split.offset();
            self.split = Splitter::new(first.first, first.database);
        }
        self.before = Some((name, segment.digest().to_owned()));
        self.open = Some((segment, frames));
        Ok(true)
    }

    /// The next chunk; `None` at the end.
    fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        loop {
            let plain = match self.rest.take() {
                Some(rest) => rest,
                None => {
                    let next = self.open.as_mut().and_then(|(_, frames)| frames.pop_front());
                    if let (Some(frame), Some((segment, _))) = (next, &self.open) {
                        segment.frame(&frame)?
                    } else if self.open_next()? {
                        continue;
                    } else {
                        return self.end().map(|()| None);
                    }
                }
            };
            let Some((segment, _)) = &self.open else { continue };
            let (mut plain, place) = (plain, segment.place().to_owned());
            if self.timed {
                let offset = self.split.offset();
                let next = Stamp::reaching(segment.stamps(), offset + 1);
                self.received_ms = next.map_or(self.received_ms, |stamp| stamp.ms);
                let until = next.map_or(u64::MAX, |stamp| stamp.offset - offset);
                if until < plain.len() as u64 {
                    self.rest = Some(plain.split_off(usize::try_from(until).unwrap_or(usize::MAX)));
                }
            }
            let mut out = Vec::with_capacity(plain.len());
            self.pass(&plain, &place, &mut out)?;
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
    }

    fn end(&self) -> Result<(), Fault> {
        let whole = self.split.offset() == self.to && self.split.is_between_transactions();
        if whole && self.commands == self.expected {
            return Ok(());
        }
        let why = format!(
            "ends at offset {} with {} commands, {} and {} were expected",
            self.split.offset(),
            self.commands,
            self.to,
            self.expected
        );
        Err(damaged(&self.timeline.id, why))
    }

    /// Gives the commands of a frame that are part of the replay.
    fn pass(&mut self, plain: &[u8], place: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut left = plain;
        while !left.is_empty() && self.split.offset() < self.to {
            let begins = self.split.is_between_commands();
            let at = self.split.offset();
            if begins {
                self.command.begin((at < self.from).then_some(false));
                self.begins = self.split.is_between_transactions().then_some(at);
            }
            let step = self.split.step(left).map_err(|what| damaged(place, format!("position {at}: {what}")))?;
            let (part, rest) = left.split_at(step.len);
            left = rest;
            if at < self.from && self.split.offset() > self.from {
                return Err(damaged(place, format!("no command begins at position {}", self.from)));
            }
            self.give(step, part, place, out)?;
        }
        Ok(())
    }

    fn give(&mut self, step: Step, part: &[u8], place: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.command.take(&self.split, part, out) {
            let gives = !is_left_out(&self.split);
            if gives {
                self.select(place, out)?;
                self.date(out);
            }
            self.command.decide(gives, out);
        }
        if step.ends && self.command.keeps() && counts(&self.split) {
            self.commands += 1;
        }
        Ok(())
    }

    /// Says when the transaction that begins had been received.
    fn date(&mut self, out: &mut Vec<u8>) {
        let (Some(given), Some(begins), Some((segment, _))) = (&mut self.dated, self.begins, &self.open) else {
            return;
        };
        let Some(stamp) = Stamp::reaching(segment.stamps(), begins + 1) else { return };
        let second = stamp.ms.div_euclid(1000) + i64::from(stamp.ms.rem_euclid(1000) > 0);
        if second > *given {
            *given = second;
            out.extend_from_slice(format!("#TS:{second}\r\n").as_bytes());
        }
    }

    /// Sees to it that the target has the database selected that the command is for.
    fn select(&mut self, place: &str, out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.selected {
            return Ok(());
        }
        if self.split.is(&[b"SELECT"]) {
            self.selected = true;
        } else if let Some(database) = self.split.database() {
            let number = database.to_string();
            out.extend_from_slice(format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{number}\r\n", number.len()).as_bytes());
            self.selected = true;
        } else if counts(&self.split) {
            self.lacks_database = true;
            return Err(damaged(place, "does not say which database its first commands are for"));
        }
        Ok(())
    }
}

impl Iterator for LogReader {
    type Item = Result<Vec<u8>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.chunk().transpose();
        // Behind a fault nothing more is given.
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}
