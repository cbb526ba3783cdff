//! The vault by itself: frames at the level that fits their data, and what crashes leave of deleted sets.

use crate::support::{Bench, Dice, Redis};
use std::fs::File;
use std::io::Read as _;
use tair_backup_mcp::vault::frames::{FrameReader, FrameWriter};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// What is written is what is read, through changes of the level; text behind noise is compressed as well as text alone; noise
/// takes no more room than it has.
#[test]
fn frames_fit_their_data() {
    let mut dice = Dice::new("frames_fit_their_data");
    let noise: Vec<u8> = (0..3 * MIB + 7).map(|_| (dice.share() * 255.0) as u8).collect();
    let line = |n: usize| format!("{{\"id\":{n},\"user\":\"u{}\",\"cart\":[{},{}]}}\n", n % 97, n * 7 % 1009, n % 13);
    let words: Vec<u8> = (0..200_000).flat_map(|n| line(n).into_bytes()).take(6 * MIB).collect();
    let write = |parts: &[&[u8]]| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("data");
        let mut frames = FrameWriter::new(File::create(&path).unwrap()).unwrap();
        parts.iter().for_each(|part| frames.push(part).unwrap());
        let (_, bytes) = frames.finish().unwrap();
        let mut read = Vec::new();
        FrameReader::new(File::open(&path).unwrap()).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == parts.concat(), "what is read is not what was written");
        usize::try_from(bytes).unwrap()
    };
    let (alone, hard) = (write(&[&words]), write(&[&noise]));
    assert!(hard < noise.len() + noise.len() / 100, "{hard}");
    assert!(alone < words.len() / 2, "{alone}");
    let mixed = write(&[&noise, &words, &noise]);
    // The first frame of each kind is still at the other's level, and two frames are of both kinds.
    assert!(mixed < alone + 2 * hard + MIB, "{mixed}: {alone} and twice {hard}");
}

/// Files that a crash left of a deleted set go with the next look, and never list.
#[test]
fn what_is_left_of_deleted_sets_is_swept() {
    let redis = Redis::start("redis-7.0", &[]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let vault = bench.home().join("vault/orders");
    std::fs::create_dir(vault.join(".grave-b-20200101T000000Z-aaaaaa")).unwrap();
    std::fs::write(vault.join(".grave-b-20200101T000000Z-aaaaaa/data.rdb.zst"), "half deleted").unwrap();
    bench.jobs();
    assert_eq!(bench.drafts(), Vec::<std::path::PathBuf>::new());
    assert_eq!(bench.backups().len(), 1);
    assert!(vault.join(backup).is_dir());
}
