//! Many times what this program may hold in memory goes out and comes back equal, and it holds less than 64 MB all along. So many megabytes as
//! `MEMORY_TEST_MEGABYTES` says, where it is set.

use crate::support::{Bench, Done, Redis, finish, s3, text, unattended};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What is looked at in the process's status: all but the pages of the program's own file, of which what is released has 13 MB resident, and the
/// tests' profile thrice that.
const HELD: &str = "RssAnon:";
/// What remains for it of 64 MB.
const LIMIT: u64 = 64_000_000 - 14_000_000;

/// Reports past the test runner, which keeps the output of tests that pass to itself.
fn say(line: &str) {
    std::io::stderr().write_all(format!("memory: {line}\n").as_bytes()).unwrap();
}

/// Says at its end that it is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the program, which must stay within the limit.
fn measured(bench: &Bench, what: &str, args: &[&str]) -> Done {
    let child = bench.spawn(args);
    let status = format!("/proc/{}/status", child.id());
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // Gone once it has ended; what was read before stands.
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let kb =
                    text.lines().find_map(|l| l.strip_prefix(HELD)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
                peak.fetch_max(kb.unwrap_or(0) * 1024, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        // Also where what is waited for fails: the scope waits for its thread.
        let _over = Over(&over);
        finish(child)
    });
    let peak = peak.into_inner();
    say(&format!("{what}: peak {:.1} MB", peak as f64 / 1e6));
    assert_eq!(done.code, 0, "{what}: {done:?}");
    assert!(peak > 0 && peak < LIMIT, "{what}: {peak} bytes");
    done
}

/// Capture, verification and plan, download, and restore of the same data, each measured.
fn there_and_back(megabytes: u32, bench: impl FnOnce(&Redis) -> Bench) {
    let forced = std::env::var("MEMORY_TEST_MEGABYTES").ok().and_then(|m| m.parse().ok());
    let redis = Redis::start("redis-7.0", &[]);
    redis.fill(forced.unwrap_or(megabytes), 1);
    say(&format!("{} bytes used, {:?}", redis.info("used_memory"), redis.statistics()));
    let bench = bench(&redis);
    let before = redis.digest();
    let made = measured(&bench, "capture", &["create-backup", "--instance-id", "orders", "--json"]).json();
    let backup = text(&made["backup_id"]);
    redis.run(&["FLUSHDB"]);
    redis.run(&["SET", "marker", "written since"]);
    let id = ["--instance-id", "orders", "--backup-id", &backup, "--json"];
    measured(&bench, "download", &[&["download-backup"], &id[..]].concat());
    let plan = measured(&bench, "verification and plan", &[&["restore-instance"], &id[..]].concat()).json();
    let token = text(&plan["confirmation_token"]);
    let done = measured(&bench, "restore", &Bench::echo(&backup, &token)).json();
    // A slow restore outlives its reply, but not the process.
    assert!(done["status"] == "succeeded" || done["status"] == "started", "{done}");
    let jobs = bench.jobs();
    let job = jobs.iter().find(|j| j["job_id"] == done["job_id"]).unwrap();
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(redis.digest(), before);
    assert_eq!((redis.info("role"), redis.setting("repl-diskless-load")), ("master".into(), "disabled".into()));
}

#[test]
fn what_is_large_goes_through_64_megabytes() {
    there_and_back(400, Bench::unattended);
}

/// By way of a bucket, whose parts and blocks are held besides.
#[test]
fn so_by_way_of_a_bucket() {
    there_and_back(100, |redis| {
        let mut bench = Bench::new(&format!("vault = \"{}\"\n{}", s3::url(&s3::prefix()), unattended(redis, "")));
        bench.env = s3::environment(s3::KEY.1);
        bench
    });
}
