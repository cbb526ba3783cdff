//! Streams: entries in listpacks, consumer groups with what they have delivered and not heard back of.
//!
//! The rules are those of servers' own sanitizers (`streamValidateListpackIntegrity`, and what `rdbLoadObject` compares); in addition
//! the lengths agree, and every pending entry belongs to exactly one consumer: one that belonged to none or to two would end the
//! server later.

use std::io::Read;

use super::deep::{Check, Deep};
use super::error::RdbResult;
use super::input::Input;
use super::listpack::{Element, listpack};
use super::source::Source;
use super::string::Len;
use super::unique::Unique;
use super::{Tap, Visitor};

/// Flag of an entry that was deleted.
const DELETED: i64 = 1;
/// Flag of an entry with the fields that the node names.
const SAME_FIELDS: i64 = 2;

/// A node of a stream. The check returns how many entries are in it that were not deleted.
struct Node;

impl Check for Node {
    fn run<S: Source>(self, src: &mut S, _: Option<&mut Unique>) -> RdbResult<u64> {
        let mut entries =
            Entries { at: At::Count, live: 0, deleted: 0, node_fields: 0, fields: 0, left: 0, seen: (0, 0) };
        listpack(src, |src, element| {
            let number = match element {
                Element::Int(number) => Some(number),
                Element::Text(n) => {
                    src.pass(n)?;
                    None
                }
            };
            if entries.element(number) { Ok(()) } else { Err(src.corrupt(BAD_NODE)) }
        })?;
        match entries {
            Entries { at: At::Flags, live, deleted, seen, .. } if seen == (live, deleted) => Ok(live),
            _ => Err(src.corrupt(BAD_NODE)),
        }
    }
}

const BAD_NODE: &str = "a node of a stream is not made as one";

/// What the next element of a node is.
#[derive(Clone, Copy)]
enum At {
    /// How many entries there are that were not deleted.
    Count,
    /// How many there are that were.
    Deleted,
    /// How many fields the node names.
    NodeFields,
    NodeField,
    /// The zero behind them.
    Zero,
    Flags,
    Milliseconds,
    Sequence,
    /// How many fields the entry names.
    Fields,
    Field,
    Value,
    /// How many elements the entry has had.
    Elements,
}

struct Entries {
    at: At,
    live: u64,
    deleted: u64,
    node_fields: u64,
    /// Fields of the current entry.
    fields: u64,
    /// Elements of this sort still to come.
    left: u64,
    /// Entries met that were not deleted, and that were.
    seen: (u64, u64),
}

impl Entries {
    /// Takes the next element, a number or a text. False: it cannot stand here.
    fn element(&mut self, number: Option<i64>) -> bool {
        let count = number.and_then(|n| u64::try_from(n).ok());
        self.at = match (self.at, number, count) {
            (At::Count, _, Some(n)) => {
                self.live = n;
                At::Deleted
            }
            (At::Deleted, _, Some(n)) => {
                self.deleted = n;
                At::NodeFields
            }
            (At::NodeFields, _, Some(n)) => {
                (self.node_fields, self.left) = (n, n);
                if n == 0 { At::Zero } else { At::NodeField }
            }
            (At::NodeField, ..) => self.one_of(At::NodeField, At::Zero),
            (At::Zero, Some(0), _) => At::Flags,
            (At::Flags, Some(flags), _) => {
                if flags & DELETED != 0 {
                    self.seen.1 += 1;
                } else {
                    self.seen.0 += 1;
                }
                // Until the entry names its own.
                self.fields = if flags & SAME_FIELDS != 0 { self.node_fields } else { u64::MAX };
                At::Milliseconds
            }
            (At::Milliseconds, Some(_), _) => At::Sequence,
            (At::Sequence, Some(_), _) if self.fields == u64::MAX => At::Fields,
            (At::Sequence, Some(_), _) => {
                self.left = self.fields;
                // Of the entry: flags and the two parts of its id.
                self.fields += 3;
                if self.left == 0 { At::Elements } else { At::Value }
            }
            (At::Fields, _, Some(n)) => {
                self.left = n;
                self.fields = n.saturating_mul(2).saturating_add(4);
                if n == 0 { At::Elements } else { At::Field }
            }
            (At::Field, ..) => {
                let next = self.one_of(At::Field, At::Value);
                if matches!(next, At::Value) {
                    self.left = (self.fields - 4) / 2;
                }
                next
            }
            (At::Value, ..) => self.one_of(At::Value, At::Elements),
            (At::Elements, _, Some(n)) if n == self.fields => At::Flags,
            _ => return false,
        };
        true
    }

    fn one_of(&mut self, more: At, next: At) -> At {
        self.left -= 1;
        if self.left == 0 { next } else { more }
    }
}

/// A list of stream ids, as it goes by.
#[derive(Default)]
struct Ids {
    previous: Option<[u8; 16]>,
    count: u64,
    /// The ids' numbers under a random key, added up.
    sum: u128,
}

impl Ids {
    /// False: the id is not behind the one before.
    fn push(&mut self, id: [u8; 16], deep: &Deep<'_>) -> bool {
        let ascending = self.previous.is_none_or(|previous| previous < id);
        self.previous = Some(id);
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from(deep.number_of(id)));
        ascending
    }
}

impl<R: Read, T: Tap, V: Visitor> Input<R, T, V> {
    /// Checks a stream; `edition` 1 to 5 are types 15, 19, 21, 26, 27.
    pub(super) fn stream(&mut self, edition: u8, deep: &mut Deep<'_>) -> RdbResult<()> {
        let (mut previous, mut entries) = (None, 0_u64);
        for _ in 0..self.count()? {
            let Len::Plain(16) = self.len()? else {
                return self.corrupt("a stream node whose key is not a stream id");
            };
            let key: [u8; 16] = self.array()?;
            if previous.is_some_and(|previous| previous >= key) {
                return self.corrupt("the nodes of a stream are not in ascending order");
            }
            previous = Some(key);
            entries = entries.saturating_add(self.blob(Node, deep)?);
        }
        if self.count()? != entries {
            return self.corrupt("a stream has not as many entries as it says");
        }
        // Last id; from edition 2 first id, highest deleted id, entries added.
        for _ in 0..if edition >= 2 { 7 } else { 2 } {
            self.count()?;
        }
        let groups = deep.open();
        for _ in 0..self.count()? {
            self.member(groups, deep)?;
            self.consumer_group(edition, deep)?;
        }
        self.close(groups, deep)?;
        if edition >= 4 { self.producers() } else { Ok(()) }
    }

    fn consumer_group(&mut self, edition: u8, deep: &mut Deep<'_>) -> RdbResult<()> {
        // Last id; from edition 2 entries read.
        for _ in 0..if edition >= 2 { 3 } else { 2 } {
            self.count()?;
        }
        let mut pending = Ids::default();
        for _ in 0..self.count()? {
            let ascending = pending.push(self.array()?, deep);
            if !ascending && edition < 4 {
                return self.corrupt("the pending entries of a consumer group are not in ascending order");
            }
            // Delivery time, delivery count.
            self.skip(8)?;
            self.count()?;
        }
        let mut owned = Ids::default();
        let consumers = deep.open();
        for _ in 0..self.count()? {
            self.member(consumers, deep)?;
            // Seen time; from edition 3 active time.
            self.skip(if edition >= 3 { 16 } else { 8 })?;
            for _ in 0..self.count()? {
                owned.push(self.array()?, deep);
            }
        }
        self.close(consumers, deep)?;
        // From edition 5 the entries given back by XNACK, owned by no consumer.
        if edition >= 5 {
            for _ in 0..self.count()? {
                self.skip(16)?;
            }
            // Whether they are among the pending ones is not certain.
            return if owned.count <= pending.count { Ok(()) } else { self.corrupt(BAD_PENDING) };
        }
        if (owned.count, owned.sum) == (pending.count, pending.sum) { Ok(()) } else { self.corrupt(BAD_PENDING) }
    }

    /// Idempotent producers: duration, limit, per producer its name and its (id, stream id) pairs, two totals.
    fn producers(&mut self) -> RdbResult<()> {
        self.count()?;
        self.count()?;
        for _ in 0..self.count()? {
            self.skip_string()?;
            for _ in 0..self.count()? {
                self.skip_string()?;
                self.count()?;
                self.count()?;
            }
        }
        self.count()?;
        self.count()?;
        Ok(())
    }
}

const BAD_PENDING: &str = "a pending entry of a consumer group does not belong to exactly one consumer";
