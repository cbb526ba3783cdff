//! A backup set as a stream: its plain RDB, piece by piece, for whoever passes it on.
//!
//! Bounded: a few pieces are on their way however large the set and however slow the reader. What comes to its end is whole:
//! the last piece comes only when the checksum over all of them is the set's. A reader that drops the stream ends the work
//! behind it.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// Pieces on their way to the reader.
const IN_FLIGHT: usize = 2;

/// A set's RDB, read from its beginning.
#[derive(Debug)]
pub struct SetStream(mpsc::Receiver<Result<Vec<u8>, Fault>>);

impl SetStream {
    /// A stream, and the end that its pieces are given to.
    #[must_use]
    pub fn of(set: &BackupSet) -> (Self, SetSink) {
        let (to, from) = mpsc::channel(IN_FLIGHT);
        let sink =
            SetSink { to, bytes: set.rdb_bytes, sha256: set.sha256.clone(), seen: 0, sha: Sha256::new(), last: None };
        (Self(from), sink)
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// `backup.damaged`, instead of the last piece. Nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        self.0.recv().await.transpose()
    }
}

/// The reader is gone, so there is no use in reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Takes the pieces of a set in their order. Blocking: for a thread of its own.
#[derive(Debug)]
pub struct SetSink {
    to: mpsc::Sender<Result<Vec<u8>, Fault>>,
    /// Length of the whole RDB, as the set says.
    bytes: u64,
    /// Checksum of the whole RDB, as the set says.
    sha256: String,
    /// Length of the pieces so far.
    seen: u64,
    sha: Sha256,
    /// Held back until another piece, or the right checksum, follows it.
    last: Option<Vec<u8>>,
}

impl SetSink {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn push(&mut self, piece: Vec<u8>) -> Result<(), Gone> {
        self.sha.update(&piece);
        self.seen += piece.len() as u64;
        match self.last.replace(piece) {
            Some(earlier) => self.to.blocking_send(Ok(earlier)).map_err(|_| Gone),
            None => Ok(()),
        }
    }

    /// Ends the stream: with the last piece where all of them are what the set says, else with what `damaged` makes of why
    /// they are not.
    pub fn finish(self, damaged: impl FnOnce(String) -> Fault) {
        let Self { to, bytes, sha256, seen, sha, last } = self;
        let end = if seen != bytes {
            Err(damaged(format!("the data has {seen} bytes, its manifest says {bytes}")))
        } else if hex(&sha.finalize()) != sha256 {
            Err(damaged("the data is not what its manifest says".into()))
        } else {
            Ok(last)
        };
        // The reader may be gone.
        let _ = match end {
            Ok(None) => Ok(()),
            Ok(Some(piece)) => to.blocking_send(Ok(piece)),
            Err(fault) => to.blocking_send(Err(fault)),
        };
    }

    /// Ends the stream with a failure.
    pub fn fail(self, fault: Fault) {
        let _ = self.to.blocking_send(Err(fault));
    }
}
