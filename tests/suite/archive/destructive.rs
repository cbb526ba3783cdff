//! What destroyed data is found with the position right before it, whatever lies around it; a cut at that position has all that was there.

use super::*;
use crate::support::write_over;
use std::time::Instant;
use tair_backup_mcp::model::destruction::{Destruction, Destructions, How};
use tair_backup_mcp::model::log::GapCause;

/// A search without a deadline.
fn found(log: &Log, from: i64, to: i64) -> Destructions {
    let deadline = Instant::now() + Duration::from_secs(3600);
    log.coverage().destructive(&[base(FIRST, T0)], (at(from), at(to)), deadline).unwrap()
}

/// Sends commands, each at its moment.
struct Sender {
    writer: LogWriter,
    ms: i64,
}

impl Sender {
    /// Sends something some milliseconds behind the last; where it begins, and when it came.
    fn send(&mut self, after: i64, bytes: &[u8]) -> (u64, i64) {
        self.ms += after;
        let begins = self.writer.offset();
        put(&mut self.writer, bytes, self.ms);
        (begins, self.ms)
    }
}

#[test]
fn what_destroyed_data_is_told_with_its_position() {
    let log = Log::new();
    // Segments of about a command each.
    let mut to = Sender { writer: log.writer(200), ms: T0 };
    to.send(100, &[select(0), set("a", "FLUSHALL"), command(&[b"SET", b"DEL", b"cart:"])].concat());
    // A single removal is none to tell.
    to.send(100, &[select(1), command(&[b"DEL", b"one"])].concat());
    to.send(100, &select(0));
    let mut firsts = Vec::new();
    for n in 0..12 {
        // What else is removed meanwhile, by another command or of another kind, is told apart.
        let [cart, more] = [format!("cart:{n}"), format!("cart:x{n}")];
        firsts.push(to.send(100, &command(&[b"del", cart.as_bytes(), more.as_bytes()])));
        to.send(0, &set("b", "1"));
        firsts.push(to.send(0, &command(&[b"DEL", format!("lock:{n}").as_bytes()])));
        to.send(10, &command(&[b"Unlink", cart.as_bytes()]));
    }
    let ended = to.ms - 10;
    to.send(100, &select(2));
    let (multi, flushed) = to.send(
        100,
        &[command(&[b"MULTI"]), set("c", "1"), command(&[b"flushdb", b"ASYNC"]), command(&[b"EXEC"])].concat(),
    );
    let flush = multi + (command(&[b"MULTI"]).len() + set("c", "1").len()) as u64;
    let renamed = to.send(100, &command(&[b"RENAME", b"from", b"to"]));
    to.send(100, &command(&[b"RENAMENX", b"from", b"to"]));
    to.send(100, &command(&[b"COPY", b"from", b"there", b"DB", b"2"]));
    to.send(100, &command(&[b"RESTORE", b"replace", b"0", b"REPLACE"]));
    let copied = to.send(100, &command(&[b"COPY", b"from", b"on", b"replace"]));
    let swapped = to.send(100, &command(&[b"SWAPDB", b"0", b"1"]));
    to.send(100, &command(&[b"FUNCTION", b"LOAD", b"#!lua name=f"]));
    let functions = to.send(100, &command(&[b"FUNCTION", b"flush", b"ASYNC"]));
    seal(&mut to.writer);

    let event = |(offset, ms): (u64, i64), how, command: &str, (commands, keys), prefix: &str, database| Destruction {
        at: at(ms),
        until: at(ms),
        precision_ms: 0,
        position: log.timeline.position(offset),
        restorable: true,
        how,
        command: command.into(),
        commands,
        keys,
        key_prefix: prefix.into(),
        database,
        may_be_servers: false,
    };
    let unlinked = (firsts[1].0 + command(&[b"DEL", b"lock:0"]).len() as u64, firsts[1].1 + 10);
    let all = [
        event(functions, How::Functions, "FUNCTION FLUSH", (1, 0), "", None),
        event(swapped, How::Databases, "SWAPDB 0 1", (1, 0), "", None),
        event(copied, How::Replaces, "COPY", (1, 1), "on", Some(2)),
        event(renamed, How::Replaces, "RENAME", (1, 1), "to", Some(2)),
        event((flush, flushed), How::Databases, "FLUSHDB", (1, 0), "", Some(2)),
        Destruction {
            until: at(ended + 10),
            may_be_servers: true,
            ..event(unlinked, How::Removes, "UNLINK", (12, 12), "cart:", Some(0))
        },
        Destruction {
            until: at(ended),
            may_be_servers: true,
            ..event(firsts[1], How::Removes, "DEL", (12, 12), "lock:", Some(0))
        },
        Destruction { until: at(ended), ..event(firsts[0], How::Removes, "DEL", (12, 24), "cart:", Some(0)) },
    ];
    let told = found(&log, T0, to.ms);
    assert_eq!(told.found, all);
    assert_eq!((told.searched, told.stopped), (Some((at(T0), at(to.ms))), false));
    let within = found(&log, flushed, flushed + 99);
    assert_eq!((within.found.as_slice(), within.searched), (&all[4..5], Some((at(flushed), at(flushed + 99)))));
    // Of what no set leads to it is said.
    let later = base(copied.0, T0);
    let told = log.coverage().destructive(&[later], (at(T0), at(to.ms)), Instant::now() + LONG).unwrap();
    let restorable: Vec<bool> = told.found.iter().map(|event| event.restorable).collect();
    assert_eq!(restorable, [true, true, true, false, false, false, false, false]);

    // Before the transaction with FLUSHDB, all is there.
    let before = cut_at(&log, &[base(FIRST, T0)], &CutAt::Before(all[4].position.clone())).unwrap();
    assert_eq!(before.to.offset, multi);
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_transaction_is_one_event_and_none_of_the_servers_own() {
    let log = Log::new();
    let mut to = Sender { writer: log.writer(1 << 20), ms: T0 };
    let names = ["cart:1", "user:2", "order:3", "plain"];
    let dels: Vec<u8> = (0..20).flat_map(|n| command(&[b"DEL", names[n % 4].as_bytes()])).collect();
    let (multi, _) = to.send(10, &[select(0), command(&[b"MULTI"]), dels, command(&[b"EXEC"])].concat());
    seal(&mut to.writer);
    let told = found(&log, T0, to.ms).found;
    let first = multi + (select(0).len() + command(&[b"MULTI"]).len()) as u64;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].position.offset, told[0].keys, told[0].key_prefix.as_str()), (first, 20, ""));
    assert!(!told[0].may_be_servers);
}

/// Commands that take elements, and expiries that had passed, are told in bursts; expiries to come are not.
#[test]
fn trims_and_passed_expiries_are_told_in_bursts() {
    let log = Log::new();
    let mut to = Sender { writer: log.writer(1 << 20), ms: T0 };
    to.send(1, &select(0));
    let (past, future) = ((T0 - 1).to_string(), (T0 + 60_000).to_string());
    for n in 0..10 {
        let key = |kind: &str| format!("{kind}:{n}").into_bytes();
        to.send(1, &command(&[b"LTRIM", &key("list"), b"0", b"9"]));
        to.send(1, &command(&[b"HDEL", &key("hash"), b"a", b"b", b"c"]));
        to.send(1, &command(&[b"PEXPIREAT", &key("past"), past.as_bytes()]));
        to.send(1, &command(&[b"PEXPIREAT", &key("future"), future.as_bytes()]));
        to.send(1, &command(&[b"EXPIRE", &key("later"), b"100"]));
        to.send(1, &command(&[b"LPOP", &key("queue")]));
        if n > 0 {
            to.send(1, &command(&[b"ZREMRANGEBYRANK", &key("few"), b"0", b"9"]));
        }
        to.send(1, &command(&[b"XDELEX", &key("log"), b"IDS", b"1", b"1-1"]));
        to.send(1, &command(&[b"XACKDEL", &key("group"), b"g", b"IDS", b"1", b"1-1"]));
        to.send(1, &command(&[b"VREM", &key("vectors"), b"a"]));
        // What stands behind the key is none.
        to.send(1, &command(&[b"DELIFEQ", &key("lock"), b"value"]));
        to.send(1, &command(&[b"DELEX", &key("seen"), b"IFEQ", b"value"]));
    }
    seal(&mut to.writer);
    let told = found(&log, T0, to.ms).found;
    let shown: Vec<_> = told.iter().map(|e| (e.how, e.command.as_str(), e.keys, e.key_prefix.as_str())).collect();
    let expected = [
        (How::Removes, "DELEX", 10, "seen:"),
        (How::Removes, "DELIFEQ", 10, "lock:"),
        (How::Trims, "VREM", 10, "vectors:"),
        (How::Trims, "XACKDEL", 10, "group:"),
        (How::Trims, "XDELEX", 10, "log:"),
        (How::Expires, "PEXPIREAT", 10, "past:"),
        (How::Trims, "HDEL", 10, "hash:"),
        (How::Trims, "LTRIM", 10, "list:"),
    ];
    assert_eq!(shown, expected);
}

/// What rises out of everyday removals of the same kind is told apart, to a tenth of a second; and what follows a pause too.
#[test]
fn a_rise_is_told_apart_from_what_goes_on_all_day() {
    let log = Log::new();
    // Segments of a second or so.
    let mut to = Sender { writer: log.writer(2000), ms: T0 };
    to.send(1, &select(0));
    let mut n = 0;
    let mut del = |to: &mut Sender, after: i64| {
        n += 1;
        to.send(after, &command(&[b"DEL", format!("cart:{n}").as_bytes()]))
    };
    for _ in 0..100 {
        del(&mut to, 200);
    }
    let begins = del(&mut to, 200);
    for _ in 0..3000 {
        del(&mut to, 1);
    }
    for _ in 0..100 {
        del(&mut to, 200);
    }
    let ended = to.ms;
    let pause = del(&mut to, 1001);
    for _ in 0..9 {
        del(&mut to, 10);
    }
    seal(&mut to.writer);
    let told = found(&log, T0, to.ms).found;
    let shown: Vec<_> = told.iter().map(|e| (e.position.offset, e.keys)).collect();
    let [(paused, 10), (_, 99..=100), (rose, 3001..=3002), (_, 100)] = shown[..] else { panic!("{shown:?}") };
    assert_eq!((paused, rose), (pause.0, begins.0));
    assert_eq!((told[1].until, told[2].at), (at(ended), at(begins.1)));
}

/// A deadline that has passed lets one segment be searched; going on from where that came to finds everything, and nothing is left out.
#[test]
fn a_search_that_ends_early_says_how_far_it_came() {
    let log = Log::new();
    let mut to = Sender { writer: log.writer(100), ms: T0 };
    let flushes: Vec<u64> = (0..20)
        .map(|_| to.send(500, &[select(0), command(&[b"FLUSHALL"]), set("x", &"y".repeat(90))].concat()).0)
        .collect();
    seal(&mut to.writer);
    let (mut end, mut rounds, mut offsets) = (to.ms, 0, Vec::new());
    loop {
        let told = log.coverage().destructive(&[], (at(T0), at(end)), Instant::now()).unwrap();
        rounds += 1;
        offsets.extend(told.found.iter().map(|event| event.position.offset - select(0).len() as u64));
        let (from, _) = told.searched.unwrap();
        if !told.stopped {
            break;
        }
        assert!(from < at(end), "the search does not go on");
        end = from.as_millisecond();
    }
    let newest_first: Vec<u64> = flushes.into_iter().rev().collect();
    assert_eq!(offsets, newest_first);
    assert!(rounds > 10, "{rounds}");
}

/// A damaged segment hides nothing but itself, and is told of.
#[test]
fn damage_is_passed_over_and_told() {
    let log = Log::new();
    let mut to = Sender { writer: log.writer(100), ms: T0 };
    for _ in 0..3 {
        to.send(5000, &[select(0), command(&[b"FLUSHALL"]), set("x", &"y".repeat(90))].concat());
    }
    seal(&mut to.writer);
    let segments = log.segments();
    assert_eq!(segments.len(), 3);
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    bytes[20] ^= 1;
    write_over(&segments[1], bytes);
    let told = found(&log, T0, to.ms);
    let times: Vec<i64> = told.found.iter().map(|event| event.at.as_millisecond() - T0).collect();
    assert_eq!(times, [15_000, 5000]);
    let missing: Vec<_> = told.missing.iter().map(|gap| (gap.cause, gap.to.as_millisecond() - T0)).collect();
    assert_eq!(missing, [(GapCause::Damaged, 10_000)]);
}

/// Keys that begin with ever another word are one event from its very first on, wherever a segment ends, and are not held one by one;
/// single removals of as many kinds, with a pause between, are none.
#[test]
fn many_kinds_of_keys_are_one_event_from_the_first() {
    let log = Log::new();
    let mut dice = Dice::new("many_kinds_of_keys_are_one_event_from_the_first");
    // The first segment that the wave is in ends soon.
    let mut to = Sender { writer: log.writer(30_000), ms: T0 };
    to.send(1, &select(0));
    let mut word = || (0..6).map(|_| char::from(b'a' + dice.below(26) as u8)).collect::<String>();
    let mut del =
        |to: &mut Sender, after: i64| to.send(after, &command(&[b"DEL", format!("{}:{}", word(), word()).as_bytes()]));
    for _ in 0..900 {
        del(&mut to, 1500);
    }
    to.ms += 2000;
    let first = del(&mut to, 0);
    for _ in 0..20_000 {
        del(&mut to, 1);
    }
    seal(&mut to.writer);
    let told = found(&log, T0, to.ms);
    let shown: Vec<_> = told.found.iter().map(|e| (e.position.offset, e.keys)).collect();
    assert_eq!((shown, told.stopped), (vec![(first.0, 20_001)], false));
}

#[test]
fn a_large_removal_is_never_held() {
    let log = Log::new();
    let mut writer = log.writer(1 << 30);
    let big = vec![b'k'; 3 << 20];
    put(&mut writer, &[select(0), command(&[b"SET", b"a", &big])].concat(), T0);
    let start = writer.offset();
    let many: Vec<Vec<u8>> = (0..200_000).map(|n| format!("session:{n}").into_bytes()).chain([big]).collect();
    let words: Vec<&[u8]> = std::iter::once(b"UNLINK".as_slice()).chain(many.iter().map(Vec::as_slice)).collect();
    put(&mut writer, &command(&words), T0 + 1);
    seal(&mut writer);
    let told = found(&log, T0, T0 + 1).found;
    assert_eq!((told[0].position.offset, told[0].keys, told[0].key_prefix.as_str()), (start, 200_001, ""));
}
