//! What is kept of a stream's commands: the beginning of each is held until its name tells whether the command stays.
//!
//! It must hold nothing behind the name, however large a command is, and does not judge which commands stay.

use super::split::Splitter;

/// The command that is being read.
#[derive(Debug, Default)]
pub struct Keep {
    /// The command's bytes up to its name, until it is known whether they are kept.
    head: Vec<u8>,
    /// Whether the command's bytes are kept; `None` until that is known.
    keeps: Option<bool>,
}

impl Keep {
    /// Begins a command; `keeps` where it is known before its name whether it stays.
    pub fn begin(&mut self, keeps: Option<bool>) {
        self.head.clear();
        self.keeps = keeps;
    }

    /// Takes the next part of the command, which is appended where the command stays. `true`: its name is known by now, and
    /// [`Self::decide`] has to follow. A name that is too long is none that is known, and is not waited for.
    #[must_use]
    pub fn take(&mut self, split: &Splitter, part: &[u8], kept: &mut Vec<u8>) -> bool {
        match self.keeps {
            None => self.head.extend_from_slice(part),
            Some(true) => kept.extend_from_slice(part),
            Some(false) => {}
        }
        self.keeps.is_none() && split.is_named()
    }

    /// Says whether the command stays, and appends what was held of one that does.
    pub fn decide(&mut self, keeps: bool, kept: &mut Vec<u8>) {
        if keeps {
            kept.extend_from_slice(&self.head);
        }
        self.begin(Some(keeps));
    }

    /// Whether the command is known to stay.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps == Some(true)
    }
}
