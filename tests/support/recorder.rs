//! Follows a server as a replica and writes its log, as the archiver does, so that a test knows what the log has.

use crate::support::{Bench, Redis, text, wait};
use jiff::{SignedDuration, Timestamp};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tair_backup_mcp::archive::{Archive, LogWriter, NewTimeline, SealLimits, Timeline};
use tair_backup_mcp::vault::Vault;

/// A log of `orders` that is being written.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    reached: Arc<AtomicU64>,
    thread: Option<JoinHandle<LogWriter>>,
    pub timeline: Timeline,
}

pub fn archive(bench: &Bench) -> Archive {
    Archive::new(&Vault::new(bench.home().join("vault")), bench.home().join("spool"))
}

/// Replication id and offset of a set.
pub fn position_of(bench: &Bench, backup: &str) -> (String, u64) {
    let path = bench.home().join("vault/orders").join(backup).join("manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    (text(&manifest["replication"]["id"]), manifest["replication"]["offset"].as_u64().unwrap())
}

impl Recorder {
    /// Begins a timeline behind a set of the server, which its backlog must reach back to.
    pub fn behind(bench: &Bench, redis: &Redis, backup: &str) -> Self {
        let (replid, offset) = position_of(bench, backup);
        let timeline = archive(bench)
            .open_timeline(NewTimeline {
                instance_id: "orders".into(),
                shard: 0,
                opened_at: Timestamp::now(),
                replid,
                offset,
                database: None,
                restored_from: None,
            })
            .unwrap();
        Self::follow(bench, redis, timeline, |_| ())
    }

    /// Goes on with a timeline, from where `place` brings its writer.
    pub fn follow(bench: &Bench, redis: &Redis, timeline: Timeline, place: impl FnOnce(&mut LogWriter)) -> Self {
        let limits = SealLimits { bytes: 1 << 20, age: Duration::from_millis(300) };
        let mut writer = archive(bench).writer(&timeline, limits).unwrap();
        place(&mut writer);
        let (stop, reached) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(writer.offset())));
        let mut link = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
        // One after the other: a source refuses a PSYNC while it has something to answer.
        for (ask, answer) in [
            ("REPLCONF capa eof capa psync2".to_owned(), "+OK"),
            (format!("PSYNC {} {}", writer.replid(), writer.offset() + 1), "+CONTINUE"),
        ] {
            link.write_all(format!("{ask}\r\n").as_bytes()).unwrap();
            let mut line = String::new();
            while !line.ends_with('\n') {
                let mut byte = [0];
                link.read_exact(&mut byte).unwrap();
                line.push(char::from(byte[0]));
            }
            assert!(line.starts_with(answer), "{ask}: {line}");
        }
        link.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (stopped, so_far) = (Arc::clone(&stop), Arc::clone(&reached));
        let thread = std::thread::spawn(move || {
            record(&mut link, &mut writer, &stopped, &so_far);
            writer
        });
        Self { stop, reached, thread: Some(thread), timeline }
    }

    /// Waits until the log has all that the server wrote.
    pub fn catch_up(&self, redis: &Redis) {
        let written: u64 = redis.info("master_repl_offset").parse().unwrap();
        wait("the log to catch up", Duration::from_secs(30), || {
            (self.reached.load(Ordering::SeqCst) >= written).then_some(())
        });
    }

    /// Stops, with all of it on the vault.
    pub fn stop(mut self) -> Timeline {
        self.stop.store(true, Ordering::SeqCst);
        let mut writer = self.thread.take().unwrap().join().unwrap();
        writer.append(&[], Timestamp::now(), SignedDuration::ZERO).unwrap();
        writer.sync().unwrap();
        writer.seal_now().unwrap();
        writer.sealer().seal().unwrap();
        self.timeline.clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn record(link: &mut TcpStream, writer: &mut LogWriter, stop: &AtomicBool, reached: &AtomicU64) {
    let (mut sealer, mut acked, mut piece) =
        (writer.sealer(), Instant::now() - Duration::from_secs(1), vec![0; 1 << 16]);
    while !stop.load(Ordering::SeqCst) {
        if acked.elapsed() >= Duration::from_millis(500) {
            acked = Instant::now();
            if link.write_all(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n").is_err() {
                return;
            }
            writer.sync().unwrap();
            writer.seal_due(Instant::now()).unwrap();
            sealer.seal().unwrap();
        }
        let read = match link.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => n,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => 0,
            Err(_) => return,
        };
        writer.append(&piece[..read], Timestamp::now(), SignedDuration::ZERO).unwrap();
        reached.store(writer.offset(), Ordering::SeqCst);
    }
}
