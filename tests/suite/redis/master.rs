//! A restore as the target's master gives the same data and leaves the target's settings as they were; and whatever goes wrong
//! on the way, the old data is still there, or the error says that it is not.

use crate::redis::fixture::{KIND, capture, facts, fill, supply};
use crate::support::{Redis, Reply, free_port};
use std::time::Duration;
use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::facts::Role;
use tair_backup_mcp::redis::master::cutover::{BeforeStream, OwnServer, RollbackStore};
use tair_backup_mcp::redis::master::rollback::{Found, RolledBack, roll_back};
use tair_backup_mcp::redis::master::session::Session;
use tair_backup_mcp::redis::master::types::{MasterOptions, RollbackRecord, Step, Switched};
use tair_backup_mcp::redis::target::TargetState;
use tair_backup_mcp::state::jobs::taken_over;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Settings of the target's own, which a restore must put back.
async fn originals(server: &Redis) {
    for (name, value) in [("masterauth", "old secret"), ("masteruser", "olduser"), ("repl-diskless-load", "disabled")] {
        server.run(&["CONFIG", "SET", name, value]);
    }
}

async fn assert_as_before(server: &Redis) {
    assert_eq!(server.setting("masterauth"), "old secret");
    assert_eq!(server.setting("masteruser"), "olduser");
    assert_eq!(server.setting("repl-diskless-load"), "disabled");
    assert_eq!(server.setting("replica-read-only"), "yes");
    assert_eq!(facts(server).await.role, Role::Master);
}

fn state(error: &RedisError) -> (TargetState, Option<&str>, &RedisError) {
    match error {
        RedisError::Restore { state, not_rolled_back, source } => (*state, not_rolled_back.as_deref(), source),
        other => panic!("not a failed restore: {other:?}"),
    }
}

/// The data arrives whole in a target that had other data, replicas, a password and settings of its own.
#[tokio::test]
async fn restore_as_master_gives_the_same_data() {
    let source = Redis::start(KIND, &[]);
    fill(&source).await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Redis::start(KIND, &["--requirepass", "p w", "--appendonly", "yes"]);
    target.run(&["DEBUG", "POPULATE", "20000", "old"]);
    originals(&target).await;

    let options = MasterOptions { total: Some(data.len() as u64), ..MasterOptions::default() };
    let session = Session::prepare(&target.endpoint(), options).await.unwrap();
    assert!(!format!("{session:?}").contains("old secret") && !format!("{session:?}").contains("p w"));
    let mut steps = Vec::new();
    let total = data.len() as u64;
    let restored = session
        .run(target.scratch().overwrite(), supply(data, None), &mut OwnServer::of(&target.scratch()), |s| steps.push(s))
        .await
        .unwrap();
    assert_eq!(restored.sent, total);
    steps.dedup_by_key(|s| std::mem::discriminant(s));
    let named = |s: &Step| format!("{s:?}").split(' ').next().unwrap().to_owned();
    let names: Vec<String> = steps.iter().map(named).collect();
    assert_eq!(
        names,
        ["SettingsSaved", "Switched", "Refusing", "Connected", "Streaming", "Loaded", "Promoted", "Restored"]
    );

    assert_eq!(target.digest(), source.digest());
    assert_eq!(target.run(&["FCALL", "f", "0"]), Reply::Int(42));
    assert_as_before(&target).await;
    target.run(&["SET", "writable", "again"]);
}

/// Data that turns out bad on the way is never completed: the old data stays, at whatever point it happens.
#[tokio::test]
async fn restore_from_a_failing_supplier_keeps_the_old_data() {
    let source = Redis::start(KIND, &["--rdbcompression", "no"]);
    source.run(&["DEBUG", "POPULATE", "200", "big", "100000"]);
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    originals(&target).await;
    let before = target.digest();
    for fail_at in [0, 1, data.len() / 2, data.len()] {
        let session = Session::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
        let error = session
            .run(
                target.scratch().overwrite(),
                supply(data.clone(), Some(fail_at)),
                &mut OwnServer::of(&target.scratch()),
                |_| (),
            )
            .await
            .unwrap_err();
        let (state, not_rolled_back, source) = state(&error);
        assert_eq!((state, not_rolled_back), (TargetState::Untouched, None), "{error}");
        assert!(matches!(source, RedisError::Supply { .. }), "{source}");
        assert_eq!(target.digest(), before);
        assert_as_before(&target).await;
    }
}

/// A complete but corrupt RDB takes the target down (its own doing); then the error does not claim to know what it holds.
#[tokio::test]
async fn restore_that_kills_the_target_says_unknown() {
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    let (mut data, _, _) = capture(&target.endpoint()).await.unwrap();
    let last = data.len() - 1;
    data[last] ^= 1;
    let options = MasterOptions { rollback_within: Duration::from_secs(2), ..MasterOptions::default() };
    let session = Session::prepare(&target.endpoint(), options).await.unwrap();
    let error = session
        .run(target.scratch().overwrite(), supply(data, None), &mut OwnServer::of(&target.scratch()), |_| ())
        .await
        .unwrap_err();
    let (state, not_rolled_back, source) = state(&error);
    assert!(matches!(source, RedisError::Rejected { .. }), "{source}");
    // Later servers return the error instead of exiting, and then the old data is still there.
    match state {
        // Its process has ended, which is said within seconds.
        TargetState::Gone => assert!(not_rolled_back.is_some()),
        TargetState::Untouched => assert!(facts(&target).await.key_count() > 5000),
        TargetState::Replaced | TargetState::Unfinished | TargetState::Unknown => panic!("{error}"),
    }
}

/// Nobody but the target gets data, and nobody else uses up its place.
#[tokio::test]
async fn the_restore_port_rejects_impostors() {
    let source = Redis::start(KIND, &[]);
    fill(&source).await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Redis::start(KIND, &[]);
    let session = Session::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
    let addr = session.listening_on();
    let mut impostors = Vec::new();
    for greeting in [
        "PING\r\n",
        "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
        "*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
        "",
    ] {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(greeting.as_bytes()).await.unwrap();
        impostors.push(tcp);
    }
    session
        .run(target.scratch().overwrite(), supply(data, None), &mut OwnServer::of(&target.scratch()), |_| ())
        .await
        .unwrap();
    assert_eq!(target.digest(), source.digest());
    for mut tcp in impostors {
        let mut got = Vec::new();
        tcp.read_to_end(&mut got).await.ok();
        assert!(!String::from_utf8_lossy(&got).contains("FULLRESYNC"), "{}", String::from_utf8_lossy(&got));
    }
    assert!(TcpStream::connect(addr).await.is_err(), "the port is open for one connection only");
}

/// A target that cannot reach us is left as it was.
#[tokio::test]
async fn restore_of_a_target_that_cannot_reach_us() {
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    originals(&target).await;
    let before = target.digest();
    let options = MasterOptions {
        announce: Some(("127.0.0.1".into(), Some(free_port()))),
        connect_within: Duration::from_secs(2),
        ..MasterOptions::default()
    };
    let session = Session::prepare(&target.endpoint(), options).await.unwrap();
    let error = session
        .run(target.scratch().overwrite(), supply(vec![0; 100], None), &mut OwnServer::of(&target.scratch()), |_| ())
        .await
        .unwrap_err();
    let (state, not_rolled_back, source) = state(&error);
    assert_eq!((state, not_rolled_back), (TargetState::Untouched, None));
    assert!(matches!(source, RedisError::TargetDidNotConnect { .. }), "{source}");
    assert_eq!(Fault::from(error).code, "restore.target_did_not_connect");
    assert_eq!(target.digest(), before);
    assert_as_before(&target).await;
}

/// What the next start after a crash does to a target.
async fn undone(target: &Redis, record: &RollbackRecord) -> RolledBack {
    let (at, scratch) = (target.endpoint(), target.scratch());
    let mut own = OwnServer::of(&scratch);
    let options = MasterOptions::default();
    roll_back(scratch.roll_back(), &at, &mut target.conn().await, record, &options, &mut own).await.unwrap()
}

/// A crash at any step is rolled back from the stored record, once or twice.
#[tokio::test]
async fn roll_back_after_a_crash_at_each_step() {
    let source = Redis::start(KIND, &[]);
    fill(&source).await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Redis::start(KIND, &[]);
    target.run(&["SET", "old", "data"]);
    originals(&target).await;
    let before = target.digest();
    for crash_at in [Step::Switched, Step::Connected, Step::Loaded] {
        let session = Session::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
        let record = session.rollback_record().clone();
        let (reached, mut at) = mpsc::unbounded_channel();
        // A supplier that ends only where the crash comes later; one that is silent keeps the transfer open.
        let (hold, silent) = mpsc::channel(1);
        let feed = if crash_at == Step::Loaded { supply(data.clone(), None) } else { silent };
        let mut own = OwnServer::of(&target.scratch());
        let run = session.run(target.scratch().overwrite(), feed, &mut own, |s| reached.send(s).unwrap());
        let crash = async { while at.recv().await.unwrap() != crash_at {} };
        // Dropping the future at a step is what a crash looks like to the target.
        tokio::select! { biased; () = crash => {}, done = run => assert!(crash_at == Step::Loaded, "{done:?}") }
        drop(hold);
        let rolled_back = undone(&target, &record).await;
        assert_eq!(rolled_back.loaded, crash_at == Step::Loaded, "{crash_at:?}");
        assert!(rolled_back.same_process && rolled_back.problem.is_none());
        assert_as_before(&target).await;
        let after = target.digest();
        assert_eq!(after, if rolled_back.loaded { source.digest() } else { before.clone() });
        let again = undone(&target, &record).await;
        assert_eq!(again.found, Found::Master);
    }
}

/// Rolling back undoes what the restore set and nothing else: what somebody has set since stays as it is, and is named.
#[tokio::test]
async fn roll_back_leaves_alone_what_others_have_set_since() {
    let mut target = Redis::start(KIND, &["--masteruser", "by file"]);
    for restarted in [false, true] {
        originals(&target).await;
        let session = Session::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
        let record = session.rollback_record().clone();
        let (reached, mut at) = mpsc::unbounded_channel();
        let (_hold, silent) = mpsc::channel(1);
        let mut own = OwnServer::of(&target.scratch());
        let run = session.run(target.scratch().overwrite(), silent, &mut own, |s| reached.send(s).unwrap());
        let crash = async { while at.recv().await.unwrap() != Step::Connected {} };
        tokio::select! { biased; () = crash => {}, done = run => panic!("{done:?}") }
        let one_time = target.setting("masterauth");
        assert!(!format!("{record:?}").contains(&one_time), "{record:?}");
        target.run(&["REPLICAOF", "NO", "ONE"]);
        if restarted {
            // Its own file says what the restore says, and was not written by it.
            target.restart();
            target.run(&["CONFIG", "SET", "repl-diskless-load", "swapdb"]);
        } else {
            target.run(&["CONFIG", "SET", "replica-read-only", "no"]);
        }
        target.run(&["CONFIG", "SET", "masterauth", "of the operator"]);
        for _ in 0..2 {
            let rolled_back = undone(&target, &record).await;
            assert_eq!((&rolled_back.found, &rolled_back.problem), (&Found::Master, &None));
            let left: &[&str] = if restarted {
                &["masteruser", "repl-diskless-load", "masterauth"]
            } else {
                &["replica-read-only", "masterauth"]
            };
            assert_eq!(rolled_back.left_alone, left);
        }
        let now = ["masterauth", "masteruser", "repl-diskless-load", "replica-read-only"].map(|s| target.setting(s));
        let expected = match restarted {
            false => ["of the operator", "olduser", "disabled", "no"],
            true => ["of the operator", "by file", "swapdb", "yes"],
        };
        assert_eq!(now, expected);
        target.run(&["CONFIG", "SET", "replica-read-only", "yes"]);
    }
}

/// Answers for a restore that another process goes on with: since before the switch, or since right behind it.
struct Anothers {
    since_before: bool,
}

impl BeforeStream for Anothers {
    async fn switching(&mut self) -> Result<(), Fault> {
        if self.since_before { Err(taken_over("rj-1")) } else { Ok(()) }
    }

    async fn allow(&mut self, _: &Switched) -> Result<(), Fault> {
        Err(taken_over("rj-1"))
    }

    async fn rolling_back(&mut self) -> Result<(), Fault> {
        Err(taken_over("rj-1"))
    }
}

impl RollbackStore for Anothers {
    async fn store(&mut self, _: &RollbackRecord) -> Result<(), Fault> {
        Ok(())
    }
}

/// A target whose restore is another's by now is neither made to follow this program nor taken off it: whoever goes on does that.
#[tokio::test]
async fn what_another_goes_on_with_is_left_to_it() {
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    originals(&target).await;
    let before = target.digest();
    for (since_before, found) in [(true, Found::Master), (false, Found::FollowedUs)] {
        let session = Session::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
        let record = session.rollback_record().clone();
        let mut anothers = Anothers { since_before };
        let run = session.run(target.scratch().overwrite(), supply(vec![0; 100], None), &mut anothers, |_| ());
        let error = run.await.unwrap_err();
        assert!(matches!(&error, RedisError::Stopped { fault } if fault.code == "job.taken_over"), "{error:?}");
        assert_eq!(undone(&target, &record).await.found, found);
        assert_as_before(&target).await;
        assert_eq!(target.digest(), before);
    }
}

/// Keeps what is stored, with the target's memory limit at that moment.
struct Stored<'a> {
    target: &'a Redis,
    records: Vec<(RollbackRecord, String)>,
}

impl BeforeStream for Stored<'_> {
    async fn allow(&mut self, _: &Switched) -> Result<(), Fault> {
        Ok(())
    }
}

impl RollbackStore for Stored<'_> {
    async fn store(&mut self, record: &RollbackRecord) -> Result<(), Fault> {
        self.records.push((record.clone(), self.target.setting("maxmemory")));
        Ok(())
    }
}

/// A target that evicts at its limit, and has not freed its old data in time, loses nothing that was restored: its limit is recorded,
/// put out of force, and put back when what it holds fits. So does one that a crash leaves following us.
#[tokio::test]
async fn a_memory_limit_waits_for_the_old_data_to_be_freed() {
    for (kind, crashes) in [("redis-7.0", false), ("valkey-9.1", false), ("redis-7.0", true)] {
        // A server that is faster than our look has freed everything by then: nothing is put out of force, and nothing lost.
        let mut rounds = 1..=10;
        // The more there is to free, the longer it takes.
        while !frees_with_the_limit_out_of_force(kind, 1_000_000 * rounds.start().min(&3), crashes).await {
            assert!(rounds.next().is_some(), "{kind} always freed its old data before it was looked at");
        }
    }
}

/// Whether the target's limit had to be put out of force. `crashes`: the restore ends as a crash once the set is loaded.
async fn frees_with_the_limit_out_of_force(kind: &str, old_keys: u32, crashes: bool) -> bool {
    let source = Redis::start(kind, &[]);
    source.run(&["DEBUG", "POPULATE", "100000", "k", "60"]);
    let limit = (source.info("used_memory").parse::<u64>().unwrap() * 13 / 10).to_string();
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Redis::start(kind, &["--maxmemory-policy", "allkeys-lru"]);
    target.run(&["DEBUG", "POPULATE", &old_keys.to_string(), "old", "60"]);
    // Read by the server before it can evict: nothing is written until it follows us.
    let options = MasterOptions { free_stall: Duration::ZERO, ..MasterOptions::default() };
    let session = Session::prepare(&target.endpoint(), options.clone()).await.unwrap();
    let record = session.rollback_record().clone();
    let mut stored = Stored { target: &target, records: Vec::new() };
    let (reached, mut at) = mpsc::unbounded_channel();
    let limited = |step| {
        if step == Step::Connected {
            target.run(&["CONFIG", "SET", "maxmemory", &limit]);
        }
        reached.send(step).unwrap();
    };
    let run = session.run(target.scratch().overwrite(), supply(data, None), &mut stored, limited);
    if crashes {
        let crash = async { while at.recv().await.unwrap() != Step::Loaded {} };
        tokio::select! { biased; () = crash => {}, done = run => panic!("{done:?}") }
        let grant = target.scratch().roll_back();
        let at = target.endpoint();
        roll_back(grant, &at, &mut target.conn().await, &record, &options, &mut stored).await.unwrap();
        let latest = stored.records.last().map_or(record, |(record, _)| record.clone());
        while undone(&target, &latest).await.over_limit {}
    } else {
        run.await.unwrap();
    }
    assert_eq!(target.setting("maxmemory"), limit, "{kind}");
    target.run(&["SET", "more", "1"]);
    assert_eq!((target.run(&["DBSIZE"]), target.info("evicted_keys")), (Reply::Int(100_001), "0".into()), "{kind}");
    match stored.records.as_slice() {
        [] => false,
        [(record, then)] => {
            assert_eq!((record.settings.maxmemory.as_ref(), then), (Some(&limit), &limit), "{kind}");
            true
        }
        more => panic!("{kind}: {more:?}"),
    }
}

/// Where what was restored never fits, the restore says so and the limit stays out of force; a later roll-back puts it back once it
/// fits, and leaves alone what somebody has set instead.
#[tokio::test]
async fn a_memory_limit_that_does_not_fit_stays_out_of_force() {
    let source = Redis::start(KIND, &[]);
    source.run(&["DEBUG", "POPULATE", "50000", "k", "60"]);
    let limit = (source.info("used_memory").parse::<u64>().unwrap() / 2).to_string();
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    for set_by_another in [false, true] {
        let target = Redis::start(KIND, &["--maxmemory", &limit, "--maxmemory-policy", "allkeys-lru"]);
        let options = MasterOptions {
            free_stall: Duration::ZERO,
            limit_back_within: Duration::from_millis(300),
            ..MasterOptions::default()
        };
        let session = Session::prepare(&target.endpoint(), options).await.unwrap();
        let mut stored = Stored { target: &target, records: Vec::new() };
        let done = session.run(target.scratch().overwrite(), supply(data.clone(), None), &mut stored, |_| ()).await;
        let error = done.unwrap_err();
        let (left, not_rolled_back, _) = state(&error);
        assert_eq!(left, TargetState::Replaced, "{error}");
        assert!(not_rolled_back.is_some_and(|why| why.contains("maxmemory") && why.contains(&limit)), "{error}");
        assert_eq!(Fault::from(error).code, "restore.unsettled");
        let (record, _) = stored.records.pop().unwrap();
        assert!(stored.records.is_empty(), "{:?}", stored.records);
        let waiting = undone(&target, &record).await;
        assert!(waiting.over_limit && waiting.problem.is_some(), "{waiting:?}");
        target.run(&["SET", "more", "1"]);
        let kept = (target.run(&["DBSIZE"]), target.info("evicted_keys"), target.setting("maxmemory"));
        assert_eq!(kept, (Reply::Int(50_001), "0".into(), "0".into()));
        let (now, left_alone): (_, &[&str]) = if set_by_another {
            target.run(&["CONFIG", "SET", "maxmemory", "100mb"]);
            ("104857600", &["maxmemory"])
        } else {
            target.run(&["FLUSHALL"]);
            (&limit, &[])
        };
        for _ in 0..2 {
            let done = undone(&target, &record).await;
            assert_eq!((done.problem.as_ref(), done.over_limit), (None, false), "{done:?}");
            assert_eq!((target.setting("maxmemory").as_str(), done.left_alone.as_slice()), (now, left_alone));
        }
    }
}

/// Targets that replication cannot restore are refused with the reason, before anything changes.
#[tokio::test]
async fn restore_is_refused_where_it_cannot_work() {
    let master = Redis::start(KIND, &[]);
    let replica = Redis::start(KIND, &[]);
    replica.run(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    let cluster = Redis::start(KIND, &["--cluster-enabled", "yes"]);
    let managed = Redis::start(KIND, &["--rename-command", "CONFIG", "hidden"]);
    let cases = [
        (&replica, "restore.target_is_replica"),
        (&cluster, "restore.target_is_cluster"),
        (&managed, "restore.target_config_refused"),
    ];
    for (server, code) in cases {
        let error = Session::prepare(&server.endpoint(), MasterOptions::default()).await.unwrap_err();
        assert_eq!(Fault::from(error).code, code);
    }
}
