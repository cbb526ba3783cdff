//! Bursts: commands of one name for one database and one kind of key, that follow each other closely.
//!
//! What goes on all day is told apart from what rises out of it, by how many keys a second come. It must not hold more than a fixed
//! number of bursts, nor join two of which one is a database's whole content.

use crate::archive::destructive::command::shorten;
use crate::model::destruction::How;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Milliseconds without another command behind which a burst is over.
const APART_MS: i64 = 1000;
/// Milliseconds of commands that are one piece whatever their number: how exactly the beginning of a rise is known.
const SLICE_MS: i64 = 100;
/// How many times as many keys a second are another pace.
const RISE: u64 = 10;
/// Milliseconds for which the lower of two paces lasts at least where they are two bursts, and not one that begins or ends slowly.
const STEADY_MS: i64 = 10_000;
/// Keys a second up to which paces are not told apart.
const FEW: u64 = 100;
/// Kinds of keys that are told apart within a segment.
const GROUPS_MAX: usize = 32;
/// Bursts of one group that are held before what can be joined of them is.
const GROUP_MAX: usize = 64;
/// Bursts that are held in all.
pub(super) const BURSTS_MAX: usize = 10_000;
/// What ends the word by which kinds of keys are told apart, as a digit does.
const MARKS: &[u8] = b":/|.-_{}#@ ";
/// Keys that a burst of removals or trims has at least. Fewer are everyday work.
const BURST_KEYS: u64 = 10;

/// What commands of one kind have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CommandKind {
    pub how: How,
    pub command: String,
    pub database: Option<u64>,
}

impl CommandKind {
    /// Whether commands that follow each other are told as one.
    fn is_joined(&self) -> bool {
        !matches!(self.how, How::Databases | How::Functions)
    }

    /// Keys that are told of at least.
    fn least(&self) -> u64 {
        match self.how {
            How::Databases | How::Functions | How::Replaces => 0,
            How::Removes | How::Expires | How::Trims => BURST_KEYS,
        }
    }
}

/// What the commands of a burst have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub kind: CommandKind,
    /// The word that their keys begin with; empty where they begin with none, or with too many.
    pub stem: Vec<u8>,
}

/// The word that a key begins with, where something follows it.
pub(super) fn stem(key: &[u8]) -> Vec<u8> {
    let letters = key.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let end = match key.get(letters) {
        Some(mark) if MARKS.contains(mark) => letters + 1,
        Some(digit) if digit.is_ascii_digit() => letters,
        _ => 0,
    };
    key.get(..end).unwrap_or_default().to_vec()
}

/// Commands that follow each other closely.
#[derive(Debug, Clone)]
pub(super) struct Burst {
    /// Where the first begins.
    pub at: u64,
    pub first_ms: i64,
    pub last_ms: i64,
    pub precision_ms: u64,
    pub commands: u64,
    pub keys: u64,
    pub prefix: Vec<u8>,
    /// Whether each names one key, in no transaction.
    pub one_by_one: bool,
}

impl Burst {
    /// Keys a second.
    fn pace(&self) -> u64 {
        let span = u64::try_from(self.lasts()).unwrap_or_default().max(SLICE_MS.unsigned_abs());
        self.keys.saturating_mul(1000) / span
    }

    fn lasts(&self) -> i64 {
        self.last_ms - self.first_ms
    }

    fn is_followed_by(&self, later: &Self) -> bool {
        later.first_ms.saturating_sub(self.last_ms) <= APART_MS
    }

    /// Whether another one behind it comes at the same pace.
    fn goes_on_with(&self, later: &Self) -> bool {
        let (low, high) = (self.pace().min(later.pace()), self.pace().max(later.pace()));
        self.is_followed_by(later) && (high <= FEW || high <= low.saturating_mul(RISE))
    }

    /// Whether another one behind it is another burst.
    fn is_apart_from(&self, later: &Self) -> bool {
        let (low, high) = if self.pace() < later.pace() { (self, later) } else { (later, self) };
        let steps = high.pace() > FEW && high.pace() > low.pace().saturating_mul(RISE);
        !self.is_followed_by(later) || (steps && low.lasts() >= STEADY_MS)
    }

    fn join(&mut self, later: &Self) {
        self.last_ms = self.last_ms.max(later.last_ms);
        self.precision_ms = self.precision_ms.max(later.precision_ms);
        self.commands += later.commands;
        self.keys += later.keys;
        self.one_by_one &= later.one_by_one;
        shorten(&mut self.prefix, &later.prefix);
    }
}

/// Joins what is one burst. They are in their order.
fn joined(bursts: impl IntoIterator<Item = Burst>) -> VecDeque<Burst> {
    let mut all: VecDeque<Burst> = VecDeque::new();
    for burst in bursts {
        match all.back_mut() {
            Some(last) if !last.is_apart_from(&burst) => last.join(&burst),
            _ => all.push_back(burst),
        }
    }
    all
}

/// Joins what is one burst, and drops what has fewer keys than are told. The first may go on before it, unless it `is_over`.
fn compact(held: &mut VecDeque<Burst>, least: u64, is_over: bool) {
    let first = if is_over { None } else { held.pop_front() };
    let mut rest = joined(std::mem::take(held));
    let mut goes_on = first.as_ref().zip(rest.front()).is_some_and(|(first, next)| first.is_followed_by(next));
    rest.retain(|burst| std::mem::take(&mut goes_on) || burst.keys >= least);
    if let Some(first) = first {
        rest.push_front(first);
    }
    *held = rest;
}

/// Bursts of a part of the log, found from its end to its beginning.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    groups: BTreeMap<Group, VecDeque<Burst>>,
    count: usize,
}

impl Bursts {
    pub fn is_full(&self) -> bool {
        self.count >= BURSTS_MAX
    }

    /// Takes those of a segment that lies before all that were taken, and begins at a moment.
    pub fn put_before(&mut self, mut segment: Slices, first_ms: i64) {
        for (group, held) in &self.groups {
            // What removes keys that begin with many words has begun with a few.
            if group.stem.is_empty() && group.kind.is_joined() {
                segment.widen(&group.kind, |last| held.front().is_some_and(|next| last.is_followed_by(next)));
            }
        }
        for (group, slices) in segment.groups {
            let held = self.groups.entry(group.clone()).or_default();
            for slice in slices.into_iter().rev() {
                match held.front_mut() {
                    Some(first) if group.kind.is_joined() && slice.goes_on_with(first) => {
                        let mut whole = slice;
                        whole.join(first);
                        *first = whole;
                    }
                    _ => held.push_front(slice),
                }
            }
        }
        self.groups.retain(|group, held| {
            let is_over = held.front().is_none_or(|first| first.first_ms.saturating_sub(first_ms) > APART_MS);
            if group.kind.is_joined() && (is_over || held.len() > GROUP_MAX) {
                compact(held, group.kind.least(), is_over);
            }
            !held.is_empty()
        });
        self.count = self.groups.values().map(VecDeque::len).sum();
    }

    /// All that are told.
    pub fn into_all(self) -> impl Iterator<Item = (CommandKind, Burst)> {
        self.groups.into_iter().flat_map(|(Group { kind, .. }, held)| {
            let all = if kind.is_joined() { joined(held) } else { held };
            all.into_iter()
                .filter(|burst| burst.keys >= kind.least())
                .map(|burst| (kind.clone(), burst))
                .collect::<Vec<_>>()
        })
    }
}

/// Bursts of a segment, in pieces of about the same pace.
#[derive(Debug, Default)]
pub(super) struct Slices {
    groups: BTreeMap<Group, VecDeque<Burst>>,
    /// Kinds of commands whose keys begin with too many words.
    wide: BTreeSet<CommandKind>,
    count: usize,
}

impl Slices {
    /// Takes a command, which comes behind all that were taken. Returns the group that it is in.
    pub fn take(&mut self, mut group: Group, command: Burst) -> Group {
        if group.kind.is_joined() && !self.groups.contains_key(&group) && self.groups.len() >= GROUPS_MAX {
            self.wide.insert(group.kind.clone());
            self.widen(&group.kind, |_| true);
        }
        if self.wide.contains(&group.kind) {
            group.stem.clear();
        }
        let full = self.count >= BURSTS_MAX;
        let slices = self.groups.entry(group.clone()).or_default();
        self.count -= slices.len();
        add(slices, command, group.kind.is_joined(), full);
        self.count += slices.len();
        group
    }

    /// Makes one group of those of a kind, whatever their keys begin with; of those that have enough keys to be told by themselves only
    /// where there are too many. `if_last` says by the last burst of a group whether it is one of them.
    fn widen(&mut self, kind: &CommandKind, if_last: impl Fn(&Burst) -> bool) {
        let is_wide = self.wide.contains(kind);
        let moves = |group: &Group, held: &VecDeque<Burst>| {
            let few = held.iter().map(|burst| burst.keys).sum::<u64>() < BURST_KEYS;
            group.kind == *kind && (is_wide || few) && held.back().is_some_and(&if_last)
        };
        let mut all: Vec<Burst> =
            self.groups.iter().filter(|(group, held)| moves(group, held)).flat_map(|(_, held)| held.clone()).collect();
        if all.is_empty() {
            return;
        }
        self.groups.retain(|group, held| !moves(group, held));
        let wide = self.groups.entry(Group { kind: kind.clone(), stem: Vec::new() }).or_default();
        all.extend(wide.drain(..));
        all.sort_by_key(|burst| burst.at);
        for burst in all {
            add(wide, burst, true, false);
        }
        self.count = self.groups.values().map(VecDeque::len).sum();
    }
}

/// Adds what comes behind all others: to the newest slice, or as the next one.
fn add(slices: &mut VecDeque<Burst>, command: Burst, is_joined: bool, full: bool) {
    match slices.back_mut() {
        Some(last) if full || (is_joined && command.first_ms.saturating_sub(last.first_ms) < SLICE_MS) => {
            last.join(&command);
        }
        _ => {
            // What came before the slice that begins now is complete.
            if is_joined && let Some(ended) = slices.pop_back() {
                match slices.back_mut() {
                    Some(before) if before.goes_on_with(&ended) => before.join(&ended),
                    _ => slices.push_back(ended),
                }
            }
            slices.push_back(command);
        }
    }
}
