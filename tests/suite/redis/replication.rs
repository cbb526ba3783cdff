//! The protocol room against real servers: a capture is a whole and valid RDB and is never taken for a safe replica; a restore
//! as the target's master gives the same data and leaves the target's settings as they were; and whatever goes wrong on the
//! way, the old data is still there, or the error says that it is not.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tair_backup_mcp::model::fault::Fault;
use tair_backup_mcp::model::secret::Secret;
use tair_backup_mcp::redis::RedisError;
use tair_backup_mcp::redis::conn::{Conn, Value};
use tair_backup_mcp::redis::endpoint::{Address, Endpoint, TlsSettings};
use tair_backup_mcp::redis::facts::{Role, ServerFacts, key_counts, write_calls};
use tair_backup_mcp::redis::master::{Found, MasterOptions, Stage, Step, Supply, TargetState, settle};
use tair_backup_mcp::redis::rdb::{EntryHead, Visitor, walk};
use tair_backup_mcp::redis::replay::{RestoreEncoder, drive, owned_slots};
use tair_backup_mcp::redis::replica::{CaptureOptions, Framing, Snapshot};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const WITHIN: Duration = Duration::from_secs(15);

/// A server of its own in a directory of its own, stopped when dropped.
struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
    password: Option<&'static str>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    async fn start(args: &[&str]) -> Self {
        Self::with_password(None, args).await
    }

    async fn with_password(password: Option<&'static str>, args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let port_text = port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--dir"]).arg(dir.path());
        if let Some(password) = password {
            command.args(["--requirepass", password]);
        }
        command.args(args).stdout(std::fs::File::create(dir.path().join("log")).unwrap()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server must be on PATH");
        let server = Self { child, port, dir, password };
        server.wait("it to answer", async |s: &Self| Conn::open(&s.endpoint(), WITHIN).await.is_ok()).await;
        server
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: Address::Tcp { host: "127.0.0.1".into(), port: self.port },
            username: None,
            password: self.password.map(Secret::new),
            tls: None,
        }
    }

    async fn conn(&self) -> Conn {
        Conn::open(&self.endpoint(), WITHIN).await.unwrap()
    }

    async fn run(&self, args: &[&str]) -> Value {
        self.conn().await.cmd_str(args).await.unwrap()
    }

    async fn digest(&self) -> String {
        self.run(&["DEBUG", "DIGEST"]).await.as_str().unwrap().to_owned()
    }

    async fn setting(&self, name: &str) -> String {
        self.run(&["CONFIG", "GET", name]).await.as_array().unwrap()[1].as_str().unwrap().to_owned()
    }

    async fn facts(&self) -> ServerFacts {
        ServerFacts::read(&mut self.conn().await).await.unwrap()
    }

    /// Polls until it is so; a test never sleeps for a guess.
    async fn wait(&self, what: &str, so: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !so(self).await {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain for {what}; its log:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A bit of everything, in two databases.
    async fn fill(&self) {
        let mut c = self.conn().await;
        c.cmd_str(&["DEBUG", "POPULATE", "5000", "str", "200"]).await.unwrap();
        let commands = [
            "SET n 12345",
            "RPUSH list a b 3 4",
            "SADD ints 1 2 3",
            "SADD words a b c",
            "HSET hash f1 v1 f2 v2",
            "ZADD z 1 a 2.5 b",
            "XADD stream 1-1 k v",
            "XGROUP CREATE stream g 0",
            "PFADD hll a b c",
            "SELECT 3",
            "SET three x",
            "SELECT 0",
        ];
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            c.cmd_str(&words).await.unwrap();
        }
        for i in 0..600 {
            c.cmd_str(&["HSET", "bighash", &format!("field:{i}"), &format!("{i:040}")]).await.unwrap();
            c.cmd_str(&["SET", &format!("ttl:{i}"), "v", "EX", &format!("{}", 5000 + i)]).await.unwrap();
        }
        c.cmd_str(&["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 42 end)"])
            .await
            .unwrap();
    }
}

async fn capture(endpoint: &Endpoint) -> Result<(Vec<u8>, Framing, String), RedisError> {
    let mut snapshot = Snapshot::open(endpoint, CaptureOptions::default()).await?;
    let (framing, replid) = (snapshot.framing, snapshot.replid.clone());
    let mut data = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let n = snapshot.read(&mut piece).await?;
        if n == 0 {
            break;
        }
        data.extend_from_slice(&piece[..n]);
    }
    let rest = if matches!(framing, Framing::Mark(_)) { data.split_off(data.len() - 40) } else { Vec::new() };
    assert!(framing.ends(data.len() as u64, &rest));
    Ok((data, framing, replid))
}

fn check_rdb(data: &[u8]) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("dump.rdb");
    std::fs::write(&path, data).unwrap();
    let out = Command::new("redis-check-rdb").arg(&path).output().expect("redis-check-rdb must be on PATH");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// Supplies `data` in chunks; `fail_at` ends it with a failure after so many bytes.
fn supply(data: Vec<u8>, fail_at: Option<usize>) -> mpsc::Receiver<Supply> {
    let (to, from) = mpsc::channel(4);
    tokio::spawn(async move {
        for chunk in data[..fail_at.unwrap_or(data.len())].chunks(100_000) {
            if to.send(Supply::Chunk(chunk.to_vec())).await.is_err() {
                return;
            }
        }
        let last = if fail_at.is_some() { Supply::Failed("checksum differs".into()) } else { Supply::Done };
        to.send(last).await.ok();
    });
    from
}

async fn originals(server: &Server) {
    for (name, value) in [("masterauth", "old secret"), ("masteruser", "olduser"), ("repl-diskless-load", "disabled")] {
        server.run(&["CONFIG", "SET", name, value]).await;
    }
}

async fn assert_as_before(server: &Server) {
    assert_eq!(server.setting("masterauth").await, "old secret");
    assert_eq!(server.setting("masteruser").await, "olduser");
    assert_eq!(server.setting("repl-diskless-load").await, "disabled");
    assert_eq!(server.setting("replica-read-only").await, "yes");
    assert_eq!(server.facts().await.role, Role::Master);
}

fn state(error: &RedisError) -> (TargetState, Option<&str>, &RedisError) {
    match error {
        RedisError::Restore { state, unsettled, source } => (*state, unsettled.as_deref(), source),
        other => panic!("not a failed restore: {other:?}"),
    }
}

/// With the rights of `CAPTURE_RIGHTS` and no others, in both framings, a capture is a valid RDB.
#[tokio::test]
async fn capture_with_the_least_rights_in_both_framings() {
    let source = Server::start(&[]).await;
    source.fill().await;
    source.run(&["ACL", "SETUSER", "bk", "on", ">pw", "+psync", "+replconf", "+ping"]).await;
    let endpoint = Endpoint::parse(&format!("redis://bk:pw@127.0.0.1:{}", source.port)).unwrap();
    for (diskless, marked) in [("yes", true), ("no", false)] {
        source.run(&["CONFIG", "SET", "repl-diskless-sync", diskless]).await;
        let (data, framing, replid) = capture(&endpoint).await.unwrap();
        assert_eq!(matches!(framing, Framing::Mark(_)), marked);
        assert_eq!(replid, source.facts().await.replid);
        check_rdb(&data);
    }
    assert!(matches!(
        capture(&Endpoint::parse(&format!("redis://bk:no@127.0.0.1:{}", source.port)).unwrap()).await,
        Err(RedisError::Auth { .. })
    ));
    source.run(&["ACL", "SETUSER", "bk", "-psync"]).await;
    let fault = Fault::from(capture(&endpoint).await.unwrap_err());
    assert_eq!(fault.code, "instance.denied");
    assert!(fault.hint.contains("+psync +replconf +ping"), "{}", fault.hint);
}

/// While a capture hangs on the source, WAIT counts no replica.
#[tokio::test]
async fn capture_does_not_satisfy_wait() {
    let source = Server::start(&["--rdbcompression", "no"]).await;
    source.run(&["DEBUG", "POPULATE", "64", "big", "1000000"]).await;
    for diskless in ["yes", "no"] {
        source.run(&["CONFIG", "SET", "repl-diskless-sync", diskless]).await;
        let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
        let mut piece = vec![0; 1 << 16];
        assert!(snapshot.read(&mut piece).await.unwrap() > 0);
        let mut c = source.conn().await;
        c.cmd_str(&["SET", "x", "1"]).await.unwrap();
        assert_eq!(c.cmd_str(&["WAIT", "1", "300"]).await.unwrap(), Value::Int(0));
        while snapshot.read(&mut piece).await.unwrap() > 0 {}
        c.cmd_str(&["SET", "x", "2"]).await.unwrap();
        assert_eq!(c.cmd_str(&["WAIT", "1", "300"]).await.unwrap(), Value::Int(0));
    }
}

/// A replica of the instance can be the source, on the same history; one without a link says so.
#[tokio::test]
async fn capture_from_a_replica() {
    let source = Server::start(&[]).await;
    source.fill().await;
    let replica = Server::start(&[]).await;
    replica.run(&["REPLICAOF", "127.0.0.1", &source.port.to_string()]).await;
    replica.wait("the link", async |s: &Server| s.facts().await.master.is_some_and(|m| m.up)).await;
    let (data, _, replid) = capture(&replica.endpoint()).await.unwrap();
    check_rdb(&data);
    assert_eq!(replid, source.facts().await.replid);
    drop(source);
    replica.wait("the link to be gone", async |s: &Server| s.facts().await.master.is_some_and(|m| !m.up)).await;
    let error = capture(&replica.endpoint()).await.unwrap_err();
    assert!(matches!(error, RedisError::NoMasterLink { .. }), "{error}");
}

/// Over TLS with our own authority and a client certificate; without the authority nothing is sent.
#[tokio::test]
async fn capture_over_tls() {
    let dir = TempDir::new().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name);
    let port = free_port();
    let (port_text, cert, key, ca) = (port.to_string(), path("server.crt"), path("server.key"), path("ca.crt"));
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    let (cert, key, ca_text) = (text(&cert), text(&key), text(&ca));
    let source = Server::start(&[
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca_text,
        "--tls-auth-clients",
        "yes",
    ])
    .await;
    source.fill().await;
    let mut endpoint = Endpoint::parse(&format!("rediss://127.0.0.1:{port}")).unwrap();
    let refused = capture(&endpoint).await.unwrap_err();
    assert!(matches!(refused, RedisError::Tls { .. }), "{refused}");
    let mut tls = TlsSettings {
        ca_file: Some(ca),
        cert_file: Some(path("client.crt")),
        key_file: Some(path("client.key")),
        ..TlsSettings::default()
    };
    endpoint.tls = Some(tls.clone());
    check_rdb(&capture(&endpoint).await.unwrap().0);
    tls.server_name = Some("elsewhere.example".into());
    endpoint.tls = Some(tls.clone());
    assert!(matches!(capture(&endpoint).await, Err(RedisError::Tls { .. })));
    tls.insecure_skip_verify = true;
    endpoint.tls = Some(tls);
    check_rdb(&capture(&endpoint).await.unwrap().0);
}

fn certificates(dir: &Path) {
    let script = r#"set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > ext
  openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.crt
done"#;
    let out = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("openssl must be on PATH");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// A source that dies half way is an interrupted capture, never a short one.
#[tokio::test]
async fn capture_of_a_dying_source_is_interrupted() {
    for diskless in ["yes", "no"] {
        let mut source = Server::start(&["--rdbcompression", "no", "--repl-diskless-sync", diskless]).await;
        source.run(&["DEBUG", "POPULATE", "64", "big", "1000000"]).await;
        let mut snapshot = Snapshot::open(&source.endpoint(), CaptureOptions::default()).await.unwrap();
        let mut piece = vec![0; 1 << 16];
        let mut got = snapshot.read(&mut piece).await.unwrap() as u64;
        assert!(got > 0);
        source.child.kill().unwrap();
        source.child.wait().unwrap();
        let error = loop {
            match snapshot.read(&mut piece).await {
                Ok(n) => {
                    assert!(n > 0, "a dead source looked like the end");
                    got += n as u64;
                }
                Err(error) => break error,
            }
        };
        let RedisError::Interrupted { received, .. } = error else { panic!("{error}") };
        assert_eq!(received, got);
        assert_eq!(Fault::from(error).code, "capture.interrupted");
    }
}

/// The data arrives whole in a target that had other data, replicas, a password and settings of its own.
#[tokio::test]
async fn restore_as_master_gives_the_same_data() {
    let source = Server::start(&[]).await;
    source.fill().await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Server::with_password(Some("p w"), &["--appendonly", "yes"]).await;
    target.run(&["DEBUG", "POPULATE", "20000", "old"]).await;
    originals(&target).await;

    let options = MasterOptions { total: Some(data.len() as u64), ..MasterOptions::default() };
    let stage = Stage::prepare(&target.endpoint(), options).await.unwrap();
    assert!(!format!("{stage:?}").contains("old secret") && !format!("{stage:?}").contains("p w"));
    let mut steps = Vec::new();
    let total = data.len() as u64;
    let restored = stage.run(supply(data, None), |s| steps.push(s)).await.unwrap();
    assert_eq!(restored.sent, total);
    steps.dedup_by_key(|s| std::mem::discriminant(s));
    let named = |s: &Step| format!("{s:?}").split(' ').next().unwrap().to_owned();
    let names: Vec<String> = steps.iter().map(named).collect();
    assert_eq!(names, ["SettingsSaved", "Switched", "Connected", "Streaming", "Loaded", "Promoted", "Restored"]);

    assert_eq!(target.digest().await, source.digest().await);
    assert_eq!(target.run(&["FCALL", "f", "0"]).await, Value::Int(42));
    assert_as_before(&target).await;
    target.run(&["SET", "writable", "again"]).await;
}

/// Data that turns out bad on the way is never completed: the old data stays, at whatever point it happens.
#[tokio::test]
async fn restore_from_a_failing_supplier_keeps_the_old_data() {
    let source = Server::start(&["--rdbcompression", "no"]).await;
    source.run(&["DEBUG", "POPULATE", "200", "big", "100000"]).await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Server::start(&[]).await;
    target.fill().await;
    originals(&target).await;
    let before = target.digest().await;
    for fail_at in [0, 1, data.len() / 2, data.len()] {
        let stage = Stage::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
        let error = stage.run(supply(data.clone(), Some(fail_at)), |_| ()).await.unwrap_err();
        let (state, unsettled, source) = state(&error);
        assert_eq!((state, unsettled), (TargetState::Untouched, None), "{error}");
        assert!(matches!(source, RedisError::Supply { .. }), "{source}");
        assert_eq!(target.digest().await, before);
        assert_as_before(&target).await;
    }
}

/// A complete but corrupt RDB takes the target down (its own doing); then the error does not claim to know what it holds.
#[tokio::test]
async fn restore_that_kills_the_target_says_unknown() {
    let target = Server::start(&[]).await;
    target.fill().await;
    let (mut data, _, _) = capture(&target.endpoint()).await.unwrap();
    let last = data.len() - 1;
    data[last] ^= 1;
    let options = MasterOptions { settle_within: Duration::from_secs(2), ..MasterOptions::default() };
    let stage = Stage::prepare(&target.endpoint(), options).await.unwrap();
    let error = stage.run(supply(data, None), |_| ()).await.unwrap_err();
    let (state, unsettled, source) = state(&error);
    assert!(matches!(source, RedisError::Rejected { .. }), "{source}");
    // Later servers return the error instead of exiting, and then the old data is still there.
    match state {
        TargetState::Unknown => assert!(unsettled.is_some()),
        TargetState::Untouched => assert!(target.facts().await.key_count() > 5000),
        TargetState::Replaced => panic!("{error}"),
    }
}

/// Nobody but the target gets data, and nobody else uses up its place.
#[tokio::test]
async fn restore_port_turns_impostors_away() {
    let source = Server::start(&[]).await;
    source.fill().await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Server::start(&[]).await;
    let stage = Stage::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
    let addr = stage.listening_on();
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
    stage.run(supply(data, None), |_| ()).await.unwrap();
    assert_eq!(target.digest().await, source.digest().await);
    for mut tcp in impostors {
        let mut got = Vec::new();
        tcp.read_to_end(&mut got).await.ok();
        assert!(!String::from_utf8_lossy(&got).contains("FULLRESYNC"), "{}", String::from_utf8_lossy(&got));
    }
    assert!(TcpStream::connect(addr).await.is_err(), "the port is open for one visit only");
}

/// A target that cannot reach us is left as it was.
#[tokio::test]
async fn restore_of_a_target_that_cannot_reach_us() {
    let target = Server::start(&[]).await;
    target.fill().await;
    originals(&target).await;
    let before = target.digest().await;
    let options = MasterOptions {
        announce: Some(("127.0.0.1".into(), Some(free_port()))),
        connect_within: Duration::from_secs(2),
        ..MasterOptions::default()
    };
    let stage = Stage::prepare(&target.endpoint(), options).await.unwrap();
    let error = stage.run(supply(vec![0; 100], None), |_| ()).await.unwrap_err();
    let (state, unsettled, source) = state(&error);
    assert_eq!((state, unsettled), (TargetState::Untouched, None));
    assert!(matches!(source, RedisError::TargetDidNotConnect { .. }), "{source}");
    assert_eq!(Fault::from(error).code, "restore.target_did_not_connect");
    assert_eq!(target.digest().await, before);
    assert_as_before(&target).await;
}

/// A crash at any step is settled from what was written down before it, once or twice.
#[tokio::test]
async fn settle_after_a_crash_at_each_step() {
    let source = Server::start(&[]).await;
    source.fill().await;
    let (data, _, _) = capture(&source.endpoint()).await.unwrap();
    let target = Server::start(&[]).await;
    target.run(&["SET", "old", "data"]).await;
    originals(&target).await;
    let before = target.digest().await;
    for crash_at in [Step::Switched, Step::Connected, Step::Loaded] {
        let stage = Stage::prepare(&target.endpoint(), MasterOptions::default()).await.unwrap();
        let switch = stage.switch().clone();
        let (reached, mut at) = mpsc::unbounded_channel();
        // A supplier that ends only where the crash comes later; one that is silent keeps the transfer open.
        let (hold, silent) = mpsc::channel(1);
        let feed = if crash_at == Step::Loaded { supply(data.clone(), None) } else { silent };
        let run = stage.run(feed, |s| reached.send(s).unwrap());
        let crash = async { while at.recv().await.unwrap() != crash_at {} };
        // Dropping the future at a step is what a crash looks like to the target.
        tokio::select! { biased; () = crash => {}, done = run => assert!(crash_at == Step::Loaded, "{done:?}") }
        drop(hold);
        let settled = settle(&mut target.conn().await, &switch).await.unwrap();
        assert_eq!(settled.loaded, crash_at == Step::Loaded, "{crash_at:?}");
        assert!(settled.same_process && settled.problem.is_none());
        assert_as_before(&target).await;
        let after = target.digest().await;
        assert_eq!(after, if settled.loaded { source.digest().await } else { before.clone() });
        let again = settle(&mut target.conn().await, &switch).await.unwrap();
        assert_eq!(again.found, Found::Master);
    }
}

/// Targets that replication cannot restore are refused with the reason, before anything changes.
#[tokio::test]
async fn restore_is_refused_where_it_cannot_work() {
    let master = Server::start(&[]).await;
    let replica = Server::start(&[]).await;
    replica.run(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
    let cluster = Server::start(&["--cluster-enabled", "yes"]).await;
    let managed = Server::start(&["--rename-command", "CONFIG", "hidden"]).await;
    let cases = [
        (&replica, "restore.target_is_replica"),
        (&cluster, "restore.target_is_cluster"),
        (&managed, "restore.target_config_refused"),
    ];
    for (server, code) in cases {
        let error = Stage::prepare(&server.endpoint(), MasterOptions::default()).await.unwrap_err();
        assert_eq!(Fault::from(error).code, code);
    }
}

/// Restores an RDB by commands through the walker, and gives the number of keys.
async fn replay(data: Vec<u8>, target: &Server) -> Result<u64, RedisError> {
    let dir = TempDir::new().unwrap();
    let (to, frames) = mpsc::channel(4);
    let spool = dir.path().to_owned();
    let version = std::str::from_utf8(&data[5..9]).unwrap().parse().unwrap();
    let walk = tokio::task::spawn_blocking(move || {
        let walked = walk(data.as_slice(), (), RestoreEncoder::new(to, version, spool)).map_err(|e| e.to_string())?;
        walked.visitor.finish().map_err(|e| e.to_string())
    });
    let report = drive(&mut target.conn().await, frames, |_| ()).await;
    let walked = walk.await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "spool files have no names");
    let report = report?;
    walked.unwrap();
    assert_eq!(report.functions, 1);
    Ok(report.keys)
}

/// Entries made by hand: a function and then the given keys, each with a type byte and value; complete or broken off.
async fn replay_by_hand(entries: &[(&[u8], &[u8])], version: u16, complete: bool, target: &Server) -> RedisError {
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
    let error = drive(&mut target.conn().await, frames, |_| ()).await.unwrap_err();
    walk.await.unwrap().ok();
    error
}

/// By commands the same data arrives, large values, functions and expiries included, in a standalone and in a cluster node.
#[tokio::test]
async fn restore_by_commands_gives_the_same_data() {
    for cluster in [false, true] {
        let source = Server::start(&["--rdbcompression", "no"]).await;
        source.fill().await;
        let mut c = source.conn().await;
        c.cmd(&[b"SET", b"huge", &vec![b'x'; 20 << 20]]).await.unwrap();
        c.cmd_str(&["RPUSH", "longlist", &"y".repeat(3000), &"z".repeat(9 << 20)]).await.unwrap();
        let mut args = vec![];
        if cluster {
            args.extend(["--cluster-enabled", "yes"]);
            c.cmd_str(&["SELECT", "3"]).await.unwrap();
            c.cmd_str(&["FLUSHDB"]).await.unwrap();
        }
        let target = Server::start(&args).await;
        if cluster {
            target.run(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
            target
                .wait("the cluster", async |s: &Server| s.conn().await.cmd_str(&["SET", "a", "b"]).await.is_ok())
                .await;
            assert_eq!(owned_slots(&mut target.conn().await).await.unwrap(), [(0, 16383)]);
        }
        target.run(&["SET", "old", "data"]).await;
        let (data, _, _) = capture(&source.endpoint()).await.unwrap();
        assert_eq!(replay(data, &target).await.unwrap(), source.facts().await.key_count());
        assert_eq!(
            key_counts(&mut target.conn().await).await.unwrap(),
            key_counts(&mut source.conn().await).await.unwrap()
        );
        assert_eq!(target.digest().await, source.digest().await);
        assert_eq!(target.run(&["PEXPIRETIME", "ttl:7"]).await, source.run(&["PEXPIRETIME", "ttl:7"]).await);
        assert_eq!(target.run(&["FCALL", "f", "0"]).await, Value::Int(42));
    }
}

/// A version that the target does not read is refused before anything is deleted; a refusal or a broken walk after that says
/// that the target holds a part, and names the key.
#[tokio::test]
async fn restore_by_commands_says_when_it_is_partial() {
    let target = Server::start(&[]).await;
    target.fill().await;
    let before = target.digest().await;
    let text: &[u8] = &[0, 1, b'v'];
    let error = replay_by_hand(&[(b"k", text)], 79, true, &target).await;
    assert!(matches!(&error, RedisError::Server { command, .. } if command == "RESTORE"), "{error}");
    target.run(&["ACL", "SETUSER", "default", "-flushall"]).await;
    let error = replay_by_hand(&[(b"k", text)], 9, true, &target).await;
    assert!(matches!(error, RedisError::Denied { .. }), "{error}");
    target.run(&["ACL", "SETUSER", "default", "+@all"]).await;
    assert_eq!(target.digest().await, before);

    let broken: (&[u8], &[u8]) = (b"broken\n\xe2\x80\xaekey", &[4, 0xff]);
    let error = replay_by_hand(&[(b"a", text), broken, (b"z", text)], 9, true, &target).await;
    let RedisError::Replay { done: 2, failed: 1, first } = &error else { panic!("{error:?}") };
    assert!(first[0].starts_with("key \"broken key\": ERR Bad data format"), "{first:?}");
    assert_eq!(Fault::from(error).code, "restore.partial");
    let error = replay_by_hand(&[(b"a", text)], 9, false, &target).await;
    assert!(matches!(error, RedisError::Replay { .. }), "{error}");
}

/// Write traffic is what changed data, however it was sent; reading and asking are none.
#[tokio::test]
async fn write_calls_counts_writes_only() {
    let server = Server::start(&[]).await;
    let mut c = server.conn().await;
    let start = write_calls(&mut c).await.unwrap();
    for command in
        ["SET a 1", "GET a", "INCR a", "XADD s 1-1 k v", "XGROUP CREATE s g 0", "XINFO STREAM s", "CONFIG GET port"]
    {
        let words: Vec<&str> = command.split(' ').collect();
        c.cmd_str(&words).await.unwrap();
    }
    c.cmd_str(&["EVAL", "redis.call('set', 'b', 1) return redis.call('get', 'b')", "0"]).await.unwrap();
    assert_eq!(write_calls(&mut c).await.unwrap() - start, 5);
    assert_eq!(write_calls(&mut c).await.unwrap() - start, 5);
}

/// A call that is dropped or late leaves the connection unusable instead of out of step.
#[tokio::test]
async fn connection_out_of_step_says_so() {
    let server = Server::start(&[]).await;
    let mut c = server.conn().await;
    c.set_timeout(Duration::from_millis(100));
    assert!(matches!(c.cmd_str(&["BLPOP", "none", "0"]).await, Err(RedisError::Timeout { .. })));
    assert!(matches!(c.cmd_str(&["PING"]).await, Err(RedisError::Broken { .. })));
    let mut c = server.conn().await;
    tokio::select! { biased; _ = c.cmd_str(&["BLPOP", "none", "1"]) => panic!("answered"), () = tokio::time::sleep(Duration::from_millis(50)) => {} }
    assert!(matches!(c.cmd_str(&["PING"]).await, Err(RedisError::Broken { .. })));
    assert!(c.is_broken());
}
