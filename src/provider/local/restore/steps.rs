//! What stands between a target and a restore by the planned way, read before anybody is asked: the right to every step, the
//! server's own limits, and what it holds beside keys. Facts alone; the guard judges them.

use crate::config::blocking::blocking;
use crate::guard::facts::restore::{Libraries, TargetFacts};
use crate::model::backup::BackupSet;
use crate::model::fault::Fault;
use crate::model::restore::Method;
use crate::provider::local::Inner;
use crate::provider::local::restore::beside;
use crate::provider::local::restore::contents::Contents;
use crate::provider::local::restore::packing::Packing;
use crate::redis::conn::Conn;
use crate::redis::error::RedisError;
use crate::redis::facts::ServerFacts;
use crate::redis::limits::{Limits, library_names};
use crate::redis::persistence;
use crate::redis::rdb;
use crate::redis::rdb::statistics::KeyStatistics;
use crate::redis::rights::{self, Need, Probing};

/// Encodings of values that a target may unpack as it loads them.
const PACKED_TYPES: [u8; 6] = [11, 12, 13, 16, 17, 20];
/// A limit of a server is never set below this, so values that are smaller need no look at it.
const LIMIT_BYTES_MIN: u64 = 1 << 20;
/// What a server reads of a client beside one value: its command's other words, and a read of the next.
const BESIDE_A_VALUE: u64 = 64 << 10;

impl Inner {
    /// Reads the rights and the libraries of a target, whose method is known by now.
    #[expect(clippy::too_many_arguments, reason = "each is another fact that the steps depend on")]
    pub(super) async fn read_steps(
        &self,
        instance_id: &str,
        set: &BackupSet,
        server: &ServerFacts,
        removes: bool,
        probing: Probing,
        target: &mut TargetFacts,
        conn: &mut Conn,
    ) -> Result<(), Fault> {
        if target.not_ready.is_some() {
            return Ok(());
        }
        let names = if server.libraries > 0 { library_names(conn).await? } else { Vec::new() };
        target.libraries = Libraries { count: server.libraries, names };
        let user = self.user(instance_id, conn).await?;
        let mut needs = needs(target.method, removes, set, server);
        needs.extend(persistence::needed_right(conn, target.append_only).await?);
        let asked = rights::ask(conn, &user, &needs, probing).await?;
        target.rights = asked.steps;
        // Asking is no write of anybody's: a later look compares with the counter as asking has left it.
        target.writes.calls += asked.counted;
        Ok(())
    }
}

impl Inner {
    /// The user that a connection is logged in as.
    pub(super) async fn user(&self, instance_id: &str, conn: &mut Conn) -> Result<String, Fault> {
        match rights::whoami(conn).await? {
            Some(user) => Ok(user),
            None => Ok(self.endpoint(instance_id).await?.username.unwrap_or_else(|| "default".into())),
        }
    }
}

/// The steps of a method for this set on this server.
/// `removes`: keys are removed that were not there then.
pub(super) fn needs(method: Method, removes: bool, set: &BackupSet, server: &ServerFacts) -> Vec<Need> {
    let mut needs = rights::PLAN.to_vec();
    match method {
        Method::Replication => needs.extend(rights::REPLICATION),
        Method::Beside => needs.extend(beside::needs(set, server)),
        Method::Keys => {
            needs.extend(rights::SOME_KEYS);
            needs.extend(removes.then_some(rights::REMOVE_KEYS));
        }
        Method::Commands => {
            needs.extend(rights::IN_PLACE);
            // Where there is nothing to delete and nothing to load, the right is not used.
            needs.extend((server.libraries > 0).then_some(rights::DELETE_FUNCTIONS));
            needs.extend((set.functions > 0).then_some(rights::LOAD_FUNCTIONS));
        }
    }
    needs
}

/// Why a target would refuse the largest value of a set as a command; `None` where it would not, or cannot be judged.
pub(super) fn too_large(largest: u64, limits: Limits) -> Option<String> {
    // A payload is the type byte, the value, and a footer of ten bytes.
    let payload = largest.saturating_add(11);
    let (name, limit) = [
        ("proto-max-bulk-len", limits.bulk.map(|limit| (payload, limit))),
        ("client-query-buffer-limit", limits.query_buffer.map(|limit| (payload.saturating_add(BESIDE_A_VALUE), limit))),
    ]
    .into_iter()
    .find_map(|(name, limit)| limit.filter(|(needed, limit)| needed > limit).map(|(_, limit)| (name, limit)))?;
    Some(format!(
        "the set has a value of {largest} bytes, and the target takes none so large by commands: {name} is {limit}"
    ))
}

/// Limits that matter for this set and could not be read.
pub(super) fn unread(statistics: &KeyStatistics, limits: Limits) -> Option<String> {
    let matters = statistics.largest_value.saturating_add(BESIDE_A_VALUE) > LIMIT_BYTES_MIN;
    (matters && (limits.bulk.is_none() || limits.query_buffer.is_none())).then(|| {
        format!(
            "proto-max-bulk-len and client-query-buffer-limit of the target could not be read; the set's largest value has {} bytes",
            statistics.largest_value
        )
    })
}

/// Elements of an RDB that the target would unpack. Only asked where memory is limited.
pub(super) async fn unpacked(
    contents: Contents,
    statistics: &KeyStatistics,
    server: &ServerFacts,
    limits: Limits,
) -> Result<u64, Fault> {
    let any = PACKED_TYPES.iter().any(|t| statistics.types.contains_key(t));
    if server.maxmemory == 0
        || !any
        || limits == (Limits { bulk: limits.bulk, query_buffer: limits.query_buffer, ..Limits::default() })
    {
        return Ok(0);
    }
    let Contents { data, whose } = contents;
    blocking(move || {
        let walked = rdb::walk(data, (), Packing::new(limits)).map_err(|e| whose.unreadable(e))?;
        Ok(walked.visitor.unpacked)
    })
    .await
}

/// Whether a server has that database.
///
/// # Errors
/// What broke on the way.
pub(super) async fn has_database(conn: &mut Conn, db: u64) -> Result<bool, RedisError> {
    match conn.cmd_str(&["SELECT", &db.to_string()]).await {
        Ok(_) => conn.cmd_str(&["SELECT", "0"]).await.map(|_| true),
        Err(RedisError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
