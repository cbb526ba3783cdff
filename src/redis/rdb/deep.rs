//! Checks of whole containers: that the inside of each agrees with itself, that what may be there once is there once, that no score is
//! something else than a number.
//!
//! Bounded: what is small is checked in place, what is larger streams.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read};

use super::error::{RdbError, RdbResult};
use super::input::{CONTIGUOUS_BYTES_MAX, Input};
use super::listpack::{Element, intset, listpack, ziplist, zipmap};
use super::source::{Held, Raw, Source, Unpacked};
use super::string::{Decimal, Len};
use super::unique::{AT_ONCE_MAX, Group, Name, Scope, Unique};
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
    pub(super) unpacked: Vec<u8>,
    sums: RandomState,
}

impl<'u> Deep<'u> {
    pub(super) fn new(unique: Option<&'u mut Unique>) -> Self {
        Self { unique, unpacked: Vec::new(), sums: RandomState::new() }
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
    fn run<S: Source>(self, src: &mut S, unique: Option<&mut Unique>) -> RdbResult<u64>;
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
    fn run<S: Source>(self, src: &mut S, unique: Option<&mut Unique>) -> RdbResult<u64> {
        let rows = match self {
            Self::Listpack(rows) | Self::Ziplist(rows) => rows,
            Self::Zipmap => Rows::Hash,
            Self::Intset => return intset(src),
        };
        let unique = match unique {
            Some(unique) if rows != Rows::List => Some((unique.open(), unique)),
            _ => None,
        };
        let mut row = Row { rows, column: 0, unique };
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
struct Row<'u> {
    rows: Rows,
    column: u8,
    unique: Option<(Group, &'u mut Unique)>,
}

impl Row<'_> {
    #[inline]
    fn element<S: Source>(&mut self, src: &mut S, element: Element) -> RdbResult<()> {
        let column = self.column;
        let last = match self.rows {
            Rows::List | Rows::Set => 0,
            Rows::Hash | Rows::Zset => 1,
            Rows::HashTtl => 2,
        };
        self.column = if column == last { 0 } else { column + 1 };
        match (column, self.rows, &mut self.unique) {
            (0, _, Some((group, unique))) => {
                let name = match element {
                    Element::Int(number) => unique.name(group.scope(), Decimal::of(number).text()),
                    Element::Text(n) => src.name(n, group.scope(), unique)?,
                };
                match unique.push_member(name) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(src.corrupt(MEMBER_TWICE)),
                    Err(e) => Err(sink(src.at(), e)),
                }
            }
            (1, Rows::Zset, _) => score(src, element),
            (2, _, _) => match element {
                Element::Int(expiry) if u64::try_from(expiry).is_ok_and(|t| t <= FIELD_EXPIRY_MAX) => Ok(()),
                _ => Err(src.corrupt("the expiry of a field is no time")),
            },
            _ => match element {
                Element::Int(_) => Ok(()),
                Element::Text(n) => src.pass(n),
            },
        }
    }
}

#[cold]
fn sink(offset: u64, source: io::Error) -> Box<RdbError> {
    Box::new(RdbError::Sink { offset, source })
}

fn score<S: Source>(src: &mut S, element: Element) -> RdbResult<()> {
    let Element::Text(n) = element else { return Ok(()) };
    let mut text = [0; SCORE_BYTES_MAX];
    let Some(text) = text.get_mut(..n as usize) else { return Err(src.corrupt(NO_SCORE)) };
    src.copy(text)?;
    if is_score(text) { Ok(()) } else { Err(src.corrupt(NO_SCORE)) }
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
                let found = check.run(&mut Held { bytes, at }, deep.unique.as_deref_mut())?;
                self.skip(n)?;
                Ok(found)
            }
            Len::Plain(n) => check.run(&mut Raw { input: self, left: n }, deep.unique.as_deref_mut()),
            Len::Special(3) => {
                let (packed, length) = self.lzf_lengths()?;
                let mut unpacked = std::mem::take(&mut deep.unpacked);
                let held = self.unpack(packed, length, &mut unpacked)?;
                let found = if held {
                    check.run(&mut Held { bytes: &unpacked, at }, deep.unique.as_deref_mut())?
                } else {
                    let mut source = Unpacked::new(self, packed, length);
                    let found = check.run(&mut source, deep.unique.as_deref_mut())?;
                    source.finish()?;
                    found
                };
                deep.unpacked = unpacked;
                Ok(found)
            }
            Len::Special(_) => self.corrupt("a number stands where an encoded container belongs"),
        }
    }

    /// Passes over a string and takes it, decoded, as a name. `unpacked` is used where that saves time.
    #[inline]
    pub(super) fn name(&mut self, scope: Scope, unique: &Unique, unpacked: &mut Vec<u8>) -> RdbResult<Name> {
        match self.len()? {
            Len::Plain(n) if n <= AT_ONCE_MAX as u64 => {
                self.ensure(n as usize)?;
                let name = unique.name(scope, self.rest().get(..n as usize).unwrap_or_default());
                self.skip(n)?;
                Ok(name)
            }
            Len::Plain(n) => Raw { input: self, left: n }.name(n, scope, unique),
            Len::Special(3) => {
                let (packed, length) = self.lzf_lengths()?;
                if self.unpack(packed, length, unpacked)? {
                    return Ok(unique.name(scope, unpacked));
                }
                let mut source = Unpacked::new(self, packed, length);
                let name = source.name(length, scope, unique)?;
                source.finish()?;
                Ok(name)
            }
            Len::Special(kind) => Ok(unique.name(scope, Decimal::of(self.number(kind)?).text())),
        }
    }

    /// Passes over a string that is a name in a group.
    #[inline]
    pub(super) fn member(&mut self, group: Option<Group>, deep: &mut Deep<'_>) -> RdbResult<()> {
        let (Some(group), Some(unique)) = (group, deep.unique.as_deref_mut()) else { return self.skip_string() };
        let name = self.name(group.scope(), unique, &mut deep.unpacked)?;
        match unique.push_member(name) {
            Ok(true) => Ok(()),
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
