//! Times of expiry where they stand in an RDB, moved as they pass by: those of keys, and those of the fields of hashes.
//!
//! It must not change what the walk sees, only what goes on; and must not make of a time more or fewer bytes than it had.

use std::io::Read;

use super::deep::{Check as _, Deep, FIELD_EXPIRY_MAX, Rows, Shape};
use super::error::{RdbError, RdbResult};
use super::input::Input;
use super::listpack::{Element, listpack};
use super::source::{Held, Source as _, Unpacked};
use super::string::Len;
use super::{Tap, Visitor};

/// A time below this takes fewer bytes than those that are moved. It is in January 1970: what expired then stays expired.
const FOUR_BYTES: i64 = 1 << 31;
/// Longest encoded hash that is held while its times are moved.
const HELD_BYTES_MAX: u64 = 16 << 20;

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    /// The next `N` bytes, which are a time: where times are moved, what goes on is what `with` makes of them.
    #[inline]
    pub(super) fn time<const N: usize>(&mut self, with: impl FnOnce([u8; N], i64) -> [u8; N]) -> RdbResult<[u8; N]> {
        let Some(by_ms) = self.shift_ms else { return self.array() };
        self.ensure(N)?;
        self.flush()?;
        let found = self.array()?;
        self.instead(&with(found, by_ms))?;
        Ok(found)
    }

    /// A hash whose fields expire, as a listpack. It is written anew without compression, its times in as many bytes as they had.
    pub(super) fn moved_listpack(&mut self, by_ms: i64, deep: &mut Deep<'_>) -> RdbResult<u64> {
        self.time(earliest)?;
        self.flush()?;
        self.muted = true;
        let at = self.offset();
        let mut bytes = Vec::new();
        let too_large = |length| {
            Err(Box::new(RdbError::TooLarge {
                what: "a hash whose fields expire",
                offset: at,
                length,
                limit: HELD_BYTES_MAX,
            }))
        };
        match self.len()? {
            Len::Plain(length) if length > HELD_BYTES_MAX => return too_large(length),
            Len::Plain(length) => self.collect(length as usize, &mut bytes)?,
            Len::Special(3) => {
                let (packed, length) = self.lzf_lengths()?;
                if length > HELD_BYTES_MAX {
                    return too_large(length);
                }
                let mut source = Unpacked::new(self, packed, length);
                source.each(length, |part| bytes.extend_from_slice(part))?;
                source.finish()?;
            }
            Len::Special(_) => return self.corrupt("a number stands where an encoded container belongs"),
        }
        let found = Shape::Listpack(Rows::HashTtl).run(&mut Held { bytes: &bytes, at }, deep)?;
        move_times(&mut bytes, at, by_ms)?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.instead(&[&[0x80][..], &length, &bytes].concat())?;
        Ok(found)
    }
}

/// Moves the time of a key.
pub(super) fn key(found: [u8; 8], by_ms: i64) -> [u8; 8] {
    i64::from_le_bytes(found).saturating_add(by_ms).to_le_bytes()
}

/// Moves the time of a key in seconds, which servers before Redis 2.6 wrote.
pub(super) fn key_in_seconds(found: [u8; 4], by_ms: i64) -> [u8; 4] {
    let moved = i64::from(i32::from_le_bytes(found)).saturating_add(by_ms.div_euclid(1000));
    i32::try_from(moved).unwrap_or(if moved < 0 { i32::MIN } else { i32::MAX }).to_le_bytes()
}

/// Moves the earliest time of a hash's fields, from which Redis counts the others; 0 where none expires.
pub(super) fn earliest(found: [u8; 8], by_ms: i64) -> [u8; 8] {
    match u64::from_le_bytes(found) {
        0 => found,
        earliest => earliest.saturating_add_signed(by_ms).to_le_bytes(),
    }
}

/// Moves the time of a field as Valkey writes it; −1 where it does not expire.
pub(super) fn field(found: [u8; 8], by_ms: i64) -> [u8; 8] {
    match i64::from_le_bytes(found) {
        -1 => found,
        expiry => expiry.saturating_add(by_ms).max(0).to_le_bytes(),
    }
}

/// Moves the times in a listpack that was checked: every third element.
fn move_times(bytes: &mut [u8], at: u64, by_ms: i64) -> RdbResult<()> {
    let (mut column, mut times) = (0, Vec::new());
    listpack(&mut Held { bytes, at }, |src, element| {
        column = (column + 1) % 3;
        match element {
            Element::Text(n) => src.pass(n)?,
            Element::Int(time) if column == 0 && time >= FOUR_BYTES => times.push((src.left(), time)),
            Element::Int(_) => {}
        }
        Ok(())
    })?;
    let size = bytes.len();
    for (left, time) in times {
        let moved =
            u64::try_from(time.saturating_add(by_ms)).unwrap_or_default().clamp(FOUR_BYTES as u64, FIELD_EXPIRY_MAX);
        let end = size.saturating_sub(left as usize);
        for (to, from) in bytes.iter_mut().skip(end.saturating_sub(8)).zip(moved.to_le_bytes()) {
            *to = from;
        }
    }
    Ok(())
}
