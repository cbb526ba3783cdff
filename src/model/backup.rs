//! A backup set: one consistent moment of one instance, whole and verified, or it does not exist.

use crate::model::instance::Counts;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Who asked for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A person or an agent asked.
    Manual,
    /// The guard took it before a restore, so that the restore can be undone.
    Safety,
    /// A policy asked.
    Automated,
}

impl Mode {
    /// The word in manifests and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Safety => "safety",
            Self::Automated => "automated",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Manual, Self::Safety, Self::Automated].into_iter().find(|m| m.as_str() == word)
    }
}

/// How a set came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Captured from a running server.
    Capture {
        /// The server that gave the data: the instance itself, or the replica named for it. Without credentials; empty where
        /// that was not written down.
        address: String,
    },
    /// Read from a file that somebody handed in.
    Import {
        /// The file's name.
        file: String,
        /// SHA-256 of the file as it was handed in.
        sha256: String,
    },
    /// Copied from another set.
    Copy {
        /// The instance that set belongs to.
        instance_id: String,
        /// The other set.
        backup_id: String,
    },
}

/// What is known of a set. What its provider does not tell is empty: the cloud tells neither checksum nor what is in a set.
#[derive(Debug, Clone)]
pub struct BackupSet {
    /// Its id.
    pub id: String,
    /// The instance it was taken from.
    pub instance_id: String,
    /// Who asked.
    pub mode: Mode,
    /// Free text of who asked; cleaned when it came in.
    pub note: String,
    /// `redis` or `valkey`.
    pub engine: String,
    /// The source server's version.
    pub version: String,
    /// The source's run id: which process wrote it.
    pub run_id: String,
    /// Replication id at the moment captured.
    pub replication_id: String,
    /// Replication offset at the moment captured.
    pub replication_offset: u64,
    /// The source's count of write commands read just before the moment captured; `None` where it could not be read.
    pub write_calls: Option<u64>,
    /// When the capture began. The moment captured is not before it.
    pub started_at: Timestamp,
    /// When the set was whole on the vault.
    pub finished_at: Timestamp,
    /// RDB format version.
    pub rdb_version: u16,
    /// Bytes of the RDB.
    pub rdb_bytes: u64,
    /// SHA-256 of the RDB, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes on the vault.
    pub stored_bytes: u64,
    /// Keys per database.
    pub counts: Counts,
    /// Function libraries.
    pub functions: u64,
    /// Memory the source used, as the RDB says; 0 when it does not.
    pub used_memory: u64,
    /// Keys per RDB value type.
    pub types: BTreeMap<u8, u64>,
    /// Until when it is kept; `None` for ever.
    pub expires_at: Option<Timestamp>,
    /// Until when nobody may delete it, whatever its expiry and whoever agrees; `None`: it is not locked.
    pub locked_until: Option<Timestamp>,
    /// How it came to be.
    pub origin: Origin,
    /// The server version that was announced to the source as our own, which decides what format it writes; `None` where none
    /// was.
    pub announced_version: Option<String>,
}

/// A set whose manifest or data cannot be read: named, never passed over.
#[derive(Debug, Clone)]
pub struct DamagedSet {
    /// The id its folder carries.
    pub id: String,
    /// File and reason.
    pub reason: String,
}
