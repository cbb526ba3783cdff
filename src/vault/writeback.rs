//! The file of a data object while it is written: synced to the disk part by part, so that the last sync need not wait for all.

use crate::vault::store::Upload;
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes synced together.
const PART: u64 = 16 << 20;

/// A file being written, synced part by part. Left alone the kernel begins to write after half a minute, and the last fsync
/// of a capture would wait for all of the data.
pub(super) struct Writeback {
    file: File,
    /// Bytes written since the last sync was requested.
    filled: u64,
    sync_request: SyncSender<()>,
    /// Ends when `sync_request` is dropped. Its file shares one description with `file`, so an error of the disk is reported
    /// to whichever syncs first: this thread's result must be checked.
    syncing: JoinHandle<io::Result<()>>,
}

impl Writeback {
    /// Takes a new, empty file.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let (sync_request, requests) = sync_channel::<()>(1);
        let same = file.try_clone()?;
        let syncing = std::thread::Builder::new()
            .name("writeback".into())
            .spawn(move || requests.iter().try_for_each(|()| same.sync_data()))?;
        Ok(Self { file, filled: 0, sync_request, syncing })
    }
}

impl Write for Writeback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.filled += n as u64;
        if self.filled >= PART {
            self.filled = 0;
            // A sync under way leaves these bytes to the next one; a sync that failed says so at the end.
            let _ = self.sync_request.try_send(());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for Writeback {
    fn finish(self: Box<Self>) -> io::Result<()> {
        drop(self.sync_request);
        self.syncing.join().map_err(|_| io::Error::other("the thread that syncs data to the disk died"))??;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    //! The file holds the bytes written, whatever the sizes of the writes.
    use super::{PART, Writeback};
    use crate::vault::store::Upload as _;
    use std::fs::File;
    use std::io::Write as _;

    #[test]
    fn written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        for len in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 12_345] {
            let bytes: Vec<u8> = (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let mut file = Box::new(Writeback::new(File::create(&path).unwrap()).unwrap());
            for piece in bytes.chunks(700_001) {
                file.write_all(piece).unwrap();
            }
            file.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }
}
