//! Moves the expiries in a replication stream by the same time, and makes those absolute that count from when a command runs, which
//! servers before Redis 7.0 sent as they came. Whatever else a command has passes through, but for HPERSIST: Redis drops it where the
//! time of a field has passed when it is replayed, by a replica or from a file, and the field with it. So the fields get a time that has
//! not passed first.
//!
//! It must hold no more of a command than its name, one number or option, the payload of a hash whose fields expire, the fields of an
//! HPERSIST, and the key of a RESTORE whose time counts from when it runs; and must add or take no command that anybody counts.

use super::expiring::{Form, IN_MILLIS, IN_SECONDS, MILLIS, SECONDS, Time};
use crate::redis::rdb::shift::shift_payload;
use crate::redis::replica::split::{Piece, Splitter};
use crate::redis::resp::encode;
use std::collections::BTreeSet;

/// Longest number or option.
const WORD_BYTES_MAX: usize = 32;
/// Longest payload and key that are held, and the fields of an HPERSIST.
const HELD_BYTES_MAX: usize = 64 << 20;
/// The time that fields have for a moment before they have none.
const YET_TO_COME: &str = "4102444800000";
/// Types of hashes whose fields expire, in either format.
const EXPIRING_FIELDS: std::ops::RangeInclusive<u8> = 22..=25;

/// Moves the expiries of a stream.
#[derive(Debug)]
pub struct StreamShift {
    by_ms: i64,
    /// Whether times may count from when a command runs.
    relative: bool,
    split: Splitter,
    form: Form,
    /// The option before this argument, whose time the argument is.
    after: Option<Time>,
    /// Whether the option before this argument takes it as a value to compare with.
    skips: bool,
    /// The bytes of an argument that is held, its header included, and of them its own.
    held: Vec<u8>,
    text: Vec<u8>,
    /// How many bytes of the argument are held at most: what is longer passes through.
    most: usize,
    /// Of a RESTORE: its key, and its time; of SETEX its moved time.
    key: Vec<u8>,
    number: Option<i64>,
    absolute: bool,
    /// Of an HPERSIST, as it came: its beginning, and its arguments; and where among these its key ends.
    named: Vec<u8>,
    arguments: Vec<u8>,
    key_ends: usize,
    /// Between which moments the times that come are counted, and how many there were.
    between: (i64, i64),
    counted: u64,
}

impl StreamShift {
    /// Moves by so many milliseconds, or by none. `relative`: the stream is of a server that sends times as they were given to it.
    #[must_use]
    pub fn new(by_ms: i64, relative: bool) -> Self {
        Self {
            by_ms,
            relative,
            split: Splitter::new(0, None),
            form: Form::None,
            after: None,
            skips: false,
            held: Vec::new(),
            text: Vec::new(),
            most: WORD_BYTES_MAX,
            key: Vec::new(),
            number: None,
            absolute: false,
            named: Vec::new(),
            arguments: Vec::new(),
            key_ends: 0,
            between: (0, 0),
            counted: 0,
        }
    }

    /// Counts the times that lie behind the first of these moments and not behind the second, in milliseconds.
    #[must_use]
    pub fn counting(self, between: (i64, i64)) -> Self {
        Self { between, ..self }
    }

    /// Times so far that lay there: one for each command that sets one.
    #[must_use]
    pub const fn counted(&self) -> u64 {
        self.counted
    }

    /// Whether one of these names, in upper case, is of a command that may set an expiry.
    #[must_use]
    pub fn may_expire(names: &BTreeSet<String>) -> bool {
        names.iter().any(|name| !matches!(Form::of(name.as_bytes(), true), Form::None | Form::Persist))
    }

    /// Whether a stream with commands of these names, in upper case, has to be read for what it must not lose, whatever is moved.
    #[must_use]
    pub fn is_needed(names: &BTreeSet<String>) -> bool {
        names.contains("HPERSIST")
    }

    /// Whether all that came ends where a command ends.
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        self.split.is_between_commands()
    }

    /// Reads the next bytes, which were received at `at_ms`, and appends what becomes of them.
    ///
    /// # Errors
    /// What is wrong, as part of a sentence: with the stream, or with a payload.
    pub fn feed(&mut self, bytes: &[u8], at_ms: i64, out: &mut Vec<u8>) -> Result<(), String> {
        let mut left = bytes;
        while !left.is_empty() {
            let begins = self.split.is_between_commands();
            if begins && left.first() == Some(&b'#') {
                // An annotation of an append-only file, which comes whole.
                let len = left.iter().position(|byte| *byte == b'\n').map_or(left.len(), |at| at + 1);
                let (line, rest) = left.split_at(len);
                out.extend_from_slice(line);
                left = rest;
                continue;
            }
            let before = self.split.index();
            let step = self.split.step(left)?;
            let (part, rest) = left.split_at(step.len);
            left = rest;
            if begins && step.piece != Piece::Blank {
                self.begin();
            }
            match step.piece {
                Piece::Blank => out.extend_from_slice(part),
                // Whether the argument behind it is changed is not known yet.
                Piece::Header => self.held.extend_from_slice(part),
                Piece::Argument { index, text } => {
                    self.argument(index, part, text, out)?;
                    if self.split.index() > before {
                        self.argument_ends(index, at_ms, out)?;
                    }
                }
            }
            if step.ends {
                self.command_ends(at_ms, out);
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        (self.form, self.after, self.number) = (Form::None, None, None);
        (self.skips, self.absolute) = (false, false);
        self.key.clear();
        self.named.clear();
        self.arguments.clear();
        self.expect(0);
    }

    /// Begins to hold the argument that comes, as far as it may be changed.
    fn expect(&mut self, index: u64) {
        self.text.clear();
        let held = match (self.form, index) {
            (_, 0) => WORD_BYTES_MAX,
            (Form::Second(..) | Form::SetEx(_), 2) | (Form::Pairs, 1) | (Form::Restore, 2) => WORD_BYTES_MAX,
            (Form::Option { from }, index) if index >= from => WORD_BYTES_MAX,
            // The key is only needed where a time counts from when the command runs.
            (Form::Restore, 1) if self.relative => HELD_BYTES_MAX,
            (Form::Restore, 3) if self.by_ms != 0 => HELD_BYTES_MAX,
            (Form::Persist, _) => HELD_BYTES_MAX,
            (Form::Restore, 4..) if self.relative => WORD_BYTES_MAX,
            _ => 0,
        };
        self.most = held;
    }

    fn argument(&mut self, index: u64, part: &[u8], text: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let plain = part.get(..text).unwrap_or_default();
        if self.text.is_empty() && self.form == Form::Restore && index == 3 {
            // Only such a payload has times.
            let expires = plain.first().is_some_and(|type_byte| EXPIRING_FIELDS.contains(type_byte));
            self.most = if expires || plain.is_empty() { self.most } else { 0 };
        }
        if self.text.len() + plain.len() > self.most {
            if self.most == HELD_BYTES_MAX {
                return Err(TOO_LARGE.to_owned());
            }
            // Not what is looked for: it passes through.
            self.most = 0;
        }
        self.held.extend_from_slice(part);
        if self.most == 0 {
            out.append(&mut self.held);
        } else {
            self.text.extend_from_slice(plain);
        }
        Ok(())
    }

    fn argument_ends(&mut self, index: u64, at_ms: i64, out: &mut Vec<u8>) -> Result<(), String> {
        if self.most == 0 {
            (self.after, self.skips) = (None, false);
        } else {
            match self.changed(index, at_ms)? {
                Changed::Not => out.append(&mut self.held),
                Changed::Gone => self.held.clear(),
                Changed::To(text) => {
                    self.held.clear();
                    out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
                    out.extend_from_slice(&text);
                    out.extend_from_slice(b"\r\n");
                }
                Changed::Named { name, more } => {
                    let count = count_of(&self.held).ok_or_else(|| "a command without a length".to_owned())? + more;
                    out.extend_from_slice(format!("*{count}\r\n${}\r\n{name}\r\n", name.len()).as_bytes());
                    self.held.clear();
                }
            }
        }
        self.expect(index + 1);
        Ok(())
    }

    /// What becomes of an argument that is held whole.
    fn changed(&mut self, index: u64, at_ms: i64) -> Result<Changed, String> {
        if index == 0 {
            self.form = Form::of(&self.text.to_ascii_uppercase(), self.relative);
            return Ok(match self.form {
                Form::Second(_, name) => Changed::Named { name, more: 0 },
                Form::SetEx(_) => Changed::Named { name: "SET", more: 1 },
                Form::Persist => {
                    self.named.clone_from(&self.held);
                    Changed::Gone
                }
                _ => Changed::Not,
            });
        }
        let number = || std::str::from_utf8(&self.text).ok().and_then(|text| text.parse::<i64>().ok());
        match (self.form, index) {
            (Form::Second(time, _), _) => {
                Ok(number().map_or(Changed::Not, |n| Changed::number(self.moved(time, n, at_ms))))
            }
            (Form::SetEx(time), _) => {
                self.number = number().map(|n| self.moved(time, n, at_ms));
                Ok(Changed::Gone)
            }
            (Form::Pairs, _) => {
                let pairs = number().and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                self.form = Form::Option { from: pairs.saturating_mul(2).saturating_add(2) };
                Ok(Changed::Not)
            }
            (Form::Option { .. }, _) => Ok(self.option(at_ms)),
            (Form::Restore, 1) => {
                self.key.clone_from(&self.text);
                Ok(Changed::Not)
            }
            (Form::Restore, 2) => {
                let Some(n) = number().filter(|n| *n != 0) else { return Ok(Changed::Not) };
                if self.relative {
                    // Whether it counts from when the command runs stands behind the payload: the key gets it then.
                    self.number = Some(n);
                    return Ok(Changed::number(0));
                }
                Ok(Changed::number(self.moved(MILLIS, n, at_ms)))
            }
            (Form::Restore, 3) => shift_payload(&self.text, self.by_ms).map(Changed::To).map_err(|e| e.to_string()),
            (Form::Restore, _) => {
                self.absolute |= self.text.eq_ignore_ascii_case(b"ABSTTL");
                Ok(Changed::Not)
            }
            (Form::Persist, _) => {
                if self.arguments.len() + self.held.len() > HELD_BYTES_MAX {
                    return Err(TOO_LARGE.to_owned());
                }
                self.arguments.extend_from_slice(&self.held);
                if index == 1 {
                    self.key_ends = self.arguments.len();
                }
                Ok(Changed::Gone)
            }
            (Form::None, _) => Ok(Changed::Not),
        }
    }

    /// An option, or the time behind one.
    fn option(&mut self, at_ms: i64) -> Changed {
        if let Some(time) = self.after.take() {
            let number = std::str::from_utf8(&self.text).ok().and_then(|text| text.parse::<i64>().ok());
            return number.map_or(Changed::Not, |n| Changed::number(self.moved(time, n, at_ms)));
        }
        if std::mem::take(&mut self.skips) {
            return Changed::Not;
        }
        let is = |word: &str| self.text.eq_ignore_ascii_case(word.as_bytes());
        self.skips = ["IFEQ", "IFNE", "IFDEQ", "IFDNE"].into_iter().any(is);
        self.after = match () {
            () if is("PXAT") => Some(MILLIS),
            () if is("EXAT") => Some(SECONDS),
            () if is("PX") && self.relative => Some(IN_MILLIS),
            () if is("EX") && self.relative => Some(IN_SECONDS),
            () if is("FIELDS") => {
                self.form = Form::None;
                None
            }
            () => None,
        };
        if self.after.is_some() { Changed::To(b"PXAT".to_vec()) } else { Changed::Not }
    }

    fn moved(&mut self, time: Time, number: i64, at_ms: i64) -> i64 {
        let from = if time.relative { at_ms } else { 0 };
        let at = number.saturating_mul(time.unit).saturating_add(from);
        let (first, last) = self.between;
        self.counted += u64::from(first < at && at <= last);
        at.saturating_add(self.by_ms)
    }

    fn command_ends(&mut self, at_ms: i64, out: &mut Vec<u8>) {
        if self.form == Form::Persist {
            let (key, fields) = self.arguments.split_at(self.key_ends.min(self.arguments.len()));
            let count = count_of(&self.named).unwrap_or_default() + 1;
            let time = format!("${}\r\n{YET_TO_COME}\r\n", YET_TO_COME.len());
            out.extend_from_slice(format!("*{count}\r\n$10\r\nHPEXPIREAT\r\n").as_bytes());
            for part in [key, time.as_bytes(), fields, &self.named, &self.arguments] {
                out.extend_from_slice(part);
            }
            return;
        }
        let Some(number) = self.number.take() else { return };
        if self.form == Form::Restore {
            let time = if self.absolute { MILLIS } else { IN_MILLIS };
            let at = self.moved(time, number, at_ms).to_string();
            encode(out, &[b"PEXPIREAT", &self.key, at.as_bytes()]);
        } else {
            let number = number.to_string();
            out.extend_from_slice(format!("$4\r\nPXAT\r\n${}\r\n{number}\r\n", number.len()).as_bytes());
        }
    }
}

/// Why a command ends a stream.
const TOO_LARGE: &str = "a RESTORE or HPERSIST is too large for its expiries to be moved";

/// The number of arguments, which stands before the name.
fn count_of(named: &[u8]) -> Option<u64> {
    let count = named.split(|b| *b == b'\r').next()?;
    std::str::from_utf8(count).ok()?.trim_start_matches('*').parse().ok()
}

/// What becomes of an argument.
enum Changed {
    Not,
    Gone,
    To(Vec<u8>),
    /// The command's name, and how many arguments more it has.
    Named {
        name: &'static str,
        more: u64,
    },
}

impl Changed {
    fn number(n: i64) -> Self {
        Self::To(n.to_string().into_bytes())
    }
}
