//! What the log covers is what its segments have, against a naive model: one byte each for every offset.

use super::*;
use std::collections::BTreeMap;
use tair_backup_mcp::archive::{RestoredFrom, Run, SegmentName, Why};
use tair_backup_mcp::vault::watch::Watch;

const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// Puts empty objects under the names of segments: coverage reads names alone.
fn named(log: &Log, segments: &[(u64, u64, &str)]) {
    for (first, last, replid) in segments {
        let (from_ms, to_ms) = (T0 + *first as i64, T0 + *last as i64 - 1);
        let name = format!("{first:020}-{last:020}-{from_ms:013}-{to_ms:013}-0-1-{replid}.seg");
        std::fs::write(log.vault_dir().join(name), b"").unwrap();
    }
}

#[test]
fn runs_and_holes_are_those_of_the_names() {
    let mut dice = Dice::new("coverage");
    for _ in 0..200 {
        let log = Log::beginning(new_timeline(0, Some(0)));
        let segments: Vec<(u64, u64, &str)> = (0..dice.below(12))
            .map(|_| {
                let first = dice.below(40) as u64;
                // Mostly one history.
                (first, first + 1 + dice.below(8) as u64, if dice.below(12) == 0 { OTHER } else { REPLID })
            })
            .collect();
        named(&log, &segments);
        let coverage = log.coverage();
        let mut histories: BTreeMap<u64, std::collections::BTreeSet<&str>> = BTreeMap::new();
        for (first, last, replid) in &segments {
            for offset in *first..*last {
                histories.entry(offset).or_default().insert(replid);
            }
        }
        // What is covered has exactly one history.
        let covered = |offset: u64| coverage.runs.iter().any(|run| run.first() <= offset && offset < run.last());
        let missing = |offset: u64| coverage.holes.iter().any(|h| h.from.offset <= offset && offset < h.to_offset);
        let end = segments.iter().map(|s| s.1).max().unwrap_or(0);
        for offset in 0..60 {
            let told = histories.get(&offset).map_or(0, std::collections::BTreeSet::len);
            assert!(!covered(offset) || told == 1, "{offset} is covered and has {told} histories: {segments:?}");
            assert!(!(covered(offset) && missing(offset)), "{offset} is both: {segments:?}");
            assert_eq!(covered(offset) || missing(offset), offset < end, "{offset} is neither: {segments:?}");
            // Where no segment contradicts another, all that is there counts.
            if histories.values().all(|h| h.len() == 1) {
                assert_eq!(covered(offset), told == 1, "{offset}: {segments:?}");
            }
        }
        // How far it leads from a set is told of one timeline, and is the same, also where histories contradict each other.
        let set = base(dice.below(45) as u64, T0);
        let until = coverage.runs.iter().filter(|run| run.holds(&set)).map(Run::until).max();
        let told = log.archive.goes_on_until(&set, 0, &Watch::default()).unwrap();
        assert_eq!(told, until, "{}: {segments:?}", set.replication_offset);
        let ended = Watch::default();
        ended.stop();
        assert_eq!(log.archive.goes_on_until(&set, 0, &ended).unwrap_err().code, "log.failed");
        for run in &coverage.runs {
            assert!(run.segments.windows(2).all(|pair| pair[1].first <= pair[0].last && pair[0].last < pair[1].last));
        }
    }
}

/// Bytes that this process has resident, or had at most.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kb = status.lines().find_map(|l| l.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kb.unwrap() * 1024
}

/// A log of years is millions of names, and a name that is held is of a fixed size: `LOG_NAMES` in the environment, alone in its process,
/// lists so many and tells what they take.
#[test]
fn a_name_that_is_listed_takes_64_bytes() {
    assert!(std::mem::size_of::<SegmentName>() <= 64);
    let asked = std::env::var("LOG_NAMES").ok().and_then(|n| n.parse::<u64>().ok());
    let names = asked.unwrap_or(20_000);
    let log = Log::beginning(new_timeline(0, Some(0)));
    for n in 0..names {
        named(&log, &[(n * 10, n * 10 + 10, if n < names / 2 { REPLID } else { OTHER })]);
    }
    let before = resident("VmRSS:");
    let began = std::time::Instant::now();
    let coverage = log.coverage();
    let took = began.elapsed();
    assert_eq!((coverage.runs.len(), coverage.holes.len()), (1, 0));
    let segments = &coverage.runs[0].segments;
    assert_eq!((segments.len() as u64, coverage.runs[0].last()), (names, names * 10));
    let texts: std::collections::BTreeSet<*const u8> = segments.iter().map(|s| s.replid.as_ptr()).collect();
    assert_eq!(texts.len(), 2, "one text for all segments of a history");
    // What goes on with such a timeline holds nothing of it but its end.
    let began = std::time::Instant::now();
    assert!(log.archive.writer(&log.timeline, limits(1 << 20)).is_err(), "its last segment has no bytes");
    if asked.is_some() {
        let most = resident("VmHWM:") - before;
        println!("{names} names: {most} bytes, {} each, {took:?}; its end {:?}", most / names, began.elapsed());
        assert!(most < names * 80);
    }
}

#[test]
fn two_histories_for_one_offset_are_a_hole() {
    let log = Log::beginning(new_timeline(0, Some(0)));
    named(&log, &[(0, 10, REPLID), (10, 20, REPLID), (10, 15, OTHER), (15, 25, OTHER), (30, 40, OTHER)]);
    let coverage = log.coverage();
    let runs: Vec<_> = coverage.runs.iter().map(|run| (run.first(), run.last())).collect();
    assert_eq!(runs, [(0, 10), (30, 40)]);
    assert_eq!(
        (coverage.holes[0].from.offset, coverage.holes[0].to_offset, coverage.holes[0].contradicts),
        (10, 30, true)
    );
}

/// What ends before a set may contradict the segment that holds it: then nothing leads on from the set.
#[test]
fn what_ends_before_a_set_contradicts_what_holds_it() {
    let log = Log::beginning(new_timeline(0, Some(0)));
    named(&log, &[(0, 10, REPLID), (5, 8, OTHER), (10, 20, REPLID)]);
    for (offset, leads_on) in [(4, false), (9, false), (10, true), (15, true)] {
        let set = base(offset, T0);
        let told = log.archive.goes_on_until(&set, 0, &Watch::default()).unwrap();
        assert_eq!(told.is_some(), leads_on, "{offset}");
        assert_eq!(log.coverage().runs.iter().any(|run| run.holds(&set)), leads_on, "{offset}");
    }
}

#[test]
fn a_failover_is_followed_and_a_set_must_be_of_the_history() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    let failover = writer.offset();
    // What came behind the last whole transaction is the old master's alone.
    put(&mut writer, &set("b", "2")[..9], T0 + 1);
    writer.continue_as(OTHER).unwrap();
    assert_eq!((writer.offset(), writer.replid()), (failover, OTHER));
    put(&mut writer, &set("b", "3"), T0 + 2);
    seal(&mut writer);
    let end = writer.offset();
    assert_eq!(log.coverage().runs.len(), 1);
    let of = |offset: u64, replid: &str| BackupSet { replication_id: replid.into(), ..base(offset, T0 - 1) };
    let all = [select(0), set("a", "1"), set("b", "3")].concat();
    assert_eq!(replayed(&log.archive, &cut(&log, &[of(FIRST, REPLID)], T0 + 2).unwrap()), all);
    let run = &log.coverage().runs[0];
    let holds: Vec<bool> = [
        (FIRST, REPLID),
        (failover, REPLID),
        (end, REPLID),
        (FIRST, OTHER),
        (failover, OTHER),
        (end, OTHER),
        (end + 1, OTHER),
    ]
    .map(|(offset, replid)| run.holds(&of(offset, replid)))
    .into();
    assert_eq!(holds, [true, true, false, false, true, true, false]);
    assert_eq!(cut(&log, &[of(end, REPLID)], T0 + 2).unwrap_err().why, Why::NothingToRecover);
}

#[test]
fn a_restore_opens_a_child_and_the_old_timeline_stays() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "good")].concat(), T0);
    let good = writer.offset();
    put(&mut writer, &set("a", "mistake"), T0 + 1000);
    seal(&mut writer);
    let restored_from =
        RestoredFrom { position: Some(log.timeline.position(good)), moment: at(T0), job_id: "rj-1".into() };
    let new = NewTimeline {
        opened_at: at(T0 + 5000),
        replid: OTHER.into(),
        restored_from: Some(restored_from.clone()),
        ..new_timeline(77, None)
    };
    let child = log.archive.open_timeline(new).unwrap();
    assert_eq!(log.archive.timelines("orders", 0).unwrap(), [log.timeline.clone(), child.clone()]);
    assert_eq!(child.restored_from, Some(restored_from));
    let mut writer = log.archive.writer(&child, limits(1 << 20)).unwrap();
    put(&mut writer, &[select(0), set("a", "after")].concat(), T0 + 6000);
    seal(&mut writer);
    let after = BackupSet { replication_id: OTHER.into(), ..base(77, T0 + 5001) };
    let bases = [base(FIRST, T0 - 1), after];
    let timeline = |ms: i64| cut(&log, &bases, ms).map(|cut| (cut.timeline.id, cut.commands));
    let (old, new) = (log.timeline.id.clone(), child.id.clone());
    assert_eq!(timeline(T0), Ok((old.clone(), 1)));
    assert_eq!(timeline(T0 + 1000), Ok((old, 2)), "the way back");
    assert_eq!(timeline(T0 + 6000), Ok((new.clone(), 1)));
    assert_eq!(timeline(T0 + 5001), Ok((new, 0)), "what was restored, before anything was written");
    let between = Outside { nearest_before: Some(at(T0 + 1000)), nearest_after: Some(at(T0 + 5001)), why: Why::InGap };
    assert_eq!(timeline(T0 + 3000).unwrap_err(), between);
}
