//! Verification of a set at rest: every frame's checksum, SHA-256, CRC64, the inside of every value, that nothing is there twice, and the
//! counts its manifest claims; and the shorter check that the object is still the one that was verified.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::redis::rdb::error::RdbError;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::redis::rdb::unique::Unique;
use crate::redis::rdb::{self, Tap as _};
use crate::vault::frames::FrameReader;
use crate::vault::hashing::Hashing;
use crate::vault::parts::parts_digest;
use crate::vault::watch::{Watch, Watched};
use crate::vault::{Vault, data_of, vault_fault};
use std::io::{self, Read as _};
use std::sync::Arc;

/// Bytes that are hashed at once.
const PIECE_BYTES: usize = 256 << 10;

impl Vault {
    /// Reads a set whole and compares it with its manifest; as fast as two cores decompress.
    ///
    /// # Errors
    /// `backup.damaged`, naming file and offset; `vault.failed` where it could not be read.
    pub async fn verify(&self, set: &BackupSet) -> Result<KeyStatistics, Fault> {
        self.verify_watched(set, &Arc::default()).await
    }

    /// [`Self::verify`], watched.
    ///
    /// # Errors
    /// `backup.damaged`, naming file and offset; where it was stopped, whatever that looks like.
    pub async fn verify_watched(&self, set: &BackupSet, watch: &Arc<Watch>) -> Result<KeyStatistics, Fault> {
        let (vault, set, watch) = (self.clone(), set.clone(), Arc::clone(watch));
        blocking(move || verify_whole(&vault, &set, &watch)).await
    }

    /// Reads a set whole and compares its bytes alone with its manifest, which was compared with itself when it was read: what they mean
    /// is not looked at.
    ///
    /// # Errors
    /// As [`Self::verify_watched`].
    pub async fn verify_bytes(&self, set: &BackupSet, watch: &Arc<Watch>) -> Result<(), Fault> {
        let (vault, set, watch) = (self.clone(), set.clone(), Arc::clone(watch));
        blocking(move || verify_bytes(&vault, &set, &watch)).await
    }

    /// Digest of the data object as stored, by which [`Vault::open_known`] knows it again.
    ///
    /// # Errors
    /// `backup.damaged`; `vault.failed`.
    pub async fn stored_digest(&self, set: &BackupSet) -> Result<String, Fault> {
        let (vault, set) = (self.clone(), set.clone());
        blocking(move || {
            let sum = vault.store.open(&data_of(&set)).and_then(|object| parts_digest(&*object));
            sum.map_err(|e| vault.unreadable(&set, e))
        })
        .await
    }

    /// The data of a set that was verified whole before, if its object still has the digest of then; `None` where the
    /// object is another. A fraction of the work of [`Vault::verify`]; and the object checked is the one read, whatever
    /// takes its name meanwhile.
    ///
    /// # Errors
    /// `backup.damaged`, naming the file and, where known, the offset; `vault.failed`.
    pub async fn open_known(&self, set: &BackupSet, stored_digest: &str) -> Result<Option<FrameReader>, Fault> {
        let (vault, set, wanted) = (self.clone(), set.clone(), stored_digest.to_owned());
        blocking(move || {
            let open = || -> io::Result<Option<FrameReader>> {
                let object = vault.store.open(&data_of(&set))?;
                let is_known = parts_digest(&*object)? == wanted;
                is_known.then(|| FrameReader::new(object, set.rdb_bytes)).transpose()
            };
            match open().map_err(|e| vault.unreadable(&set, e))? {
                Some(data) => Ok(Some(data)),
                // What is damaged, and where, only a whole verification can say.
                None => verify_whole(&vault, &set, &Arc::default()).map(|_| None),
            }
        })
        .await
    }
}

fn open(vault: &Vault, set: &BackupSet, watch: &Arc<Watch>) -> Result<Watched<FrameReader>, Fault> {
    vault.read_data(set).map(|data| watch.over(data)).map_err(|e| vault.unreadable(set, e))
}

/// What cannot be read or written on our side is not damage of the set.
fn own_fault(vault: &Vault, e: io::Error) -> Fault {
    vault_fault("write", &vault.spill_dir().display().to_string(), e)
}

fn other_digest(vault: &Vault, set: &BackupSet, sha256: &str) -> Fault {
    vault.damaged(set, format!("SHA-256 is {sha256}, the manifest says {}", set.sha256))
}

pub(super) fn verify_bytes(vault: &Vault, set: &BackupSet, watch: &Arc<Watch>) -> Result<(), Fault> {
    let own = |e: io::Error| own_fault(vault, e);
    let mut data = open(vault, set, watch)?;
    let mut hashing = Hashing::new().map_err(own)?;
    let (mut piece, mut bytes) = (vec![0; PIECE_BYTES], 0_u64);
    loop {
        let n = data.read(&mut piece).map_err(|e| vault.unreadable(set, e))?;
        if n == 0 {
            break;
        }
        hashing.bytes(piece.get(..n).unwrap_or_default()).map_err(own)?;
        bytes += n as u64;
    }
    let sha256 = hex(&hashing.finish().map_err(own)?);
    if bytes != set.rdb_bytes {
        return Err(vault.damaged(set, format!("its RDB has {bytes} bytes, the manifest says {}", set.rdb_bytes)));
    }
    if sha256 != set.sha256 {
        return Err(other_digest(vault, set, &sha256));
    }
    Ok(())
}

fn verify_whole(vault: &Vault, set: &BackupSet, watch: &Arc<Watch>) -> Result<KeyStatistics, Fault> {
    let damaged = |why: String| vault.damaged(set, why);
    let open = || open(vault, set, watch);
    let refused = |e| match e {
        RdbError::Sink { source, .. } => own_fault(vault, source),
        RdbError::Source { source, .. } => vault.unreadable(set, source),
        e => damaged(e.to_string()),
    };
    let mut unique = Unique::new(vault.spill_dir());
    let own = |e: io::Error| refused(RdbError::Sink { offset: 0, source: e });
    let hashing = Hashing::new().map_err(own)?;
    let walked = rdb::walk_unique(open()?, hashing, (), &mut unique).map_err(refused)?;
    let mut data = walked.src;
    let rest = walked.rest.len() + io::copy(&mut data, &mut io::sink()).map_or(1, |n| usize::try_from(n).unwrap_or(1));
    if rest > 0 {
        return Err(damaged("goes on after the end of its RDB".into()));
    }
    let sha256 = hex(&walked.tap.finish().map_err(own)?);
    if sha256 != set.sha256 {
        return Err(other_digest(vault, set, &sha256));
    }
    if unique.needs_second_walk().map_err(own)? {
        rdb::walk_unique(open()?, (), (), &mut unique).map_err(refused)?;
    }
    let statistics = walked.statistics;
    if crate::vault::manifest::counts(&statistics) != set.counts || statistics.rdb_version != set.rdb_version {
        return Err(damaged("holds other key counts or another RDB version than its manifest says".into()));
    }
    Ok(statistics)
}
