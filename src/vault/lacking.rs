//! Why something could not be read or written that says nothing of what is stored: what this machine lacks, a bucket that is out of reach, a
//! key that is not here. Whoever reads must not call any of it damage.

use crate::model::fault::{Fault, Kind};
use rustix::io::Errno;
use std::error::Error;
use std::io;

/// Why a bucket did not do what it was asked. It lies within the error that a store gives.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BucketError(String);

/// A failure of a bucket.
pub(super) fn out_of_reach(kind: io::ErrorKind, why: impl Into<String>) -> io::Error {
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
        io::ErrorKind::TimedOut => {
            "The store was silent for too long, at each attempt. Where the line to it is slow, write timeout_seconds=600 behind the ? of its url in the configuration; else try again."
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

/// Whether a bucket has refused what was asked: it keeps an object by a lock, or whoever asks has no right to that.
#[must_use]
pub fn is_refused(e: &io::Error) -> bool {
    is_of_bucket(e) && e.kind() == io::ErrorKind::PermissionDenied
}

/// Why something could not be read or written for want of a key. It lies within the error that a store gives.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(String, Of);

/// What a missing key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Nothing is decrypted here.
    All,
    /// One object takes another than those that are here.
    One,
}

/// The error of what takes a key that is not here.
pub(super) fn no_key(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, KeyError(why.into(), Of::All))
}

/// The error of an object that takes another key than those that are here, if there are any.
pub(super) fn another_key(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, KeyError(why.into(), Of::One))
}

/// Whether a key was missing, which says nothing of what is stored.
#[must_use]
pub fn is_for_want_of_a_key(e: &io::Error) -> bool {
    e.get_ref().is_some_and(|inner| inner.is::<KeyError>())
}

/// Whether a fault is of one object alone, and keeps no other from being copied: it is damaged, something else has its name, or it was written for
/// a key that is not here.
#[must_use]
pub fn is_of_one_object(fault: &Fault) -> bool {
    let key = lacking(fault).and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<KeyError>());
    matches!(fault.kind, Kind::Damaged | Kind::Refused) || key.is_some_and(|key| key.1 == Of::One)
}

/// Whether the system lets this user not read what a fault is about.
pub(super) fn is_denied(fault: &Fault) -> bool {
    let errno = lacking(fault).and_then(Errno::from_io_error);
    errno.is_some_and(|errno| [Errno::ACCESS, Errno::PERM].contains(&errno))
}

/// Whether something could not be read for what this machine lacked just then or lets us not do, a bucket did not give for now, or takes a key
/// that is not here: that says nothing of what is stored.
pub(super) fn is_lacking(e: &io::Error) -> bool {
    let of_ours = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::ACCESS, Errno::PERM, Errno::STALE];
    Errno::from_io_error(e).is_some_and(|errno| of_ours.contains(&errno))
        || is_out_of_reach(e)
        || is_for_want_of_a_key(e)
}

/// What of that is behind an error.
pub(super) fn lacking<'e>(e: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    std::iter::successors(Some(e), |e: &&'e (dyn Error + 'static)| (*e).source())
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .find(|e| is_lacking(e))
}
