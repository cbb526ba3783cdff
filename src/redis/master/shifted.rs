//! Tests of a moved stream: however it is cut into pieces, every time in it is moved, and nothing else is touched, whatever it looks like.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::shift::StreamShift;
use crate::redis::resp::encode;

fn command(words: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    out
}

fn moves(relative: bool, table: &[(&str, &[&str])]) {
    let long = format!("SET k {}", "PXAT ".repeat(40).trim_end().replace(' ', "_"));
    for (words, expected) in table.iter().copied().chain([(long.as_str(), &[long.as_str()][..])]) {
        let expected: Vec<u8> = expected.iter().flat_map(|words| command(words)).collect();
        // Something before and behind it, so that nothing of one command is taken for the other's.
        let stream = [command("SET k PXAT"), command(words), command("DEL k")].concat();
        let expected = [command("SET k PXAT"), expected, command("DEL k")].concat();
        for piece in [1, 2, 7, stream.len()] {
            let (mut shift, mut out) = (StreamShift::new(1000, relative), Vec::new());
            for bytes in stream.chunks(piece) {
                shift.feed(bytes, 100_000, &mut out).unwrap();
            }
            let text = String::from_utf8_lossy(&out).into_owned();
            assert_eq!(text, String::from_utf8_lossy(&expected), "{words} in pieces of {piece}");
            assert!(shift.is_between_commands());
        }
    }
}

#[test]
fn moments_are_moved() {
    moves(
        false,
        &[
            ("PEXPIREAT k 5", &["PEXPIREAT k 1005"]),
            ("pexpireat k 1999999999999", &["PEXPIREAT k 2000000000999"]),
            ("PEXPIREAT k 5 GT", &["PEXPIREAT k 1005 GT"]),
            ("EXPIREAT k 5", &["PEXPIREAT k 6000"]),
            ("SET PXAT PXAT PXAT 7 KEEPTTL", &["SET PXAT PXAT PXAT 1007 KEEPTTL"]),
            ("SET k v EXAT 7", &["SET k v PXAT 8000"]),
            ("set k v IFEQ PXAT pxat 7", &["set k v IFEQ PXAT PXAT 1007"]),
            ("SET k 5", &["SET k 5"]),
            ("HPEXPIREAT h 7 NX FIELDS 1 PXAT", &["HPEXPIREAT h 1007 NX FIELDS 1 PXAT"]),
            ("HEXPIREAT h 7 FIELDS 1 f", &["HPEXPIREAT h 8000 FIELDS 1 f"]),
            ("HSETEX h FNX PXAT 7 FIELDS 1 PXAT 9", &["HSETEX h FNX PXAT 1007 FIELDS 1 PXAT 9"]),
            ("MSETEX 2 PXAT 1 k 2 PXAT 7", &["MSETEX 2 PXAT 1 k 2 PXAT 1007"]),
            ("RESTORE k 7 payload ABSTTL", &["RESTORE k 1007 payload ABSTTL"]),
            ("RESTORE k 0 payload", &["RESTORE k 0 payload"]),
            // Such a server sends none that count from when they run.
            ("EXPIRE k 5", &["EXPIRE k 5"]),
            ("SETEX k 5 v", &["SETEX k 5 v"]),
            ("XADD s 5-1 PXAT 7", &["XADD s 5-1 PXAT 7"]),
        ],
    );
}

#[test]
fn what_counts_from_when_it_runs_becomes_a_moment() {
    moves(
        true,
        &[
            ("EXPIRE k 5", &["PEXPIREAT k 106000"]),
            ("PEXPIRE k 5", &["PEXPIREAT k 101005"]),
            ("SETEX k 5 v", &["SET k v PXAT 106000"]),
            ("PSETEX PX 5 EX", &["SET PX EX PXAT 101005"]),
            ("SET k v px 5", &["SET k v PXAT 101005"]),
            ("SET k v NX EX 5", &["SET k v NX PXAT 106000"]),
            ("SET k v PXAT 5", &["SET k v PXAT 1005"]),
            ("PEXPIREAT k 5", &["PEXPIREAT k 1005"]),
            ("RESTORE k 5 payload REPLACE", &["RESTORE k 0 payload REPLACE", "PEXPIREAT k 101005"]),
            ("RESTORE k 5 payload ABSTTL", &["RESTORE k 0 payload ABSTTL", "PEXPIREAT k 1005"]),
            ("RESTORE k 0 payload REPLACE", &["RESTORE k 0 payload REPLACE"]),
        ],
    );
}

/// Times of both kinds are counted where they lie, whatever stands around them.
#[test]
fn times_are_counted() {
    let stream: Vec<u8> = [
        "PEXPIREAT k 100",
        "PEXPIREAT k 101",
        "SET k v EXAT 1",
        "SET 500 500 GET",
        "SETEX k 1 v",
        "EXPIRE k 2",
        "RESTORE k 50 payload REPLACE",
        "RESTORE k 1101 payload ABSTTL",
        "HPEXPIREAT h 600 FIELDS 1 f",
        "DEL k",
    ]
    .iter()
    .flat_map(|words| command(words))
    .collect();
    for piece in [1, 9, stream.len()] {
        let mut shift = StreamShift::new(0, true).counting((100, 1100));
        for bytes in stream.chunks(piece) {
            shift.feed(bytes, 100, &mut Vec::new()).unwrap();
        }
        // Of the second, the third, SETEX, the first RESTORE and HPEXPIREAT.
        assert_eq!(shift.counted(), 5, "in pieces of {piece}");
    }
    let may = |name: &str| StreamShift::may_expire(&["DEL".to_owned(), name.to_owned()].into());
    assert!(may("SET") && may("EXPIRE") && may("SETEX") && may("RESTORE") && !may("INCR") && !may("HPERSIST"));
}

#[test]
fn fields_that_are_to_stay_have_not_expired_by_then() {
    let persists = |words| {
        moves(
            false,
            &[
                ("HPERSIST h FIELDS 2 f g", words),
                ("hpersist h FIELDS 1 f", &["HPEXPIREAT h 4102444800000 FIELDS 1 f", "hpersist h FIELDS 1 f"]),
            ],
        )
    };
    persists(&["HPEXPIREAT h 4102444800000 FIELDS 2 f g", "HPERSIST h FIELDS 2 f g"]);
    let needs = |name: &str| StreamShift::is_needed(&[name.to_owned()].into());
    assert!(needs("HPERSIST") && !needs("PERSIST"));
    // What an append-only file says beside its commands stays where it is.
    let stream = [b"#TS:5\r\n".to_vec(), command("PEXPIREAT k 5"), b"#TS:6\r\n".to_vec(), command("DEL k")].concat();
    let mut out = Vec::new();
    StreamShift::new(0, false).feed(&stream, 0, &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&stream));
}

#[test]
fn what_is_no_stream_is_told() {
    let mut shift = StreamShift::new(1, false);
    assert!(shift.feed(b"PING\r\n", 0, &mut Vec::new()).is_err());
    // A hash whose fields expire, cut off.
    let mut broken = Vec::new();
    encode(&mut broken, &[b"RESTORE", b"k", b"0", b"\x19abcdefgh", b"ABSTTL"]);
    assert!(StreamShift::new(1, false).feed(&broken, 0, &mut Vec::new()).is_err());
}
