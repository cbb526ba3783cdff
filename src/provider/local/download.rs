//! Reading a set of the vault out: into a file of this machine, or as a stream to whoever takes it.
//!
//! Each frame's own checksum is right before it is given on; that the whole is right [`SetStream`] sees to.

use crate::config::blocking::blocking;
use crate::model::backup::BackupSet;
use crate::model::fault::{Fault, Kind};
use crate::provider::local::Inner;
use crate::provider::part::parts;
use crate::provider::set_stream::{Gone, SetSink, SetStream};
use crate::provider::{Downloaded, OnBytes, download};
use crate::vault::Vault;
use crate::vault::frames::FrameReader;
use std::path::Path;

impl Inner {
    /// Writes a set's RDB to a file, verified.
    pub(super) async fn download(&self, set: &BackupSet, to: &Path, on_bytes: &OnBytes) -> Result<Downloaded, Fault> {
        let data = self.vault.open_data(set).await?;
        let (vault, set, to) = (self.vault.clone(), set.clone(), to.to_owned());
        let records = parts(self.state.home());
        told(on_bytes, move |on_bytes| {
            let wanted = download::Known { bytes: set.rdb_bytes, sha256: &set.sha256, rdb_version: set.rdb_version };
            download::write(data, &records, &to, wanted, |e| vault.unreadable(&set, e), on_bytes)
        })
        .await
    }

    /// Opens a set's data and reads it on a thread of its own, for as long as somebody takes what it reads.
    pub async fn read_set(&self, set: &BackupSet) -> Result<SetStream, Fault> {
        let data = self.vault.open_data(set).await?;
        let (stream, sink) = SetStream::new(set.rdb_bytes, set.sha256.clone());
        let (vault, set) = (self.vault.clone(), set.clone());
        tokio::task::spawn_blocking(move || pump(data, &vault, &set, sink));
        Ok(stream)
    }
}

/// Runs blocking work that tells how far it is. The callback is borrowed, the thread is not: bytes travel through a channel.
pub(super) async fn told<T: Send + 'static>(
    on_bytes: &OnBytes,
    work: impl FnOnce(&OnBytes) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let (tx, mut rx) = tokio::sync::watch::channel((0, 0));
    let work = blocking(move || {
        work(&move |done, total| {
            tx.send_replace((done, total));
        })
    });
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => break done,
            Ok(()) = rx.changed() => {
                let (done, total) = *rx.borrow_and_update();
                on_bytes(done, total);
            }
        }
    }
}

/// The sets of a vault on this machine have no URL.
pub(super) fn no_url() -> Fault {
    Fault::new(Kind::Usage, "download.no_url", "the sets of this instance are on this machine and have no URL")
        .hint("Call download_backup without it: the set is written to a file.")
}

fn pump(mut data: FrameReader, vault: &Vault, set: &BackupSet, mut sink: SetSink) {
    loop {
        match data.next_frame() {
            Ok(Some(frame)) => {
                if let Err(Gone) = sink.push(frame) {
                    return;
                }
            }
            Ok(None) => return sink.finish(|why| vault.unreadable(set, why)),
            Err(e) => return sink.fail(vault.unreadable(set, e)),
        }
    }
}
