//! The file of the emulated account's records: small, written whole, and made durable before a call is answered.
//!
//! The file is under the home directory, is fsynced and renamed into place, and belongs to one process at a time. Nothing else
//! reads or writes it.

use crate::config::blocking::blocking;
use crate::config::durable::replace;
use crate::config::home::private_dir;
use crate::emulator::account::records::{InstanceRecord, Records};
use crate::model::fault::{Fault, Kind};
use crate::state::owner::try_lock_exclusive;
use jiff::Timestamp;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file, and the records in it.
#[derive(Debug)]
pub struct RecordsFile {
    held: Arc<Held>,
    /// One change at a time, from the look at the records until the file is durable.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Held while this process lives.
    _lock: File,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// The records as the file has them: replaced only after the file was.
    records: Mutex<Records>,
}

fn failed(what: &str, path: &Path, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    Fault::new(Kind::Unexpected, "emulator.memory", format!("cannot {what} {}", path.display()))
        .hint("Check that the home directory (--home) is on a disk with room and belongs to this user.")
        .because(e)
}

impl RecordsFile {
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
        let records = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| failed("read", &path, e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Records::default(),
            Err(e) => return Err(failed("read", &path, e)),
        };
        let held = Arc::new(Held { path, records: Mutex::new(records) });
        Ok(Self { held, changing: Arc::default(), _lock: lock })
    }

    /// Looks at the records.
    pub fn read<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.held.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy of an instance's record.
    pub fn of(&self, instance_id: &str) -> InstanceRecord {
        self.read(|records| records.instances.get(instance_id).cloned().unwrap_or_default())
    }

    /// Changes the records, and returns when the change is durable. What `change` refuses is not written. Begun, the writing is
    /// seen to its end, also where nobody waits for it any more.
    ///
    /// # Errors
    /// Those of `change`, and `emulator.memory`.
    pub async fn change<T, E: From<Fault>>(&self, change: impl FnOnce(&mut Records) -> Result<T, E>) -> Result<T, E> {
        let one_at_a_time = Arc::clone(&self.changing).lock_owned().await;
        let mut records = self.read(Records::clone);
        records.prune(Timestamp::now());
        let done = change(&mut records)?;
        let held = Arc::clone(&self.held);
        // A disk can block, and one thread serves all calls.
        blocking(move || {
            held.write(&records)?;
            *held.records.lock().unwrap_or_else(PoisonError::into_inner) = records;
            drop(one_at_a_time);
            Ok(())
        })
        .await?;
        Ok(done)
    }
}

impl Held {
    fn write(&self, records: &Records) -> Result<(), Fault> {
        let text = serde_json::to_vec_pretty(records).map_err(|e| failed("write", &self.path, e))?;
        replace(&self.path, &text).map_err(|e| failed("write", &self.path, e))
    }
}
