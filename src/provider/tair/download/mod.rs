//! A set's file from the cloud: fetched in ranges beside its place, resumed where it stopped, walked whole, and only then
//! put in place, never over another file.
//!
//! The cloud gives no checksum. What proves the file is the RDB's own CRC64 and structure; its SHA-256 is computed for
//! whoever keeps it.

mod proof;
mod source;
mod transfer;

use crate::config::blocking::blocking;
use crate::config::durable::name_new;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::provider::download::{failed, open_part, part_of, taken};
use crate::provider::tair::Inner;
use crate::provider::tair::download::proof::{Sound, prove};
use crate::provider::tair::download::source::{RENEWALS, Source, incomplete, url_of};
use crate::provider::tair::download::transfer::transfer;
use crate::provider::tair::sets::Shard;
use crate::provider::{Downloaded, OnBytes};
use crate::redis::rdb::statistics::Checksum;
use crate::tair::fetch::{self, FetchError};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// The CRC64 at the end of an RDB.
const TRAILER: u64 = 8;

impl Inner {
    /// Writes a set's file to `to`, verified.
    pub async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        download(&Source { inner: self, instance_id: &set.instance_id, backup_id: &set.id }, to, on_bytes).await
    }
}

/// Writes the file of a set to `to`.
///
/// # Errors
/// `download.exists`, `download.busy`, `download.failed`, `download.interrupted`, `backup.damaged`, and what listing fails with.
async fn download(source: &Source<'_>, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
    let shard = source.shard().await?;
    if let Ok(meta) = tokio::fs::symlink_metadata(to).await {
        if !meta.is_file() || meta.len() != shard.bytes {
            return Err(taken(to));
        }
        return equal(source, to, &shard).await;
    }
    let part = part_of(to);
    // A file that some earlier call began may be of another set; then it is begun anew, once.
    for attempt in 0..2 {
        let path = part.clone();
        let (file, had) = blocking(move || {
            let file = open_part(&path)?;
            let had = file.metadata().map_err(|e| failed("read", &path, e))?.len();
            Ok((file, had))
        })
        .await?;
        let file = transfer(source, &shard, file, &part, on_bytes).await?;
        let (path, id, bytes) = (part.clone(), shard.id.clone(), shard.bytes);
        let (file, proven) = blocking(move || {
            let proven = prove(&file, &path, &id, bytes);
            Ok((file, proven))
        })
        .await?;
        match proven {
            // Without a checksum nothing proves that the resumed parts are of one set.
            Ok(sound) if had > 0 && sound.checksum == Checksum::Absent && attempt == 0 => {
                tokio::fs::remove_file(&part).await.map_err(|e| failed("remove", &part, e))?;
            }
            Ok(sound) => {
                let (path, to) = (part.clone(), to.to_owned());
                let placed = blocking(move || {
                    name_new(&file, &path, &to).map_err(|e| match e.kind() {
                        io::ErrorKind::AlreadyExists => taken(&to),
                        _ => failed("finish", &to, e),
                    })
                });
                placed.await?;
                return Ok(Downloaded {
                    bytes: shard.bytes,
                    sha256: sound.sha256,
                    rdb_version: sound.rdb_version,
                    already_there: false,
                });
            }
            // What a damaged set gave is of no use to anybody, and must not be taken for a backup.
            Err(fault) => {
                tokio::fs::remove_file(&part).await.map_err(|e| failed("remove", &part, e))?;
                if attempt > 0 || had == 0 {
                    return Err(fault);
                }
                tracing::info!("what an earlier download left does not fit; it is begun anew");
            }
        }
    }
    Err(incomplete("it was begun anew twice"))
}

/// Whether a file that is there already is the set: of its size, sound, and of the same CRC64. That needs eight bytes of the
/// cloud, not all of them.
async fn equal(source: &Source<'_>, to: &Path, shard: &Shard) -> Result<Downloaded, Fault> {
    let client = &source.inner.client;
    let (path, id, bytes) = (to.to_owned(), shard.id.clone(), shard.bytes);
    let (there, sound) = blocking(move || {
        let mut file = File::open(&path).map_err(|e| failed("read", &path, e))?;
        let sound = prove(&file, &path, &id, bytes).map_err(|_| taken(&path))?;
        let mut trailer = [0; 8];
        file.seek(SeekFrom::End(-8))
            .and_then(|_| file.read_exact(&mut trailer))
            .map_err(|e| failed("read", &path, e))?;
        Ok((trailer, sound))
    })
    .await?;
    let mut shard = shard.clone();
    for _ in 0..=RENEWALS {
        let url = url_of(&shard, client.is_in_vpc())?;
        let from = shard.bytes.saturating_sub(TRAILER);
        let trailer = async {
            let mut arriving = fetch::open(client, url, from).await?;
            let mut got = Vec::new();
            while arriving.from == from && got.len() <= 8 {
                let Some(piece) = arriving.next().await? else { break };
                got.extend(piece);
            }
            Ok(got)
        };
        match trailer.await {
            // Without a checksum nothing proves that they are equal.
            Ok(got) if got == there && there != [0; 8] => {
                let Sound { sha256, rdb_version, .. } = sound;
                return Ok(Downloaded { bytes: shard.bytes, sha256, rdb_version, already_there: true });
            }
            Ok(_) => return Err(taken(to)),
            Err(FetchError::Expired) => shard = source.shard().await?,
            Err(e) => return Err(incomplete(&e.to_string())),
        }
    }
    Err(incomplete("every download URL had expired"))
}
