//! Data objects: frames at the level that fits their data, read by ranges from any store.

use crate::support::Dice;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};
use tair_backup_mcp::vault::frames::{FrameReader, FrameWriter};
use tair_backup_mcp::vault::store::Ranges;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// What is written is what is read, through changes of the level; text behind noise is compressed as well as text alone; noise
/// takes no more room than it has.
#[test]
fn frames_fit_their_data() {
    let mut dice = Dice::new("frames_fit_their_data");
    let noise: Vec<u8> = (0..3 * MIB + 7).map(|_| (dice.share() * 255.0) as u8).collect();
    let line = |n: usize| format!("{{\"id\":{n},\"user\":\"u{}\",\"cart\":[{},{}]}}\n", n % 97, n * 7 % 1009, n % 13);
    let text: Vec<u8> = (0..200_000).flat_map(|n| line(n).into_bytes()).take(6 * MIB).collect();
    let write = |parts: &[&[u8]]| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("data");
        let mut frames = FrameWriter::new(File::create(&path).unwrap()).unwrap();
        parts.iter().for_each(|part| frames.push(part).unwrap());
        let (_, bytes) = frames.finish().unwrap();
        let mut read = Vec::new();
        FrameReader::new(Arc::new(File::open(&path).unwrap()), parts.concat().len() as u64)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(read == parts.concat(), "what is read is not what was written");
        usize::try_from(bytes).unwrap()
    };
    let (alone, hard) = (write(&[&text]), write(&[&noise]));
    assert!(hard < noise.len() + noise.len() / 100, "{hard}");
    assert!(alone < text.len() / 2, "{alone}");
    let mixed = write(&[&noise, &text, &noise]);
    // The first frame of each kind is still at the other's level, and two frames are of both kinds.
    assert!(mixed < alone + 2 * hard + MIB, "{mixed}: {alone} and twice {hard}");
}

/// An object that serves ranges and remembers which.
struct Served {
    bytes: Vec<u8>,
    requests: Mutex<Vec<(u64, usize)>>,
}

impl Ranges for Served {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.requests.lock().unwrap().push((offset, buf.len()));
        let start = usize::try_from(offset).unwrap();
        let range = self.bytes.get(start..start + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(range);
        Ok(())
    }
}

/// A data object is read by ranges alone, in requests that a store charges for one by one: its end, its seek table, and each frame
/// once. A cut object is refused before any frame is read.
#[test]
fn read_by_ranges() {
    let mut dice = Dice::new("read_by_ranges");
    let noise: Vec<u8> = (0..4 * MIB + 3).map(|_| (dice.share() * 255.0) as u8).collect();
    let mut frames = FrameWriter::new(Vec::new()).unwrap();
    frames.push(&noise).unwrap();
    let (bytes, stored) = frames.finish().unwrap();
    assert_eq!(bytes.len() as u64, stored);
    let served = Arc::new(Served { bytes: bytes.clone(), requests: Mutex::default() });
    let mut read = Vec::new();
    FrameReader::new(Arc::clone(&served) as _, noise.len() as u64).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == noise, "what is read is not what was written");
    let mut requests = served.requests.lock().unwrap().clone();
    requests.sort_unstable();
    // Five frames; then the table, whose last nine bytes were read by themselves.
    assert_eq!(requests.len(), 5 + 2, "{requests:?}");
    let mut at = 0;
    for (offset, len) in &requests[..5] {
        assert_eq!(*offset, at, "{requests:?}");
        at += *len as u64;
    }
    for cut in [1, 9, 60, bytes.len() - 1] {
        let cut = Arc::new(Served { bytes: bytes[..bytes.len() - cut].to_vec(), requests: Mutex::default() });
        assert_eq!(FrameReader::new(cut, noise.len() as u64).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    // A table of all the frames that can be told, in a file that has room for it and takes none, is not read, whatever the manifest says.
    let file = tempfile::tempfile().unwrap();
    let footer = [&u32::MAX.to_le_bytes()[..], &[0], &0x8F92_EAB1_u32.to_le_bytes()].concat();
    file.write_all_at(&footer, u64::from(u32::MAX) * 8 + 8).unwrap();
    let refused = FrameReader::new(Arc::new(file), u64::MAX).unwrap_err();
    assert!(
        refused.kind() == io::ErrorKind::InvalidData && refused.to_string().contains("4294967295 frames"),
        "{refused}"
    );
}
