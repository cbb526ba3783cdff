//! The inside of the containers that servers keep as one block of memory: listpack, ziplist, intset, zipmap.
//!
//! Every rule is one that servers' own sanitizers hold (`lpValidateIntegrity`, `ziplistValidateIntegrity`, and so on), which by
//! default they do not run on what they load. It must not decode more than an element's head.

use super::error::RdbResult;
use super::source::Source;

/// An element of a listpack, ziplist or zipmap. The bytes of a text are the next of the source; whoever is told takes them.
#[derive(Clone, Copy)]
pub(super) enum Element {
    Int(i64),
    Text(u64),
}

/// Where the number of elements in a header no longer fits.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// The byte that ends a container.
const END: u8 = 0xff;

const DISAGREES: &str = "an encoded container disagrees with its own header";
const NO_END: &str = "an encoded container does not end where it says";
const BAD_ELEMENT: &str = "an element of an encoded container has no known form";
const BAD_BACKLENGTH: &str = "an element of an encoded container disagrees with the length written beside it";

/// Checks a listpack; returns the number of its elements.
#[inline]
pub(super) fn listpack<S: Source>(
    src: &mut S,
    mut each: impl FnMut(&mut S, Element) -> RdbResult<()>,
) -> RdbResult<u64> {
    let size = src.left();
    let [b0, b1, b2, b3, n0, n1] = src.array()?;
    if u64::from(u32::from_le_bytes([b0, b1, b2, b3])) != size {
        return Err(src.corrupt(DISAGREES));
    }
    let mut found = 0_u64;
    while src.left() > 1 {
        let first = src.byte()?;
        let (head, element) = match first {
            0..=0x7f => (1, Element::Int(i64::from(first))),
            0x80..=0xbf => (1, Element::Text(u64::from(first & 0x3f))),
            0xc0..=0xdf => {
                let unsigned = i64::from(first & 0x1f) << 8 | i64::from(src.byte()?);
                (2, Element::Int(if unsigned < 1 << 12 { unsigned } else { unsigned - (1 << 13) }))
            }
            0xe0..=0xef => (2, Element::Text(u64::from(first & 0x0f) << 8 | u64::from(src.byte()?))),
            0xf0 => (5, Element::Text(u64::from(u32::from_le_bytes(src.array()?)))),
            0xf1 => (3, Element::Int(i64::from(i16::from_le_bytes(src.array()?)))),
            0xf2 => (4, Element::Int(int24(src.array()?))),
            0xf3 => (5, Element::Int(i64::from(i32::from_le_bytes(src.array()?)))),
            0xf4 => (9, Element::Int(i64::from_le_bytes(src.array()?))),
            _ => return Err(src.corrupt(BAD_ELEMENT)),
        };
        let length = head + if let Element::Text(n) = element { n } else { 0 };
        each(src, element)?;
        backlength(src, length)?;
        found += 1;
    }
    if src.left() != 1 || src.byte()? != END {
        return Err(src.corrupt(NO_END));
    }
    let count = u16::from_le_bytes([n0, n1]);
    if count != COUNT_UNKNOWN && u64::from(count) != found {
        return Err(src.corrupt(DISAGREES));
    }
    Ok(found)
}

/// Checks the length that stands behind an element, to be read backwards. The limits are the servers': their 14 bits end one early.
#[inline]
fn backlength<S: Source>(src: &mut S, length: u64) -> RdbResult<()> {
    if length < 128 {
        return if u64::from(src.byte()?) == length { Ok(()) } else { Err(src.corrupt(BAD_BACKLENGTH)) };
    }
    let bytes: u32 = match length {
        ..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    for at in (0..bytes).rev() {
        let more = if at + 1 == bytes { 0 } else { 0x80 };
        if u64::from(src.byte()?) != (length >> (7 * at)) & 0x7f | more {
            return Err(src.corrupt(BAD_BACKLENGTH));
        }
    }
    Ok(())
}

fn int24([b0, b1, b2]: [u8; 3]) -> i64 {
    i64::from(i32::from_le_bytes([0, b0, b1, b2]) >> 8)
}

/// Checks a ziplist; returns the number of its elements.
#[inline]
pub(super) fn ziplist<S: Source>(
    src: &mut S,
    mut each: impl FnMut(&mut S, Element) -> RdbResult<()>,
) -> RdbResult<u64> {
    let size = src.left();
    let [b0, b1, b2, b3, t0, t1, t2, t3, n0, n1] = src.array()?;
    if u64::from(u32::from_le_bytes([b0, b1, b2, b3])) != size {
        return Err(src.corrupt(DISAGREES));
    }
    let (mut found, mut previous, mut last) = (0_u64, 0_u64, size - src.left());
    while src.left() > 1 {
        let begun = src.left();
        last = size - begun;
        let before = match src.byte()? {
            small @ 0..254 => u64::from(small),
            254 => u64::from(u32::from_le_bytes(src.array()?)),
            END => return Err(src.corrupt(NO_END)),
        };
        if before != previous {
            return Err(src.corrupt(BAD_BACKLENGTH));
        }
        let first = src.byte()?;
        let element = match first {
            0..=0x3f => Element::Text(u64::from(first)),
            0x40..=0x7f => Element::Text(u64::from(first & 0x3f) << 8 | u64::from(src.byte()?)),
            0x80..=0xbf => Element::Text(u64::from(u32::from_be_bytes(src.array()?))),
            0xc0 => Element::Int(i64::from(i16::from_le_bytes(src.array()?))),
            0xd0 => Element::Int(i64::from(i32::from_le_bytes(src.array()?))),
            0xe0 => Element::Int(i64::from_le_bytes(src.array()?)),
            0xf0 => Element::Int(int24(src.array()?)),
            0xfe => Element::Int(i64::from(i8::from_le_bytes(src.array()?))),
            0xf1..=0xfd => Element::Int(i64::from(first & 0x0f) - 1),
            _ => return Err(src.corrupt(BAD_ELEMENT)),
        };
        each(src, element)?;
        previous = begun - src.left();
        found += 1;
    }
    if src.left() != 1 || src.byte()? != END {
        return Err(src.corrupt(NO_END));
    }
    let count = u16::from_le_bytes([n0, n1]);
    if u64::from(u32::from_le_bytes([t0, t1, t2, t3])) != last || (count != COUNT_UNKNOWN && u64::from(count) != found)
    {
        return Err(src.corrupt(DISAGREES));
    }
    Ok(found)
}

/// Checks an intset: whole numbers in ascending order, each once. Returns how many there are, which is never none: servers refuse that.
#[inline]
pub(super) fn intset<S: Source>(src: &mut S, mut each: impl FnMut(i64)) -> RdbResult<u64> {
    let size = src.left();
    let (width, count) = (u32::from_le_bytes(src.array()?), u32::from_le_bytes(src.array()?));
    if !matches!(width, 2 | 4 | 8) || 8 + u64::from(width) * u64::from(count) != size || count == 0 {
        return Err(src.corrupt(DISAGREES));
    }
    let mut previous = None;
    for _ in 0..count {
        let number = match width {
            2 => i64::from(i16::from_le_bytes(src.array()?)),
            4 => i64::from(i32::from_le_bytes(src.array()?)),
            _ => i64::from_le_bytes(src.array()?),
        };
        if previous.is_some_and(|previous| previous >= number) {
            return Err(src.corrupt("the numbers of a set are not in ascending order"));
        }
        previous = Some(number);
        each(number);
    }
    Ok(u64::from(count))
}

/// Checks a zipmap; returns the number of its elements, fields and values, which is never none: servers refuse that.
pub(super) fn zipmap<S: Source>(src: &mut S, mut each: impl FnMut(&mut S, Element) -> RdbResult<()>) -> RdbResult<u64> {
    let count = src.byte()?;
    let mut found = 0_u64;
    while src.left() > 1 {
        let field = zipmap_length(src)?;
        each(src, Element::Text(field))?;
        let value = zipmap_length(src)?;
        let unused = src.byte()?;
        each(src, Element::Text(value))?;
        src.pass(u64::from(unused))?;
        found += 1;
    }
    if src.left() != 1 || src.byte()? != END {
        return Err(src.corrupt(NO_END));
    }
    // With 254 the header no longer counts.
    if found == 0 || (count != 254 && u64::from(count) != found) {
        return Err(src.corrupt(DISAGREES));
    }
    Ok(found * 2)
}

fn zipmap_length<S: Source>(src: &mut S) -> RdbResult<u64> {
    match src.byte()? {
        small @ 0..254 => Ok(u64::from(small)),
        254 => Ok(u64::from(u32::from_le_bytes(src.array()?))),
        END => Err(src.corrupt(NO_END)),
    }
}
