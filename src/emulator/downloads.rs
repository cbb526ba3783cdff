//! Downloads: signed URLs that expire, and a set's plain RDB behind them, streamed from the vault.
//!
//! Memory is bounded by a few frames however large the set. A set that is damaged breaks the transfer off: the last frame
//! goes out only when the whole file's hash is right, so that what arrives whole is whole. The key of the signatures lives
//! as long as the process; so do the URLs.

use crate::emulator::http::{Body, Reply};
use crate::emulator::ids::{Of, number, request};
use crate::emulator::world::{Set, World};
use crate::model::fault::Fault;
use crate::model::ids::{hex, random};
use crate::tair::params::{encode, first, parse};
use crate::tair::wire::DownloadUrl;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// Named in URLs where the cloud names the account that may read.
const SIGNER: &str = "LTAIemulator";
/// Frames on their way to a client.
const IN_FLIGHT: usize = 2;
/// A client that takes nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);

/// Signs URLs, and knows its own.
pub struct Signer {
    key: [u8; 32],
    /// How long a URL works.
    lifetime: SignedDuration,
}

impl Signer {
    /// With a key of this process.
    ///
    /// # Errors
    /// `system.no_randomness`.
    pub fn new(lifetime: Duration) -> Result<Self, Fault> {
        let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::from_hours(1));
        Ok(Self { key: random()?, lifetime })
    }

    /// A set's file name, as the cloud writes it.
    #[must_use]
    pub fn file(&self, set: i64, begun: Timestamp) -> String {
        format!("hins{set}_data_{}.rdb", begun.strftime("%Y%m%d%H%M%S"))
    }

    /// The URL of a set.
    #[must_use]
    pub fn url(&self, host: &str, instance_id: &str, set: i64, begun: Timestamp, now: Timestamp) -> DownloadUrl {
        let path = format!("/custins{}/{}", number(Of::Instance, instance_id), self.file(set, begun));
        let expires = now.saturating_add(self.lifetime).unwrap_or(Timestamp::MAX).as_second();
        let signature = STANDARD.encode(self.mac(&path, expires).finalize().into_bytes());
        let signature = encode(&signature);
        DownloadUrl::new(format!("http://{host}{path}?OSSAccessKeyId={SIGNER}&Expires={expires}&Signature={signature}"))
    }

    /// As the object storage's older signature: method, two empty headers, expiry and path.
    fn mac(&self, path: &str, expires: i64) -> Hmac<Sha1> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = <Hmac<Sha1>>::new_from_slice(&self.key).expect("a key of 32 bytes");
        mac.update(format!("GET\n\n\n{expires}\n{path}").as_bytes());
        mac
    }

    fn judge(&self, path: &str, query: &str, now: Timestamp) -> Result<(), Denied> {
        let params = parse(query);
        let expires: i64 = first(&params, "Expires").and_then(|e| e.parse().ok()).ok_or(Denied::Unsigned)?;
        let signature = first(&params, "Signature").ok_or(Denied::Unsigned)?;
        if first(&params, "OSSAccessKeyId") != Some(SIGNER) {
            return Err(Denied::Key);
        }
        // As the storage does: the date first, then the signature.
        if now.as_second() > expires {
            return Err(Denied::Expired(expires));
        }
        let sent = STANDARD.decode(signature).map_err(|_| Denied::Signature)?;
        self.mac(path, expires).verify_slice(&sent).map_err(|_| Denied::Signature)
    }
}

/// Why a download is refused.
enum Denied {
    Unsigned,
    Key,
    Expired(i64),
    Signature,
}

/// The range that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// All of it.
    Whole,
    /// From, and the last byte.
    Part(u64, u64),
    /// None that the file has.
    Unsatisfiable,
}

/// Reads `bytes=a-` and `a-b`; what is of another form is no range, and gives the whole.
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

/// An error in the storage's shape.
fn error(status: u16, code: &str, message: &str, host: &str, more: &str) -> Reply {
    let id = request();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>{message}</Message>\n  \
         <RequestId>{id}</RequestId>\n  <HostId>{}</HostId>\n{more}</Error>\n",
        host.replace(['<', '>', '&'], "")
    );
    Reply::new(status, "application/xml", body).with("x-oss-request-id", id)
}

/// Answers a request for a path of the storage.
pub async fn serve(world: &World, method: &str, path: &str, query: &str, host: &str, wanted: Option<&str>) -> Reply {
    if method != "GET" {
        // A URL is signed for one method.
        return mismatch(host);
    }
    match world.signer.judge(path, query, Timestamp::now()) {
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
    match find(world, path).await {
        Ok(Some(set)) => send(world, &set, host, wanted),
        Ok(None) => error(404, "NoSuchKey", "The specified key does not exist.", host, ""),
        Err(refused) => error(500, "InternalError", &refused.message, host, ""),
    }
}

fn mismatch(host: &str) -> Reply {
    let message = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    error(403, "SignatureDoesNotMatch", message, host, "")
}

async fn find(world: &World, path: &str) -> Result<Option<Set>, crate::emulator::answer::Refused> {
    for instance in world.instances() {
        let folder = format!("/custins{}/", number(Of::Instance, &instance.id));
        if let Some(file) = path.strip_prefix(&folder) {
            let is = |set: &Set| set.whole.is_some() && world.signer.file(set.number, set.begun) == file;
            return Ok(world.sets(&instance).await?.into_iter().find(is));
        }
    }
    Ok(None)
}

fn send(world: &World, set: &Set, host: &str, wanted: Option<&str>) -> Reply {
    let Some(whole) = set.whole.clone() else {
        return error(404, "NoSuchKey", "The specified key does not exist.", host, "");
    };
    let length = whole.rdb_bytes;
    let (status, from, to) = match range(wanted, length) {
        Range::Whole => (200, 0, length),
        Range::Part(from, last) => (206, from, last + 1),
        Range::Unsatisfiable => {
            return error(416, "InvalidRange", "The requested range cannot be satisfied", host, "")
                .with("content-range", format!("bytes */{length}"));
        }
    };
    let (tx, rx) = mpsc::channel(IN_FLIGHT);
    let (vault, handle) = (world.vault.clone(), tokio::runtime::Handle::current());
    let tag = whole.sha256.get(..32).unwrap_or_default().to_ascii_uppercase();
    tokio::task::spawn_blocking(move || {
        let push = |piece: io::Result<Bytes>| {
            let sent = handle.block_on(async { tokio::time::timeout(STALL, tx.send(piece)).await });
            matches!(sent, Ok(Ok(())))
        };
        let open = || handle.block_on(vault.open_data(&whole)).map_err(|fault| io::Error::other(fault.message));
        if let Err(e) = open().and_then(|data| pump(data, &whole, from, to, &push)) {
            tracing::warn!(backup_id = %whole.id, "a download is broken off: {e}");
            push(Err(e));
        }
    });
    let body = Body::stream(rx, to - from);
    let reply = Reply::of(status, "application/octet-stream", body)
        .with("accept-ranges", "bytes")
        .with("etag", format!("\"{tag}\""))
        .with("x-oss-object-type", "Normal")
        .with("x-oss-request-id", request());
    if status == 206 { reply.with("content-range", format!("bytes {from}-{}/{length}", to - 1)) } else { reply }
}

/// Sends the bytes of a range; `push` says whether anybody still wants them.
fn pump(
    mut data: crate::vault::frames::FrameReader,
    set: &crate::model::backup::BackupSet,
    from: u64,
    to: u64,
    push: &dyn Fn(io::Result<Bytes>) -> bool,
) -> io::Result<()> {
    let (mut at, mut sha) = (0, Sha256::new());
    // Held back until the hash is known to be right.
    let mut last: Option<Bytes> = None;
    while at < to {
        let frame = data.next_frame()?.ok_or_else(|| io::Error::other("the data is shorter than its manifest says"))?;
        sha.update(&frame);
        let begin = at;
        at += frame.len() as u64;
        let cut = |end: u64| usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX).min(frame.len());
        let (low, high) = (cut(from), cut(to));
        if low >= high {
            continue;
        }
        let piece = Bytes::from(frame).slice(low..high);
        if let Some(piece) = last.replace(piece)
            && !push(Ok(piece))
        {
            return Ok(());
        }
    }
    if from == 0 && to == set.rdb_bytes && hex(&sha.finalize()) != set.sha256 {
        return Err(io::Error::other("the data is not what its manifest says"));
    }
    if let Some(piece) = last {
        push(Ok(piece));
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
