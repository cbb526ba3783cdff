//! What a download comes to: a file, or a url for somebody who fetches it himself.

use crate::model::secret::Secret;
use jiff::Timestamp;

/// A file that a download made or found.
#[derive(Debug, Clone)]
pub struct Downloaded {
    /// Bytes of the RDB.
    pub bytes: u64,
    /// SHA-256 of the RDB, in hexadecimal.
    pub sha256: String,
    /// The RDB's format version.
    pub rdb_version: u16,
    /// The file was there already, equal to the byte.
    pub already_there: bool,
    /// Bytes that the list gives for the file, where that is another number.
    pub listed_bytes: Option<u64>,
}

/// A URL that lets whoever has it read a backup, for a while.
#[derive(Debug, Clone)]
pub struct SignedUrl {
    /// The URL, a secret.
    pub url: Secret,
    /// Until when the URL works, where it says so.
    pub expires_at: Option<Timestamp>,
}

/// Called with how far a piece of work is: done and total, in bytes.
pub type OnBytes = dyn Fn(u64, u64) + Send + Sync;
