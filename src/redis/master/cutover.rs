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
use crate::redis::commandstats::write_calls;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::{ServerFacts, info, key_counts};
use crate::redis::memory::Memory;
use crate::redis::settings;

/// Between two looks at a target that frees its old data.
const FREEING_INTERVAL: Duration = Duration::from_millis(100);
/// One look at it, connection included.
const FREEING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a target whose old data is freed may still be above its limit: figures lag, and writers are refused meanwhile.
const LAG: Duration = Duration::from_secs(1);

/// How long a promotion waits until its record is stored anew.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);

/// Keeps what a roll-back will need.
pub trait RollbackStore: Send {
    /// Stores the record anew: one more of the target's settings is about to be changed. An error leaves that setting alone.
    fn store(&mut self, record: &RollbackRecord) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Whoever answers for a restore: asked when the target refuses writes and before anything is sent to it.
pub trait BeforeStream: RollbackStore {
    /// Asked right before the target is made to follow this program: what it has not sent its replicas by then is lost to them. An error
    /// leaves it following whom it follows.
    fn switching(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// Whether the restore may go on. An error takes the target off this program again, with its old data.
    fn allow(&mut self, seen: &Switched) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Told once the target has loaded the snapshot: it forgets by which history that came, in time.
    fn loaded(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Asked before the target's role and settings are rolled back. An error leaves the target as it is, to whoever goes on with the restore
    /// and may have made it follow another by now.
    fn rolling_back(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }
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

impl RollbackStore for OwnServer {
    async fn store(&mut self, _: &RollbackRecord) -> Result<(), Fault> {
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
        Some(_) if record.is_followed_by(&facts) => {}
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
        removed: facts.removed,
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
/// just restored. Where nothing is freed for as long as the options let it, or the target is above its limit all the same, the limit
/// is put out of force. Where that is refused the evictions are counted, as always.
pub(super) async fn nothing_to_evict(
    target: &Endpoint,
    options: &MasterOptions,
    record: &mut RollbackRecord,
    kept_by: &mut impl RollbackStore,
) {
    let Some(limit) = limit_in_the_way(target, options).await else { return };
    // A crash behind the change puts the limit back, so the record is first.
    record.settings.maxmemory = Some(limit.to_string());
    // The target refuses writes meanwhile.
    let why = match timeout(RECORDED_WITHIN, kept_by.store(record)).await {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault.to_string()),
        Err(_) => Some("the store did not answer in time".to_owned()),
    };
    if let Some(why) = why {
        record.settings.maxmemory = None;
        tracing::warn!("the target is promoted with its memory limit, which could not be recorded: {why}");
        return;
    }
    let lift = async {
        let mut conn = Conn::open(target, options.command_within).await?;
        settings::lift_memory_limit(&mut conn).await
    };
    match lift.await {
        Ok(()) => tracing::warn!(
            "the target is promoted with its memory limit out of force: it is above {limit} bytes, or frees nothing"
        ),
        Err(error) => {
            tracing::warn!("the target is promoted with its memory limit, which it does not let us change: {error}")
        }
    }
}

/// The limit of a target that has not freed its old data, or is above its limit.
async fn limit_in_the_way(target: &Endpoint, options: &MasterOptions) -> Option<u64> {
    let (mut least, mut moved) = ((u64::MAX, u64::MAX), Instant::now());
    loop {
        let look = async {
            let mut conn = Conn::open(target, FREEING_TIMEOUT).await?;
            Memory::read(&mut conn).await
        };
        // Loaded, and gone since: whoever takes it off this program finds that out.
        let Ok(Ok(memory)) = timeout(FREEING_TIMEOUT, look).await else { return None };
        let (fits, freed) = (memory.fits(memory.limit), memory.freeing == 0);
        if memory.limit == 0 || (fits && freed) {
            return None;
        }
        // Only less than ever before is progress: what is in use moves by itself.
        if memory.freeing < least.0 || memory.counted < least.1 {
            least = (memory.freeing.min(least.0), memory.counted.min(least.1));
            moved = Instant::now();
        }
        let patience = if freed { options.free_stall.min(LAG) } else { options.free_stall };
        if moved.elapsed() >= patience {
            return Some(memory.limit);
        }
        sleep(FREEING_INTERVAL).await;
    }
}

/// The keys that a target has loaded, as long as it follows us.
pub(super) async fn loaded_keys(target: &Endpoint) -> Option<BTreeMap<u64, (u64, u64)>> {
    let count = async {
        let mut conn = Conn::open(target, FREEING_TIMEOUT).await?;
        key_counts(&mut conn).await
    };
    timeout(FREEING_TIMEOUT, count).await.ok()?.ok()
}
