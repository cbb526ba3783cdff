//! The cutover: what a target shows once it follows this program and so refuses writes, and the wait for its old data to be freed.
//!
//! Nothing is decided here: [`BeforeStream`] is asked, by whoever may say that the restore goes on. Until it has said so the target
//! gets no answer to its PSYNC, and keeps its data.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::types::{MasterOptions, RollbackRecord, Switched};
use crate::guard::grant::Scratch;
use crate::model::fault::Fault;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, info, key_counts, write_calls};

/// Between two looks at a target that frees its old data.
const FREEING_INTERVAL: Duration = Duration::from_millis(100);
/// One look at it, connection included.
const FREEING_TIMEOUT: Duration = Duration::from_secs(5);

/// Asked when the target refuses writes and before anything is sent to it.
pub trait BeforeStream: Send {
    /// Whether the restore may go on. An error takes the target off this program again, with its old data.
    fn allow(&mut self, seen: &Switched) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// The last word on a server that this program started itself, which nobody else writes to.
#[derive(Debug)]
pub struct OwnServer;

impl OwnServer {
    /// For such a server alone.
    #[must_use]
    pub const fn of(_: &Scratch) -> Self {
        Self
    }
}

impl BeforeStream for OwnServer {
    async fn allow(&mut self, _: &Switched) -> Result<(), Fault> {
        Ok(())
    }
}

/// Reads the target after REPLICAOF, on the connection that sent it.
pub(super) async fn switched(conn: &mut Conn, record: &RollbackRecord) -> Result<Switched, RedisError> {
    let another = |what: String| RedisError::AnotherTarget { what };
    let facts = ServerFacts::from_info(&info(conn, None).await?);
    if facts.run_id != record.run_id {
        return Err(another("its process is another one (run_id)".to_owned()));
    }
    match &facts.master {
        Some(link) if link.host == record.host && link.port == record.port => {}
        Some(_) => return Err(another("it follows somebody else".to_owned())),
        None => return Err(another("it follows nobody".to_owned())),
    }
    let write_calls = match write_calls(conn).await {
        Ok(calls) => Some(calls),
        Err(RedisError::Denied { .. } | RedisError::Server { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Switched {
        run_id: facts.run_id,
        replication_id: facts.replid,
        offset: facts.offset,
        write_calls,
        evicted_keys: facts.evicted_keys,
        expired_keys: facts.expired_keys,
    })
}

/// Compares a second look with the first: the visitor at our port, which the target is by now, must not have been let in by another.
pub(super) fn unchanged(then: &Switched, now: &Switched) -> Result<(), RedisError> {
    let position = |s: &Switched| (s.replication_id.clone(), s.offset);
    if position(then) == position(now) {
        return Ok(());
    }
    let what = "its position in its own history has moved although it takes no writes".to_owned();
    Err(RedisError::AnotherTarget { what })
}

/// Waits until a target that swapped has freed its old data: promoted before that, one with a memory limit would evict what was
/// just restored. Gives up where nothing is freed for as long as the options let a target be silent; then the evictions are
/// counted, as always.
pub(super) async fn old_data_freed(target: &Endpoint, options: &MasterOptions) {
    let (mut last, mut moved) = (None, Instant::now());
    while moved.elapsed() < options.stall {
        let look = async {
            let mut conn = Conn::open(target, FREEING_TIMEOUT).await?;
            info(&mut conn, Some("memory")).await
        };
        // Loaded, and gone since: whoever takes it off this program finds that out.
        let Ok(Ok(text)) = timeout(FREEING_TIMEOUT, look).await else { return };
        let number = |name: &str| -> Option<u64> {
            text.lines().find_map(|l| l.trim_end().strip_prefix(name)?.strip_prefix(':')?.parse().ok())
        };
        if number("maxmemory") == Some(0) || number("lazyfree_pending_objects").is_none_or(|pending| pending == 0) {
            return;
        }
        let now = (number("lazyfree_pending_objects"), number("used_memory"));
        if last.as_ref() != Some(&now) {
            (last, moved) = (Some(now), Instant::now());
        }
        sleep(FREEING_INTERVAL).await;
    }
    tracing::warn!("the target frees none of its old data; it is promoted all the same");
}

/// The keys that a target has loaded, as long as it follows us.
pub(super) async fn loaded_keys(target: &Endpoint) -> Option<BTreeMap<u64, (u64, u64)>> {
    let count = async {
        let mut conn = Conn::open(target, FREEING_TIMEOUT).await?;
        key_counts(&mut conn).await
    };
    timeout(FREEING_TIMEOUT, count).await.ok()?.ok()
}
