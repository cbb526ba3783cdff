//! Tests of what a stream is folded to, however it is cut into pieces. That a server ends up with the same data is shown by the suite.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::fold::{ARGUMENTS_MAX, Fold, WINDOW_BYTES};
use crate::redis::resp::encode;

fn stream(commands: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for words in commands {
        encode(&mut out, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    }
    out
}

fn folded(stream: &[u8], piece: usize) -> Vec<u8> {
    let (mut fold, mut out) = (Fold::default(), Vec::new());
    for bytes in stream.chunks(piece) {
        fold.feed(bytes, &mut out).unwrap();
    }
    assert!(fold.is_between_commands());
    fold.finish(&mut out);
    out
}

fn folds(commands: &[&str], to: &[&str]) {
    let stream_of = stream(commands);
    for piece in [1, 3, 64, stream_of.len()] {
        let got = folded(&stream_of, piece);
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&stream(to)), "in pieces of {piece}");
    }
}

/// What is replaced is left out, whatever it was; what depends on what was there is not.
#[test]
fn what_is_replaced_is_left_out() {
    folds(
        &["SELECT 0", "SET a 1", "APPEND a 2", "set a 3", "INCR a", "LPUSH b 1", "DEL b", "RPUSH b 2"],
        &["SELECT 0", "set a 3", "INCR a", "DEL b", "RPUSH b 2"],
    );
    folds(
        &["SELECT 0", "SET a 1", "SET a 2 PXAT 4102444800000", "PERSIST a", "SETEX c 9 1", "UNLINK c"],
        &["SELECT 0", "SET a 2 PXAT 4102444800000", "PERSIST a", "UNLINK c"],
    );
    let kept = ["SELECT 0", "SET a 1", "SET a 2 KEEPTTL", "SET a 3 NX GET", "SET a 4 IFEQ 3", "GETSET a 5"];
    folds(&kept, &kept);
}

/// Several of a kind are one, in their order, unless something else was between them, or it would be too long.
#[test]
fn several_of_a_kind_are_one() {
    folds(
        &[
            "SELECT 0",
            "LPUSH l 1",
            "ZADD z 1 a",
            "LPUSH l 2 3",
            "ZADD z -1 b 2 a",
            "lpush l 4",
            "LTRIM l 0 1",
            "LPUSH l 5",
        ],
        &["SELECT 0", "LPUSH l 1 2 3 4", "LTRIM l 0 1", "LPUSH l 5", "ZADD z 1 a -1 b 2 a"],
    );
    let kept = ["SELECT 0", "ZADD z 1 a", "ZADD z GT 2 a", "ZADD z inf a", "ZADD z 3 b"];
    folds(&kept, &kept);
    let many = usize::try_from(ARGUMENTS_MAX).unwrap();
    let out = folded(&stream(&vec!["SADD s m"; many]), 1 << 20);
    assert!(out.starts_with(b"*130\r\n"), "{}", String::from_utf8_lossy(&out[..20]));
    assert!(out.ends_with(&stream(&["SADD s m m"])));
}

/// What is for other keys too, or not known, has all before it in front of it, and nothing behind it comes before it.
#[test]
fn nothing_passes_what_is_not_folded() {
    folds(
        &["SELECT 0", "SET a 1", "RENAME a b", "SET a 2", "DEL a c", "SET a 3", "ELBISSOPMI a", "SET a 4", "SET a 5"],
        &["SELECT 0", "SET a 1", "RENAME a b", "SET a 2", "DEL a c", "SET a 3", "ELBISSOPMI a", "SET a 5"],
    );
}

/// Commands of other databases are others, and each goes to its own.
#[test]
fn databases_are_told_apart() {
    folds(
        &["SELECT 1", "SET a 1", "SELECT 0", "SET a 2", "SELECT 1", "SET a 3", "SWAPDB 0 1", "SET a 4"],
        &["SELECT 0", "SET a 2", "SELECT 1", "SET a 3", "SWAPDB 0 1", "SET a 4"],
    );
    folds(
        &[
            "SELECT 1", "SET a 1", "SELECT 0", "FLUSHDB", "SELECT 1", "MULTI", "SET a 2", "SELECT 2", "FLUSHDB",
            "EXEC", "SET a 3",
        ],
        &[
            "SELECT 1", "SET a 1", "SELECT 0", "FLUSHDB", "SELECT 1", "MULTI", "SET a 2", "SELECT 2", "FLUSHDB",
            "EXEC", "SET a 3",
        ],
    );
}

/// A transaction goes without its frame where all of it can be folded, and else as it came.
#[test]
fn transactions() {
    folds(
        &["SELECT 0", "SET a 1", "MULTI", "SET a 2", "RPUSH l x", "EXEC", "RPUSH l y", "SET a 3"],
        &["SELECT 0", "SET a 3", "RPUSH l x y"],
    );
    folds(
        &["SELECT 0", "SET a 0", "SET a 1", "MULTI", "SET a 2", "RENAME a b", "SET a 3", "EXEC", "SET a 4"],
        &["SELECT 0", "SET a 1", "MULTI", "SET a 2", "RENAME a b", "SET a 3", "EXEC", "SET a 4"],
    );
}

/// However large a command or a transaction is, no more than a window is held, and it goes as it came.
#[test]
fn what_is_large_passes_through() {
    let large = format!("SET b {}", "x".repeat(3 * WINDOW_BYTES));
    let in_transaction = ["MULTI", "SET a 2", &large, "SET a 3", "EXEC"];
    let all = [&["SELECT 0", "SET a 0", "SET a 1", &large][..], &in_transaction, &["SET a 4"]].concat();
    let wire = stream(&all);
    let (mut fold, mut out) = (Fold::default(), Vec::new());
    let mut fed = 0;
    for bytes in wire.chunks(100_000) {
        fold.feed(bytes, &mut out).unwrap();
        fed += bytes.len();
        assert!(out.len() + WINDOW_BYTES + bytes.len() >= fed, "of {fed} bytes {} came out", out.len());
    }
    fold.finish(&mut out);
    let expected = [&["SELECT 0", "SET a 1", &large][..], &in_transaction, &["SET a 4"]].concat();
    assert!(out == stream(&expected));
    assert!(fold.feed(b"+OK\r\n", &mut out).is_err());
}
