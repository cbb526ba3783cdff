//! INFO of real servers is parsed as the servers mean it.

use crate::redis::fixture::{KIND, facts, say};
use crate::support::Redis;
use std::time::{Duration, Instant};
use tair_backup_mcp::redis::commandstats::write_calls;
use tair_backup_mcp::redis::replica::handshake::{CaptureOptions, Extent};
use tair_backup_mcp::redis::replica::snapshot::Snapshot;

/// Write traffic is what changed data, however it was sent; reading and asking are none.
#[tokio::test]
async fn write_calls_counts_writes_only() {
    let server = Redis::start(KIND, &[]);
    let mut c = server.conn().await;
    let start = write_calls(&mut c).await.unwrap();
    for command in
        ["SET a 1", "GET a", "INCR a", "XADD s 1-1 k v", "XGROUP CREATE s g 0", "XINFO STREAM s", "CONFIG GET port"]
    {
        say(&mut c, command).await;
    }
    c.cmd_str(&["EVAL", "redis.call('set', 'b', 1) return redis.call('get', 'b')", "0"]).await.unwrap();
    assert_eq!(write_calls(&mut c).await.unwrap() - start, 5);
    assert_eq!(write_calls(&mut c).await.unwrap() - start, 5);
}

/// Our own stream, attached and acknowledged, is no replica of its source, on any dialect that counts it as one.
#[tokio::test]
async fn our_own_stream_is_no_replica() {
    for kind in ["redis-6.2", "redis-8.2", "valkey-9.1"] {
        let server = Redis::start(kind, &[]);
        let options = CaptureOptions { extent: Extent::SnapshotAndStream, ..CaptureOptions::default() };
        let mut snapshot = Snapshot::open(&server.endpoint(), options).await.unwrap();
        while snapshot.read(&mut vec![0; 1 << 16]).await.unwrap() > 0 {}
        let mut tail = snapshot.into_tail().unwrap();
        // Its first acknowledgement may come while the source still waits for its child.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.info("slave0").contains("state=online") {
            assert!(Instant::now() < deadline, "{kind}: {}", server.info("slave0"));
            tail.take().await.unwrap();
            tail.more().await.unwrap();
        }
        assert_eq!((server.info("connected_slaves").as_str(), facts(&server).await.replicas), ("1", 0), "{kind}");
    }
}
