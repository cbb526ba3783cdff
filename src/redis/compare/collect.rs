//! The first walk: every key of one state becomes a record.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::error::{CompareError, Side};
use super::kept::{Kept, NAME_BYTES_MAX};
use super::partitions::Partitions;
use super::record::{Databases, Keys, Record};
use super::{Open, Options, Sides};
use crate::redis::rdb::contents::Value;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::{EntryHead, Visitor, walk_contents};

/// When work ends before it is done.
pub(super) struct Ends {
    deadline: Option<Instant>,
    /// The other side has failed.
    failed: AtomicBool,
    /// Keys that the first walk has met, of the state now and of the one to come.
    met: [AtomicU64; 2],
}

impl Ends {
    pub(super) const fn at(deadline: Option<Instant>) -> Self {
        Self { deadline, failed: AtomicBool::new(false), met: [const { AtomicU64::new(0) }; 2] }
    }

    /// Keys that the first walk has met, of the state now and of the one to come.
    pub(super) fn met(&self) -> [u64; 2] {
        self.met.each_ref().map(|met| met.load(Ordering::Relaxed))
    }

    /// Whether to stop now.
    pub(super) fn here(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The work was stopped on purpose. What a reader or a visitor returns then, inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub(super) struct Stopped;

impl Stopped {
    /// Whether a walk ended for that.
    pub(super) fn is(error: &RdbError) -> bool {
        let (RdbError::Source { source, .. } | RdbError::Sink { source, .. }) = error else { return false };
        source.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A state as it is read: opened when its first byte is asked for, and ended in time.
pub(super) struct Rdb<'a> {
    open: &'a Open<'a>,
    opened: Option<Box<dyn Read + Send>>,
    ends: &'a Ends,
}

impl Read for Rdb<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ends.here() {
            return Err(io::Error::other(Stopped));
        }
        match &mut self.opened {
            Some(opened) => opened.read(buf),
            none => none.insert((self.open)()?).read(buf),
        }
    }
}

/// Does something with either side, on two threads. `None`: the time was over before both had ended.
pub(super) fn both<T: Send>(
    sides: &Sides<'_>,
    ends: &Ends,
    work: impl Fn(Side, Rdb<'_>) -> Result<T, CompareError> + Sync,
) -> Result<Option<(T, T)>, CompareError> {
    let one = |side| {
        let open = if side == Side::Now { sides.now } else { sides.then };
        match work(side, Rdb { open, opened: None, ends }) {
            Err(CompareError::Rdb { source, .. }) if Stopped::is(&source) => Ok(None),
            Err(e) => {
                ends.failed.store(true, Ordering::Relaxed);
                Err(e)
            }
            Ok(done) => Ok(Some(done)),
        }
    };
    let (now, then) = std::thread::scope(|scope| {
        let then = std::thread::Builder::new().name("compare".to_owned()).spawn_scoped(scope, || one(Side::Then));
        let now = one(Side::Now);
        let then = match then {
            Ok(then) => then.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // One after the other is slower, and no reason to fail.
            Err(_) => one(Side::Then),
        };
        (now, then)
    });
    Ok(now?.zip(then?))
}

/// What a walk leaves of one state.
pub(super) struct Collected {
    pub(super) partitions: Partitions,
    /// The numbers of all function libraries, added up: they have no order.
    pub(super) libraries: u64,
    pub(super) kept: Kept,
}

/// Walks one state.
pub(super) fn walk(
    mut rdb: Rdb<'_>,
    partitions: Partitions,
    side: Side,
    keys: &Keys,
    options: &Options<'_>,
) -> Result<Collected, CompareError> {
    let [now, then] = &rdb.ends.met;
    let met = if side == Side::Now { now } else { then };
    let collect = Collect {
        keys,
        partitions,
        side,
        options,
        dbs: Databases::of(keys),
        begun: None,
        name: Vec::new(),
        kept: Kept::default(),
        libraries: 0,
        met,
        count: 0,
    };
    let walked =
        walk_contents(&mut rdb, (), collect, &keys.contents, options.later_ms()).map_err(|source| match source {
            RdbError::Sink { source, .. } => CompareError::File { dir: options.dir.clone(), source },
            source => CompareError::Rdb { side, source },
        })?;
    let end = |source| CompareError::Rdb { side, source };
    let offset = walked.statistics.bytes;
    let more = walked.src.read(&mut [0]).map_err(|source| end(RdbError::Source { offset, source }))?;
    if more > 0 || !walked.rest.is_empty() {
        return Err(end(RdbError::Corrupt { offset, what: "there is more behind its end" }));
    }
    let Collect { partitions, libraries, kept, .. } = walked.visitor;
    Ok(Collected { partitions, libraries, kept })
}

struct Collect<'a> {
    keys: &'a Keys,
    partitions: Partitions,
    side: Side,
    options: &'a Options<'a>,
    dbs: Databases<'a>,
    /// The current key, if it is wanted.
    begun: Option<(Record, Option<i64>)>,
    /// The beginning of its name.
    name: Vec<u8>,
    kept: Kept,
    libraries: u64,
    /// Where it is told how many keys were met, and how many those are.
    met: &'a AtomicU64,
    count: u64,
}

impl Visitor for Collect<'_> {
    const WANTS_VALUES: bool = false;
    const WANTS_KEYS: bool = true;
    const WANTS_FUNCTIONS: bool = true;

    fn key(&mut self, head: &EntryHead<'_>) -> io::Result<()> {
        self.begun = None;
        self.count += 1;
        self.met.store(self.count, Ordering::Relaxed);
        let Some(name) = self.options.name(self.side, head.key) else { return Ok(()) };
        let db = self.dbs.number(head.db);
        let stays = self.side == Side::Now && self.options.stays(head.key);
        self.begun = Some((self.keys.begin(db, name).staying(stays), head.expiry_ms));
        self.name.clear();
        self.name.extend_from_slice(name.get(..NAME_BYTES_MAX).unwrap_or(name));
        Ok(())
    }

    fn function(&mut self, code: &[u8]) -> io::Result<()> {
        self.libraries = self.libraries.wrapping_add(self.keys.library(code));
        Ok(())
    }

    // A value that holds nothing is not told: servers pass over its key.
    fn contents(&mut self, value: Value) -> io::Result<()> {
        let Some((begun, expiry_ms)) = self.begun.take() else { return Ok(()) };
        let record = self.keys.complete(begun, value, expiry_ms, self.options.moments(self.side));
        self.kept.add(&record, &self.name);
        self.partitions.push(record)
    }
}
