//! Verification of a set at rest: every frame's checksum, SHA-256, CRC64, structure, and the counts its manifest claims;
//! and the shorter look, whether the file is still the one that was verified.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::redis::rdb;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::vault::frames::FrameReader;
use crate::vault::stored::parts_sha256;
use crate::vault::{Vault, damaged};
use sha2::{Digest, Sha256};
use std::fs::File;
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
    pub fn verify(&self, set: &BackupSet) -> Result<KeyStatistics, Fault> {
        let path = self.data_path(set);
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
        let statistics = walked.statistics;
        if crate::vault::manifest::counts(&statistics) != set.counts || statistics.rdb_version != set.rdb_version {
            return Err(damaged(&path, "holds other key counts or another RDB version than its manifest says"));
        }
        Ok(statistics)
    }

    /// Checksum of the data object's file as it lies there.
    ///
    /// # Errors
    /// `backup.damaged`.
    pub fn stored_sha256(&self, set: &BackupSet) -> Result<String, Fault> {
        let path = self.data_path(set);
        File::open(&path).and_then(|file| parts_sha256(&file)).map_err(|e| damaged(&path, e))
    }

    /// The data of a set that was verified whole before, if its file is, byte for byte, the one that had this checksum then;
    /// `None` where it is another. A fraction of the work of [`Vault::verify`]; and what is read is what was looked at,
    /// whatever comes to lie in its place.
    ///
    /// # Errors
    /// `backup.damaged`, naming file and, where it can be told, offset.
    pub fn open_known(&self, set: &BackupSet, stored_sha256: &str) -> Result<Option<FrameReader>, Fault> {
        let path = self.data_path(set);
        let open = || -> io::Result<Option<FrameReader>> {
            let file = File::open(&path)?;
            if parts_sha256(&file)? == stored_sha256 { FrameReader::new(file).map(Some) } else { Ok(None) }
        };
        match open().map_err(|e| damaged(&path, e))? {
            Some(data) => Ok(Some(data)),
            // What is broken, and where, only the whole look can say.
            None => self.verify(set).map(|_| None),
        }
    }
}
