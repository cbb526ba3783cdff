//! A job: long work that outlives the call which started it.

use jiff::Timestamp;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Captures a backup set.
    Backup,
    /// Overwrites an instance with a set.
    Restore,
    /// Makes a new instance from a set.
    Clone,
}

impl JobKind {
    /// The word stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Clone => "clone",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Backup, Self::Restore, Self::Clone].into_iter().find(|k| k.as_str() == word)
    }

    /// What ids of such jobs begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Backup => "bj",
            Self::Restore => "rj",
            Self::Clone => "cj",
        }
    }
}

/// Stages that others than people read.
pub mod stage {
    /// Nothing has been done yet.
    pub const STARTING: &str = "starting";
    /// The server that is backed up has been asked, and has not begun to send.
    pub const FORKING: &str = "waiting for the source to fork";
    /// What the stage of a running job begins with whose process died, while it cannot be settled.
    pub const INTERRUPTED: &str = "interrupted";
    /// Part of the stage of a restore that failed, or whose process died, while its target could not be asked.
    pub const UNSETTLED: &str = "unsettled";
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Some process works on it.
    Running,
    /// Done, result durable.
    Succeeded,
    /// Over without result; `code` and `message` say why.
    Failed,
}

impl JobStatus {
    /// The word stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A job as stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// To which instance.
    pub instance_id: String,
    /// The set it makes or restores. For a backup the set exists only once the job has succeeded; empty until then where
    /// the place it is made in gives out the id.
    pub backup_id: String,
    /// Where it stands.
    pub status: JobStatus,
    /// What it is doing now, in a few words.
    pub stage: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 while unknown.
    pub total: u64,
    /// Stable code of a failure; empty otherwise.
    pub code: String,
    /// What happened, for the reader.
    pub message: String,
    /// The next step.
    pub hint: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// Whether its process is gone, or gave up, and what it left behind waits to be settled.
    #[must_use]
    pub fn needs_reconciliation(&self) -> bool {
        match self.status {
            JobStatus::Running => self.stage.starts_with(stage::INTERRUPTED),
            JobStatus::Failed => self.stage.contains(stage::UNSETTLED),
            JobStatus::Succeeded => false,
        }
    }

    /// Share done between 0 and 1, when it can be known.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        match self.status {
            JobStatus::Succeeded => Some(1.0),
            _ if self.total == 0 => None,
            #[expect(clippy::cast_precision_loss, reason = "a share shown in per cent")]
            _ => Some((self.done as f64 / self.total as f64).min(1.0)),
        }
    }
}
