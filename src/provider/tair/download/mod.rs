//! A set's file from the cloud: fetched in ranges beside its place, resumed where it stopped, walked whole, and only then
//! put in place, never over another file.
//!
//! The cloud gives no checksum. What proves the file is the RDB's own CRC64 and structure; its SHA-256 is computed for
//! whoever keeps it.

mod proof;
mod source;
mod stream;
mod transfer;
mod verify;

use crate::config::blocking::blocking;
use crate::config::durable::open_regular;
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::provider::download::taken;
use crate::provider::part::{Part, failed, parts};
use crate::provider::tair::Inner;
use crate::provider::tair::download::proof::{Sound, prove};
use crate::provider::tair::download::source::{RENEWALS, Source, incomplete, url_of};
use crate::provider::tair::download::transfer::transfer;
use crate::provider::tair::sets::Shard;
use crate::provider::{Downloaded, OnBytes};
use crate::redis::rdb::statistics::Checksum;
use crate::tair::fetch::{self, FetchError};
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
    let mut shard = source.shard().await?;
    let listed = shard.bytes;
    if let Ok(meta) = tokio::fs::symlink_metadata(to).await {
        if !meta.is_file() || meta.len() < TRAILER {
            return Err(taken(to));
        }
        return equal(source, to, meta.len(), &shard).await;
    }
    let records = parts(source.inner.jobs.state.home());
    // A file that some earlier call began may be of another set; then it is begun anew, once.
    for attempt in 0..2 {
        let (records, place) = (records.clone(), to.to_owned());
        let (part, had) = blocking(move || {
            let part = Part::open(&records, &place)?;
            let had = part.length()?;
            Ok((part, had))
        })
        .await?;
        let part = transfer(source, &mut shard, part, had, on_bytes).await?;
        let (to, id, bytes) = (to.to_owned(), shard.id.clone(), shard.bytes.unwrap_or_default());
        let again = had > 0 && attempt == 0;
        if let Some(Sound { sha256, rdb_version, .. }) = blocking(move || finish(part, &to, &id, bytes, again)).await? {
            return Ok(Downloaded {
                bytes,
                sha256,
                rdb_version,
                already_there: false,
                listed_bytes: listed.filter(|listed| *listed != bytes),
            });
        }
        tracing::info!("what an earlier download left does not fit; it is begun anew");
    }
    Err(incomplete("it was begun anew twice"))
}

/// Proves a part of full length and puts it in place. `None`: its bytes are not of one sound set, and as some of them are of an
/// earlier call, it may be begun `again`. Blocking.
fn finish(part: Part, to: &Path, id: &str, bytes: u64, again: bool) -> Result<Option<Sound>, Fault> {
    match prove(&part.file, &part.path, id, bytes) {
        // Without a checksum nothing proves that the resumed parts are of one set.
        Ok(sound) if again && sound.checksum == Checksum::Absent => {
            part.discard();
            Ok(None)
        }
        Ok(sound) => match part.place(to) {
            Ok(()) => Ok(Some(sound)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(taken(to)),
            Err(e) => Err(failed("finish", to, e)),
        },
        // What a damaged set gave is of no use to anybody, and must not be taken for a backup.
        Err(fault) => {
            part.discard();
            if again { Ok(None) } else { Err(fault) }
        }
    }
}

/// Whether a file of so many bytes that is there already is the set: of the file's own size, sound, and of the same CRC64. That needs
/// eight bytes of the cloud, not all of them.
async fn equal(source: &Source<'_>, to: &Path, bytes: u64, shard: &Shard) -> Result<Downloaded, Fault> {
    let client = &source.inner.client;
    let (listed, from) = (shard.bytes, bytes.saturating_sub(TRAILER));
    let mut shard = shard.clone();
    let mut renewals = 0;
    let got = loop {
        let url = url_of(&shard, client.is_in_vpc())?;
        let trailer = async {
            let mut arriving = fetch::open(client, url, from).await?;
            let mut got = Vec::new();
            while arriving.total == bytes && arriving.from == from && got.len() <= 8 {
                let Some(piece) = arriving.next().await? else { break };
                got.extend(piece);
            }
            Ok(got)
        };
        match trailer.await {
            Ok(got) => break got,
            Err(FetchError::BehindEnd(_)) => return Err(taken(to)),
            Err(FetchError::Expired) if renewals < RENEWALS => {
                renewals += 1;
                shard = source.shard().await?;
            }
            Err(FetchError::Expired) => return Err(incomplete("every download URL had expired")),
            Err(e) => return Err(incomplete(&e.to_string())),
        }
    };
    let (path, id) = (to.to_owned(), shard.id);
    let (there, sound) = blocking(move || {
        let mut file = open_regular(&path, false).map_err(|e| failed("read", &path, e))?;
        let sound = prove(&file, &path, &id, bytes).map_err(|_| taken(&path))?;
        let mut trailer = [0; 8];
        file.seek(SeekFrom::End(-8))
            .and_then(|_| file.read_exact(&mut trailer))
            .map_err(|e| failed("read", &path, e))?;
        Ok((trailer, sound))
    })
    .await?;
    // Without a checksum nothing proves that they are equal.
    if got != there || there == [0; 8] {
        return Err(taken(to));
    }
    let Sound { sha256, rdb_version, .. } = sound;
    let listed_bytes = listed.filter(|listed| *listed != bytes);
    Ok(Downloaded { bytes, sha256, rdb_version, already_there: true, listed_bytes })
}
