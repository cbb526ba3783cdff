//! What a restore by replication is told and tells: the data's supply, the steps, the options, the record for a roll-back.
//!
//! Plain data, so that a caller can write the record down; nothing here touches a server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::redis::settings::Settings;

/// What the supplier of the data sends. Chunks may have any size; a megabyte is good.
#[derive(Debug)]
pub enum Supply {
    /// The next bytes, verified.
    Chunk(Vec<u8>),
    /// The last chunk was the end, and all chunks were good. Without this the target never gets the last chunk.
    Done,
    /// The data turned out bad or could not be read: the target keeps what it has. A closed channel means the same.
    Failed(String),
}

/// What has just happened, or, where noted, is just about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// About to change the target's settings.
    SettingsSaved,
    /// About to send REPLICAOF: from here on a crash needs [`roll_back`](super::rollback::roll_back).
    Switched,
    /// The target connected and proved to be the target.
    Connected,
    /// The target is being sent the data.
    Streaming {
        /// Bytes written so far.
        sent: u64,
        /// Bytes expected in all, where the caller said so.
        total: Option<u64>,
    },
    /// The target has loaded the data: the old data is gone.
    Loaded,
    /// The target is its own master again.
    Promoted,
    /// The target's settings are as they were.
    Restored,
}

/// How to act as master.
#[derive(Debug, Clone)]
pub struct MasterOptions {
    /// Address to listen on. By default the local address of this program's own connection to the target.
    pub bind: Option<IpAddr>,
    /// Port to listen on; 0 takes a random free one.
    pub port: u16,
    /// Host and port to tell the target, where an address translation is in between. The address of whoever connects is then
    /// not checked.
    pub announce: Option<(String, Option<u16>)>,
    /// For this program's connections to the target, and each command.
    pub command_within: Duration,
    /// The target must have connected within this.
    pub connect_within: Duration,
    /// Longest time without progress while sending, and without a sign of life while the target loads.
    pub stall: Duration,
    /// How long to try to roll the target's role and settings back when the transfer is over.
    pub rollback_within: Duration,
    /// Size of the data, for progress only.
    pub total: Option<u64>,
}

impl Default for MasterOptions {
    fn default() -> Self {
        Self {
            bind: None,
            port: 0,
            announce: None,
            command_within: Duration::from_secs(15),
            connect_within: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            rollback_within: Duration::from_secs(60),
            total: None,
        }
    }
}

/// All that must be known to roll a target's role and settings back. Plain, so that it can be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackRecord {
    /// The target's own settings.
    pub settings: Settings,
    /// The host that the target is told to follow.
    pub host: String,
    /// The port that the target is told to follow.
    pub port: u16,
    /// The replication id under which the target gets the data: a target that has this id has loaded the data.
    pub replid: String,
    /// The target's process, as `run_id`. Another one means that the target has been restarted.
    pub run_id: String,
}

/// A restore that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Bytes sent, without the end mark.
    pub sent: u64,
    /// The address from which the target connected.
    pub peer: SocketAddr,
}
