//! What a bucket's failure says: of the bucket, its network and who calls it, and nothing of the data that lies there.

use std::io;

/// Why a bucket did not do what it was asked. It lies within the error that a store gives.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BucketError(String);

/// A failure of a bucket.
pub(super) fn failed(kind: io::ErrorKind, why: impl Into<String>) -> io::Error {
    io::Error::new(kind, BucketError(why.into()))
}

fn is_of_bucket(e: &io::Error) -> bool {
    e.get_ref().is_some_and(|inner| inner.is::<BucketError>())
}

/// What a failure of a bucket asks for; `None` where it was none of a bucket.
#[must_use]
pub fn hint(e: &io::Error) -> Option<&'static str> {
    is_of_bucket(e).then(|| match e.kind() {
        io::ErrorKind::PermissionDenied => {
            "These credentials may not do that in the bucket; docs/vault.md has the rights that are needed."
        }
        _ => {
            "Check `vault` in the configuration, the network and the credentials; `tair-backup-mcp doctor` tries them."
        }
    })
}

/// Whether a bucket did not answer, or would not give what it has.
#[must_use]
pub fn is_out_of_reach(e: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    is_of_bucket(e) && !matches!(e.kind(), NotFound | InvalidData | UnexpectedEof)
}
