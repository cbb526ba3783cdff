//! An object on its way to a bucket: in one request where it is small, else in parts, a few at a time.
//!
//! It must not hold more than those parts, whatever is written; and what is not finished leaves nothing behind.

use crate::vault::bucket::client::Client;
use crate::vault::bucket::putting::Parts;
use crate::vault::bucket::thread::wait;
use crate::vault::store::Upload;
use std::io::{self, Write};
use std::sync::Arc;

/// Bytes of a part. An object has ten thousand at most, so they grow with it: a fifth of them doubles the size.
const PART: usize = 5 << 20;
const PARTS_OF_A_SIZE: u32 = 2000;
const DOUBLED_AT_MOST: u32 = 4;

/// The size of the part with that number.
fn part_bytes(number: u32) -> usize {
    PART << (number / PARTS_OF_A_SIZE).min(DOUBLED_AT_MOST)
}

/// An object that is being written.
pub(super) struct Uploading {
    client: Arc<Client>,
    name: String,
    /// The part that is being filled.
    filling: Vec<u8>,
    sent: u32,
    /// None while all fits into one part.
    parts: Option<Parts>,
    /// Whether something that was written did not go up: then there is nothing to finish.
    failed: bool,
}

impl Uploading {
    pub const fn new(client: Arc<Client>, name: String) -> Self {
        Self { client, name, filling: Vec::new(), sent: 0, parts: None, failed: false }
    }

    fn whole(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("a part of it did not go up")) } else { Ok(()) }
    }

    /// Sends the part that is full.
    fn send(&mut self) -> io::Result<()> {
        let (client, name) = (Arc::clone(&self.client), self.name.clone());
        let (begun, bytes) = (self.parts.take(), std::mem::take(&mut self.filling));
        let sent = wait(async move {
            let mut parts = match begun {
                Some(parts) => parts,
                None => client.begin(&name).await?,
            };
            let sent = parts.part(bytes).await;
            Ok((parts, sent))
        });
        let sent = sent.and_then(|(parts, sent)| {
            self.parts = Some(parts);
            sent
        });
        self.failed |= sent.is_err();
        self.sent += 1;
        sent
    }
}

impl Write for Uploading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.whole()?;
        // Only when more comes: what fits into one part goes in one request.
        if self.filling.len() >= part_bytes(self.sent) {
            self.send()?;
        }
        let size = part_bytes(self.sent);
        if self.filling.capacity() == 0 {
            // A buffer that grew would leave its smaller ones behind it. What is not written to takes no memory.
            self.filling.reserve_exact(size);
        }
        let n = bytes.len().min(size - self.filling.len());
        self.filling.extend_from_slice(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Uploading {
    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.whole()?;
        let (client, last) = (Arc::clone(&self.client), std::mem::take(&mut self.filling));
        let Some(mut parts) = self.parts.take() else {
            let name = std::mem::take(&mut self.name);
            return wait(async move { client.put(&name, last).await });
        };
        wait(async move {
            if let Err(e) = parts.part(last).await {
                parts.abort().await;
                return Err(e);
            }
            parts.close(&client).await
        })
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take() {
            // Where this fails too, the bucket's own rule for unfinished uploads takes it.
            let _ = wait(async move {
                parts.abort().await;
                Ok(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    //! An object of hundreds of gigabytes fits into the parts that it may have.
    use super::part_bytes;

    #[test]
    fn parts_grow_with_the_object() {
        assert_eq!([0, 1999, 2000, 9999].map(part_bytes), [5 << 20, 5 << 20, 10 << 20, 80 << 20]);
        let all: u64 = (0..10_000).map(|n| part_bytes(n) as u64).sum();
        assert!(all > 300 << 30, "{all}");
    }
}
