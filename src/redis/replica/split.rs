//! Splits a stream into its commands as it comes: where each begins and ends, its name, the database selected, and whether a
//! transaction is open.
//!
//! It must keep nothing of a command but its name and, of SELECT, the number: however large a command is, it is never held.

/// Digits of `*n` or `$n` and their line end.
const HEADER_BYTES_MAX: usize = 24;
/// No command has a longer name; what follows is cut.
pub const NAME_BYTES_MAX: usize = 64;
/// Commands that empty or exchange databases.
pub const OF_WHOLE_DATABASES: [&[u8]; 3] = [b"FLUSHALL", b"FLUSHDB", b"SWAPDB"];
/// Commands of a stream that change no data: what keeps a link alive, frames other commands, or goes to subscribers.
const NO_DATA: [&[u8]; 8] = [b"PING", b"REPLCONF", b"SELECT", b"PUBLISH", b"SPUBLISH", b"MULTI", b"EXEC", b"SCRIPT"];

/// What the next bytes of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// An empty line between commands: a sign of life without an offset.
    Blank,
    /// The number of arguments, or the length of one.
    Header,
    /// A part of an argument, its line end included.
    Argument {
        /// The argument's number; the name is 0.
        index: u64,
        /// How many of the bytes are the argument's own.
        text: usize,
    },
}

/// A step through a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Bytes of it.
    pub len: usize,
    /// What they are.
    pub piece: Piece,
    /// Whether a command ends with them.
    pub ends: bool,
}

/// Where in a command the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a command.
    Start,
    /// In the number of its arguments.
    Count,
    /// In the length of an argument.
    Length,
    /// In an argument.
    Argument,
}

/// Splits a stream into commands.
#[derive(Debug, Clone)]
pub struct Splitter {
    /// Offset behind the last byte.
    offset: u64,
    /// The database that commands are for; `None` before the first SELECT, where it was not known.
    database: Option<u64>,
    in_transaction: bool,
    place: Place,
    /// The line of a number, as far as it has come.
    line: Vec<u8>,
    name: Vec<u8>,
    /// The number of a SELECT, as far as it has come.
    number: Vec<u8>,
    /// Number of the argument that comes.
    index: u64,
    /// Arguments of the command that are still to come.
    arguments: u64,
    /// Bytes of the argument that are still to come, its line end included.
    bytes: u64,
}

const NO_COMMAND: &str = "something in the stream that is no command";

impl Splitter {
    /// Begins at an offset between two commands and outside of a transaction.
    #[must_use]
    pub fn new(offset: u64, database: Option<u64>) -> Self {
        Self {
            offset,
            database,
            in_transaction: false,
            place: Place::Start,
            line: Vec::new(),
            name: Vec::new(),
            number: Vec::new(),
            index: 0,
            arguments: 0,
            bytes: 0,
        }
    }

    /// Takes one step. The bytes must not be empty.
    ///
    /// # Errors
    /// What is wrong, as part of a sentence, where the bytes are no command.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        if self.place == Place::Argument {
            return self.argument(bytes);
        }
        if self.place == Place::Start {
            match bytes.first() {
                Some(b'\r' | b'\n') => return Ok(Step { len: 1, piece: Piece::Blank, ends: false }),
                Some(b'*') => self.begin(),
                _ => return Err(NO_COMMAND),
            }
        }
        let room = HEADER_BYTES_MAX + 1 - self.line.len();
        let head = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        let end = head.iter().position(|b| *b == b'\n');
        let len = end.map_or(head.len(), |at| at + 1);
        self.line.extend_from_slice(head.get(..len).unwrap_or_default());
        if end.is_some() {
            self.number()?;
        } else if self.line.len() > HEADER_BYTES_MAX {
            return Err("a command without a length");
        }
        self.offset += len as u64;
        Ok(Step { len, piece: Piece::Header, ends: false })
    }

    fn begin(&mut self) {
        (self.place, self.index) = (Place::Count, 0);
        for part in [&mut self.line, &mut self.name, &mut self.number] {
            part.clear();
        }
    }

    fn number(&mut self) -> Result<(), &'static str> {
        let sign: &[u8] = if self.place == Place::Length { b"$" } else { b"*" };
        let digits = self.line.strip_suffix(b"\r\n").and_then(|line| line.strip_prefix(sign));
        let number = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| d.parse::<u64>().ok());
        let Some(number) = number else { return Err(NO_COMMAND) };
        self.line.clear();
        match self.place {
            Place::Count if number == 0 => return Err("a command without a name"),
            Place::Count => (self.arguments, self.place) = (number, Place::Length),
            _ => (self.bytes, self.place) = (number.saturating_add(2), Place::Argument),
        }
        Ok(())
    }

    /// A part of an argument, up to its line end at most.
    fn argument(&mut self, bytes: &[u8]) -> Result<Step, &'static str> {
        let len = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(bytes.len());
        let part = bytes.get(..len).unwrap_or_default();
        let text = usize::try_from(self.bytes.saturating_sub(2)).unwrap_or(usize::MAX).min(len);
        let index = self.index;
        let (into, most) = match index {
            0 => (&mut self.name, NAME_BYTES_MAX),
            _ => (&mut self.number, HEADER_BYTES_MAX),
        };
        let room = most.saturating_sub(into.len());
        into.extend_from_slice(part.get(..text.min(room)).unwrap_or_default());
        self.bytes -= len as u64;
        self.offset += len as u64;
        let mut ends = false;
        if self.bytes == 0 {
            if part.last() != Some(&b'\n') {
                return Err("an argument without its end");
            }
            (self.index, self.place) = (index + 1, Place::Length);
            self.arguments -= 1;
            if self.arguments == 0 {
                self.end();
                ends = true;
            }
        }
        Ok(Step { len, piece: Piece::Argument { index, text }, ends })
    }

    fn end(&mut self) {
        self.place = Place::Start;
        if self.is(&[b"SELECT"]) {
            self.database = std::str::from_utf8(&self.number).ok().and_then(|n| n.parse().ok());
        } else if self.is(&[b"MULTI"]) {
            self.in_transaction = true;
        } else if self.is(&[b"EXEC", b"DISCARD"]) {
            self.in_transaction = false;
        }
    }

    /// Offset behind the last byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The database selected.
    #[must_use]
    pub fn database(&self) -> Option<u64> {
        self.database
    }

    /// Whether the next byte begins a command.
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        self.place == Place::Start
    }

    /// Whether the next byte begins a command, and no transaction is open.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        self.place == Place::Start && !self.in_transaction
    }

    /// Whether the name of the command is known, or longer than any.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.index > 0 || self.name.len() == NAME_BYTES_MAX
    }

    /// Number of the argument that comes, or of arguments behind a whole command; the name is 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Name of the command whose bytes came last, as far as it has come.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether the command has one of these names.
    #[must_use]
    pub fn is(&self, names: &[&[u8]]) -> bool {
        names.iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// Whether the command is one that changes data; one that is not known is.
    #[must_use]
    pub fn changes_data(&self) -> bool {
        !self.is(&NO_DATA)
    }
}
