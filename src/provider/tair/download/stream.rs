//! A set's file as it arrives from the cloud, read once and kept nowhere. Bounded: some pieces are on their way, however large the file is and
//! however slow whoever reads it.

use crate::config::blocking::blocking;
use crate::model::fault::{Fault, Kind};
use crate::provider::OnBytes;
use crate::provider::tair::download::source::Source;
use crate::provider::tair::download::transfer::{IN_FLIGHT, ToDisk, fetch_all};
use crate::redis::rdb::error::RdbError;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// A file that arrives. Reading it blocks. It comes to its end only where the transfer has.
#[derive(Debug)]
pub struct Arriving {
    from: mpsc::Receiver<ToDisk>,
    /// Whether all has been sent, so that there is an end where nobody sends any more.
    whole: Arc<AtomicBool>,
    piece: Vec<u8>,
    /// Bytes of the piece that were read, or are passed over.
    used: usize,
    /// Bytes of the file that have come so far, each counted once.
    come: u64,
    /// Bytes that come again, because the transfer was begun anew.
    again: u64,
}

impl Arriving {
    fn new(from: mpsc::Receiver<ToDisk>) -> Self {
        Self { from, whole: Arc::default(), piece: Vec::new(), used: 0, come: 0, again: 0 }
    }
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut rest = self.piece.get(self.used..).unwrap_or_default();
            if !rest.is_empty() {
                let n = rest.read(buf)?;
                self.used += n;
                return Ok(n);
            }
            match self.from.blocking_recv() {
                Some(ToDisk::Piece(piece)) => {
                    let bytes = piece.len() as u64;
                    let passed_over = self.again.min(bytes);
                    self.again -= passed_over;
                    self.come += bytes - passed_over;
                    (self.piece, self.used) = (piece, usize::try_from(passed_over).unwrap_or(usize::MAX));
                }
                Some(ToDisk::Cut(at)) => self.again = self.come.saturating_sub(at),
                None if self.whole.load(Ordering::Acquire) => return Ok(0),
                None => return Err(io::Error::other("the transfer has ended before the file did")),
            }
        }
    }
}

/// Reads a set's file from the cloud with `look`, which must read it to its end unless it has found a fault: what that has found, or what is
/// wrong with the file.
///
/// # Errors
/// What the transfer fails with: `download.interrupted`, `download.no_url`, `backup.not_found`, `backup.damaged`, and what listing fails with.
pub async fn read_once<T: Send + 'static>(
    source: &Source<'_>,
    on_bytes: &OnBytes,
    look: impl FnOnce(Arriving) -> Result<T, RdbError> + Send + 'static,
) -> Result<Result<T, RdbError>, Fault> {
    let mut shard = source.shard().await?;
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    let arriving = Arriving::new(rx);
    let whole = Arc::clone(&arriving.whole);
    let looking = tokio::spawn(blocking(move || Ok(look(arriving))));
    let mut done = 0;
    let fetched = fetch_all(source, &mut shard, &mut done, &tx, on_bytes).await;
    whole.store(fetched.is_ok(), Ordering::Release);
    drop(tx);
    let looked =
        looking.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))??;
    match looked {
        // Whoever has found a fault reads no further, and that ends the transfer.
        Err(e) if !matches!(e, RdbError::Source { .. }) => Ok(Err(e)),
        looked => fetched.map(|()| looked),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! What comes again is passed over, and what was cut off has no end.
    use super::{Arriving, ToDisk};
    use std::io::Read as _;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    fn read(steps: Vec<ToDisk>, whole: bool) -> (Vec<u8>, bool) {
        let (tx, rx) = tokio::sync::mpsc::channel(steps.len() + 1);
        steps.into_iter().for_each(|step| tx.try_send(step).unwrap());
        let mut arriving = Arriving::new(rx);
        Arc::clone(&arriving.whole).store(whole, Ordering::Release);
        drop(tx);
        let mut read = Vec::new();
        let ended = arriving.read_to_end(&mut read).is_ok();
        (read, ended)
    }

    #[test]
    fn a_transfer_that_is_begun_anew_is_one_file() {
        let piece = |bytes: &[u8]| ToDisk::Piece(bytes.to_vec());
        let anew = || vec![piece(b"abc"), ToDisk::Cut(0), piece(b"ab"), piece(b"cde"), ToDisk::Cut(4), piece(b"efg")];
        assert_eq!(read(anew(), true), (b"abcdefg".to_vec(), true));
        assert_eq!(read(anew(), false), (b"abcdefg".to_vec(), false));
        // Begun anew twice before it was as far again.
        let twice = vec![piece(b"abcd"), ToDisk::Cut(0), piece(b"ab"), ToDisk::Cut(0), piece(b"abcdef")];
        assert_eq!(read(twice, true), (b"abcdef".to_vec(), true));
        assert_eq!(read(Vec::new(), true), (Vec::new(), true));
    }
}
