//! A connection that failed half way is of no more use and says so.

use crate::redis::fixture::KIND;
use crate::support::Redis;
use std::time::Duration;
use tair_backup_mcp::redis::error::RedisError;

/// A call that is dropped or late leaves the connection unusable instead of out of step.
#[tokio::test]
async fn connection_out_of_step_says_so() {
    let server = Redis::start(KIND, &[]);
    let mut c = server.conn().await;
    c.set_timeout(Duration::from_millis(100));
    assert!(matches!(c.cmd_str(&["BLPOP", "none", "0"]).await, Err(RedisError::Timeout { .. })));
    assert!(matches!(c.cmd_str(&["PING"]).await, Err(RedisError::Broken { .. })));
    let mut c = server.conn().await;
    tokio::select! { biased; _ = c.cmd_str(&["BLPOP", "none", "1"]) => panic!("answered"), () = tokio::time::sleep(Duration::from_millis(50)) => {} }
    assert!(matches!(c.cmd_str(&["PING"]).await, Err(RedisError::Broken { .. })));
    assert!(c.is_broken());
}
