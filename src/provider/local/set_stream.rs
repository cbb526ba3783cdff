//! Streams a set of the vault to whoever reads it: a download over HTTP, or another store.
//!
//! Each frame's own checksum is right before it is given on; that the whole is right [`SetStream`] sees to.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::provider::local::Inner;
use crate::provider::set_stream::{Gone, SetSink, SetStream};
use crate::vault::Vault;
use crate::vault::frames::FrameReader;

impl Inner {
    /// Opens a set's data and reads it on a thread of its own, for as long as somebody takes what it reads.
    pub async fn read_set(&self, set: &BackupSet) -> Result<SetStream, Fault> {
        let data = self.vault.open_data(set).await?;
        let (stream, sink) = SetStream::new(set.rdb_bytes, set.sha256.clone());
        let (vault, set) = (self.vault.clone(), set.clone());
        tokio::task::spawn_blocking(move || pump(data, &vault, &set, sink));
        Ok(stream)
    }
}

fn pump(mut data: FrameReader, vault: &Vault, set: &BackupSet, mut sink: SetSink) {
    loop {
        match data.next_frame() {
            Ok(Some(frame)) => {
                if let Err(Gone) = sink.push(frame) {
                    return;
                }
            }
            Ok(None) => return sink.finish(|why| vault.damaged(set, why)),
            Err(e) => return sink.fail(vault.damaged(set, e)),
        }
    }
}
