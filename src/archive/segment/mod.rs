//! Segments: sealed parts of a timeline, as objects of zstd frames with a footer.
