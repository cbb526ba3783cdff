//! Segments: sealed parts of a timeline, each one object of zstd frames with a footer. `docs/archive-format.md` has every byte.

pub mod footer;
pub mod outline;
pub mod read;
pub mod write;
