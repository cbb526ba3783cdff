//! What a target removes of its own accord, expiries and evictions, is told from what clients delete: it voids no plan, it is counted,
//! and what has expired and is still there is told by its number.

use crate::provider::cutover::{Proxy, Tap, prepares};
use crate::support::{Bench, Redis, Reply, text, unattended, wait};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The number before these words of a message; 0 where it has them not.
fn number_before(message: &str, words: &str) -> u64 {
    message.split_once(words).map_or(0, |(before, _)| before.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Keys that were evicted behind the plan's safety backup are in it: it stays the last one, the end counts them, and the way back
/// brings them.
#[test]
fn what_was_evicted_is_in_the_plans_safety_backup() {
    for kind in ["redis-7.0", "valkey-9.1"] {
        let redis = Redis::start(kind, &["--maxmemory-policy", "allkeys-random"]);
        redis.run(&["DEBUG", "POPULATE", "2000", "k", "500"]);
        let bench = Bench::unattended(&redis);
        let backup = bench.backup();
        redis.run(&["DEBUG", "POPULATE", "3000", "more", "500"]);
        // The server tells nobody of what DEBUG makes.
        redis.run(&["SET", "marker", "1"]);
        let whole = redis.digest();
        let token = bench.token(&backup);
        let used: u64 = redis.info("used_memory").parse().unwrap();
        redis.run(&["CONFIG", "SET", "maxmemory", &(used - 300_000).to_string()]);
        let evicted = wait("evictions", Duration::from_secs(30), || {
            redis.info("evicted_keys").parse::<u64>().ok().filter(|n| *n > 0)
        });
        redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
        let all = redis.info("evicted_keys").parse::<u64>().unwrap();
        assert!(all >= evicted && redis.digest() != whole);
        let done = bench.run(&Bench::echo(&backup, &token));
        assert_eq!(done.code, 0, "{kind}: {done:?}");
        let message = text(&done.json()["message"]);
        assert!(message.contains("(of the plan); nothing was written after it"), "{kind}: {message}");
        assert_eq!(number_before(&message, " removals since were the server's own"), all, "{kind}: {message}");
        let back = bench.restore(&text(&done.json()["plan"]["safety_backup_id"]));
        assert_eq!((back.code, redis.digest()), (0, whole), "{kind}: {back:?}");
    }
}

/// What is evicted while a restore is prepared, behind its first look, is told by the server's own number.
#[test]
fn what_is_evicted_on_the_way_is_told() {
    let redis = Redis::start("redis-7.0", &["--maxmemory-policy", "allkeys-random"]);
    redis.run(&["DEBUG", "POPULATE", "5000", "k", "500"]);
    let evicts = Arc::new(Mutex::new(None));
    let squeezed = Arc::clone(&evicts);
    let tap: Tap = Arc::new(move |bytes| {
        if !prepares(bytes) {
            return;
        }
        let Some(redis): Option<Arc<Redis>> = squeezed.lock().unwrap().take() else { return };
        let used: u64 = redis.info("used_memory").parse().unwrap();
        redis.run(&["CONFIG", "SET", "maxmemory", &(used - 300_000).to_string()]);
        wait("evictions", Duration::from_secs(30), || (redis.info("evicted_keys") != "0").then_some(()));
        redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let redis = Arc::new(redis);
    *evicts.lock().unwrap() = Some(Arc::clone(&redis));
    let done = bench.run(&Bench::echo(&backup, &token));
    let evicted: u64 = redis.info("evicted_keys").parse().unwrap();
    assert!(evicts.lock().unwrap().is_none() && evicted > 0, "{done:?}");
    assert_eq!(done.code, 0, "{done:?}");
    let message = text(&done.json()["message"]);
    let told = message.split_once("meanwhile the server evicted ").map_or("", |(_, rest)| rest);
    assert!(told.starts_with(&format!("{evicted} keys to make room")), "{evicted}: {message}");
}

/// Fields and keys that expire behind the plan's safety backup void nothing, on servers that tell of them by commands of different kinds.
#[test]
fn what_expires_voids_no_plan() {
    for kind in ["redis-8.2", "valkey-9.1"] {
        let redis = Redis::start(kind, &[]);
        redis.run(&["SET", "stays", "1"]);
        let bench = Bench::unattended(&redis);
        let backup = bench.backup();
        for hash in ["h", "i"] {
            redis.run(&["HSET", hash, "f", "1", "g", "2"]);
        }
        let at = [("h", "f"), ("i", "f"), ("i", "g")];
        for (hash, field) in at {
            redis.run(&["HPEXPIRE", hash, "6000", "FIELDS", "1", field]);
        }
        redis.run(&["SET", "key", "1", "PX", "6000"]);
        let token = bench.token(&backup);
        wait("expiries", Duration::from_secs(30), || {
            (redis.run(&["EXISTS", "key", "i"]) == Reply::Int(0) && redis.run(&["HLEN", "h"]) == Reply::Int(1))
                .then_some(())
        });
        let done = bench.run(&Bench::echo(&backup, &token));
        assert_eq!(done.code, 0, "{kind}: {done:?}");
        let message = text(&done.json()["message"]);
        println!("{kind}: {message}");
        assert!(message.contains("(of the plan); nothing was written after it"), "{kind}: {message}");
    }
}

/// Clients delete keys, and statistics that are reset say as many write commands as before: the deletions are writes all the same.
#[test]
fn deletions_behind_reset_statistics_void_the_plan() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["DEBUG", "POPULATE", "100", "k", "10"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["CONFIG", "RESETSTAT"]);
    let token = bench.token(&backup);
    redis.run(&["DEL", "k:1", "k:2"]);
    redis.run(&["UNLINK", "k:3"]);
    redis.run(&["CONFIG", "RESETSTAT"]);
    let void = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((void.code, &void.json()["code"]), (3, &"plan.changed".into()), "{void:?}");
    assert!(text(&void.json()["message"]).contains("2 write commands"), "{void:?}");
    assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(97));
}

/// Of keys whose expiry has passed, each is told: as gone, or as one that the target counts until it deletes it. By the target's own
/// count and clock, whichever way they went in.
#[test]
fn every_expired_key_is_told() {
    for (kind, more) in
        [("redis-6.2", ""), ("redis-7.0", ""), ("valkey-9.1", ""), ("redis-8.2", "restore_way = \"commands\"")]
    {
        let redis = Redis::start(kind, &[]);
        redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        redis.run(&["EVAL", "for i = 1, 1000 do redis.call('SET', 's:' .. i, i, 'PX', 2500) end", "0"]);
        redis.run(&["EVAL", "for i = 1, 50 do redis.call('SET', 't:' .. i, i, 'EX', 5000) end", "0"]);
        redis.run(&["DEBUG", "POPULATE", "10", "k", "10"]);
        let bench = Bench::new(&unattended(&redis, more));
        let backup = bench.backup();
        redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
        wait("the expiry", Duration::from_secs(30), || {
            (redis.run(&["EXISTS", "s:1000"]) == Reply::Int(0)).then_some(())
        });
        for active in ["0", "1"] {
            redis.run(&["DEBUG", "SET-ACTIVE-EXPIRE", active]);
            let done = bench.restore(&backup);
            assert_eq!(done.code, 0, "{kind}: {done:?}");
            let message = text(&done.json()["message"]);
            println!("{kind} {more}: {message}");
            let gone = number_before(&message, " others of the backup had an expiry that has passed since");
            let counted = number_before(&message, " of those that are there have expired by the target's own clock");
            let keys = number_before(&message, " keys");
            assert_eq!((gone + counted, keys + gone), (1000, 1060), "{kind} {more}: {message}");
            if active == "0" && more.is_empty() {
                assert_eq!(counted, 1000, "{kind}: {message}");
            }
        }
    }
}

/// A target that evicts, and is given no time to free its old data, keeps all that was restored: the whole job goes through with its
/// limit out of force, and leaves the limit as it was.
#[test]
fn a_job_through_a_stalled_freeing() {
    let redis = Redis::start("redis-7.0", &["--maxmemory-policy", "allkeys-lru"]);
    redis.run(&["DEBUG", "POPULATE", "100000", "k", "60"]);
    let limit = (redis.info("used_memory").parse::<u64>().unwrap() * 13 / 10).to_string();
    let bench = Bench::new(&unattended(&redis, "free_stall_seconds = 0"));
    let backup = bench.backup();
    // A server that is faster than the look at it has freed everything by then.
    for round in 1..=10 {
        redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
        redis.run(&["DEBUG", "POPULATE", "1000000", "old", "60"]);
        let token = bench.token(&backup);
        // In force again only when nothing is written any more: the server would evict its old data at once.
        let child = bench.spawn(&Bench::echo(&backup, &token));
        wait("the target to follow us", Duration::from_secs(60), || (redis.info("role") == "slave").then_some(()));
        redis.run(&["CONFIG", "SET", "maxmemory", &limit]);
        let done = crate::support::finish(child);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!((redis.setting("maxmemory"), redis.info("evicted_keys")), (limit.clone(), "0".into()), "{done:?}");
        assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(100_000), "{done:?}");
        if done.err.contains("with its memory limit out of force") {
            return;
        }
        println!("round {round}: freed before the look");
    }
    panic!("the target always freed its old data before it was looked at");
}
