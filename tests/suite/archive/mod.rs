//! The log of an instance: what was received can be recovered to every moment, byte for byte, or it is said why not. Of these only
//! `bases`, `collector`, `heads`, `links`, `memory`, `outages`, `silence` and `chaos` need servers.

mod bases;
mod chaos;
mod clock;
mod collector;
mod coverage;
mod cuts;
mod damage;
mod destructive;
mod format;
mod heads;
mod links;
mod memory;
mod outages;
mod prune;
mod silence;
mod spool;

use crate::support::Dice;
use crate::support::backup_set::backup_set;
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tair_backup_mcp::archive::{
    Archive, Coverage, Cut, CutAt, LogWriter, NewTimeline, NoCut, Outside, SealLimits, Timeline,
};
use tair_backup_mcp::model::backup::{BackupSet, Mode};
use tair_backup_mcp::vault::Vault;
use tempfile::TempDir;

pub const REPLID: &str = "0123456789abcdef0123456789abcdef01234567";
/// A moment in 2026, in milliseconds.
pub const T0: i64 = 1_790_000_000_000;
pub const FIRST: u64 = 1000;

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend_from_slice(word);
        out.extend(b"\r\n");
    }
    out
}

pub fn set(key: &str, value: &str) -> Vec<u8> {
    command(&[b"SET", key.as_bytes(), value.as_bytes()])
}

pub fn select(db: u64) -> Vec<u8> {
    command(&[b"SELECT", db.to_string().as_bytes()])
}

/// A vault and a spool in a directory, with one timeline.
pub struct Log {
    pub dir: TempDir,
    pub archive: Archive,
    pub timeline: Timeline,
}

pub fn new_timeline(offset: u64, database: Option<u64>) -> NewTimeline {
    NewTimeline {
        instance_id: "orders".into(),
        shard: 0,
        opened_at: at(T0),
        replid: REPLID.into(),
        offset,
        database,
        restored_from: None,
    }
}

pub fn limits(bytes: u64) -> SealLimits {
    SealLimits { bytes, age: Duration::from_secs(3600) }
}

impl Log {
    pub fn new() -> Self {
        Self::beginning(new_timeline(FIRST, Some(0)))
    }

    pub fn beginning(new: NewTimeline) -> Self {
        let dir = TempDir::new().unwrap();
        let archive = archive(dir.path(), "spool");
        let timeline = archive.open_timeline(new).unwrap();
        Self { dir, archive, timeline }
    }

    pub fn writer(&self, bytes: u64) -> LogWriter {
        self.archive.writer(&self.timeline, limits(bytes)).unwrap()
    }

    pub fn vault_dir(&self) -> PathBuf {
        self.dir.path().join("vault/.log/orders/0").join(&self.timeline.id)
    }

    pub fn spool_dir(&self) -> PathBuf {
        self.dir.path().join("spool/.log/orders/0").join(&self.timeline.id)
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.vault_dir()).unwrap().map(|e| e.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|e| e == "seg"));
        found.sort();
        found
    }

    pub fn coverage(&self) -> Coverage {
        self.archive.coverage("orders", 0).unwrap()
    }

    pub fn vault(&self) -> Vault {
        Vault::new(self.dir.path().join("vault"))
    }
}

pub fn archive(dir: &Path, spool: &str) -> Archive {
    Archive::new(&Vault::new(dir.join("vault")), dir.join(spool))
}

/// Closes and seals all that is whole.
pub fn seal(writer: &mut LogWriter) {
    writer.seal_now().unwrap();
    writer.sealer().seal().unwrap();
}

/// Appends something that came at a moment.
pub fn put(writer: &mut LogWriter, bytes: &[u8], ms: i64) {
    writer.append(bytes, at(ms), SignedDuration::ZERO).unwrap();
}

/// A set at a position of the history, complete at a moment.
pub fn base(offset: u64, complete_ms: i64) -> BackupSet {
    BackupSet {
        replication_id: REPLID.into(),
        replication_offset: offset,
        started_at: at(complete_ms - 10),
        ..backup_set(&format!("b-{offset}"), Mode::Manual, at(complete_ms))
    }
}

pub fn cut(log: &Log, bases: &[BackupSet], ms: i64) -> Result<Cut, Outside> {
    cut_at(log, bases, &CutAt::Moment(at(ms)))
}

pub fn cut_at(log: &Log, bases: &[BackupSet], wanted: &CutAt) -> Result<Cut, Outside> {
    log.coverage().cut(bases, wanted).map_err(|no| match no {
        NoCut::Outside(outside) => outside,
        NoCut::Fault(fault) => panic!("{fault}"),
    })
}

/// All that a cut replays.
pub fn replayed(archive: &Archive, cut: &Cut) -> Vec<u8> {
    let mut reader = archive.read(cut).unwrap();
    let all: Vec<u8> = reader.by_ref().flat_map(|chunk| chunk.unwrap()).collect();
    assert_eq!(reader.commands(), cut.commands);
    all
}

/// A transaction of a stream: its bytes, those that a replay gives, and the commands in it that count.
pub struct Transaction {
    pub bytes: Vec<u8>,
    pub given: Vec<u8>,
    pub commands: u64,
}

/// Random transactions: plain commands, some large, in MULTI and EXEC, SELECTs, and what is not replayed.
pub fn transactions(dice: &mut Dice, count: usize, value_max: usize) -> Vec<Transaction> {
    let one = |dice: &mut Dice| {
        let len = if dice.below(20) == 0 { dice.below(value_max) } else { dice.below(40) };
        let key = format!("key:{}", dice.below(1000));
        // Random bytes, so that what looks like a command within a value is none.
        let value: Vec<u8> = (0..len).map(|_| b"*1\r\n$4PINGEXEC"[dice.below(14)]).collect();
        let given = match dice.below(6) {
            0 => command(&[b"RPUSH", key.as_bytes(), &value]),
            1 => command(&[b"del", key.as_bytes()]),
            _ => command(&[b"SET", key.as_bytes(), &value]),
        };
        Transaction { bytes: given.clone(), given, commands: 1 }
    };
    let left_out = |dice: &mut Dice| match dice.below(4) {
        0 => command(&[b"PING"]),
        1 => command(&[b"REPLCONF", b"GETACK", b"*"]),
        2 => command(&[b"PUBLISH", b"c", b"m"]),
        _ => command(&[b"CLUSTER", b"SYNCSLOTS"]),
    };
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(match dice.below(10) {
            0 => Transaction { bytes: left_out(dice), given: Vec::new(), commands: 0 },
            1 => {
                let given = select(dice.below(4) as u64);
                Transaction { bytes: given.clone(), given, commands: 0 }
            }
            2 | 3 => {
                let (multi, exec) = (command(&[b"multi"]), command(&[b"EXEC"]));
                let mut all = Transaction { bytes: multi.clone(), given: multi, commands: 0 };
                for _ in 0..dice.below(5) {
                    let inner = one(dice);
                    all.bytes.extend(&inner.bytes);
                    all.given.extend(&inner.given);
                    all.commands += 1;
                    if dice.below(4) == 0 {
                        all.bytes.extend(left_out(dice));
                    }
                }
                all.bytes.extend(&exec);
                all.given.extend(&exec);
                all
            }
            _ => one(dice),
        });
    }
    made
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.as_ref().unwrap(), to.join(entry.as_ref().unwrap().file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
