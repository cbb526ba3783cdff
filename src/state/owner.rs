//! The owner of a job: a process, known by a lock file that it holds as long as it lives.
//!
//! The operating system drops the lock when the process dies, however it dies, so a job of a dead owner can be told
//! from one of a slow owner without a clock.

use crate::config::blocking::blocking;
use crate::config::home::{file_fault, private_dir};
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::state::liveness::Liveness;
use async_trait::async_trait;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use tokio::sync::OnceCell;

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
    /// Registers this process under `run`.
    ///
    /// # Errors
    /// `home.failed`.
    pub fn new(run: &Path) -> Result<Self, Fault> {
        private_dir(run)?;
        let name = format!("{}-{}", std::process::id(), hex(&random::<4>()?));
        let path = run.join(format!("{name}.lock"));
        let lock = lock_exclusive(&path)?;
        Ok(Self { name, path, _lock: lock })
    }

    /// Whether the owner of that name still lives.
    ///
    /// # Errors
    /// `home.failed`.
    pub fn lives(run: &Path, name: &str) -> Result<bool, Fault> {
        let path = run.join(format!("{name}.lock"));
        if !path.exists() {
            return Ok(false);
        }
        let free = try_lock_exclusive(&path)?;
        if free.is_some() {
            // Best effort: a leftover lock file harms nobody.
            let _ = std::fs::remove_file(&path);
        }
        Ok(free.is_none())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
