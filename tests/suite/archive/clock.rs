//! A clock that is set, either way: the log's times never go back, what nobody can tell apart is refused with its neighbours and is a
//! gap, and sealing goes by a clock that nobody sets.

use super::*;
use std::time::Instant;
use tair_backup_mcp::archive::Why;
use tair_backup_mcp::archive::clock::Reading;
use tair_backup_mcp::model::log::GapCause;

fn steps(log: &Log) -> Vec<(i64, i64)> {
    let of = |gap: &tair_backup_mcp::model::log::Gap| {
        assert_eq!(gap.cause, GapCause::ClockStep);
        (gap.from.as_millisecond(), gap.to.as_millisecond())
    };
    log.coverage().gaps.iter().map(of).collect()
}

#[test]
fn moments_that_came_twice_are_refused() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    put(&mut writer, &set("a", "2"), T0 + 20_000);
    put(&mut writer, &set("a", "3"), T0 + 60_000);
    seal(&mut writer);
    assert!(steps(&log).is_empty());
    // Back by more than half a minute, and once more; and then the clock goes on.
    put(&mut writer, &set("a", "4"), T0 + 30_000);
    put(&mut writer, &set("a", "5"), T0 + 10_000);
    put(&mut writer, &set("a", "6"), T0 + 61_000);
    seal(&mut writer);
    assert_eq!(steps(&log), [(T0 + 9_999, T0 + 60_000), (T0 + 29_999, T0 + 60_000)]);
    let bases = [base(FIRST, T0 - 1)];
    let commands = |ms: i64| cut(&log, &bases, ms).map(|cut| cut.commands);
    let twice =
        Outside { nearest_before: Some(at(T0 + 9_999)), nearest_after: Some(at(T0 + 60_000)), why: Why::Imprecise };
    for ms in [10_000, 20_000, 45_000, 59_999] {
        assert_eq!(commands(T0 + ms), Err(twice.clone()), "{ms}");
    }
    assert_eq!((commands(T0 + 9_999), commands(T0 + 60_000), commands(T0 + 61_000)), (Ok(1), Ok(5), Ok(6)));
}

/// Nothing need have been written meanwhile: the moments came twice all the same.
#[test]
fn a_step_back_is_told_where_nothing_was_written() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    put(&mut writer, &set("a", "2"), T0 + 60_000);
    put(&mut writer, &command(&[b"PING"]), T0 + 30_000);
    seal(&mut writer);
    assert_eq!(cut(&log, &[base(FIRST, T0 - 1)], T0 + 40_000).unwrap_err().nearest_before, Some(at(T0 + 29_999)));
}

/// A clock that is set back to before its timeline says moments once more that are an older timeline's: no gap of this one takes them away.
#[test]
fn a_step_back_ends_where_the_timeline_begins() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0 + 500);
    put(&mut writer, &set("a", "2"), T0 + 1000);
    put(&mut writer, &set("a", "3"), T0 - 50_000);
    put(&mut writer, &set("a", "4"), T0 + 2000);
    seal(&mut writer);
    assert_eq!(steps(&log), [(T0 - 1, T0 + 1000)]);
    let commands = |ms: i64| cut(&log, &[base(FIRST, T0)], T0 + ms).map(|cut| cut.commands);
    assert_eq!((commands(1000), commands(2000)), (Ok(3), Ok(4)));
    for ms in [0, 500, 999] {
        assert_eq!(commands(ms).unwrap_err().nearest_after, Some(at(T0 + 1000)), "{ms}");
    }
}

#[test]
fn moments_that_never_were_are_a_gap() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    let start = Instant::now();
    let mut came = |bytes: &[u8], wall_ms: i64, passed_ms: u64| {
        let steady = Some(start + Duration::from_millis(passed_ms));
        writer.append(bytes, Reading { wall_ms: T0 + wall_ms, steady }, SignedDuration::ZERO).unwrap();
    };
    came(&[select(0), set("a", "1")].concat(), 0, 0);
    came(&set("a", "2"), 10_000, 10_000);
    // An hour ahead.
    came(&set("a", "3"), 3_611_000, 11_000);
    came(&set("a", "4"), 3_612_000, 12_000);
    seal(&mut writer);
    assert_eq!(steps(&log), [(T0 + 11_000, T0 + 3_611_000)]);
    let bases = [base(FIRST, T0 - 1)];
    let commands = |ms: i64| cut(&log, &bases, T0 + ms).map(|cut| cut.commands);
    assert_eq!((commands(10_500), commands(11_000), commands(3_611_000)), (Ok(2), Ok(2), Ok(3)));
    let never = commands(1_800_000).unwrap_err();
    assert_eq!((never.nearest_before, never.nearest_after), (Some(at(T0 + 11_000)), Some(at(T0 + 3_611_000))));
}

/// A gap of the clock waits for the vault in the spool, and outlives a crash there.
#[test]
fn a_step_outlives_a_crash() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0 + 60_000);
    put(&mut writer, &set("a", "2"), T0);
    drop(writer);
    assert!(log.coverage().gaps.is_empty());
    let mut writer = log.writer(1 << 20);
    seal(&mut writer);
    assert_eq!(steps(&log), [(T0 - 1, T0 + 60_000)]);
    seal(&mut writer);
    assert_eq!(steps(&log).len(), 1, "it is put once");
    // The times of the next process do not go back either.
    put(&mut writer, &set("a", "3"), T0 + 5_000);
    seal(&mut writer);
    assert_eq!(log.coverage().runs[0].until(), at(T0 + 60_000));
}

#[test]
fn a_segment_is_sealed_however_the_clock_is_set() {
    let log = Log::new();
    let hour = SealLimits { bytes: 1 << 20, age: Duration::from_secs(3600) };
    let mut writer = log.archive.writer(&log.timeline, hour).unwrap();
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0 + 60_000);
    put(&mut writer, &set("a", "2"), T0);
    let now = Instant::now();
    writer.seal_due(now + Duration::from_secs(3000)).unwrap();
    writer.sealer().seal().unwrap();
    assert!(log.segments().is_empty());
    writer.seal_due(now + Duration::from_secs(3601)).unwrap();
    writer.sealer().seal().unwrap();
    assert_eq!(log.segments().len(), 1);
}

/// A base that was complete, by a clock that was set back, before an older timeline ended: the moments until then are that one's.
#[test]
fn moments_belong_to_the_older_timeline() {
    let log = Log::new();
    let mut writer = log.writer(1 << 20);
    put(&mut writer, &[select(0), set("a", "1")].concat(), T0);
    put(&mut writer, &set("a", "2"), T0 + 60_000);
    seal(&mut writer);
    let end = writer.offset();
    let new = NewTimeline { opened_at: at(T0 + 60_001), ..new_timeline(end + 500, Some(0)) };
    let next = log.archive.open_timeline(new).unwrap();
    let mut writer = log.archive.writer(&next, limits(1 << 20)).unwrap();
    put(&mut writer, &set("a", "3"), T0 + 31_000);
    put(&mut writer, &set("a", "4"), T0 + 70_000);
    seal(&mut writer);
    let bases = [base(FIRST, T0 - 1), base(end + 500, T0 + 30_000)];
    let windows = log.coverage().windows(&bases).unwrap();
    assert_eq!((windows[0].from, windows[0].to), (at(T0 - 1), at(T0 + 60_000)));
    assert!(windows[1].from > windows[0].to, "{windows:?}");
    let of = |ms: i64| cut(&log, &bases, T0 + ms).map(|cut| (cut.timeline.id, cut.commands));
    let old = log.timeline.id.clone();
    assert_eq!((of(31_000), of(60_000)), (Ok((old.clone(), 1)), Ok((old, 2))));
    assert_eq!((of(60_001), of(70_000)), (Ok((next.id.clone(), 1)), Ok((next.id, 2))));
}
