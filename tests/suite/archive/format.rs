//! What goes in comes out: however the stream is cut into pieces, its bytes are those of the segments, which begin and end between
//! transactions; and however large a command is, no more than a frame of it is held at once.

use super::*;
use std::collections::BTreeSet;
use tair_backup_mcp::archive::SegmentName;
use tair_backup_mcp::archive::segment::read::Segment;

fn opened(log: &Log) -> Vec<Segment> {
    let run = &log.coverage().runs[0];
    run.segments.iter().map(|name| Segment::open(&*log.vault().store(), &log.timeline, name).unwrap()).collect()
}

fn raw(segments: &[Segment]) -> Vec<u8> {
    segments
        .iter()
        .flat_map(|s| s.frames().iter().flat_map(|frame| s.frame(frame).unwrap()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_stream_comes_back_however_it_was_cut() {
    let mut dice = Dice::new("format");
    for (count, value_max, limit, piece_max) in
        [(60, 50, 1, 7), (400, 5000, 3000, 300), (900, 400_000, 700_000, 100_000), (40, 3_000_000, 1 << 20, 1_500_000)]
    {
        let log = Log::new();
        let mut writer = log.writer(limit);
        let made = transactions(&mut dice, count, value_max);
        let stream: Vec<u8> = made.iter().flat_map(|t| t.bytes.clone()).collect();
        let (mut left, mut ms) = (stream.as_slice(), T0);
        while !left.is_empty() {
            let (piece, rest) = left.split_at((1 + dice.below(piece_max)).min(left.len()));
            left = rest;
            ms += dice.below(3) as i64;
            put(&mut writer, piece, ms);
            if dice.below(50) == 0 {
                writer.sealer().seal().unwrap();
            }
        }
        seal(&mut writer);
        let end = FIRST + stream.len() as u64;
        assert_eq!((writer.offset(), writer.archived_until().unwrap().offset), (end, end));
        // What is left is the next file, which is empty.
        assert!(writer.spool_bytes() < 1000, "{} bytes stay", writer.spool_bytes());

        let coverage = log.coverage();
        assert!(coverage.holes.is_empty() && coverage.runs.len() == 1);
        let segments = opened(&log);
        assert!(raw(&segments) == stream, "other bytes");
        let boundaries: BTreeSet<u64> = made
            .iter()
            .scan(FIRST, |at, t| {
                *at += t.bytes.len() as u64;
                Some(*at)
            })
            .chain([FIRST])
            .collect();
        for segment in &segments {
            let name = SegmentName::parse(Path::new(segment.place()).file_name().unwrap().to_str().unwrap()).unwrap();
            assert!(boundaries.contains(&name.first) && boundaries.contains(&name.last), "{name} splits a transaction");
            for frame in segment.frames() {
                assert!(frame.continues || boundaries.contains(&frame.first), "a frame begins within a transaction");
                assert!(frame.last - frame.first <= 1 << 20);
            }
            assert!(segment.stamps().iter().all(|stamp| boundaries.contains(&stamp.offset)));
        }

        let given: Vec<u8> = made.iter().flat_map(|t| t.given.clone()).collect();
        let all = cut(&log, &[base(FIRST, T0 - 1)], ms).unwrap();
        assert_eq!(all.commands, made.iter().map(|t| t.commands).sum::<u64>());
        assert_eq!((all.taken_back, all.log_bytes), (0, stream.len() as u64));
        let names: BTreeSet<&str> = all.names.iter().map(String::as_str).collect();
        assert!(names.is_subset(&["SET", "DEL", "RPUSH", "MULTI", "EXEC", "SELECT"].into()), "{names:?}");
        let replay = replayed(&log.archive, &all);
        let first = if replay.starts_with(&given) { Vec::new() } else { select(0) };
        assert!(replay == [first, given].concat(), "another replay");
    }
}

/// `zstd -d` alone gives the stream: recovery does not hang on this program.
#[test]
fn a_segment_is_a_file_of_zstd() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    let stream = [select(0), set("a", &"1".repeat(700_000)), set("b", "2")].concat();
    put(&mut writer, &stream, T0);
    seal(&mut writer);
    let plain = zstd::decode_all(std::fs::File::open(&log.segments()[0]).unwrap()).unwrap();
    assert!(plain == stream);
}

#[test]
fn a_large_value_is_never_held() {
    const MIB: usize = 1 << 20;
    let log = Log::new();
    let mut writer = log.writer(16 << 20);
    put(&mut writer, &set("before", "1"), T0);
    let head = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n", 64 * MIB);
    put(&mut writer, head.as_bytes(), T0 + 1);
    for n in 0..64 {
        put(&mut writer, &vec![b'a' + n; MIB], T0 + 2 + i64::from(n));
        writer.seal_due(std::time::Instant::now()).unwrap();
    }
    put(&mut writer, b"\r\n", T0 + 100);
    put(&mut writer, &set("after", "1"), T0 + 101);
    seal(&mut writer);
    let bases = [base(FIRST, T0 - 1)];
    // Its time is that of its end: before that it had not been received.
    let before = cut(&log, &bases, T0 + 99).unwrap();
    assert_eq!((before.commands, before.at), (1, at(T0)));
    let all = cut(&log, &bases, T0 + 101).unwrap();
    let mut reader = log.archive.read(&all).unwrap();
    let (mut bytes, mut chunks) = (0, 0);
    for chunk in reader.by_ref() {
        let chunk = chunk.unwrap();
        assert!(chunk.len() <= MIB + 100, "a chunk of {}", chunk.len());
        (bytes, chunks) = (bytes + chunk.len(), chunks + 1);
    }
    assert!(chunks > 60 && reader.is_between_commands());
    assert_eq!(bytes, select(0).len() + set("before", "1").len() + head.len() + 64 * MIB + 2 + set("after", "1").len());
    // A position within it leads to its beginning, through all of its frames.
    let within = log.timeline.position(FIRST + set("before", "1").len() as u64);
    assert_eq!(cut_at(&log, &bases, &CutAt::Before(within)).unwrap().commands, 1);
}

#[test]
fn a_frame_in_the_middle_is_read_alone() {
    let log = Log::new();
    let mut writer = log.writer(64 << 20);
    let mut dice = Dice::new("a frame in the middle");
    let made = transactions(&mut dice, 5000, 20_000);
    let stream: Vec<u8> = made.iter().flat_map(|t| t.bytes.clone()).collect();
    put(&mut writer, &stream, T0);
    seal(&mut writer);
    let path = log.segments().remove(0);
    let whole = std::fs::read(&path).unwrap();
    let segment = &opened(&log)[0];
    let frames = segment.frames().to_vec();
    assert!(frames.len() > 5);
    let packed: Vec<usize> = {
        // Each frame is a zstd frame of its own.
        let mut sizes = Vec::new();
        let mut left = whole.as_slice();
        for _ in &frames {
            let size = zstd::zstd_safe::find_frame_compressed_size(left).unwrap();
            sizes.push(size);
            left = &left[size..];
        }
        sizes
    };
    let wanted = 2;
    let offset = frames[wanted].first + 1;
    let expected = segment.inside(offset).unwrap();
    let start: usize = packed[..wanted].iter().sum();
    let mut damaged = whole.clone();
    let end: usize = packed.iter().sum();
    for (n, byte) in damaged[..end].iter_mut().enumerate() {
        if !(start..start + packed[wanted]).contains(&n) {
            *byte ^= 0xFF;
        }
    }
    crate::support::write_over(&path, damaged);
    assert_eq!(opened(&log)[0].inside(offset).unwrap(), expected);
    assert!(opened(&log)[0].inside(frames[wanted + 1].first + 1).is_err(), "the next frame is damaged");
}
