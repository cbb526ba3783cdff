//! Support for tests of the log: the service as a process, a wire that can be cut and moved to another server, a witness that takes a
//! source's stream by itself, and what lies on the vault.

use super::preload::Preload;
use super::{Bench, Redis, wait};
use jiff::Timestamp;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tair_backup_mcp::archive::segment::read::Segment;
use tair_backup_mcp::archive::{Archive, Coverage};
use tair_backup_mcp::model::time::written;
use tair_backup_mcp::vault::Vault;
use tair_backup_mcp::vault::signing::Signing;

/// Long enough for whatever is waited for on a machine under load.
pub const LONG: Duration = Duration::from_secs(60);

/// `run` as a process, killed when dropped.
pub struct Service(Option<Child>);

impl Service {
    pub fn start(bench: &Bench) -> Self {
        Self::begin(bench, bench.command(&["run"]))
    }

    /// With a library that tells it the time, and how its vault is.
    pub fn with(bench: &Bench, preload: &Preload) -> Self {
        let mut command = bench.command(&["run"]);
        preload.give(&mut command);
        Self::begin(bench, command)
    }

    /// The same, with a server to drill sets with.
    pub fn drilling(bench: &Bench, preload: &Preload, kind: &str) -> Self {
        let mut command = bench.command_beside(kind, &["run"]);
        preload.give(&mut command);
        Self::begin(bench, command)
    }

    fn begin(bench: &Bench, mut command: Command) -> Self {
        // Kept for who reads a failure.
        let err = std::fs::OpenOptions::new().create(true).append(true).open(bench.dir.path().join("service.log"));
        command.stderr(err.unwrap());
        command.env("TAIR_BACKUP_MCP_LOG", "error,tair_backup_mcp=info");
        Self(Some(command.spawn().unwrap()))
    }

    pub fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Whether the process is over, by itself or killed.
    pub fn is_over(&mut self) -> bool {
        self.0.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Kills the service as nothing can foresee.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Asks the service to end by SIGTERM; its exit code.
    pub fn ask_to_end(mut self) -> Option<i32> {
        let mut child = self.0.take().unwrap();
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        wait("the service to end", LONG, || child.try_wait().unwrap()).code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

/// The lines that the services of a bench have logged.
pub fn service_log(bench: &Bench) -> String {
    std::fs::read_to_string(bench.dir.path().join("service.log")).unwrap_or_default()
}

/// The log of `orders` as `describe_instances` shows it.
pub fn log_of(bench: &Bench) -> Value {
    bench.json(&["describe-instances", "--instance-id", "orders"])["instances"][0]["protection"]["log"].clone()
}

/// Waits until the log is as wanted.
pub fn log_until(bench: &Bench, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let deadline = Instant::now() + LONG;
    while Instant::now() < deadline {
        last = log_of(bench);
        if wanted(&last) {
            return last;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}: {last}\n{}", service_log(bench));
}

/// What the log of `orders` covers.
pub fn coverage(bench: &Bench) -> Coverage {
    archive(bench).coverage("orders", 0).unwrap()
}

/// The vault of a bench, on which sets are signed as the processes of the bench sign them.
pub fn signed_vault(bench: &Bench) -> Vault {
    let signing = Signing::new(&bench.home(), Vec::new(), false);
    Vault::new(bench.home().join("vault")).signed(Arc::new(signing))
}

pub fn archive(bench: &Bench) -> Archive {
    Archive::new(&Vault::new(bench.home().join("vault")), bench.home().join("spool"))
}

/// Waits until the log of an instance that is written to has a window, and all of what was written is on the vault. A log to which nobody
/// writes hears of its source every ten seconds.
pub fn begun(bench: &Bench, redis: &Redis) {
    log_until(bench, "a window", |log| {
        redis.run(&["SET", "a", "1"]);
        log["window"].is_object()
    });
    archived_to(bench, position(redis).1);
}

/// Waits until the vault has the log up to an offset of the source, in the newest timeline.
pub fn archived_to(bench: &Bench, offset: u64) {
    let deadline = Instant::now() + LONG;
    let reached = || coverage(bench).runs.last().and_then(|run| Some(run.segments.last()?.last));
    while reached().is_none_or(|at| at < offset) {
        assert!(
            Instant::now() < deadline,
            "{:?} of {offset} archived\n{}\n{:?}",
            reached(),
            service_log(bench),
            log_of(bench)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The whole second that has just begun, once it has: what was written before is received before it, and what is written from now on is
/// received behind it.
pub fn second() -> String {
    let now = Timestamp::now().as_second();
    wait("the next second", LONG, || (Timestamp::now().as_second() > now).then_some(()));
    let begun = Timestamp::now();
    // What arrives within its first millisecond would count as of it.
    while Timestamp::now().duration_since(begun).as_millis() < 2 {
        std::hint::spin_loop();
    }
    written(begun)
}

/// Where a server is in its history.
pub fn position(redis: &Redis) -> (String, u64) {
    (redis.info("master_replid"), redis.info("master_repl_offset").parse().unwrap())
}

/// A port that leads to a server, until it is cut or leads to another.
pub struct Wire {
    pub port: u16,
    to: Arc<AtomicU16>,
    open: Arc<AtomicBool>,
    /// Connections so far, and how many of them, the first ones, let nothing through just now.
    taken: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

/// Hands on what comes from one end to the other, and waits for as long as it `is_held`.
fn hand_on(mut from: TcpStream, mut into: TcpStream, is_held: impl Fn() -> bool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        while is_held() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if into.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
}

impl Wire {
    pub fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            port: listener.local_addr().unwrap().port(),
            to: Arc::new(AtomicU16::new(redis.port)),
            open: Arc::new(AtomicBool::new(true)),
            taken: Arc::default(),
            held: Arc::default(),
            ends: Arc::default(),
        };
        let (to, open, ends) = (Arc::clone(&wire.to), Arc::clone(&wire.open), Arc::clone(&wire.ends));
        let (taken, held) = (Arc::clone(&wire.taken), Arc::clone(&wire.held));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst))) else { continue };
                ends.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let number = taken.fetch_add(1, Ordering::SeqCst);
                for (from, into) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                    let held = Arc::clone(&held);
                    std::thread::spawn(move || hand_on(from, into, || number < held.load(Ordering::SeqCst)));
                }
            }
        });
        wire
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Cuts every connection; new ones are taken unless the wire is closed.
    pub fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Lets nothing through until it is opened.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cut();
    }

    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Holds up what comes on the connections that there are, which stay. New ones let everything through.
    pub fn hold(&self) {
        self.held.store(self.taken.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Lets through what was held up.
    pub fn let_go(&self) {
        self.held.store(0, Ordering::SeqCst);
    }

    /// Leads to another server from now on.
    pub fn lead_to(&self, redis: &Redis) {
        self.to.store(redis.port, Ordering::SeqCst);
        self.cut();
    }
}

/// A replica link of the test's own, which keeps what comes: what the log has is compared with it.
pub struct Witness {
    from: u64,
    bytes: Arc<Mutex<Vec<u8>>>,
    tcp: TcpStream,
}

fn line(tcp: &mut TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        tcp.read_exact(&mut byte).unwrap();
        match byte[0] {
            b'\n' if line.is_empty() => {}
            b'\n' => return String::from_utf8(line).unwrap(),
            b'\r' => {}
            byte => line.push(byte),
        }
    }
}

impl Witness {
    /// Attaches by a full synchronisation, whose data it passes over; the server has a backlog from then on.
    pub fn attach(redis: &Redis) -> Self {
        let mut tcp = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
        tcp.set_nodelay(true).unwrap();
        write!(tcp, "REPLCONF capa eof capa psync2\r\n").unwrap();
        assert_eq!(line(&mut tcp), "+OK");
        // Not before: a server refuses PSYNC behind a reply that it has not sent.
        write!(tcp, "PSYNC ? -1\r\n").unwrap();
        let resync = line(&mut tcp);
        let from = resync.split(' ').nth(2).unwrap_or_else(|| panic!("{resync}")).parse().unwrap();
        let framing = line(&mut tcp);
        match framing.strip_prefix("$EOF:") {
            Some(mark) => {
                let mut seen = Vec::new();
                while !seen.ends_with(mark.as_bytes()) {
                    let mut byte = [0];
                    tcp.read_exact(&mut byte).unwrap();
                    seen.push(byte[0]);
                }
            }
            None => {
                let length: u64 = framing.trim_start_matches('$').parse().unwrap();
                std::io::copy(&mut (&tcp).take(length), &mut std::io::sink()).unwrap();
            }
        }
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let (mut acks, mut reads, kept) = (tcp.try_clone().unwrap(), tcp.try_clone().unwrap(), Arc::clone(&bytes));
        std::thread::spawn(move || {
            while acks.write_all(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while let Ok(n @ 1..) = reads.read(&mut piece) {
                let mut kept = kept.lock().unwrap();
                let blank = if kept.is_empty() { piece.iter().take_while(|b| **b == b'\n').count() } else { 0 };
                kept.extend_from_slice(&piece[blank.min(n)..n]);
            }
        });
        Self { from, bytes, tcp }
    }

    /// What the source sent between two offsets, waited for.
    pub fn between(&self, from: u64, to: u64) -> Vec<u8> {
        assert!(from >= self.from, "the witness came later: {} > {from}", self.from);
        wait("the witness's stream", LONG, || {
            let bytes = self.bytes.lock().unwrap();
            let at = |offset: u64| usize::try_from(offset - self.from).unwrap();
            bytes.get(at(from)..at(to)).map(<[u8]>::to_vec)
        })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }
}

/// Writes to a server without a pause, in a thread, until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Load {
    pub fn on(redis: &Redis) -> Self {
        let (port, stop) = (redis.port, Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut n = 0u64;
            while !stopped.load(Ordering::SeqCst) {
                let Ok(mut tcp) = TcpStream::connect(("127.0.0.1", port)) else { break };
                let _ = tcp.set_read_timeout(Some(Duration::from_secs(5)));
                while !stopped.load(Ordering::SeqCst) {
                    n += 1;
                    let value = "x".repeat((n * 37 % 400) as usize);
                    let all = format!(
                        "SET key:{} \"{value}\"\r\nMULTI\r\nINCR a\r\nINCR b\r\nEXEC\r\nLPUSH list {n}\r\nLTRIM list 0 99\r\n",
                        n % 5000
                    );
                    let mut replies = [0; 1024];
                    if tcp.write_all(all.as_bytes()).is_err() || !matches!(tcp.read(&mut replies), Ok(1..)) {
                        break;
                    }
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
            n
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends the writing; how many rounds were written.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// The bytes of the newest timeline as they lie on the vault, and the offset at which they begin.
pub fn logged(bench: &Bench) -> (u64, Vec<u8>) {
    let store = Vault::new(bench.home().join("vault")).store();
    let coverage = coverage(bench);
    let run = coverage.runs.last().expect("no log");
    let first = run.segments.first().expect("no segment").first;
    let mut bytes = Vec::new();
    for name in &run.segments {
        let segment = Segment::open(&*store, &run.timeline, name).unwrap();
        // One may begin before its predecessor ends.
        bytes.truncate(usize::try_from(name.first - first).unwrap());
        for frame in segment.frames() {
            bytes.extend(segment.frame(frame).unwrap());
        }
    }
    (first, bytes)
}

/// Up to where a file of the spool has the stream: its header names the first offset, and each record says how long it is.
fn spooled(file: &std::path::Path) -> Option<u64> {
    const HEAD: usize = 28;
    let bytes = std::fs::read(file).ok()?;
    let mut rest = bytes.strip_prefix(b"TBSPOOL1")?;
    let mut offset = None;
    while rest.len() > HEAD {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let Some(record) = rest.get(HEAD..HEAD + length) else { break };
        offset = match offset {
            None => serde_json::from_slice::<Value>(record).ok()?["first"].as_u64(),
            Some(offset) => Some(offset + length as u64),
        };
        rest = &rest[HEAD + length..];
    }
    offset
}

/// Waits until the archiver has received what a server has written so far; the offset behind it, and the timeline that has it. What is
/// asked for from now on is asked behind it.
pub fn received(bench: &Bench, redis: &Redis) -> tair_backup_mcp::model::log::Position {
    let archive = archive(bench);
    let deadline = Instant::now() + LONG;
    loop {
        // A server begins another history when it is first followed.
        let (replid, offset) = position(redis);
        let timelines = archive.timelines("orders", 0).unwrap();
        if let Some(timeline) = timelines.last().filter(|timeline| timeline.replid == replid) {
            let dir = archive.spool_dir().join(".log/orders/0").join(&timeline.id);
            let newest =
                super::files_under(&dir).into_iter().filter(|f| f.extension().is_some_and(|e| e == "spool")).max();
            if newest.and_then(|file| spooled(&file)).is_some_and(|reached| reached >= offset) {
                return timeline.position(offset);
            }
        }
        assert!(
            Instant::now() < deadline,
            "{offset} of {replid} is not received: {timelines:?}\n{}",
            service_log(bench)
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
