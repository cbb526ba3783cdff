//! The settings of a target that a restore changes, and whether a target can be restored through replication at all.
//!
//! The settings that were read can be put back, however often and however far the restore had come; but only what is still as
//! the restore set it, for everything else is somebody's later decision. The passwords among them must not be printed; and nobody
//! outside this room can change a setting.

use std::fmt;

use super::conn::Conn;
use super::error::RedisError;
use super::facts::{Role, ServerFacts};
use super::memory::Memory;
use super::prefix::ErrorPrefix;
use super::resp::Value;
use super::target::Refusal;
use crate::model::ids::hex;
use crate::model::secret::Secret;
use crate::model::text::clean;
use sha2::{Digest as _, Sha256};

/// The original values of all settings that a restore changes. To be stored before the restore begins.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Value of `repl-diskless-load`.
    pub repl_diskless_load: String,
    /// Value of `masterauth`; `None` where unset.
    pub masterauth: Option<Secret>,
    /// Value of `masteruser`; `None` where unset.
    pub masteruser: Option<String>,
    /// Value of `replica-read-only`.
    pub replica_read_only: String,
    /// Value of `maxmemory`, where the restore put it out of force; `None` where it did not.
    pub maxmemory: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("repl_diskless_load", &self.repl_diskless_load)
            .field("masterauth", &self.masterauth)
            .field("masteruser", &self.masteruser)
            .field("replica_read_only", &self.replica_read_only)
            .field("maxmemory", &self.maxmemory)
            .finish()
    }
}

/// What a restore sets, as far as it must be known to be told from what somebody else set later. Its password is kept as a digest:
/// the record outlives the restore, and the password lets whoever knows it be the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetByUs {
    /// SHA-256 of the one-time `masterauth`, in hexadecimal. The password is 128 random bits, so that nothing follows from it.
    pub masterauth_sha256: String,
}

impl SetByUs {
    /// What a restore with this one-time password sets.
    #[must_use]
    pub fn of(password: &Secret) -> Self {
        Self { masterauth_sha256: digest(password.expose()) }
    }

    /// Whether a setting has the value that the restore gave it.
    fn is(&self, name: &str, value: &str) -> bool {
        match name {
            MASTERAUTH => digest(value) == self.masterauth_sha256,
            MAXMEMORY => value == NO_LIMIT,
            name => PREPARED.iter().any(|(prepared, ours)| *prepared == name && *ours == value),
        }
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

const MASTERAUTH: &str = "masterauth";
const MAXMEMORY: &str = "maxmemory";
/// The value of `maxmemory` that is no limit.
const NO_LIMIT: &str = "0";
/// The settings that every restore gives the same value, in the order in which they are set; [`MASTERAUTH`] comes last.
const PREPARED: [(&str, &str); 3] =
    [("repl-diskless-load", "swapdb"), ("replica-read-only", "yes"), ("masteruser", "")];

/// Modules that declare both error handling and asynchronous loading, or have no data: `vectorset` is built in to Redis 8, and
/// `lua` is the scripting engine of Valkey 9.1.
const ASYNC_LOADING_MODULES: [&str; 2] = ["vectorset", "lua"];

/// Checks that the target can be restored by acting as its master. Replicas of its own (`facts.replicas`) are no
/// obstacle, but they are cut off and copy everything anew.
///
/// # Errors
/// [`RedisError::Refused`] with the reason, or what the connection refused.
pub async fn can_replicate_from_us(facts: &ServerFacts, conn: &mut Conn) -> Result<(), RedisError> {
    if facts.cluster_enabled {
        return Err(Refusal::Cluster.into());
    }
    if facts.role == Role::Replica {
        let master = facts.master.as_ref().map(|m| format!("{}:{}", clean(&m.host), m.port)).unwrap_or_default();
        return Err(Refusal::Replica { master }.into());
    }
    if facts.loading || facts.async_loading {
        return Err(RedisError::Loading { address: conn.label().to_owned() });
    }
    let diskless = match get(conn, "repl-diskless-load").await {
        Err(RedisError::Denied { message, .. } | RedisError::Server { message, .. }) => {
            return Err(Refusal::Config { message }.into());
        }
        other => other?,
    };
    let Some(diskless) = diskless else { return Err(Refusal::NoSwap { version: clean(&facts.version) }.into()) };
    // The same value again changes nothing, and shows the right to set one.
    if let Some(message) = refusal_of(conn, &["CONFIG", "SET", "repl-diskless-load", &diskless]).await? {
        return Err(Refusal::Config { message }.into());
    }
    // Rights are looked at before a port that is none is refused, so nothing is followed.
    if let Some(message) = refusal_of(conn, &["REPLICAOF", "NO", "PORT"]).await? {
        return Err(Refusal::ReplicaOf { message }.into());
    }
    if get(conn, "tls-replication").await?.as_deref() == Some("yes") {
        return Err(Refusal::TlsReplication.into());
    }
    let Some(modules) = &facts.modules else { return Err(Refusal::ModulesUnknown.into()) };
    let bad: Vec<String> =
        modules.iter().filter(|m| !ASYNC_LOADING_MODULES.contains(&m.as_str())).map(|m| clean(m)).collect();
    if !bad.is_empty() {
        return Err(Refusal::Modules { names: bad.join(", ") }.into());
    }
    Ok(())
}

/// Why a command cannot be run: the user may not, or there is none of that name. `None` where it was run, or refused for what it
/// says.
async fn refusal_of(conn: &mut Conn, command: &[&str]) -> Result<Option<String>, RedisError> {
    match conn.cmd_str(command).await {
        Err(
            RedisError::Denied { message, .. }
            | RedisError::Server { prefix: ErrorPrefix::UnknownCommand, message, .. },
        ) => Ok(Some(message)),
        Ok(_) | Err(RedisError::Server { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the original values.
///
/// # Errors
/// What the connection or the server refused.
pub(super) async fn read_settings(conn: &mut Conn) -> Result<Settings, RedisError> {
    let repl_diskless_load = required(conn, "repl-diskless-load").await?;
    let masterauth = get(conn, "masterauth").await?.filter(|p| !p.is_empty()).map(Secret::new);
    let masteruser = get(conn, "masteruser").await?.filter(|u| !u.is_empty());
    let replica_read_only = required(conn, "replica-read-only").await?;
    Ok(Settings { repl_diskless_load, masterauth, masteruser, replica_read_only, maxmemory: None })
}

/// Makes the target keep its old data until the new is whole, send our one-time password, and refuse writes while it
/// follows us. A crash in here leaves some of the settings changed: [`put_back`] undoes any part. Part of a session, which has
/// the grant.
pub(super) async fn prepare(conn: &mut Conn, password: &Secret) -> Result<(), RedisError> {
    for (name, value) in PREPARED {
        set(conn, name, value).await?;
        // Some services answer OK and change nothing. Without swapdb a transfer that breaks costs the old data.
        if value == "swapdb" && get(conn, name).await?.as_deref() != Some(value) {
            return Err(Refusal::Config { message: format!("{name} does not become {value}") }.into());
        }
    }
    set(conn, MASTERAUTH, password.expose()).await
}

/// Puts the target's memory limit out of force, which is in the stored record by then. Part of a session, which has the grant.
pub(super) async fn lift_memory_limit(conn: &mut Conn) -> Result<(), RedisError> {
    set(conn, MAXMEMORY, NO_LIMIT).await
}

/// What became of the settings that a restore had changed.
#[derive(Debug, Default)]
pub(super) struct PutBack {
    /// Names of those that have a third value by now: somebody else's, which is left alone.
    pub(super) left_alone: Vec<&'static str>,
    /// Whether the memory limit is still out of force, because the target would evict keys as soon as it had its limit again.
    pub(super) over_limit: bool,
}

/// Puts the original values back, of what is still as the restore set it. Idempotent; each setting is tried even when another
/// fails. Part of a roll-back, which has the grant. A memory limit waits until what the target holds fits into it.
///
/// A process that was started since has its settings from its own file. They are the restore's only where that file was written
/// anew meanwhile, as Sentinel does: then the one-time password is among them.
///
/// # Errors
/// The first failure.
pub(super) async fn put_back(
    conn: &mut Conn,
    settings: &Settings,
    ours: &SetByUs,
    same_process: bool,
) -> Result<PutBack, RedisError> {
    let masterauth = settings.masterauth.as_ref().map_or("", Secret::expose);
    let masteruser = settings.masteruser.as_deref().unwrap_or("");
    // The password comes last: it is what tells that the others are ours, should this be broken off.
    let originals = [
        ("masteruser", masteruser),
        ("repl-diskless-load", settings.repl_diskless_load.as_str()),
        ("replica-read-only", settings.replica_read_only.as_str()),
        (MASTERAUTH, masterauth),
    ];
    let changed_by_us = same_process || ours.is(MASTERAUTH, &required(conn, MASTERAUTH).await?);
    let ours = changed_by_us.then_some(ours);
    let (mut first, mut done) = (None, PutBack::default());
    if let Some(limit) = settings.maxmemory.as_deref() {
        let mut tried = whose(conn, MAXMEMORY, limit, ours).await;
        if matches!(tried, Ok(Whose::Ours)) {
            tried = match fits(conn, limit).await {
                Ok(true) => put_one_back(conn, MAXMEMORY, limit, ours).await,
                Ok(false) => {
                    done.over_limit = true;
                    Ok(Whose::Ours)
                }
                Err(error) => Err(error),
            };
        }
        done.took(MAXMEMORY, tried, &mut first);
    }
    for (name, original) in originals {
        if name == MASTERAUTH && !same_process && (first.is_some() || done.over_limit) {
            continue;
        }
        let tried = put_one_back(conn, name, original, ours).await;
        done.took(name, tried, &mut first);
    }
    first.map_or(Ok(done), Err)
}

/// Whose value a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Its original one. That needs no right to set it.
    Original,
    /// The one that the restore had set.
    Ours,
    /// A third one.
    Others,
}

impl PutBack {
    fn took(&mut self, name: &'static str, tried: Result<Whose, RedisError>, first: &mut Option<RedisError>) {
        match tried {
            Ok(Whose::Others) => self.left_alone.push(name),
            Ok(_) => {}
            // What cannot be read may be anybody's.
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
}

/// Whose value a setting has now; with `ours` of nothing, none can be the restore's.
async fn whose(conn: &mut Conn, name: &str, original: &str, ours: Option<&SetByUs>) -> Result<Whose, RedisError> {
    let now = required(conn, name).await?;
    Ok(match ours {
        _ if now == original => Whose::Original,
        Some(ours) if ours.is(name, &now) => Whose::Ours,
        _ => Whose::Others,
    })
}

/// Puts the original value of a setting back where it has the restore's, and tells whose it had.
async fn put_one_back(
    conn: &mut Conn,
    name: &str,
    original: &str,
    ours: Option<&SetByUs>,
) -> Result<Whose, RedisError> {
    let whose = whose(conn, name, original, ours).await?;
    if whose == Whose::Ours {
        set(conn, name, original).await?;
    }
    Ok(whose)
}

/// Whether the target would evict nothing, had it this limit again. What is no number is put back as it was.
async fn fits(conn: &mut Conn, limit: &str) -> Result<bool, RedisError> {
    let memory = Memory::read(conn).await?;
    Ok(limit.parse().map_or(true, |limit| memory.fits(limit)))
}

/// Seconds that the server waits for further replicas before it begins to send; zero where it does not wait. `None` where
/// the server does not say.
///
/// # Errors
/// What broke on the way.
pub async fn sync_delay(conn: &mut Conn) -> Result<Option<u64>, RedisError> {
    let mut found = Vec::new();
    for name in ["repl-diskless-sync", "repl-diskless-sync-delay"] {
        match get(conn, name).await {
            Ok(value) => found.push(value.unwrap_or_default()),
            Err(RedisError::Denied { .. } | RedisError::Server { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(match found.as_slice() {
        [diskless, delay] if diskless == "yes" => delay.parse().ok(),
        _ => Some(0),
    })
}

/// What a server grants its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// Replicas without which it takes no writes; the link alone counts.
    pub counted: u64,
    /// Bytes behind at which it drops a replica at once; 0: never.
    pub buffer: u64,
    /// Bytes behind which a replica may not stay for longer than so many seconds; 0: as long as it wants.
    pub soft: (u64, u64),
    /// Bytes of its backlog.
    pub backlog: u64,
}

/// Reads what a server grants its replicas; `None` where the user may not ask.
///
/// # Errors
/// The connection's.
pub async fn replica_settings(conn: &mut Conn) -> Result<Option<ReplicaSettings>, RedisError> {
    let mut found = Vec::new();
    for name in ["min-replicas-to-write", "client-output-buffer-limit", "repl-backlog-size"] {
        match get(conn, name).await {
            Ok(value) => found.push(value.unwrap_or_default()),
            Err(RedisError::Denied { .. } | RedisError::Server { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let [counted, limits, backlog] = found.as_slice() else { return Ok(None) };
    let number = |text: &str| text.parse().unwrap_or(0);
    // Classes with three numbers each: `normal 0 0 0 slave 268435456 67108864 60 pubsub …`.
    let mut words = limits.split_whitespace();
    let _class = words.by_ref().find(|word| matches!(*word, "slave" | "replica"));
    let mut limit = || words.next().map_or(0, number);
    Ok(Some(ReplicaSettings {
        counted: number(counted),
        buffer: limit(),
        soft: (limit(), limit()),
        backlog: number(backlog),
    }))
}

async fn required(conn: &mut Conn, name: &str) -> Result<String, RedisError> {
    let missing = || RedisError::Server {
        command: "CONFIG GET".to_owned(),
        prefix: ErrorPrefix::Other,
        message: format!("no setting {name}"),
    };
    get(conn, name).await?.ok_or_else(missing)
}

/// The value of a setting; `None` where the server does not have it.
pub(super) async fn get(conn: &mut Conn, name: &str) -> Result<Option<String>, RedisError> {
    match conn.cmd_str(&["CONFIG", "GET", name]).await? {
        Value::Array(pair) => match pair.get(1) {
            None => Ok(None),
            // What is not text could not be put back as it was, so the restore must not begin.
            Some(value) => match value.as_str() {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(conn.protocol(format!("the setting {name} is not text"))),
            },
        },
        _ => Err(conn.protocol("CONFIG GET gave no pair")),
    }
}

async fn set(conn: &mut Conn, name: &str, value: &str) -> Result<(), RedisError> {
    match conn.cmd_str(&["CONFIG", "SET", name, value]).await {
        Ok(_) => Ok(()),
        // The reply to a refused CONFIG SET may quote the value, which may be the password.
        Err(RedisError::Server { prefix, .. }) => Err(RedisError::Server {
            command: format!("CONFIG SET {name}"),
            prefix,
            message: "the server refused the value".to_owned(),
        }),
        Err(error) => Err(error),
    }
}
