//! A restore by commands beside the old data swaps everything in at one moment or leaves everything as it was, whatever fails and
//! whoever is in the way; and what a dead process has left is removed by its mark alone.

use crate::redis::fixture::{KIND, capture, facts, fill};
use crate::support::{KINDS, Redis, Reply};
use std::collections::BTreeMap;
use tair_backup_mcp::guard::plan::changed;
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::redis::conn::Conn;
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::moment::Moment;
use tair_backup_mcp::redis::rdb::walk;
use tair_backup_mcp::redis::replay::ReplayReport;
use tair_backup_mcp::redis::replay::beside::{Pair, Placement, Remains, partners, remove};
use tair_backup_mcp::redis::replay::encoder::RestoreEncoder;
use tair_backup_mcp::redis::replay::swap::load_beside;
use tokio::sync::mpsc;

const LIBRARY: &str = "#!lua name=mine\nredis.register_function('g', function() return 1 end)";

/// A target with keys in databases that the set has and has not, and a library.
fn target(kind: &str) -> Redis {
    let target = Redis::start(kind, &[]);
    target.run(&["SET", "old", "data"]);
    target.run_in(9, &["SET", "nine", "9"]);
    target.run(&["FUNCTION", "LOAD", LIBRARY]);
    target
}

async fn placement(target: &Redis, dbs: &[u64]) -> Placement {
    let keyspace = facts(target).await.keyspace;
    let pairs = partners(&mut target.conn().await, dbs.iter().copied(), &keyspace).await.unwrap().unwrap();
    Placement { id: "0123456789abcdef".into(), pairs }
}

/// A snapshot of one server, another one that it goes to, and where it goes there.
struct Case {
    source: Redis,
    data: Vec<u8>,
    target: Redis,
    /// The target's data and databases before anything was done.
    before: (String, BTreeMap<String, String>),
    placement: Placement,
}

impl Case {
    /// Every type, in two databases, with a library.
    async fn open(kind: &str) -> Self {
        let source = Redis::start(kind, &[]);
        fill(&source).await;
        Self::of(source, &[0, 3]).await
    }

    async fn of(source: Redis, dbs: &[u64]) -> Self {
        let (data, ..) = capture(&source.endpoint()).await.unwrap();
        let target = target(&source.kind);
        let (before, placement) = (state(&target), placement(&target, dbs).await);
        Self { source, data, target, before, placement }
    }
}

fn state(redis: &Redis) -> (String, BTreeMap<String, String>) {
    (redis.digest(), databases(redis))
}

/// Loads a snapshot; drops the old data where it was swapped in.
async fn load(
    data: Vec<u8>,
    placement: &Placement,
    target: &Redis,
    conn: &mut Conn,
    mut look: &mut (dyn FnMut(&Moment) -> Result<(), Fault> + Send + '_),
) -> Result<ReplayReport, RedisError> {
    let (to, frames) = mpsc::channel(4);
    let version = std::str::from_utf8(&data[5..9]).unwrap().parse().unwrap();
    let encoder = RestoreEncoder::new(to, version, std::env::temp_dir()).beside(placement.places());
    let reader = tokio::task::spawn_blocking(move || {
        walk(data.as_slice(), (), encoder).map(|walked| walked.visitor.finish()).map_err(|e| e.to_string())
    });
    let loaded =
        load_beside(target.scratch().overwrite(), &target.endpoint(), conn, placement, frames, &mut look, |_| ()).await;
    reader.await.unwrap().ok();
    match loaded {
        Ok(swapped) => swapped.drop_old(conn, placement).await,
        Err(error) => Err(error),
    }
}

/// The databases with keys, and how many.
fn databases(redis: &Redis) -> BTreeMap<String, String> {
    redis.statistics().iter().map(|l| l.split_once(':').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

/// Every type, in several databases, with libraries; databases and libraries that only the target had are gone, and nothing is left.
#[tokio::test]
async fn everything_is_swapped_in_at_once() {
    for kind in KINDS {
        let source = Redis::start(kind, &[]);
        fill(&source).await;
        source.run(&["SET", "huge", &"x".repeat(5 << 20)]);
        let Case { source, data, target, placement, .. } = Case::of(source, &[0, 3]).await;
        let mut seen = None;
        let mut look = |moment: &Moment| {
            seen = Some(moment.clone());
            Ok(())
        };
        let before = Moment::read(&mut target.conn().await, 0).await.unwrap();
        let report = load(data, &placement, &target, &mut target.conn().await, &mut look).await.unwrap();
        assert_eq!(report.keys, facts(&source).await.key_count(), "{kind}");
        assert_eq!(state(&target), state(&source), "{kind}");
        let seen = seen.unwrap();
        // Nobody else has written, so what the server has counted is this restore's own, and taken off.
        assert_eq!((seen.writes, &seen.run_id, seen.master), (before.writes, &before.run_id, true), "{kind}");
        assert_eq!(target.run(&["FCALL", "f", "0"]), Reply::Int(42), "{kind}");
    }
}

/// A set without libraries takes those of the target away.
#[tokio::test]
async fn libraries_that_the_set_has_not_go() {
    let source = Redis::start(KIND, &[]);
    source.run(&["SET", "only", "1"]);
    let Case { source, data, target, placement, .. } = Case::of(source, &[0]).await;
    load(data, &placement, &target, &mut target.conn().await, &mut |_| Ok(())).await.unwrap();
    assert_eq!(target.digest(), source.digest());
    assert_eq!(target.run(&["FUNCTION", "LIST"]), Reply::List(vec![]));
}

/// A moment that does not hold is swapped back: data, databases and libraries are as before, and writes that came between are told.
#[tokio::test]
async fn a_moment_that_does_not_hold_is_swapped_back() {
    for kind in KINDS {
        let Case { data, target, before, placement, .. } = Case::open(kind).await;
        let mut look = |_: &Moment| {
            // By now the new data is there, and somebody writes to it.
            assert_eq!(target.run_in(3, &["GET", "three"]).text(), "x");
            target.run(&["SET", "lost", "1"]);
            target.run(&["SET", "lost", "2"]);
            Err(changed("it was written to"))
        };
        let refused = load(data, &placement, &target, &mut target.conn().await, &mut look).await.unwrap_err();
        let fault = Fault::from(refused);
        assert_eq!(fault.code, "plan.changed");
        assert!(fault.message.contains("swapped back at once, and 2 write commands"), "{kind}: {}", fault.message);
        assert_eq!(state(&target), before, "{kind}");
        assert_eq!(target.run(&["FCALL", "g", "0"]), Reply::Int(1), "{kind}");
    }
}

/// A library that the target cannot load is found as everything is swapped in: swapped back, and the writes that came between are told.
#[tokio::test]
async fn a_swap_that_fails_as_it_runs_is_swapped_back() {
    let source = Redis::start("redis-7.0", &[]);
    let library = "#!lua name=old\nif redis.REDIS_VERSION_NUM >= 0x00080000 then local none = nil; none() end\n\
                   redis.register_function('f', function() return 1 end)";
    source.run(&["SET", "only", "1"]);
    source.run(&["FUNCTION", "LOAD", library]);
    let (data, ..) = capture(&source.endpoint()).await.unwrap();
    let target = target("redis-8.0");
    let (before, placement) = (state(&target), placement(&target, &[0]).await);
    let mut look = |_: &Moment| {
        target.run(&["SET", "lost", "1"]);
        Ok(())
    };
    let failed = load(data, &placement, &target, &mut target.conn().await, &mut look).await.unwrap_err();
    assert!(failed.to_string().contains("swapped back at once, and 1 write commands"), "{failed}");
    assert_eq!(state(&target), before, "{failed}");
    assert_eq!(target.run(&["FCALL", "g", "0"]), Reply::Int(1));
}

/// Whatever stops the load leaves the old data and nothing else: a value that is refused, a walk that breaks off, a memory that is
/// full, a right that goes.
#[tokio::test]
async fn a_load_that_fails_leaves_the_old_data_alone() {
    let Case { data, target, before, placement, .. } = Case::open(KIND).await;
    let full = target.info("used_memory").parse::<u64>().unwrap() + (200 << 10);
    let cases: [(&[&str], &[&str], usize, &str); 4] = [
        (&["PING"], &["PING"], data.len() / 2, "could not be read to its end"),
        (&["CONFIG", "SET", "maxmemory", &full.to_string()], &["CONFIG", "SET", "maxmemory", "0"], data.len(), "OOM"),
        (&["ACL", "SETUSER", "default", "-swapdb"], &["ACL", "SETUSER", "default", "+@all"], data.len(), "SWAPDB"),
        (&["ACL", "SETUSER", "default", "-function"], &["ACL", "SETUSER", "default", "+@all"], data.len(), "FUNCTION"),
    ];
    for (spoil, mend, bytes, says) in cases {
        let mut conn = target.conn().await;
        target.run(spoil);
        let part = data[..bytes].to_vec();
        let failed =
            load(part, &placement, &target, &mut conn, &mut |_| panic!("nothing to look at")).await.unwrap_err();
        target.run(mend);
        assert!(!matches!(failed, RedisError::Restore { .. }), "{failed:?}");
        assert!(failed.to_string().contains(says), "{says}: {failed}");
        assert_eq!(state(&target), before, "{says}");
    }
}

/// A database that somebody began to use is theirs; and one with keys is none to begin with.
#[tokio::test]
async fn a_database_that_is_used_is_left_alone() {
    let Case { data, target, placement, .. } = Case::open(KIND).await;
    assert_eq!(
        placement.pairs,
        [Pair { db: 0, beside: 1 }, Pair { db: 3, beside: 2 }, Pair { db: 9, beside: 4 }],
        "the first that are empty, none of them the set's or the target's"
    );
    target.run_in(2, &["SET", "theirs", "1"]);
    let before = target.digest();
    let mut conn = target.conn().await;
    let refused = load(data, &placement, &target, &mut conn, &mut |_| panic!("nothing to look at")).await.unwrap_err();
    assert_eq!(Fault::from(refused).code, "plan.changed");
    assert_eq!(target.digest(), before);
    let keyspace = facts(&target).await.keyspace;
    for (databases, fits) in [("6", true), ("5", true), ("4", false)] {
        let small = Redis::start(KIND, &["--databases", databases]);
        small.run(&["SET", "a", "1"]);
        let keyspace = facts(&small).await.keyspace;
        let found = partners(&mut small.conn().await, [1], &keyspace).await.unwrap();
        assert_eq!(found.is_some(), fits || databases == "4", "{databases}: {found:?}");
        let found = partners(&mut small.conn().await, [1, 2], &keyspace).await.unwrap();
        assert_eq!(found.is_some(), databases == "6", "{databases}: {found:?}");
    }
    assert!(partners(&mut target.conn().await, 0..8, &keyspace).await.unwrap().is_none());
}

/// What a dead process has left is removed where it carries the mark, told where it was swapped and nobody has looked, and left
/// alone where it carries another's mark or none.
#[tokio::test]
async fn what_is_left_is_removed_by_its_mark() {
    let Case { source, data, target, before, placement } = Case::open(KIND).await;
    let clear = async |placement: &Placement| {
        remove(target.scratch().roll_back(), &mut target.conn().await, placement).await.unwrap()
    };

    let endpoint = target.endpoint();

    // The process dies half way.
    let mut conn = target.conn().await;
    let (to, frames) = mpsc::channel(4);
    let part = data[..data.len() / 2].to_vec();
    let encoder = RestoreEncoder::new(to, 10, std::env::temp_dir()).beside(placement.places());
    let reader = tokio::task::spawn_blocking(move || walk(part.as_slice(), (), encoder).map(|_| ()).is_ok());
    let mut look = |_: &Moment| Ok(());
    {
        let mut loading = std::pin::pin!(load_beside(
            target.scratch().overwrite(),
            &endpoint,
            &mut conn,
            &placement,
            frames,
            &mut look,
            |_| ()
        ));
        // Until keys are there; what is dropped then is what a kill leaves.
        loop {
            tokio::select! {
                _ = &mut loading => panic!("it ended"),
                () = tokio::task::yield_now() => {}
            }
            if target.run_in(1, &["DBSIZE"]) != Reply::Int(0) && target.run_in(1, &["DBSIZE"]) != Reply::Int(1) {
                break;
            }
        }
    }
    drop(conn);
    reader.await.unwrap();
    let other = Placement { id: "another".into(), ..placement.clone() };
    assert_eq!(clear(&other).await, Remains::NotSwapped);
    assert_ne!(databases(&target), before.1, "another restore's mark is not this one's");
    assert_eq!(clear(&placement).await, Remains::NotSwapped);
    assert_eq!(state(&target), before);

    // The connection dies at the swap: the old data is kept, and it is said where.
    let mut conn = target.conn().await;
    let mut look = |_: &Moment| {
        target.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        Ok(())
    };
    let failed = load(data.clone(), &placement, &target, &mut conn, &mut look).await.unwrap_err();
    assert!(matches!(failed, RedisError::Restore { not_rolled_back: Some(_), .. }), "{failed:?}");
    assert_eq!(clear(&placement).await, Remains::Unjudged(placement.pairs.clone()));
    assert_eq!(target.run_in(1, &["GET", "old"]).text(), "data");
    assert_eq!(target.run_in(3, &["GET", "three"]).text(), "x");
    for pair in &placement.pairs {
        target.run(&["SWAPDB", &pair.db.to_string(), &pair.beside.to_string()]);
        target.run_in(pair.db, &["DEL", "tair-backup-mcp:beside"]);
        target.run_in(pair.beside, &["FLUSHDB"]);
    }
    target.run(&["FUNCTION", "FLUSH"]);
    target.run(&["FUNCTION", "LOAD", LIBRARY]);
    assert_eq!(state(&target), before);

    // It dies between the look and the end.
    let (to, frames) = mpsc::channel(4);
    let encoder = RestoreEncoder::new(to, 10, std::env::temp_dir()).beside(placement.places());
    let reader =
        tokio::task::spawn_blocking(move || walk(data.as_slice(), (), encoder).map(|w| w.visitor.finish()).is_ok());
    let mut conn = target.conn().await;
    let mut look = |_: &Moment| Ok(());
    load_beside(target.scratch().overwrite(), &endpoint, &mut conn, &placement, frames, &mut look, |_| ())
        .await
        .unwrap();
    assert!(reader.await.unwrap());
    assert_eq!(clear(&placement).await, Remains::Swapped);
    assert_eq!(state(&target), state(&source));
}
