//! The owner of a job: a process, known by a lock file that it holds as long as it lives.
//!
//! The operating system drops the lock when the process dies, however it dies, so a job of a dead owner can be told
//! from one of a slow owner without a clock. A lock file that is gone proves nothing, for anybody may have removed it: then the
//! process itself is looked for, by its number and the moment of its start, which stand in the owner's name, and whether it still has
//! that file open. What processes that were killed left behind goes when the next one registers.

use crate::config::blocking::blocking;
use crate::config::durable::open_regular;
use crate::config::home::{file_fault, private_dir};
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::state::liveness::Liveness;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Names of the owners that this process is. Of itself a process knows without looking.
static OURS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Beginnings of the names of files that lose their name as soon as they are made: those through which a restore by commands passes
/// large values, and those of a verification.
const SPOOLS: [&str; 2] = [".restore-", ".numbers-"];
/// What the name of an owner's lock file ends in.
const LOCK: &str = ".lock";
/// Most files of a directory that are looked at when what was left there is removed.
const SWEPT_MAX: usize = 10_000;
/// Times registering is tried while others take the new lock file for one left behind.
const REGISTERING: u32 = 8;
/// Age from which such a file was left by a process that was killed: it has a name for an instant.
const SPOOL_AGE: Duration = Duration::from_secs(60);

fn ours() -> MutexGuard<'static, BTreeSet<String>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A living owner; dropping this value releases its lock.
#[derive(Debug)]
pub struct Owner {
    /// The owner's name, as stored with its jobs.
    pub name: String,
    path: PathBuf,
    _lock: File,
}

fn open(path: &Path) -> Result<File, Fault> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|e| file_fault("open", path, e))
}

/// Liveness where processes share a disk: the system drops the lock of a dead process at once, so no clock is needed.
#[derive(Debug)]
pub struct LockFiles {
    run: PathBuf,
    me: OnceCell<Owner>,
}

impl LockFiles {
    /// Lock files in that directory, which is made on first use.
    #[must_use]
    pub fn new(run: PathBuf) -> Self {
        Self { run, me: OnceCell::new() }
    }
}

#[async_trait]
impl Liveness for LockFiles {
    async fn me(&self) -> Result<String, Fault> {
        let register = || async {
            let run = self.run.clone();
            blocking(move || Owner::new(&run)).await
        };
        Ok(self.me.get_or_try_init(register).await?.name.clone())
    }

    async fn lives(&self, owner: &str) -> Result<bool, Fault> {
        let (run, owner) = (self.run.clone(), owner.to_owned());
        blocking(move || Owner::lives(&run, &owner)).await
    }

    async fn others(&self) -> Result<Vec<String>, Fault> {
        let (run, me) = (self.run.clone(), self.me.get().map(|me| me.name.clone()));
        blocking(move || {
            let mut others = Vec::new();
            for entry in std::fs::read_dir(&run).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Some(name) = name.strip_suffix(LOCK).filter(|name| Some(*name) != me.as_deref()) else { continue };
                if Owner::lives(&run, name)? {
                    others.push(name.to_owned());
                }
            }
            Ok(others)
        })
        .await
    }

    fn may_be_taken_for_dead(&self) -> bool {
        // The system keeps its lock for as long as it runs, however slowly.
        false
    }
}

/// Opens and locks a file, waiting for whoever holds it. Blocking.
///
/// # Errors
/// `home.failed`.
pub fn lock_exclusive(path: &Path) -> Result<File, Fault> {
    let file = open(path)?;
    file.lock().map_err(|e| file_fault("lock", path, e))?;
    Ok(file)
}

/// Opens and locks a file; `None` while another process holds the lock.
///
/// # Errors
/// `home.failed`.
pub fn try_lock_exclusive(path: &Path) -> Result<Option<File>, Fault> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(file_fault("lock", path, e)),
    }
}

impl Owner {
    /// Registers this process under `run`, and removes what dead ones left there.
    ///
    /// # Errors
    /// `home.failed`.
    pub fn new(run: &Path) -> Result<Self, Fault> {
        private_dir(run)?;
        sweep(run);
        let pid = std::process::id();
        let born = started(pid).unwrap_or_default();
        for _ in 0..REGISTERING {
            let name = format!("{pid}-{born}-{}", hex(&random::<4>()?));
            let path = run.join(format!("{name}.lock"));
            let lock = lock_exclusive(&path)?;
            // Between its making and its locking it looked like one that was left behind.
            if is_at(&lock, &path) {
                ours().insert(name.clone());
                return Ok(Self { name, path, _lock: lock });
            }
        }
        Err(file_fault("lock", run, io::ErrorKind::ResourceBusy.into()))
    }

    /// Whether the owner of that name still lives.
    ///
    /// # Errors
    /// `home.failed`.
    pub fn lives(run: &Path, name: &str) -> Result<bool, Fault> {
        let process = process_of(name);
        if process == Process::This {
            return Ok(ours().contains(name));
        }
        let path = run.join(format!("{name}.lock"));
        match open_regular(&path, true) {
            Ok(file) => Ok(!remove_free(&file, &path)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(process == Process::Another && holds(name)),
            Err(e) => Err(file_fault("open", &path, e)),
        }
    }
}

/// The process that an owner's name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    /// This one.
    This,
    /// Another one, which lives.
    Another,
    /// None that lives, as far as this machine shows. The names of earlier versions do not say when their process began, so that
    /// a living one cannot be told from one that has its number now.
    None,
}

fn process_of(name: &str) -> Process {
    let mut parts = name.split('-');
    let Some(pid) = parts.next().and_then(|pid| pid.parse().ok()) else { return Process::None };
    let Some(born) = parts.next().filter(|_| parts.next().is_some()) else { return Process::None };
    match started(pid) {
        Some(started) if started == born && pid == std::process::id() => Process::This,
        Some(started) if started == born => Process::Another,
        _ => Process::None,
    }
}

/// Removes a lock file that nobody holds; whether it was free.
fn remove_free(file: &File, path: &Path) -> Result<bool, Fault> {
    match file.try_lock() {
        Ok(()) => {
            // Under the lock: whoever opened it in between sees that it has lost its name. A leftover harms nobody.
            let _ = std::fs::remove_file(path);
            Ok(true)
        }
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(file_fault("lock", path, e)),
    }
}

/// Whether a file still has its name.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(there), Ok(ours)) = (std::fs::symlink_metadata(path), file.metadata()) else { return false };
    (there.dev(), there.ino()) == (ours.dev(), ours.ino())
}

/// Removes what killed processes left. What cannot be removed stays: it harms nobody.
fn sweep(run: &Path) {
    for entry in std::fs::read_dir(run).into_iter().flatten().take(SWEPT_MAX).flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(LOCK) {
            let _ = open_regular(&path, true).map(|file| remove_free(&file, &path));
        } else if SPOOLS.iter().any(|spool| name.starts_with(spool)) && age(&path).is_some_and(|age| age > SPOOL_AGE) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn age(path: &Path) -> Option<Duration> {
    std::fs::symlink_metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

/// When a living process of this machine began, as a short text that no other process of its number has; `None` where there is none
/// (one that is dead and not yet waited for is none).
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything, parentheses too.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let alive = fields.next().is_some_and(|state| !matches!(state, "Z" | "X"));
    // The 22nd field of all, in ticks since the machine began: so the boot belongs to it.
    let ticks = fields.nth(18)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digest = hex(&Sha256::digest(format!("{} {ticks}", boot.trim())));
    alive.then(|| digest.get(..8).unwrap_or_default().to_owned())
}

/// Whether the living process of an owner's name has that owner's lock file open, which was removed. Where that cannot be looked up it
/// may well.
#[cfg(target_os = "linux")]
fn holds(name: &str) -> bool {
    let pid = name.split('-').next().unwrap_or_default();
    let Ok(handles) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return true };
    let lock = format!("{name}.lock");
    // The system adds a word to the name of a file that was removed.
    let is_lock = |to: PathBuf| to.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&lock));
    handles.flatten().any(|handle| std::fs::read_link(handle.path()).is_ok_and(is_lock))
}

/// What files a process has open is not known here.
#[cfg(not(target_os = "linux"))]
fn holds(_: &str) -> bool {
    true
}

/// When a living process began is not known here: that there is one of its number has to do.
#[cfg(not(target_os = "linux"))]
fn started(pid: u32) -> Option<String> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::test_kill_process(pid).is_ok().then(|| "alive".to_owned())
}

impl Drop for Owner {
    fn drop(&mut self) {
        ours().remove(&self.name);
        let _ = std::fs::remove_file(&self.path);
    }
}
