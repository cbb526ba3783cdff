//! How many write commands an instance has run: the section `commandstats` of INFO, and which commands write.
//!
//! It must not change anything on the server. A command that the server does not know by its name was renamed, and counts as a write.

use super::conn::Conn;
use super::error::RedisError;
use super::facts::info;
use super::resp::Value;

/// How many write commands the server has run since its statistics were reset: two readings tell whether clients write.
/// Commands run by scripts count by themselves; the scripts do not.
///
/// # Errors
/// What the connection or the server refused; the user needs `+info` and `+command`.
pub async fn write_calls(conn: &mut Conn) -> Result<u64, RedisError> {
    let text = info(conn, Some("commandstats")).await?;
    resolve_writes(conn, &text).await?;
    Ok(write_counters(conn, &text))
}

/// Learns which of the commands in this text of `commandstats` write.
pub(super) async fn resolve_writes(conn: &mut Conn, text: &str) -> Result<(), RedisError> {
    let names: Vec<String> = text.lines().filter_map(command_stat).map(|(name, _)| name).collect();
    let unknown: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|n| !conn.write_flags.contains_key(*n) && !is_known_reader(n))
        .collect();
    if !unknown.is_empty() {
        let mut args = vec!["COMMAND", "INFO"];
        args.extend(&unknown);
        let reply = conn.cmd_str(&args).await?;
        let entries = reply.as_array().unwrap_or_default();
        for (name, entry) in unknown.iter().zip(entries) {
            conn.write_flags.insert((*name).to_owned(), is_write(name, entry));
        }
    }
    Ok(())
}

/// The write commands in this text of `commandstats`, of those that [`resolve_writes`] has learned.
pub(super) fn write_counters(conn: &Conn, text: &str) -> u64 {
    let writes = |name: &str| {
        // A script may carry the flag on some servers, and then its effects would count twice.
        let script = name.starts_with("eval") || name.starts_with("fcall");
        !script && conn.write_flags.get(name).copied().unwrap_or(false)
    };
    text.lines().filter_map(command_stat).filter(|(name, _)| writes(name)).map(|(_, n)| n).sum()
}

/// `cmdstat_set:calls=12,usec=…` → (`set`, 12)
fn command_stat(line: &str) -> Option<(String, u64)> {
    let (name, values) = line.trim_end().strip_prefix("cmdstat_")?.split_once(':')?;
    let calls = values.split(',').find_map(|v| v.strip_prefix("calls="))?.parse().ok()?;
    Some((name.to_ascii_lowercase(), calls))
}

/// Commands without the flag `write` that operators like to rename: under their own name the server does not know them then.
const RENAMED_READERS: [&str; 16] = [
    "acl",
    "bgrewriteaof",
    "bgsave",
    "client",
    "cluster",
    "config",
    "debug",
    "info",
    "keys",
    "module",
    "monitor",
    "psync",
    "replicaof",
    "save",
    "slaveof",
    "sync",
];

fn is_known_reader(name: &str) -> bool {
    RENAMED_READERS.contains(&name.split('|').next().unwrap_or_default())
}

/// Whether a command that ran is one that writes. The server does not know a command by its name that its operator renamed: that
/// one counts as a write unless it is known to be none.
fn is_write(name: &str, entry: &Value) -> bool {
    if !matches!(entry, Value::Array(_)) {
        return !is_known_reader(name);
    }
    let flags = entry.as_array().and_then(|e| e.get(2)).and_then(Value::as_array).unwrap_or_default();
    flags.iter().any(|f| f.as_str() == Some("write"))
}
