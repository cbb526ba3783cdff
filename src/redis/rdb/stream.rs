//! Streams: entries in listpacks, consumer groups with what they have delivered and not heard back of.
//!
//! The rules are those of servers' own sanitizers (`streamValidateListpackIntegrity`, and what `rdbLoadObject` compares); in addition
//! the lengths agree, and every pending entry belongs to exactly one consumer: one that belonged to none or to two would end the
//! server later.

use std::io::Read;

use super::contents::Contents;
use super::deep::{Check, Deep, hash};
use super::error::RdbResult;
use super::input::Input;
use super::listpack::{Element, listpack};
use super::source::Source;
use super::string::Len;
use super::{Tap, Visitor};

/// Flag of an entry that was deleted.
const DELETED: i64 = 1;
/// Flag of an entry with the fields that the node names.
const SAME_FIELDS: i64 = 2;

/// A node of a stream, behind the id that the ids of its entries are counted from. The check returns how many entries are in it that were
/// not deleted.
struct Node([u8; 16]);

impl Check for Node {
    fn run<S: Source>(self, src: &mut S, deep: &mut Deep<'_>) -> RdbResult<u64> {
        let mut entries =
            Entries { at: At::Count, live: 0, deleted: 0, node_fields: 0, fields: 0, left: 0, seen: (0, 0) };
        let mut told = deep.contents.as_mut().map(|contents| EntryContents::new(contents, self.0));
        listpack(src, |src, element| {
            let number = if let Element::Int(number) = element { Some(number) } else { None };
            let at = entries.at;
            match (&mut told, element) {
                (Some(told), _) => {
                    let text = hash(src, element, told.contents.key)?;
                    told.element(at, number.unwrap_or_default(), text);
                }
                (None, Element::Text(n)) => src.pass(n)?,
                (None, Element::Int(_)) => {}
            }
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

/// What sorts of things a stream holds.
const ENTRY: u64 = 0;
const LAST_ID: u64 = 1;
const GROUP: u64 = 2;
const CONSUMER: u64 = 3;
const PENDING: u64 = 4;
const GIVEN_BACK: u64 = 5;
const PRODUCER: u64 = 6;

/// The entries of a node as they are read: by their whole ids and all their fields, however the node spells them.
struct EntryContents<'c, 'k> {
    contents: &'c mut Contents<'k>,
    /// The two halves of the id that others are counted from.
    base: [u64; 2],
    /// Number of the fields that the node names.
    node_fields: u64,
    /// Of the current entry.
    flags: i64,
    id: [u64; 2],
    fields: u64,
    values: u64,
    /// Whether a value comes next, where an entry names its own fields.
    value_next: bool,
}

impl<'c, 'k> EntryContents<'c, 'k> {
    fn new(contents: &'c mut Contents<'k>, node: [u8; 16]) -> Self {
        let base = halves(node);
        Self { contents, base, node_fields: 0, flags: 0, id: base, fields: 0, values: 0, value_next: false }
    }

    /// Takes the next element, which stands `at` such a place.
    fn element(&mut self, at: At, number: i64, text: u64) {
        let key = self.contents.key;
        let [ms, sequence] = self.base;
        match at {
            At::NodeField => self.node_fields = key.mix(self.node_fields, text, 0),
            At::Flags => {
                (self.flags, self.fields, self.values, self.value_next) = (number, 0, 0, false);
            }
            At::Milliseconds => self.id = [ms.wrapping_add_signed(number), 0],
            At::Sequence => self.id = [self.id[0], sequence.wrapping_add_signed(number)],
            At::Field | At::Value => {
                let same_fields = self.flags & SAME_FIELDS != 0;
                let list = if same_fields || self.value_next { &mut self.values } else { &mut self.fields };
                *list = key.mix(*list, text, 0);
                self.value_next = !self.value_next;
            }
            At::Elements if self.flags & DELETED == 0 => {
                let fields = if self.flags & SAME_FIELDS == 0 { self.fields } else { self.node_fields };
                let [ms, sequence] = self.id;
                self.contents.row(key.mix(ms, sequence, 0), key.mix(fields, self.values, 0), ENTRY);
            }
            _ => {}
        }
    }
}

/// The two numbers of an id as it is written.
fn halves(id: [u8; 16]) -> [u64; 2] {
    let id = u128::from_be_bytes(id);
    [(id >> 64) as u64, id as u64]
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
            entries = entries.saturating_add(self.blob(Node(key), deep)?);
        }
        if self.count()? != entries {
            return self.corrupt("a stream has not as many entries as it says");
        }
        let last = [self.count()?, self.count()?];
        deep.row(last, LAST_ID);
        // From edition 2 first id, highest deleted id, entries added.
        for _ in 0..if edition >= 2 { 5 } else { 0 } {
            self.count()?;
        }
        let groups = deep.open();
        for _ in 0..self.count()? {
            let name = self.member(groups, deep)?;
            let held = self.consumer_group(edition, deep)?;
            deep.row([name, held], GROUP);
        }
        self.close(groups, deep)?;
        if edition >= 4 { self.producers(deep) } else { Ok(()) }
    }

    /// What a consumer group holds, as one number; zero where contents are not wanted.
    fn consumer_group(&mut self, edition: u8, deep: &mut Deep<'_>) -> RdbResult<u64> {
        let mut held = deep.mix(self.count()?, self.count()?, LAST_ID);
        // From edition 2 entries read.
        if edition >= 2 {
            self.count()?;
        }
        let mut pending = Ids::default();
        for _ in 0..self.count()? {
            let id = self.array()?;
            let ascending = pending.push(id, deep);
            if !ascending && edition < 4 {
                return self.corrupt("the pending entries of a consumer group are not in ascending order");
            }
            let [ms, sequence] = halves(id);
            let (delivered_ms, count) = (u64::from_le_bytes(self.array()?), self.count()?);
            held = held.wrapping_add(deep.mix(deep.mix(ms, sequence, 0), deep.mix(delivered_ms, count, 0), PENDING));
        }
        let mut owned = Ids::default();
        let consumers = deep.open();
        for _ in 0..self.count()? {
            let name = self.member(consumers, deep)?;
            // Seen time; from edition 3 active time.
            self.skip(if edition >= 3 { 16 } else { 8 })?;
            let mut ids = 0_u64;
            for _ in 0..self.count()? {
                let id = self.array()?;
                owned.push(id, deep);
                let [ms, sequence] = halves(id);
                ids = ids.wrapping_add(deep.mix(ms, sequence, 0));
            }
            held = held.wrapping_add(deep.mix(name, ids, CONSUMER));
        }
        self.close(consumers, deep)?;
        // From edition 5 the entries given back by XNACK, owned by no consumer.
        if edition >= 5 {
            for _ in 0..self.count()? {
                let [ms, sequence] = halves(self.array()?);
                held = held.wrapping_add(deep.mix(ms, sequence, GIVEN_BACK));
            }
            // Whether they are among the pending ones is not certain.
            return if owned.count <= pending.count { Ok(held) } else { self.corrupt(BAD_PENDING) };
        }
        if (owned.count, owned.sum) == (pending.count, pending.sum) { Ok(held) } else { self.corrupt(BAD_PENDING) }
    }

    /// Idempotent producers: duration, limit, per producer its name and its (id, stream id) pairs, two totals.
    fn producers(&mut self, deep: &mut Deep<'_>) -> RdbResult<()> {
        self.count()?;
        self.count()?;
        for _ in 0..self.count()? {
            let producer = self.element(deep)?;
            let mut pairs = 0_u64;
            for _ in 0..self.count()? {
                let name = self.element(deep)?;
                pairs = pairs.wrapping_add(deep.mix(name, self.count()?, self.count()?));
            }
            deep.row([producer, pairs], PRODUCER);
        }
        self.count()?;
        self.count()?;
        Ok(())
    }
}

const BAD_PENDING: &str = "a pending entry of a consumer group does not belong to exactly one consumer";
