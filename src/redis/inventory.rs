//! Whether a server carries out what it is sent as a replica: which commands it knows, and how many of its master's it has refused.
//!
//! A replica drops a command that it refuses and goes on; nobody is told but its log. It must not be guessed that nothing was refused:
//! counters that began anew are an error.

use std::collections::{BTreeMap, BTreeSet};

use super::commandstats::resolve_writes;
use super::conn::Conn;
use super::error::RedisError;
use super::facts::{field, info};
use super::resp::Value;

/// Names of one question.
const NAMES_AT_ONCE: usize = 256;

/// Those of these commands that the server does not know by that name. One that its operator renamed or hid is not known, for a
/// replica looks a command of its master up by the same name.
///
/// # Errors
/// What the connection or the server refused; the user needs `+command`.
pub async fn unknown_commands(conn: &mut Conn, names: &BTreeSet<String>) -> Result<Vec<String>, RedisError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut unknown = Vec::new();
    for names in names.chunks(NAMES_AT_ONCE) {
        let mut args = vec!["COMMAND", "INFO"];
        args.extend(names);
        let reply = conn.cmd_str(&args).await?;
        let entries = reply.as_array().unwrap_or_default();
        for (n, name) in names.iter().enumerate() {
            let known = entries.get(n).and_then(Value::as_array).is_some_and(|entry| !entry.is_empty());
            if !known {
                unknown.push((*name).to_owned());
            }
        }
    }
    Ok(unknown)
}

/// What a server had refused of its master's commands, at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// Error replies to a master or a replica, since the statistics began.
    count: u64,
    /// Calls and failures of each command, since the statistics began. They only ever grow.
    commands: BTreeMap<String, Called>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Called {
    calls: u64,
    /// Calls that ended in an error; absent in servers before 6.2.
    failed: u64,
    writes: bool,
}

/// What was refused between two moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSince {
    /// How many commands.
    pub count: u64,
    /// Names of those that are known: write commands that failed. A client's write never gets that far while the server is a replica.
    pub names: Vec<String>,
}

impl Refusals {
    /// Reads the counters; `None` where the server has none.
    ///
    /// # Errors
    /// What the connection or the server refused; the user needs `+info` and `+command`.
    pub async fn read(conn: &mut Conn) -> Result<Option<Self>, RedisError> {
        let stats = info(conn, Some("stats")).await?;
        let Some(count) = field(&stats, "unexpected_error_replies").and_then(|n| n.parse().ok()) else {
            return Ok(None);
        };
        let text = info(conn, Some("commandstats")).await?;
        resolve_writes(conn, &text).await?;
        let called = |line: &str| {
            let (name, values) = line.trim_end().strip_prefix("cmdstat_")?.split_once(':')?;
            let name = name.to_ascii_lowercase();
            let value = |wanted: &str| {
                let found = values.split(',').find_map(|v| v.strip_prefix(wanted)?.strip_prefix('='));
                found.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
            };
            let writes = conn.write_flags.get(&name).copied().unwrap_or(false);
            Some((name, Called { calls: value("calls"), failed: value("failed_calls"), writes }))
        };
        Ok(Some(Self { count, commands: text.lines().filter_map(called).collect() }))
    }

    /// What was refused since an earlier moment; `None` where the statistics began anew meanwhile, for then nobody can tell.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<RefusedSince> {
        let now = |name: &str| self.commands.get(name).copied().unwrap_or_default();
        let reset = earlier.commands.iter().any(|(name, then)| now(name).calls < then.calls);
        let count = self.count.checked_sub(earlier.count).filter(|_| !reset)?;
        let failed = |name: &str| earlier.commands.get(name).map_or(0, |then| then.failed);
        let names = self.commands.iter().filter(|(name, now)| now.writes && now.failed > failed(name));
        Some(RefusedSince { count, names: names.map(|(name, _)| name.clone()).collect() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! What was refused is counted and named, and counters that began anew prove nothing.
    use super::*;

    fn refusals(count: u64, commands: &[(&str, u64, u64, bool)]) -> Refusals {
        let called = |&(name, calls, failed, writes): &(&str, u64, u64, bool)| {
            (name.to_owned(), Called { calls, failed, writes })
        };
        Refusals { count, commands: commands.iter().map(called).collect() }
    }

    #[test]
    fn refused_commands_are_counted_and_named() {
        let before = refusals(2, &[("set", 10, 1, true), ("replicaof", 1, 0, false)]);
        let after = |count| {
            refusals(
                count,
                &[("set", 12, 2, true), ("get", 4, 4, false), ("replicaof", 1, 0, false), ("incr", 9, 0, true)],
            )
        };
        assert_eq!(before.since(&before), Some(RefusedSince { count: 0, names: Vec::new() }));
        assert_eq!(after(3).since(&before), Some(RefusedSince { count: 1, names: vec!["set".into()] }));
        assert_eq!(after(1).since(&before), None);
        // Whoever resets the statistics takes the count of our own REPLICAOF with them.
        let reset = refusals(2, &[("set", 12, 1, true), ("config|resetstat", 1, 0, false)]);
        assert_eq!(reset.since(&before), None);
    }
}
