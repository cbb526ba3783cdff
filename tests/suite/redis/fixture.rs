//! Fixtures of this room's tests: a data set with every type, a capture into memory, and a supplier of data.

use crate::support::{Redis, program};
use std::process::Command;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::endpoint::Endpoint;
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::facts::ServerFacts;
use tair_backup_mcp::redis::master::types::Supply;
use tair_backup_mcp::redis::replica::handshake::{CaptureOptions, Framing};
use tair_backup_mcp::redis::replica::snapshot::Snapshot;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The kind of server for what all kinds do alike.
pub const KIND: &str = "redis-7.0";

/// Sends one command, its arguments between spaces.
pub async fn say(conn: &mut Conn, command: &str) {
    conn.cmd_str(&command.split(' ').collect::<Vec<_>>()).await.unwrap();
}

pub async fn facts(server: &Redis) -> ServerFacts {
    ServerFacts::read(&mut server.conn().await).await.unwrap()
}

/// Fills a server with keys of every type, in two databases.
pub async fn fill(server: &Redis) {
    let mut c = server.conn().await;
    c.cmd_str(&["DEBUG", "POPULATE", "5000", "str", "200"]).await.unwrap();
    let commands = [
        "SET n 12345",
        "RPUSH list a b 3 4",
        "SADD ints 1 2 3",
        "SADD words a b c",
        "HSET hash f1 v1 f2 v2",
        "ZADD z 1 a 2.5 b",
        "XADD stream 1-1 k v",
        "XGROUP CREATE stream g 0",
        "PFADD hll a b c",
        "SELECT 3",
        "SET three x",
        "SELECT 0",
    ];
    for command in commands {
        say(&mut c, command).await;
    }
    for i in 0..600 {
        c.cmd_str(&["HSET", "bighash", &format!("field:{i}"), &format!("{i:040}")]).await.unwrap();
        c.cmd_str(&["SET", &format!("ttl:{i}"), "v", "EX", &format!("{}", 5000 + i)]).await.unwrap();
    }
    c.cmd_str(&["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 42 end)"])
        .await
        .unwrap();
}

/// A capture into memory: the data, how its end was marked, and the source's replication id.
pub async fn capture(endpoint: &Endpoint) -> Result<(Vec<u8>, Framing, String), RedisError> {
    let mut snapshot = Snapshot::open(endpoint, CaptureOptions::default()).await?;
    let (framing, replid) = (snapshot.framing, snapshot.replid.clone());
    let mut data = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let n = snapshot.read(&mut piece).await?;
        if n == 0 {
            break;
        }
        data.extend_from_slice(&piece[..n]);
    }
    let rest = if matches!(framing, Framing::Mark(_)) { data.split_off(data.len() - 40) } else { Vec::new() };
    assert!(framing.ends(data.len() as u64, &rest));
    Ok((data, framing, replid))
}

/// The server's own checker finds nothing wrong.
pub fn check_rdb(data: &[u8]) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("dump.rdb");
    std::fs::write(&path, data).unwrap();
    let out = Command::new(program(KIND, "check-rdb")).arg(&path).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// Supplies `data` in chunks; `fail_at` ends it with a failure after so many bytes.
pub fn supply(data: Vec<u8>, fail_at: Option<usize>) -> mpsc::Receiver<Supply> {
    let (to, from) = mpsc::channel(4);
    tokio::spawn(async move {
        for chunk in data[..fail_at.unwrap_or(data.len())].chunks(100_000) {
            if to.send(Supply::Chunk(chunk.to_vec())).await.is_err() {
                return;
            }
        }
        let last = if fail_at.is_some() { Supply::Failed("checksum differs".into()) } else { Supply::Done };
        to.send(last).await.ok();
    });
    from
}
