//! Streams a set of the vault to whoever reads it: a download over HTTP, or another store.
//!
//! Each frame's own checksum is right before it is given on; that the whole is right [`SetStream`] sees to.

use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::provider::blocking;
use crate::provider::local::Inner;
use crate::provider::set_stream::{Gone, SetSink, SetStream};
use crate::vault::damaged;
use crate::vault::frames::FrameReader;
use std::path::Path;

impl Inner {
    /// Opens a set's data and reads it on a thread of its own, for as long as somebody takes what it reads.
    pub async fn read_set(&self, set: &BackupSet) -> Result<SetStream, Fault> {
        let (vault, opened) = (self.vault.clone(), set.clone());
        let data = blocking(move || vault.open_data(&opened)).await?;
        let path = self.vault.set_dir(&set.instance_id, &set.id);
        let (stream, sink) = SetStream::new(set.rdb_bytes, set.sha256.clone());
        tokio::task::spawn_blocking(move || pump(data, &path, sink));
        Ok(stream)
    }
}

fn pump(mut data: FrameReader, path: &Path, mut sink: SetSink) {
    loop {
        match data.next_frame() {
            Ok(Some(frame)) => {
                if let Err(Gone) = sink.push(frame) {
                    return;
                }
            }
            Ok(None) => return sink.finish(|why| damaged(path, why)),
            Err(e) => return sink.fail(damaged(path, e)),
        }
    }
}
