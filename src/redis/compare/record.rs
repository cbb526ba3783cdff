//! What is remembered of a key: 32 bytes, whatever its length.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::redis::rdb::contents::{ContentKey, Value};
use crate::redis::rdb::statistics::DATABASES_MAX;

/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 32;
/// How far into a key its prefix is looked for, and longest key without a separator that is a row of its own.
const PREFIX_BYTES_MAX: usize = 64;
/// Bits of a database's number.
const DB_BITS: u32 = 17;
/// Bits of a record's last number below its place: whether the key stays, and two of when it is there.
const FLAG_BITS: u32 = 3;
/// Bits of a record's last number below the prefix.
const PLACE_BITS: u32 = DB_BITS + FLAG_BITS;

/// A key of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Hash of database and key: first bits decide the part.
    pub(super) key: u64,
    /// 32 further bits of another hash of both, and the size.
    rest: u64,
    /// Number of the content and the expiry.
    pub(super) value: u64,
    /// Hash of database and prefix (44 bits, 0 for none), number of the database (17), whether the key stays where the other state does not have
    /// it (1), whether it is there (1), whether it still is at the later moment (1).
    place: u64,
}

impl Record {
    /// What is the same for the same key.
    #[inline]
    pub(super) const fn id(&self) -> (u64, u32) {
        (self.key, (self.rest >> 32) as u32)
    }

    /// Bytes of its value, above 2 GiB rounded down to whole KiB.
    pub(super) const fn bytes(&self) -> u64 {
        let size = self.rest as u32;
        if size >> 31 == 0 { size as u64 } else { ((size << 1 >> 1) as u64) << 10 }
    }

    /// Whether it is there at the moment of its state.
    #[inline]
    pub(super) const fn is_there(&self) -> bool {
        self.place >> 1 & 1 == 1
    }

    /// Whether it is still there at the later moment of the two, for all that its state knows.
    #[inline]
    pub(super) const fn lasts(&self) -> bool {
        self.place & 1 == 1
    }

    /// Whether it stays as it is where the other state does not have it.
    #[inline]
    pub(super) const fn stays(&self) -> bool {
        self.place >> 2 & 1 == 1
    }

    /// The same key, of which it is known whether it stays.
    #[inline]
    pub(super) const fn staying(self, stays: bool) -> Self {
        Self { place: self.place | (stays as u64) << 2, ..self }
    }

    /// Its database and prefix.
    #[inline]
    pub(super) const fn place(&self) -> Place {
        Place(self.place >> FLAG_BITS)
    }

    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        for (to, from) in out.as_chunks_mut::<8>().0.iter_mut().zip([self.key, self.rest, self.value, self.place]) {
            *to = from.to_le_bytes();
        }
        out
    }

    pub(super) fn of_bytes(bytes: &[u8; RECORD_BYTES]) -> Self {
        let [key, rest, value, place] = bytes.as_chunks::<8>().0 else { return Self::NONE };
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        Self { key: number(key), rest: number(rest), value: number(value), place: number(place) }
    }

    const NONE: Self = Self { key: 0, rest: 0, value: 0, place: 0 };
}

/// A database and a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl Place {
    /// The number of the database, see [`Keys::db`].
    #[inline]
    pub(super) const fn db(self) -> u32 {
        (self.0 & ((1 << DB_BITS) - 1)) as u32
    }

    /// Whether there is a prefix.
    #[inline]
    pub(super) const fn has_prefix(self) -> bool {
        self.0 >> DB_BITS > 0
    }
}

/// What a key begins with, for a row: up to its first colon; without one up to the first of other usual separators; else all of it, if it
/// is short.
pub(super) fn prefix(key: &[u8]) -> Option<&[u8]> {
    let head = key.get(..PREFIX_BYTES_MAX).unwrap_or(key);
    let end = |is_end: fn(&u8) -> bool| head.iter().position(is_end).and_then(|at| head.get(..=at));
    end(|byte| *byte == b':')
        .or_else(|| end(|byte| b"/|.-_#".contains(byte)))
        .or_else(|| (key.len() == head.len()).then_some(key))
}

/// The databases met, in the order of their numbers, and the number of each.
#[derive(Default)]
struct Dbs {
    met: Vec<u64>,
    numbers: HashMap<u64, u32>,
}

/// What keys and their contents are hashed with, fresh for each comparison, and the databases met.
pub(super) struct Keys {
    pub(super) contents: ContentKey,
    names: RandomState,
    dbs: Mutex<Dbs>,
}

impl Keys {
    pub(super) fn random() -> Self {
        Self { contents: ContentKey::random(), names: RandomState::new(), dbs: Mutex::default() }
    }

    /// The number of a database: of those that either state has, in the order in which they are met.
    fn number_of(&self, db: u64) -> u32 {
        // Walks end before there are more: each counts its databases when it leaves one.
        const { assert!(2 * (DATABASES_MAX + 2) < 1 << DB_BITS, "there is a number for each database of either state") };
        let mut dbs = self.dbs.lock().unwrap_or_else(PoisonError::into_inner);
        let Dbs { met, numbers } = &mut *dbs;
        *numbers.entry(db).or_insert_with(|| {
            met.push(db);
            u32::try_from(met.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// The database of a number.
    pub(super) fn db(&self, number: u32) -> u64 {
        let dbs = self.dbs.lock().unwrap_or_else(PoisonError::into_inner);
        dbs.met.get(number as usize).copied().unwrap_or_default()
    }

    /// A number of a function library, by its code.
    pub(super) fn library(&self, code: &[u8]) -> u64 {
        self.names.hash_one(code)
    }

    /// The first hash of a key, which nobody who wrote it can have known.
    #[inline]
    pub(super) fn hash(&self, db: u32, key: &[u8]) -> u64 {
        let mut hash = self.names.build_hasher();
        hash.write_u32(db);
        hash.write(key);
        hash.finish()
    }

    /// The second.
    #[inline]
    pub(super) fn second_hash(&self, db: u32, key: &[u8]) -> u32 {
        let mut hash = self.contents.hasher();
        hash.write_u32(db);
        hash.write(key);
        hash.finish() as u32
    }

    /// Where a key belongs.
    #[inline]
    pub(super) fn place(&self, db: u32, key: &[u8]) -> Place {
        let hash = prefix(key).map_or(0, |prefix| {
            let mut hash = self.contents.hasher();
            hash.write_u32(db);
            hash.write(prefix);
            (hash.finish() >> PLACE_BITS).max(1)
        });
        Place(hash << DB_BITS | u64::from(db))
    }

    /// A key whose value is not known yet.
    #[inline]
    pub(super) fn begin(&self, db: u32, key: &[u8]) -> Record {
        let rest = u64::from(self.second_hash(db, key)) << 32;
        Record { key: self.hash(db, key), rest, value: 0, place: self.place(db, key).0 << FLAG_BITS }
    }

    /// Its value, and whether it is there at the moment of its state, and at the later one of the two.
    #[inline]
    pub(super) fn complete(
        &self,
        begun: Record,
        value: Value,
        expiry_ms: Option<i64>,
        [at, later]: [i64; 2],
    ) -> Record {
        let has_expiry = u64::from(expiry_ms.is_some());
        let number = self.contents.mix(value.number, has_expiry, expiry_ms.unwrap_or_default().cast_unsigned());
        let size = u32::try_from(value.bytes).ok().filter(|size| size >> 31 == 0);
        let size = size.unwrap_or_else(|| 1 << 31 | u32::try_from(value.bytes >> 10).unwrap_or(u32::MAX));
        let until = |ms: i64| [expiry_ms, value.expires_ms].into_iter().flatten().all(|expiry| expiry > ms);
        let there = u64::from(until(at)) << 1 | u64::from(until(later));
        let (rest, place) = (begun.rest | u64::from(size), begun.place | there);
        Record { rest, value: number, place, ..begun }
    }
}

/// The numbers of databases, asked for again and again as a walk asks for them.
pub(super) struct Databases<'a> {
    keys: &'a Keys,
    current: Option<(u64, u32)>,
}

impl<'a> Databases<'a> {
    pub(super) const fn of(keys: &'a Keys) -> Self {
        Self { keys, current: None }
    }

    /// The number of a database.
    #[inline]
    pub(super) fn number(&mut self, db: u64) -> u32 {
        match self.current {
            Some((current, number)) if current == db => number,
            _ => {
                let number = self.keys.number_of(db);
                self.current = Some((db, number));
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, Record, prefix};
    use crate::redis::rdb::contents::Value;

    #[test]
    fn prefixes_end_at_a_separator() {
        let long = [b'x'; 65];
        for (key, expected) in [
            (&b"user:1:name"[..], Some(&b"user:"[..])),
            (b"my-app:user", Some(b"my-app:")),
            (b"session.12", Some(b"session.")),
            (b"_x", Some(b"_")),
            (b"counter", Some(b"counter")),
            (b"", Some(b"")),
            (&long, None),
        ] {
            assert_eq!(prefix(key), expected);
        }
    }

    #[test]
    fn a_record_keeps_what_it_was_given() {
        let keys = Keys::random();
        for (bytes, kept) in [(0, 0), (5, 5), ((1 << 31) - 1, (1 << 31) - 1), ((3 << 31) + 5, 3 << 31)] {
            let cases = [(None, [true; 2]), (Some(5), [false; 2]), (Some(6), [true, false]), (Some(8), [true; 2])];
            for (expiry, there) in cases {
                let db = keys.number_of(7);
                let value = Value { number: 1, bytes, expires_ms: None };
                let stays = bytes == 5;
                let record = keys.complete(keys.begin(db, b"a:b").staying(stays), value, expiry, [5, 7]);
                assert_eq!(record.stays(), stays);
                let fields = Value { expires_ms: expiry, ..value };
                let of_fields = keys.complete(keys.begin(db, b"a:b"), fields, None, [5, 7]);
                assert_eq!([of_fields.is_there(), of_fields.lasts()], there);
                assert_eq!(Record::of_bytes(&record.to_bytes()), record);
                assert_eq!((record.bytes(), [record.is_there(), record.lasts()]), (kept, there));
                assert_eq!((record.place(), keys.db(record.place().db())), (keys.place(db, b"a:c"), 7));
                assert_eq!(record.id(), keys.begin(db, b"a:b").id());
            }
        }
    }
}
