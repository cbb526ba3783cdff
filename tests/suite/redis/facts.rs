//! INFO of real servers is parsed as the servers mean it.

use crate::redis::fixture::{KIND, say};
use crate::support::Redis;
use tair_backup_mcp::redis::facts::write_calls;

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
