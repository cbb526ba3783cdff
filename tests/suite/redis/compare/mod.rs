//! Proves that two states at rest are compared as two live servers would be: random data of every type on two engines, hostile keys, several
//! databases and expiries, against a naive comparison by commands; in bounds of memory and time; and that damage is told of its side.
//!
//! `COMPARE_ROUNDS` is how often each pair of engines is tried, `TEST_SEED` repeats a run.

mod bounds;
mod data;
mod naive;

use self::data::{Data, OTHER_ENCODINGS, STEP_MS, has_field_expiries, send};
use self::naive::{Difference, State, difference, prefix, read};
use crate::redis::fixture::fill;
use crate::redis::values::Random;
use crate::support::{Dice, Redis};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use tair_backup_mcp::model::impact::{ExampleKey, KeyCounts, KeyImpact};
use tair_backup_mcp::model::text::escaped;
use tair_backup_mcp::redis::compare::error::CompareError;
use tair_backup_mcp::redis::compare::{Only, Options, Sides, compare};

/// The engines of the state now and of the one to come.
const PAIRS: [(&str, &str); 8] = [
    ("redis-7.0", "redis-7.0"),
    ("redis-6.2", "redis-6.2"),
    ("redis-6.2", "redis-8.2"),
    ("redis-7.0", "redis-6.2"),
    ("redis-8.2", "redis-8.2"),
    ("valkey-9.1", "valkey-9.1"),
    ("valkey-9.1", "redis-8.2"),
    ("redis-7.0", "valkey-9.1"),
];

const DBS: [u64; 3] = [0, 3, 15];

/// What a server would save.
fn saved(server: &Redis) -> Vec<u8> {
    server.run(&["SAVE"]);
    std::fs::read(server.dir.path().join("dump.rdb")).unwrap()
}

fn options(dir: &Path) -> Options<'static> {
    Options { dir: dir.into(), at_ms: [0; 2], deadline: None, only: None }
}

fn compared(now: &[u8], then: &[u8], options: &Options<'_>) -> Result<KeyImpact, CompareError> {
    let opener = |rdb: &[u8]| {
        let rdb = rdb.to_vec();
        move || Ok(Box::new(std::io::Cursor::new(rdb.clone())) as Box<dyn Read + Send>)
    };
    compare(&Sides { now: &opener(now), then: &opener(then) }, options)
}

/// Every number and name agrees with the naive comparison.
fn agrees(impact: &KeyImpact, expected: &Difference, what: &str) {
    assert_eq!((impact.total, &impact.not_compared), (expected.total, &None), "{what}");
    let mut sum = KeyCounts::default();
    for row in &impact.rows {
        sum = sum.plus(row.counts);
        let Some(shown) = &row.prefix else { continue };
        let same = |(db, prefix): &&(u64, Option<Vec<u8>>)| {
            *db == row.db && prefix.as_ref().is_some_and(|prefix| escaped(prefix, 64) == *shown)
        };
        let of: Vec<_> = expected.rows.keys().filter(same).collect();
        assert_eq!(of.len(), 1, "{what}: row {row:?}");
        assert_eq!(row.counts, expected.rows[of[0]], "{what}: row {row:?}");
    }
    assert_eq!(sum, expected.total, "{what}: the rows are all keys");
    // No row that has a difference is missing, unless there are more than are told.
    let told = impact.rows.iter().filter(|row| row.prefix.is_some()).count();
    let different = expected.rows.iter().filter(|((_, p), c)| p.is_some() && c.different() + c.expired > 0).count();
    assert!(told == different || different > 64, "{what}: {told} rows of {different}");
    for (examples, of) in
        [(&impact.lost, &expected.lost), (&impact.changed, &expected.changed), (&impact.added, &expected.added)]
    {
        let known: BTreeSet<(u64, String)> = of.iter().map(|(db, key)| (*db, escaped(key, 64))).collect();
        assert_eq!(examples.len(), of.len().min(8), "{what}");
        for ExampleKey { db, key, .. } in examples {
            assert!(known.contains(&(*db, key.clone())), "{what}: {db} {key}");
        }
        assert!(examples.is_sorted_by(|a, b| a.bytes >= b.bytes), "{what}: {examples:?}");
    }
}

#[tokio::test]
async fn as_a_naive_comparison_by_commands() {
    let rounds = std::env::var("COMPARE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let dice = Dice::new("as_a_naive_comparison_by_commands");
    let dir = tempfile::tempdir().unwrap();
    let mut seen = KeyCounts::default();
    for round in 0..rounds {
        for (n, (now_kind, then_kind)) in PAIRS.into_iter().enumerate() {
            let what = format!("{now_kind} against {then_kind}, round {round}");
            let seed = dice.nth((round * PAIRS.len() + n) as u64).below(1 << 30) as u64;
            let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap() / STEP_MS * STEP_MS;
            let field_expiries = has_field_expiries(now_kind) && has_field_expiries(then_kind);
            let mut data = Data { random: Random(seed), now_ms, field_expiries };
            let other = if n % 2 == 0 { &OTHER_ENCODINGS[..] } else { &[] };
            let (now, then) = (Redis::start(now_kind, &[]), Redis::start(then_kind, other));
            let both: Vec<_> = (0..250).flat_map(|_| data.commands()).collect();
            send(&now, &both).await;
            send(&then, &both).await;
            // Between two multiples, so that no rounding decides.
            let at_ms = i64::try_from(now_ms + 8 * STEP_MS + STEP_MS / 2).unwrap();
            for (server, changes) in [(&now, 40), (&then, 60)] {
                let changes: Vec<_> = (0..changes).flat_map(|_| data.change()).collect();
                send(server, &changes).await;
            }
            let (state_now, state_then) = (read(&now, &DBS, at_ms).await, read(&then, &DBS, at_ms).await);
            let options = Options { at_ms: [at_ms; 2], ..options(dir.path()) };
            let (rdb_now, rdb_then) = (saved(&now), saved(&then));
            let expected = difference(&state_now, &state_then, |_| true);
            seen = seen.plus(expected.total);
            agrees(&compared(&rdb_now, &rdb_then, &options).unwrap(), &expected, &what);
            // Only some keys.
            let wanted = |key: &[u8]| key.starts_with(b"hash") || prefix(key).is_none();
            let some = Options { only: Some(Only { wanted: &wanted, goes: &|_| true, prefix: b"" }), ..options };
            let expected = difference(&state_now, &state_then, wanted);
            agrees(&compared(&rdb_now, &rdb_then, &some).unwrap(), &expected, &format!("{what}, only some"));
            // Beside what is there: what is called so now, and is not to come, stays.
            let called = |key: &[u8]| [b"list", key].concat();
            let there: State = state_now
                .iter()
                .filter(|((_, key), _)| key.starts_with(b"list"))
                .map(|(key, held)| (key.clone(), held.clone()))
                .collect();
            let mut after: State =
                state_then.iter().map(|((db, key), held)| ((*db, called(key)), held.clone())).collect();
            for (key, held) in there.iter().filter(|(_, held)| held.is_some()) {
                let come = after.entry(key.clone()).or_default();
                *come = come.take().or_else(|| held.clone());
            }
            let beside = Only { wanted: &|_| true, goes: &|_| false, prefix: b"list" };
            let beside = Options { at_ms: [at_ms; 2], only: Some(beside), ..self::options(dir.path()) };
            let expected = difference(&there, &after, |_| true);
            assert_eq!(compared(&rdb_now, &rdb_then, &beside).unwrap().total, expected.total, "{what}, beside");
            // Of one side by itself nothing differs, whatever has expired.
            let alone =
                compared(&rdb_then, &rdb_then, &Options { at_ms: [at_ms; 2], ..self::options(dir.path()) }).unwrap();
            agrees(&alone, &difference(&state_then, &state_then, |_| true), &format!("{what}, the second alone"));
        }
    }
    println!("{seen:?}");
    let KeyCounts { added, lost, changed, untouched, expired } = seen;
    assert!([added, lost, changed, untouched, expired].iter().all(|n| *n > 20), "too little is tried: {seen:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A server holds after a restart what it held before, however differently it writes that.
#[tokio::test]
async fn a_server_against_its_own_reload() {
    let dir = tempfile::tempdir().unwrap();
    for kind in crate::support::MATRIX {
        let mut server = Redis::start(kind, &[]);
        if kind == "redis-7.0" {
            fill(&server).await;
        }
        server.fill(3, 7);
        for key in ["shrunk:1", "shrunk:2"] {
            let fields: Vec<String> = (0..600).map(|n| format!("f{n}")).collect();
            let pairs: Vec<&str> = fields.iter().flat_map(|f| [f.as_str(), "v"]).collect();
            server.run(&[&["HSET", key], &pairs[..]].concat());
            server.run(&[&["HDEL", key], &fields.iter().skip(9).map(String::as_str).collect::<Vec<_>>()[..]].concat());
            server.run(&["SADD", &format!("set:{key}"), "a", "b", "c"]);
        }
        let before = saved(&server);
        server.restart();
        let after = saved(&server);
        let impact = compared(&before, &after, &options(dir.path())).unwrap();
        let KeyCounts { untouched, .. } = impact.total;
        assert_eq!(impact.total, KeyCounts { untouched, ..KeyCounts::default() }, "{kind}: {impact:?}");
        assert!(untouched > 100 && impact.lost.is_empty() && impact.changed.is_empty(), "{kind}: {impact:?}");
        assert!(before != after, "{kind}: the two are written alike, which proves nothing");
    }
}
