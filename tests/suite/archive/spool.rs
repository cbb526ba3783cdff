//! The spool outlives crashes: wherever one cuts it, the log goes on behind the last whole transaction, without loss and without
//! anything twice; and what another archiver wrote is never overwritten.

use super::*;
use std::collections::BTreeSet;
use tair_backup_mcp::archive::Why;
use tair_backup_mcp::model::fault::Kind;
use tair_backup_mcp::model::log::GapCause;

/// The directory of a log, as it would be found after a crash.
fn crashed(log: &Log) -> Log {
    let dir = TempDir::new().unwrap();
    copy_dir(log.dir.path(), dir.path());
    Log { archive: archive(dir.path(), "spool"), dir, timeline: log.timeline.clone() }
}

fn newest(log: &Log) -> PathBuf {
    files(log).pop().unwrap()
}

fn files(log: &Log) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(log.spool_dir()).unwrap().map(|e| e.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "spool"));
    found.sort();
    found
}

/// All that is on the vault, from one base on.
fn archived(log: &Log) -> Vec<u8> {
    let coverage = log.coverage();
    assert!(coverage.holes.is_empty(), "{:?}", coverage.holes);
    let until = coverage.runs[0].until().as_millisecond();
    replayed(&log.archive, &cut(log, &[base(FIRST, T0 - 1)], until).unwrap())
}

#[test]
fn a_crash_at_any_byte_loses_nothing_and_repeats_nothing() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    let pieces = [
        [select(0), set("a", "1")].concat(),
        [command(&[b"MULTI"]), set("b", "2"), set("c", "3"), command(&[b"EXEC"])].concat(),
        set("d", &"4".repeat(50)),
        select(1),
        set("e", "5"),
    ];
    let stream = pieces.concat();
    // The first is sealed, the second closed, the rest open, with a partial command at its end.
    put(&mut writer, &pieces[0], T0);
    seal(&mut writer);
    put(&mut writer, &pieces[1], T0 + 1);
    writer.seal_now().unwrap();
    let (closed, open) = (pieces[0].len() + pieces[1].len(), stream.len() - 5);
    for (n, piece) in stream[closed..open].chunks(60).enumerate() {
        put(&mut writer, piece, T0 + 2 + n as i64);
    }
    writer.sync().unwrap();
    drop(writer);
    let mut boundaries = BTreeSet::from([0]);
    let mut at_byte = 0;
    for piece in &pieces {
        at_byte += piece.len();
        boundaries.insert(at_byte);
    }
    boundaries.insert(select(0).len());
    let whole = std::fs::read(newest(&log)).unwrap();
    let mut last = 0;
    // The header is one record; every byte behind it.
    let header = whole.windows(8).position(|w| w == b"since_ms").unwrap();
    for len in (0..header).step_by(16).chain(header..=whole.len()) {
        let again = crashed(&log);
        std::fs::write(newest(&again), &whole[..len]).unwrap();
        let mut writer = again.writer(1 << 20);
        let from = usize::try_from(writer.offset() - FIRST).unwrap();
        assert!(boundaries.contains(&from), "cut at {len}: goes on within a transaction, at {from}");
        assert!(from >= closed && from >= last, "cut at {len}: lost what was closed, or what was there with less");
        last = from;
        put(&mut writer, &stream[from..], T0 + 100);
        seal(&mut writer);
        assert!(archived(&again) == stream, "cut at {len}");
    }
    assert_eq!(last, closed + pieces[2].len() + pieces[3].len());
}

#[test]
fn what_is_called_spooled_is_there_after_a_crash() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    assert_eq!(writer.spooled_until(), None);
    put(&mut writer, &set("a", "1"), T0);
    assert_eq!(writer.spooled_until(), None, "nobody synced it");
    writer.sync().unwrap();
    let spooled = writer.spooled_until().unwrap();
    assert_eq!((spooled.offset, spooled.at), (writer.offset(), at(T0)));
    put(&mut writer, b"", T0 + 500);
    writer.sync().unwrap();
    assert_eq!(writer.spooled_until().unwrap().at, at(T0 + 500), "nothing more had come");
    let again = crashed(&log).writer(1 << 20).spooled_until().unwrap();
    assert_eq!((again.offset, again.at), (spooled.offset, at(T0 + 500)));
}

#[test]
fn a_crash_between_vault_and_spool_seals_once() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("a", "1"), T0);
    writer.seal_now().unwrap();
    let closed = files(&log).remove(0);
    let bytes = std::fs::read(&closed).unwrap();
    writer.sealer().seal().unwrap();
    assert!(!closed.exists());
    drop(writer);
    // The segment was put, and the file not removed yet.
    std::fs::write(&closed, bytes).unwrap();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("b", "2"), T0 + 1);
    seal(&mut writer);
    assert!(!closed.exists());
    assert_eq!(log.segments().len(), 2);
    assert_eq!(archived(&log), [select(0), set("a", "1"), set("b", "2")].concat());
}

#[test]
fn two_archivers_with_the_same_names_agree_or_one_is_refused() {
    for (theirs, agree) in [("1", true), ("2", false)] {
        let log = Log::new();
        let mut writer = log.writer(1 << 20);
        let second = archive(log.dir.path(), "another machine");
        let mut other = second.writer(&log.timeline, limits(1 << 20)).unwrap();
        put(&mut writer, &set("a", "1"), T0);
        put(&mut other, &set("a", theirs), T0);
        // Both have listed what is there before either puts anything.
        let (mut ours, mut others) = (writer.sealer(), other.sealer());
        ours.seal().unwrap();
        others.seal().unwrap();
        writer.seal_now().unwrap();
        other.seal_now().unwrap();
        ours.seal().unwrap();
        let path = log.segments().remove(0);
        let before = std::fs::read(&path).unwrap();
        let sealed = others.seal();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        if agree {
            assert_eq!(sealed.unwrap().unwrap().offset, writer.offset());
        } else {
            let fault = sealed.unwrap_err();
            assert_eq!((fault.kind, fault.code), (Kind::Refused, "log.conflict"), "{fault}");
        }
        assert_eq!(log.segments().len(), 1);
    }
}

#[test]
fn an_archiver_that_lost_its_timeline_is_refused() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("a", "1"), T0);
    let second = archive(log.dir.path(), "another machine");
    let mut other = second.writer(&log.timeline, limits(1 << 20)).unwrap();
    put(&mut other, &[set("a", "1"), set("b", "2")].concat(), T0 + 5);
    seal(&mut other);
    // What it has lies on the vault already, in another segment: nothing is put twice, and nothing is lost.
    seal(&mut writer);
    assert_eq!(log.segments().len(), 1);
    // What reaches beyond is another's.
    put(&mut writer, &[set("b", "2"), set("c", "3")].concat(), T0 + 6);
    writer.seal_now().unwrap();
    assert_eq!(writer.sealer().seal().unwrap_err().code, "log.conflict");
    assert_eq!(log.segments().len(), 1);
}

#[test]
fn another_machine_goes_on_where_the_vault_ends() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(3), set("a", "1")].concat(), T0);
    seal(&mut writer);
    let second = archive(log.dir.path(), "another machine");
    let mut other = second.writer(&log.timeline, limits(1 << 20)).unwrap();
    assert_eq!((other.offset(), other.replid()), (writer.offset(), REPLID));
    let behind = base(writer.offset(), T0);
    put(&mut other, &set("b", "2"), T0 + 1);
    seal(&mut other);
    // The first comes back with a part of what the vault has in full: it has nothing to add, and goes on behind it.
    put(&mut writer, &set("b", "2")[..9], T0 + 1);
    drop(writer);
    let mut writer = log.writer(1 << 20);
    assert_eq!(writer.offset(), other.offset());
    seal(&mut writer);
    assert!(log.coverage().gaps.is_empty() && log.segments().len() == 2);
    // The database that was selected is known there.
    let all = cut(&log, &[behind], T0 + 1).unwrap();
    assert_eq!(replayed(&log.archive, &all), [select(3), set("b", "2")].concat());
}

#[test]
fn one_writer_at_a_time() {
    let log = Log::new();
    let writer = log.writer(1);
    assert_eq!(log.archive.writer(&log.timeline, limits(1)).unwrap_err().code, "log.conflict");
    drop(writer);
    log.writer(1);
}

/// A look at the whole log finds nothing wrong with a hole of which a gap tells, and names it once that record is gone.
fn a_hole_without_its_record_is_named(log: &Log, whole: u64, resumes: u64) {
    let wrong = || log.archive.check("orders", 0).unwrap().1;
    assert_eq!(wrong(), Vec::<String>::new());
    let is_gap = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("gap-");
    let gap = std::fs::read_dir(log.vault_dir()).unwrap().map(|e| e.unwrap().path()).find(is_gap).unwrap();
    std::fs::remove_file(gap).unwrap();
    let wrong = wrong();
    let [told] = wrong.as_slice() else { panic!("{wrong:?}") };
    let behind = log.segments().pop().unwrap();
    assert!(told.contains(behind.to_str().unwrap()), "{told}");
    assert!(told.contains(&format!("the offsets {whole} to {resumes} before it, and no gap says why")), "{told}");
}

#[test]
fn a_damaged_file_of_the_spool_is_a_gap_and_what_is_whole_in_it_is_kept() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("a", "1"), T0);
    put(&mut writer, &set("lost", "2"), T0 + 1);
    put(&mut writer, &set("lost", "3"), T0 + 2);
    writer.seal_now().unwrap();
    let resumes = writer.offset();
    put(&mut writer, &[select(0), set("b", "4")].concat(), T0 + 1000);
    writer.seal_now().unwrap();
    let path = files(&log).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let lost = bytes.windows(4).position(|w| w == b"lost").unwrap();
    bytes[lost] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut sealer = writer.sealer();
    let fault = sealer.seal().unwrap_err();
    assert_eq!((fault.kind, fault.code), (Kind::Damaged, "log.damaged"));
    assert!(fault.message.contains(path.to_str().unwrap()) && fault.message.contains("offset"), "{fault}");
    sealer.seal().unwrap();
    let coverage = log.coverage();
    let whole = FIRST + set("a", "1").len() as u64;
    assert_eq!((coverage.holes[0].from.offset, coverage.holes[0].to_offset), (whole, resumes));
    let gap = &coverage.gaps[0];
    assert_eq!((gap.cause, gap.after_offset, gap.from), (GapCause::Damaged, whole, at(T0)));
    assert!(path.with_extension("damaged").exists(), "it is kept");
    assert_eq!(cut(&log, &[base(FIRST, T0 - 1)], T0 + 1).unwrap_err().why, Why::NotArchivedYet);
    assert_eq!(cut(&log, &[base(FIRST, T0 - 1)], T0).unwrap().commands, 1);
    a_hole_without_its_record_is_named(&log, whole, resumes);
}

/// Of a file whose header is damaged nothing can be kept; where it was is a gap, and it no longer counts.
#[test]
fn a_file_of_the_spool_without_a_header_is_a_gap() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    let mut sealer = writer.sealer();
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    writer.seal_now().unwrap();
    sealer.seal().unwrap();
    let whole = writer.offset();
    put(&mut writer, &set("lost", &"2".repeat(5000)), T0 + 1);
    writer.seal_now().unwrap();
    let resumes = writer.offset();
    put(&mut writer, &set("b", "3"), T0 + 2);
    writer.seal_now().unwrap();
    let path = files(&log).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let fault = sealer.seal().unwrap_err();
    assert_eq!((fault.kind, fault.code), (Kind::Damaged, "log.damaged"));
    sealer.seal().unwrap();
    assert!(writer.spool_bytes() < 1000, "{}", writer.spool_bytes());
    let coverage = log.coverage();
    assert_eq!((coverage.holes[0].from.offset, coverage.holes[0].to_offset), (whole, resumes));
    let gap = &coverage.gaps[0];
    assert_eq!((gap.cause, gap.after_offset, gap.from), (GapCause::Damaged, whole, at(T0)));
    assert!(path.with_extension("damaged").exists(), "it is kept");
    a_hole_without_its_record_is_named(&log, whole, resumes);
}

/// What an ended timeline has left in the spool goes to the vault while another one is written, and nothing of it stays.
#[test]
fn an_ended_spool_is_sealed_beside_another() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    let end = writer.offset();
    put(&mut writer, &set("partial", "1")[..9], T0 + 1);
    let new = NewTimeline { opened_at: at(T0 + 5000), ..new_timeline(end + 500, Some(0)) };
    let next = log.archive.open_timeline(new).unwrap();
    let mut written = log.archive.writer(&next, limits(1 << 20)).unwrap();
    put(&mut written, &set("b", "1"), T0 + 6000);
    // Somebody writes to it still.
    assert_eq!(log.archive.seal_ended("orders", 0, &mut |_| ()).unwrap_err().code, "log.conflict");
    drop(writer);
    assert!(log.archive.seal_ended("orders", 0, &mut |_| ()).unwrap());
    assert!(files(&log).is_empty());
    assert_eq!(log.coverage().runs[0].last(), end);
    assert!(log.archive.seal_ended("orders", 0, &mut |_| ()).unwrap(), "nothing is left");
    assert_eq!(written.spooled_until(), None);
    seal(&mut written);
    assert_eq!(log.coverage().runs.len(), 2);
}

#[test]
fn the_spool_goes_on_while_the_vault_is_away() {
    let log = Log::new();
    let mut writer = log.writer(60);
    let mut sealer = writer.sealer();
    let (vault, away) = (log.dir.path().join("vault"), log.dir.path().join("away"));
    std::fs::rename(&vault, &away).unwrap();
    std::fs::write(&vault, b"no directory").unwrap();
    let mut expected = select(0);
    for n in 0..20 {
        let bytes = set("key", &format!("{n:050}"));
        put(&mut writer, &bytes, T0 + n);
        writer.sync().unwrap();
        assert_eq!(sealer.seal().unwrap_err().code, "log.failed");
        expected.extend(bytes);
    }
    assert_eq!(writer.spooled_until().unwrap().offset, writer.offset());
    assert!(writer.archived_until().is_none() && writer.spool_bytes() > 20 * 70);
    std::fs::remove_file(&vault).unwrap();
    std::fs::rename(&away, &vault).unwrap();
    seal(&mut writer);
    assert_eq!(archived(&log), expected);
    assert_eq!(writer.archived_until().unwrap().offset, writer.offset());
}

#[test]
fn a_lost_link_and_what_is_no_command_leave_whole_transactions() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("a", "1"), T0);
    let whole = writer.offset();
    put(&mut writer, &command(&[b"MULTI"]), T0 + 1);
    put(&mut writer, &set("b", "2")[..7], T0 + 2);
    writer.seal_due(std::time::Instant::now() + Duration::from_secs(7200)).unwrap();
    assert_eq!(writer.discard_partial().unwrap(), whole);
    // Signs of life between commands have no offset.
    put(&mut writer, &[b"\n".as_slice(), &set("b", "2"), b"\n\r\n"].concat(), T0 + 3);
    let fault =
        writer.append(&[&set("c", "3"), b"+OK\r\n".as_slice()].concat(), at(T0 + 4), SignedDuration::ZERO).unwrap_err();
    assert_eq!(fault.code, "log.damaged");
    put(&mut writer, &set("c", "3"), T0 + 5);
    seal(&mut writer);
    assert_eq!(archived(&log), [select(0), set("a", "1"), set("b", "2"), set("c", "3")].concat());
}
