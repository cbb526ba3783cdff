//! Sifts a stream that is kept outside of the log, for a replay: what a replay leaves out goes, what stays is counted and named.
//!
//! It must hold no more of a command than its beginning, up to its name, and must not change a byte of what stays.

use crate::archive::segment::outline::{counts, is_left_out};
use crate::redis::replica::keep::Keep;
use crate::redis::replica::split::{Piece, Splitter};
use std::collections::BTreeSet;

/// Reads a stream in any pieces.
#[derive(Debug)]
pub struct Sift {
    split: Splitter,
    command: Keep,
    commands: u64,
    names: BTreeSet<Vec<u8>>,
}

impl Default for Sift {
    fn default() -> Self {
        Self { split: Splitter::new(0, None), command: Keep::default(), commands: 0, names: BTreeSet::new() }
    }
}

impl Sift {
    /// Reads the next bytes, and appends those that stay.
    ///
    /// # Errors
    /// What is no command; and a command of which the stream does not say which database it is for.
    pub fn feed(&mut self, bytes: &[u8], kept: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut left = bytes;
        while !left.is_empty() {
            let step = self.split.step(left)?;
            let (part, rest) = left.split_at(step.len);
            left = rest;
            if step.piece == Piece::Blank {
                continue;
            }
            if self.command.take(&self.split, part, kept) {
                let stays = !is_left_out(&self.split);
                if counts(&self.split) && self.split.database().is_none() {
                    return Err("a command before it is said which database it is for");
                }
                self.command.decide(stays, kept);
                if stays {
                    self.names.insert(self.split.name().to_ascii_uppercase());
                }
            }
            if step.ends {
                self.commands += u64::from(counts(&self.split));
                self.command.begin(None);
            }
        }
        Ok(())
    }

    /// Commands so far that stay and change data.
    #[must_use]
    pub const fn commands(&self) -> u64 {
        self.commands
    }

    /// Whether what was read so far ends where a command ends.
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        self.split.is_between_commands()
    }

    /// Whether what was read so far ends where a transaction ends, or outside of one.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        self.split.is_between_transactions()
    }

    /// Names of the commands that stay, in upper case.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! However a stream is cut into pieces, the same commands stay, and are counted and named.
    use super::Sift;
    use crate::redis::resp::encode;

    #[test]
    fn what_changes_no_data_goes() {
        let command = |words: &str| {
            let mut out = Vec::new();
            encode(&mut out, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
            out
        };
        let stays = ["SELECT 0", "MULTI", "set a 1", "DEL b", "EXEC", "Set ping 2"];
        let all = [
            "ping",
            "SELECT 0",
            "PUBLISH c m",
            "MULTI",
            "set a 1",
            "DEL b",
            "EXEC",
            "REPLCONF GETACK *",
            "Set ping 2",
            "CLUSTER X",
        ];
        let stream: Vec<u8> = all.iter().flat_map(|words| command(words)).collect();
        let expected: Vec<u8> = stays.iter().flat_map(|words| command(words)).collect();
        for piece in [1, 7, stream.len()] {
            let (mut sift, mut kept) = (Sift::default(), Vec::new());
            assert!(sift.is_between_commands());
            for bytes in stream.chunks(piece) {
                sift.feed(bytes, &mut kept).unwrap();
            }
            assert_eq!((kept, sift.commands(), sift.is_between_commands()), (expected.clone(), 3, true));
            assert_eq!(sift.names().into_iter().collect::<Vec<_>>(), ["DEL", "EXEC", "MULTI", "SELECT", "SET"]);
            sift.feed(b"*1\r\n$4\r\nPI", &mut Vec::new()).unwrap();
            assert!(!sift.is_between_commands());
        }
    }

    /// Else it would go to whichever database the target has selected.
    #[test]
    fn a_command_for_nobody_knows_which_database_is_refused() {
        let mut out = Vec::new();
        encode(&mut out, &[b"PING".as_slice()]);
        encode(&mut out, &[b"SET".as_slice(), b"a", b"1"]);
        let mut kept = Vec::new();
        assert!(Sift::default().feed(&out, &mut kept).unwrap_err().contains("database"));
        assert_eq!(kept, b"");
    }
}
