//! What an instance reports about itself: INFO and its modules.
//!
//! It must not change anything on the server, and it must not guess: a value that the instance does not report is `None` or
//! zero, as the field's description tells.

use std::collections::BTreeMap;

use super::conn::Conn;
use super::error::RedisError;
use super::modules;
use super::rdb::compat::{Flavor, Server};
use super::resp::Value;
use super::sentinel_masters::instead;
use crate::model::text::clean_to;
use jiff::Timestamp;

/// The instance's role in replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The instance follows nobody.
    Master,
    /// The instance follows a master.
    Replica,
}

/// The link of a replica to its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterLink {
    /// The master's host, as set by REPLICAOF.
    pub host: String,
    /// The master's port.
    pub port: u16,
    /// Whether `master_link_status` is `up`.
    pub up: bool,
}

/// Key counts of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keyspace {
    /// Number of keys.
    pub keys: u64,
    /// Number of keys that carry an expiry.
    pub expires: u64,
}

/// The fields of INFO that this program uses. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// Whether the server is a Redis or a Valkey.
    pub flavor: Flavor,
    /// The server's own version as INFO writes it (for Valkey, not the Redis version that it is compatible with).
    pub version: String,
    /// `version` as numbers; parts that are missing are zero.
    pub version_number: (u32, u32, u32),
    /// `run_id`: another one with every start of the process.
    pub run_id: String,
    /// Whether the instance is a master or a replica.
    pub role: Role,
    /// The link of a replica; `None` for a master.
    pub master: Option<MasterLink>,
    /// Number of servers attached to the instance as its replicas; who only reads its stream, as our captures and archivers do, is none.
    pub replicas: u64,
    /// `master_replid`: id of the replication history this instance is on.
    pub replid: String,
    /// `master_repl_offset`: the instance's position in that history. Stands still while there is no backlog.
    pub offset: u64,
    /// The first offset that the replication backlog still has; `None` without a backlog, and then `offset` proves nothing.
    pub backlog_from: Option<u64>,
    /// `master_replid2` and `second_repl_offset`: the history that this one goes on from, and the first offset that is no part of it;
    /// `None` where there is none.
    pub before: Option<(String, u64)>,
    /// For how long the process runs, in seconds.
    pub uptime_seconds: u64,
    /// `repl_backlog_size`: bytes that the backlog holds at most.
    pub backlog_size: u64,
    /// Memory used by data and buffers.
    pub used_memory: u64,
    /// Resident memory of the process.
    pub used_memory_rss: u64,
    /// The configured memory limit; zero is none.
    pub maxmemory: u64,
    /// What the instance does at that limit, such as `noeviction`; empty where INFO does not say.
    pub maxmemory_policy: String,
    /// Keys deleted because their expiry had passed, since the statistics began.
    pub expired_keys: u64,
    /// Keys deleted to make room, since the statistics began.
    pub evicted_keys: u64,
    /// The server's clock in milliseconds since 1970; `None` where INFO does not say.
    pub clock_ms: Option<i64>,
    /// Most commands by which the server can have told of its own removals since the statistics began: expiries of keys and fields, and
    /// evictions.
    pub removed: u64,
    /// Reads of keys since the statistics began, of those that were there and of those that were not.
    pub key_reads: u64,
    /// Number of function libraries; zero before Redis 7.0.
    pub libraries: u64,
    /// Memory of the machine; zero where INFO does not say.
    pub total_system_memory: u64,
    /// Whether the instance loads its data and does not answer.
    pub loading: bool,
    /// Whether the instance loads its master's data and still answers from the old.
    pub async_loading: bool,
    /// Whether the instance runs as a node of a cluster.
    pub cluster_enabled: bool,
    /// Whether the instance keeps an append-only file.
    pub aof_enabled: bool,
    /// Which of the server's own ways of saving failed last, by the names of INFO's fields; empty where none did.
    pub failed_saves: Vec<&'static str>,
    /// Names of the loaded modules; `None` where the server does not tell.
    pub modules: Option<Vec<String>>,
    /// Key counts of the databases that hold keys.
    pub keyspace: BTreeMap<u64, Keyspace>,
}

/// Fields of INFO that say whether a server could save its data.
const SAVES: [&str; 3] = ["rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status"];

impl ServerFacts {
    /// Reads INFO and MODULE LIST.
    ///
    /// # Errors
    /// What the connection or the server refused; INFO is the one command that is needed. [`RedisError::Sentinel`] names its masters.
    pub async fn read(conn: &mut Conn) -> Result<Self, RedisError> {
        let text = info(conn, None).await?;
        if is_sentinel(&text) {
            return Err(instead(conn).await);
        }
        let mut facts = Self::from_info(&text);
        facts.modules = modules::loaded(conn, &text).await?;
        Ok(facts)
    }

    /// Parses the text of INFO.
    #[must_use]
    pub fn from_info(text: &str) -> Self {
        let fields: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.trim_end().split_once(':')).collect();
        // Shown to models and people, so cleaned: a server may claim any text.
        let text_of = |name: &str| clean_to(fields.get(name).copied().unwrap_or_default(), 64);
        let number = |name: &str| fields.get(name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let flag = |name: &str| number(name) != 0;
        let valkey = fields.contains_key("valkey_version") || fields.get("server_name").is_some_and(|n| *n == "valkey");
        let version = if valkey && fields.contains_key("valkey_version") {
            text_of("valkey_version")
        } else {
            text_of("redis_version")
        };
        let replica = fields.get("role").is_some_and(|r| *r == "slave" || *r == "replica");
        let master = replica.then(|| MasterLink {
            host: fields.get("master_host").copied().unwrap_or_default().to_owned(),
            port: u16::try_from(number("master_port")).unwrap_or(0),
            up: fields.get("master_link_status").is_some_and(|s| *s == "up"),
        });
        Self {
            flavor: if valkey { Flavor::Valkey } else { Flavor::Redis },
            version_number: version_number(&version),
            version,
            run_id: text_of("run_id"),
            role: if replica { Role::Replica } else { Role::Master },
            master,
            replicas: replicas(&fields),
            replid: text_of("master_replid"),
            offset: number("master_repl_offset"),
            backlog_from: flag("repl_backlog_active").then(|| number("repl_backlog_first_byte_offset")),
            before: fields
                .get("second_repl_offset")
                .and_then(|v| v.parse::<u64>().ok())
                .map(|until| (text_of("master_replid2"), until)),
            uptime_seconds: number("uptime_in_seconds"),
            backlog_size: number("repl_backlog_size"),
            used_memory: number("used_memory"),
            used_memory_rss: number("used_memory_rss"),
            maxmemory: number("maxmemory"),
            maxmemory_policy: text_of("maxmemory_policy"),
            expired_keys: number("expired_keys"),
            evicted_keys: number("evicted_keys"),
            clock_ms: fields.get("server_time_usec").and_then(|v| v.parse::<i64>().ok()).map(|us| us / 1000),
            // The last field of a hash takes the key with it, which Valkey tells in a command of its own.
            removed: number("expired_keys")
                .saturating_add(number("evicted_keys"))
                .saturating_add(number("expired_subkeys").saturating_add(number("expired_fields")).saturating_mul(2)),
            key_reads: number("keyspace_hits").saturating_add(number("keyspace_misses")),
            libraries: number("number_of_libraries"),
            total_system_memory: number("total_system_memory"),
            loading: flag("loading"),
            async_loading: flag("async_loading"),
            cluster_enabled: flag("cluster_enabled"),
            aof_enabled: flag("aof_enabled"),
            failed_saves: SAVES.into_iter().filter(|name| fields.get(name).is_some_and(|s| *s == "err")).collect(),
            modules: None,
            keyspace: keyspace(text),
        }
    }

    /// Flavor and version, which decide which RDBs the instance can load.
    #[must_use]
    pub fn server(&self) -> Server {
        let (major, minor, _) = self.version_number;
        Server { flavor: self.flavor, major, minor }
    }

    /// Keys in all databases.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.keyspace.values().map(|k| k.keys).sum()
    }
}

/// The text of INFO: one section, or the default ones.
pub(super) async fn info(conn: &mut Conn, section: Option<&str>) -> Result<String, RedisError> {
    let reply = match section {
        Some(section) => conn.cmd_str(&["INFO", section]).await?,
        None => conn.cmd_str(&["INFO"]).await?,
    };
    match reply {
        // Module sections may hold anything; a byte that is not UTF-8 must not hide the rest.
        Value::Bulk(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        _ => Err(conn.protocol("INFO gave no text")),
    }
}

/// Whether a text of INFO is a Sentinel's. Valkey has a name of its own for the field since 8.0.
pub(super) fn is_sentinel(text: &str) -> bool {
    ["redis_mode", "server_mode"].iter().any(|name| field(text, name) == Some("sentinel"))
}

/// By how many milliseconds the server's clock is ahead of this machine's; 0 where INFO does not tell.
///
/// # Errors
/// What the connection or the server refused.
pub async fn clock_ahead_ms(conn: &mut Conn) -> Result<i64, RedisError> {
    let theirs = ServerFacts::from_info(&info(conn, Some("server")).await?).clock_ms;
    Ok(theirs.map_or(0, |theirs| theirs.saturating_sub(Timestamp::now().as_millisecond())))
}

/// A field of INFO's text.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// Keys and keys with an expiry per database, now.
///
/// # Errors
/// What the connection or the server refused.
pub async fn key_counts(conn: &mut Conn) -> Result<BTreeMap<u64, (u64, u64)>, RedisError> {
    let text = info(conn, Some("keyspace")).await?;
    Ok(keyspace(&text).into_iter().map(|(db, k)| (db, (k.keys, k.expires))).collect())
}

/// All that are attached, but those of which INFO shows that they only read: a server may count replicas and show none of them.
fn replicas(fields: &BTreeMap<&str, &str>) -> u64 {
    let attached = fields.get("connected_slaves").and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    attached.saturating_sub(fields.iter().filter(|(name, value)| only_reads(name, value)).count() as u64)
}

/// `slave0:ip=10.0.0.2,port=0,state=online,offset=0,lag=0`, of no server: who has told no port that it listens on serves nobody, and our
/// own connections besides acknowledge nothing but offset 0. A server without a port looks so too until it has loaded its first data.
fn only_reads(name: &str, value: &str) -> bool {
    let numbered = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let says = |what: &str| value.split(',').any(|part| part == what);
    name.strip_prefix("slave").is_some_and(numbered) && says("port=0") && says("offset=0")
}

/// `db0:keys=3,expires=1,avg_ttl=0`
fn keyspace(text: &str) -> BTreeMap<u64, Keyspace> {
    let line = |line: &str| -> Option<(u64, Keyspace)> {
        let (db, values) = line.trim_end().strip_prefix("db")?.split_once(':')?;
        let value =
            |name: &str| values.split(',').find_map(|v| v.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok());
        Some((db.parse().ok()?, Keyspace { keys: value("keys")?, expires: value("expires").unwrap_or(0) }))
    };
    text.lines().filter_map(line).collect()
}

pub(super) fn version_number(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|p| p.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    (part(), part(), part())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    //! INFO of the servers we know becomes the same facts.
    use super::*;

    #[test]
    fn valkey_tells_its_own_version() {
        let text = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\nrole:master\r\nmaxmemory:100\r\n\
                    # Keyspace\r\ndb0:keys=10,expires=2,avg_ttl=0\r\ndb7:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n";
        let facts = ServerFacts::from_info(text);
        assert_eq!((facts.flavor, facts.version_number), (Flavor::Valkey, (8, 1, 1)));
        assert_eq!((facts.key_count(), facts.maxmemory, facts.role), (11, 100, Role::Master));
    }

    #[test]
    fn who_only_reads_the_stream_is_no_replica() {
        let facts = ServerFacts::from_info(
            "role:master\r\nconnected_slaves:3\r\nslave0:ip=10.1.1.2,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
             slave1:ip=10.1.1.3,port=0,state=online,offset=0,lag=1\r\nslave2:ip=10.1.1.4,port=0,state=online,offset=99,lag=0,type=replica\r\n\
             slave_priority:100\r\n",
        );
        assert_eq!(facts.replicas, 2);
        assert_eq!(ServerFacts::from_info("role:master\r\nconnected_slaves:2\r\n").replicas, 2, "none is shown");
    }

    #[test]
    fn a_sentinel_is_known_by_either_name_of_its_mode() {
        assert!(
            is_sentinel("# Server\r\nredis_mode:sentinel\r\n") && is_sentinel("# Server\r\nserver_mode:sentinel\r\n")
        );
        assert!(!is_sentinel("redis_mode:standalone\r\nserver_mode:cluster\r\n"));
    }

    #[test]
    fn a_replica_names_its_master() {
        let facts = ServerFacts::from_info(
            "redis_version:6.2.16\r\nrole:slave\r\nmaster_host:10.1.1.1\r\nmaster_port:6379\r\nmaster_link_status:down\r\n",
        );
        let link = facts.master.unwrap();
        assert_eq!((link.host.as_str(), link.port, link.up), ("10.1.1.1", 6379, false));
        assert_eq!(facts.version_number, (6, 2, 16));
    }
}
