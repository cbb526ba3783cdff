//! Facts about a restore to a moment: the commands of a log that are replayed behind a set, or why there is no such moment.

use jiff::Timestamp;

/// Commands that are replayed behind a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The log that the commands are from.
    pub log: ReplayedLog,
    /// The position behind the last command, which names log and offset.
    pub position: String,
    /// Number of commands.
    pub commands: u64,
    /// Bytes of the commands.
    pub bytes: u64,
    /// Names of commands in the range that the server which applies them does not know, cleaned.
    pub unknown: Vec<String>,
    /// The moment that the data is of, from which `time_shift` counts where no other is asked for.
    pub moment: Timestamp,
    /// Keys of the set whose expiry lies between that moment and now, at most; `None` where the set was not read.
    pub expiring: Option<u64>,
    /// Expiries between that moment and now that the commands set, at most; `None` where they were not counted.
    pub expiring_by_log: Option<u64>,
    /// The server of our own that applies the commands where the target cannot follow this program; `None` where the target applies them,
    /// an error where there is none, with what is lacking as part of a sentence.
    pub builder: Option<Result<Builder, String>>,
    /// Whether the server that applies the commands counts what it refuses of its master's commands.
    pub counts_refusals: bool,
}

/// A server of our own that a moment is built on, before it is written to the target by commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builder {
    /// What the program says that it is.
    pub program: String,
    /// Memory of this machine.
    pub memory: Room,
    /// Disk under the home.
    pub disk: Room,
}

/// Room that is needed, about, and room that is there, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What is needed.
    pub need: u64,
    /// What is free; `None` where the system does not tell.
    pub free: Option<u64>,
}

/// Where the commands of a replay are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayedLog {
    /// The instance's log.
    Archive {
        /// When the last command was received.
        at: Timestamp,
        /// Milliseconds within which the moment is known; 0 to the millisecond.
        precision_ms: u64,
        /// Number of commands behind the position, which are taken back.
        taken_back: u64,
        /// The first and the last moment that can be restored.
        window: Option<(Timestamp, Timestamp)>,
    },
    /// The tail of a restore: what was written behind its last safety backup, up to its cutover.
    Tail {
        /// Id of the restore's job.
        job_id: String,
    },
}

/// A moment that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMoment {
    /// Id of the instance that the log is of.
    pub instance_id: String,
    /// Where the instance is, without credentials.
    pub address: String,
    /// The moment or position that was asked for, as part of a sentence.
    pub asked: String,
    /// Why not, as part of a sentence.
    pub why: String,
    /// The nearest moment before it that can be restored.
    pub nearest_before: Option<Timestamp>,
    /// The nearest moment after it that can be restored.
    pub nearest_after: Option<Timestamp>,
}
