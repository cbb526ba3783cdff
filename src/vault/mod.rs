//! The vault: backup sets at rest. `<root>/<instance_id>/<backup_id>/{data.rdb.zst, manifest.json}`.
//!
//! A set is a folder that appears whole by one rename, after both files were fsynced; anything else is a draft
//! (`.draft-…`) and never lists. Manifests are the truth. Blocking: call it from a worker thread.

pub mod draft;
pub mod frames;
pub mod manifest;
mod stored;
pub mod verify;

use crate::model::backup::{BackupSet, DamagedSet};
use crate::model::fault::{Fault, Kind};
use crate::model::text::nearer_than;
use frames::FrameReader;
use manifest::Manifest;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The data object of a set.
pub const DATA: &str = "data.rdb.zst";
/// The manifest of a set, written last.
pub const MANIFEST: &str = "manifest.json";

/// What the folder of a set being deleted begins with. The dot keeps it out of every listing.
const GRAVE: &str = ".grave-";

/// Backup sets under one directory.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
}

/// A failed file operation on the vault.
pub(crate) fn vault_fault(what: &str, path: &Path, e: io::Error) -> Fault {
    let hint = if e.kind() == io::ErrorKind::StorageFull {
        "The disk of the vault is full; free space under the home directory."
    } else {
        "Check that the home directory (--home) is there, has room and belongs to this user."
    };
    Fault::new(Kind::Unexpected, "vault.failed", format!("cannot {what} {}: {e}", path.display())).hint(hint).because(e)
}

/// Stored data is not what was written.
pub(crate) fn damaged(path: &Path, why: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Damaged, "backup.damaged", format!("{}: {why}", path.display()))
        .hint("This set cannot be used; choose another from describe_backups. Nothing was sent to any instance.")
}

impl Vault {
    /// The vault in a directory. Touches nothing yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn instance_dir(&self, instance_id: &str) -> PathBuf {
        self.root.join(instance_id)
    }

    /// The folder of a set.
    #[must_use]
    pub fn set_dir(&self, instance_id: &str, backup_id: &str) -> PathBuf {
        self.instance_dir(instance_id).join(backup_id)
    }

    /// All sets of an instance, newest first; those that cannot be read are named, not passed over.
    ///
    /// # Errors
    /// `vault.failed`.
    pub fn list(&self, instance_id: &str) -> Result<Vec<Result<BackupSet, DamagedSet>>, Fault> {
        let dir = self.instance_dir(instance_id);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(vault_fault("read", &dir, e)),
        };
        let mut sets = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| vault_fault("read", &dir, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            match self.read(instance_id, &name) {
                // Deleted since the folder was read.
                Err(_) if !entry.path().exists() => {}
                read => sets.push(read.map_err(|f| DamagedSet { id: name, reason: f.message })),
            }
        }
        // The id begins with the time to the second, so it orders the damaged ones too; within a second the set's own does.
        let key = |s: &Result<BackupSet, DamagedSet>| {
            let (id, at) = match s {
                Ok(set) => (&set.id, Some(set.started_at)),
                Err(damaged) => (&damaged.id, None),
            };
            (id.split_inclusive('Z').next().map(str::to_owned), at, id.clone())
        };
        sets.sort_by_key(|s| std::cmp::Reverse(key(s)));
        Ok(sets)
    }

    fn read(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        let dir = self.set_dir(instance_id, backup_id);
        let path = dir.join(MANIFEST);
        let text = std::fs::read(&path).map_err(|e| damaged(&path, e))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| damaged(&path, e))?;
        let set = manifest.into_set().map_err(|why| damaged(&path, why))?;
        if set.id != backup_id || set.instance_id != instance_id {
            return Err(damaged(&path, format!("says it is {} of {}", set.id, set.instance_id)));
        }
        let data = dir.join(DATA);
        let bytes = std::fs::metadata(&data).map_err(|e| damaged(&data, e))?.len();
        if bytes != set.stored_bytes {
            return Err(damaged(&data, format!("has {bytes} bytes, {} were written", set.stored_bytes)));
        }
        Ok(set)
    }

    /// One set.
    ///
    /// # Errors
    /// `backup.not_found` with the nearest id there is; `backup.damaged`.
    pub fn find(&self, instance_id: &str, backup_id: &str) -> Result<BackupSet, Fault> {
        if self.set_dir(instance_id, backup_id).is_dir() {
            return self.read(instance_id, backup_id);
        }
        let known: Vec<String> = self.list(instance_id)?.into_iter().flatten().map(|s| s.id).collect();
        // All ids look alike: another set is no slip for one that is gone.
        let hint = match (nearer_than(0.9, backup_id, known.iter().map(String::as_str)), known.first()) {
            (Some(near), _) => format!("Did you mean {near}? Call describe_backups for the list."),
            (None, Some(latest)) => format!("The latest is {latest}. Call describe_backups for the list."),
            (None, None) => "This instance has no backup set yet; call create_backup.".into(),
        };
        Err(Fault::new(
            Kind::NotFound,
            "backup.not_found",
            format!("{instance_id} has no backup set {}", crate::model::text::quoted(backup_id)),
        )
        .hint(hint)
        .next(&["describe_backups"]))
    }

    /// Opens the data of a set for reading, frame by frame, each verified by its checksum.
    ///
    /// # Errors
    /// `backup.damaged`.
    pub fn open_data(&self, set: &BackupSet) -> Result<FrameReader, Fault> {
        let path = self.data_path(set);
        File::open(&path).and_then(FrameReader::new).map_err(|e| damaged(&path, e))
    }

    fn data_path(&self, set: &BackupSet) -> PathBuf {
        self.set_dir(&set.instance_id, &set.id).join(DATA)
    }

    /// Deletes a set for ever. From the rename on it does not exist; what a crash leaves of its files [`Self::sweep`] removes.
    ///
    /// # Errors
    /// `vault.failed`, and then it is whole or gone.
    pub fn delete(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        let dir = self.set_dir(instance_id, backup_id);
        let grave = self.instance_dir(instance_id).join(format!("{GRAVE}{backup_id}"));
        let unlink = || -> io::Result<()> {
            std::fs::rename(&dir, &grave)?;
            File::open(self.instance_dir(instance_id))?.sync_all()?;
            std::fs::remove_dir_all(&grave)
        };
        unlink().map_err(|e| vault_fault("delete", &dir, e))
    }

    /// Removes what crashes have left of deleted sets.
    ///
    /// # Errors
    /// `vault.failed`.
    pub fn sweep(&self, instance_id: &str) -> Result<(), Fault> {
        let dir = self.instance_dir(instance_id);
        let sweep = || -> io::Result<()> {
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(GRAVE) {
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
            Ok(())
        };
        match sweep() {
            // No set of it was ever there, or another process swept too.
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(vault_fault("sweep", &dir, e)),
            _ => Ok(()),
        }
    }

    /// Removes what an interrupted capture left of a set that never became visible.
    ///
    /// # Errors
    /// `vault.failed`.
    pub fn discard_draft(&self, instance_id: &str, backup_id: &str) -> Result<(), Fault> {
        let dir = draft::dir(&self.instance_dir(instance_id), backup_id);
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(vault_fault("remove", &dir, e)),
            _ => Ok(()),
        }
    }
}
