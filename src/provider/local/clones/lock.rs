//! The lock of a clone's directory: whoever makes the clone holds it, then the clone's server, as its standard input. So it says whether
//! anybody still lives who belongs to the clone, without a process's number and without a clock, from the first moment on; and it says
//! which processes those are.
//!
//! It must not be let go of by unlocking, for all who share it would lose it: it is closed.

use crate::config::durable;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Name of the lock in a clone's directory.
pub(super) const LOCK: &str = "lock";

/// Who has the lock of a directory.
#[derive(Debug)]
pub(super) enum Held {
    /// Nobody; now it is ours, until it is closed.
    Ours(File),
    /// A process that belongs to the clone.
    Another(File),
    /// There is none: the directory is gone, or was never begun.
    Nothing,
}

/// Makes the lock of a new directory. Blocking.
///
/// # Errors
/// Those of the file system.
pub(super) fn new(dir: &Path) -> io::Result<File> {
    let lock = durable::private_file(&dir.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

/// Takes the lock, where nobody has it. Blocking, but for no lock.
///
/// # Errors
/// Those of the file system.
pub(super) fn take(dir: &Path) -> io::Result<Held> {
    let lock = match durable::open_regular(&dir.join(LOCK), true) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Held::Nothing),
        opened => opened?,
    };
    match lock.try_lock() {
        Ok(()) => Ok(Held::Ours(lock)),
        Err(TryLockError::WouldBlock) => Ok(Held::Another(lock)),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Whether a process that belongs to the clone lives. Several may look at once.
pub(super) fn is_held(dir: &Path) -> bool {
    let Ok(lock) = durable::open_regular(&dir.join(LOCK), false) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether that open file is the lock of the directory now: the name may be another clone's by now.
pub(super) fn is_of(lock: &File, dir: &Path) -> bool {
    let (Ok(there), Ok(ours)) = (std::fs::symlink_metadata(dir.join(LOCK)), lock.metadata()) else { return false };
    (there.dev(), there.ino()) == (ours.dev(), ours.ino())
}

/// Ends every other process whose standard input is that lock, whatever it does: there is none but those that this program started for
/// the clone. A process is held on to before it is looked at, so that none that has its number by now can be meant.
#[cfg(target_os = "linux")]
pub(super) fn end_holders(lock: &File) -> io::Result<()> {
    use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
    let ours = lock.metadata()?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| *pid != getpid()) else { continue };
        let stdin = entry.path().join("fd/0");
        let holds = || std::fs::metadata(&stdin).is_ok_and(|m| (m.dev(), m.ino()) == (ours.dev(), ours.ino()));
        if !holds() {
            continue;
        }
        if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && holds()
        {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
    Ok(())
}

/// Who has a file open is not known here: a server that does not end when it is asked is left alone.
#[cfg(not(target_os = "linux"))]
pub(super) fn end_holders(_: &File) -> io::Result<()> {
    Ok(())
}
