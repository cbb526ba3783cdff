//! A backup set: one consistent moment of one instance, whole and verified, or it does not exist.

use crate::model::fault::{Fault, Kind};
use crate::model::instance::Counts;
use crate::model::slots::HeldSlots;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// Who asked for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A person or an agent called `create_backup`.
    Manual,
    /// The guard took the set before a restore, so that the restored instance can be brought back to it.
    Safety,
    /// The backup policy of the instance had it taken.
    Automated,
    /// Nobody says it, or in a word that is not known.
    Unknown,
}

impl Mode {
    /// The mode in manifests and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Safety => "safety",
            Self::Automated => "automated",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Manual, Self::Safety, Self::Automated].into_iter().find(|m| m.as_str() == text)
    }
}

/// How a set came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Captured from a running server, by full synchronisation.
    Capture {
        /// The server that gave the data: the instance itself, or the replica configured as its `backup_from`. Without
        /// credentials; empty where the manifest does not record it.
        address: String,
    },
    /// Read from a file that somebody handed in.
    Import {
        /// Name of the file, without its directory.
        file: String,
        /// SHA-256 of the file as it was handed in.
        sha256: String,
    },
    /// Copied from another set.
    Copy {
        /// The instance that the copied set belongs to.
        instance_id: String,
        /// The copied set's id.
        backup_id: String,
    },
}

/// How deep a set was looked at when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The inside of every value, and that no key and no member is there twice.
    Deep,
}

impl Depth {
    /// The depth in manifests and replies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deep => "deep",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Deep].into_iter().find(|d| d.as_str() == text)
    }
}

/// What is known of a set beyond that its bytes are those that were written: whether a server will load it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// How deep the set was looked at.
    pub depth: Depth,
    /// Whether the RDB ends with the CRC64 of the server that wrote it, and that held. Without it, bytes that changed before they
    /// reached us and make sense nevertheless would not show.
    pub crc64: bool,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.depth.as_str(), if self.crc64 { "CRC64 held" } else { "without CRC64" })
    }
}

/// One backup set, as its manifest or the cloud describes it. What the provider does not tell is empty or zero: the cloud
/// tells neither a checksum nor what a set holds.
#[derive(Debug, Clone)]
pub struct BackupSet {
    /// The set's id, unique within its instance: `b-20261123T061500Z-3f9a1c`, or the cloud's own.
    pub id: String,
    /// The instance it was taken from.
    pub instance_id: String,
    /// Who asked for the set.
    pub mode: Mode,
    /// Free text of the caller who asked for the set; cleaned on arrival.
    pub note: String,
    /// The source's engine: `redis` or `valkey`.
    pub engine: String,
    /// The source's version, as its INFO writes it: `7.2.4`.
    pub version: String,
    /// The source's `run_id`: another one after a restart.
    pub run_id: String,
    /// The source's replication id (`master_replid`) at the moment captured.
    pub replication_id: String,
    /// The source's replication offset in bytes at the moment captured.
    pub replication_offset: u64,
    /// The source's count of write commands read just before the moment captured; `None` where it could not be read.
    pub write_calls: Option<u64>,
    /// When the capture began. The moment captured is not before it.
    pub started_at: Timestamp,
    /// When the set was complete: its manifest was written.
    pub finished_at: Timestamp,
    /// RDB format version, from the header: 1 to 15 for Redis, from 80 for Valkey's own dialect.
    pub rdb_version: u16,
    /// Bytes of the RDB before compression.
    pub rdb_bytes: u64,
    /// SHA-256 of the RDB, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes of the set's files as stored, compressed.
    pub stored_bytes: u64,
    /// Keys per database, and how many of them carry an expiry.
    pub counts: Counts,
    /// Number of function libraries.
    pub functions: u64,
    /// Bytes of memory the source used, from the RDB's `used-mem`; 0 where the RDB does not say.
    pub used_memory: u64,
    /// Keys per RDB type byte.
    pub types: BTreeMap<u8, u64>,
    /// When retention may delete the set; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Until when nobody may delete the set, whatever its expiry and whoever agrees; `None` without a lock.
    pub locked_until: Option<Timestamp>,
    /// Where the set's data came from.
    pub origin: Origin,
    /// The slots whose keys the source held whole when the set was taken; `None` where that is not recorded.
    pub held: Option<HeldSlots>,
    /// How far the set was proven to load when it was made; `None` where that is not recorded.
    pub proof: Option<Proof>,
    /// The server version that was announced to the source as our own, which decides what format it writes; `None` where none
    /// was.
    pub announced_version: Option<String>,
    /// What its manifest is as an object; `None` where it was not read from a vault of ours.
    pub manifest: Option<ManifestDigest>,
}

/// A manifest as an object: the digest of its bytes, and whose signature lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestDigest {
    /// SHA-256 of its bytes as they lie in the vault, lower-case hexadecimal.
    pub sha256: String,
    /// The id of the key that has signed it; `None` without a signature.
    pub signed_by: Option<String>,
    /// Whether this home remembers it; not known of one that was just read from the vault.
    pub remembered: bool,
}

impl BackupSet {
    /// Whether the set was walked when it was made, so that its checksum and what it holds are known. Of a set of the cloud they are not.
    #[must_use]
    pub const fn is_walked(&self) -> bool {
        !self.sha256.is_empty()
    }

    /// Whether what the set says of itself counts: a trusted key has signed its manifest, or this home remembers it. Whoever can put objects on a
    /// vault can write any other. What was read from no vault says nothing of itself.
    #[must_use]
    pub fn is_vouched_for(&self) -> bool {
        self.manifest.as_ref().is_none_or(|manifest| manifest.signed_by.is_some() || manifest.remembered)
    }

    /// What was proven of the set when it was made, for a reader.
    #[must_use]
    pub fn verified(&self) -> Option<String> {
        let libraries = if self.functions > 0 { "; code of its function libraries not compiled" } else { "" };
        self.proof.map(|proof| format!("{proof}{libraries}"))
    }
}

/// A set whose manifest or data cannot be read: listed as damaged, or as unreadable, never left out.
#[derive(Debug, Clone)]
pub struct DamagedSet {
    /// The set's id, from the name of its folder.
    pub id: String,
    /// The damaged file and what is wrong with it; or the one that this user may not read, and whose it is.
    pub reason: String,
    /// What to type so that this user may read the set, where nothing else is known to be wrong with it; `None`: it is damaged.
    pub unreadable: Option<String>,
}

impl DamagedSet {
    /// What whoever needs the set is told where this user may not read it; `None` where it is damaged.
    #[must_use]
    pub fn denied(&self) -> Option<Fault> {
        let hint = self.unreadable.as_ref()?;
        Some(Fault::new(Kind::Unexpected, "vault.unreadable", self.reason.clone()).hint(hint.clone()))
    }
}

/// The sets of a list, none of which this user may not read: whoever judges what there is, or deletes, must not take such a one for damaged or gone.
///
/// # Errors
/// `vault.unreadable`.
pub fn all_readable(sets: Vec<Result<BackupSet, DamagedSet>>) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
    match sets.iter().find_map(|set| set.as_ref().err().and_then(DamagedSet::denied)) {
        Some(fault) => Err(fault),
        None => Ok(sets),
    }
}

#[cfg(test)]
impl BackupSet {
    /// A set of the instance `orders` for unit tests of what is judged from sets alone: walked, taken in no time, of nothing.
    pub(crate) fn sample(id: &str, mode: Mode) -> Self {
        Self {
            id: id.into(),
            instance_id: "orders".into(),
            mode,
            note: String::new(),
            engine: "redis".into(),
            version: "7.0.15".into(),
            run_id: String::new(),
            replication_id: String::new(),
            replication_offset: 0,
            write_calls: None,
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            rdb_version: 10,
            rdb_bytes: 1,
            sha256: "its".into(),
            stored_bytes: 1,
            counts: Counts::new(),
            functions: 0,
            used_memory: 0,
            types: BTreeMap::new(),
            expires_at: None,
            locked_until: None,
            origin: Origin::Capture { address: String::new() },
            held: None,
            proof: None,
            announced_version: None,
            manifest: None,
        }
    }
}
