//! Bringing a part file to its full length: fetched in ranges, resumed where a connection ended, with new URLs for expired ones.

use crate::config::blocking::blocking;
use crate::model::fault::{Fault, Kind};
use crate::provider::OnBytes;
use crate::provider::part::{Part, failed};
use crate::provider::tair::download::TRAILER;
use crate::provider::tair::download::proof::{damaged, has_magic};
use crate::provider::tair::download::source::{RENEWALS, Source, incomplete, url_of};
use crate::provider::tair::sets::Shard;
use crate::tair::client::Client;
use crate::tair::fetch::{self, FetchError};
use crate::tair::wire::DownloadUrl;
use std::io::{Seek as _, SeekFrom, Write as _};
use tokio::sync::mpsc;

/// Failures in a row, without a byte between them, after which a download gives up.
const TRIES: u32 = 6;
/// Pieces on their way to the disk.
pub(super) const IN_FLIGHT: usize = 16;
/// `REDIS` and four digits, or `VALKEY` and three.
const MAGIC: usize = 9;

/// Bytes handed to the thread that writes, or looks at them.
pub(super) enum ToDisk {
    /// Throw away what the part file has behind this byte.
    Cut(u64),
    /// Append these bytes to the part file.
    Piece(Vec<u8>),
}

/// Writes pieces to the part file until nobody sends any.
fn write_pieces(mut part: Part, mut from: mpsc::Receiver<ToDisk>) -> Result<Part, Fault> {
    let (file, path) = (&mut part.file, &part.path);
    file.seek(SeekFrom::End(0)).map_err(|e| failed("resume", path, e))?;
    while let Some(step) = from.blocking_recv() {
        match step {
            ToDisk::Cut(at) => {
                file.set_len(at).and_then(|()| file.seek(SeekFrom::Start(at))).map_err(|e| failed("write", path, e))?;
            }
            ToDisk::Piece(bytes) => file.write_all(&bytes).map_err(|e| failed("write", path, e))?,
        }
    }
    Ok(part)
}

/// Brings the part file, which has `done` bytes, to its full length. That is the length of what the storage has, which `shard` is told:
/// the list's may be rounded.
pub async fn transfer(
    source: &Source<'_>,
    shard: &mut Shard,
    part: Part,
    mut done: u64,
    on_bytes: &OnBytes,
) -> Result<Part, Fault> {
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    let writer = tokio::spawn(blocking(move || write_pieces(part, rx)));
    let fetched = fetch_all(source, shard, &mut done, &tx, on_bytes).await;
    drop(tx);
    // A full disk is the better account of why the fetching stopped.
    let part =
        writer.await.map_err(|e| Fault::new(Kind::Unexpected, "job.crashed", "a worker thread died").because(e))??;
    if let Err(fault) = fetched {
        // Closing a file may wait for a disk.
        let close = blocking(move || {
            drop(part);
            Ok(())
        });
        let _ = close.await;
        return Err(fault);
    }
    Ok(part)
}

/// Fetches a file from byte `done` on to its end.
pub(super) async fn fetch_all(
    source: &Source<'_>,
    shard: &mut Shard,
    done: &mut u64,
    to_disk: &mpsc::Sender<ToDisk>,
    on_bytes: &OnBytes,
) -> Result<(), Fault> {
    let client = &source.inner.client;
    let stopped = |_| incomplete("the file could not be written");
    let mut url = url_of(shard, client.is_in_vpc())?.clone();
    let (mut tries, mut renewals, mut backoff) = (0, 0, source.inner.polling.backoff());
    let (listed, mut known) = (shard.bytes, false);
    // Where the list does not tell, the first reply does.
    let most = |shard: &Shard| shard.bytes.unwrap_or_default();
    if *done >= most(shard) {
        // The part file may be of another set of that size. With the trailer fetched from this set, its CRC64 shows that.
        *done = most(shard).saturating_sub(TRAILER);
        to_disk.send(ToDisk::Cut(*done)).await.map_err(stopped)?;
    }
    // A file of no bytes is asked for too: that it is no RDB is found by looking at it.
    while *done < most(shard) || most(shard) == 0 {
        let before = *done;
        match fetch_some(client, &url, shard, &mut known, done, to_disk, on_bytes).await {
            Ok(()) => return Ok(()),
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Fetch(e)) => {
                if *done > before {
                    (tries, renewals, backoff) = (0, 0, source.inner.polling.backoff());
                }
                tracing::debug!(done = *done, "the download is interrupted: {e}");
                match e {
                    FetchError::Expired if renewals < RENEWALS => {
                        renewals += 1;
                        let again = source.shard().await?;
                        if again.bytes != listed {
                            return Err(damaged(&shard.id, "its size has changed since it was listed"));
                        }
                        url = url_of(&again, client.is_in_vpc())?.clone();
                    }
                    // The part file is longer than the file: it is of another set, or of one whose listed size is too large.
                    FetchError::BehindEnd(_) if !known && *done > 0 => {
                        to_disk.send(ToDisk::Cut(0)).await.map_err(stopped)?;
                        *done = 0;
                    }
                    FetchError::BehindEnd(_) => {
                        return Err(damaged(&shard.id, format!("it has fewer than {} bytes by now", most(shard))));
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

/// Why a connection gave no more bytes.
enum Stop {
    /// The download fails with this.
    Fault(Fault),
    /// The transfer failed; another connection may do.
    Fetch(FetchError),
}

/// One connection, for as long as it lasts.
async fn fetch_some(
    client: &Client,
    url: &DownloadUrl,
    shard: &mut Shard,
    known: &mut bool,
    done: &mut u64,
    to_disk: &mpsc::Sender<ToDisk>,
    on_bytes: &OnBytes,
) -> Result<(), Stop> {
    let stopped = |_| Stop::Fault(incomplete("the file could not be written"));
    let mut arriving = fetch::open(client, url, *done).await.map_err(Stop::Fetch)?;
    if let Some(bytes) = shard.bytes.filter(|bytes| *bytes != arriving.total) {
        if *known {
            let why = format!("it has {} bytes, and had {bytes} before", arriving.total);
            return Err(Stop::Fault(damaged(&shard.id, why)));
        }
        tracing::warn!(backup = shard.id, listed = bytes, bytes = arriving.total, "the list gives another size");
    }
    (shard.bytes, *known) = (Some(arriving.total), true);
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
        on_bytes(*done, arriving.total);
    }
    Ok(())
}
