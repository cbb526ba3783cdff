//! Inputs and outputs of a restore by replication: the data's supply, the options, the steps, the record for a roll-back.
//!
//! Plain data, so that a caller can store the record; nothing here touches a server.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::instance::FREE_STALL_SECONDS;
use crate::redis::facts::ServerFacts;
use crate::redis::settings::{SetByUs, Settings};

/// What the supplier of the data sends: the chunks of a snapshot, and either [`Done`](Self::Done), or
/// [`StreamFollows`](Self::StreamFollows), the chunks of the stream behind it, and [`Done`](Self::Done).
#[derive(Debug)]
pub enum Supply {
    /// The next bytes of the snapshot, verified. They may be of any number; a megabyte is good.
    Chunk(Vec<u8>),
    /// The last chunk was the end of the snapshot, and all chunks were good; commands follow it.
    StreamFollows,
    /// Commands behind the snapshot, as a master's stream has them, verified.
    Stream {
        /// The next bytes of the stream.
        bytes: Vec<u8>,
        /// Whether they end where a command ends: only there may a sign of life follow.
        whole: bool,
    },
    /// The last chunk was the end, and all chunks were good. The target gets the snapshot's last chunk only after this, or after
    /// [`StreamFollows`](Self::StreamFollows).
    Done,
    /// The data turned out bad or unreadable: where the snapshot was not whole, the target keeps its old data. A closed channel means
    /// the same.
    Failed(String),
}

/// A step that has just been done, or, where its description says so, is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// About to change the target's settings.
    SettingsSaved,
    /// About to send REPLICAOF: from here on a crash needs [`roll_back`](super::rollback::roll_back).
    Switched,
    /// The target follows us and refuses writes; nothing has been sent to it.
    Refusing,
    /// The target connected and proved to be the target, and nothing speaks against sending.
    Connected,
    /// The target is being sent the data.
    Streaming {
        /// Bytes written so far.
        sent: u64,
        /// Bytes expected in all, where the caller said so.
        total: Option<u64>,
    },
    /// The target has loaded the snapshot: the old data is gone, and is being freed.
    Loaded,
    /// The target is being sent the commands behind the snapshot.
    Replaying {
        /// Bytes written so far.
        sent: u64,
        /// Bytes that the target says it has applied; 0 before it was asked.
        applied: u64,
    },
    /// The target is its own master again.
    Promoted,
    /// The target's settings are as they were.
    Restored,
}

/// Options of a restore by replication.
#[derive(Debug, Clone)]
pub struct MasterOptions {
    /// Address to listen on. By default the local address of this program's own connection to the target.
    pub bind: Option<IpAddr>,
    /// Port to listen on; 0 takes a random free one.
    pub port: u16,
    /// Host and port that the target is told to follow, where address translation needs others. The peer's address is then
    /// not checked.
    pub announce: Option<(String, Option<u16>)>,
    /// Whether a target that is reached by TLS may be sent its data all the same: what it fetches as a replica is not encrypted.
    pub allow_plain: bool,
    /// Time limit of each connection to the target, and of each command.
    pub command_within: Duration,
    /// Time within which the target must have connected.
    pub connect_within: Duration,
    /// Longest time without progress while sending, and without a sign of life while the target loads.
    pub stall: Duration,
    /// Longest time for which a target may free none of its old data before it is promoted with its memory limit out of force.
    pub free_stall: Duration,
    /// How long a promoted target may hold more than the memory limit that was put out of force for it.
    pub limit_back_within: Duration,
    /// How long to try to roll the target's role and settings back when the transfer is over.
    pub rollback_within: Duration,
    /// How long to try a target that refuses connections: its process has ended, unless somebody starts it again at once.
    pub gone_after: Duration,
    /// Size of the data in bytes, for progress only.
    pub total: Option<u64>,
}

impl Default for MasterOptions {
    fn default() -> Self {
        Self {
            bind: None,
            port: 0,
            announce: None,
            allow_plain: false,
            command_within: Duration::from_secs(15),
            connect_within: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            free_stall: Duration::from_secs(FREE_STALL_SECONDS),
            limit_back_within: Duration::from_secs(60),
            rollback_within: Duration::from_secs(60),
            gone_after: Duration::from_secs(3),
            total: None,
        }
    }
}

/// What is needed to roll a target's role and settings back. Plain data, so that it can be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackRecord {
    /// The target's original settings.
    pub settings: Settings,
    /// What the restore set in their place.
    pub set_by_us: SetByUs,
    /// The host that the target is told to follow.
    pub host: String,
    /// The port that the target is told to follow.
    pub port: u16,
    /// The replication id under which the target gets the data: a target with this id has loaded the data.
    pub replid: String,
    /// The target's `run_id`: another one means that the target has restarted.
    pub run_id: String,
}

impl RollbackRecord {
    /// Whether a target follows this program, by the address that it was told.
    pub(super) fn is_followed_by(&self, facts: &ServerFacts) -> bool {
        facts.master.as_ref().is_some_and(|link| link.host == self.host && link.port == self.port)
    }
}

/// A target right after REPLICAOF, read on the very connection that sent it. The target takes no write any more, so this is its last
/// state under its old data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The target's `run_id`.
    pub run_id: String,
    /// The replication id of the target's own history.
    pub replication_id: String,
    /// The target's position in that history, behind its very last write.
    pub offset: u64,
    /// Write commands since the target's statistics began; `None` where the user may not ask.
    pub write_calls: Option<u64>,
    /// Keys evicted since the target's statistics began.
    pub evicted_keys: u64,
    /// Keys whose expiry passed, since the target's statistics began.
    pub expired_keys: u64,
    /// Most removals of the target's own since then: expiries of keys and fields, and evictions.
    pub removed: u64,
}

/// A stream of which the target has applied every byte, and refused no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Bytes of the stream, with our own signs of life.
    pub bytes: u64,
}

/// A restore that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Bytes of the snapshot that were sent, without the end mark.
    pub sent: u64,
    /// The stream behind the snapshot; `None` where there was none.
    pub replayed: Option<Replayed>,
    /// The address from which the target connected.
    pub peer: SocketAddr,
    /// The target as it was when it refused writes and still had its old data.
    pub switched: Switched,
    /// Keys per database, and keys with an expiry, read before clients could write again; `None` where the target did not tell.
    pub loaded: Option<BTreeMap<u64, (u64, u64)>>,
}
