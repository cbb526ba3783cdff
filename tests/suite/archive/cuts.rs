//! A moment leads to the last whole transaction received by then, to the millisecond, or is refused with its exact neighbours; a position
//! leads to what was before the transaction that it is in.

use super::*;
use std::collections::BTreeSet;
use tair_backup_mcp::archive::Why;

/// Something that came at once: when, since when it may have been written, and how far the whole transactions reach then.
struct Event {
    since: i64,
    ms: i64,
    offset: u64,
}

/// The naive model: all events, one after the other.
fn model(events: &[Event], bases: &[BackupSet], ms: i64) -> Result<(u64, u64), (Option<i64>, Option<i64>)> {
    let inside = |t: i64| events.iter().find(|e| e.since < t && t < e.ms);
    // The lowest set begins the log, and was complete before it.
    let (from, until) = (bases[0].finished_at.as_millisecond(), events.last().unwrap().ms);
    if ms < from {
        return Err((None, Some(from)));
    }
    if ms > until {
        return Err((Some(until), None));
    }
    if inside(ms).is_some() {
        let before = (from..=ms).rev().find(|t| inside(*t).is_none());
        let after = (ms..=until).find(|t| inside(*t).is_none());
        return Err((before, after));
    }
    let to = events.iter().rev().find(|e| e.ms <= ms).map_or(FIRST, |e| e.offset);
    let base = bases.iter().map(|b| b.replication_offset).filter(|o| *o <= to).max().unwrap();
    Ok((base, to))
}

#[test]
fn every_moment_is_that_of_the_model() {
    let mut dice = Dice::new("moments");
    for _ in 0..8 {
        let log = Log::new();
        let mut writer = log.writer(1 + dice.below(2000) as u64);
        let (mut ms, mut events, mut boundaries) = (T0 + 50, Vec::new(), vec![FIRST]);
        let mut stream: Vec<u8> = Vec::new();
        for made in transactions(&mut dice, 60, 3000) {
            let mut since = None;
            ms += 1 + dice.below(4) as i64;
            // Some come in two pieces, of which the second may take long, some after an outage, and some moments nothing comes.
            let at_byte = if dice.below(4) == 0 { dice.below(made.bytes.len()) } else { 0 };
            let (first, rest) = made.bytes.split_at(at_byte);
            let mut first_came = None;
            for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
                let outage = if dice.below(8) == 0 { 2 + dice.below(30) as i64 } else { 0 };
                let slow = if first_came.is_some() && dice.below(2) == 0 { 980 + dice.below(40) as i64 } else { 0 };
                ms += outage + slow + dice.below(2) as i64;
                since = since.or(first_came.filter(|came| ms - came >= 1000));
                first_came.get_or_insert(ms);
                writer.append(piece, at(ms), SignedDuration::from_millis(outage)).unwrap();
                if outage > 0 {
                    since = Some(since.unwrap_or(i64::MAX).min(ms - outage));
                }
            }
            stream.extend(&made.bytes);
            let offset = FIRST + stream.len() as u64;
            boundaries.push(offset);
            events.push(Event { since: since.unwrap_or(ms), ms, offset });
            if dice.below(10) == 0 {
                ms += 5;
                put(&mut writer, b"", ms);
                events.push(Event { since: ms, ms, offset });
            }
        }
        // A file in which nothing but time has passed becomes no segment.
        ms += 1;
        put(&mut writer, &set("end", "1"), ms);
        events.push(Event { since: ms, ms, offset: writer.offset() });
        seal(&mut writer);
        let mut bases = vec![base(FIRST, T0 - 3)];
        for _ in 0..3 {
            bases.push(base(boundaries[dice.below(boundaries.len())], ms));
        }
        let coverage = log.coverage();
        let windows = coverage.windows(&bases).unwrap();
        assert_eq!(
            windows.iter().map(|w| (w.from, w.to)).collect::<Vec<_>>(),
            [(at(T0 - 3), at(events.last().unwrap().ms))]
        );
        // Each moment around what happens; of the long silences between, in which nothing changes, some.
        let happens = events.iter().flat_map(|event| [event.since, event.ms]).chain([T0, ms]);
        let near: BTreeSet<i64> = happens.flat_map(|at| at - 6..=at + 6).collect();
        for t in T0 - 5..=ms + 3 {
            if !near.contains(&t) && dice.below(40) > 0 {
                continue;
            }
            let expected = model(&events, &bases, t);
            match (coverage.cut(&bases, &CutAt::Moment(at(t))), expected) {
                (Ok(cut), Ok((from, to))) => {
                    assert_eq!((cut.from.offset, cut.to.offset), (from, to), "at {}", t - T0);
                    assert!(cut.at <= at(t));
                    if dice.below(20) == 0 {
                        replayed(&log.archive, &cut);
                    }
                }
                (Err(NoCut::Outside(outside)), Err((before, after))) => {
                    let told = (outside.nearest_before, outside.nearest_after);
                    assert_eq!(told, (before.map(at), after.map(at)), "at {}", t - T0);
                    for neighbour in [before, after].into_iter().flatten() {
                        assert!(
                            coverage.cut(&bases, &CutAt::Moment(at(neighbour))).is_ok(),
                            "{} is no neighbour",
                            neighbour - T0
                        );
                    }
                }
                (found, expected) => panic!("at {}: {found:?}, not {expected:?}", t - T0),
            }
        }
    }
}

#[test]
fn every_position_leads_before_its_transaction() {
    let mut dice = Dice::new("positions");
    let log = Log::new();
    let mut writer = log.writer(1500);
    let made = transactions(&mut dice, 80, 2000);
    let (mut ms, mut start) = (T0, FIRST);
    let mut starts = Vec::new();
    for transaction in &made {
        ms += 1;
        put(&mut writer, &transaction.bytes, ms);
        let mut inner = vec![start];
        // Commands begin where the stream says so; values never hold a whole one.
        let mut left = transaction.bytes.as_slice();
        while !left.is_empty() {
            let (count, mut at_byte) = (usize::from(left[1] - b'0'), 4);
            for _ in 0..count {
                let line = left[at_byte..].iter().position(|b| *b == b'\n').unwrap();
                let len: usize = std::str::from_utf8(&left[at_byte + 1..at_byte + line - 1]).unwrap().parse().unwrap();
                at_byte += line + 1 + len + 2;
            }
            left = &left[at_byte..];
            inner.push(inner[inner.len() - 1] + at_byte as u64);
        }
        let end = inner.pop().unwrap();
        starts.push((start, inner));
        start = end;
    }
    seal(&mut writer);
    let coverage = log.coverage();
    let bases = [base(FIRST, T0)];
    let total: u64 = made.iter().map(|t| t.commands).sum();
    let mut before = 0;
    for ((start, inner), transaction) in starts.iter().zip(&made) {
        for offset in inner {
            let cut = coverage.cut(&bases, &CutAt::Before(log.timeline.position(*offset))).unwrap();
            assert_eq!((cut.to.offset, cut.commands, cut.taken_back), (*start, before, total - before));
            let within = log.timeline.position(offset + 1);
            let Err(NoCut::Outside(outside)) = coverage.cut(&bases, &CutAt::Before(within)) else {
                panic!("no command is there")
            };
            assert_eq!(outside.why, Why::NoCommandThere);
        }
        before += transaction.commands;
    }
    let outside = |offset| cut_at(&log, &bases, &CutAt::Before(log.timeline.position(offset))).unwrap_err().why;
    assert_eq!(cut_at(&log, &bases, &CutAt::Before(log.timeline.position(start))).unwrap().commands, total);
    assert_eq!((outside(start + 1), outside(FIRST - 1)), (Why::NotArchivedYet, Why::TooEarly));
}

#[test]
fn milliseconds_tell_commands_apart() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    for n in 0..5 {
        put(&mut writer, &set("a", &n.to_string()), T0 + n);
    }
    seal(&mut writer);
    for n in 0..5 {
        // A set whose position is within a command is none to begin with.
        let cut = cut(&log, &[base(FIRST + 3, T0 - 2), base(FIRST, T0 - 1)], T0 + n).unwrap();
        assert_eq!(cut.from.offset, FIRST);
        let expected = 1 + u64::try_from(n).unwrap();
        assert_eq!((cut.commands, cut.taken_back, cut.at), (expected, 5 - expected, at(T0 + n)));
    }
}

#[test]
fn a_clock_that_is_set_back_makes_moments_imprecise() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("a", "1"), T0);
    put(&mut writer, &set("a", "2"), T0 + 1000);
    // An hour that comes twice.
    put(&mut writer, &set("a", "3"), T0 + 400);
    put(&mut writer, &set("a", "4"), T0 + 1500);
    seal(&mut writer);
    let bases = [base(FIRST, T0 - 1)];
    let outside = cut(&log, &bases, T0 + 700).unwrap_err();
    assert_eq!(
        outside,
        Outside { nearest_before: Some(at(T0 + 400)), nearest_after: Some(at(T0 + 1000)), why: Why::Imprecise }
    );
    let commands: Vec<u64> = [0, 400, 1000, 1500].map(|ms| cut(&log, &bases, T0 + ms).unwrap().commands).into();
    assert_eq!(commands, [1, 1, 3, 4]);
}

#[test]
fn a_database_that_nobody_knows_is_not_guessed() {
    let log = Log::beginning(new_timeline(FIRST, None));
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &command(&[b"PING"]), T0);
    put(&mut writer, &set("a", "1"), T0 + 1);
    let later = writer.offset();
    put(&mut writer, &[command(&[b"MULTI"]), select(2), set("a", "2"), command(&[b"EXEC"])].concat(), T0 + 2);
    put(&mut writer, &set("b", "3"), T0 + 3);
    seal(&mut writer);
    assert_eq!(cut(&log, &[base(FIRST, T0 - 1)], T0 + 3).unwrap_err().why, Why::DatabaseUnknown);
    assert_eq!(cut(&log, &[base(FIRST, T0 - 1)], T0).unwrap().commands, 0);
    let known = cut(&log, &[base(later, T0 + 1)], T0 + 3).unwrap();
    let expected = [command(&[b"MULTI"]), select(2), set("a", "2"), command(&[b"EXEC"]), set("b", "3")].concat();
    assert_eq!(replayed(&log.archive, &known), expected);
}

#[test]
fn without_a_base_or_a_log_there_is_nothing() {
    let log = Log::new();
    let nothing = Outside { nearest_before: None, nearest_after: None, why: Why::NothingToRecover };
    assert_eq!(cut(&log, &[base(FIRST, T0)], T0).unwrap_err(), nothing);
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &set("a", "1"), T0);
    seal(&mut writer);
    for bases in [&[][..], &[base(FIRST + 3, T0)]] {
        assert!(log.coverage().windows(bases).unwrap().is_empty());
        assert_eq!(cut(&log, bases, T0).unwrap_err(), nothing);
        assert_eq!(cut_at(&log, bases, &CutAt::Before(log.timeline.position(FIRST))).unwrap_err(), nothing);
    }
}

/// A command behind the moment, or before the base, is no reason to refuse either: it is not replayed.
#[test]
fn names_are_those_of_what_is_replayed() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), command(&[b"EARLY", b"a"])].concat(), T0);
    let middle = writer.offset();
    put(&mut writer, &set("a", "1"), T0 + 1000);
    put(&mut writer, &command(&[b"LATE", b"a"]), T0 + 2000);
    seal(&mut writer);
    put(&mut writer, &command(&[b"NEXT", b"a"]), T0 + 3000);
    seal(&mut writer);
    let names = |base_at: u64, ms: i64| {
        let cut = cut(&log, &[base(base_at, T0 - 1)], T0 + ms).unwrap();
        cut.names.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(FIRST, 1000), "EARLY SELECT SET");
    assert_eq!(names(middle, 1000), "SET");
    assert_eq!(names(middle, 2000), "LATE SET");
    assert_eq!(names(FIRST, 2000), "EARLY LATE SELECT SET");
    assert_eq!(names(middle, 3000), "LATE NEXT SET");
    assert_eq!(names(middle, 0), "");
}

/// What no other set leads to is said: of the base at the beginning, and of one behind which there is another only so far.
#[test]
fn what_leads_back_to_one_set_alone_is_known() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    let middle = writer.offset();
    put(&mut writer, &set("a", "2"), T0 + 1000);
    seal(&mut writer);
    let (first, second) = (base(FIRST, T0 - 1), base(middle, T0 + 500));
    let only = |all: &[BackupSet], set: &BackupSet| {
        let found = log.coverage().only_from(all, &set.id).unwrap();
        found.map(|(from, to)| (from.as_millisecond() - T0, to.as_millisecond() - T0))
    };
    let both = [first.clone(), second.clone()];
    assert_eq!(only(&both, &first), Some((-1, -1)));
    assert_eq!(only(&both, &second), None);
    assert_eq!(only(&both[..1], &first), Some((-1, 1000)));
    assert_eq!(only(&both[1..], &second), Some((0, 1000)));
}

/// What is taken back is all behind the cut, in whichever timeline: its own, behind a hole, and those that were begun since; and nothing of
/// what is older.
#[test]
fn what_is_taken_back_is_counted_over_timelines() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    for n in 0..5 {
        put(&mut writer, &set("a", &n.to_string()), T0 + n);
    }
    let last = writer.offset();
    // What lies between is in no log.
    writer.skip_to(last + 1000).unwrap();
    put(&mut writer, &[select(0), set("a", "behind a hole")].concat(), T0 + 10);
    seal(&mut writer);
    let child = NewTimeline { opened_at: at(T0 + 100), ..new_timeline(FIRST + 9000, Some(0)) };
    let child = log.archive.open_timeline(child).unwrap();
    let mut writer = log.archive.writer(&child, limits(1 << 20)).unwrap();
    for n in 0..3 {
        put(&mut writer, &set("b", &n.to_string()), T0 + 100 + n);
    }
    seal(&mut writer);
    let bases = [base(FIRST, T0 - 1), base(last + 1000, T0 + 9), base(FIRST + 9000, T0 + 99)];
    let taken_back = |ms: i64| cut(&log, &bases, T0 + ms).unwrap().taken_back;
    assert_eq!([0, 4, 10, 100, 102].map(taken_back), [8, 4, 3, 2, 0]);
    let before = CutAt::Before(child.position(FIRST + 9000));
    assert_eq!(cut_at(&log, &bases, &before).unwrap().taken_back, 3);
}

/// A moment within an outage is refused, and a position within what came behind it is not: it needs no moment that is known.
#[test]
fn a_position_needs_no_precise_moment() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    let late = |writer: &mut LogWriter, value: &str| {
        let offset = writer.offset();
        writer.append(&set("a", value), at(T0 + 5000), SignedDuration::from_millis(4000)).unwrap();
        offset
    };
    put(&mut writer, &set("a", "0"), T0);
    let positions = ["1", "2"].map(|value| late(&mut writer, value));
    seal(&mut writer);
    let bases = [base(FIRST, T0 - 1)];
    assert_eq!(cut(&log, &bases, T0 + 3000).unwrap_err().why, Why::Imprecise);
    let found = positions.map(|offset| {
        let cut = cut_at(&log, &bases, &CutAt::Before(log.timeline.position(offset))).unwrap();
        (cut.to.offset == offset, cut.commands, cut.taken_back)
    });
    assert_eq!(found, [(true, 1, 2), (true, 2, 1)]);
}
