//! Downloads: a set's plain RDB behind a signed URL, streamed from the provider.
//!
//! Memory is bounded by a few pieces however large the set. A damaged set breaks the transfer off: a file that arrives complete
//! is whole, because the stream keeps its last piece back until the checksum is right.

use crate::emulator::account::Account;
use crate::emulator::account::sets::ListedSet;
use crate::emulator::answer::Refused;
use crate::emulator::http::{Body, Reply};
use crate::emulator::ids::request_id;
use crate::emulator::signed_url::{Denied, file, folder};
use crate::model::backup::BackupSet;
use crate::provider::Provider;
use hyper::body::Bytes;
use jiff::Timestamp;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Most pieces on their way to a client.
const IN_FLIGHT: usize = 2;
/// Time after which a client that reads nothing is given up.
const STALL: Duration = Duration::from_secs(60);

/// The range that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// The whole file.
    Whole,
    /// Offsets of the first and the last byte.
    Part(u64, u64),
    /// A range that begins behind the file's end.
    Unsatisfiable,
}

/// Parses `bytes=a-` and `bytes=a-b`; a header of another form is ignored, and the whole file sent.
fn range(header: Option<&str>, length: u64) -> Range {
    let Some((from, to)) = header.and_then(|h| h.trim().strip_prefix("bytes=")).and_then(|r| r.split_once('-')) else {
        return Range::Whole;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !(to.is_empty() || digits(to)) {
        return Range::Whole;
    }
    // A number too large to be read lies behind every file's end.
    let from: u64 = from.parse().unwrap_or(u64::MAX);
    let to: u64 = if to.is_empty() { u64::MAX } else { to.parse().unwrap_or(u64::MAX) };
    if to < from {
        return Range::Whole;
    }
    if from >= length { Range::Unsatisfiable } else { Range::Part(from, to.min(length - 1)) }
}

/// An error in the object storage's XML.
fn error(status: u16, code: &str, message: &str, host: &str, more: &str) -> Reply {
    let id = request_id();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n  \
         <RequestId>{id}</RequestId>\n  <HostId>{}</HostId>\n{more}</Error>\n",
        host.replace(['<', '>', '&'], "")
    );
    Reply::new(status, "application/xml", body).with("x-oss-request-id", id)
}

/// Answers a request for a path of the storage.
pub async fn serve(
    account: &Account,
    method: &str,
    path: &str,
    query: &str,
    host: &str,
    wanted: Option<&str>,
) -> Reply {
    if method != "GET" {
        // The URL is signed for one method.
        return mismatch(host);
    }
    match account.signer.verify(path, query, Timestamp::now()) {
        Ok(()) => {}
        Err(Denied::Unsigned) => {
            return error(403, "AccessDenied", "You have no right to access this object.", host, "");
        }
        Err(Denied::Key) => {
            let message = "The OSS Access Key Id you provided does not exist in our records.";
            return error(403, "InvalidAccessKeyId", message, host, "");
        }
        Err(Denied::Expired(at)) => {
            let shown = |at: i64| Timestamp::from_second(at).map(|t| t.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string());
            let (at, now) = (shown(at).unwrap_or_default(), shown(Timestamp::now().as_second()).unwrap_or_default());
            let more = format!("  <Expires>{at}</Expires>\n  <ServerTime>{now}</ServerTime>\n");
            return error(403, "AccessDenied", "Request has expired.", host, &more);
        }
        Err(Denied::Signature) => return mismatch(host),
    }
    match find(account, path).await {
        Ok(Some(set)) => send(account, set, host, wanted),
        Ok(None) => error(404, "NoSuchKey", "The specified key does not exist.", host, ""),
        Err(refused) => error(500, "InternalError", &refused.message, host, ""),
    }
}

fn mismatch(host: &str) -> Reply {
    let message = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    error(403, "SignatureDoesNotMatch", message, host, "")
}

/// The whole set with this path.
async fn find(account: &Account, path: &str) -> Result<Option<BackupSet>, Refused> {
    for instance in account.instances() {
        if let Some(name) = path.strip_prefix(&folder(&instance.id)) {
            let is = |set: &ListedSet| set.whole.is_some() && file(set.number, set.begun) == name;
            return Ok(account.sets(&instance).await?.into_iter().find(is).and_then(|set| set.whole));
        }
    }
    Ok(None)
}

fn send(account: &Account, set: BackupSet, host: &str, wanted: Option<&str>) -> Reply {
    let length = set.rdb_bytes;
    let (status, from, to) = match range(wanted, length) {
        Range::Whole => (200, 0, length),
        Range::Part(from, last) => (206, from, last + 1),
        Range::Unsatisfiable => {
            return error(416, "InvalidRange", "The requested range cannot be satisfied", host, "")
                .with("content-range", format!("bytes */{length}"));
        }
    };
    let tag = set.sha256.get(..32).unwrap_or_default().to_ascii_uppercase();
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    let provider = Arc::clone(&account.app.provider);
    tokio::spawn(async move {
        if let Err(e) = pump(provider.as_ref(), &set, from, to, &tx).await {
            tracing::warn!(backup_id = %set.id, "a download is broken off: {e}");
            let _ = tokio::time::timeout(STALL, tx.send(Err(e))).await;
        }
    });
    let reply = Reply::of(status, "application/octet-stream", Body::stream(rx, to - from))
        .with("accept-ranges", "bytes")
        .with("etag", format!("\"{tag}\""))
        .with("x-oss-object-type", "Normal")
        .with("x-oss-request-id", request_id());
    if status == 206 { reply.with("content-range", format!("bytes {from}-{}/{length}", to - 1)) } else { reply }
}

/// Sends the bytes of a range, until all are sent or the client is gone.
async fn pump(
    provider: &dyn Provider,
    set: &BackupSet,
    from: u64,
    to: u64,
    client: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut stream = provider.read_set(set).await.map_err(|fault| io::Error::other(fault.message))?;
    let mut at = 0;
    while at < to {
        let piece = stream.next().await.map_err(|fault| io::Error::other(fault.message))?;
        let piece = piece.ok_or_else(|| io::Error::other("the data is shorter than its manifest says"))?;
        let begin = at;
        at += piece.len() as u64;
        let cut = |end: u64| usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX).min(piece.len());
        let (low, high) = (cut(from), cut(to));
        if low >= high {
            continue;
        }
        let piece = Bytes::from(piece).slice(low..high);
        match tokio::time::timeout(STALL, client.send(Ok(piece))).await {
            Ok(Ok(())) => {}
            _ => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! Ranges as the storage reads them.
    use super::*;

    #[test]
    fn ranges() {
        for (header, read) in [
            (None, Range::Whole),
            (Some("bytes=0-"), Range::Part(0, 99)),
            (Some("bytes=10-19"), Range::Part(10, 19)),
            (Some("bytes=10-1000"), Range::Part(10, 99)),
            (Some("bytes=99-"), Range::Part(99, 99)),
            (Some("bytes=100-"), Range::Unsatisfiable),
            (Some("bytes=99999999999999999999999-"), Range::Unsatisfiable),
            (Some("bytes=-5"), Range::Whole),
            (Some("bytes=5-1"), Range::Whole),
            (Some("bytes=0-1,5-6"), Range::Whole),
            (Some("lines=1-2"), Range::Whole),
        ] {
            assert_eq!(range(header, 100), read, "{header:?}");
        }
        assert_eq!(range(Some("bytes=0-"), 0), Range::Unsatisfiable);
    }
}
