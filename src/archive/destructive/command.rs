//! Which commands destroy data, and what of each is looked at: how, how many keys, and what these begin with.
//!
//! It must not hold more of a command than the beginning of one argument and of its keys, however large the command is.

use crate::model::destruction::How;
use crate::redis::replica::split::{OF_WHOLE_DATABASES, Piece, Splitter, Step};
use std::collections::BTreeSet;

/// Bytes of an argument that are looked at.
pub(super) const KEY_BYTES_MAX: usize = 64;

const REMOVE: [&[u8]; 2] = [b"DEL", b"UNLINK"];
/// Those that remove one key, and say behind it what it has to hold for that.
const REMOVE_IF: [&[u8]; 2] = [b"DELEX", b"DELIFEQ"];
const EXPIRE: [&[u8]; 4] = [b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"];
/// RENAME; the others replace where they say REPLACE alone.
const RENAME: [&[u8]; 1] = [b"RENAME"];
const COPY: [&[u8]; 1] = [b"COPY"];
const RESTORE: [&[u8]; 1] = [b"RESTORE"];
/// Commands that take elements by what they are or where they stand. Those that pop take what a queue is for.
const TRIM: [&[u8]; 14] = [
    b"HDEL",
    b"HGETDEL",
    b"LREM",
    b"LTRIM",
    b"SREM",
    b"VREM",
    b"XACKDEL",
    b"XDEL",
    b"XDELEX",
    b"XTRIM",
    b"ZREM",
    b"ZREMRANGEBYLEX",
    b"ZREMRANGEBYRANK",
    b"ZREMRANGEBYSCORE",
];
const FUNCTION: [&[u8]; 1] = [b"FUNCTION"];
/// What FUNCTION does where it takes something away.
const OF_FUNCTIONS: [&[u8]; 3] = [b"FLUSH", b"DELETE", b"RESTORE"];

/// The commands that may destroy data, and how.
const ALL: [(&[&[u8]], How); 9] = [
    (&REMOVE, How::Removes),
    (&REMOVE_IF, How::Removes),
    (&TRIM, How::Trims),
    (&EXPIRE, How::Expires),
    (&OF_WHOLE_DATABASES, How::Databases),
    (&RENAME, How::Replaces),
    (&COPY, How::Replaces),
    (&RESTORE, How::Replaces),
    (&FUNCTION, How::Functions),
];

/// How a command of a name may destroy data.
fn how(split: &Splitter) -> Option<How> {
    ALL.iter().find(|(names, _)| split.is(names)).map(|(_, how)| *how)
}

/// Whether one of these names, in upper case, is of a command that may destroy data.
pub(super) fn any_destroys(names: &BTreeSet<String>) -> bool {
    names.iter().any(|name| ALL.iter().any(|(some, _)| some.contains(&name.as_bytes())))
}

/// A command as it comes.
pub(super) struct Command {
    /// Where it begins.
    pub at: u64,
    /// How it may destroy; known with its first argument.
    pub how: Option<How>,
    /// Keys that it names, and what they begin with.
    pub keys: u64,
    pub prefix: Option<Vec<u8>>,
    /// What says which, of commands that name no keys.
    pub words: Vec<String>,
    /// Whether it says REPLACE.
    replaces: bool,
    /// The time that an expiry sets.
    time: Option<i64>,
    /// The beginning of the argument that comes, and its number.
    argument: Vec<u8>,
    index: u64,
}

impl Command {
    pub fn at(offset: u64) -> Self {
        Self {
            at: offset,
            how: None,
            keys: 0,
            prefix: None,
            words: Vec::new(),
            replaces: false,
            time: None,
            argument: Vec::new(),
            index: 0,
        }
    }

    /// Takes a part of the command.
    pub fn take(&mut self, split: &Splitter, step: Step, part: &[u8]) {
        if let Piece::Argument { index: index @ 1.., text } = step.piece {
            if index == 1 && self.index == 0 {
                self.how = how(split);
            }
            if self.how.is_some() {
                if index != self.index {
                    self.end_argument(split);
                    self.index = index;
                }
                let room = KEY_BYTES_MAX.saturating_sub(self.argument.len()).min(text);
                self.argument.extend_from_slice(part.get(..room).unwrap_or_default());
            }
        }
        if step.ends {
            if self.index == 0 {
                self.how = how(split);
            }
            self.end_argument(split);
        }
    }

    fn end_argument(&mut self, split: &Splitter) {
        let argument = std::mem::take(&mut self.argument);
        let is = |word: &[u8]| argument.eq_ignore_ascii_case(word);
        match (self.how, self.index) {
            (_, 0) | (None, _) => {}
            (Some(How::Databases | How::Functions), 1 | 2) => {
                self.words.push(String::from_utf8_lossy(&argument).into_owned());
            }
            (Some(How::Removes | How::Expires | How::Trims), 1) => self.key(argument),
            (Some(How::Removes), _) if split.is(&REMOVE) => self.key(argument),
            (Some(How::Expires), 2) => self.time = std::str::from_utf8(&argument).ok().and_then(|n| n.parse().ok()),
            (Some(How::Replaces), 1) if split.is(&RESTORE) => self.key(argument),
            (Some(How::Replaces), 2) if !split.is(&RESTORE) => self.key(argument),
            // The third of RESTORE is the value, whatever that says.
            (Some(How::Replaces), n @ 3..) => self.replaces |= (n > 3 || !split.is(&RESTORE)) && is(b"REPLACE"),
            _ => {}
        }
    }

    fn key(&mut self, key: Vec<u8>) {
        self.keys += 1;
        match &mut self.prefix {
            Some(prefix) => shorten(prefix, &key),
            None => self.prefix = Some(key),
        }
    }

    /// How the command, which has ended, destroyed what was there when it came; `None` where it did not.
    pub fn destroyed(&self, split: &Splitter, ms: i64) -> Option<How> {
        let how = self.how?;
        let did = match how {
            How::Databases | How::Removes | How::Trims => true,
            How::Functions => {
                let what = self.words.first().map(String::as_bytes).unwrap_or_default();
                OF_FUNCTIONS.iter().any(|word| what.eq_ignore_ascii_case(word))
            }
            How::Replaces => self.replaces || split.is(&RENAME),
            How::Expires => self.time.is_some_and(|time| match split.name() {
                name if name.eq_ignore_ascii_case(b"PEXPIREAT") => time <= ms,
                name if name.eq_ignore_ascii_case(b"EXPIREAT") => time.saturating_mul(1000) <= ms,
                _ => time <= 0,
            }),
        };
        did.then_some(how)
    }

    /// The command for a reader.
    pub fn told(&self, split: &Splitter) -> String {
        let mut told = String::from_utf8_lossy(split.name()).to_ascii_uppercase();
        match self.how {
            Some(How::Databases) if split.is(&[b"SWAPDB"]) => {
                told.extend(self.words.iter().flat_map(|word| [" ", word.as_str()]));
            }
            Some(How::Functions) => {
                told.extend(self.words.first().map(|word| format!(" {}", word.to_ascii_uppercase())));
            }
            _ => {}
        }
        told
    }
}

/// Shortens a prefix to what another text begins with, too.
pub(super) fn shorten(prefix: &mut Vec<u8>, other: &[u8]) {
    let same = prefix.iter().zip(other).take_while(|(a, b)| a == b).count();
    prefix.truncate(same);
}
