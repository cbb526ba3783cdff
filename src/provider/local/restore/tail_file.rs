//! The file of a tail: what comes of the stream is appended, as far as the configuration lets it and the disk has room.
//!
//! It must not fill its disk, which the state store writes to as well, and must not hold back whoever reads the stream for want of room:
//! what does not fit is dropped, and from then on nothing is called kept.

use crate::config::durable;
use crate::model::text;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};

/// Bytes between two looks at the room that is left on the disk.
const LOOK_EVERY: u64 = 1 << 20;
/// Bytes that may wait for the disk: what is left of them at the cutover is written while writers are refused.
const SYNC_EVERY: u64 = 64 << 20;

/// What is on its way to the disk.
#[derive(Debug)]
pub(super) enum Piece {
    /// A piece of the stream.
    Bytes(Vec<u8>),
    /// Syncs the file and says why it is not whole, where it is not. The configured limit does not hold from here on.
    Keep(oneshot::Sender<Result<(), String>>),
    /// The configured limit holds again.
    Limit,
}

/// The file of a tail, which is made with its first byte.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes in the file.
    len: u64,
    /// Of these, bytes since room was looked at, and since the file was synced.
    unlooked: u64,
    unsynced: u64,
    /// Most bytes in the file, where that holds.
    most: u64,
    is_limited: bool,
    /// Why it does not hold all that came, as part of a sentence.
    lost: Option<String>,
}

/// Keeps what comes, until nobody sends any more. `lost` hears at once why the file does not hold all of it. Blocking.
///
/// # Errors
/// Why the file does not hold all of it, as part of a sentence.
pub(super) fn write(
    mut file: KeptFile,
    mut pieces: mpsc::Receiver<Piece>,
    lost: &watch::Sender<Option<String>>,
) -> Result<(), String> {
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => {
                let whole = file.lost.is_none();
                file.take(&bytes);
                if whole && file.lost.is_some() {
                    lost.send_replace(file.lost.clone());
                }
            }
            Piece::Keep(tell) => {
                // Who no longer waits has ended.
                let _ = tell.send(file.keep());
                file.is_limited = false;
            }
            Piece::Limit => file.is_limited = true,
        }
    }
    file.keep()
}

impl KeptFile {
    /// The file at a path that no file has. Touches nothing yet.
    pub(super) const fn new(path: PathBuf, most: u64) -> Self {
        Self { path, file: None, len: 0, unlooked: LOOK_EVERY, unsynced: 0, most, is_limited: true, lost: None }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.lost.is_none() {
            self.lost = self.append(bytes).err();
        }
    }

    /// Why not all that came is on the disk; where it is, it would be there after a power cut.
    fn keep(&mut self) -> Result<(), String> {
        if self.lost.is_none() {
            self.lost = self.sync().err();
        }
        self.lost.clone().map_or(Ok(()), Err)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        let more = bytes.len() as u64;
        if self.is_limited && self.len.saturating_add(more) > self.most {
            return Err(format!("they are more than the {} that guard.tail_megabytes allows", text::bytes(self.most)));
        }
        if self.unlooked >= LOOK_EVERY {
            self.unlooked = 0;
            // A disk that does not tell is written to until it refuses.
            let free = self.path.parent().and_then(|dir| durable::free(dir).ok());
            if let Some(free) = free.filter(|free| *free < durable::RESERVE + LOOK_EVERY) {
                return Err(format!("the disk of the home directory has {} left", text::bytes(free)));
            }
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(durable::private_file(&self.path).map_err(refused)?),
        };
        if let Err(e) = file.write_all(bytes) {
            // What stands there of a piece that did not fit is none of the stream.
            let _ = file.set_len(self.len);
            return Err(refused(e));
        }
        (self.len, self.unlooked, self.unsynced) = (self.len + more, self.unlooked + more, self.unsynced + more);
        if self.unsynced >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), String> {
        self.unsynced = 0;
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data().map_err(refused))
    }
}

fn refused(e: std::io::Error) -> String {
    format!("the disk of the home directory takes no more: {e}")
}

#[cfg(test)]
mod tests {
    //! What is past the bound is not kept, and that is said; the file holds whole pieces from the start. Behind the look at the
    //! cutover nothing is dropped for being too much, until the bound holds again.
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        for (most, whole, kept) in [(8, true, "abcdefgh"), (7, false, "abcde"), (0, false, "")] {
            for looked_at in [false, true] {
                let path = dir.path().join(format!("{most} {looked_at}"));
                let (pieces, to_write) = mpsc::channel(8);
                let (lost, _) = watch::channel(None);
                let send = |piece: &str| pieces.try_send(Piece::Bytes(piece.into())).unwrap();
                ["abc", "de", "fgh"].into_iter().for_each(send);
                if looked_at {
                    let (tell, mut told) = oneshot::channel();
                    pieces.try_send(Piece::Keep(tell)).unwrap();
                    send("more");
                    // As behind a look at the first of some keys.
                    pieces.try_send(Piece::Limit).unwrap();
                    send("too much");
                    drop(pieces);
                    assert!(write(KeptFile::new(path.clone(), most), to_write, &lost).is_err(), "{most}");
                    assert_eq!(told.try_recv().unwrap().is_ok(), whole, "{most}");
                } else {
                    drop(pieces);
                    assert_eq!(write(KeptFile::new(path.clone(), most), to_write, &lost).is_ok(), whole, "{most}");
                    assert_eq!(lost.borrow().is_none(), whole, "{most}");
                }
                let more = if whole && looked_at { "more" } else { "" };
                assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), format!("{kept}{more}"), "{most}");
            }
        }
    }

    /// What cannot be written is said, and another file is not taken for the tail's.
    #[test]
    fn a_disk_that_refuses_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there");
        std::fs::write(&path, "of somebody else").unwrap();
        let mut file = KeptFile::new(path.clone(), 100);
        file.take(b"abc");
        assert!(file.keep().unwrap_err().contains("takes no more"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "of somebody else");
    }
}
