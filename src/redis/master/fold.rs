//! Folds a stream before a target applies it: of the commands that are sent together, what a later one replaces is left out, and
//! several of a kind for one key are one. A target spends most of a restore to a moment on commands one by one, many of them for the
//! same few keys.
//!
//! It must end in the same data as the stream itself. So only commands of one key each are folded, whose order is kept for each key;
//! every other command has all before it sent in front of it. A transaction of such commands alone goes without its frame: nobody is
//! promised what a target holds before its end. It must hold no more than a window of the stream, however large a command is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use foldhash::quality::RandomState;

use super::foldable::Kind;
use crate::redis::replica::split::{Piece, Splitter, Step};
use crate::redis::resp::encode;

/// Bytes of commands that are folded together.
pub(super) const WINDOW_BYTES: usize = 2 << 20;
/// Most arguments of a command that stands for several. A server takes their number for that of different elements when it chooses an
/// encoding, so that a command of more than 128 makes a key large that is small, and another order of a set that has none.
pub(super) const ARGUMENTS_MAX: u64 = 130;
/// Most bytes that are looked at in one step, so that no more than these come on top of a window.
const STEP_BYTES: usize = 256 << 10;
/// Arguments of a command that are looked at: its name, its key, and two more.
const LOOKED_AT: usize = 4;

/// Folds a stream.
#[derive(Debug)]
pub struct Fold {
    split: Splitter,
    /// The commands of the window, as they came.
    held: Vec<u8>,
    /// Those of them that may be folded.
    commands: Vec<Command>,
    /// The one that comes.
    next: Next,
    /// Where the open transaction begins, and the database selected there; `None` outside of one.
    transaction: Option<(usize, Option<u64>)>,
    /// Whether the open transaction has a command that is not folded.
    is_mixed: bool,
    /// Whether bytes pass through until no transaction is open.
    passes: bool,
    /// The database that the target has selected.
    selected: Option<u64>,
}

/// The command that comes, as far as it has come.
#[derive(Debug, Default)]
struct Next {
    begins: usize,
    /// The database selected before it.
    database: Option<u64>,
    arguments: [Argument; LOOKED_AT],
}

/// An argument, as it lies in what is held.
#[derive(Debug, Clone, Default)]
struct Argument {
    text: Range<usize>,
    /// Behind its line end.
    ends: usize,
}

/// A command that may be folded, as it lies in what is held.
#[derive(Debug)]
struct Command {
    database: Option<u64>,
    begins: usize,
    key: Range<usize>,
    /// Behind the key.
    rest: usize,
    ends: usize,
    arguments: u64,
    kind: Kind,
    /// The next command of the same key that is sent.
    next: Option<usize>,
}

/// The commands of one key that are sent, by their numbers.
struct Chain {
    first: usize,
    last: usize,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            split: Splitter::new(0, None),
            held: Vec::new(),
            commands: Vec::new(),
            next: Next::default(),
            transaction: None,
            is_mixed: false,
            passes: false,
            selected: None,
        }
    }
}

impl Fold {
    /// Reads the next bytes of the stream, and appends what may be sent by now.
    ///
    /// # Errors
    /// What is wrong with the stream, as part of a sentence.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut left = bytes;
        while !left.is_empty() {
            if self.split.is_between_commands() && !self.passes {
                let (begins, database) = (self.held.len(), self.split.database());
                self.next = Next { begins, database, ..Next::default() };
            }
            let step = self.split.step(left.get(..left.len().min(STEP_BYTES)).unwrap_or(left))?;
            let (part, rest) = left.split_at(step.len);
            left = rest;
            if self.passes {
                out.extend_from_slice(part);
                if step.ends && self.split.is_between_transactions() {
                    (self.passes, self.selected) = (false, self.split.database());
                }
            } else if step.piece != Piece::Blank {
                self.take(step, part, out);
            }
        }
        Ok(())
    }

    /// Appends what is held back at the end of the stream, or where it is to be sent without what comes.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.send(self.held.len(), None, out);
    }

    /// Whether what was appended so far ends where a command ends.
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        !self.passes || self.split.is_between_commands()
    }

    fn take(&mut self, step: Step, part: &[u8], out: &mut Vec<u8>) {
        let at = self.held.len();
        self.held.extend_from_slice(part);
        if let Piece::Argument { index, text } = step.piece
            && let Some(argument) = usize::try_from(index).ok().and_then(|index| self.next.arguments.get_mut(index))
        {
            if argument.ends == 0 {
                argument.text = at..at;
            }
            argument.text.end += text;
            argument.ends = self.held.len();
        }
        if step.ends {
            self.command_ends(out);
        }
        if self.held.len() <= WINDOW_BYTES {
            return;
        }
        match self.transaction.take() {
            None if self.split.is_between_commands() => self.finish(out),
            // What has begun cannot be folded any more, for its end may be far.
            began => {
                let (from, database) = began.unwrap_or((self.next.begins, self.next.database));
                self.send(from, database, out);
                self.passes = true;
            }
        }
    }

    fn command_ends(&mut self, out: &mut Vec<u8>) {
        if self.split.is(&[b"SELECT"]) {
            // Each command knows its database, and what is sent as it came has it inside.
            return;
        }
        if self.split.is(&[b"MULTI"]) && self.transaction.is_none() {
            (self.transaction, self.is_mixed) = (Some((self.next.begins, self.next.database)), false);
            return;
        }
        let command = self.command();
        match (self.split.is_between_transactions(), self.transaction) {
            // The end of a transaction.
            (true, Some((from, database))) => {
                self.transaction = None;
                if self.is_mixed || !self.split.is(&[b"EXEC"]) {
                    self.send(from, database, out);
                }
            }
            (in_none, _) => match command {
                Some(command) => self.commands.push(command),
                None if in_none => self.send(self.next.begins, self.next.database, out),
                None => self.is_mixed = true,
            },
        }
    }

    /// The command that has come, where it may be folded.
    fn command(&self) -> Option<Command> {
        let Next { begins, database, arguments: [_, key, ..] } = &self.next;
        let arguments = self.split.index();
        let kind = Kind::of(self.split.name(), arguments, |index| self.argument(index))?;
        let (key, rest, ends) = (key.text.clone(), key.ends, self.held.len());
        Some(Command { database: *database, begins: *begins, key, rest, ends, arguments, kind, next: None })
    }

    /// What an argument is, as far as it is looked at.
    fn argument(&self, index: usize) -> &[u8] {
        let range = self.next.arguments.get(index).map(|argument| argument.text.clone());
        range.and_then(|range| self.held.get(range)).unwrap_or_default()
    }

    /// Appends the commands that begin before `from`, folded, and then what is held from there on, as it came: that is for the
    /// database which is selected there. Nothing is held afterwards.
    fn send(&mut self, from: usize, database: Option<u64>, out: &mut Vec<u8>) {
        self.commands.retain(|command| command.begins < from);
        let chains = chains(&self.held, &mut self.commands);
        for chain in &chains {
            self.send_chain(chain, out);
        }
        if let Some(rest) = self.held.get(from..).filter(|rest| !rest.is_empty()) {
            select(&mut self.selected, database, out);
            out.extend_from_slice(rest);
            self.selected = self.split.database();
        }
        self.held.clear();
        self.commands.clear();
    }

    fn send_chain(&mut self, chain: &Chain, out: &mut Vec<u8>) {
        let mut next = Some(chain.first);
        while let Some(command) = next.and_then(|at| self.commands.get(at)) {
            select(&mut self.selected, command.database, out);
            let (mut arguments, mut last) = (command.arguments, command);
            let mut joined: Vec<&Command> = Vec::new();
            if let Kind::Joins(_) = command.kind {
                while let Some(more) = last.next.and_then(|at| self.commands.get(at))
                    && more.kind == command.kind
                    && arguments + more.arguments - 2 <= ARGUMENTS_MAX
                {
                    arguments += more.arguments - 2;
                    joined.push(more);
                    last = more;
                }
            }
            let whole = self.held.get(command.begins..command.ends).unwrap_or_default();
            if joined.is_empty() {
                out.extend_from_slice(whole);
            } else {
                let header = whole.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                out.extend_from_slice(format!("*{arguments}\r\n").as_bytes());
                out.extend_from_slice(whole.get(header..).unwrap_or_default());
                for more in joined {
                    out.extend_from_slice(self.held.get(more.rest..more.ends).unwrap_or_default());
                }
            }
            next = last.next;
        }
    }
}

/// Links the commands of each key that are to be sent; those of one database come together.
fn chains(held: &[u8], commands: &mut [Command]) -> Vec<Chain> {
    let mut by_key: HashMap<(Option<u64>, &[u8]), usize, RandomState> =
        HashMap::with_capacity_and_hasher(commands.len(), RandomState::default());
    let mut chains: Vec<Chain> = Vec::new();
    for at in 0..commands.len() {
        let Some(command) = commands.get(at) else { continue };
        let (replaces, key) = (command.kind == Kind::Replaces, held.get(command.key.clone()).unwrap_or_default());
        match by_key.entry((command.database, key)) {
            Entry::Vacant(vacant) => {
                vacant.insert(chains.len());
                chains.push(Chain { first: at, last: at });
            }
            Entry::Occupied(occupied) => {
                let Some(chain) = chains.get_mut(*occupied.get()) else { continue };
                if replaces {
                    *chain = Chain { first: at, last: at };
                } else {
                    if let Some(last) = commands.get_mut(chain.last) {
                        last.next = Some(at);
                    }
                    chain.last = at;
                }
            }
        }
    }
    chains.sort_by_key(|chain| commands.get(chain.first).map(|command| command.database));
    chains
}

/// Appends what selects a database, where another is selected.
fn select(selected: &mut Option<u64>, database: Option<u64>, out: &mut Vec<u8>) {
    if let Some(number) = database.filter(|_| *selected != database) {
        encode(out, &[b"SELECT", number.to_string().as_bytes()]);
        *selected = database;
    }
}
