//! What a source sends, on its way from the socket's task to the thread that ingests it: chunks whose memory goes round.

use std::io::{self, Read};
use tokio::sync::mpsc;

/// Bytes handed over at once.
pub const CHUNK: usize = 256 << 10;
/// Chunks on their way.
const IN_FLIGHT: usize = 8;

/// Received bytes, and the room for more.
#[derive(Default)]
pub struct Chunk {
    /// Always `CHUNK` long, but for the reader's first.
    bytes: Vec<u8>,
    /// So many of them count.
    pub filled: usize,
}

impl Chunk {
    fn empty() -> Self {
        Self { bytes: vec![0; CHUNK], filled: 0 }
    }

    /// Where the next bytes go.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }
}

/// The end of the channel that chunks go into.
pub struct Sink {
    tx: mpsc::Sender<Chunk>,
    spare: mpsc::UnboundedReceiver<Chunk>,
}

/// The received chunks as a blocking reader. They go back when they are read.
pub struct Feed {
    rx: mpsc::Receiver<Chunk>,
    returned: mpsc::UnboundedSender<Chunk>,
    chunk: Chunk,
    used: usize,
}

/// Both ends of a channel whose chunks go round.
pub fn channel() -> (Sink, Feed) {
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    let (returned, spare) = mpsc::unbounded_channel();
    (Sink { tx, spare }, Feed { rx, returned, chunk: Chunk::default(), used: 0 })
}

impl Sink {
    /// Room for the next bytes. Memory that has been used costs neither zeroes nor page faults.
    pub fn next(&mut self) -> Chunk {
        self.spare.try_recv().unwrap_or_else(|_| Chunk::empty())
    }

    /// Hands a chunk over. `false`: nobody reads any more.
    pub async fn send(&self, chunk: Chunk) -> bool {
        self.tx.send(chunk).await.is_ok()
    }

    /// Comes back once nobody reads any more.
    pub async fn closed(&self) {
        self.tx.closed().await;
    }
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.filled {
            let Some(next) = self.rx.blocking_recv() else { return Ok(0) };
            let bytes = std::mem::replace(&mut self.chunk, next).bytes;
            self.used = 0;
            if !bytes.is_empty() {
                // After the last chunk nobody wants one back.
                let _ = self.returned.send(Chunk { bytes, filled: 0 });
            }
        }
        let mut rest = self.chunk.bytes.get(self.used..self.chunk.filled).unwrap_or_default();
        let n = rest.read(buf)?;
        self.used += n;
        Ok(n)
    }
}
