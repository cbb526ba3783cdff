//! A restore by commands gives the same data, or merges it without touching anything else; it refuses before it deletes, and
//! says when it leaves a part.

use crate::redis::fixture::{KIND, capture, facts, fill};
use crate::support::{KINDS, MATRIX, Redis, Reply, wait};
use async_trait::async_trait;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use tair_backup_mcp::model::fault::{Fault, Kind};
use tair_backup_mcp::redis::error::RedisError;
use tair_backup_mcp::redis::facts::key_counts;
use tair_backup_mcp::redis::moment::{Look, Moment};
use tair_backup_mcp::redis::prefix::ErrorPrefix;
use tair_backup_mcp::redis::rdb::{EntryHead, Visitor, walk};
use tair_backup_mcp::redis::replay::encoder::RestoreEncoder;
use tair_backup_mcp::redis::replay::{Coming, ReplayMode, drive};
use tair_backup_mcp::redis::slots::owned_slots;
use tempfile::TempDir;
use tokio::sync::mpsc;

const REPLACE: ReplayMode<'_> = ReplayMode::ReplaceEverything;
/// What takes no room and no right.
const LITTLE: Coming = Coming { functions: 0, memory: 0 };

/// Restores an RDB by commands through the walker, and gives the number of keys.
async fn replay(data: Vec<u8>, target: &Redis, mode: ReplayMode<'_>) -> Result<u64, RedisError> {
    let dir = TempDir::new().unwrap();
    let (to, frames) = mpsc::channel(4);
    let spool = dir.path().to_owned();
    let version = std::str::from_utf8(&data[5..9]).unwrap().parse().unwrap();
    let walk = tokio::task::spawn_blocking(move || {
        let walked = walk(data.as_slice(), (), RestoreEncoder::new(to, version, spool)).map_err(|e| e.to_string())?;
        walked.visitor.finish().map_err(|e| e.to_string())
    });
    let report = drive(target.scratch().overwrite(), &mut target.conn().await, frames, mode, |_| ()).await;
    let walked = walk.await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "spool files have no names");
    let report = report?;
    walked.unwrap();
    assert_eq!(report.functions, 1);
    Ok(report.keys)
}

/// Entries made by hand: the given keys, each with a type byte and value; complete or broken off.
async fn by_hand(
    entries: &[(&[u8], &[u8])],
    version: u16,
    complete: bool,
    target: &Redis,
    mode: ReplayMode<'_>,
) -> Result<(), RedisError> {
    let (to, frames) = mpsc::channel(4);
    let mut encoder = RestoreEncoder::new(to, version, std::env::temp_dir());
    let entries: Vec<_> = entries.iter().map(|(k, b)| (k.to_vec(), b.to_vec())).collect();
    let walk = tokio::task::spawn_blocking(move || {
        for (key, body) in &entries {
            let idle = Some(10);
            let head = EntryHead { db: 0, key, type_byte: body[0], expiry_ms: None, idle, freq: None, has_meta: false };
            encoder.key(&head)?;
            encoder.value(&body[1..])?;
            encoder.entry_end()?;
        }
        if complete { encoder.finish() } else { Ok(()) }
    });
    let driven = drive(target.scratch().overwrite(), &mut target.conn().await, frames, mode, |_| ()).await;
    walk.await.unwrap().ok();
    driven.map(|_| ())
}

async fn replay_by_hand(entries: &[(&[u8], &[u8])], version: u16, complete: bool, target: &Redis) -> RedisError {
    by_hand(entries, version, complete, target, REPLACE).await.unwrap_err()
}

/// By commands the same data arrives, large values, functions and expiries included, in a standalone and in a cluster node.
#[tokio::test]
async fn restore_by_commands_gives_the_same_data() {
    for cluster in [false, true] {
        let source = Redis::start(KIND, &["--rdbcompression", "no"]);
        fill(&source).await;
        let mut c = source.conn().await;
        c.cmd(&[b"SET", b"huge", &vec![b'x'; 20 << 20]]).await.unwrap();
        c.cmd_str(&["RPUSH", "longlist", &"y".repeat(3000), &"z".repeat(9 << 20)]).await.unwrap();
        let mut args = vec![];
        if cluster {
            args.extend(["--cluster-enabled", "yes"]);
            c.cmd_str(&["SELECT", "3"]).await.unwrap();
            c.cmd_str(&["FLUSHDB"]).await.unwrap();
        }
        let target = Redis::start(KIND, &args);
        if cluster {
            target.run(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
            let serves = || target.try_run(&["SET", "a", "b"]).ok().filter(|r| *r == Reply::Text("OK".into()));
            wait("the cluster", Duration::from_secs(30), serves);
            assert_eq!(owned_slots(&mut target.conn().await).await.unwrap(), [(0, 16383)]);
        }
        target.run(&["SET", "old", "data"]);
        let (data, _, _) = capture(&source.endpoint()).await.unwrap();
        assert_eq!(replay(data, &target, REPLACE).await.unwrap(), facts(&source).await.key_count());
        assert_eq!(
            key_counts(&mut target.conn().await).await.unwrap(),
            key_counts(&mut source.conn().await).await.unwrap()
        );
        assert_eq!(target.digest(), source.digest());
        assert_eq!(target.run(&["PEXPIRETIME", "ttl:7"]), source.run(&["PEXPIRETIME", "ttl:7"]));
        assert_eq!(target.run(&["FCALL", "f", "0"]), Reply::Int(42));
    }
}

/// A version that the target does not read is refused before anything is deleted; a refusal or a broken walk after that says
/// that the target holds a part, and names the key.
#[tokio::test]
async fn restore_by_commands_says_when_it_is_partial() {
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    let before = target.digest();
    let text: &[u8] = &[0, 1, b'v'];
    let error = replay_by_hand(&[(b"k", text)], 79, true, &target).await;
    assert!(matches!(&error, RedisError::Server { command, .. } if command == "RESTORE"), "{error}");
    target.run(&["ACL", "SETUSER", "default", "-flushall"]);
    let error = replay_by_hand(&[(b"k", text)], 9, true, &target).await;
    assert!(matches!(error, RedisError::Denied { .. }), "{error}");
    target.run(&["ACL", "SETUSER", "default", "+@all"]);
    assert_eq!(target.digest(), before);

    let broken: (&[u8], &[u8]) = (b"broken\n\xe2\x80\xaekey", &[4, 0xff]);
    let error = replay_by_hand(&[(b"a", text), broken, (b"z", text)], 9, true, &target).await;
    let RedisError::Replay { done: 2, failed: 1, first } = &error else { panic!("{error:?}") };
    assert!(first[0].starts_with("key \"broken key\": ERR Bad data format"), "{first:?}");
    assert_eq!(Fault::from(error).code, "restore.partial");
    let error = replay_by_hand(&[(b"a", text)], 9, false, &target).await;
    assert!(matches!(error, RedisError::Replay { .. }), "{error}");
}

/// A merge replaces keys and libraries of the same name, and leaves every other key, database and library alone.
#[tokio::test]
async fn a_merge_deletes_nothing() {
    for kind in KINDS {
        let source = Redis::start(kind, &[]);
        fill(&source).await;
        let (data, _, _) = capture(&source.endpoint()).await.unwrap();
        let target = Redis::start(kind, &[]);
        target.run(&["SET", "mine", "stays"]);
        target.run(&["SET", "n", "is replaced"]);
        target.run_in(7, &["RPUSH", "mine too", "a", "b"]);
        for library in ["lib", "other"] {
            let function = if library == "lib" { "f" } else { "g" };
            let code = format!("#!lua name={library}\nredis.register_function('{function}', function() return 1 end)");
            target.run(&["FUNCTION", "LOAD", &code]);
        }
        let keys = facts(&source).await.key_count();
        assert_eq!(replay(data, &target, ReplayMode::MergeKeys).await.unwrap(), keys);
        assert_eq!(facts(&target).await.key_count(), keys + 2, "{kind}");
        assert_eq!(target.run(&["GET", "mine"]), Reply::Text("stays".into()));
        assert_eq!(target.run(&["GET", "n"]), Reply::Text("12345".into()));
        assert_eq!(target.run_in(7, &["LRANGE", "mine too", "0", "-1"]).text(), "a b");
        assert_eq!(target.run_in(3, &["GET", "three"]).text(), "x");
        assert_eq!(target.run(&["FCALL", "f", "0"]), Reply::Int(42));
        assert_eq!(target.run(&["FCALL", "g", "0"]), Reply::Int(1));
    }
}

/// A full target is no obstacle where everything is deleted first; a merge is refused before it begins.
#[tokio::test]
async fn a_full_target_refuses_a_merge_only() {
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    target.run(&["DEBUG", "POPULATE", "20000", "more", "500"]);
    let before = target.digest();
    let half = target.info("used_memory").parse::<u64>().unwrap() / 2;
    target.run(&["CONFIG", "SET", "maxmemory", &half.to_string()]);
    let entries: [(&[u8], &[u8]); 1] = [(b"k", &[0, 1, b'v'])];
    let refused = by_hand(&entries, 9, true, &target, ReplayMode::MergeKeys).await.unwrap_err();
    assert!(matches!(refused, RedisError::Server { prefix: ErrorPrefix::Oom, .. }), "{refused:?}");
    assert_eq!(target.digest(), before);
    by_hand(&entries, 9, true, &target, REPLACE).await.unwrap();
    assert_eq!(facts(&target).await.key_count(), 1);
    assert_eq!(target.run(&["GET", "k"]), Reply::Text("v".into()));
}

/// What the server would refuse behind the emptying is found before it: a library, and more than its memory may hold.
#[tokio::test]
async fn what_is_to_come_is_looked_at_before_anything_is_deleted() {
    let target = Redis::start(KIND, &[]);
    fill(&target).await;
    let before = target.digest();
    target.run(&["ACL", "SETUSER", "default", "-function|load"]);
    target.run(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let entries: [(&[u8], &[u8]); 1] = [(b"k", &[0, 1, b'v'])];
    let mut allow = |_: &Moment| Ok(());
    let mut emptied_for = async |functions, megabytes: u64| {
        let mode = ReplayMode::ReplaceIf(&mut allow, Coming { functions, memory: megabytes << 20 });
        by_hand(&entries, 9, true, &target, mode).await
    };
    let denied = emptied_for(1, 1).await.unwrap_err();
    assert!(matches!(&denied, RedisError::Denied { command, .. } if command == "FUNCTION LOAD"), "{denied:?}");
    let RedisError::Withheld { fault } = emptied_for(0, 101).await.unwrap_err() else { panic!("not withheld") };
    assert!(fault.code == "plan.changed" && fault.message.contains("not touched"), "{fault:?}");
    assert_eq!(target.digest(), before);
    emptied_for(0, 100).await.unwrap();
    assert_eq!(facts(&target).await.key_count(), 1);
}

/// What the server answers with an error it has not done: whatever the answer, nothing is said to be gone, and nobody waits for what
/// will not come.
#[tokio::test]
async fn a_refusal_of_what_empties_is_no_perhaps() {
    let target = Redis::start(KIND, &["--lua-time-limit", "20"]);
    fill(&target).await;
    target.run(&["ACL", "SETUSER", "other", "on", ">pw", "~*", "&*", "+@all"]);
    let before = target.digest();
    for scripts in ["+eval", "-eval"] {
        target.run(&["ACL", "SETUSER", "default", scripts]);
        let mut cuts = 0;
        let look = Busy { target: &target, cuts: &mut cuts };
        let entries: [(&[u8], &[u8]); 1] = [(b"k", &[0, 1, b'v'])];
        let error =
            by_hand(&entries, 9, true, &target, ReplayMode::ReplaceIf(&mut { look }, LITTLE)).await.unwrap_err();
        assert!(matches!(error, RedisError::Busy { .. }), "{scripts}: {error:?}");
        assert_eq!((Fault::from(error).code, cuts), ("instance.busy_script", 0), "{scripts}");
        let kill = ["AUTH other pw", "SCRIPT KILL"].map(|line| line.split(' ').map(str::to_owned).collect());
        let killed = || target.try_all(&kill).ok().filter(|replies: &Vec<Reply>| replies[1].text() == "OK");
        wait("the script's end", Duration::from_secs(30), killed);
        wait("the server", Duration::from_secs(30), || {
            (target.try_run(&["PING"]).ok()?.text() == "PONG").then_some(())
        });
        assert_eq!(target.digest(), before, "{scripts}");
    }
}

/// A look that lets everything pass, behind which a script keeps the server busy.
struct Busy<'a> {
    target: &'a Redis,
    cuts: &'a mut u32,
}

#[async_trait]
impl Look for Busy<'_> {
    async fn at(&mut self, _: &Moment) -> Result<(), Fault> {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.target.port)).unwrap();
        tcp.write_all(b"AUTH other pw\r\nEVAL \"while true do end\" 0\r\n").unwrap();
        let busy = || self.target.try_run(&["GET", "a"]).ok().filter(|r| r.text().starts_with("BUSY"));
        wait("a busy server", Duration::from_secs(30), busy);
        Ok(())
    }

    async fn cut(&mut self, _: Option<u64>) {
        *self.cuts += 1;
    }
}

/// In the second of a save, or of its start, a server does not tell whether data was changed.
fn behind_its_save(target: &Redis) {
    wait("a later second than that of the save", Duration::from_secs(5), || {
        let now = target.run(&["TIME"]).text();
        (now.split(' ').next() > Some(&target.info("rdb_last_save_time"))).then_some(())
    });
}

/// The last look decides on the connection that empties, and what it saw is compared in the command that does: a server that was
/// written to between the two keeps its data, and is looked at anew.
#[tokio::test]
async fn a_target_is_emptied_only_as_it_was_looked_at() {
    for kind in KINDS {
        let target = Redis::start(kind, &[]);
        fill(&target).await;
        // A position moves only where there is a backlog.
        capture(&target.endpoint()).await.unwrap();
        let before = target.digest();
        let entries: [(&[u8], &[u8]); 1] = [(b"k", &[0, 1, b'v'])];
        let refuse = |_: &Moment| Err(Fault::new(Kind::Refused, "plan.changed", "another server"));
        let error =
            by_hand(&entries, 9, true, &target, ReplayMode::ReplaceIf(&mut { refuse }, LITTLE)).await.unwrap_err();
        assert!(matches!(error, RedisError::Withheld { .. }), "{error:?}");
        assert_eq!((Fault::from(error).code, target.digest()), ("plan.changed", before), "{kind}");
        behind_its_save(&target);
        let mut seen = Vec::new();
        let mut look = |moment: &Moment| {
            // Somebody writes between the first looks and what they are for.
            if seen.len() < 2 {
                target.run(&["SET", "meanwhile", &seen.len().to_string()]);
            }
            seen.push(moment.clone());
            Ok(())
        };
        by_hand(&entries, 9, true, &target, ReplayMode::ReplaceIf(&mut look, LITTLE)).await.unwrap();
        assert!(seen.len() == 3 && seen[0].offset < seen[2].offset, "{kind}: {seen:?}");
        assert_eq!(seen[2].writes - seen[0].writes, 2, "{kind}: {seen:?}");
        assert_eq!((facts(&target).await.key_count(), target.run(&["GET", "k"]).text()), (1, "v".into()));
        // A user without scripts does without that comparison.
        target.run(&["ACL", "SETUSER", "default", "-@scripting"]);
        let mut allow = |_: &Moment| Ok(());
        by_hand(&entries, 9, true, &target, ReplayMode::ReplaceIf(&mut allow, LITTLE)).await.unwrap();
        assert_eq!(facts(&target).await.key_count(), 1);
    }
}

/// What happens right behind each look, until it has happened so often; how many looks that took, and what came of it.
async fn emptied_after(
    target: &Redis,
    allows_writes: bool,
    times: usize,
    behind: impl Fn(usize) + Send,
) -> (usize, Result<(), RedisError>) {
    struct Behind<F> {
        looks: usize,
        times: usize,
        allows_writes: bool,
        act: F,
    }
    #[async_trait]
    impl<F: Fn(usize) + Send> Look for Behind<F> {
        fn allows_writes(&self) -> bool {
            self.allows_writes
        }

        async fn at(&mut self, _: &Moment) -> Result<(), Fault> {
            self.looks += 1;
            if self.looks <= self.times {
                (self.act)(self.looks);
            }
            Ok(())
        }
    }
    let mut look = Behind { looks: 0, times, allows_writes, act: behind };
    let entries: [(&[u8], &[u8]); 1] = [(b"k", &[0, 1, b'v'])];
    let driven = by_hand(&entries, 9, true, target, ReplayMode::ReplaceIf(&mut look, LITTLE)).await;
    (look.looks, driven)
}

/// For a plan that told of no writes not one comes between the look and the emptying, on any server, however often it is looked at; what
/// moves the position by itself is in nobody's way, and a save in between, which has the server count anew, hides nothing.
#[tokio::test]
async fn what_happens_between_the_look_and_the_emptying() {
    let tell = |n: usize| format!("told {n}");
    for kind in MATRIX {
        let target = Redis::start(kind, &[]);
        target.run(&["DEBUG", "POPULATE", "2000", "k", "500"]);
        capture(&target.endpoint()).await.unwrap();
        let idle = || (target.info("rdb_bgsave_in_progress") == "0").then_some(());
        wait("no save", Duration::from_secs(20), idle);
        let moved = |by: &dyn Fn()| {
            let before = target.info("master_repl_offset");
            by();
            assert_ne!(target.info("master_repl_offset"), before, "{kind}: the position has to move");
        };
        // Writes: never between, and found however many looks there are.
        let incr = |n: usize| drop(target.run(&["INCRBY", "n", &n.to_string()]));
        let (looks, driven) = emptied_after(&target, false, usize::MAX, incr).await;
        assert_eq!((looks, target.run(&["GET", "n"]).text()), (6, "21".into()), "{kind}");
        let Err(RedisError::Withheld { fault }) = driven else { panic!("{kind}: {driven:?}") };
        assert!(fault.code == "plan.changed" && fault.message.contains("not touched"), "{fault:?}");
        // A script that keeps its write out of the stream moves no position.
        let hidden = "if redis.replicate_commands then redis.replicate_commands() end redis.set_repl(redis.REPL_NONE) \
                      redis.call('SET', 'hidden', ARGV[1])";
        let (looks, driven) =
            emptied_after(&target, false, usize::MAX, |n| drop(target.run(&["EVAL", hidden, "0", &tell(n)]))).await;
        assert!(looks == 6 && matches!(driven, Err(RedisError::Withheld { .. })), "{kind}: {looks} {driven:?}");
        assert_eq!(target.run(&["GET", "hidden"]).text(), "told 6", "{kind}");
        // As many writes behind a save as there were before it.
        target.run(&["SAVE"]);
        target.run(&["SET", "a", "1"]);
        let saves = |n: usize| {
            target.run(&["SAVE"]);
            target.run(&["SET", "a", &tell(n)]);
        };
        let (looks, driven) = emptied_after(&target, false, usize::MAX, saves).await;
        assert!(looks == 6 && matches!(driven, Err(RedisError::Withheld { .. })), "{kind}: {looks} {driven:?}");
        assert_eq!(target.run(&["GET", "a"]).text(), "told 6", "{kind}");
        // A FLUSHALL saves where there are save points, and no other field counts that save.
        target.run(&["CONFIG", "SET", "save", "3600 1"]);
        target.run(&["SAVE"]);
        target.run(&["SET", "a", "1"]);
        let flushed = |n: usize| {
            target.run(&["FLUSHALL"]);
            target.run(&["SET", "a", &tell(n)]);
        };
        let (looks, driven) = emptied_after(&target, false, usize::MAX, flushed).await;
        assert!(looks == 6 && matches!(driven, Err(RedisError::Withheld { .. })), "{kind}: {looks} {driven:?}");
        assert_eq!(target.run(&["GET", "a"]).text(), "told 6", "{kind}");
        target.run(&["CONFIG", "SET", "save", ""]);
        target.run(&["DEBUG", "POPULATE", "2000", "k", "500"]);

        // What is no write: messages, expiries of either kind, evictions.
        behind_its_save(&target);
        let at_once = |what: &str, look: (usize, Result<(), RedisError>)| {
            assert!(matches!(look, (1, Ok(()))), "{kind}: {what}: {look:?}");
            assert_eq!(target.run(&["DBSIZE"]), Reply::Int(1), "{kind}: {what}");
        };
        let message = |_: usize| moved(&|| drop(target.run(&["PUBLISH", "news", "1"])));
        at_once("messages", emptied_after(&target, false, usize::MAX, message).await);
        let fields = ["redis-8.0", "redis-8.2", "valkey-9.1"].contains(&kind);
        for (what, asks, there) in [
            ("an expiry at a look", "GET short", ""),
            ("an expiry", "DBSIZE", "1"),
            ("the expiry of a field", "HLEN h", "1"),
        ] {
            target.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
            if what.ends_with("field") {
                if !fields {
                    continue;
                }
                target.run(&["HSET", "h", "f", "1", "g", "2"]);
                target.run(&["HPEXPIRE", "h", "1", "FIELDS", "1", "f"]);
            } else {
                target.run(&["SET", "short", "v", "PX", "1"]);
            }
            let expire = |_: usize| {
                moved(&|| {
                    if !asks.starts_with("GET") {
                        target.run(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
                    }
                    let asks: Vec<&str> = asks.split(' ').collect();
                    wait(what, Duration::from_secs(20), || (target.run(&asks).text() == there).then_some(()));
                });
            };
            at_once(what, emptied_after(&target, false, 1, expire).await);
        }
        target.run(&["DEBUG", "POPULATE", "3000", "k", "1000"]);
        target.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
        let evict = |_: usize| {
            moved(&|| {
                let half = target.info("used_memory").parse::<u64>().unwrap() * 3 / 4;
                target.run(&["CONFIG", "SET", "maxmemory", &half.to_string()]);
            });
            target.run(&["CONFIG", "SET", "maxmemory", "0"]);
        };
        at_once("evictions", emptied_after(&target, false, 1, evict).await);

        // A save alone: looked at anew, and emptied.
        target.run(&["DEBUG", "POPULATE", "2000", "k", "500"]);
        let save = |_: usize| {
            moved(&|| drop(target.run(&["PUBLISH", "news", "1"])));
            target.run(&["BGSAVE"]);
            wait("a save", Duration::from_secs(20), || (target.info("rdb_bgsave_in_progress") == "0").then_some(()));
        };
        let (looks, driven) = emptied_after(&target, false, 1, save).await;
        assert!(driven.is_ok() && (2..=6).contains(&looks), "{kind}: {looks} {driven:?}");
        // Of a plan that told of writes they are counted instead: the sixth look lets them pass.
        let (looks, driven) = emptied_after(&target, true, usize::MAX, incr).await;
        assert!(looks == 6 && driven.is_ok(), "{kind}: {looks} {driven:?}");
    }
}
