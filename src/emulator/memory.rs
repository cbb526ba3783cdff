//! What the emulator has to know after a restart: policies, locks, spares handed out, tokens, and who asked for which backup.
//!
//! One small file under the home directory, written whole, fsynced and renamed into place before a call is answered. Sets
//! and jobs are not in it: the vault and the state store have those. It belongs to one process at a time.

use crate::config::home::private_dir;
use crate::model::fault::{Fault, Kind};
use crate::state::owner::try_lock_exclusive;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A backup policy as the cloud keeps it. Nothing runs it yet: whoever schedules backups of local instances reads it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `05:00Z-06:00Z`.
    pub time: String,
    /// English weekdays.
    pub days: Vec<String>,
    /// Days.
    pub retention: i64,
    /// Data flashback, on since.
    pub flashback_since: Option<Timestamp>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            time: "02:00Z-03:00Z".into(),
            days: super::policy::WEEKDAYS.map(str::to_owned).to_vec(),
            retention: 7,
            flashback_since: None,
        }
    }
}

/// A spare that was handed out as a new instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// When it was asked for.
    pub at: Timestamp,
    /// Its name.
    pub name: String,
    /// `PostPaid` or `PrePaid`.
    pub charge: String,
    /// When it was filled and became `Normal`. Sets begun before are not the new instance's.
    pub normal_at: Option<Timestamp>,
    /// It could not be filled.
    pub failed: bool,
    /// The copy of the set that it is filled from, while that lasts.
    pub copy: String,
}

/// A backup that was asked for by a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// When.
    pub at: Timestamp,
    /// The set.
    pub backup_id: String,
}

/// Of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Its policy; the default where none was set.
    pub policy: Option<Policy>,
    /// Why it is locked for writes, when it is, and the setting of the server that the lock replaced.
    pub locked: Option<Lock>,
    /// How it came to be, where a call created it.
    pub created: Option<Created>,
    /// Backups asked for in the last day.
    pub taken: Vec<Taken>,
    /// Sets with a date of their own; `None`: kept as long as the instance lives.
    pub expiry: BTreeMap<String, Option<Timestamp>>,
}

/// A write lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Why, as the caller says.
    pub reason: String,
    /// The server's own setting, to be put back.
    pub replicas_to_write: String,
}

/// A call that made an instance, for when it comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// When.
    pub at: Timestamp,
    /// Hash of its arguments.
    pub arguments: String,
    /// What it got.
    pub instance_id: String,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// By instance id.
    pub instances: BTreeMap<String, Kept>,
    /// By token.
    pub tokens: BTreeMap<String, Token>,
}

impl Book {
    /// What is kept of an instance.
    pub fn of(&mut self, instance_id: &str) -> &mut Kept {
        self.instances.entry(instance_id.to_owned()).or_default()
    }

    /// Forgets what is a day old, so that the file does not grow.
    fn prune(&mut self, now: Timestamp) {
        let young = |at: Timestamp| now.duration_since(at) < SignedDuration::from_hours(24);
        self.tokens.retain(|_, token| young(token.at));
        for kept in self.instances.values_mut() {
            kept.taken.retain(|t| young(t.at));
        }
    }
}

/// The file and what is in it.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    book: Mutex<Book>,
    /// Held while this process lives.
    _lock: File,
}

fn failed(what: &str, path: &Path, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(Kind::Unexpected, "emulator.memory", format!("cannot {what} {}", path.display()))
        .hint("Check that the home directory (--home) is on a disk with room and belongs to this user.")
        .because(e)
}

impl Memory {
    /// Reads the file under a home directory, if there is one.
    ///
    /// # Errors
    /// `emulator.memory`; `emulator.running` where another process serves this home.
    pub fn open(home: &Path) -> Result<Self, Fault> {
        private_dir(home)?;
        let lock = try_lock_exclusive(&home.join("emulator.lock"))?.ok_or_else(|| {
            Fault::new(Kind::Usage, "emulator.running", "another process emulates with this home directory")
                .hint("Stop it, or name another --home.")
        })?;
        let path = home.join("emulator.json");
        let book = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| failed("read", &path, e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Book::default(),
            Err(e) => return Err(failed("read", &path, e)),
        };
        Ok(Self { path, book: Mutex::new(book), _lock: lock })
    }

    /// Looks.
    pub fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is kept of an instance.
    pub fn of(&self, instance_id: &str) -> Kept {
        self.read(|book| book.instances.get(instance_id).cloned().unwrap_or_default())
    }

    /// Changes it, and returns when that is durable. What `change` refuses is not written.
    ///
    /// # Errors
    /// Those of `change`, and `emulator.memory`.
    pub fn change<T, E: From<Fault>>(&self, change: impl FnOnce(&mut Book) -> Result<T, E>) -> Result<T, E> {
        let mut held = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = held.clone();
        book.prune(Timestamp::now());
        let done = change(&mut book)?;
        self.write(&book)?;
        *held = book;
        Ok(done)
    }

    /// A few kilobytes, seldom: not worth a thread of its own.
    fn write(&self, book: &Book) -> Result<(), Fault> {
        let text = serde_json::to_vec_pretty(book).map_err(|e| failed("write", &self.path, e))?;
        let draft = self.path.with_extension("json.draft");
        let all = || -> std::io::Result<()> {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&draft, &self.path)?;
            // The name itself has to last, too.
            File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        all().map_err(|e| failed("write", &self.path, e))
    }
}
