//! Verification of a set at rest: every frame's checksum, SHA-256, CRC64, structure, and the counts its manifest claims;
//! and the shorter look, whether the file is still the one that was verified.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::redis::rdb::{self, Census};
use crate::vault::stored::parts_sha256;
use crate::vault::{DATA, Vault, damaged};
use sha2::{Digest, Sha256};
use std::io;

/// Hashes what passes.
struct Hash(Sha256);

impl rdb::Tap for Hash {
    fn bytes(&mut self, b: &[u8]) -> io::Result<()> {
        self.0.update(b);
        Ok(())
    }
}

impl Vault {
    /// Reads a set whole and compares it with its manifest. Blocking; as fast as two cores decompress.
    ///
    /// # Errors
    /// `backup.damaged`, naming file and offset.
    pub fn verify(&self, set: &BackupSet) -> Result<Census, Fault> {
        let path = self.set_dir(&set.instance_id, &set.id).join(DATA);
        let data = self.open_data(set)?;
        let walked = rdb::walk(data, Hash(Sha256::new()), ()).map_err(|e| damaged(&path, e))?;
        let mut data = walked.src;
        let rest =
            walked.rest.len() + io::copy(&mut data, &mut io::sink()).map_or(1, |n| usize::try_from(n).unwrap_or(1));
        if rest > 0 {
            return Err(damaged(&path, "goes on after the end of its RDB"));
        }
        let sha256 = hex(&walked.tap.0.finalize());
        if sha256 != set.sha256 {
            return Err(damaged(&path, format!("SHA-256 is {sha256}, the manifest says {}", set.sha256)));
        }
        let census = walked.census;
        if crate::vault::manifest::counts(&census) != set.counts || census.rdb_version != set.rdb_version {
            return Err(damaged(&path, "holds other key counts or another RDB version than its manifest says"));
        }
        Ok(census)
    }

    /// Whether the data is, byte for byte, the file whose checksum the manifest names: a fraction of the work of
    /// [`Vault::verify`], for a set that was verified whole before. Where the manifest names none, it is verified.
    ///
    /// # Errors
    /// `backup.damaged`, naming file and, where it can be told, offset.
    pub fn intact(&self, set: &BackupSet) -> Result<(), Fault> {
        if set.stored_sha256.is_empty() {
            return self.verify(set).map(|_| ());
        }
        let path = self.set_dir(&set.instance_id, &set.id).join(DATA);
        let sha256 = parts_sha256(&path).map_err(|e| damaged(&path, e))?;
        if sha256 == set.stored_sha256 {
            return Ok(());
        }
        // What is broken, and where, only the whole look can say.
        self.verify(set)?;
        Err(damaged(&path, format!("the SHA-256 of its parts is {sha256}, the manifest says {}", set.stored_sha256)))
    }
}
