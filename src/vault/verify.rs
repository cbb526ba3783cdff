//! Verification of a set at rest: every frame's checksum, SHA-256, CRC64, structure, and the counts its manifest claims.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::redis::rdb::{self, Census};
use crate::vault::{DATA, Vault, damaged};
use sha2::{Digest, Sha256};

/// Hashes what passes.
struct Hash(Sha256);

impl rdb::Tap for Hash {
    fn bytes(&mut self, b: &[u8]) -> std::io::Result<()> {
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
        let rest = walked.rest.len()
            + std::io::copy(&mut data, &mut std::io::sink()).map_or(1, |n| usize::try_from(n).unwrap_or(1));
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
}
