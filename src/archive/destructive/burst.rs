//! Bursts: commands of one name for one database and one kind of key, that follow each other closely.
//!
//! What goes on all day is told apart from what rises out of it, by how many keys a second come. It must not hold more than a fixed
//! number of bursts, nor join two of which one is a database's whole content.

use crate::archive::destructive::command::shorten;
use crate::model::destruction::How;
use std::collections::{BTreeMap, VecDeque};

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
/// Bursts that are held before those of one group are joined.
const GROUP_MAX: usize = 64;
/// Bursts that are held in all.
pub(super) const BURSTS_MAX: usize = 10_000;
/// What ends the part of a key by which kinds are told apart.
const STEM_ENDS: &[u8] = b":/|.-_{}#@ ";

/// What the commands of a burst have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub how: How,
    pub command: String,
    pub database: Option<u64>,
    /// What their keys begin with, up to the first mark; empty where there is none.
    pub stem: Vec<u8>,
}

/// What a key begins with, up to the first mark.
pub(super) fn stem(key: &[u8]) -> Vec<u8> {
    let end = key.iter().position(|b| STEM_ENDS.contains(b)).map_or(0, |at| at + 1);
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

    /// Takes those of a segment that lies before all that were taken.
    pub fn put_before(&mut self, segment: Slices) {
        for (group, mut slices) in segment.groups {
            let held = self.groups.entry(group.clone()).or_default();
            self.count -= held.len();
            slices.make_contiguous().reverse();
            for slice in slices {
                match held.front_mut() {
                    Some(first) if group.is_joined() && slice.goes_on_with(first) => {
                        let mut whole = slice;
                        whole.join(first);
                        *first = whole;
                    }
                    _ => held.push_front(slice),
                }
            }
            // All but the first are known from end to end.
            if group.is_joined()
                && held.len() > GROUP_MAX
                && let Some(first) = held.pop_front()
            {
                *held = joined(std::mem::take(held));
                held.push_front(first);
            }
            self.count += held.len();
        }
    }

    /// All of them.
    pub fn into_all(self) -> impl Iterator<Item = (Group, Burst)> {
        self.groups.into_iter().flat_map(|(group, held)| {
            let all = if group.is_joined() { joined(held) } else { held };
            all.into_iter().map(move |burst| (group.clone(), burst))
        })
    }
}

impl Group {
    /// Whether commands of the group that follow each other are told as one.
    fn is_joined(&self) -> bool {
        !matches!(self.how, How::Databases | How::Functions)
    }
}

/// Bursts of a segment, in pieces of about the same pace.
#[derive(Debug, Default)]
pub(super) struct Slices {
    groups: BTreeMap<Group, VecDeque<Burst>>,
    count: usize,
}

impl Slices {
    /// Takes a command, which comes behind all that were taken. Returns the group that it is in.
    pub fn take(&mut self, mut group: Group, command: Burst) -> Group {
        if !self.groups.contains_key(&group) && self.groups.len() >= GROUPS_MAX {
            group.stem.clear();
        }
        let slices = self.groups.entry(group.clone()).or_default();
        let full = self.count >= BURSTS_MAX;
        match slices.back_mut() {
            Some(last) if group.is_joined() && command.first_ms.saturating_sub(last.first_ms) < SLICE_MS => {
                last.join(&command);
            }
            Some(last) if full => last.join(&command),
            _ => {
                self.count += 1;
                slices.push_back(command);
                // What came before the slice that has just begun is complete.
                if group.is_joined()
                    && let Some(newest) = slices.pop_back()
                {
                    if let Some(ended) = slices.pop_back() {
                        match slices.back_mut() {
                            Some(before) if before.goes_on_with(&ended) => {
                                before.join(&ended);
                                self.count -= 1;
                            }
                            _ => slices.push_back(ended),
                        }
                    }
                    slices.push_back(newest);
                }
            }
        }
        group
    }
}
