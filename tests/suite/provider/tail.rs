//! The writes between the last safety backup of a restore and its cutover: all of them are kept, on our disk or in the instance's log, and
//! come back by the call that the end spells out; or nothing is overwritten.

use crate::provider::by_commands::{COMMANDS, EXEC, SWAP, at_the_swap};
use crate::provider::cutover::{Loses, Proxy, Tap, contains, prepares};
use crate::provider::moment::back;
use crate::support::disk::SmallDisk;
use crate::support::log::{LONG, Service, archived_to, log_until, position, received, service_log};
use crate::support::{Bench, Redis, Reply, accepted_after, files_under, run_at, text, wait};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Writes of a megabyte each, right before the target is told to follow us, or is swapped: more than a limit of one megabyte lets through.
const WRITES: u64 = 3;

fn write_all(port: u16) {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for n in 0..WRITES {
        let value = "x".repeat(1 << 20);
        let set = format!("*3\r\n$3\r\nSET\r\n$7\r\norder:{n}\r\n${}\r\n{value}\r\n", value.len());
        tcp.write_all(set.as_bytes()).unwrap();
        assert_eq!(tcp.read(&mut [0; 16]).unwrap(), 5);
    }
}

/// A target behind a proxy, written to at that moment of each restore, and its bench; the set has none of what is written.
struct Scene {
    redis: Redis,
    bench: Bench,
    backup: String,
    armed: Arc<AtomicBool>,
}

fn config(proxy: &Proxy, megabytes: u32, more: &str) -> String {
    let guard = format!("confirmation = \"token\"\ntail_megabytes = {megabytes}\n[backup_log]\nseal_seconds = 1");
    format!("{}{more}\n", proxy.config().replace("confirmation = \"token\"", &guard))
}

impl Scene {
    fn new(megabytes: u32, more: &str) -> (Self, Proxy) {
        Self::losing(megabytes, more, Arc::new(|_| false))
    }

    /// `loses`: as a proxy takes it.
    fn losing(megabytes: u32, more: &str, loses: Loses) -> (Self, Proxy) {
        let tap = |port, ready: Arc<AtomicBool>| -> Tap {
            Arc::new(move |bytes| {
                if (prepares(bytes) || contains(bytes, SWAP)) && ready.swap(false, Ordering::SeqCst) {
                    write_all(port);
                }
            })
        };
        Self::tapped(megabytes, more, tap, loses)
    }

    /// Written to by what a tap makes of a target's port, once it is armed.
    fn tapped(
        megabytes: u32,
        more: &str,
        tap: impl FnOnce(u16, Arc<AtomicBool>) -> Tap,
        loses: Loses,
    ) -> (Self, Proxy) {
        let redis = Redis::start("redis-7.0", &["--repl-backlog-size", "64mb"]);
        redis.fill(0, 1);
        redis.run(&["DEBUG", "POPULATE", "5000", "k", "60"]);
        let armed = Arc::new(AtomicBool::new(false));
        let proxy = Proxy::with(&redis, tap(redis.port, Arc::clone(&armed)), Arc::new(|_| ()), loses);
        let bench = Bench::new(&config(&proxy, megabytes, more));
        let backup = bench.backup();
        (Self { redis, bench, backup, armed }, proxy)
    }

    /// Restores by a plan that told of writes.
    fn restore(&self) -> Value {
        let planned = AtomicBool::new(false);
        let token = std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                while !planned.load(Ordering::SeqCst) {
                    self.redis.run(&["DEL", "missing"]);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let token = self.bench.token(&self.backup);
            planned.store(true, Ordering::SeqCst);
            traffic.join().unwrap();
            token
        });
        self.armed.store(true, Ordering::SeqCst);
        let done = self.bench.run(&Bench::echo(&self.backup, &token)).json();
        assert!(!self.armed.load(Ordering::SeqCst), "nothing was written: {done}");
        done
    }

    fn orders(&self) -> u64 {
        (0..WRITES).filter(|n| self.redis.run(&["STRLEN", &format!("order:{n}")]) == Reply::Int(1 << 20)).count() as u64
    }

    fn tails(&self) -> Vec<String> {
        let files = files_under(&self.bench.home().join("tails"));
        files.iter().filter_map(|p| p.extension()?.to_str().map(str::to_owned)).collect()
    }

    /// A restore that ended as a refusal for this reason, and has overwritten nothing.
    fn refused(&self, why: &str) {
        self.refused_with("the target was not touched: 3 write commands", why);
    }

    fn refused_with(&self, first: &str, why: &str) {
        let tails = self.tails();
        let failed = self.restore();
        assert_eq!(
            (&failed["status"], &failed["code"]),
            (&"failed".into(), &"restore.tail_not_kept".into()),
            "{failed}"
        );
        let said = format!("{} {}", text(&failed["message"]), text(&failed["hint"]));
        for part in [first, why, "guard.tail_megabytes", "write_fence"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!((self.orders(), self.redis.info("role")), (WRITES, "master".into()), "{failed}");
        assert_eq!(self.tails(), tails, "{failed}");
    }

    /// A restore that is done; what its end says, and its job.
    fn restored(&self) -> (String, String) {
        let done = self.restore();
        assert_eq!(done["status"], "succeeded", "{done}\n{}", service_log(&self.bench));
        let message = text(&done["message"]);
        assert_eq!((accepted_after(&message), self.orders()), (Some(WRITES), 0), "{message}");
        (message, text(&done["job_id"]))
    }

    /// A restore that is done, and whose call brings every write back; what its end says.
    fn restored_and_back(&self) -> String {
        let (message, job) = self.restored();
        let call = format!("restore_instance with instance_id orders and before_position {job}");
        assert!(message.contains(&format!("{call} returns to the last of them")), "{message}");
        // Of the log the end is on its way to the vault.
        let plan = ["restore-instance", "--instance-id", "orders", "--before-position", &job, "--json"];
        wait("a plan", LONG, || (self.bench.run(&plan).code == 0).then_some(()));
        let returned = back(&self.bench, &job);
        assert_eq!(returned.code, 0, "{returned:?}\n{}", service_log(&self.bench));
        assert_eq!(self.orders(), WRITES, "{message}");
        message
    }
}

/// More than is configured, or than the disk has room for, by replication and beside the old data: the target is left as it is, and the
/// next step is named. With room the same restore is done, and its way back ends at the last write.
#[test]
fn what_cannot_be_kept_is_not_overwritten() {
    for more in ["", COMMANDS] {
        let (scene, proxy) = Scene::new(1, more);
        scene.refused("more than the 1.0 MiB that guard.tail_megabytes allows; and the instance has no log that is on");
        scene.bench.configure(&config(&proxy, 8, more));
        if let Some(disk) = SmallDisk::at(&scene.bench.home().join("tails"), 100) {
            disk.fill_but(8 << 20);
            scene.refused("the disk of the home directory has");
        }
        // By commands a moment needs a server program here, which this bench has not.
        let message = if more.is_empty() { scene.restored_and_back() } else { scene.restored().0 };
        assert!(message.contains("and lie in ") && message.contains(".resp"), "{message}");
    }
}

/// What the tail has no room for the log has: the call is the same, and replays the log; of what is loaded beside, the log has too much.
#[test]
fn the_log_has_what_the_tail_has_no_room_for() {
    let on = "enable_backup_log = true\n";
    let (scene, proxy) = Scene::new(1, on);
    let service = Service::start(&scene.bench);
    log_until(&scene.bench, "an archiver", |log| log["archiver"].is_string());
    scene.redis.run(&["SET", "begun", "1"]);
    archived_to(&scene.bench, position(&scene.redis).1);
    let message = scene.restored_and_back();
    assert!(
        message.contains("3 write commands were accepted after it, and lie in the instance's log, up to t-"),
        "{message}"
    );
    assert!(scene.tails().iter().all(|kept| kept == "json"), "{message}");

    scene.bench.configure(&config(&proxy, 1, &format!("{on}{COMMANDS}")));
    scene.redis.run(&["DEL", "order:0", "order:1", "order:2"]);
    received(&scene.bench, &scene.redis);
    scene.refused("the instance's log has what this restore loads beside the old data as well");

    // An archiver that is gone has received nothing since.
    scene.bench.configure(&config(&proxy, 1, on));
    service.kill();
    scene.redis.run(&["DEL", "order:0", "order:1", "order:2"]);
    scene.refused("the instance's log was not seen to have them");
}

/// The connection is lost at the swap, or as the target is told that the look at it has held: its old data may be gone, so what was accepted
/// right before stays here, and whoever finds the restore tells of it.
#[test]
fn a_swap_that_may_have_come_through_keeps_the_tail() {
    for steps in [&[EXEC][..], &[EXEC, EXEC]] {
        let lost = Arc::new(AtomicBool::new(false));
        let (scene, _proxy) = Scene::losing(8, COMMANDS, at_the_swap(steps, Arc::clone(&lost)));
        let failed = scene.restore();
        assert!(lost.load(Ordering::SeqCst), "{failed}");
        assert!(text(&failed["message"]).contains("what the target holds now is not known"), "{failed}");
        assert!(scene.tails().iter().any(|kept| kept == "resp"), "{failed}");
        let jobs = scene.bench.jobs();
        let job = jobs.iter().find(|job| job["kind"] == "restore").unwrap();
        let message = text(&job["message"]);
        assert!(message.contains("the target holds the restored backup"), "{message}");
        assert_eq!(scene.orders(), 0, "{message}");
        assert!(scene.tails().iter().any(|kept| kept == "resp"), "{message}");
        // Of a reply that never came nobody could judge.
        let told = if steps.len() == 1 { None } else { Some(WRITES) };
        assert_eq!(accepted_after(&message), told, "{message}");
    }
}

/// A target that dies behind the cutover of a restore by replication: the end tells what was accepted before, and where that lies.
#[test]
fn an_end_behind_the_cutover_tells_what_was_accepted() {
    let (scene, _proxy) = Scene::new(8, "");
    scene.redis.run(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    scene.redis.run(&["CONFIG", "SET", "key-load-delay", "500"]);
    let process = scene.redis.info("process_id");
    let failed = std::thread::scope(|scope| {
        scope.spawn(|| {
            let loads = || ["loading", "async_loading"].iter().any(|flag| scene.redis.info(flag) == "1");
            wait("the target to load", LONG, || loads().then_some(()));
            assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
        });
        scene.restore()
    });
    let message = text(&failed["message"]);
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(message.contains("process has ended"), "{message}");
    assert_eq!(accepted_after(&message), Some(WRITES), "{message}");
    assert!(message.contains("and lie in ") && scene.tails().iter().any(|kept| kept == "resp"), "{message}");
}

/// Beside the old data a load that is not over is ended as soon as it is certain that what clients write meanwhile cannot be kept: nothing is
/// swapped, and nothing of it is left.
#[test]
fn a_load_that_would_be_dropped_is_ended() {
    let (marked, swaps) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let swapped = Arc::clone(&swaps);
    let databases = |port| run_at(port, &[], &["INFO", "keyspace"]).unwrap().text().matches("\ndb").count();
    let tap = move |port, armed: Arc<AtomicBool>| -> Tap {
        Arc::new(move |bytes| {
            if marked.load(Ordering::SeqCst) {
                swapped.fetch_or(contains(bytes, SWAP), Ordering::SeqCst);
                if contains(bytes, "\r\nRESTORE\r\n") && armed.swap(false, Ordering::SeqCst) {
                    // What is loaded waits here until it is given up.
                    let there = databases(port);
                    write_all(port);
                    let until = Instant::now() + LONG;
                    while databases(port) >= there && Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            } else if armed.load(Ordering::SeqCst) && contains(bytes, "TAIR-BACKUP-MCP:BESIDE") {
                marked.store(true, Ordering::SeqCst);
            }
        })
    };
    let (scene, _proxy) = Scene::tapped(1, COMMANDS, tap, Arc::new(|_| false));
    let before = scene.redis.statistics().len();
    scene.refused_with(
        "the target was not touched: ",
        "guard.tail_megabytes allows; and the instance has no log that is on",
    );
    assert!(!swaps.load(Ordering::SeqCst));
    assert_eq!(scene.redis.statistics().len(), before);
}
