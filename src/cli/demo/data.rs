//! The data itself, read and damaged without our own server: the demo's proofs do not rely on the server's replies.

use super::failed;
use crate::config::home::Home;
use crate::model::fault::Fault;
use crate::model::ids::hex;
use crate::model::secret::Secret;
use crate::provider::local::sandbox::endpoint_in;
use crate::redis::conn::Conn;
use crate::redis::endpoint::Endpoint;
use crate::redis::error::RedisError;
use crate::redis::facts::key_counts;
use crate::redis::own_server::{self, port_of};
use crate::redis::resp::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// Time limit of a command: the sandbox is on this machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// Every key of every database, with a digest of its type, value and expiry.
pub type Keys = BTreeMap<(u64, Vec<u8>), String>;

/// What changed between two readings of the keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Number of keys equal in type, value and expiry.
    pub same: usize,
    /// Number of keys that no longer exist.
    pub gone: usize,
    /// Number of keys with another type, value or expiry.
    pub changed: usize,
    /// Number of keys that did not exist before.
    pub added: usize,
}

/// Compares two readings.
pub fn compare(before: &Keys, now: &Keys) -> Compared {
    let mut found = Compared::default();
    for (key, digest) in before {
        match now.get(key) {
            None => found.gone += 1,
            Some(other) if other == digest => found.same += 1,
            Some(_) => found.changed += 1,
        }
    }
    found.added = now.keys().filter(|k| !before.contains_key(*k)).count();
    found
}

/// The endpoint of the sandbox's server, by what is in its directory.
fn endpoint(home: &Home) -> Result<Endpoint, Fault> {
    let dir = home.sandbox();
    endpoint_in(&dir).ok_or_else(|| failed(format!("{} does not say where its server is", dir.display())))
}

/// A connection to the sandbox's server.
pub async fn connect(home: &Home) -> Result<Conn, Fault> {
    Ok(Conn::open(&endpoint(home)?, COMMAND_TIMEOUT).await?)
}

/// A connection to a clone with the password that lets a person look, and its port.
pub async fn connect_to_clone(home: &Home, id: &str) -> Result<(Conn, u16), Fault> {
    let dir = home.clones().join(id);
    let password = std::fs::read_to_string(dir.join("password")).ok();
    let (port, password) = port_of(&dir).zip(password).ok_or_else(|| failed(format!("{id} cannot be looked at")))?;
    Ok((Conn::open(&own_server::endpoint(port, None, Secret::new(password)), COMMAND_TIMEOUT).await?, port))
}

/// Reads every key.
pub async fn read(conn: &mut Conn) -> Result<Keys, Fault> {
    // From Redis 7.0 on the moment of expiry can be compared; before, only whether the key expires.
    let has_pexpiretime = match conn.cmd_str(&["PEXPIRETIME", "no such key"]).await {
        Ok(_) => true,
        Err(RedisError::Server { .. }) => false,
        Err(e) => return Err(e.into()),
    };
    let mut all = Keys::new();
    for db in key_counts(conn).await?.into_keys() {
        conn.cmd_str(&["SELECT", &db.to_string()]).await?;
        let names = scan(conn, "*").await?;
        let types = each(conn, &names, |key| vec![b"TYPE", key]).await?;
        let kinds: Vec<&str> = types.iter().map(|t| t.as_str().unwrap_or_default()).collect();
        let pairs: Vec<(&[u8], &str)> = names.iter().map(Vec::as_slice).zip(kinds.iter().copied()).collect();
        let values = each(conn, &pairs, |(key, kind)| whole(key, kind)).await?;
        let expiry_command: &[u8] = if has_pexpiretime { b"PEXPIRETIME" } else { b"PTTL" };
        let expiries = each(conn, &names, |key| vec![expiry_command, key]).await?;
        for (((name, kind), value), expiry) in names.iter().zip(&kinds).zip(values).zip(expiries) {
            let expiry = expiry.as_int().unwrap_or(-1);
            let expiry = if has_pexpiretime { expiry } else { i64::from(expiry >= 0) };
            let value = in_order(kind, value);
            let digest = hex(&Sha256::digest(format!("{kind} {expiry} {value:?}")));
            all.insert((db, name.clone()), digest);
        }
    }
    conn.cmd_str(&["SELECT", "0"]).await?;
    Ok(all)
}

/// The command that returns a key's whole value in a form that is equal for equal values. A DUMP is not, for types that are
/// hash tables inside: it holds their order in memory.
fn whole<'a>(key: &'a [u8], kind: &str) -> Vec<&'a [u8]> {
    match kind {
        "string" => vec![b"GET", key],
        "list" => vec![b"LRANGE", key, b"0", b"-1"],
        "set" => vec![b"SMEMBERS", key],
        "hash" => vec![b"HGETALL", key],
        "zset" => vec![b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        // Streams with their groups, and what modules bring.
        _ => vec![b"DUMP", key],
    }
}

fn in_order(kind: &str, value: Value) -> Value {
    let by_text = |a: &Value, b: &Value| format!("{a:?}").cmp(&format!("{b:?}"));
    match (kind, value) {
        ("set", Value::Array(mut members)) => {
            members.sort_by(by_text);
            Value::Array(members)
        }
        ("hash", Value::Array(fields)) => {
            let mut pairs: Vec<Value> = fields.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect();
            pairs.sort_by(by_text);
            Value::Array(pairs)
        }
        (_, value) => value,
    }
}

/// Sends one command for each item, pipelined; the replies in order.
async fn each<'a, T>(
    conn: &mut Conn,
    items: &'a [T],
    command: impl Fn(&'a T) -> Vec<&'a [u8]>,
) -> Result<Vec<Value>, Fault> {
    for item in items {
        conn.send(&command(item)).await?;
    }
    let mut replies = Vec::with_capacity(items.len());
    for _ in items {
        replies.push(conn.recv().await?);
    }
    Ok(replies)
}

/// Keys of the selected database that match a pattern.
async fn scan(conn: &mut Conn, pattern: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let mut cursor = "0".to_owned();
    let mut found = std::collections::BTreeSet::new();
    loop {
        let reply = conn.cmd_str(&["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000"]).await?;
        let Some([next, keys]) = reply.as_array() else { return Err(failed("SCAN gave no cursor")) };
        for key in keys.as_array().unwrap_or_default() {
            if let Value::Bulk(key) = key {
                found.insert(key.clone());
            }
        }
        next.as_str().unwrap_or("0").clone_into(&mut cursor);
        if cursor == "0" {
            return Ok(found.into_iter().collect());
        }
    }
}

/// Damages the data as a bad release might; returns the commands, for people.
pub async fn damage(conn: &mut Conn) -> Result<String, Fault> {
    let customers = scan(conn, "customer:*").await?;
    each(conn, &customers, |key| vec![b"DEL", key]).await?;
    let stock = scan(conn, "stock:*").await?;
    each(conn, &stock, |key| vec![b"SET", key, b"0"]).await?;
    conn.cmd_str(&["SET", "orders", "oops"]).await?;
    conn.cmd_str(&["SELECT", "1"]).await?;
    conn.cmd_str(&["FLUSHDB"]).await?;
    conn.cmd_str(&["SELECT", "0"]).await?;
    Ok(format!(
        "DEL of {} keys customer:*, SET of {} keys stock:* to 0, SET orders oops (it was a stream), FLUSHDB of db1",
        customers.len(),
        stock.len()
    ))
}
