//! What a value holds, as one number: the same for the same content, however a server has written it.
//!
//! Sets, sorted sets and hashes count as their members in whatever order, lists and streams in theirs; a number counts as its text, a score by
//! its value, the expiry of a field as its time. What a value is not: which encoding it has, how nodes are cut, whether it is compressed. Of a
//! stream the counters that only say how far behind a group is, and when a consumer was last seen, are left out: servers estimate the ones
//! anew and move the others without any change. What a module wrote counts part by part; two versions of a module may write the same in two ways.
//!
//! Numbers of one key can be compared with each other, and no others. The key is fresh each time, so that nobody can prepare two values
//! that have the same number.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use super::source::{AT_ONCE_MAX, Hashing};

/// What numbers are made with.
#[derive(Debug, Clone)]
pub struct ContentKey {
    /// The key of long texts' hashes, of which short texts' key is made.
    long: RandomState,
    seed: u64,
    shared_seed: SharedSeed,
}

impl ContentKey {
    /// A fresh one.
    #[must_use]
    pub fn random() -> Self {
        let long = RandomState::new();
        Self { seed: long.hash_one(0), shared_seed: SharedSeed::from_u64(long.hash_one(1)), long }
    }

    /// A hash of what is written to it in as many pieces of the same lengths.
    #[inline]
    #[must_use]
    pub fn hasher(&self) -> FoldHasher<'_> {
        FoldHasher::with_seed(self.seed, &self.shared_seed)
    }

    /// One number of three.
    #[inline]
    #[must_use]
    pub fn mix(&self, a: u64, b: u64, c: u64) -> u64 {
        let mut hash = self.hasher();
        hash.write_u64(a);
        hash.write_u64(b);
        hash.write_u64(c);
        hash.finish()
    }
}

impl Hashing for ContentKey {
    type Long = DefaultHasher;
    type Hash = u64;

    #[inline]
    fn whole(&self, bytes: &[u8]) -> u64 {
        if bytes.len() > AT_ONCE_MAX {
            let mut long = self.begin();
            self.write(&mut long, bytes);
            return self.end(long);
        }
        let mut hash = self.hasher();
        hash.write(bytes);
        hash.finish()
    }

    fn begin(&self) -> DefaultHasher {
        self.long.build_hasher()
    }

    fn write(&self, long: &mut DefaultHasher, part: &[u8]) {
        long.write(part);
    }

    fn end(&self, long: DefaultHasher) -> u64 {
        long.finish()
    }
}

/// What a walk found a value to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value {
    /// The number of its type and content.
    pub number: u64,
    /// Bytes of the value as it is written.
    pub bytes: u64,
    /// When the last field has expired of a hash all of whose fields expire, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// The content of the current value, as it goes by.
pub(super) struct Contents<'k> {
    pub(super) key: &'k ContentKey,
    /// Fields that expire by then are not there.
    at_ms: u64,
    /// The numbers of all rows, added up, so that their order says nothing.
    sum: u64,
    rows: u64,
    /// When the last field that was met expires; more than any time: never. 0 where none was met.
    last_ms: u64,
}

impl<'k> Contents<'k> {
    pub(super) fn new(key: &'k ContentKey, at_ms: i64) -> Self {
        Self { key, at_ms: u64::try_from(at_ms).unwrap_or(0), sum: 0, rows: 0, last_ms: 0 }
    }

    /// A value begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        (self.sum, self.rows, self.last_ms) = (0, 0, 0);
    }

    /// Something that is there, wherever. What is of another kind has another `c`.
    #[inline]
    pub(super) fn row(&mut self, a: u64, b: u64, c: u64) {
        self.sum = self.sum.wrapping_add(self.key.mix(a, b, c));
        self.rows += 1;
    }

    /// Something that is there behind all others so far.
    #[inline]
    pub(super) fn next(&mut self, a: u64, b: u64) {
        self.row(self.rows, a, b);
    }

    /// A member with its score, or a field with its value and when it expires; 0 for never.
    #[inline]
    pub(super) fn field(&mut self, name: u64, value: u64, expiry_ms: u64) {
        self.last_ms = self.last_ms.max(if expiry_ms > 0 { expiry_ms } else { u64::MAX });
        if expiry_ms == 0 || expiry_ms > self.at_ms {
            self.row(name, value, expiry_ms);
        }
    }

    /// The value has ended.
    #[inline]
    pub(super) fn value(&self, type_byte: u8, bytes: u64) -> Value {
        let number = self.key.mix(class(type_byte), self.rows, self.sum);
        let expires_ms = i64::try_from(self.last_ms).ok().filter(|last| *last > 0);
        Value { number, bytes, expires_ms }
    }
}

/// The type that a client sees, of the type that says how it is written.
fn class(type_byte: u8) -> u64 {
    match type_byte {
        0 => 0,
        1 | 10 | 14 | 18 => 1,
        2 | 11 | 20 => 2,
        3 | 5 | 12 | 17 => 3,
        4 | 9 | 13 | 16 | 22 | 24 | 25 => 4,
        15 | 19 | 21 | 26 | 27 => 5,
        other => u64::from(other) << 8,
    }
}

/// A score as a number: zero has no sign, for the encodings do not agree on it.
#[inline]
pub(super) fn score_bits(score: f64) -> u64 {
    (score + 0.0).to_bits()
}
