//! Nothing that differs from what was written is served: every flipped byte and every cut is named with its object and offset, an
//! exchanged segment shows, and a missing one is a hole.

use super::*;
use crate::support::write_over;
use tair_backup_mcp::archive::Why;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::model::log::{Gap, GapCause};

/// Three segments of a few commands each, a second apart.
fn three(log: &Log, marks: [&str; 3]) -> Vec<u64> {
    let mut writer = log.writer(1 << 20);
    let mut ends = vec![FIRST];
    for (n, mark) in marks.iter().enumerate() {
        let ms = T0 + 1000 * n as i64;
        put(&mut writer, &[select(0), set("a", mark), command(&[b"PING"])].concat(), ms);
        put(&mut writer, &set("b", mark), ms + 1);
        seal(&mut writer);
        ends.push(writer.offset());
    }
    ends
}

/// Recovers to the newest moment, or says why not.
fn recover(log: &Log) -> Result<Vec<u8>, Fault> {
    let coverage = log.archive.coverage("orders", 0)?;
    match coverage.cut(&[base(FIRST, T0 - 1)], &CutAt::Moment(at(T0 + 2001))) {
        Err(NoCut::Fault(fault)) => Err(fault),
        Err(NoCut::Outside(outside)) => panic!("{outside:?}"),
        Ok(cut) => Ok(log.archive.read(&cut)?.collect::<Result<Vec<_>, _>>()?.concat()),
    }
}

fn is_named(fault: &Fault, path: &Path) {
    let file = path.file_name().unwrap().to_str().unwrap();
    assert_eq!((fault.kind, fault.code), (Kind::Damaged, "log.damaged"), "{fault}");
    assert!(fault.message.contains(file), "{fault} does not name {file}");
}

#[test]
fn a_flipped_byte_anywhere_is_named_and_never_served() {
    let log = Log::new();
    three(&log, ["one", "two", "three"]);
    assert!(recover(&log).is_ok());
    let path = log.segments().remove(1);
    let whole = std::fs::read(&path).unwrap();
    for n in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[n] ^= 1 << (n % 8);
        write_over(&path, damaged);
        let fault = recover(&log).expect_err(&format!("byte {n} of {} was flipped", whole.len()));
        is_named(&fault, &path);
        assert!(fault.message.contains("offset"), "{fault}");
    }
    for len in 0..whole.len() {
        write_over(&path, &whole[..len]);
        is_named(&recover(&log).expect_err("cut"), &path);
    }
    write_over(&path, [whole.as_slice(), b"x"].concat());
    is_named(&recover(&log).expect_err("longer"), &path);
    write_over(&path, &whole);
    assert!(recover(&log).is_ok());
}

#[test]
fn a_changed_record_is_damage() {
    let log = Log::new();
    three(&log, ["one", "two", "three"]);
    let gap = Gap {
        timeline: log.timeline.id.clone(),
        shard: 0,
        after_offset: 5,
        from: at(T0),
        to: at(T0 + 1),
        cause: GapCause::SpoolFull,
        source_run_id: "r".into(),
        detail: String::new(),
    };
    log.archive.record_gap("orders", &gap).unwrap();
    assert_eq!(log.coverage().gaps, [gap]);
    let record = |e: &PathBuf| e.extension().is_some_and(|e| e == "json");
    let paths: Vec<PathBuf> =
        std::fs::read_dir(log.vault_dir()).unwrap().map(|e| e.unwrap().path()).filter(record).collect();
    assert_eq!(paths.len(), 2);
    for path in paths {
        let whole = std::fs::read(&path).unwrap();
        for n in (0..whole.len()).filter(|n| !whole[*n].is_ascii_whitespace()) {
            let mut damaged = whole.clone();
            damaged[n] ^= 4;
            write_over(&path, damaged);
            is_named(&log.archive.coverage("orders", 0).expect_err(&format!("byte {n}")), &path);
        }
        write_over(&path, &whole);
    }
}

#[test]
fn a_missing_segment_is_a_hole() {
    let log = Log::new();
    let ends = three(&log, ["one", "two", "three"]);
    std::fs::remove_file(&log.segments()[1]).unwrap();
    let coverage = log.coverage();
    assert_eq!(
        coverage.runs.iter().map(|run| (run.first(), run.last())).collect::<Vec<_>>(),
        [(ends[0], ends[1]), (ends[2], ends[3])]
    );
    let hole = &coverage.holes[0];
    assert_eq!((coverage.holes.len(), hole.from.offset, hole.to_offset), (1, ends[1], ends[2]));
    assert_eq!((hole.from_at, hole.to_at, hole.contradicts), (Some(at(T0 + 1)), at(T0 + 2000), false));
    // With a base before it only what is before it can be recovered.
    let first = base(FIRST, T0 - 1);
    let outside = cut(&log, std::slice::from_ref(&first), T0 + 2000).unwrap_err();
    assert_eq!(outside, Outside { nearest_before: Some(at(T0 + 1)), nearest_after: None, why: Why::NotArchivedYet });
    // With one behind it, both sides, and the neighbours of what lies between are exact.
    let bases = [first, base(ends[2], T0 + 1500)];
    let outside = cut(&log, &bases, T0 + 1200).unwrap_err();
    assert_eq!(
        outside,
        Outside { nearest_before: Some(at(T0 + 1)), nearest_after: Some(at(T0 + 1500)), why: Why::InGap }
    );
    assert_eq!(cut(&log, &bases, T0 + 1).unwrap().base, format!("b-{FIRST}"));
    assert_eq!(cut(&log, &bases, T0 + 1500).unwrap().base, format!("b-{}", ends[2]));
    let windows = coverage.windows(&bases).unwrap();
    assert_eq!(
        windows.iter().map(|w| (w.from, w.to)).collect::<Vec<_>>(),
        [(at(T0 - 1), at(T0 + 1)), (at(T0 + 1500), at(T0 + 2001))]
    );
}

#[test]
fn a_segment_of_another_history_under_the_same_name_shows() {
    let log = Log::new();
    let other = TempDir::new().unwrap();
    copy_dir(&log.dir.path().join("vault"), &other.path().join("vault"));
    three(&log, ["one", "two", "three"]);
    let other = Log { archive: archive(other.path(), "spool"), dir: other, timeline: log.timeline.clone() };
    three(&other, ["one", "TWO", "three"]);
    let (ours, theirs) = (log.segments().remove(1), other.segments().remove(1));
    assert_eq!(ours.file_name(), theirs.file_name());
    write_over(&ours, std::fs::read(theirs).unwrap());
    let fault = recover(&log).unwrap_err();
    is_named(&fault, &log.segments()[2]);
}

/// A cut file beside the segments, as a crash of an upload leaves it, is no segment.
#[test]
fn what_is_being_written_is_nothing() {
    let log = Log::new();
    three(&log, ["one", "two", "three"]);
    let path = &log.segments()[2];
    let name = path.file_name().unwrap().to_str().unwrap();
    std::fs::write(log.vault_dir().join(format!(".{name}.0011223344556677.new")), b"half").unwrap();
    std::fs::write(log.vault_dir().join("notes.txt"), b"somebody's").unwrap();
    assert_eq!(log.coverage().runs[0].segments.len(), 3);
}

/// Whoever looks at the whole log is told of each object that is wrong, whatever else is: also of what stops every recovery, and of what takes
/// segments out of the log.
#[test]
fn all_that_is_wrong_is_named() {
    let log = Log::new();
    three(&log, ["one", "two", "three"]);
    let opened = |n: i64| {
        let new = NewTimeline { opened_at: at(T0 + n), ..new_timeline(FIRST, Some(0)) };
        log.vault_dir().with_file_name(log.archive.open_timeline(new).unwrap().id)
    };
    let (damaged, removed) = (opened(10).join("timeline.json"), opened(20).join("timeline.json"));
    assert_eq!(log.archive.check("orders", 0).unwrap(), (3, Vec::new()));
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        write_over(path, bytes);
    };
    // Of a timeline without its record nothing is read.
    let segment = log.segments().remove(1);
    std::fs::copy(&segment, removed.with_file_name(segment.file_name().unwrap())).unwrap();
    std::fs::remove_file(&removed).unwrap();
    let gap = log.vault_dir().join("gap-00000000000000000005-1790000000000-aabbcc.json");
    std::fs::write(&gap, b"{}").unwrap();
    flip(&damaged);
    flip(&segment);
    // A mark that pruning does not put takes nothing out of the log.
    let mark = log.vault_dir().join("pruned-18446744073709551615.json");
    std::fs::write(&mark, b"{}\n").unwrap();
    let (read, wrong) = log.archive.check("orders", 0).unwrap();
    assert_eq!(read, 3);
    for path in [&damaged, &removed, &gap, &segment, &mark] {
        let path = path.to_str().unwrap();
        assert!(wrong.iter().any(|wrong| wrong.contains(path)), "{path}: {wrong:?}");
    }
    for path in [&gap, &damaged] {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(log.coverage().runs[0].segments.len(), 3);
}
