//! The cutover of a restore by commands: every write that was accepted before it is in the way back or counted and kept, whoever
//! writes meanwhile; nothing of ours is; a write that the plan did not tell of leaves the old data; and a crash names the way back.

use crate::provider::cutover::{Loses, Proxy, Tap, contains};
use crate::provider::keys::at_the_probe;
use crate::support::{Bench, Redis, Reply, accepted_after, files_under, text, unattended, wait};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

pub const COMMANDS: &str = "restore_way = \"commands\"";
const COUNTER: &str = "orders:count";
/// What only the swap and what undoes it say.
pub const SWAP: &str = "\r\nDEL\r\n$22\r\nTAIR-BACKUP-MCP:BESIDE";
/// What only emptying says.
const EMPTY: &str = "\r\nEVAL\r\n";

/// What ends a transaction: where there are no scripts only emptying says that, for asking for the right to it ends by DISCARD.
pub const EXEC: &str = "*1\r\n$4\r\nEXEC\r\n";

/// Counts orders in a database, as fast as it goes, until the count falls: the data was replaced. The last count before that; without
/// a fall, the last one.
fn count_orders(redis: &Redis, db: u64, done: &AtomicBool) -> u64 {
    let incr = vec!["INCR".to_owned(), COUNTER.to_owned()];
    let mut batch = if db == 0 { vec![] } else { vec![vec!["SELECT".to_owned(), db.to_string()]] };
    batch.extend(std::iter::repeat_n(incr, 20));
    let mut last = 0;
    while !done.load(Ordering::SeqCst) {
        for reply in redis.try_all(&batch).unwrap() {
            match reply {
                Reply::Int(n) if u64::try_from(n).unwrap() <= last => return last,
                Reply::Int(n) => last = u64::try_from(n).unwrap(),
                Reply::Text(_) => {}
                other => panic!("{other:?}"),
            }
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    last
}

/// The commands that the tails of a bench hold, by their first word in capitals.
fn kept(bench: &Bench, word: &str) -> usize {
    let word = format!("\r\n{word}\r\n");
    let files = files_under(&bench.home().join("tails"));
    let files = files.iter().filter(|p| p.extension().is_some_and(|e| e == "resp"));
    files.map(|p| std::fs::read(p).unwrap().windows(word.len()).filter(|w| *w == word.as_bytes()).count()).sum()
}

fn stored(redis: &Redis, db: u64) -> u64 {
    redis.run_in(db, &["GET", COUNTER]).text().parse().unwrap_or(0)
}

/// A target with a set that has no orders.
fn instance(kind: &str, args: &[&str], more: &str) -> (Redis, Bench, String) {
    let redis = Redis::start(kind, args);
    if args.contains(&"--cluster-enabled") {
        let slots: Vec<String> = (0..16384).map(|slot| slot.to_string()).collect();
        redis.run(&[&["CLUSTER", "ADDSLOTS"][..], &slots.iter().map(String::as_str).collect::<Vec<_>>()].concat());
        wait("the cluster", Duration::from_secs(30), || {
            (redis.try_run(&["SET", "a", "1"]).ok()? == Reply::Text("OK".into())).then_some(())
        });
    }
    redis.run(&["DEBUG", "POPULATE", "20000", "k", "500"]);
    let bench = Bench::new(&unattended(&redis, more));
    let backup = bench.backup();
    (redis, bench, backup)
}

/// Restores while orders come in, and shows that each is in the way back or counted. `dbs`: where they come in.
fn none_is_lost(kind: &str, args: &[&str], more: &str, dbs: &[u64], in_place: bool, spoil: &[&str]) {
    let (redis, bench, backup) = instance(kind, args, more);
    redis.run(spoil);
    let watching = more.is_empty().then(|| {
        let mut sentinel = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
        sentinel.write_all(b"SUBSCRIBE __sentinel__:hello\r\n").unwrap();
        assert!(sentinel.read(&mut [0; 64]).unwrap() > 0);
        sentinel
    });
    let done = AtomicBool::new(false);
    let (reply, accepted) = std::thread::scope(|scope| {
        let writers: Vec<_> = dbs.iter().map(|db| scope.spawn(|| count_orders(&redis, *db, &done))).collect();
        wait("orders", Duration::from_secs(30), || dbs.iter().all(|db| stored(&redis, *db) > 0).then_some(()));
        let token = bench.token(&backup);
        let ended = bench.run(&Bench::echo(&backup, &token));
        done.store(true, Ordering::SeqCst);
        assert_eq!((ended.code, &ended.json()["status"]), (0, &"succeeded".into()), "{kind}: {ended:?}");
        (ended.json(), writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>())
    });
    drop(watching);
    let message = text(&reply["message"]);
    println!("{kind} {args:?}: {accepted} accepted; {message}");
    assert_eq!(text(&reply["plan"]["way_meaning"]).starts_with("NOT atomic"), in_place, "{reply}");
    assert!(message.contains("taken after the yes"), "{message}");
    assert!(!message.contains("refused for"), "nobody was refused: {message}");
    let counted = accepted_after(&message).unwrap();
    assert_eq!(kept(&bench, "INCR") as u64, counted, "{kind}: the tail holds what was counted");
    assert_eq!(kept(&bench, "RESTORE") + kept(&bench, "SET"), 0, "{kind}: the tail holds something of ours");
    let way_back = text(&reply["plan"]["safety_backup_id"]);
    redis.run(&["ACL", "SETUSER", "default", "+@all"]);
    let back = bench.restore(&way_back);
    assert_eq!(back.code, 0, "{back:?}");
    let found: u64 = dbs.iter().map(|db| stored(&redis, *db)).sum();
    assert_eq!(found + counted, accepted, "{kind}: {message}");
}

/// Beside the old data: what is counted ends at the swap, and our own load, which passes through the same stream, is none of it.
#[test]
fn every_accepted_write_beside() {
    for kind in ["redis-6.2", "redis-8.2", "valkey-9.1"] {
        none_is_lost(kind, &[], COMMANDS, &[0, 1], false, &["PING"]);
    }
}

/// A target that a Sentinel watches goes the same way without being told to.
#[test]
fn every_accepted_write_where_a_sentinel_watches() {
    none_is_lost("redis-7.0", &[], "", &[0, 1], false, &["PING"]);
}

/// In place: what is counted ends at the very FLUSHALL, by a script, without scripts, and on a node of a cluster.
#[test]
fn every_accepted_write_in_place() {
    let few = ["--databases", "2"];
    for kind in ["redis-6.2", "valkey-9.1"] {
        none_is_lost(kind, &few, COMMANDS, &[0, 1], true, &["PING"]);
    }
    none_is_lost("redis-7.0", &few, COMMANDS, &[0, 1], true, &["ACL", "SETUSER", "default", "-@scripting"]);
    none_is_lost("redis-8.0", &["--cluster-enabled", "yes"], COMMANDS, &[0], true, &["PING"]);
}

/// Restores through a proxy that has somebody write when these bytes go by; what is said of it, which must be a void plan that has
/// not touched the target.
fn voided(args: &[&str], when: &'static str, writes: &'static str) -> (Redis, String) {
    let redis = Redis::start("redis-7.0", &[&["--rename-command", "INCR", "xincr"], args].concat());
    redis.fill(0, 1);
    let (port, armed, written) = (redis.port, Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (ready, once) = (Arc::clone(&armed), Arc::clone(&written));
    let tap: Tap = Arc::new(move |bytes| {
        if ready.load(Ordering::SeqCst) && contains(bytes, when) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for command in writes.split(';') {
                tcp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
                let mut reply = [0; 64];
                let n = tcp.read(&mut reply).unwrap();
                assert!(n > 0 && reply[0] != b'-', "{command}: {}", String::from_utf8_lossy(&reply));
            }
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&format!("{}{COMMANDS}\n", proxy.config()));
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let counts = redis.statistics().len();
    armed.store(true, Ordering::SeqCst);
    let done = bench.run(&Bench::echo(&backup, &token));
    assert!(written.load(Ordering::SeqCst), "{done:?}");
    let failed: Value = done.json();
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"plan.changed".into()), "{failed}");
    assert_eq!((redis.run(&["GET", "marker"]).text(), redis.statistics().len()), ("1".into(), counts), "{failed}");
    assert_eq!(files_under(&bench.home().join("tails")), Vec::<std::path::PathBuf>::new(), "{failed}");
    (redis, text(&failed["message"]))
}

/// A write between the looks and the cutover voids a plan that told of none, although no counter shows it: the old data is there, with
/// that write.
#[test]
fn a_write_right_before_the_cutover_is_found() {
    // What fills the servers uses databases 0, 1 and 3, so four are too few to load beside.
    for (args, when) in [(&[][..], SWAP), (&["--databases", "4"][..], EMPTY)] {
        for writes in ["XINCR orders", "XINCR orders;CONFIG RESETSTAT"] {
            let (redis, message) = voided(args, when, writes);
            assert!(message.contains("1 write commands came behind the safety backup"), "{message}");
            assert_eq!(redis.run(&["GET", "orders"]).text(), "1", "{message}");
        }
    }
}

/// In place: an instance on which nobody writes, and whose position never stands still, is restored by a plan that told of no writes,
/// also where it saves right before it is emptied.
#[test]
fn a_position_that_moves_by_itself() {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    redis.run(&["DEBUG", "POPULATE", "100", "k", "10"]);
    let (port, armed, saved) = (redis.port, Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (ready, once) = (Arc::clone(&armed), Arc::clone(&saved));
    let tap: Tap = Arc::new(move |bytes| {
        if ready.load(Ordering::SeqCst) && contains(bytes, EMPTY) {
            let command = if once.swap(true, Ordering::SeqCst) { "PUBLISH news 1" } else { "SAVE" };
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            tcp.write_all(format!("PUBLISH news 1\r\n{command}\r\n").as_bytes()).unwrap();
            let mut reply = Vec::new();
            while reply.iter().filter(|byte| **byte == b'\n').count() < 2 {
                let mut piece = [0; 64];
                let n = tcp.read(&mut piece).unwrap();
                assert!(n > 0, "{command}");
                reply.extend_from_slice(&piece[..n]);
            }
            assert!(!reply.contains(&b'-'), "{command}: {}", String::from_utf8_lossy(&reply));
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&format!("{}{COMMANDS}\n", proxy.config()));
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    for n in 0..2000 {
        redis.run(&["SET", &format!("short:{n}"), "v", "PX", &(3000 + n * 20).to_string()]);
    }
    let token = bench.token(&backup);
    armed.store(true, Ordering::SeqCst);
    let ended = bench.run(&Bench::echo(&backup, &token));
    assert_eq!((ended.code, &ended.json()["status"]), (0, &"succeeded".into()), "{ended:?}");
    let message = text(&ended.json()["message"]);
    assert!(saved.load(Ordering::SeqCst) && message.contains("nothing was written after it"), "{message}");
    assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(100), "{message}");
}

/// Whoever writes into a database that the set is being loaded into is found by the stream.
#[test]
fn a_write_into_what_is_loaded_beside_is_found() {
    let (redis, message) = voided(&[], SWAP, "SELECT 2;APPEND order paid");
    assert!(message.contains("1 commands of somebody else touched what was loaded beside"), "{message}");
    assert_eq!(redis.run_in(2, &["DBSIZE"]), Reply::Int(0));
}

/// Restores in place through a proxy; when these bytes go by, the stream behind the safety backup is cut off and then somebody writes.
fn cut_off(spoil: &[&str], when: &'static str) -> (Redis, Value) {
    let redis = Redis::start("redis-7.0", &["--databases", "1"]);
    redis.run(&["DEBUG", "POPULATE", "100", "k", "10"]);
    redis.run(spoil);
    let (port, armed, cut) = (redis.port, Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (ready, once) = (Arc::clone(&armed), Arc::clone(&cut));
    let tap: Tap = Arc::new(move |bytes| {
        if ready.load(Ordering::SeqCst) && contains(bytes, when) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (command, answer) in [("CLIENT KILL TYPE replica", b':'), ("SET order paid", b'+')] {
                tcp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
                let mut reply = [0; 64];
                assert!(tcp.read(&mut reply).unwrap() > 0 && reply[0] == answer, "{}", String::from_utf8_lossy(&reply));
            }
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&format!("{}{COMMANDS}\n", proxy.config()));
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    armed.store(true, Ordering::SeqCst);
    let done = bench.run(&Bench::echo(&backup, &token));
    assert!(cut.load(Ordering::SeqCst), "{done:?}");
    (redis, done.json())
}

/// The stream behind the safety backup breaks off right at the cutover in place. Where the server compares, the old data stays; where it
/// has no scripts to do so, the end does not claim to know what was written.
#[test]
fn a_stream_that_breaks_off_at_the_flush() {
    let (redis, failed) = cut_off(&["PING"], EMPTY);
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"restore.tail_lost".into()), "{failed}");
    assert_eq!(redis.run(&["MGET", "marker", "order"]).text(), "1 paid", "{failed}");
    let (redis, done) = cut_off(&["ACL", "SETUSER", "default", "-@scripting"], EXEC);
    assert_eq!(done["status"], "succeeded", "{done}");
    let message = text(&done["message"]);
    assert!(message.contains("how many write commands were accepted after it is not known"), "{message}");
    assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(100), "{message}");
}

/// The reply to what empties the target in place is lost: it is empty, and the end says that it may hold a part; what was written until
/// then is counted all the same, and the way back is whole.
#[test]
fn a_lost_reply_to_what_empties() {
    for (spoil, when) in [(&["PING"][..], EMPTY), (&["ACL", "SETUSER", "default", "-@scripting"], EXEC)] {
        let redis = Redis::start("redis-7.0", &["--databases", "1"]);
        redis.run(&["DEBUG", "POPULATE", "100", "k", "10"]);
        redis.run(spoil);
        let (armed, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (ready, once) = (Arc::clone(&armed), Arc::clone(&lost));
        let loses: Loses = Arc::new(move |bytes| {
            ready.load(Ordering::SeqCst) && contains(bytes, when) && !once.swap(true, Ordering::SeqCst)
        });
        let proxy = Proxy::with(&redis, Arc::new(|_| ()), Arc::new(|_| ()), loses);
        let bench = Bench::new(&format!("{}{COMMANDS}\n", proxy.config()));
        let backup = bench.backup();
        redis.run(&["SET", "marker", "1"]);
        let token = bench.token(&backup);
        armed.store(true, Ordering::SeqCst);
        let failed = bench.run(&Bench::echo(&backup, &token)).json();
        assert!(lost.load(Ordering::SeqCst), "{failed}");
        assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"restore.partial".into()), "{failed}");
        assert_eq!(redis.run(&["DBSIZE"]), Reply::Int(0), "{failed}");
        let message = text(&failed["message"]);
        assert!(message.contains("nothing was written after it"), "{message}");
        let way_back = text(&failed["plan"]["safety_backup_id"]);
        assert!(text(&failed["hint"]).contains(&way_back) || message.contains(&way_back), "{failed}");
        let back = bench.restore(&way_back);
        assert_eq!((back.code, redis.run(&["GET", "marker"]).text()), (0, "1".into()), "{back:?}");
    }
}

/// The reply to the swap is lost, or the connection once that has come: the end does not claim to know what serves now, and the next look at
/// jobs finds out, with neither data mixed with the other.
#[test]
fn a_lost_reply_to_the_swap() {
    let unknown = "the databases were swapped, and it is not known that they were swapped back";
    lost_at_the_swap(&[EXEC], "whether the databases were swapped is not known");
    lost_at_the_swap(&[EXEC, "\r\nCOMMAND\r\n"], unknown);
    // The look has held, and what says so to the target comes through.
    lost_at_the_swap(&[EXEC, EXEC], unknown);
}

/// Loses the connection at the last of what is sent from the swap on, and says so.
pub fn at_the_swap(steps: &'static [&'static str], lost: Arc<AtomicBool>) -> Loses {
    let (swaps, step) = (AtomicBool::new(false), AtomicUsize::new(0));
    Arc::new(move |bytes| {
        if contains(bytes, SWAP) {
            swaps.store(true, Ordering::SeqCst);
        }
        let at = step.load(Ordering::SeqCst);
        if !swaps.load(Ordering::SeqCst) || !steps.get(at).is_some_and(|step| contains(bytes, step)) {
            return false;
        }
        step.store(at + 1, Ordering::SeqCst);
        at + 1 == steps.len() && !lost.swap(true, Ordering::SeqCst)
    })
}

/// `steps`: as for [`at_the_swap`].
fn lost_at_the_swap(steps: &'static [&'static str], told: &str) {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["DEBUG", "POPULATE", "100", "k", "10"]);
    let lost = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::with(&redis, Arc::new(|_| ()), Arc::new(|_| ()), at_the_swap(steps, Arc::clone(&lost)));
    let bench = Bench::new(&format!("{}{COMMANDS}\n", proxy.config()));
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let failed = bench.run(&Bench::echo(&backup, &token)).json();
    assert!(lost.load(Ordering::SeqCst), "{failed}");
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(text(&failed["hint"]).contains(told), "{failed}");
    assert!(text(&failed["message"]).contains("what the target holds now is not known"), "{failed}");
    let jobs = bench.jobs();
    let job = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
    for (field, part) in
        [("message", "the target holds the restored backup"), ("hint", &text(&failed["plan"]["safety_backup_id"]))]
    {
        assert!(text(&job[field]).contains(part), "{part}: {job}");
    }
    assert_eq!((redis.run(&["DBSIZE"]), redis.run(&["EXISTS", "marker"])), (Reply::Int(100), Reply::Int(0)), "{job}");
}

/// Our process dies while it loads, and orders come in: the next one removes what is ours, and names the set that was taken after the
/// yes; nothing is kept of a cutover that was none.
#[test]
fn a_crash_before_the_swap() {
    let (redis, bench, backup) = instance("redis-7.0", &[], COMMANDS);
    let done = AtomicBool::new(false);
    let (accepted, planned) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| count_orders(&redis, 0, &done));
        wait("orders", Duration::from_secs(30), || (stored(&redis, 0) > 0).then_some(()));
        let asked = bench.ask(&backup).json();
        let mut child = bench.spawn(&Bench::echo(&backup, &text(&asked["confirmation_token"])));
        wait("keys beside", Duration::from_secs(60), || {
            matches!(redis.run_in(1, &["DBSIZE"]), Reply::Int(n) if n >= 2).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let jobs = bench.jobs();
        done.store(true, Ordering::SeqCst);
        let job = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
        assert!(text(&job["message"]).contains("holds its old data"), "{job}");
        let sets: Vec<String> = bench.backups().iter().map(|set| text(&set["backup_id"])).collect();
        let named = sets.iter().find(|id| text(&job["hint"]).contains(id.as_str())).cloned();
        (writer.join().unwrap(), (named.unwrap_or_else(|| panic!("{job}")), text(&asked["plan"]["safety_backup_id"])))
    });
    assert_ne!(planned.0, planned.1, "the set that was taken after the yes");
    assert_eq!((stored(&redis, 0), redis.statistics().len()), (accepted, 1));
    assert_eq!(files_under(&bench.home().join("tails")), Vec::<std::path::PathBuf>::new());
}

/// Our process dies while it writes key by key: what was counted up to the FLUSHALL is known all the same.
#[test]
fn a_crash_after_the_target_was_emptied() {
    let (redis, bench, backup) = instance("redis-7.0", &["--databases", "1"], COMMANDS);
    let done = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let writer = scope.spawn(|| count_orders(&redis, 0, &done));
        wait("orders", Duration::from_secs(30), || (stored(&redis, 0) > 0).then_some(()));
        let token = bench.token(&backup);
        let mut child = bench.spawn(&Bench::echo(&backup, &token));
        let accepted = writer.join().unwrap();
        wait("keys", Duration::from_secs(60), || {
            matches!(redis.run(&["DBSIZE"]), Reply::Int(n) if n >= 5).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        accepted
    });
    let jobs = bench.jobs();
    let job = jobs.iter().find(|j| j["kind"] == "restore").unwrap();
    println!("{job}");
    let counted = accepted_after(&text(&job["message"])).unwrap();
    assert_eq!(kept(&bench, "INCR") as u64, counted, "{job}");
    let sets: Vec<String> = bench.backups().iter().map(|set| text(&set["backup_id"])).collect();
    let way_back = sets.iter().find(|id| text(&job["hint"]).contains(id.as_str())).unwrap();
    let back = bench.restore(way_back);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(stored(&redis, 0) + counted, accepted, "{job}");
}

/// What the target allows no more by the time that it would be emptied is found before that: its old data stays.
#[test]
fn what_is_taken_back_behind_the_yes_empties_nothing() {
    let lowered = "CONFIG SET maxmemory 3mb";
    for (command, told) in [("ACL SETUSER default -function|load", "FUNCTION LOAD"), (lowered, "maxmemory is 3.0 MiB")]
    {
        let redis = Redis::start("redis-7.0", &["--databases", "1"]);
        redis.run(&["DEBUG", "POPULATE", "10000", "k", "500"]);
        redis.run(&["FUNCTION", "LOAD", "#!lua name=then\nredis.register_function('f', function() return 1 end)"]);
        let (proxy, armed) = at_the_probe(&redis, command);
        let bench = Bench::new(&format!("{}{COMMANDS}\n", proxy.config()));
        let backup = bench.backup();
        redis.run(&["FLUSHALL"]);
        redis.run(&["SET", "now", "1"]);
        let token = bench.token(&backup);
        armed.store(true, Ordering::SeqCst);
        let failed = bench.run(&Bench::echo(&backup, &token)).json();
        assert_eq!(failed["status"], "failed", "{command}: {failed}");
        assert!(text(&failed["message"]).contains(told), "{command}: {failed}");
        assert_eq!(
            (redis.run(&["GET", "now"]).text(), redis.run(&["DBSIZE"])),
            ("1".into(), Reply::Int(1)),
            "{failed}"
        );
    }
}
