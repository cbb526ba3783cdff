//! A set's file from the cloud: fetched in ranges beside its place, resumed where it stopped, walked whole, and only then
//! put in place, never over another file.
//!
//! The cloud tells no checksum. What proves the file is the RDB's own CRC64 and structure; its SHA-256 is computed for
//! whoever keeps it.

use crate::model::fault::{Fault, Kind};
use crate::provider::download::{failed, open_part, part_of, put_in_place, taken};
use crate::provider::tair::polling::Polling;
use crate::provider::tair::proof::{Sound, damaged, has_magic, prove};
use crate::provider::tair::sets::{CloudSet, Shard};
use crate::provider::{Downloaded, OnBytes, blocking};
use crate::redis::rdb::statistics::Checksum;
use crate::tair::client::Client;
use crate::tair::fetch::{self, FetchError};
use crate::tair::wire::DownloadUrl;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Failures in a row, without a byte between them, after which a download gives up.
const TRIES: u32 = 6;
/// New URLs in a row, without a byte between them.
const RENEWALS: u32 = 3;
/// Pieces on their way to the disk.
const IN_FLIGHT: usize = 16;
/// `REDIS` and four digits, or `VALKEY` and three.
const MAGIC: usize = 9;
/// The CRC64 at the end of an RDB.
const TRAILER: u64 = 8;

/// Gives new URLs for the file: lists the set again.
#[async_trait::async_trait]
pub trait Renew: Send + Sync {
    /// The file as it is listed now.
    async fn shard(&self) -> Result<Shard, Fault>;
}

fn incomplete(why: &str) -> Fault {
    Fault::new(Kind::Provider, "download.interrupted", format!("the download stopped: {why}"))
        .hint("What has arrived is kept; call download_backup again to resume where it stopped.")
        .retry_after(std::time::Duration::from_secs(10))
}

/// The one file of a set.
///
/// # Errors
/// `download.several_files`, naming the shards to ask for.
pub fn only_file(set: &CloudSet) -> Result<&Shard, Fault> {
    match set.shards.as_slice() {
        [one] => Ok(one),
        [] => Err(Fault::new(
            Kind::Provider,
            "download.no_file",
            format!("the cloud lists no file for backup {}", set.set.id),
        )
        .hint("Choose another set with describe_backups.")),
        many => {
            let ids: Vec<String> = many.iter().map(|s| format!("{} ({})", s.id, s.node)).collect();
            Err(Fault::new(
                Kind::Usage,
                "download.several_files",
                format!("backup {} is a cluster's: it has one file for each of {} shards", set.set.id, many.len()),
            )
            .hint(format!("Call download_backup once for each shard, with its id as backup_id: {}", ids.join(", ")))
            .next(&["download_backup"]))
        }
    }
}

/// The URL that this machine can use.
///
/// # Errors
/// `download.no_url`.
pub fn url_of(shard: &Shard, in_vpc: bool) -> Result<&DownloadUrl, Fault> {
    let (wanted, kind) = if in_vpc { (&shard.intranet, "within the region") } else { (&shard.public, "public") };
    wanted.as_ref().ok_or_else(|| {
        Fault::new(Kind::Provider, "download.no_url", format!("the cloud gives no {kind} URL for backup {}", shard.id))
            .hint("Set [tair] vpc = true on a machine within the region, and leave it out elsewhere.")
    })
}

/// Bytes handed to the thread that writes.
enum ToDisk {
    /// Throw away what is there behind this byte.
    Cut(u64),
    Piece(Vec<u8>),
}

/// Writes pieces to the part file until nobody sends any.
fn write_pieces(mut file: File, part: &Path, mut from: mpsc::Receiver<ToDisk>) -> Result<File, Fault> {
    file.seek(SeekFrom::End(0)).map_err(|e| failed("resume", part, e))?;
    while let Some(step) = from.blocking_recv() {
        match step {
            ToDisk::Cut(at) => {
                file.set_len(at).and_then(|()| file.seek(SeekFrom::Start(at))).map_err(|e| failed("write", part, e))?;
            }
            ToDisk::Piece(bytes) => file.write_all(&bytes).map_err(|e| failed("write", part, e))?,
        }
    }
    Ok(file)
}

/// Writes the file of a set to `to`.
///
/// # Errors
/// `download.exists`, `download.busy`, `download.failed`, `download.interrupted`, `backup.damaged`, and what listing fails with.
pub async fn download(
    client: &Client,
    renew: &dyn Renew,
    to: &Path,
    polling: &Polling,
    on_bytes: &OnBytes,
) -> Result<Downloaded, Fault> {
    let shard = renew.shard().await?;
    if let Ok(meta) = std::fs::symlink_metadata(to) {
        if !meta.is_file() || meta.len() != shard.bytes {
            return Err(taken(to));
        }
        return equal(client, renew, to, &shard).await;
    }
    let part = part_of(to);
    // A file that some earlier call began may be of another set; then it is begun anew, once.
    for attempt in 0..2 {
        let file = open_part(&part)?;
        let had = file.metadata().map_err(|e| failed("read", &part, e))?.len();
        let file = transfer(client, renew, &shard, file, &part, polling, on_bytes).await?;
        let (path, id, bytes) = (part.clone(), shard.id.clone(), shard.bytes);
        let (file, proven) = blocking(move || {
            let proven = prove(&file, &path, &id, bytes);
            Ok((file, proven))
        })
        .await?;
        match proven {
            // Without a checksum nothing tells whether what was resumed is of one set.
            Ok(sound) if had > 0 && sound.checksum == Checksum::Absent && attempt == 0 => {
                std::fs::remove_file(&part).map_err(|e| failed("remove", &part, e))?;
            }
            Ok(sound) => {
                let (path, to) = (part.clone(), to.to_owned());
                let placed = blocking(move || {
                    put_in_place(&file, &path, &to).map_err(|e| match e.kind() {
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
                std::fs::remove_file(&part).map_err(|e| failed("remove", &part, e))?;
                if attempt > 0 || had == 0 {
                    return Err(fault);
                }
                tracing::info!("what an earlier download left does not fit; it is begun anew");
            }
        }
    }
    Err(incomplete("it was begun anew twice"))
}

/// Brings the part file to its full length.
async fn transfer(
    client: &Client,
    renew: &dyn Renew,
    shard: &Shard,
    file: File,
    part: &Path,
    polling: &Polling,
    on_bytes: &OnBytes,
) -> Result<File, Fault> {
    let mut done = file.metadata().map_err(|e| failed("read", part, e))?.len();
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    let path: PathBuf = part.to_owned();
    let writer = tokio::task::spawn_blocking(move || write_pieces(file, &path, rx));
    let fetched = fetch_all(client, renew, shard, &mut done, &tx, polling, on_bytes).await;
    drop(tx);
    // A full disk is the better account of why the fetching stopped.
    let file =
        writer.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))??;
    fetched.map(|()| file)
}

async fn fetch_all(
    client: &Client,
    renew: &dyn Renew,
    shard: &Shard,
    done: &mut u64,
    to_disk: &mpsc::Sender<ToDisk>,
    polling: &Polling,
    on_bytes: &OnBytes,
) -> Result<(), Fault> {
    let stopped = |_| incomplete("the file could not be written");
    let mut url = url_of(shard, client.is_in_vpc())?.clone();
    let (mut tries, mut renewals, mut backoff) = (0, 0, polling.backoff());
    if *done >= shard.bytes {
        // It may be of another set of that size. With the trailer fetched from this one, its CRC64 tells.
        *done = shard.bytes.saturating_sub(TRAILER);
        to_disk.send(ToDisk::Cut(*done)).await.map_err(stopped)?;
    }
    // A file of no bytes is asked for too: that it is none of ours is found by looking at it.
    while *done < shard.bytes || shard.bytes == 0 {
        let before = *done;
        match fetch_some(client, &url, shard, done, to_disk, on_bytes).await {
            Ok(()) => return Ok(()),
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Fetch(e)) => {
                if *done > before {
                    (tries, renewals, backoff) = (0, 0, polling.backoff());
                }
                tracing::debug!(done = *done, "the download is interrupted: {e}");
                match e {
                    FetchError::Expired if renewals < RENEWALS => {
                        renewals += 1;
                        let again = renew.shard().await?;
                        if again.bytes != shard.bytes {
                            return Err(damaged(&shard.id, "its size has changed since it was listed"));
                        }
                        url = url_of(&again, client.is_in_vpc())?.clone();
                    }
                    FetchError::BehindEnd(_) => {
                        return Err(damaged(&shard.id, format!("it has fewer than the {} bytes listed", shard.bytes)));
                    }
                    FetchError::Broken(_) if tries < TRIES => {
                        tries += 1;
                        backoff.wait().await;
                    }
                    FetchError::Gone => {
                        return Err(Fault::new(
                            Kind::NotFound,
                            "backup.not_found",
                            format!("the file of backup {} is no longer there", shard.id),
                        )
                        .hint("Sets go when their retention ends. Choose another with describe_backups."));
                    }
                    e => return Err(incomplete(&e.to_string())),
                }
            }
        }
    }
    Ok(())
}

enum Stop {
    Fault(Fault),
    Fetch(FetchError),
}

/// One connection, for as long as it lasts.
async fn fetch_some(
    client: &Client,
    url: &DownloadUrl,
    shard: &Shard,
    done: &mut u64,
    to_disk: &mpsc::Sender<ToDisk>,
    on_bytes: &OnBytes,
) -> Result<(), Stop> {
    let stopped = |_| Stop::Fault(incomplete("the file could not be written"));
    let mut arriving = fetch::open(client, url, *done).await.map_err(Stop::Fetch)?;
    if arriving.total != shard.bytes {
        let why = format!("it has {} bytes, the list says {}", arriving.total, shard.bytes);
        return Err(Stop::Fault(damaged(&shard.id, why)));
    }
    if arriving.from != *done {
        if arriving.from != 0 {
            return Err(Stop::Fetch(FetchError::Refused("the storage sends another range than was asked for".into())));
        }
        to_disk.send(ToDisk::Cut(0)).await.map_err(stopped)?;
        *done = 0;
    }
    // An error page, or something that is not a backup, is not worth the rest of its bytes.
    let mut head: Option<Vec<u8>> = (*done == 0).then(Vec::new);
    while let Some(piece) = arriving.next().await.map_err(Stop::Fetch)? {
        if let Some(seen) = &mut head {
            seen.extend(piece.iter().take(MAGIC - seen.len()));
            if seen.len() == MAGIC {
                if !has_magic(seen) {
                    return Err(Stop::Fault(damaged(&shard.id, "it does not begin as an RDB does")));
                }
                head = None;
            }
        }
        *done += u64::try_from(piece.len()).unwrap_or_default();
        to_disk.send(ToDisk::Piece(piece)).await.map_err(stopped)?;
        on_bytes(*done, shard.bytes);
    }
    Ok(())
}

/// Whether a file that is there already is the set: of its size, sound, and of the same CRC64. That needs eight bytes of the
/// cloud, not all of them.
async fn equal(client: &Client, renew: &dyn Renew, to: &Path, shard: &Shard) -> Result<Downloaded, Fault> {
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
            Err(FetchError::Expired) => shard = renew.shard().await?,
            Err(e) => return Err(incomplete(&e.to_string())),
        }
    }
    Err(incomplete("every download URL had expired"))
}
