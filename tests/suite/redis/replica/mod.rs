//! Capture as a replica: the snapshot, and the stream that follows it.

mod snapshot;
mod stream;
