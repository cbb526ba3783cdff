//! A set being written. It becomes visible by one rename, or leaves nothing.

use crate::config::home::private_dir;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::vault::frames::FrameWriter;
use crate::vault::manifest::Manifest;
use crate::vault::stored::Stored;
use crate::vault::{DATA, MANIFEST, Vault, vault_fault};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The folder of a draft. The dot keeps it out of every listing.
pub(super) fn dir(instance_dir: &Path, backup_id: &str) -> PathBuf {
    instance_dir.join(format!(".draft-{backup_id}"))
}

/// A set being written: hashes and compresses what it is given. Dropped unpublished, it removes itself.
pub struct Draft {
    instance_dir: PathBuf,
    dir: PathBuf,
    frames: Option<FrameWriter<Stored>>,
    sha: Sha256,
    published: bool,
}

/// What a data object has become.
#[derive(Debug)]
pub struct Sealed {
    /// SHA-256 of the RDB.
    pub sha256: String,
    /// Bytes on the vault.
    pub stored_bytes: u64,
}

impl Vault {
    /// Begins a set.
    ///
    /// # Errors
    /// `vault.failed`.
    pub fn draft(&self, instance_id: &str, backup_id: &str) -> Result<Draft, Fault> {
        let instance_dir = self.instance_dir(instance_id);
        let dir = dir(&instance_dir, backup_id);
        private_dir(&dir)?;
        let path = dir.join(DATA);
        let open = || -> io::Result<FrameWriter<Stored>> { FrameWriter::new(Stored::new(File::create_new(&path)?)?) };
        let frames = open().map_err(|e| vault_fault("write", &path, e))?;
        Ok(Draft { instance_dir, dir, frames: Some(frames), sha: Sha256::new(), published: false })
    }
}

impl Draft {
    /// Adds bytes of the RDB.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sha.update(bytes);
        self.frames.as_mut().ok_or_else(|| io::Error::other("the draft is closed"))?.push(bytes)
    }

    /// Ends the data object, fsynced.
    ///
    /// # Errors
    /// `vault.failed`.
    pub fn seal(&mut self) -> Result<Sealed, Fault> {
        let path = self.dir.join(DATA);
        let mut sealed = || -> io::Result<u64> {
            let frames = self.frames.take().ok_or_else(|| io::Error::other("the draft is closed"))?;
            let (stored, bytes) = frames.finish()?;
            stored.finish()?;
            Ok(bytes)
        };
        let stored_bytes = sealed().map_err(|e| vault_fault("write", &path, e))?;
        Ok(Sealed { sha256: hex(&self.sha.clone().finalize()), stored_bytes })
    }

    /// Writes the manifest and makes the set visible: the point from which it exists.
    ///
    /// # Errors
    /// `vault.failed`, and then there is no set.
    pub fn publish(mut self, set: &BackupSet) -> Result<(), Fault> {
        let json = serde_json::to_vec_pretty(&Manifest::of(set)).unwrap_or_default();
        let path = self.dir.join(MANIFEST);
        let target = self.instance_dir.join(&set.id);
        let publish = || -> io::Result<()> {
            let mut file = File::create_new(&path)?;
            file.write_all(&json)?;
            file.sync_all()?;
            File::open(&self.dir)?.sync_all()?;
            // A crash before this line leaves a draft that is swept; after it, a whole set.
            std::fs::rename(&self.dir, &target)?;
            File::open(&self.instance_dir)?.sync_all()?;
            // The instance's own folder may be new.
            self.instance_dir.parent().map_or(Ok(()), |root| File::open(root)?.sync_all())
        };
        publish().map_err(|e| vault_fault("publish", &target, e))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // What stays behind here is swept when its job is settled.
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
