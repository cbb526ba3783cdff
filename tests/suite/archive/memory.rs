//! Whatever a stream brings, `run` holds no more of it than a fixed amount.

use super::collector::KIND;
use crate::support::log::{Service, archived_to, coverage, log_until, position, service_log};
use crate::support::{Bench, Redis, unattended};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// What `run` may have resident at most, in KiB: less than the value, and less than the transaction.
const LIMIT_KB: u64 = 64_000_000 / 1024;
const VALUE: usize = 110_000_000;
const TRANSACTION: usize = 80_000_000;
const STREAM: usize = 30_000_000;

fn peak_kb(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
}

/// One value, one transaction, each larger than the bound, and small commands as fast as the server takes them: all of it is on the
/// vault, none was held.
#[test]
fn no_stream_is_held_in_memory() {
    let redis = Redis::start(KIND, &["--client-output-buffer-limit", "replica 0 0 0", "--maxmemory", "0"]);
    let bench = Bench::new(&unattended(&redis, "enable_backup_log = true\n[backup_log]\nseal_seconds = 1\n"));
    let service = Service::start(&bench);
    redis.run(&["SET", "a", "1"]);
    log_until(&bench, "a window", |log| log["window"].is_object());
    let mut peaks = vec![("before", peak_kb(&service))];

    let mut stage = |what: &'static str, write: &dyn Fn()| {
        let (_, before) = position(&redis);
        write();
        let (_, after) = position(&redis);
        archived_to(&bench, after);
        peaks.push((what, peak_kb(&service)));
        after - before
    };
    let rep = "redis.call('SET', KEYS[1], string.rep('x', ARGV[1]))";
    let value = stage("a value", &|| drop(redis.run(&["EVAL", rep, "1", "value", &VALUE.to_string()])));
    let many = "for i = 1, ARGV[1] / 1000 do redis.call('SET', KEYS[1] .. i % 100, string.rep('y', 1000)) end";
    let transaction = stage("a transaction", &|| drop(redis.run(&["EVAL", many, "1", "k", &TRANSACTION.to_string()])));
    let stream = stage("a stream", &|| {
        let batch: String = (0..1000).map(|n| format!("SET key:{n} {}\r\n", "z".repeat(300))).collect();
        let mut tcp = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
        let mut replies = vec![0; 5 * 1000];
        for _ in 0..STREAM / batch.len() + 1 {
            tcp.write_all(batch.as_bytes()).unwrap();
            tcp.read_exact(&mut replies).unwrap();
        }
    });
    assert!(
        value > VALUE as u64 && transaction > TRANSACTION as u64 && stream > STREAM as u64,
        "{value} {transaction} {stream}"
    );
    assert_eq!((coverage(&bench).runs.len(), coverage(&bench).holes.len()), (1, 0), "{}", service_log(&bench));
    println!("{peaks:?}");
    let (what, peak) = peaks[peaks.len() - 1];
    assert!(peak < LIMIT_KB, "{what}: {peaks:?} KiB");
}
