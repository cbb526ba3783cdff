//! The cutover of a restore by replication: what is overwritten is what was planned for, every write that was accepted is in the way
//! back or counted, and a look that does not hold leaves the target as it was.

use crate::support::{Bench, Redis, Reply, accepted_after, files_under, finish, text, unattended, wait};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a proxy does with bytes on their way to the server, before they are passed on.
pub type Tap = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Whether a client hears nothing more once these bytes of its own were passed on: what they come to is lost.
pub type Loses = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// A proxy in front of a server that can be told to put another one behind the same address.
pub struct Proxy {
    port: u16,
    to: Arc<AtomicU16>,
    accepted: Arc<AtomicU32>,
}

impl Proxy {
    pub fn start(to: &Redis, tap: Tap) -> Self {
        Self::with(to, tap, Arc::new(|_| ()), Arc::new(|_| false))
    }

    /// `back`: what it does with bytes on their way from the server.
    pub fn with(to: &Redis, tap: Tap, back: Tap, loses: Loses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, accepted) = (Arc::new(AtomicU16::new(to.port)), Arc::new(AtomicU32::new(0)));
        let (target, count) = (Arc::clone(&to), Arc::clone(&accepted));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                // Where the server is gone nobody listens here either.
                let Ok(server) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst))) else { break };
                let (from, answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (tap, back, loses) = (Arc::clone(&tap), Arc::clone(&back), Arc::clone(&loses));
                std::thread::spawn(move || pump(from, server, &*tap, &*loses));
                std::thread::spawn(move || pump(answers, client, &*back, &|_| false));
            }
        });
        Self { port, to, accepted }
    }

    pub fn config(&self) -> String {
        format!(
            "[guard]\nconfirmation = \"token\"\n[[instance]]\nid = \"orders\"\nurl = \"redis://127.0.0.1:{}\"\n",
            self.port
        )
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, tap: &dyn Fn(&[u8]), loses: &dyn Fn(&[u8]) -> bool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(n) = from.read(&mut bytes) {
        if n == 0 {
            break;
        }
        tap(&bytes[..n]);
        let lost = loses(&bytes[..n]);
        if lost {
            // Before the server can answer. It is left to do what it was told: its answer ends the connection.
            let _ = from.shutdown(Shutdown::Both);
        }
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
        if lost {
            return;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

pub fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.to_ascii_uppercase().windows(what.len()).any(|w| w == what.as_bytes())
}

/// Whether these bytes tell a server to follow somebody.
pub fn switches(bytes: &[u8]) -> bool {
    // Neither the way off us, nor what only asks for the right.
    contains(bytes, "*3\r\n$9\r\nREPLICAOF\r\n$") && !contains(bytes, "\r\nNO\r\n")
}

/// Whether these bytes set what a target needs to follow this program, right before it does, and that no question for a right sets.
pub fn prepares(bytes: &[u8]) -> bool {
    contains(bytes, "*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$17\r\nREPLICA-READ-ONLY\r\n$3\r\nYES")
}

const SETTINGS: [&str; 4] = ["masterauth", "masteruser", "repl-diskless-load", "replica-read-only"];

fn state(redis: &Redis) -> (String, String, Vec<String>) {
    (redis.digest(), redis.info("role"), SETTINGS.map(|s| redis.setting(s)).to_vec())
}

fn live_keys(redis: &Redis) -> u64 {
    match redis.run(&["EVAL", "return #redis.call('KEYS', 'live:*')", "0"]) {
        Reply::Int(n) => u64::try_from(n).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn restore_args<'a>(backup: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore-instance", "--instance-id", "orders", "--backup-id", backup, "--json"][..], more].concat()
}

/// Writes a second that are really accepted between plan and cutover, at the least.
const RATE: f64 = 5000.0;
/// Writes a second that are sent.
const SENT: f64 = 7000.0;

/// What was accepted of a writer, and when the last of it.
#[derive(Clone, Copy)]
struct Accepted {
    writes: u64,
    at: Instant,
}

/// Writes one key after the other, many at once, until the target refuses: that is the cutover, and what is accepted after it is the
/// restored instance's. What a held-up writer has missed it sends when it may.
fn write_on(port: u16, accepted: &Mutex<Accepted>, stop: &AtomicBool) -> std::io::Result<()> {
    let mut to = TcpStream::connect(("127.0.0.1", port))?;
    to.set_nodelay(true)?;
    to.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut from = BufReader::new(to.try_clone()?);
    let (begun, mut sent) = (Instant::now(), 0);
    while !stop.load(Ordering::SeqCst) {
        let due = (begun.elapsed().as_secs_f64() * SENT) as u64;
        let batch: String = (sent..due.min(sent + 500)).map(|n| format!("SET live:{n} paid\r\n")).collect();
        to.write_all(batch.as_bytes())?;
        for _ in batch.lines() {
            let mut line = String::new();
            from.read_line(&mut line)?;
            if line != "+OK\r\n" {
                return Ok(());
            }
            sent += 1;
            *accepted.lock().unwrap() = Accepted { writes: sent, at: Instant::now() };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Restores under writes, and looks after every one of them. Writes a second that the target accepted meanwhile.
fn restored_under_load(kind: &str, fence: bool) -> f64 {
    let redis = Redis::start(kind, &[]);
    redis.fill(1, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    let (stop, accepted) = (AtomicBool::new(false), Mutex::new(Accepted { writes: 0, at: Instant::now() }));
    let more: &[&str] = if fence { &["--write-fence"] } else { &[] };
    let (at_plan, reply, planned) = std::thread::scope(|scope| {
        scope.spawn(|| write_on(redis.port, &accepted, &stop).unwrap());
        let planned = bench.run(&restore_args(&backup, more));
        let at_plan = *accepted.lock().unwrap();
        let token = planned.json()["confirmation_token"].as_str().map(str::to_owned);
        let echo = [more, &["--confirmation-token", token.as_deref().unwrap_or_default()]].concat();
        let ended = bench.run(&restore_args(&backup, &echo));
        stop.store(true, Ordering::SeqCst);
        assert_eq!(planned.code, 0, "{planned:?}");
        let plan = planned.json();
        let traffic = plan["prechecks"].as_array().unwrap().iter().find(|c| c["name"] == "write_traffic").unwrap();
        assert_eq!(traffic["status"], "warn", "{traffic}");
        println!("{kind}, fence {fence}: {}", traffic["detail"]);
        assert_eq!((ended.code, &ended.json()["status"]), (0, &"succeeded".into()), "{ended:?}");
        (at_plan, ended.json(), plan)
    });
    let message = text(&reply["message"]);
    let accepted = accepted.into_inner().unwrap();
    let rate = (accepted.writes - at_plan.writes) as f64 / (accepted.at - at_plan.at).as_secs_f64();
    println!("{kind}, fence {fence}: {rate:.0} writes a second between plan and cutover: {message}");
    let counted = accepted_after(&message).unwrap();
    assert_eq!(live_keys(&redis), 0, "{kind}: the set has none of them");
    let kept = files_under(&bench.home().join("tails"));
    let resp: Vec<_> = kept.iter().filter(|p| p.extension().is_some_and(|e| e == "resp")).collect();
    if counted > 0 {
        let stream = std::fs::read(resp[0]).unwrap();
        let sets = stream.windows(5).filter(|w| w.eq_ignore_ascii_case(b"live:")).count();
        assert_eq!(sets as u64, counted, "{kind}: the tail holds what was counted");
    } else {
        assert!(resp.is_empty(), "{resp:?}");
    }
    if fence {
        assert_eq!(counted, 0, "{kind}: {message}");
        assert!(message.contains("writers waited") && message.contains("then writes were refused for"), "{message}");
        let checks = planned["prechecks"].as_array().unwrap();
        let told = text(&checks.iter().find(|c| c["name"] == "write_fence").unwrap()["detail"]);
        assert!(told.contains("writers wait for about") && told.contains("writes are refused for about"), "{told}");
    } else {
        assert!(message.contains("; writes were refused for"), "{message}");
    }
    // Writers go on at once.
    redis.run(&["SET", "after", "1"]);
    let way_back = text(&reply["plan"]["safety_backup_id"]);
    let back = bench.restore(&way_back);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(live_keys(&redis) + counted, accepted.writes, "{kind}: {message}");
    rate
}

/// Under thousands of writes a second: told, agreed to, done; and what was accepted before the target refused writes is in the
/// way back, or counted and kept. Behind a write fence nothing is left to count.
#[test]
fn every_accepted_write_is_in_the_way_back_or_counted() {
    for (kind, fence) in [("redis-7.0", false), ("redis-7.0", true), ("valkey-9.1", false), ("valkey-9.1", true)] {
        // A machine that was busy with something else is asked again.
        let enough = (0..3).any(|_| restored_under_load(kind, fence) >= RATE);
        assert!(enough, "{kind}: fewer than {RATE} writes a second were accepted, which shows nothing");
    }
}

/// Nobody writes: the plan's safety backup is the last one, no second is taken, and the end says that nothing came after it.
#[test]
fn without_a_write_the_plans_safety_backup_is_the_last_one() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let sets = bench.backups().len();
    // Neither messages nor statistics that are reset are writes.
    redis.run(&["PUBLISH", "channel", "message"]);
    redis.run(&["CONFIG", "RESETSTAT"]);
    let done = bench.run(&Bench::echo(&backup, &token));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(text(&done.json()["message"]).contains("nothing was written after it"), "{done:?}");
    assert_eq!(bench.backups().len(), sets);
}

/// A write that the counter does not see, because its command was renamed, or because the statistics were reset, voids a plan that
/// told of none.
#[test]
fn a_write_that_no_counter_shows_voids_the_plan() {
    let redis = Redis::start("redis-7.0", &["--rename-command", "SET", "xset"]);
    redis.run(&["xset", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["xset", "b", "2"]);
    for reset in [false, true] {
        let token = bench.token(&backup);
        let before = redis.info("total_commands_processed");
        redis.run(&["xset", "order", "paid"]);
        if reset {
            redis.run(&["CONFIG", "RESETSTAT"]);
        }
        let (void, now) = (bench.run(&Bench::echo(&backup, &token)), redis.digest());
        assert_eq!((void.code, &void.json()["code"]), (3, &"plan.changed".into()), "{before}: {void:?}");
        assert!(text(&void.json()["message"]).contains("1 write commands"), "{void:?}");
        assert_eq!(redis.digest(), now);
    }
}

/// What a script keeps out of the stream moves the counter: the plan's safety backup is not taken for the last one, and the way back has it.
#[test]
fn a_write_that_no_stream_shows_is_in_the_way_back() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["SET", "a", "1"]);
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["SET", "b", "2"]);
    let done = AtomicBool::new(false);
    let token = std::thread::scope(|scope| {
        // Traffic that changes nothing is in no stream either.
        let traffic = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                redis.run(&["DEL", "missing"]);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let token = bench.token(&backup);
        done.store(true, Ordering::SeqCst);
        traffic.join().unwrap();
        token
    });
    redis.run(&["EVAL", "redis.set_repl(redis.REPL_NONE) return redis.call('SET', 'quiet', '1')", "0"]);
    let ended = bench.run(&Bench::echo(&backup, &token));
    assert_eq!(ended.code, 0, "{ended:?}");
    let message = text(&ended.json()["message"]);
    assert!(message.contains("(taken after the yes)"), "{message}");
    let sets: Vec<String> = bench.backups().iter().map(|set| text(&set["backup_id"])).collect();
    let way_back = sets.iter().find(|id| message.contains(id.as_str())).unwrap();
    assert_eq!(bench.restore(way_back).code, 0);
    assert_eq!(redis.run(&["GET", "quiet"]), Reply::Text("1".into()));
}

/// A write between the last look at the server and REPLICAOF is found by the look that follows REPLICAOF: the target is taken off
/// this program again, with its data and its settings, and the fault says so.
#[test]
fn a_write_right_before_the_switch_is_found() {
    let redis = Redis::start("redis-7.0", &["--masterauth", "own"]);
    redis.fill(0, 1);
    let port = redis.port;
    let written = Arc::new(AtomicBool::new(false));
    let once = Arc::clone(&written);
    let tap: Tap = Arc::new(move |bytes| {
        if switches(bytes) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            tcp.write_all(b"SET order:1 paid\r\n").unwrap();
            assert_eq!(tcp.read(&mut [0; 16]).unwrap(), 5);
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let settings = state(&redis).2;
    let done = bench.run(&Bench::echo(&backup, &token));
    assert!(written.load(Ordering::SeqCst), "{done:?}");
    let failed = done.json();
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"plan.changed".into()), "{failed}");
    assert!(text(&failed["message"]).contains("not touched"), "{failed}");
    assert_eq!(redis.run(&["GET", "order:1"]), Reply::Text("paid".into()));
    assert_eq!((redis.info("role"), state(&redis).2), ("master".into(), settings));
    redis.run(&["SET", "writable", "1"]);
}

/// A script that keeps what it writes out of the stream is found by the server's own count: a plan that told of no writes is void.
#[test]
fn a_write_that_no_stream_has_is_found() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let (port, armed, hidden) = (redis.port, Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (ready, once) = (Arc::clone(&armed), Arc::clone(&hidden));
    let tap: Tap = Arc::new(move |bytes| {
        if prepares(bytes) && ready.load(Ordering::SeqCst) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let script = "redis.set_repl(redis.REPL_NONE) redis.call('SET', 'hidden', '1') return 1";
            tcp.write_all(format!("EVAL \"{script}\" 0\r\n").as_bytes()).unwrap();
            let mut reply = [0; 64];
            let n = tcp.read(&mut reply).unwrap();
            assert_eq!(&reply[..n], b":1\r\n", "{}", String::from_utf8_lossy(&reply));
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    armed.store(true, Ordering::SeqCst);
    let failed = bench.run(&Bench::echo(&backup, &token)).json();
    assert!(hidden.load(Ordering::SeqCst), "{failed}");
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"plan.changed".into()), "{failed}");
    assert!(text(&failed["message"]).contains("1 write commands were called"), "{failed}");
    assert_eq!((redis.run(&["MGET", "marker", "hidden"]).text(), redis.info("role")), ("1 1".into(), "master".into()));
}

/// Redis 6.2 drops what it has not sent its replicas when it is made to follow somebody. Under writes the stream behind the last safety
/// backup is waited for before that, so that a link which is slower than the writers loses nothing of it. Where writers cannot be held up
/// that loss is found, and the target is left as it was.
#[test]
fn a_stream_that_lags_is_waited_for() {
    for (kind, can_pause) in [("redis-6.2", true), ("redis-6.2", false), ("valkey-9.1", true)] {
        under_a_lagging_stream(kind, can_pause);
    }
}

fn under_a_lagging_stream(kind: &str, can_pause: bool) {
    const BYTES: usize = 24 << 20;
    let redis = Redis::start(kind, &[]);
    redis.fill(0, 1);
    redis.run(&["ACL", "SETUSER", "default", if can_pause { "+client" } else { "-client" }]);
    let (port, armed, lags) = (redis.port, Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (ready, once) = (Arc::clone(&armed), Arc::clone(&lags));
    // Right before the target follows us, somebody writes more than sockets hold.
    let tap: Tap = Arc::new(move |bytes| {
        if prepares(bytes) && ready.load(Ordering::SeqCst) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let value = "x".repeat(BYTES);
            tcp.write_all(format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${BYTES}\r\n{value}\r\n").as_bytes()).unwrap();
            assert_eq!(tcp.read(&mut [0; 16]).unwrap(), 5);
        }
    });
    // The link: at most a hundred megabytes a second.
    let slow: Tap = Arc::new(|bytes| std::thread::sleep(Duration::from_nanos(bytes.len() as u64 * 10)));
    let proxy = Proxy::with(&redis, tap, slow, Arc::new(|_| false));
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    let done = AtomicBool::new(false);
    let reply = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let _ = redis.try_run(&["INCR", "traffic"]);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let token = bench.token(&backup);
        armed.store(true, Ordering::SeqCst);
        let reply = bench.run(&Bench::echo(&backup, &token)).json();
        done.store(true, Ordering::SeqCst);
        reply
    });
    assert!(lags.load(Ordering::SeqCst), "{reply}");
    if !can_pause {
        assert_eq!((&reply["status"], &reply["code"]), (&"failed".into(), &"restore.tail_lost".into()), "{reply}");
        assert_eq!((redis.info("role"), redis.run(&["STRLEN", "big"])), ("master".into(), Reply::Int(BYTES as i64)));
        return;
    }
    assert_eq!(reply["status"], "succeeded", "{reply}");
    let message = text(&reply["message"]);
    assert!(accepted_after(&message).unwrap() >= 1, "{message}");
    // Nobody waits where nothing would be dropped.
    assert_eq!(message.contains("writers waited"), kind == "redis-6.2", "{message}");
    let kept = files_under(&bench.home().join("tails"));
    assert!(kept.iter().any(|file| file.metadata().unwrap().len() > BYTES as u64), "{kept:?}: {message}");
}

/// Writers get past a write fence right before the switch, as when this program was stopped for longer than its pause: the restore does
/// not begin, and what they wrote stays.
#[test]
fn a_fence_that_let_writers_through_stops_the_restore() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(0, 1);
    let (port, broken) = (redis.port, Arc::new(AtomicBool::new(false)));
    let once = Arc::clone(&broken);
    let tap: Tap = Arc::new(move |bytes| {
        if switches(bytes) && !once.swap(true, Ordering::SeqCst) {
            let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (command, answer) in [("CLIENT UNPAUSE", "+OK\r\n"), ("SET order paid", "+OK\r\n")] {
                tcp.write_all(format!("{command}\r\n").as_bytes()).unwrap();
                let mut reply = [0; 16];
                let n = tcp.read(&mut reply).unwrap();
                assert_eq!(&reply[..n], answer.as_bytes(), "{command}");
            }
        }
    });
    let proxy = Proxy::start(&redis, tap);
    let bench = Bench::new(&proxy.config());
    let backup = bench.backup();
    redis.run(&["SET", "marker", "1"]);
    let done = AtomicBool::new(false);
    let planned = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                redis.run(&["INCR", "traffic"]);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let planned = bench.run(&restore_args(&backup, &["--write-fence"]));
        done.store(true, Ordering::SeqCst);
        traffic.join().unwrap();
        planned
    });
    let token = text(&planned.json()["confirmation_token"]);
    let failed = bench.run(&restore_args(&backup, &["--write-fence", "--confirmation-token", &token])).json();
    assert!(broken.load(Ordering::SeqCst), "{failed}");
    assert_eq!((&failed["status"], &failed["code"]), (&"failed".into(), &"restore.fence_broken".into()), "{failed}");
    assert_eq!(
        (redis.run(&["MGET", "marker", "order"]).text(), redis.info("role")),
        ("1 paid".into(), "master".into())
    );
}

/// Another server behind the address, on whichever connection: neither is overwritten, and the other one keeps its settings.
#[test]
fn another_server_behind_the_address_is_not_overwritten() {
    for which in 1..=9 {
        let (ours, other) = (Redis::start("redis-7.0", &[]), Redis::start("redis-7.0", &[]));
        ours.run(&["SET", "who", "ours"]);
        other.run(&["SET", "who", "the other"]);
        let proxy = Proxy::start(&ours, Arc::new(|_| ()));
        let bench = Bench::new(&proxy.config());
        let backup = bench.backup();
        ours.run(&["SET", "marker", "1"]);
        let token = bench.token(&backup);
        let (before, another) = (ours.digest(), state(&other));
        let from = proxy.accepted.load(Ordering::SeqCst);
        let (to, accepted, port) = (Arc::clone(&proxy.to), Arc::clone(&proxy.accepted), other.port);
        let ended = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                while accepted.load(Ordering::SeqCst) < from + which && !ended.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                to.store(port, Ordering::SeqCst);
            });
            let done = bench.run(&Bench::echo(&backup, &token));
            ended.store(true, Ordering::SeqCst);
            done
        });
        assert_eq!(state(&other), another, "from connection {which} on: {done:?}");
        let now = ours.digest();
        // The other one may have come when the set was in, and says nothing of the first one's disk.
        if done.code != 0 && done.json()["code"] != "restore.not_on_disk" {
            assert_eq!(now, before, "from connection {which} on: {done:?}");
        }
        println!("from connection {which} on: {} {}", done.code, done.json()["code"]);
    }
}

/// Promoted only when its old data is freed, a target with a memory limit keeps all that was restored.
#[test]
fn nothing_is_evicted_after_the_swap() {
    let redis = Redis::start("redis-7.0", &[]);
    redis.run(&["DEBUG", "POPULATE", "300000", "k", "60"]);
    let used: u64 = redis.info("used_memory").parse().unwrap();
    let bench = Bench::unattended(&redis);
    let backup = bench.backup();
    redis.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    redis.run(&["CONFIG", "SET", "maxmemory", &(used * 13 / 10).to_string()]);
    let done = bench.restore(&backup);
    assert_eq!(done.code, 0, "{done:?}");
    wait("the old data to be freed", Duration::from_secs(30), || {
        (redis.info("lazyfree_pending_objects") == "0").then_some(())
    });
    assert_eq!((redis.run(&["DBSIZE"]), redis.info("evicted_keys")), (Reply::Int(300_000), "0".into()), "{done:?}");
}

/// A target that hides REPLICAOF, or whose user may not use it, is restored by commands.
#[test]
fn without_replicaof_it_goes_by_commands() {
    let hidden = Redis::start("redis-7.0", &["--rename-command", "REPLICAOF", "", "--rename-command", "SLAVEOF", ""]);
    let denied = Redis::start("redis-7.0", &[]);
    denied.run(&["ACL", "SETUSER", "bk", "on", ">pw", "~*", "&*", "+@all", "-replicaof"]);
    for (redis, more) in [(&hidden, ""), (&denied, "username = \"bk\"\npassword = \"pw\"")] {
        redis.run(&["SET", "a", "1"]);
        let bench = Bench::new(&unattended(redis, more));
        let (backup, good) = (bench.backup(), redis.digest());
        redis.run(&["SET", "a", "2"]);
        let done = bench.restore(&backup);
        assert_eq!((done.code, &done.json()["plan"]["way"]), (0, &"commands".into()), "{done:?}");
        assert_eq!(redis.digest(), good);
        // There the fence has nothing to stand on, and says so.
        let fence = bench.run(&restore_args(&backup, &["--write-fence"]));
        assert_eq!((fence.code, &fence.json()["code"]), (2, &"restore.no_fence".into()), "{fence:?}");
    }
}

/// A target that dies while it loads ends the job within seconds, with what is known of it and the way back.
#[test]
fn a_target_that_dies_while_it_loads_is_said_at_once() {
    let slow = ["--key-load-delay", "50", "--loading-process-events-interval-bytes", "1024"];
    let mut target = Redis::start("redis-7.0", &slow);
    target.run(&["DEBUG", "POPULATE", "50000", "k", "60"]);
    let bench = Bench::unattended(&target);
    let backup = bench.backup();
    target.run(&["SET", "marker", "1"]);
    let token = bench.token(&backup);
    let child = bench.spawn(&Bench::echo(&backup, &token));
    wait("the target to load", Duration::from_secs(60), || {
        ["loading", "async_loading"].iter().any(|flag| target.info(flag) == "1").then_some(())
    });
    target.kill();
    let begun = Instant::now();
    let done = finish(child);
    let failed: Value = done.json();
    println!("after {:?}: {failed}", begun.elapsed());
    assert_eq!((done.code, &failed["status"]), (5, &"failed".into()), "{done:?}");
    assert!(text(&failed["message"]).contains("process has ended"), "{failed}");
    assert!(text(&failed["hint"]).contains("safety backup"), "{failed}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
