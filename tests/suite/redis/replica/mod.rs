//! Capture as a replica: the snapshot, and the stream that follows it.

mod ends;
mod snapshot;
mod stream;
