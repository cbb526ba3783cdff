//! Why a request to a bucket came to nothing, in our words: what the store said and what is behind that, without the request, which is signed.

use crate::model::text::clean_to;
use crate::vault::lacking::out_of_reach;
use opendal::ErrorKind;
use std::error::Error as _;
use std::io;

/// Longest reason, in characters: a store's reply may be a page.
pub(super) const REASON_MAX: usize = 300;

/// Why a request of our own came to nothing, without its url, which is signed.
pub(super) fn failed(e: reqwest::Error) -> io::Error {
    let kind = if e.is_timeout() { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    out_of_reach(kind, clean_to(&e.without_url().to_string(), REASON_MAX))
}

/// Whether the store sent nothing for as long as it may be silent.
fn is_late(e: &opendal::Error) -> bool {
    let mut source = e.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// An error of the client in our words: what the store said and what is behind that, without the request.
pub(super) fn said(e: &opendal::Error) -> io::Error {
    let kind = match e.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorKind::Unsupported => io::ErrorKind::Unsupported,
        _ if is_late(e) => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    // What a HEAD is answered has no words.
    let mut why = match (e.message(), e.kind()) {
        ("", ErrorKind::PermissionDenied) => "access is denied".to_owned(),
        ("", kind) => kind.to_string(),
        (message, _) => message.to_owned(),
    };
    let mut source = e.source();
    let mut innermost = None;
    while let Some(cause) = source {
        innermost = Some(cause.to_string());
        source = cause.source();
    }
    if let Some(innermost) = innermost.filter(|innermost| !why.contains(innermost.as_str())) {
        why += &format!(": {innermost}");
    }
    out_of_reach(kind, clean_to(&why, REASON_MAX))
}
