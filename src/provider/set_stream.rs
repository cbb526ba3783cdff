//! A backup set as a stream: its plain RDB, piece by piece, for whoever passes it on.
//!
//! Bounded: a few pieces are on their way however large the set and however slow the reader. What comes to its end is whole:
//! the last piece comes only when the checksum over all of them is the set's. A reader that drops the stream ends the work
//! behind it.

use crate::model::fault::{Fault, Kind};
use crate::model::ids::hex;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// Pieces on their way to the reader.
const IN_FLIGHT: usize = 2;

/// A set's RDB, read from its beginning.
#[derive(Debug)]
pub struct SetStream {
    from: mpsc::Receiver<Result<Vec<u8>, Fault>>,
    /// Bytes still to come.
    left: u64,
}

impl SetStream {
    /// The stream of an RDB of this length and SHA-256, and the end that its pieces are given to.
    #[must_use]
    pub fn new(bytes: u64, sha256: String) -> (Self, SetSink) {
        let (to, from) = mpsc::channel(IN_FLIGHT);
        (Self { from, left: bytes }, SetSink { to, bytes, sha256, seen: 0, sha: Sha256::new(), last: None })
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// `backup.damaged`, instead of the last piece; `job.crashed` where the thread that reads the set died.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.from.recv().await {
            Some(piece) => piece.map(|piece| {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(piece)
            }),
            // Must not look like an end.
            None if self.left > 0 => {
                Err(Fault::new(Kind::Unexpected, "job.crashed", "the thread that reads the set died"))
            }
            None => Ok(None),
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! The last piece comes only when all of them are right; a reader or a writer that goes is no end.
    use super::*;

    /// A stream of this data.
    fn stream(data: &[u8]) -> (SetStream, SetSink) {
        SetStream::new(data.len() as u64, hex(&Sha256::digest(data)))
    }

    fn damaged(why: String) -> Fault {
        Fault::new(Kind::Damaged, "backup.damaged", why)
    }

    /// All pieces that come, and whether the end was a good one.
    async fn read(mut stream: SetStream) -> (Vec<Vec<u8>>, Option<Kind>) {
        let mut pieces = Vec::new();
        loop {
            match stream.next().await {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => return (pieces, None),
                Err(fault) => return (pieces, Some(fault.kind)),
            }
        }
    }

    async fn sent(data: &[u8], pieces: &'static [&'static [u8]], finish: bool) -> (Vec<Vec<u8>>, Option<Kind>) {
        let (stream, mut sink) = stream(data);
        let writer = std::thread::spawn(move || {
            for piece in pieces {
                sink.push(piece.to_vec()).unwrap();
            }
            if finish {
                sink.finish(damaged);
            }
        });
        let read = read(stream).await;
        writer.join().unwrap();
        read
    }

    #[tokio::test]
    async fn what_ends_is_whole() {
        let all: &[&[u8]] = &[b"ab", b"cd", b"ef"];
        let (pieces, end) = sent(b"abcdef", all, true).await;
        assert_eq!((pieces.concat(), end), (b"abcdef".to_vec(), None));
        // Another byte, and another length.
        for other in [b"abcdxf".as_slice(), b"abcdefg"] {
            let (pieces, end) = sent(other, all, true).await;
            assert_eq!((pieces.concat(), end), (b"abcd".to_vec(), Some(Kind::Damaged)));
        }
        let (pieces, end) = sent(b"abcdef", all, false).await;
        assert_eq!((pieces.concat(), end), (b"abcd".to_vec(), Some(Kind::Unexpected)));
        assert_eq!(sent(b"", &[], true).await, (Vec::new(), None));
    }

    #[test]
    fn a_reader_that_is_gone_ends_the_work() {
        let (stream, mut sink) = stream(b"abcdef");
        drop(stream);
        assert_eq!(sink.push(b"ab".to_vec()), Ok(()));
        assert_eq!(sink.push(b"cd".to_vec()), Err(Gone));
    }
}
