//! Frames from the encoder to the driver of a restore by commands: bytes for the wire, and which commands end in them.
//!
//! Plain data between two threads; it must not name a key by more bytes than a message can show.

use std::fmt;

use crate::model::text::clean;

/// A part of a replay, in order.
#[derive(Debug)]
pub enum Frame {
    /// The walk has begun; the data is of this RDB version.
    Begin {
        /// RDB version, as in the footer of each payload.
        rdb_version: u16,
    },
    /// Bytes for the wire, and the commands that end in them, in order. A command may span several frames.
    Bytes {
        /// RESP bytes to be written unchanged.
        wire: Vec<u8>,
        /// The commands whose last byte is among `wire`, in order.
        ends: Vec<Sent>,
    },
    /// All function libraries in one, where they are not loaded one by one.
    Libraries(Vec<u8>),
    /// The walk is complete. A channel closed without this frame is a walk that failed.
    End {
        /// Keys that may vanish by themselves, for they or their fields have an expiry.
        may_expire: u64,
    },
}

/// A command under way, until its reply comes.
#[derive(Debug)]
pub struct Sent {
    pub(super) command: RestoreCommand,
    pub(super) bytes: usize,
}

/// What a command under way restores.
#[derive(Debug)]
pub(super) enum RestoreCommand {
    /// RESTORE of a key; its first bytes, to name the key in a refusal.
    Key(Box<[u8]>),
    /// The same of a key that replaces none.
    NewKey(Box<[u8]>),
    Function,
    Select(u64),
}

impl fmt::Display for RestoreCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) | Self::NewKey(key) => write!(f, "key \"{}\"", clean(&String::from_utf8_lossy(key))),
            Self::Function => f.write_str("function library"),
            Self::Select(db) => write!(f, "database {db}"),
        }
    }
}
