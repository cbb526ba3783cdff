//! Commands behind a snapshot are applied by the target one for one, transactions whole, or the restore says that it is none: whoever
//! refuses one, leaves, or cannot show what it refused, is not called restored.

use crate::redis::fixture::{KIND, capture, facts, fill};
use crate::support::{MATRIX, Redis, Reply};
use std::time::Duration;
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::facts::Role;
use tair_backup_mcp::redis::inventory::unknown_commands;
use tair_backup_mcp::redis::master::cutover::OwnServer;
use tair_backup_mcp::redis::master::session::Session;
use tair_backup_mcp::redis::master::shift::StreamShift;
use tair_backup_mcp::redis::master::types::{MasterOptions, Replayed, Restored, Step, Supply};
use tair_backup_mcp::redis::resp::encode;
use tair_backup_mcp::redis::target::TargetState;
use tokio::sync::mpsc;

/// A command as a master's stream has it, its arguments between spaces.
fn command(words: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
    out
}

fn stream(commands: &[&str]) -> Vec<u8> {
    commands.iter().flat_map(|words| command(words)).collect()
}

/// Supplies a snapshot, the chunks of a stream, each after its delay, and the end.
fn supply(data: Vec<u8>, chunks: Vec<(Duration, Vec<u8>)>, last: Supply) -> mpsc::Receiver<Supply> {
    let (to, from) = mpsc::channel(2);
    tokio::spawn(async move {
        to.send(Supply::Chunk(data)).await.ok();
        to.send(Supply::StreamFollows).await.ok();
        for (delay, chunk) in chunks {
            tokio::time::sleep(delay).await;
            if to.send(Supply::Stream { bytes: chunk, whole: true }).await.is_err() {
                return;
            }
        }
        to.send(last).await.ok();
    });
    from
}

fn at_once(chunks: Vec<Vec<u8>>) -> Vec<(Duration, Vec<u8>)> {
    chunks.into_iter().map(|chunk| (Duration::ZERO, chunk)).collect()
}

async fn restore(
    target: &Redis,
    supply: mpsc::Receiver<Supply>,
    on_step: impl FnMut(Step),
) -> Result<Restored, RedisError> {
    let options = MasterOptions { rollback_within: Duration::from_secs(5), ..MasterOptions::default() };
    let session = Session::prepare(&target.endpoint(), options).await.unwrap();
    session.run(target.scratch().overwrite(), supply, &mut OwnServer::of(&target.scratch()), on_step).await
}

/// A field of a hash whose expiry was taken away stays, however late that is replayed. A server of Redis itself forgets the field there, as
/// its own replica that lags, or from its own file.
#[tokio::test]
async fn a_field_that_no_longer_expires_stays() {
    for kind in ["redis-8.0", "redis-8.2", "valkey-9.1"] {
        let source = Redis::start(kind, &[]);
        source.run(&["SET", "base", "1"]);
        let (data, ..) = capture(&source.endpoint()).await.unwrap();
        let log = stream(&[
            "SELECT 0",
            "HSET h f 1 g 2",
            "HSET only f 1",
            "HPEXPIREAT h 1000000000000 FIELDS 2 f g",
            "HPEXPIREAT only 1000000000000 FIELDS 1 f",
            "MULTI",
            "HPERSIST h FIELDS 2 f none",
            "HPERSIST only FIELDS 1 f",
            "EXEC",
        ]);
        let (mut shift, mut moved) = (StreamShift::new(0, false), Vec::new());
        shift.feed(&log, 0, &mut moved).unwrap();
        let target = Redis::start(kind, &[]);
        restore(&target, supply(data, at_once(vec![moved]), Supply::Done), |_| ()).await.unwrap();
        assert_eq!(target.run(&["HGETALL", "h"]).text(), "f 1", "{kind}");
        assert_eq!(target.run(&["HGETALL", "only"]).text(), "f 1", "{kind}");
        assert_eq!(target.run(&["HPTTL", "h", "FIELDS", "1", "f"]).text(), "-1", "{kind}");
    }
}

/// Whatever a stream has, its target ends up as a server that was sent the same by a client, on every engine.
#[tokio::test]
async fn a_target_applies_the_stream_behind_its_snapshot() {
    let commands = [
        "SELECT 3",
        "SET three y",
        "SELECT 0",
        "MULTI",
        "INCRBY n 7",
        "RPUSH list 5",
        "EXEC",
        "PEXPIREAT hash 4102444800000",
        "XADD stream 2-1 k w",
        "SELECT 5",
        "ZADD other 2 b",
        "SWAPDB 5 6",
        "DEL nothing",
        "SELECT 0",
        "RENAME words more",
    ];
    for kind in MATRIX {
        let (source, target) = (Redis::start(kind, &[]), Redis::start(kind, &["--appendonly", "yes"]));
        source.run(&["DEBUG", "POPULATE", "2000", "str", "20"]);
        for words in ["SET n 5", "RPUSH list a", "HSET hash f v", "XADD stream 1-1 k v", "SADD words a b"] {
            source.run(&words.split(' ').collect::<Vec<_>>());
        }
        target.run(&["SET", "old", "data"]);
        let (data, ..) = capture(&source.endpoint()).await.unwrap();
        // More than sockets hold, so that the target sets the pace.
        let many: Vec<u8> = (0..200_000).flat_map(|i| command(&format!("SET many:{} {i:040}", i % 1000))).collect();
        let mut bytes = 0;
        let chunks: Vec<Vec<u8>> = [stream(&commands), many].into();
        bytes += chunks.iter().map(Vec::len).sum::<usize>() as u64;
        let mut steps = Vec::new();
        let restored = restore(&target, supply(data, at_once(chunks), Supply::Done), |s| steps.push(s)).await.unwrap();
        assert_eq!(restored.replayed, Some(Replayed { bytes }), "{kind}");
        assert_eq!(
            steps.iter().rfind(|s| matches!(s, Step::Replaying { .. })),
            Some(&Step::Replaying { sent: bytes, applied: bytes })
        );
        let all: Vec<Vec<String>> = commands.iter().map(|c| c.split(' ').map(str::to_owned).collect()).collect();
        source.try_all(&all).unwrap();
        let many = (199_000..200_000).map(|i| vec!["SET".into(), format!("many:{}", i % 1000), format!("{i:040}")]);
        source.try_all(&many.collect::<Vec<_>>()).unwrap();
        assert_eq!(target.digest(), source.digest(), "{kind}");
        assert_eq!(target.statistics(), source.statistics(), "{kind}");
        assert_eq!(facts(&target).await.role, Role::Master);
        target.run(&["SET", "writable", "again"]);
    }
}

/// A supplier that has nothing for longer than the target waits for its master does not lose it.
#[tokio::test]
async fn a_silent_supplier_does_not_lose_the_target() {
    let source = Redis::start(KIND, &[]);
    source.run(&["SET", "n", "5"]);
    let (data, ..) = capture(&source.endpoint()).await.unwrap();
    let target = Redis::start(KIND, &["--repl-timeout", "2"]);
    let chunks = vec![
        (Duration::ZERO, stream(&["SELECT 0", "MULTI", "INCR n"])),
        (Duration::from_secs(5), stream(&["INCR n", "EXEC"])),
    ];
    let bytes = chunks.iter().map(|(_, chunk)| chunk.len() as u64).sum::<u64>();
    let restored = restore(&target, supply(data, chunks, Supply::Done), |_| ()).await.unwrap();
    assert!(restored.replayed.unwrap().bytes > bytes, "{restored:?}");
    assert_eq!(target.run(&["GET", "n"]), Reply::Text("7".into()));
}

/// How a restore with a stream ended: the state of the target, and the fault with its code and words.
fn end(error: RedisError) -> (TargetState, Fault) {
    let RedisError::Restore { state, not_rolled_back, source } = &error else { panic!("{error:?}") };
    assert!(not_rolled_back.is_none() || *state == TargetState::Gone, "{not_rolled_back:?}");
    assert!(matches!(**source, RedisError::Stream { .. }), "{source:?}");
    (*state, Fault::from(error))
}

/// A target drops what it refuses and goes on: that is found on every engine, named where the server names it, and no restore.
#[tokio::test]
async fn one_refused_command_is_no_restore() {
    for kind in MATRIX {
        let source = Redis::start(kind, &[]);
        source.run(&["SET", "n", "5"]);
        let (data, ..) = capture(&source.endpoint()).await.unwrap();
        for (refused, name) in [("SET n 6 NOSUCHOPTION", Some("set")), ("LPUSH n x", Some("lpush")), ("NOSUCH n", None)]
        {
            let target = Redis::start(kind, &[]);
            target.run(&["SET", "old", "data"]);
            let chunks = at_once(vec![stream(&["SELECT 0", "INCR n", refused, "INCR n"])]);
            let error = restore(&target, supply(data.clone(), chunks, Supply::Done), |_| ()).await.unwrap_err();
            let (state, fault) = end(error);
            assert_eq!((state, fault.code), (TargetState::Unfinished, "restore.command_refused"), "{fault}");
            let named = name.map(|name| format!(" ({name})")).unwrap_or_default();
            let told = format!("refused 1 commands of the log{named}, after");
            assert!(fault.message.contains(&told), "{kind}: {refused}: {}", fault.message);
            assert!(fault.message.contains("NOT restored"), "{}", fault.message);
            assert_eq!(facts(&target).await.role, Role::Master);
        }
    }
}

/// A stream that does not come to its end, a target that ends, and counters that begin anew are no restore either.
#[tokio::test]
async fn what_breaks_a_stream_is_told() {
    let source = Redis::start(KIND, &[]);
    fill(&source).await;
    let (data, ..) = capture(&source.endpoint()).await.unwrap();
    let half = at_once(vec![stream(&["SELECT 0", "INCR n"])]);

    let target = Redis::start(KIND, &[]);
    let failing = supply(data.clone(), half.clone(), Supply::Failed("a segment is damaged".into()));
    let (state, fault) = end(restore(&target, failing, |_| ()).await.unwrap_err());
    assert_eq!((state, fault.code), (TargetState::Unfinished, "restore.source_failed"));
    assert!(fault.message.contains("a segment is damaged"), "{}", fault.message);

    let target = Redis::start(KIND, &[]);
    let reset = |step| {
        if matches!(step, Step::Replaying { .. }) {
            target.run(&["CONFIG", "RESETSTAT"]);
        }
    };
    let whole = supply(data.clone(), half.clone(), Supply::Done);
    let (state, fault) = end(restore(&target, whole, reset).await.unwrap_err());
    assert_eq!((state, fault.code), (TargetState::Unfinished, "restore.replay_unproven"));

    let target = Redis::start(KIND, &[]);
    let ends = |step| {
        if matches!(step, Step::Replaying { .. }) {
            target.try_run(&["SHUTDOWN", "NOSAVE"]).ok();
        }
    };
    let (state, fault) = end(restore(&target, supply(data, half, Supply::Done), ends).await.unwrap_err());
    assert_eq!((state, fault.code), (TargetState::Gone, "restore.replay_broken"));
}

/// What a server lacks, or knows by another name only, is unknown to it, however the log spells it.
#[tokio::test]
async fn a_renamed_command_is_unknown() {
    for kind in MATRIX {
        let server = Redis::start(kind, &["--rename-command", "APPEND", "HIDDEN"]);
        let names = ["set", "SADD", "append", "no-such-command", "xadd"].map(String::from).into();
        let mut unknown = unknown_commands(&mut server.conn().await, &names).await.unwrap();
        unknown.sort_unstable();
        assert_eq!(unknown, ["append", "no-such-command"], "{kind}");
    }
}
