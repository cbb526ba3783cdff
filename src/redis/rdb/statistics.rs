//! The statistics of an RDB, as counted by a walk: what verification and the choice of a target need.
//!
//! Sizes here are bounded by constants, never by the data. Nothing is judged; `compat` judges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The format that the magic announces. The same opcode means different things in the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Magic `REDIS` and four digits: every Redis, and Valkey up to 8.1.
    Redis,
    /// Magic `VALKEY` and three digits: Valkey from 9.0.
    Valkey,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        })
    }
}

/// Whether the CRC64 trailer vouches for the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The trailer was there and fitted.
    Verified,
    /// The server wrote with `rdbchecksum no` (trailer zero), or the version (below 5) has no trailer. Damage inside
    /// strings goes unseen then, and so would an early end followed by zeros: a caller with bytes left over after such
    /// a walk should call the file damaged.
    Absent,
}

/// How many keys one database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DbCount {
    /// The database's number.
    pub db: u64,
    /// Keys in it, those with a passed expiry included.
    pub keys: u64,
    /// Keys that carry an expiry.
    pub expires: u64,
}

/// All that a walk counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatistics {
    /// The format that the magic announces.
    pub dialect: Dialect,
    /// The version in the header; a DUMP payload made of the visitor's pieces carries it in its footer.
    pub rdb_version: u16,
    /// Length of the whole RDB in bytes, CRC trailer included.
    pub bytes: u64,
    /// CRC-64 (Redis's, "Jones") over everything before the trailer, computed here.
    pub crc64: u64,
    /// Whether the trailer's CRC64 was there and agreed.
    pub checksum: Checksum,
    /// AUX fields in order of appearance, lossy text: `redis-ver`, `ctime`, `repl-id`, … At most 64; a name or value
    /// longer than 4 KiB is left empty.
    pub aux: Vec<(String, String)>,
    /// Databases that hold keys, ascending.
    pub dbs: Vec<DbCount>,
    /// The highest database that is selected, with or without keys.
    pub highest_db: u64,
    /// Keys of containers without elements, which old servers wrote. Every server passes over them, so that they are in no other count.
    pub empty_keys: u64,
    /// Keys whose expiry had passed when the walk began, by this machine's clock.
    pub expired: u64,
    /// Number of function libraries.
    pub functions: u64,
    /// Keys per type byte.
    pub types: BTreeMap<u8, u64>,
    /// Names of the module data types (nine characters, such as `ReJSON-RL`) and, as `META-` and four characters, of
    /// the key metadata classes in use; ascending. These are names of types, not of the modules that bring them.
    pub modules: Vec<String>,
    /// Opcodes met that not every server knows: 243, 244, 247.
    pub opcodes: BTreeSet<u8>,
    /// Length in bytes of the longest value as it is written (before any decompression).
    pub largest_value: u64,
}

impl KeyStatistics {
    /// Those of an RDB without anything in it.
    #[must_use]
    pub fn nothing(dialect: Dialect, rdb_version: u16) -> Self {
        Tally::new().into_statistics(dialect, rdb_version, 0, Checksum::Absent)
    }

    /// Keys in all databases.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.dbs.iter().map(|d| d.keys).sum()
    }

    /// The value of an AUX field, when the RDB has it.
    #[must_use]
    pub fn aux(&self, name: &str) -> Option<&str> {
        self.aux.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// How many databases (`databases` in the configuration) a target needs: a server with fewer exits on the load, also where the
    /// highest has no keys.
    #[must_use]
    pub const fn databases_needed(&self) -> u64 {
        self.highest_db.saturating_add(1)
    }
}

/// The counters while the walk runs: flat and cheap, bounded by constants.
pub(super) struct Tally {
    pub(super) types: [u64; 256],
    pub(super) aux: Vec<(String, String)>,
    pub(super) functions: u64,
    pub(super) empty_keys: u64,
    highest_db: u64,
    pub(super) opcodes: BTreeSet<u8>,
    pub(super) largest_value: u64,
    pub(super) current: DbCount,
    pub(super) expired: u64,
    /// When the walk began, in milliseconds since 1970.
    began_ms: i64,
    dbs: BTreeMap<u64, (u64, u64)>,
    modules: BTreeSet<String>,
}

/// Databases with keys that are counted; the bound keeps an RDB from growing the map without end. A server's setting has none.
pub(in crate::redis) const DATABASES_MAX: usize = 65_000;
/// More module types than a server can have, which is 64 by far.
const MODULE_TYPES_MAX: usize = 256;

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            types: [0; 256],
            aux: Vec::new(),
            functions: 0,
            empty_keys: 0,
            highest_db: 0,
            opcodes: BTreeSet::new(),
            largest_value: 0,
            current: DbCount { db: 0, keys: 0, expires: 0 },
            expired: 0,
            began_ms: jiff::Timestamp::now().as_millisecond(),
            dbs: BTreeMap::new(),
            modules: BTreeSet::new(),
        }
    }

    /// Stores the current database's counts and begins with another. False: more databases than are counted.
    #[must_use]
    pub(super) fn select(&mut self, db: u64) -> bool {
        if self.current.keys > 0 {
            let sums = self.dbs.entry(self.current.db).or_default();
            sums.0 += self.current.keys;
            sums.1 += self.current.expires;
        }
        self.current = DbCount { db, keys: 0, expires: 0 };
        self.highest_db = self.highest_db.max(db);
        self.dbs.len() <= DATABASES_MAX
    }

    /// Counts a key's expiry.
    #[inline]
    pub(super) fn expiry(&mut self, at_ms: i64) {
        self.current.expires += 1;
        self.expired += u64::from(at_ms <= self.began_ms);
    }

    /// Records a module type in use. False: more types than a server can have.
    #[must_use]
    pub(super) fn module(&mut self, name: String) -> bool {
        self.modules.insert(name);
        self.modules.len() <= MODULE_TYPES_MAX
    }

    pub(super) fn into_statistics(
        mut self,
        dialect: Dialect,
        rdb_version: u16,
        crc64: u64,
        checksum: Checksum,
    ) -> KeyStatistics {
        // The last database's counts are stored; the bound was checked with every earlier one.
        let _within_bound = self.select(0);
        KeyStatistics {
            dialect,
            rdb_version,
            bytes: 0,
            crc64,
            checksum,
            aux: self.aux,
            dbs: self.dbs.into_iter().map(|(db, (keys, expires))| DbCount { db, keys, expires }).collect(),
            highest_db: self.highest_db,
            empty_keys: self.empty_keys,
            expired: self.expired,
            functions: self.functions,
            types: (0..=u8::MAX).zip(self.types).filter(|(_, n)| *n > 0).collect(),
            modules: self.modules.into_iter().collect(),
            opcodes: self.opcodes,
            largest_value: self.largest_value,
        }
    }
}
