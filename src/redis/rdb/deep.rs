//! Checks of whole containers: that the inside of each agrees with itself, that what may be there once is there once, that no score is
//! something else than a number.
//!
//! Bounded: what is small is checked in place, what is larger streams.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read};

use super::contents::{Contents, score_bits};
use super::error::{RdbError, RdbResult};
use super::input::{CONTIGUOUS_BYTES_MAX, Input};
use super::listpack::{Element, intset, listpack, ziplist, zipmap};
use super::source::{AT_ONCE_MAX, Hashing, Held, Raw, Source, Unpacked};
use super::string::{Decimal, Len};
use super::unique::{Group, Unique};
use super::{Tap, Visitor};

/// Latest expiry of a field that Redis takes: 48 bits of milliseconds.
pub(super) const FIELD_EXPIRY_MAX: u64 = (1 << 48) - 1;
/// Longest text of a score; servers read no further.
const SCORE_BYTES_MAX: usize = 127;

pub(super) const MEMBER_TWICE: &str = "a container holds the same member twice";

/// What checks need besides the bytes.
pub(super) struct Deep<'u> {
    /// Where what may be there once is remembered, if somebody wants to know.
    pub(super) unique: Option<&'u mut Unique>,
    /// What the current value holds, if somebody wants to know that. What is there twice is then not looked for.
    pub(super) contents: Option<Contents<'u>>,
    pub(super) unpacked: Vec<u8>,
    sums: RandomState,
}

impl<'u> Deep<'u> {
    pub(super) fn new(unique: Option<&'u mut Unique>, contents: Option<Contents<'u>>) -> Self {
        Self { unique, contents, unpacked: Vec::new(), sums: RandomState::new() }
    }

    /// A field of the current value, see [`Contents::field`].
    #[inline]
    pub(super) fn field(&mut self, name: u64, value: u64, expiry_ms: u64) {
        if let Some(contents) = &mut self.contents {
            contents.field(name, value, expiry_ms);
        }
    }

    /// The next part of the current value, see [`Contents::next`].
    #[inline]
    pub(super) fn next(&mut self, a: u64, b: u64) {
        if let Some(contents) = &mut self.contents {
            contents.next(a, b);
        }
    }

    /// Something that the current value holds, see [`Contents::row`].
    #[inline]
    pub(super) fn row(&mut self, [a, b]: [u64; 2], sort: u64) {
        if let Some(contents) = &mut self.contents {
            contents.row(a, b, sort);
        }
    }

    /// One number of three, where contents are wanted; else zero.
    #[inline]
    pub(super) fn mix(&self, a: u64, b: u64, c: u64) -> u64 {
        self.contents.as_ref().map_or(0, |contents| contents.key.mix(a, b, c))
    }

    /// Opens a group of names that must differ.
    #[inline]
    pub(super) fn open(&mut self) -> Option<Group> {
        self.unique.as_deref_mut().map(Unique::open)
    }

    /// A number for a stream id, under a random key: the sums of two lists of ids agree only if the lists do, in whatever order.
    #[inline]
    pub(super) fn number_of(&self, id: [u8; 16]) -> u64 {
        self.sums.hash_one(id)
    }
}

/// A check of one kind of container, over whatever its bytes come from. Returns the number of elements.
pub(super) trait Check {
    fn run<S: Source>(self, src: &mut S, deep: &mut Deep<'_>) -> RdbResult<u64>;
}

/// What the elements of a container are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Values.
    List,
    /// Members.
    Set,
    /// Field and value.
    Hash,
    /// Member and score.
    Zset,
    /// Field, value, and when the field expires.
    HashTtl,
}

/// How a container is written.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Listpack(Rows),
    Ziplist(Rows),
    Intset,
    Zipmap,
}

impl Check for Shape {
    #[inline]
    fn run<S: Source>(self, src: &mut S, deep: &mut Deep<'_>) -> RdbResult<u64> {
        let Deep { unique, contents, .. } = deep;
        let rows = match self {
            Self::Listpack(rows) | Self::Ziplist(rows) => rows,
            Self::Zipmap => Rows::Hash,
            Self::Intset => {
                return intset(src, |number| {
                    if let Some(contents) = contents {
                        contents.row(contents.key.whole(Decimal::of(number).text()), 0, 0);
                    }
                });
            }
        };
        let unique = match unique.as_deref_mut() {
            Some(unique) if rows != Rows::List => Some((unique.open(), unique)),
            _ => None,
        };
        let mut row = Row { rows, column: 0, unique, contents: contents.as_mut(), name: 0, value: 0 };
        let found = match self {
            Self::Ziplist(_) => ziplist(src, |src, element| row.element(src, element))?,
            Self::Zipmap => zipmap(src, |src, element| row.element(src, element))?,
            Self::Listpack(_) | Self::Intset => listpack(src, |src, element| row.element(src, element))?,
        };
        if row.column != 0 {
            return Err(src.corrupt("the last element of a container has no partner"));
        }
        if let Some((group, unique)) = row.unique {
            unique.close(group).map_err(|e| sink(src.at(), e))?;
        }
        Ok(found)
    }
}

/// The elements of a container, one after the other.
struct Row<'u, 'k> {
    rows: Rows,
    column: u8,
    unique: Option<(Group, &'u mut Unique)>,
    contents: Option<&'u mut Contents<'k>>,
    /// Hash of the current row's member or field, where contents are wanted; and of its value.
    name: u64,
    value: u64,
}

impl Row<'_, '_> {
    #[inline]
    fn element<S: Source>(&mut self, src: &mut S, element: Element) -> RdbResult<()> {
        let column = self.column;
        let last = match self.rows {
            Rows::List | Rows::Set => 0,
            Rows::Hash | Rows::Zset => 1,
            Rows::HashTtl => 2,
        };
        self.column = if column == last { 0 } else { column + 1 };
        if self.contents.is_some() {
            return self.count_in(column, src, element);
        }
        match (column, self.rows, &mut self.unique) {
            (0, _, Some((group, unique))) => {
                let name = hash(src, element, &unique.within(group.scope()))?;
                match unique.push_member(name) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(src.corrupt(MEMBER_TWICE)),
                    Err(e) => Err(sink(src.at(), e)),
                }
            }
            (1, Rows::Zset, _) => score(src, element, |_| ()),
            (2, _, _) => field_expiry(src, element).map(|_| ()),
            _ => match element {
                Element::Int(_) => Ok(()),
                Element::Text(n) => src.pass(n),
            },
        }
    }

    /// The same where contents are wanted.
    fn count_in<S: Source>(&mut self, column: u8, src: &mut S, element: Element) -> RdbResult<()> {
        let Some(contents) = &mut self.contents else { return Ok(()) };
        match (column, self.rows) {
            (1, Rows::Zset) => score(src, element, |score| contents.field(self.name, score_bits(score), 0)),
            (2, _) => {
                let expiry = field_expiry(src, element)?;
                contents.field(self.name, self.value, expiry);
                Ok(())
            }
            _ => {
                let text = hash(src, element, contents.key)?;
                match (column, self.rows) {
                    (0, Rows::List) => contents.next(text, 0),
                    (0, Rows::Set) => contents.row(text, 0, 0),
                    (0, _) => self.name = text,
                    (_, Rows::Hash) => contents.field(self.name, text, 0),
                    _ => self.value = text,
                }
                Ok(())
            }
        }
    }
}

/// Takes an element as its text.
#[inline]
pub(super) fn hash<S: Source, H: Hashing>(src: &mut S, element: Element, by: &H) -> RdbResult<H::Hash> {
    match element {
        Element::Int(number) => Ok(by.whole(Decimal::of(number).text())),
        Element::Text(n) => src.hash(n, by),
    }
}

/// Takes an element as the expiry of a field; 0 for never.
fn field_expiry<S: Source>(src: &mut S, element: Element) -> RdbResult<u64> {
    match element {
        Element::Int(expiry) => u64::try_from(expiry).ok().filter(|expiry| *expiry <= FIELD_EXPIRY_MAX),
        Element::Text(_) => None,
    }
    .ok_or_else(|| src.corrupt("the expiry of a field is no time"))
}

#[cold]
fn sink(offset: u64, source: io::Error) -> Box<RdbError> {
    Box::new(RdbError::Sink { offset, source })
}

/// Takes an element as a score. `told` is worth what it costs to read the number only where it uses it.
#[inline]
fn score<S: Source>(src: &mut S, element: Element, told: impl FnOnce(f64)) -> RdbResult<()> {
    let n = match element {
        #[expect(clippy::cast_precision_loss, reason = "so do servers")]
        Element::Int(number) => {
            told(number as f64);
            return Ok(());
        }
        Element::Text(n) => n,
    };
    let mut text = [0; SCORE_BYTES_MAX];
    let Some(text) = text.get_mut(..n as usize) else { return Err(src.corrupt(NO_SCORE)) };
    src.copy(text)?;
    if !is_score(text) {
        return Err(src.corrupt(NO_SCORE));
    }
    told(score_of(text));
    Ok(())
}

/// What a text that is a score comes to.
#[inline]
pub(super) fn score_of(text: &[u8]) -> f64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
}

pub(super) const NO_SCORE: &str = "the score of a sorted set's member is not a number";

/// Whether the text is a score. A server that meets what is not a number exits when the set grows.
pub(super) fn is_score(text: &[u8]) -> bool {
    // Nearly all are digits with one point among them, which is a number without reading it.
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && digits + text.iter().filter(|byte| **byte == b'.').count().min(1) == text.len() {
        return true;
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()).is_some_and(|score| !score.is_nan())
}

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    /// Checks an encoded container. Returns the number of its elements.
    #[inline]
    pub(super) fn blob(&mut self, check: impl Check, deep: &mut Deep<'_>) -> RdbResult<u64> {
        let at = self.offset();
        match self.len()? {
            Len::Plain(n) if n <= CONTIGUOUS_BYTES_MAX as u64 => {
                self.ensure(n as usize)?;
                let bytes = self.rest().get(..n as usize).unwrap_or_default();
                let found = check.run(&mut Held { bytes, at }, deep)?;
                self.skip(n)?;
                Ok(found)
            }
            Len::Plain(n) => check.run(&mut Raw { input: self, left: n }, deep),
            Len::Special(3) => {
                let (packed, length) = self.lzf_lengths()?;
                let mut unpacked = std::mem::take(&mut deep.unpacked);
                let held = self.unpack(packed, length, &mut unpacked)?;
                let found = if held {
                    check.run(&mut Held { bytes: &unpacked, at }, deep)?
                } else {
                    let mut source = Unpacked::new(self, packed, length);
                    let found = check.run(&mut source, deep)?;
                    source.finish()?;
                    found
                };
                deep.unpacked = unpacked;
                Ok(found)
            }
            Len::Special(_) => self.corrupt("a number stands where an encoded container belongs"),
        }
    }

    /// Passes over a string and hashes it, decoded. `unpacked` is used where that saves time.
    #[inline]
    pub(super) fn hash<H: Hashing>(&mut self, by: &H, unpacked: &mut Vec<u8>) -> RdbResult<H::Hash> {
        match self.len()? {
            Len::Plain(n) if n <= AT_ONCE_MAX as u64 => {
                self.ensure(n as usize)?;
                let hash = by.whole(self.rest().get(..n as usize).unwrap_or_default());
                self.skip(n)?;
                Ok(hash)
            }
            Len::Plain(n) => Raw { input: self, left: n }.hash(n, by),
            Len::Special(3) => {
                let (packed, length) = self.lzf_lengths()?;
                if self.unpack(packed, length, unpacked)? {
                    return Ok(by.whole(unpacked));
                }
                let mut source = Unpacked::new(self, packed, length);
                let hash = source.hash(length, by)?;
                source.finish()?;
                Ok(hash)
            }
            Len::Special(kind) => Ok(by.whole(Decimal::of(self.number(kind)?).text())),
        }
    }

    /// Passes over a string. Its hash, where contents are wanted; else zero.
    #[inline]
    pub(super) fn element(&mut self, deep: &mut Deep<'_>) -> RdbResult<u64> {
        match &deep.contents {
            Some(contents) => self.hash(contents.key, &mut deep.unpacked),
            None => self.skip_string().map(|()| 0),
        }
    }

    /// Passes over a string that is a name in a group. Its hash, where contents are wanted; else zero.
    #[inline]
    pub(super) fn member(&mut self, group: Option<Group>, deep: &mut Deep<'_>) -> RdbResult<u64> {
        let (Some(group), Some(unique)) = (group, deep.unique.as_deref_mut()) else { return self.element(deep) };
        let name = self.hash(&unique.within(group.scope()), &mut deep.unpacked)?;
        match unique.push_member(name) {
            Ok(true) => Ok(0),
            Ok(false) => self.corrupt(MEMBER_TWICE),
            Err(e) => Err(self.sink(e)),
        }
    }

    /// Closes a group.
    #[inline]
    pub(super) fn close(&mut self, group: Option<Group>, deep: &mut Deep<'_>) -> RdbResult<()> {
        match (group, deep.unique.as_deref_mut()) {
            (Some(group), Some(unique)) => unique.close(group).map_err(|e| self.sink(e)),
            _ => Ok(()),
        }
    }
}
