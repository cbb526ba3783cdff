//! What reads bytes that others made, by the kind of input: the fuzzers of `tests/fuzz` and the replay of their corpus in
//! `redis::corpus` hand them to the same functions. Nothing of the suite may be used here, for the fuzzers are built without it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tair_backup_mcp::config::Config;
use tair_backup_mcp::config::instance_url::InstanceUrl;
use tair_backup_mcp::config::named_url;
use tair_backup_mcp::model::ids::hex;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::endpoint::{Address, Endpoint};
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::rdb::contents::ContentKey;
use tair_backup_mcp::redis::rdb::error::RdbError;
use tair_backup_mcp::redis::rdb::unique::Unique;
use tair_backup_mcp::redis::rdb::{Visitor, walk, walk_contents, walk_unique};
use tair_backup_mcp::redis::replica::handshake::{CaptureOptions, Extent};
use tair_backup_mcp::redis::replica::snapshot::Snapshot;
use tair_backup_mcp::vault::frames::FrameReader;
use tair_backup_mcp::vault::manifest::Manifest;
use tair_backup_mcp::vault::store::Ranges;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

/// Every kind of input; `tests/fuzz/Cargo.toml` has a fuzzer of each name, and `tests/fuzz/corpus` a folder.
pub const TARGETS: [&str; 8] = ["rdb", "value", "frames", "resp", "replica", "manifest", "url", "config"];

/// The magics that a value may stand behind, by the first byte of the input.
pub const MAGICS: [&str; 4] = ["REDIS0009", "REDIS0010", "REDIS0012", "VALKEY080"];

/// Frames of a data object that are read: each may be a mebibyte of a few bytes.
const FRAMES_MAX: usize = 16;

/// Hands bytes to what reads such. The error is what the reader says of them; where it breaks a promise, this panics.
pub fn read(target: &str, bytes: &[u8]) -> Result<(), String> {
    let read = match target {
        "rdb" => rdb(bytes),
        "value" => value(bytes),
        "frames" => frames(bytes),
        "resp" => replies(bytes),
        "replica" => replica(bytes),
        "manifest" => manifest(bytes),
        "url" => url(bytes),
        "config" => config(bytes),
        other => panic!("no target {other}"),
    };
    if let Err(why) = &read {
        assert!(!why.trim().is_empty() && why.len() < 4096, "{why:?} helps nobody");
        assert!(!why.contains(char::is_control), "{why:?} is not for people");
    }
    read
}

/// A visitor that wants all there is.
#[derive(Default)]
struct Everything {
    entries: u64,
}

impl Visitor for Everything {
    const WANTS_VALUES: bool = true;
    const WANTS_KEYS: bool = true;

    fn entry_end(&mut self) -> io::Result<()> {
        self.entries += 1;
        Ok(())
    }
}

fn where_it_is(error: RdbError) -> String {
    let text = error.to_string();
    assert!(text.contains("byte") || text.contains("version"), "{text:?} does not say where");
    text
}

/// The walk as a vault does it, with and without a visitor: both come to the same, and the tap has every byte.
fn rdb(bytes: &[u8]) -> Result<(), String> {
    let mut unique = Unique::new(std::env::temp_dir());
    let mut tapped = 0;
    let tap = |block: &[u8]| {
        tapped += block.len();
        Ok(())
    };
    let visited = walk(bytes, tap, Everything::default()).map(|walked| walked.visitor.entries);
    let walked = walk_unique(bytes, (), (), &mut unique);
    match (&visited, &walked) {
        (Ok(visited), Ok(walked)) => {
            assert_eq!(*visited, walked.statistics.keys(), "keys are counted in two ways");
            assert_eq!(walked.rest.len() + walked.src.len() + tapped, bytes.len(), "the tap has every byte");
        }
        // A key or a function of that length is only decoded for who wants it.
        (Err(RdbError::TooLarge { .. }), _) => {}
        (Err(visited), Err(walked)) => assert_eq!(visited.to_string(), walked.to_string()),
        (Err(one), Ok(_)) | (Ok(_), Err(one)) => panic!("only one walk says: {one}"),
    }
    // What a comparison reads says the same of it.
    let read = walk_contents(bytes, (), Everything::default(), &ContentKey::random(), 0);
    match (&visited, &read) {
        (Ok(visited), Ok(read)) => {
            assert_eq!(*visited, read.visitor.entries, "keys are read in two ways")
        }
        (Err(visited), Err(read)) => assert_eq!(visited.to_string(), read.to_string()),
        (Err(one), Ok(_)) | (Ok(_), Err(one)) => panic!("only one walk says: {one}"),
    }
    walked.map_err(where_it_is)?;
    if unique.needs_second_walk().map_err(|e| e.to_string())? {
        walk_unique(bytes, (), (), &mut unique).map_err(where_it_is)?;
    }
    Ok(())
}

/// One value, its type before it: [`rdb`] without what surrounds it.
fn value(bytes: &[u8]) -> Result<(), String> {
    let Some(([magic, type_byte], value)) = bytes.split_first_chunk() else { return Err("no value".to_owned()) };
    let magic = MAGICS[usize::from(*magic) % MAGICS.len()];
    rdb(&[magic.as_bytes(), &[254, 0, *type_byte, 1, b'k'], value, &[255], &[0; 8]].concat())
}

struct Object(Vec<u8>);

impl Ranges for Object {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from.get(..buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A data object of the vault.
fn frames(bytes: &[u8]) -> Result<(), String> {
    let mut frames = FrameReader::new(Arc::new(Object(bytes.to_vec())), u64::MAX).map_err(|e| e.to_string())?;
    for _ in 0..FRAMES_MAX {
        match frames.next_frame() {
            Ok(Some(frame)) => assert!(frame.len() <= 1 << 20, "a frame of {} bytes", frame.len()),
            Ok(None) => break,
            Err(e) => {
                assert!(e.to_string().contains("offset"), "{e} does not say where");
                return Err(e.to_string());
            }
        }
    }
    Ok(())
}

/// Runs a client against a server that says these bytes at once, whatever it is asked, and then no more.
fn against<T>(bytes: &[u8], client: impl AsyncFnOnce(Endpoint) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = async {
            let (mut client, _) = listener.accept().await.unwrap();
            // Who has heard enough leaves.
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
            std::future::pending::<()>().await;
        };
        let endpoint = Endpoint { address: Address::Unix(path), username: None, password: None, tls: None };
        tokio::select! {
            done = client(endpoint) => done,
            () = server => unreachable!("it stays"),
        }
    })
}

/// Nothing is waited for, since all has been said at once.
const WITHIN: Duration = Duration::from_secs(30);

/// Replies of a server.
fn replies(bytes: &[u8]) -> Result<(), String> {
    against(bytes, async |endpoint| {
        let mut conn = Conn::open(&endpoint, WITHIN).await.map_err(|e| e.to_string())?;
        // An error reply is a reply; what is none is the end.
        for _ in 0..=bytes.len() {
            let reply = conn.cmd_str(&["PING"]).await;
            if let Err(RedisError::Lost { .. } | RedisError::Protocol { .. } | RedisError::Timeout { .. }) = &reply {
                return reply.map_or_else(|error| end(&error), |_| Ok(()));
            }
        }
        panic!("more replies than bytes")
    })
}

/// A source as a capture meets it: the answers to the handshake, the snapshot, the stream.
fn replica(bytes: &[u8]) -> Result<(), String> {
    let options =
        CaptureOptions { connect_within: WITHIN, stall: WITHIN, no_data: WITHIN, extent: Extent::SnapshotAndStream };
    against(bytes, async |endpoint| {
        let mut snapshot = match Snapshot::open(&endpoint, options).await {
            Ok(snapshot) => snapshot,
            Err(error) => return end(&error),
        };
        let mut piece = vec![0; 1 << 12];
        loop {
            match snapshot.read(&mut piece).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return end(&error),
            }
        }
        let mut tail = snapshot.into_tail().map_err(|e| e.to_string())?;
        let mut before = tail.seen();
        loop {
            if let Err(error) = tail.take().await {
                return end(&error);
            }
            let now = tail.seen();
            let grows = now.offset >= before.offset && now.writes >= before.writes && now.removals >= before.removals;
            assert!(grows, "{now:?} behind {before:?}");
            before = now;
            if let Err(error) = tail.more().await {
                return end(&error);
            }
        }
    })
}

/// A connection that was only closed has said nothing wrong.
fn end(error: &RedisError) -> Result<(), String> {
    match error {
        RedisError::Lost { .. } => Ok(()),
        RedisError::Timeout { .. } | RedisError::NoData { .. } => panic!("waits for a server that has left: {error}"),
        error => Err(error.to_string()),
    }
}

/// A manifest as it lies in a vault; and with a checksum that fits, for whoever can write there can write that too.
fn manifest(bytes: &[u8]) -> Result<(), String> {
    let read = Manifest::read(bytes);
    let Ok(mut json) = serde_json::from_slice::<Value>(bytes) else { return read.map(drop) };
    let Some(checksum) = json.get_mut("checksum") else { return read.map(drop) };
    *checksum = "".into();
    let fits = hex(&Sha256::digest(json.to_string()));
    json["checksum"] = fits.into();
    let set = Manifest::read(json.to_string().as_bytes())?;
    let again = Manifest::read(&Manifest::of(&set).unwrap()).expect("what was read can be written");
    assert_eq!(format!("{again:?}"), format!("{set:?}"), "a manifest is written as it was read");
    Ok(())
}

/// The url of an instance, as it stands in a file, on a command line and in the environment.
fn url(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let (named, parsed) = (named_url::instance(text, named_url::URL_OPTION), InstanceUrl::parse(text));
    let _ = (named_url::has_password(text), named_url::given_id(text), named_url::split(text));
    let secret = text.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map_or("", |(secret, _)| secret);
    let why = named.map(drop).map_err(|fault| format!("{} {}", fault.message, fault.hint));
    // A shorter one stands in any sentence.
    if let (Err(why), 12..) = (&why, secret.len()) {
        assert!(!why.contains(secret), "{why:?} quotes what may be a password");
    }
    parsed.map(drop).map_err(str::to_owned)?;
    why
}

/// A configuration file.
fn config(bytes: &[u8]) -> Result<(), String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, bytes).unwrap();
    let named = |path: &Path, why: String| {
        assert!(why.contains(&path.display().to_string()), "{why} does not name the file");
        why.replace(char::is_control, " ")
    };
    Config::load(Some(dir.path().join("home")), Some(path.clone()), false)
        .map(drop)
        .map_err(|f| named(&path, f.message))
}
