//! The commands that a source applies after a snapshot arrive whole and in order, at the source's own offsets, and a stream satisfies
//! no WAIT.

use crate::redis::fixture::{KIND, say};
use crate::support::{KINDS, Redis};
use tair_backup_mcp::redis::endpoint::{Address, Endpoint};
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::replica::follow::Follow;
use tair_backup_mcp::redis::replica::handshake::{CaptureOptions, Extent, Framing};
use tair_backup_mcp::redis::replica::snapshot::Snapshot;
use tair_backup_mcp::redis::resp::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const STAY: Extent = Extent::SnapshotAndStream;

async fn open(endpoint: &Endpoint, extent: Extent) -> Snapshot {
    Snapshot::open(endpoint, CaptureOptions { extent, ..CaptureOptions::default() }).await.unwrap()
}

/// Reads the snapshot to its end, and then stays.
async fn stay(mut snapshot: Snapshot) -> Follow {
    let mut piece = vec![0; 1 << 16];
    while snapshot.read(&mut piece).await.unwrap() > 0 {}
    snapshot.into_follow().unwrap()
}

/// The commands up to the offset at which the source is: words alone, of which none holds a line end.
async fn catch_up(stream: &mut Follow, source: &Redis) -> Vec<Vec<String>> {
    let end: u64 = source.info("master_repl_offset").parse().unwrap();
    let (start, mut bytes) = (stream.offset(), Vec::new());
    while stream.offset() < end {
        bytes.extend(stream.next().await.unwrap());
    }
    assert_eq!((stream.offset(), bytes.len() as u64), (end, end - start));
    let text = String::from_utf8(bytes).unwrap();
    text.split_terminator('*')
        .map(|c| c.split("\r\n").skip(2).step_by(2).map(str::to_owned).collect())
        .skip(1)
        .collect()
}

/// In both framings of every kind of server, the writes behind the snapshot, those made while it was still being read among
/// them, arrive as commands, and the offset is the source's `master_repl_offset`.
#[tokio::test]
async fn writes_after_the_snapshot_arrive_with_their_offsets() {
    for (kind, diskless) in KINDS.into_iter().flat_map(|kind| [(kind, "yes"), (kind, "no")]) {
        let source = Redis::start(kind, &["--repl-diskless-sync", diskless]);
        source.run(&["DEBUG", "POPULATE", "1000", "before", "100"]);
        let snapshot = open(&source.endpoint(), STAY).await;
        assert_eq!(matches!(snapshot.framing, Framing::Mark(_)), diskless == "yes");
        let start = snapshot.offset;
        source.run(&["SET", "after:0", "while it is read"]);
        let mut stream = stay(snapshot).await;
        assert_eq!(stream.offset(), start);
        let large = "x".repeat(300_000);
        for i in 1..500 {
            let value = if i == 250 { large.clone() } else { format!("value {i}") };
            source.run(&["SET", &format!("after:{i}"), &value]);
        }
        let commands = catch_up(&mut stream, &source).await;
        assert_eq!(commands[0], ["SELECT", "0"], "{kind}");
        let sets: Vec<&Vec<String>> = commands.iter().filter(|c| c[0] == "SET").collect();
        assert_eq!(sets.len(), 500, "{kind}, diskless {diskless}");
        for (i, set) in sets.iter().enumerate() {
            assert_eq!(set[1], format!("after:{i}"));
        }
        assert_eq!(*sets[250], ["SET", "after:250", &large]);

        // Whoever waits for a replica must not take this one for a copy.
        let mut conn = source.conn().await;
        say(&mut conn, "SET waited for").await;
        assert_eq!(conn.cmd_str(&["WAIT", "1", "300"]).await.unwrap(), Value::Int(0));
        assert_eq!(catch_up(&mut stream, &source).await[0], ["SET", "waited", "for"]);
    }
}

/// Without having asked for it, or before the snapshot's end, there is no stream.
#[tokio::test]
async fn a_stream_begins_only_where_the_snapshot_ended() {
    let source = Redis::start(KIND, &["--rdbcompression", "no"]);
    source.run(&["DEBUG", "POPULATE", "64", "big", "100000"]);
    let early = open(&source.endpoint(), STAY).await.into_follow().unwrap_err();
    assert!(matches!(early, RedisError::Interrupted { received: 0, .. }), "{early}");
    let mut snapshot = open(&source.endpoint(), Extent::Snapshot).await;
    let mut piece = vec![0; 1 << 16];
    while snapshot.read(&mut piece).await.unwrap() > 0 {}
    let unasked = snapshot.into_tail().unwrap_err();
    assert!(matches!(unasked, RedisError::Interrupted { .. }), "{unasked}");
}

/// A source that sends `stream` behind an empty snapshot, a few bytes at a time, and then stays silent.
async fn source_that_sends(stream: &'static [u8]) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        for (command, answer) in [
            ("PING", "+PONG\r\n".to_owned()),
            ("psync2", "+OK\r\n".to_owned()),
            ("INFO", "$22\r\nredis_version:7.0.15\r\n\r\n".to_owned()),
            ("PSYNC", format!("+FULLRESYNC {} 100\r\n$0\r\n", "a".repeat(40))),
        ] {
            while !String::from_utf8_lossy(&received).contains(command) {
                assert!(tcp.read_buf(&mut received).await.unwrap() > 0);
            }
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
        tcp.set_nodelay(true).unwrap();
        for piece in stream.chunks(3) {
            tcp.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        // Until the other side leaves.
        while tcp.read_buf(&mut received).await.is_ok_and(|n| n > 0) {}
    });
    Endpoint { address: Address::Tcp { host: "127.0.0.1".into(), port }, username: None, password: None, tls: None }
}

/// However the bytes are cut, all come out, and empty lines before them have no offset.
#[tokio::test]
async fn empty_lines_before_the_stream_are_none_of_it() {
    let mut stream = stay(open(&source_that_sends(b"\n\r\n*1\r\n$4\r\nPING\r\n\n").await, STAY).await).await;
    let mut bytes = Vec::new();
    while bytes.len() < 15 {
        bytes.extend(stream.next().await.unwrap());
    }
    assert_eq!((&bytes[..], stream.offset()), (&b"*1\r\n$4\r\nPING\r\n\n"[..], 115));
}
