//! The naive comparison: both servers are asked for every key and all it holds, by the commands of each type, and what they say is compared.

use super::data::{STEP_MS, has_field_expiries};
use crate::support::Redis;
use std::collections::{BTreeMap, BTreeSet};
use tair_backup_mcp::model::impact::KeyCounts;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::resp::Value;

/// All that a server holds at a moment: what each key holds, as text, or `None` where it will have expired.
pub type State = BTreeMap<(u64, Vec<u8>), Option<String>>;

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes.clone(),
        Value::Simple(text) => text.clone().into_bytes(),
        Value::Int(n) => n.to_string().into_bytes(),
        other => panic!("{other:?}"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value:?}"))
}

async fn ask(conn: &mut Conn, words: &[&[u8]]) -> Value {
    let reply = conn.cmd(words).await.unwrap();
    assert!(!matches!(reply, Value::Error(_)), "{reply:?}");
    reply
}

/// What is relative to the server's clock, as the multiple of a step that was meant.
fn rounded(ms: i64) -> i64 {
    let step = i64::try_from(STEP_MS).unwrap();
    (ms + step / 2) / step * step
}

/// Reads a server.
pub async fn read(server: &Redis, dbs: &[u64], at_ms: i64) -> State {
    let mut conn = server.conn().await;
    let mut state = State::new();
    for db in dbs {
        ask(&mut conn, &[b"SELECT", db.to_string().as_bytes()]).await;
        for key in list(&ask(&mut conn, &[b"KEYS", b"*"]).await) {
            let key = bytes(key);
            let ttl = ask(&mut conn, &[b"PTTL", &key]).await.as_int().unwrap();
            let expiry = if ttl < 0 { None } else { Some(rounded(clock(&mut conn).await + ttl)) };
            let value = value(&mut conn, server, &key, at_ms).await;
            let there = expiry.is_none_or(|expiry| expiry > at_ms);
            let value = value.filter(|_| there).map(|value| format!("{expiry:?} {value}"));
            state.insert((*db, key), value);
        }
    }
    state
}

async fn clock(conn: &mut Conn) -> i64 {
    let time = ask(conn, &[b"TIME"]).await;
    let part = |n: usize| String::from_utf8(bytes(&list(&time)[n])).unwrap().parse::<i64>().unwrap();
    part(0) * 1000 + part(1) / 1000
}

async fn value(conn: &mut Conn, server: &Redis, key: &[u8], at_ms: i64) -> Option<String> {
    let kind = String::from_utf8(bytes(&ask(conn, &[b"TYPE", key]).await)).unwrap();
    let said = match kind.as_str() {
        "string" => format!("{:?}", bytes(&ask(conn, &[b"GET", key]).await)),
        "list" => format!("{:?}", ask(conn, &[b"LRANGE", key, b"0", b"-1"]).await),
        "set" => {
            let all: BTreeSet<Vec<u8>> = list(&ask(conn, &[b"SMEMBERS", key]).await).iter().map(bytes).collect();
            format!("{all:?}")
        }
        "zset" => {
            let all = ask(conn, &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]).await;
            let pairs: BTreeMap<Vec<u8>, u64> = list(&all)
                .chunks(2)
                .map(|pair| {
                    let score: f64 = String::from_utf8(bytes(&pair[1])).unwrap().parse().unwrap();
                    (bytes(&pair[0]), (score + 0.0).to_bits())
                })
                .collect();
            format!("{pairs:?}")
        }
        "hash" => {
            let all = ask(conn, &[b"HGETALL", key]).await;
            let mut fields = BTreeMap::new();
            for pair in list(&all).chunks(2) {
                let (field, value) = (bytes(&pair[0]), bytes(&pair[1]));
                let mut expiry = -1;
                if has_field_expiries(&server.kind) {
                    let told = ask(conn, &[b"HPEXPIRETIME", key, b"FIELDS", b"1", &field]).await;
                    expiry = list(&told)[0].as_int().unwrap();
                }
                if expiry < 0 || expiry > at_ms {
                    fields.insert(field, (value, expiry));
                }
            }
            if fields.is_empty() {
                return None;
            }
            format!("{fields:?}")
        }
        "stream" => stream(conn, key).await,
        other => panic!("{other}"),
    };
    Some(format!("{kind} {said}"))
}

async fn stream(conn: &mut Conn, key: &[u8]) -> String {
    let mut said = format!("{:?}", ask(conn, &[b"XRANGE", key, b"-", b"+"]).await);
    let info = ask(conn, &[b"XINFO", b"STREAM", key]).await;
    let last = list(&info).iter().position(|word| bytes_of(word) == b"last-generated-id").unwrap();
    said += &format!("{:?}", list(&info)[last + 1]);
    for group in list(&ask(conn, &[b"XINFO", b"GROUPS", key]).await) {
        let group = list(group);
        let of = |name: &[u8]| &group[group.iter().position(|word| bytes_of(word) == name).unwrap() + 1];
        let name = bytes(of(b"name"));
        said += &format!("{name:?} {:?}", of(b"last-delivered-id"));
        for consumer in list(&ask(conn, &[b"XINFO", b"CONSUMERS", key, &name]).await) {
            said += &format!("{:?}", list(consumer)[1]);
        }
        let now = clock(conn).await;
        for pending in list(&ask(conn, &[b"XPENDING", key, &name, b"-", b"+", b"10000"]).await) {
            let pending = list(pending);
            let delivered = rounded(now - pending[2].as_int().unwrap());
            said += &format!("{:?} {:?} {delivered} {:?}", pending[0], pending[1], pending[3]);
        }
    }
    said
}

fn bytes_of(value: &Value) -> Vec<u8> {
    if let Value::Bulk(bytes) = value { bytes.clone() } else { Vec::new() }
}

/// What a key begins with, for its row.
pub fn prefix(key: &[u8]) -> Option<&[u8]> {
    let head = &key[..key.len().min(64)];
    for separators in [&b":"[..], b"/|.-_#"] {
        if let Some(at) = head.iter().position(|byte| separators.contains(byte)) {
            return Some(&head[..=at]);
        }
    }
    (key.len() <= 64).then_some(key)
}

/// What becomes of every key.
#[derive(Default)]
pub struct Difference {
    pub total: KeyCounts,
    pub rows: BTreeMap<(u64, Option<Vec<u8>>), KeyCounts>,
    pub lost: BTreeSet<(u64, Vec<u8>)>,
    pub changed: BTreeSet<(u64, Vec<u8>)>,
    pub added: BTreeSet<(u64, Vec<u8>)>,
}

/// Compares two servers' keys, of those that are wanted.
pub fn difference(now: &State, then: &State, wanted: impl Fn(&[u8]) -> bool) -> Difference {
    let mut found = Difference::default();
    let all: BTreeSet<&(u64, Vec<u8>)> = now.keys().chain(then.keys()).filter(|(_, key)| wanted(key)).collect();
    for key in all {
        let place = (key.0, prefix(&key.1).map(<[u8]>::to_vec));
        for counts in [&mut found.total, found.rows.entry(place).or_default()] {
            match (now.get(key).cloned().flatten(), then.get(key).cloned().flatten()) {
                (Some(a), Some(b)) if a == b => counts.untouched += 1,
                (Some(_), Some(_)) => {
                    counts.changed += 1;
                    found.changed.insert(key.clone());
                }
                (Some(_), None) => {
                    counts.lost += 1;
                    found.lost.insert(key.clone());
                }
                (None, Some(_)) => {
                    counts.added += 1;
                    found.added.insert(key.clone());
                }
                (None, None) => counts.expired += 1,
            }
        }
    }
    found
}
