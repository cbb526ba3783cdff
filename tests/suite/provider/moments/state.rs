//! All that a server holds, read by commands: every key of every database with its expiry, fields of hashes with theirs, streams with
//! groups, consumers and what is pending, and the functions; beside the server's own digests, which see neither expiries nor groups.
//!
//! What a clock takes away is left out when two are compared: the moment passes whether it is restored or not.

use crate::support::{Redis, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// Fields of XINFO that a server does not tell its replicas, or not always: no log has them.
const UNTOLD: [&str; 6] = ["radix-tree-keys", "radix-tree-nodes", "seen-time", "active-time", "entries-read", "lag"];
/// What consumers are called that are made by name. Others may come to be in passing, and are told of once they are given something.
const MADE: &str = "made";
/// What HPEXPIRETIME says of a field that is not there: it has expired since it was read.
const GONE: i64 = -2;
/// Differences that are told, and characters of each side.
const TOLD: usize = 5;
const TOLD_CHARS: usize = 700;

/// A key.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    kind: String,
    /// When it expires, in milliseconds since 1970.
    expires: Option<i64>,
    /// Its value, where it is no hash.
    value: String,
    /// The fields of a hash, and when each expires.
    fields: BTreeMap<String, (String, Option<i64>)>,
    /// The server's digest of the value. A hash has none where fields can expire: one that has counts until it is removed.
    digest: String,
}

/// What a server holds.
#[derive(Debug, Clone)]
pub struct State {
    keys: BTreeMap<(u64, String), Key>,
    functions: Vec<String>,
    /// The server's digest of everything, where it counts nothing that has expired.
    whole: Option<String>,
}

/// What two were compared by.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// Keys, and fields of hashes, that one or both had and that have expired by now.
    pub expired: usize,
    /// Whether the server's digests of everything were equal too, which say nothing where a key has expired.
    pub whole: bool,
}

fn words(text: &str, more: &[&str]) -> Vec<String> {
    text.split(' ').chain(more.iter().copied()).map(str::to_owned).collect()
}

/// Sends commands in a database; their replies.
fn ask(redis: &Redis, db: u64, mut commands: Vec<Vec<String>>) -> Vec<Reply> {
    commands.insert(0, words(&format!("SELECT {db}"), &[]));
    redis.try_all(&commands).unwrap().split_off(1)
}

fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::List(items) => items.iter().map(Reply::text).collect(),
        other => vec![format!("{other:?}")],
    }
}

/// A reply as text, without what no replica is told.
fn data_of(reply: &Reply) -> String {
    let Reply::List(items) = reply else { return format!("{reply:?}") };
    let (mut out, mut items) = (Vec::new(), items.iter());
    while let Some(item) = items.next() {
        match item {
            Reply::Text(name) if UNTOLD.contains(&name.as_str()) => drop(items.next()),
            Reply::Text(name) if name == "consumers" => {
                let all = items.next().map_or(&[][..], |all| if let Reply::List(all) = all { all } else { &[] });
                out.extend(
                    all.iter().map(data_of).filter(|c| !c.contains("Text(\"pel-count\") Int(0)") || c.contains(MADE)),
                );
            }
            item => out.push(data_of(item)),
        }
    }
    format!("[{}]", out.join(" "))
}

/// When keys expire, to the millisecond. A server that does not tell the moment tells what is left of it: it is known where its clock
/// says the same before and after.
fn expiries(redis: &Redis, db: u64, keys: &[String]) -> Vec<Option<i64>> {
    let at = |n: i64| Some(n).filter(|n| *n >= 0);
    if redis.kind != "redis-6.2" {
        let asked = keys.iter().map(|key| words("PEXPIRETIME", &[key])).collect();
        return ask(redis, db, asked).iter().map(|reply| at(reply.text().parse().unwrap())).collect();
    }
    let mut found = vec![None; keys.len()];
    let mut left: BTreeSet<usize> = (0..keys.len()).collect();
    while !left.is_empty() {
        let asked = left.iter().flat_map(|i| [words("TIME", &[]), words("PTTL", &[&keys[*i]]), words("TIME", &[])]);
        let replies = ask(redis, db, asked.collect());
        let ms = |reply: &Reply| {
            let parts: Vec<i64> = texts(reply).iter().map(|n| n.parse().unwrap()).collect();
            parts[0] * 1000 + parts[1] / 1000
        };
        for (i, told) in left.clone().into_iter().zip(replies.chunks(3)) {
            let (before, rest, after) = (ms(&told[0]), told[1].text().parse::<i64>().unwrap(), ms(&told[2]));
            if rest < 0 || before == after {
                found[i] = at(rest).map(|rest| before + rest);
                left.remove(&i);
            }
        }
    }
    found
}

fn sorted(replies: &[Reply], text: impl Fn(&Reply) -> String) -> Vec<String> {
    let mut all: Vec<String> = replies.iter().map(text).collect();
    all.sort_unstable();
    all
}

/// The function libraries; those of a server that has none say so.
fn functions(redis: &Redis) -> Vec<String> {
    let Reply::List(libraries) = redis.try_run(&["FUNCTION", "LIST", "WITHCODE"]).unwrap() else { return Vec::new() };
    // Both they and the functions of each are listed in the order of a hash table.
    let functions = |part: &Reply| match part {
        Reply::List(items) if items.iter().all(|item| matches!(item, Reply::List(_))) => {
            sorted(items, data_of).join(" ")
        }
        part => data_of(part),
    };
    let library = |library: &Reply| match library {
        Reply::List(parts) => parts.iter().map(functions).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    };
    sorted(&libraries, library)
}

impl State {
    /// Reads a server to which nobody writes.
    pub fn read(redis: &Redis) -> Self {
        let has_field_expiries = !matches!(redis.kind.as_str(), "redis-6.2" | "redis-7.0" | "valkey-8.1");
        let dbs: Vec<u64> = redis
            .statistics()
            .iter()
            .map(|line| line.trim_start_matches("db").split(':').next().unwrap().parse().unwrap())
            .collect();
        let (mut keys, mut counted, mut listed) = (BTreeMap::new(), 0, 0);
        let digest = || redis.run(&["DEBUG", "DIGEST"]).text();
        let before = digest();
        for db in dbs {
            let first = ask(redis, db, vec![words("KEYS *", &[]), words("DBSIZE", &[])]);
            let names = texts(&first[0]);
            counted += first[1].text().parse::<usize>().unwrap();
            listed += names.len();
            let expire = expiries(redis, db, &names);
            let kinds = ask(redis, db, names.iter().map(|name| words("TYPE", &[name])).collect());
            let read = |(name, kind): (&String, &Reply)| {
                let value = match kind.text().as_str() {
                    "string" => words("GET", &[name]),
                    "list" => words("LRANGE", &[name, "0", "-1"]),
                    "set" => words("SMEMBERS", &[name]),
                    "zset" => words("ZRANGE", &[name, "0", "-1", "WITHSCORES"]),
                    "hash" => words("HGETALL", &[name]),
                    "stream" => words("XINFO STREAM", &[name, "FULL", "COUNT", "0"]),
                    // It has expired since it was listed.
                    _ => words("EXISTS", &[name]),
                };
                [value, words("HLEN", &[name]), words("DEBUG DIGEST-VALUE", &[name])]
            };
            let replies = ask(redis, db, names.iter().zip(&kinds).flat_map(read).collect());
            for (i, name) in names.iter().enumerate() {
                let (kind, told) = (kinds[i].text(), &replies[3 * i..3 * i + 3]);
                let (mut value, mut fields) = (String::new(), BTreeMap::new());
                match kind.as_str() {
                    "none" => {
                        counted += 1;
                        continue;
                    }
                    "hash" => {
                        fields = Self::fields(redis, db, name, &texts(&told[0]), has_field_expiries);
                        // Such a field counts in a digest, and is not told of any more.
                        counted += usize::from(told[1].text() != fields.len().to_string());
                    }
                    "set" => {
                        let mut members = texts(&told[0]);
                        members.sort_unstable();
                        value = members.join(" ");
                    }
                    _ => value = data_of(&told[0]),
                }
                let of_itself = kind != "hash" || !has_field_expiries;
                let digest = if of_itself { told[2].text() } else { String::new() };
                keys.insert((db, name.clone()), Key { kind, expires: expire[i], value, fields, digest });
            }
        }
        // Nothing was removed meanwhile either, for which a server takes its time.
        let whole = Some(digest()).filter(|after| counted == listed && *after == before);
        Self { keys, functions: functions(redis), whole }
    }

    fn fields(
        redis: &Redis,
        db: u64,
        name: &str,
        all: &[String],
        expire: bool,
    ) -> BTreeMap<String, (String, Option<i64>)> {
        let names: Vec<&str> = all.iter().step_by(2).map(String::as_str).collect();
        let mut at = vec![-1; names.len()];
        if expire && !names.is_empty() {
            let count = names.len().to_string();
            let asked = [&[name, "FIELDS", &count], &names[..]].concat();
            let told = texts(&ask(redis, db, vec![words("HPEXPIRETIME", &asked)])[0]);
            // A key that has gone since has no list of its fields.
            at = told.iter().map(|ms| ms.parse().unwrap_or(GONE)).collect();
            at.resize(names.len(), GONE);
        }
        let fields = all.chunks_exact(2).zip(at).filter(|(_, at)| *at != GONE);
        fields.map(|(pair, at)| (pair[0].clone(), (pair[1].clone(), Some(at).filter(|at| *at >= 0)))).collect()
    }

    /// Without what has expired at a moment, and how many keys and fields that were.
    fn at(&self, ms: i64) -> (BTreeMap<(u64, String), Key>, usize) {
        let (mut left, mut gone) = (BTreeMap::new(), 0);
        let passed = |at: Option<i64>| at.is_some_and(|at| at <= ms);
        for (name, key) in &self.keys {
            let mut key = key.clone();
            let fields = key.fields.len();
            key.fields.retain(|_, (_, at)| !passed(*at));
            gone += fields - key.fields.len();
            // With its last field a hash goes.
            if passed(key.expires) || (key.kind == "hash" && key.fields.is_empty()) {
                gone += 1;
                continue;
            }
            left.insert(name.clone(), key);
        }
        (left, gone)
    }

    /// Compares what a server held with what another held just before `now`. An expiry there may be later by so many milliseconds.
    ///
    /// # Errors
    /// The first keys that differ, each with both its sides.
    pub fn same_as(&self, restored: &Self, now: i64, later_by: i64) -> Result<Compared, String> {
        let ((then, gone), (mut there, vanished)) = (self.at(now), restored.at(now));
        if later_by > 0 {
            // What has expired there lives on here, for no longer than it did.
            let lived_on = |at: i64| at - later_by <= now;
            there.retain(|name, key| then.contains_key(name) || !key.expires.is_some_and(lived_on));
            for (name, key) in &mut there {
                if let (Some(was), Some(is)) = (then.get(name).and_then(|then| then.expires), key.expires)
                    && (was..=was + later_by).contains(&is)
                {
                    key.expires = Some(was);
                }
            }
        }
        let names: BTreeSet<_> = then.keys().chain(there.keys()).collect();
        let told = |key: Option<&Key>| format!("{key:?}").chars().take(TOLD_CHARS).collect::<String>();
        let differ: Vec<String> = names
            .into_iter()
            .filter(|name| then.get(name) != there.get(name))
            .map(|name| format!("{name:?}\n  was {}\n  is  {}", told(then.get(name)), told(there.get(name))))
            .collect();
        if !differ.is_empty() {
            let first: Vec<&str> = differ.iter().take(TOLD).map(String::as_str).collect();
            return Err(format!("{} keys differ at {now}, the first:\n{}", differ.len(), first.join("\n")));
        }
        if self.functions != restored.functions {
            return Err(format!("functions:\n  was {:?}\n  is  {:?}", self.functions, restored.functions));
        }
        let expired = gone.max(vanished);
        match (&self.whole, &restored.whole) {
            (Some(then), Some(there)) if expired == 0 && then != there => {
                Err(format!("every key is the same, and DEBUG DIGEST differs: was {then}, is {there}"))
            }
            (whole, also) => Ok(Compared { expired, whole: expired == 0 && whole.is_some() && also.is_some() }),
        }
    }
}
